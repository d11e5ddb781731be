//! A server as the many processes it may be: who belongs to it, what all of them use.
//!
//! Its control group knows all that ever ran in it. Where there is none, the tree of processes under its first stands
//! in: that misses the time of those that end without having been waited for, and those that have left the tree.

use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::cpu;
use crate::group::Group;

/// What `/proc/PID/stat` says of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: u32,
    /// Clock ticks, user and system, of the process and of those children it has waited for.
    ticks: u64,
    /// With the number it tells one process from a later one of the same number.
    started_at: u64,
}

/// All that belongs to a server.
#[derive(Clone, Copy, Debug)]
pub struct Extent<'a> {
    /// The group it runs in, and nothing else.
    pub group: Option<&'a Group>,
    /// Its first process.
    pub root: u32,
}

impl Extent<'_> {
    /// Its processes now.
    pub fn processes(&self) -> Vec<u32> {
        self.group.map_or_else(|| processes(self.root).into_keys().collect(), Group::processes)
    }

    /// Processor time, user and system; zero where the kernel does not tell.
    pub fn cpu_time(&self) -> Duration {
        self.group.map_or_else(|| cpu_time(self.root), |group| group.cpu_time().unwrap_or_default())
    }

    /// User memory in KiB: proportional set size, so that shared pages count once.
    ///
    /// # Errors
    /// When the kernel does not tell it of a process that runs, or none runs.
    pub fn memory_kib(&self) -> Result<u64> {
        sum_of_memory(&self.processes(), |pid| std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")))
    }
}

/// A process and everything it has started that still runs, with the time each began.
pub type Tree = BTreeMap<u32, u64>;

/// The processes of the tree under `root`, itself included; empty when it has ended.
pub fn processes(root: u32) -> Tree {
    let all = all_stats();
    let mut tree = Tree::new();
    let mut todo = vec![root];
    while let Some(pid) = todo.pop() {
        let Some(stat) = all.get(&pid) else { continue };
        if tree.insert(pid, stat.started_at).is_none() {
            todo.extend(all.iter().filter(|(_, stat)| stat.parent == pid).map(|(pid, _)| *pid));
        }
    }
    tree
}

/// Processor time, user and system, of the tree under `root`, ended children that were waited for included.
///
/// Of a single process to the nanosecond, of several to a clock tick each.
fn cpu_time(root: u32) -> Duration {
    let tree = processes(root);
    let ticks: u64 = tree.keys().filter_map(|pid| stat(*pid)).map(|stat| stat.ticks).sum();
    let by_ticks = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
    match tree.len() {
        1 => by_ticks.max(cpu::of_process(root).unwrap_or_default()),
        _ => by_ticks,
    }
}

/// What is not known is no 0: one process that cannot be looked at leaves all without a figure, unless it has ended.
fn sum_of_memory(pids: &[u32], smaps_rollup: impl Fn(u32) -> Result<String>) -> Result<u64> {
    let mut sum = None;
    for pid in pids {
        match smaps_rollup(*pid).and_then(|text| pss_kib(&text)) {
            Ok(kib) => *sum.get_or_insert(0) += kib,
            Err(_) if !is_running(*pid) => {}
            Err(e) => return Err(Error::new(e.kind(), format!("/proc/{pid}/smaps_rollup: {e}"))),
        }
    }
    sum.ok_or_else(|| Error::other("none of the server's processes is there to look at"))
}

fn pss_kib(text: &str) -> Result<u64> {
    let line = text.lines().find(|line| line.starts_with("Pss:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok());
    kib.ok_or_else(|| Error::other("it tells no Pss"))
}

/// Whether the process is there and has not ended.
pub fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z')
}

/// Ends those of `tree` that still run, and nothing that has taken a number of theirs since.
pub fn kill(tree: &Tree) {
    for (pid, started_at) in tree {
        let is_same = stat(*pid).is_some_and(|stat| stat.started_at == *started_at);
        if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw).filter(|_| is_same) {
            // One that ends by itself meanwhile is as good.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn all_stats() -> BTreeMap<u32, Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields as in proc(5), counted behind the parenthesised name, which may hold anything.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
        started_at: number(19)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn children_that_were_waited_for_count() {
        let text = "12 (a) b) S 7 2 3 4 5 6 7 8 9 10 70 30 5 6 20 0 1 0 99 0";
        let stat = parse(text).expect("a line of proc(5)");
        assert_eq!(stat, Stat { state: 'S', parent: 7, ticks: 111, started_at: 99 });
        assert_eq!(parse("12 (a"), None);
    }

    #[test]
    fn a_tree_holds_grandchildren_and_ends_with_them() {
        let script = "sh -c 'sleep 60; true' & wait";
        let mut shell = Command::new("sh").args(["-c", script]).spawn().expect("a shell");
        let root = shell.id();
        let tree = std::iter::repeat_with(|| {
            std::thread::yield_now();
            processes(root)
        })
        .find(|tree| tree.len() == 3)
        .expect("endless");
        let extent = Extent { group: None, root };
        assert!(
            is_running(root) && extent.memory_kib().is_ok_and(|kib| kib > 0) && extent.processes().len() == 3
        );
        kill(&tree);
        shell.wait().expect("the shell");
        assert!(!is_running(root));
        assert!(extent.memory_kib().is_err(), "nobody is left whose memory could be read");
    }

    #[test]
    fn memory_that_cannot_be_read_is_no_zero() {
        let (here, gone) = (std::process::id(), u32::MAX);
        let pss = |_| Ok("Rss: 9 kB\nPss:    7 kB\n".to_owned());
        assert_eq!(sum_of_memory(&[here, here], pss).ok(), Some(14));
        let refused =
            |pid| if pid == here { Err(std::io::ErrorKind::PermissionDenied.into()) } else { pss(pid) };
        let error = sum_of_memory(&[1, here], refused).expect_err("one may not be read");
        assert!(error.to_string().contains(&format!("/proc/{here}/smaps_rollup")), "{error}");
        let ended = |pid| if pid == gone { Err(std::io::ErrorKind::NotFound.into()) } else { pss(pid) };
        assert_eq!(sum_of_memory(&[here, gone], ended).ok(), Some(7), "one that has ended uses nothing");
        assert!(sum_of_memory(&[here], |_| Ok("Rss: 9 kB\n".to_owned())).is_err());
        assert!(sum_of_memory(&[], pss).is_err());
    }
}
