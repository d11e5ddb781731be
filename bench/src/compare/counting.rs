//! System calls, syncs and io_uring operations of a server, counted from outside by `perf stat`.
//!
//! On a server's control group, which misses nothing of it. Without one on its processes: what those start later is
//! seen, what others start is not. Only events this kernel has are asked for, since perf counts none where one is absent;
//! what could not be counted has no figure and a reason.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Serialize;

use super::paced::{self, Pace, PacedSession};
use super::tree::Extent;
use crate::cpu;
use crate::stats::Spread;

/// Messages before the counted ones.
const WARM_UP_COUNT: u32 = 50;
/// The offered load while counting.
pub const PACE: Pace = Pace { sessions: 5, rate: 200, count: 400 };

const SYSCALLS: &str = "raw_syscalls:sys_enter";
const SYNC_SYSCALLS: [&str; 2] = ["syscalls:sys_enter_fsync", "syscalls:sys_enter_fdatasync"];
/// Whatever asked for it: a system call, a synchronous write, or an io_uring operation.
const FILE_SYNCS: &str = "ext4:ext4_sync_file_enter";
const URING: &str = "io_uring:io_uring_submit_req";
const EVENTS: [&str; 5] = [SYSCALLS, SYNC_SYSCALLS[0], SYNC_SYSCALLS[1], FILE_SYNCS, URING];

/// Events per message at the fixed rate; `null` is not measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counts {
    /// System calls entered.
    pub syscalls: Option<f64>,
    /// fsync(2) and fdatasync(2).
    pub sync_syscalls: Option<f64>,
    /// Files synced in an ext4, by synchronous writes and io_uring too; `null` on another file system.
    pub ext4_syncs: Option<f64>,
    /// Operations submitted to an io_uring.
    pub uring_operations: Option<f64>,
}

/// What was counted, and why not all of it.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The counts.
    pub counts: Counts,
    /// A reason for each count there is none of.
    pub lacking: Vec<String>,
}

/// Counts of several rounds; `None` where nothing was measured.
pub fn spread(counts: &[Counts], figure: fn(&Counts) -> Option<f64>) -> Option<Spread> {
    let values: Vec<f64> = counts.iter().filter_map(figure).collect();
    (!values.is_empty()).then(|| Spread::of(values))
}

impl Counts {
    /// Syncs by the widest measure there is.
    pub fn syncs(&self) -> Option<f64> {
        match (self.sync_syscalls, self.ext4_syncs) {
            (Some(calls), Some(files)) => Some(calls.max(files)),
            (calls, files) => calls.or(files),
        }
    }

    /// How far `own`, a server's own count of its syncs per message, is from what perf saw; nothing where the two agree
    /// or perf saw none of a kind to hold it against.
    pub fn disagreement(&self, own: f64) -> Option<String> {
        let seen = self.syncs()?;
        let apart = (seen - own).abs();
        let is_apart = apart > APART_MAX * own.max(seen) && apart > BACKGROUND_MAX;
        is_apart.then(|| format!("it counts {own:.2} syncs a message itself, perf saw {seen:.2}"))
    }

    /// Sends at [`PACE`] from `load_cores` and counts what all of `server` does meanwhile. `file` lies where the server
    /// keeps its data.
    ///
    /// # Errors
    /// Says why nothing could be counted.
    pub fn take(
        target: SocketAddr,
        server: Extent<'_>,
        load_cores: &[usize],
        file: &Path,
    ) -> Result<Counted, String> {
        let counted = cpu::with_cores(load_cores, || take_here(target, server, file));
        counted.map_err(|e| e.to_string())?
    }
}

/// A server's own count and perf's may be so far apart, as a part of the larger.
const APART_MAX: f64 = 0.1;
/// Syncs per message that may be work in the background: a server that starts, prepares or cleans up.
const BACKGROUND_MAX: f64 = 0.05;

