//! One pinned thread of the load: its connections, one readiness loop, its own counts.
//!
//! ```text
//! |-- warm-up --|------------ window -------------|-- ending --|
//! start         measure_from                      measure_to    all sessions ended by QUIT, or ENDING_TIME
//! ```
//! A message belongs to the window when its 250 arrives in it. With a count there is no warm-up and the window
//! lasts until the last message is decided.
//!
//! Per message one read, one write and a share of a wait (pipelined), or four of them (lockstep); a read takes
//! the clock once and the write that follows shares that reading. Nothing is allocated for a message.
//!
//! Why epoll: against the same sink it costs no more than monoio on io_uring with deferred task work (64
//! connections, 4 KiB, three interleaved rounds on a busy two-core guest: 5.8-8.8 against 6.6-12.6 us of CPU a
//! message pipelined, 17-22 against 19-30 us in lockstep). Nearly all of it is the kernel's TCP.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::script::Script;
use super::session::{Manner, Next, Stage, Verdict};
use super::supply::Supply;
use super::tally::{Failure, Tally};
use crate::poll::{Events, Poller, Readiness};
use crate::{cpu, error};

/// After the window, sessions that have not ended by then are cut.
const ENDING_TIME: u64 = 10_000_000_000;
/// A connection that failed is opened again after this time, so that a server in trouble is not hammered.
const RETRY_TIME: u64 = 50_000_000;
/// A run in which nothing is decided for so long is given up.
const PROGRESS_TIME: u64 = 30_000_000_000;
/// Octets read at once: replies are short.
const RECEIVE_LEN: usize = 16 << 10;

/// When a thread measures, in nanoseconds of the run's clock.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Messages decided from here on count.
    pub measure_from: u64,
    /// Up to here; `None` with a count.
    pub measure_to: Option<u64>,
}

/// What one thread of a run is told.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The core to run on; `None` leaves that to the system.
    pub core: Option<usize>,
    /// The server.
    pub target: SocketAddr,
    /// Connections this thread holds.
    pub connection_count: usize,
    /// How its sessions behave.
    pub manner: Manner,
    /// When it measures.
    pub window: Window,
}

/// What one thread of a run found.
#[derive(Debug)]
pub struct WorkerResult {
    /// What it counted.
    pub tally: Tally,
    /// Its own processor time within the window.
    pub cpu: Duration,
    /// The window as it turned out, in nanoseconds of the run's clock.
    pub measured: (u64, u64),
    /// Whether it stopped because nothing was decided any more.
    pub is_stuck: bool,
}

/// One thread of a run.
#[derive(Debug)]
pub struct Worker<'a> {
    options: WorkerOptions,
    script: &'a Script,
    epoch: Instant,
    poller: Poller,
    slots: Vec<Option<Connection>>,
    open_count: usize,
    /// Slots to be opened, and when: in the order of time, for the delay is always the same.
    due: VecDeque<(u64, usize)>,
    supply: Supply,
    tally: Tally,
    in_window: bool,
    cpu_marks: (Duration, Option<Duration>),
    measured: (u64, u64),
    decided_at: u64,
}

/// How a connection ended.
enum Ending {
    AsAgreed,
    Failed(Failure),
    /// By a refusal that is counted already.
    GivenUp,
}

impl Ending {
    fn broken(error: rustix::io::Errno) -> Self {
        Self::Failed(Failure::broken(error))
    }
}

