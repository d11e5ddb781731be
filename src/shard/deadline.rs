//! Who has waited for how long: all connections of a shard, looked at now and then.
//!
//! A connection notes what it waits for and at which sweep it began: two stores, no timer and no clock. The sweep
//! walks all of them and ends the wait of those that are over time by shutting down the direction they wait for,
//! so that the wait completes by itself and the connection, finding its [`Fate`], says good-bye. The same walk
//! ends idle sessions when the server drains.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::net::{Direction, Stream};

/// Sweeps in one idle timeout.
const SWEEPS_PER_TIMEOUT: u32 = 8;

/// Bounds of the time between two sweeps.
const SWEEP_INTERVAL_MIN: Duration = Duration::from_millis(5);
const SWEEP_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// Nothing that its client must do: it works, or waits for the log.
    Us,
    /// Its client, between two mail transactions.
    Command,
    /// Its client, within a mail transaction.
    Transaction,
    /// Its client, which does not read our replies.
    Output,
}

/// Why a connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    TimedOut,
    ShuttingDown,
}

/// One connection as the sweep sees it.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) stream: Stream,
    index: Cell<usize>,
    waits_for: Cell<WaitsFor>,
    since: Cell<u64>,
    fate: Cell<Option<Fate>>,
}

impl Watch {
    pub(super) fn fate(&self) -> Option<Fate> {
        self.fate.get()
    }

    /// Decides its fate and ends what it waits for.
    fn end(&self, fate: Fate) {
        self.fate.set(Some(fate));
        match self.waits_for.get() {
            WaitsFor::Us => {}
            WaitsFor::Command | WaitsFor::Transaction => self.stream.shutdown(Direction::Receive),
            WaitsFor::Output => self.stream.shutdown(Direction::Both),
        }
    }
}

/// All connections of a shard.
#[derive(Debug)]
pub(super) struct Deadlines {
    watches: Vec<Option<Rc<Watch>>>,
    free: Vec<usize>,
    sweep: u64,
    timeout_sweeps: u64,
    interval: Duration,
}

impl Deadlines {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        let interval = (idle_timeout / SWEEPS_PER_TIMEOUT).clamp(SWEEP_INTERVAL_MIN, SWEEP_INTERVAL_MAX);
        // One more, since a wait may begin just before a sweep: never early, late by two intervals at most.
        let timeout_sweeps = idle_timeout.as_nanos().div_ceil(interval.as_nanos()) + 1;
        Self {
            watches: Vec::new(),
            free: Vec::new(),
            sweep: 0,
            timeout_sweeps: u64::try_from(timeout_sweeps).unwrap_or(u64::MAX),
            interval,
        }
    }

    /// The time to let pass between two calls of [`Deadlines::sweep`].
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    pub(super) fn insert(&mut self, stream: Stream) -> Rc<Watch> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.watches.push(None);
            self.watches.len() - 1
        });
        let watch = Rc::new(Watch {
            stream,
            index: Cell::new(index),
            waits_for: Cell::new(WaitsFor::Us),
            since: Cell::new(self.sweep),
            fate: Cell::new(None),
        });
        self.watches[index] = Some(Rc::clone(&watch));
        watch
    }

    pub(super) fn remove(&mut self, watch: &Watch) {
        let index = watch.index.get();
        self.watches[index] = None;
        self.free.push(index);
    }

    /// Notes that `watch` waits from now on; [`WaitsFor::Us`] when the wait is over.
    pub(super) fn wait(&self, watch: &Watch, waits_for: WaitsFor) {
        watch.waits_for.set(waits_for);
        watch.since.set(self.sweep);
    }

    /// Ends the waits that have lasted too long; returns how many.
    pub(super) fn sweep(&mut self) -> u64 {
        self.sweep += 1;
        let over = |watch: &&Rc<Watch>| {
            let waits = watch.waits_for.get() != WaitsFor::Us;
            waits && self.sweep - watch.since.get() > self.timeout_sweeps
        };
        self.end_where(over, Fate::TimedOut)
    }

    /// Ends the sessions that have no mail transaction under way.
    pub(super) fn end_idle(&self) {
        self.end_where(|watch| watch.waits_for.get() == WaitsFor::Command, Fate::ShuttingDown);
    }

    /// Ends all waits for clients.
    pub(super) fn end_all(&self) {
        self.end_where(|watch| watch.waits_for.get() != WaitsFor::Us, Fate::ShuttingDown);
    }

    fn end_where(&self, mut condition: impl FnMut(&&Rc<Watch>) -> bool, fate: Fate) -> u64 {
        let concerned = self.watches.iter().flatten().filter(|watch| condition(watch));
        concerned.map(|watch| watch.end(fate)).count() as u64
    }
}
