//! What a benchmark that is interrupted must not leave behind: servers, control groups, directories of data.
//!
//! Whoever starts or makes such a thing enters it here and strikes it out when it is gone. A signal that ends the
//! program (SIGINT, SIGTERM, SIGHUP) first ends and removes what is entered, then the program, by the same signal.
//! SIGKILL cannot be heard: groups that a program killed by it left are removed by the next one (`group`).

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};

/// Something that would stay behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// A child that has not been waited for: its number is still its own.
    Child(u32),
    /// The directory of a control group, with all that runs in it.
    Group(PathBuf),
    /// A directory with everything below it.
    Directory(PathBuf),
}

/// An entry; struck out when dropped.
#[derive(Debug)]
pub struct Entered {
    number: u64,
}

static LEFTOVERS: Mutex<Vec<(u64, Leftover)>> = Mutex::new(Vec::new());

/// Enters `leftover` until the result is dropped.
#[must_use]
pub fn enter(leftover: Leftover) -> Entered {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    leftovers().push((number, leftover));
    Entered { number }
}

impl Drop for Entered {
    fn drop(&mut self) {
        leftovers().retain(|(number, _)| *number != self.number);
    }
}

fn leftovers() -> MutexGuard<'static, Vec<(u64, Leftover)>> {
    // Neither a push nor a retain can be left half done by a panic.
    LEFTOVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on a signal that ends the program removes what is entered first.
///
/// # Errors
/// When signals cannot be caught or no thread be started.
pub fn listen() -> Result<()> {
    let attempt = |e| Error::system("catch signals", e);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(attempt)?;
    let thread = std::thread::Builder::new().name("signals".into());
    let heard = move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("mailrace-bench: interrupted: stopping servers and removing their data");
            remove_all();
            // Ends the program as if the signal had not been caught; that it cannot be is no reason to go on.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            std::process::exit(128 + signal);
        }
    };
    thread.spawn(heard).map(drop).map_err(attempt)
}

/// Ends and removes everything, and lets nothing more be entered: the lock is kept to the end.
fn remove_all() {
    let leftovers = leftovers();
    for (_, leftover) in leftovers.iter() {
        end(leftover);
    }
    for (_, leftover) in leftovers.iter() {
        remove(leftover);
    }
    std::mem::forget(leftovers);
}

fn end(leftover: &Leftover) {
    // What has ended by itself meanwhile is as good.
    match leftover {
        Leftover::Child(pid) => {
            let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
        Leftover::Group(directory) => {
            let _ = std::fs::write(directory.join("cgroup.kill"), "1");
        }
        Leftover::Directory(_) => {}
    }
}

fn remove(leftover: &Leftover) {
    /// Processes that were killed take a moment to be gone.
    const PATIENCE: Duration = Duration::from_secs(5);
    const PAUSE: Duration = Duration::from_millis(5);
    let remove = |path: &PathBuf| match leftover {
        Leftover::Group(_) => std::fs::remove_dir(path),
        _ => std::fs::remove_dir_all(path),
    };
    let (Leftover::Group(path) | Leftover::Directory(path)) = leftover else { return };
    let deadline = Instant::now() + PATIENCE;
    while path.exists() {
        match remove(path) {
            Ok(()) => return,
            Err(_) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(error) => {
                eprintln!("mailrace-bench: {} stays behind: {error}", path.display());
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_struck_out() {
        let here = |path: &str| {
            let leftover = Leftover::Directory(path.into());
            leftovers().iter().any(|(_, entered)| *entered == leftover)
        };
        let entered = enter(Leftover::Directory("/nowhere/a".into()));
        let other = enter(Leftover::Directory("/nowhere/b".into()));
        assert!(here("/nowhere/a") && here("/nowhere/b"));
        drop(entered);
        assert!(!here("/nowhere/a") && here("/nowhere/b"));
        drop(other);
    }
}