impl<'a> Worker<'a> {
    /// A thread's state; `epoch` is the zero of the run's clock.
    ///
    /// # Errors
    /// When the core cannot be used or no descriptor is left.
    pub fn new(
        options: WorkerOptions,
        supply: Supply,
        script: &'a Script,
        epoch: Instant,
    ) -> error::Result<Self> {
        if let Some(core) = options.core {
            cpu::pin_thread(&[core])?;
        }
        let poller = Poller::new().map_err(|e| error::Error::system("make an epoll descriptor", e))?;
        let slots: Vec<Option<Connection>> = (0..options.connection_count).map(|_| None).collect();
        Ok(Self {
            due: (0..slots.len()).map(|slot| (0, slot)).collect(),
            options,
            script,
            epoch,
            poller,
            slots,
            open_count: 0,
            supply,
            tally: Tally::default(),
            in_window: false,
            cpu_marks: (Duration::ZERO, None),
            measured: (0, 0),
            decided_at: 0,
        })
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// When the readiness of sockets cannot be learnt.
    pub fn run(mut self) -> error::Result<WorkerResult> {
        let mut buffer = vec![0; RECEIVE_LEN];
        let mut events = Events::default();
        self.decided_at = self.now();
        let mut is_stuck = false;
        loop {
            let now = self.now();
            self.mark_window(now);
            self.open_due(now);
            if (self.open_count == 0 && self.due.is_empty()) || self.is_past_ending(now) {
                break;
            }
            if now - self.decided_at > PROGRESS_TIME {
                is_stuck = true;
                break;
            }
            self.poller
                .wait(&mut events, Some(self.wait_time(now)))
                .map_err(|e| error::Error::system("wait for sockets", e))?;
            for ready in events.iter() {
                self.handle(ready, &mut buffer);
            }
        }
        Ok(self.conclude(is_stuck))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn mark_window(&mut self, now: u64) {
        let Window { measure_from, measure_to } = self.options.window;
        let is_in = now >= measure_from && measure_to.is_none_or(|to| now < to);
        if is_in && !self.in_window && self.cpu_marks.1.is_none() {
            self.in_window = true;
            self.cpu_marks.0 = cpu::of_this_thread();
            self.measured.0 = now;
        } else if !is_in && self.in_window {
            self.in_window = false;
            self.cpu_marks.1 = Some(cpu::of_this_thread());
            self.measured.1 = now;
        }
        if measure_to.is_some_and(|to| now >= to) && self.supply.has_more() {
            self.supply.close();
            self.due.clear();
        }
    }

    fn is_past_ending(&self, now: u64) -> bool {
        self.options.window.measure_to.is_some_and(|to| now > to + ENDING_TIME)
    }

    fn wait_time(&self, now: u64) -> Duration {
        const WAIT_MAX: u64 = 100_000_000;
        let Window { measure_from, measure_to } = self.options.window;
        let retry_at = self.due.front().map(|(at, _)| *at);
        let until = [Some(measure_from), measure_to, retry_at].into_iter().flatten().filter(|at| *at > now);
        Duration::from_nanos(until.map(|at| at - now).fold(WAIT_MAX, u64::min))
    }

    fn open_due(&mut self, now: u64) {
        while let Some((at, slot)) = self.due.front().copied() {
            if at > now {
                return;
            }
            self.due.pop_front();
            self.open(slot, now);
        }
    }

    fn open(&mut self, slot: usize, now: u64) {
        if !self.supply.has_more() {
            return;
        }
        let opened = Connection::open(self.options.target, self.options.manner, now).and_then(|connection| {
            self.poller.add(&connection, slot as u64)?;
            Ok(connection)
        });
        match opened {
            Ok(connection) => {
                self.slots[slot] = Some(connection);
                self.open_count += 1;
            }
            Err(error) => {
                self.tally.fail(Failure::connect(error));
                self.due.push_back((now + RETRY_TIME, slot));
            }
        }
    }

    fn handle(&mut self, ready: Readiness, buffer: &mut [u8]) {
        let slot = usize::try_from(ready.token).expect("tokens are slot numbers");
        let Some(mut connection) = self.slots[slot].take() else { return };
        match self.serve(&mut connection, ready, buffer) {
            Ok(()) => self.slots[slot] = Some(connection),
            Err(ending) => self.end(slot, &connection, ending),
        }
    }

    /// Moves one connection as far as it goes, or to its end.
    fn serve(
        &mut self,
        connection: &mut Connection,
        ready: Readiness,
        buffer: &mut [u8],
    ) -> Result<(), Ending> {
        if !connection.is_open {
            self.note_open(connection, ready)?;
        }
        if ready.writable && connection.has_unsent() {
            connection.flush(self.script).map_err(Ending::broken)?;
        }
        if !ready.readable {
            return Ok(());
        }
        loop {
            match connection.receive(buffer).map_err(Ending::broken)? {
                None => return Ok(()),
                Some(0) => return Err(Ending::Failed(Failure::Closed(connection.session.stage()))),
                Some(count) => {
                    self.take_replies(connection, &buffer[..count])?;
                    // A short read has emptied the socket, and edge-triggered readiness tells of what comes next.
                    if count < buffer.len() && !ready.ended {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The first readiness of a connection ends the attempt to open it.
    fn note_open(&mut self, connection: &mut Connection, ready: Readiness) -> Result<(), Ending> {
        if let Some(error) = ready.ended.then(|| connection.connect_error()).flatten() {
            return Err(Ending::Failed(Failure::connect(error)));
        }
        connection.is_open = true;
        self.tally.connections_opened += 1;
        self.tally.connect.saturating_record(self.now() - connection.opened_at);
        Ok(())
    }

    fn take_replies(&mut self, connection: &mut Connection, mut input: &[u8]) -> Result<(), Ending> {
        let now = self.now();
        loop {
            let line = connection.replies.next(&mut input).map_err(|_| Ending::Failed(Failure::Malformed))?;
            let Some(line) = line else { return Ok(()) };
            if connection.session.stage() == Stage::Greeting && line.is_last {
                self.tally.greeting.saturating_record(now - connection.opened_at);
            }
            let step = connection.session.take(line, &mut self.supply);
            if let Some((stage, code)) = step.refusal {
                self.tally.fail(Failure::Reply(stage, code));
            }
            if let Some(verdict) = step.verdict {
                self.count(verdict, now, connection.body_sent_at);
            }
            match step.next {
                Next::Wait => {}
                Next::Send(piece) => {
                    if piece.starts_with_body() {
                        connection.body_sent_at = now;
                    }
                    connection.send(piece, self.script).map_err(Ending::broken)?;
                }
                Next::Close => return Err(Ending::AsAgreed),
                Next::GiveUp => return Err(Ending::GivenUp),
            }
        }
    }

    fn count(&mut self, verdict: Verdict, now: u64, body_sent_at: u64) {
        self.decided_at = now;
        let in_window = self.in_window && self.options.window.measure_to.is_none_or(|to| now < to);
        match verdict {
            Verdict::Accepted => {
                self.tally.messages_overall.accepted += 1;
                if in_window {
                    self.tally.messages.accepted += 1;
                    self.tally.time_to_250.saturating_record(now - body_sent_at);
                }
            }
            Verdict::Refused => {
                self.tally.messages_overall.refused += 1;
                self.tally.messages.refused += u64::from(in_window);
            }
        }
    }

    fn end(&mut self, slot: usize, connection: &Connection, ending: Ending) {
        self.open_count -= 1;
        let now = self.now();
        match ending {
            Ending::AsAgreed => return self.open(slot, now),
            Ending::Failed(failure) => self.tally.fail(failure),
            Ending::GivenUp => {}
        }
        let undecided = u64::from(connection.session.undecided_count());
        // The message under way is lost; the one whose envelope went ahead was never sent.
        let lost = undecided.min(1);
        self.tally.messages_overall.lost += lost;
        self.tally.messages.lost += if self.in_window { lost } else { 0 };
        self.supply.give_back(undecided - lost);
        if self.supply.has_more() {
            self.due.push_back((now + RETRY_TIME, slot));
        }
    }

    fn conclude(mut self, is_stuck: bool) -> WorkerResult {
        if self.in_window {
            self.cpu_marks.1 = Some(cpu::of_this_thread());
            self.measured.1 = self.now();
        }
        let still_open = self.slots.iter().flatten();
        self.tally.messages_overall.lost +=
            still_open.map(|c| u64::from(c.session.undecided_count().min(1))).sum::<u64>();
        let cpu = self.cpu_marks.1.unwrap_or_default().saturating_sub(self.cpu_marks.0);
        WorkerResult { tally: self.tally, cpu, measured: self.measured, is_stuck }
    }
}
