//! System calls, syncs and io_uring operations of a server, counted from outside by `perf stat`.
//!
//! On a server's control group, which misses nothing of it. Without one on its processes: what those start later is
//! seen, what others start is not.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
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
    /// Files synced in an ext4, by synchronous writes and io_uring too; 0 on another file system.
    pub ext4_syncs: Option<f64>,
    /// Operations submitted to an io_uring.
    pub uring_operations: Option<f64>,
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

    /// Sends at [`PACE`] from `load_cores` and counts what all of `server` does meanwhile.
    ///
    /// # Errors
    /// Says why nothing could be counted.
    pub fn take(
        target: SocketAddr,
        server: Extent<'_>,
        load_cores: &[usize],
        file: &Path,
    ) -> Result<Self, String> {
        let counted = cpu::with_cores(load_cores, || take_here(target, server, file));
        counted.map_err(|e| e.to_string())?
    }
}

fn take_here(target: SocketAddr, server: Extent<'_>, file: &Path) -> Result<Counts, String> {
    let script = paced::script();
    let refused = |e| format!("at {} messages/s: {e}", PACE.rate);
    let sessions = (0..PACE.sessions).map(|_| PacedSession::open(target, &script));
    let mut sessions = sessions.collect::<std::io::Result<Vec<_>>>().map_err(refused)?;
    Pace { count: WARM_UP_COUNT, ..PACE }.run(&mut sessions, &script).map_err(refused)?;
    // The processes may change as long as they are started by those that are here now.
    std::thread::sleep(Duration::from_millis(20));
    let sent = while_counting(server, file, || PACE.run(&mut sessions, &script).map_err(refused))?;
    sent?;
    read(file, f64::from(PACE.count))
}

/// The counts in `file`, of `messages` messages.
///
/// # Errors
/// Says why there are none.
pub(crate) fn read(file: &Path, messages: f64) -> Result<Counts, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("perf's counts cannot be read: {e}"))?;
    parse(&text, messages).ok_or_else(|| format!("perf counted no system calls: {}", text.trim()))
}

/// Runs `send` while perf counts; its counts are then in `file`.
///
/// # Errors
/// Says why nothing could be counted; then `send` was not run.
pub(crate) fn while_counting<T>(
    server: Extent<'_>,
    file: &Path,
    send: impl FnOnce() -> T,
) -> Result<T, String> {
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-o"]).arg(file);
    for event in EVENTS {
        perf.args(["-e", event]);
    }
    match server.group {
        // A group is given for each event, and only counted over all cores.
        Some(group) => perf.args(["-a", "-G", &EVENTS.map(|_| group.name()).join(",")]),
        None => {
            let pids: Vec<String> = server.processes().iter().map(ToString::to_string).collect();
            perf.args(["-p", &pids.join(",")])
        }
    };
    // perf starts this when it counts, and stops counting when it ends.
    perf.args(["--", "sh", "-c", "echo counting; read -r _"]);
    perf.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut perf = perf.spawn().map_err(|e| format!("perf cannot be run: {e}"))?;
    let mut line = String::new();
    let stdout = perf.stdout.take().expect("standard output is piped");
    let heard = BufReader::new(stdout).read_line(&mut line);
    let sent = (heard.is_ok() && line.trim() == "counting").then(send);
    drop(perf.stdin.take());
    perf.wait().map_err(|e| format!("perf cannot be waited for: {e}"))?;
    sent.ok_or_else(|| "perf may not count here (it needs root and tracefs)".into())
}

/// Lines are `count,unit,event,...`; what perf could not count is no number.
fn parse(text: &str, messages: f64) -> Option<Counts> {
    let count = |event: &str| {
        let line = text.lines().find(|line| line.split(',').nth(2) == Some(event))?;
        line.split(',').next()?.parse::<f64>().ok().map(|count| count / messages)
    };
    let syscalls = count(SYSCALLS)?;
    Some(Counts {
        syscalls: Some(syscalls),
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
}