fn take_here(target: SocketAddr, server: Extent<'_>, file: &Path) -> Result<Counted, String> {
    let script = paced::script();
    let refused = |e| format!("at {} messages/s: {e}", PACE.rate);
    let sessions = (0..PACE.sessions).map(|_| PacedSession::open(target, &script));
    let mut sessions = sessions.collect::<std::io::Result<Vec<_>>>().map_err(refused)?;
    Pace { count: WARM_UP_COUNT, ..PACE }.run(&mut sessions, &script).map_err(refused)?;
    // The processes may change as long as they are started by those that are here now.
    std::thread::sleep(Duration::from_millis(20));
    let sent = while_counting(server, file, || PACE.run(&mut sessions, &script).map_err(refused))?;
    sent?;
    let counts = read(file, f64::from(PACE.count))?;
    Ok(Counted { counts, lacking: lacking(tracefs().as_deref(), is_on_ext4(file)) })
}

/// The counts in `file`, of `messages` messages.
///
/// # Errors
/// Says why there are none.
pub(crate) fn read(file: &Path, messages: f64) -> Result<Counts, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("perf's counts cannot be read: {e}"))?;
    let counts = parse(&text, messages).ok_or_else(|| format!("perf counted nothing: {}", text.trim()))?;
    // On another file system the event is there and counts what no server of ours did.
    Ok(Counts { ext4_syncs: counts.ext4_syncs.filter(|_| is_on_ext4(file)), ..counts })
}

/// Where the kernel lists its events; nothing where no tracefs is mounted or it may not be looked at.
fn tracefs() -> Option<PathBuf> {
    let places = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];
    places.into_iter().map(PathBuf::from).find(|events| events.join("enable").exists())
}

/// Of the events wanted those that `events` lists; all of them where nobody can look, for perf may know better.
fn present(events: Option<&Path>) -> Vec<&'static str> {
    let is_there = |event: &&str| events.is_none_or(|events| events.join(event.replace(':', "/")).is_dir());
    EVENTS.into_iter().filter(is_there).collect()
}

/// Why some counts are not taken, a reason for each.
fn lacking(events: Option<&Path>, is_on_ext4: bool) -> Vec<String> {
    let present = present(events);
    let absent = EVENTS.into_iter().filter(|event| !present.contains(event));
    let absent = absent.map(|event| format!("not counted: this kernel has no event {event}"));
    let elsewhere = (!is_on_ext4).then(|| "files synced are not counted: the data is on no ext4".to_owned());
    absent.chain(elsewhere).collect()
}

/// Whether the file system that holds `path` is an ext4.
fn is_on_ext4(path: &Path) -> bool {
    const EXT4_SUPER_MAGIC: u64 = 0xef53; // statfs(2); ext2 and ext3 have it too, and the same driver
    rustix::fs::statfs(path).is_ok_and(|found| u64::try_from(found.f_type) == Ok(EXT4_SUPER_MAGIC))
}

/// Runs `send` while perf counts; its counts are then in `file`.
///
/// # Errors
/// Says why nothing could be counted, with what perf said; then `send` was not run.
pub(crate) fn while_counting<T>(
    server: Extent<'_>,
    file: &Path,
    send: impl FnOnce() -> T,
) -> Result<T, String> {
    let mut perf = start_perf(server, file)?;
    let mut line = String::new();
    let stdout = perf.stdout.take().expect("standard output is piped");
    let heard = BufReader::new(stdout).read_line(&mut line);
    let sent = (heard.is_ok() && line.trim() == "counting").then(send);
    // It ends with its standard input, which this closes.
    let output = perf.wait_with_output().map_err(|e| format!("perf cannot be waited for: {e}"))?;
    sent.ok_or_else(|| match in_a_line(&String::from_utf8_lossy(&output.stderr)) {
        said if said.is_empty() => {
            format!("perf counts nothing here and does not say why ({})", output.status)
        }
        said => format!("perf may not count here (it needs root and tracefs): {said}"),
    })
}

fn start_perf(server: Extent<'_>, file: &Path) -> Result<Child, String> {
    let events = present(tracefs().as_deref());
    if events.is_empty() {
        return Err(format!("this kernel has none of the events {}", EVENTS.join(", ")));
    }
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-o"]).arg(file);
    for event in &events {
        perf.args(["-e", event]);
    }
    match server.group {
        // A group is given for each event, and only counted over all cores.
        Some(group) => perf.args(["-a", "-G", &vec![group.name(); events.len()].join(",")]),
        None => {
            let pids: Vec<String> = server.processes().iter().map(ToString::to_string).collect();
            perf.args(["-p", &pids.join(",")])
        }
    };
    // perf starts this when it counts, and stops counting when it ends.
    perf.args(["--", "sh", "-c", "echo counting; read -r _"]);
    perf.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    perf.spawn().map_err(|e| format!("perf cannot be run: {e}"))
}

