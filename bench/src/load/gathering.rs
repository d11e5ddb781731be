//! A run that begins only when all connections are greeted: threads meet, the run's own thread says when.
//!
//! ```text
//! threads     |-- open, EHLO --|-------- silent --------|-- warm-up --|---- window ---- ...
//! run's own   | wait for all   | idle, then what is to  |
//!             |                | be done meanwhile      |
//! start                        gathered                 begin: the zero of window and schedule
//! ```
//! Neither the opening nor the silence is in any figure but those of connect and greeting.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// When the first message may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// As soon as a connection is greeted, while others are still being opened.
    #[default]
    AtOnce,
    /// When all connections are open, have said EHLO and were then silent for `idle`.
    Gathered {
        /// How long all are silent.
        idle: Duration,
    },
}

/// Not said yet.
const OPEN: u64 = u64::MAX;
/// Never: a thread has ended before.
const ABANDONED: u64 = u64::MAX - 1;

/// Where the threads of a run meet.
#[derive(Debug)]
pub struct Gathering {
    connection_count: usize,
    greeted: Mutex<usize>,
    changed: Condvar,
    /// Nanoseconds of the run's clock, or one of the two above.
    begins_at: AtomicU64,
}

/// A thread's place in a gathering; a thread that ends before the beginning takes the run with it.
#[derive(Debug)]
pub struct Attendance<'a>(&'a Gathering);

/// What a thread knows of the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// It is not known yet.
    Unknown,
    /// In nanoseconds of the run's clock.
    At(u64),
    /// There will be none.
    Never,
}

impl Gathering {
    /// A gathering of so many connections, over all threads.
    pub fn of(connection_count: usize) -> Self {
        Self {
            connection_count,
            greeted: Mutex::new(0),
            changed: Condvar::new(),
            begins_at: AtomicU64::new(OPEN),
        }
    }

    /// A thread takes part until the value is dropped.
    pub fn attend(&self) -> Attendance<'_> {
        Attendance(self)
    }

    /// A thread that had `before` connections greeted and silent has `now`.
    pub fn report(&self, before: usize, now: usize) {
        if before != now {
            let mut greeted = self.greeted.lock().unwrap_or_else(PoisonError::into_inner);
            *greeted = *greeted + now - before;
            self.changed.notify_all();
        }
    }

    /// Waits until all connections are greeted; false when that will never be.
    pub fn wait(&self) -> bool {
        let greeted = self.greeted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_early = |greeted: &mut usize| *greeted < self.connection_count && !self.is_abandoned();
        drop(self.changed.wait_while(greeted, is_early));
        !self.is_abandoned()
    }

    /// The run begins at `at`, in nanoseconds of its clock; no later words change that.
    pub fn begin(&self, at: u64) {
        self.decide(at);
    }

    /// When the run begins.
    pub fn beginning(&self) -> Beginning {
        match self.begins_at.load(Ordering::Acquire) {
            OPEN => Beginning::Unknown,
            ABANDONED => Beginning::Never,
            at => Beginning::At(at),
        }
    }

    fn is_abandoned(&self) -> bool {
        self.beginning() == Beginning::Never
    }

    fn decide(&self, at: u64) {
        // Under the lock, so that nobody looks just before and waits just after.
        let _greeted = self.greeted.lock().unwrap_or_else(PoisonError::into_inner);
        // What was decided before stands.
        let _ = self.begins_at.compare_exchange(OPEN, at, Ordering::AcqRel, Ordering::Acquire);
        self.changed.notify_all();
    }
}

impl Drop for Attendance<'_> {
    fn drop(&mut self) {
        self.0.decide(ABANDONED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gathering_waits_for_all_threads() {
        let gathering = Gathering::of(5);
        let waited = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gathering.wait());
            for count in [2, 3] {
                assert!(!waiting.is_finished());
                gathering.report(0, count);
            }
            waiting.join().expect("no panic")
        });
        assert!(waited);
        assert_eq!(gathering.beginning(), Beginning::Unknown);
        gathering.begin(7);
        drop(gathering.attend());
        assert_eq!(gathering.beginning(), Beginning::At(7), "who leaves after the beginning changes nothing");
    }

    #[test]
    fn a_thread_that_ends_early_ends_the_waiting() {
        let gathering = Gathering::of(5);
        gathering.report(0, 4);
        drop(gathering.attend());
        assert!(!gathering.wait());
        gathering.begin(7);
        assert_eq!(gathering.beginning(), Beginning::Never);
    }

    #[test]
    fn a_connection_lost_in_the_silence_is_no_longer_counted() {
        let gathering = Gathering::of(2);
        gathering.report(0, 2);
        gathering.report(2, 1);
        assert_eq!(*gathering.greeted.lock().expect("no panic"), 1);
    }
}
