//! Cores and processor time: where threads run, and what threads and whole processes have used.

use std::process::Command;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::error::{Error, Result};

/// Pins the calling thread, and what it spawns from now on, to `cores`.
///
/// # Errors
/// When the system refuses, as it does for a core that does not exist.
pub fn pin_thread(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    sched_setaffinity(None, &set).map_err(|e| Error::system(format!("pin to cores {cores:?}"), e))
}

/// Lets this process's first thread, and what it spawns from now on, run before all ordinary work: SCHED_FIFO, by
/// `chrt` of util-linux.
///
/// # Errors
/// When there is no `chrt`, or the system does not allow it; all then runs at the priority it had.
pub fn take_precedence() -> Result<()> {
    let attempt = || "run before all ordinary work (chrt --fifo)".to_owned();
    let mut command = Command::new("chrt");
    command.args(["--fifo", "--pid", "1", &std::process::id().to_string()]);
    let output = command.output().map_err(|e| Error::system(attempt(), e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::system(attempt(), std::io::Error::other(said)))
}

/// Runs `spawn` while the calling thread is pinned to `cores`, so that a process started in it inherits them.
///
/// # Errors
/// When a core cannot be used; the thread's own cores are put back in any case.
pub fn with_cores<T>(cores: &[usize], spawn: impl FnOnce() -> T) -> Result<T> {
    let before = sched_getaffinity(None).map_err(|e| Error::system("read the allowed cores", e))?;
    pin_thread(cores)?;
    let spawned = spawn();
    sched_setaffinity(None, &before).map_err(|e| Error::system("put back the allowed cores", e))?;
    Ok(spawned)
}

/// The cores this thread may run on.
///
/// # Errors
/// When the system does not tell.
pub fn allowed_cores() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).map_err(|e| Error::system("read the allowed cores", e))?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Processor time, user and system, the calling thread has used.
pub fn of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

/// Processor time, user and system, all threads of a process have used, those of its io_uring workers included.
///
/// `/proc/PID/stat` counts threads that have ended but rounds down to clock ticks; the threads' `schedstat`
/// counts nanoseconds but forgets threads that have ended. The larger is the nearer.
///
/// # Errors
/// When there is no such process, or it may not be looked at.
pub fn of_process(pid: u32) -> Result<Duration> {
    let by_ticks = of_process_by_ticks(pid)?;
    let by_threads = of_process_by_threads(pid).unwrap_or_default();
    Ok(by_ticks.max(by_threads))
}

fn of_process_by_ticks(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::system(format!("read {path}"), e))?;
    let ticks = ticks_in_stat(&text)
        .ok_or_else(|| Error::system(format!("parse {path}"), std::io::ErrorKind::InvalidData))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// utime + stime: fields 14 and 15, counted behind the parenthesised name, which may hold anything.
fn ticks_in_stat(text: &str) -> Option<u64> {
    let behind_name = &text[text.rfind(')')? + 1..];
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn of_process_by_threads(pid: u32) -> std::io::Result<Duration> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_times_are_found_behind_any_name() {
        let stat = "12 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 70 30 1 1 20 0 1 0 5";
        assert_eq!(ticks_in_stat(stat), Some(100));
        assert_eq!(ticks_in_stat("12 (a"), None);
    }

    #[test]
    fn cores_are_put_back_after_a_spawn() {
        let before = allowed_cores().expect("allowed cores");
        let inside = with_cores(&before[..1], allowed_cores).expect("pinned").expect("cores inside");
        assert_eq!(inside, before[..1]);
        assert_eq!(allowed_cores().expect("allowed cores"), before);
    }

    #[test]
    fn the_time_of_a_process_covers_its_threads() {
        let own = of_this_thread();
        let all = of_process(std::process::id()).expect("own process");
        assert!(all + Duration::from_millis(20) >= own, "{all:?} {own:?}");
    }
}