/// The first words a program said, for a reason that stands in a cell.
fn in_a_line(said: &str) -> String {
    const LINES_MAX: usize = 3;
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.take(LINES_MAX).collect::<Vec<_>>().join("; ")
}

/// Lines are `count,unit,event,...`; what perf could not count is no number. `None` when none is.
fn parse(text: &str, messages: f64) -> Option<Counts> {
    let count = |event: &str| {
        let line = text.lines().find(|line| line.split(',').nth(2) == Some(event))?;
        line.split(',').next()?.parse::<f64>().ok().map(|count| count / messages)
    };
    EVENTS.into_iter().find_map(count)?;
    Some(Counts {
        syscalls: count(SYSCALLS),
        sync_syscalls: count(SYNC_SYSCALLS[0]).zip(count(SYNC_SYSCALLS[1])).map(|(a, b)| a + b),
        ext4_syncs: count(FILE_SYNCS),
        uring_operations: count(URING),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_per_message_and_what_was_not_counted_is_not_zero() {
        let text = "# started\n\n4000,,raw_syscalls:sys_enter,9,100.00,,\n0,,syscalls:sys_enter_fsync,9,1,,\n\
                    400,,syscalls:sys_enter_fdatasync,9,1,,\n<not counted>,,io_uring:io_uring_submit_req,0,1,,\n";
        let counts = parse(text, 400.0).expect("counts");
        assert_eq!((counts.syscalls, counts.sync_syscalls), (Some(10.0), Some(1.0)));
        assert_eq!((counts.ext4_syncs, counts.uring_operations, counts.syncs()), (None, None, Some(1.0)));
        assert!(parse("<not supported>,,raw_syscalls:sys_enter,0,1,,\n", 1.0).is_none());
    }

    #[test]
    fn an_absent_event_is_not_asked_for_and_costs_only_its_own_count() {
        let events = tempfile::tempdir().expect("a directory");
        for event in [SYSCALLS, SYNC_SYSCALLS[1], URING] {
            std::fs::create_dir_all(events.path().join(event.replace(':', "/"))).expect("an event");
        }
        assert_eq!(present(Some(events.path())), [SYSCALLS, SYNC_SYSCALLS[1], URING]);
        assert_eq!(present(None), EVENTS);
        let reasons = lacking(Some(events.path()), false);
        assert_eq!(reasons.len(), 3, "{reasons:?}");
        assert!(reasons[0].ends_with("no event syscalls:sys_enter_fsync"), "{reasons:?}");
        let counts =
            parse("400,,syscalls:sys_enter_fdatasync,9,1,,\n8,,io_uring:io_uring_submit_req,9,1,,\n", 4.0);
        let counts = counts.expect("counts without the system calls");
        assert_eq!((counts.syscalls, counts.sync_syscalls, counts.uring_operations), (None, None, Some(2.0)));
    }

    #[test]
    fn files_synced_are_nothing_where_the_data_is_on_no_ext4() {
        // Always there, and never an ext4.
        assert!(!is_on_ext4(Path::new("/proc/self/stat")));
        assert_eq!(lacking(None, true), Vec::<String>::new());
        assert!(lacking(None, false)[0].contains("no ext4"));
    }

    #[test]
    fn a_servers_own_count_is_held_against_what_was_seen() {
        let seen = |calls: f64, files: f64| Counts {
            syscalls: None,
            sync_syscalls: Some(calls),
            ext4_syncs: Some(files),
            uring_operations: None,
        };
        assert_eq!(seen(0.0, 1.05).disagreement(1.0), None);
        assert_eq!(seen(0.04, 0.0).disagreement(0.0), None, "work in the background");
        let words = seen(0.0, 0.5).disagreement(1.0);
        assert_eq!(words.as_deref(), Some("it counts 1.00 syncs a message itself, perf saw 0.50"));
        assert!(seen(1.0, 2.0).disagreement(1.0).is_some());
        assert_eq!(Counts { ext4_syncs: None, ..seen(0.0, 0.0) }.disagreement(0.0), None);
    }
}
