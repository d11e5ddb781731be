//! A line on standard error that says once a second how far a run is.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

/// The line; it is cleared when this is dropped.
pub(super) struct Progress {
    /// Dropping it wakes the thread that writes.
    _end: Sender<()>,
}

impl Progress {
    /// Shows what `accepted` counts.
    pub(super) fn begin<'scope>(scope: &'scope Scope<'scope, '_>, accepted: &'scope AtomicU64) -> Self {
        let (end, ended) = channel::<()>();
        scope.spawn(move || {
            let began = Instant::now();
            let mut before = 0;
            while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                let now = accepted.load(Ordering::Relaxed);
                let seconds = began.elapsed().as_secs();
                // Nothing is lost with a line that cannot be shown.
                drop(write!(
                    std::io::stderr(),
                    "\r\x1b[K{seconds} s: {now} accepted, {} in the last second",
                    now - before
                ));
                before = now;
            }
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        });
        Self { _end: end }
    }
}
