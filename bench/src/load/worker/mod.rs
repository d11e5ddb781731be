//! One pinned thread of the load: its connections, one readiness loop, its own counts.
//!
//! ```text
//! |-- warm-up --|------------ window -------------|-- ending --|
//! start         measure_from                      measure_to    all sessions ended by QUIT, or ENDING_TIME
//! ```
//! In a closed loop a message belongs to the window when its 250 arrives in it, in an open loop when it came due in
//! it. With a count there is no warm-up and the window lasts until the last message is decided.
//!
//! A run may begin later than its threads, when all connections are greeted (`gather`); until then nothing is sent.
//!
//! In an open loop an idle connection takes the next message that comes due. Connections that are kept are opened
//! at the start; those that serve only so many messages when a message needs one.
//!
//! Per message one read, one write and a share of a wait (pipelined), or four of them (lockstep); a read takes
//! the clock once and the write that follows shares that reading. Nothing is allocated for a message.
//!
//! Why epoll: against the same sink it costs no more than monoio on io_uring with deferred task work (64
//! connections, 4 KiB, three interleaved rounds on a busy two-core guest: 5.8-8.8 against 6.6-12.6 us of CPU a
//! message pipelined, 17-22 against 19-30 us in lockstep). Nearly all of it is the kernel's TCP.

mod dialogue;
mod gather;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::load::account::{Account, Window};
use crate::load::connection::Connection;
use crate::load::listen_queue::Gate;
use crate::load::script::Script;
use crate::load::session::{Manner, Stage};
use crate::load::supply::{Claim, Supply};
use crate::load::tally::{Failure, Tally};
use crate::poll::{Events, Poller};
use crate::{cpu, error};
use gather::Start;

/// Seconds after the window at which sessions that have not ended by then are cut.
pub const ENDING_SECONDS: u64 = 10;
/// The same in nanoseconds.
const ENDING_TIME: u64 = ENDING_SECONDS * 1_000_000_000;
/// A connection that failed is opened again after this time, so that a server in trouble is not hammered.
const RETRY_TIME: u64 = 50_000_000;
/// A run in which nothing is decided for so long is given up.
const PROGRESS_TIME: u64 = 30_000_000_000;
/// Octets read at once: replies are short.
const RECEIVE_LEN: usize = 16 << 10;

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
    /// Where its connections come from, in turn; empty to leave that to the system.
    pub sources: Vec<IpAddr>,
    /// Whether connections wait for room in the server's listen queue.
    pub minds_listen_queue: bool,
    /// Its number and how many threads there are.
    pub place: (usize, usize),
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
    /// Slots that are opened when a message needs one.
    vacant: Vec<usize>,
    /// Keeps connections from being opened while the server's listen queue is full.
    gate: Option<Gate>,
    /// Slots whose sessions were idle; some may have ended since.
    idle: VecDeque<usize>,
    supply: Supply,
    account: Account<'a>,
    decided_at: u64,
    start: Start<'a>,
}

/// Why a thread stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// All sessions have ended, or the run never began.
    Done,
    /// The time after the window is over.
    Late,
    /// Nothing was decided any more.
    Stuck,
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
        account: Account<'a>,
        script: &'a Script,
        epoch: Instant,
    ) -> error::Result<Self> {
        if let Some(core) = options.core {
            cpu::pin_thread(&[core])?;
        }
        if supply.is_scheduled() {
            // Wake at the scheduled time, not up to 50 us later. A system that refuses makes the load late, which
            // its own figures show.
            let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        }
        let poller = Poller::new().map_err(|e| error::Error::system("make an epoll descriptor", e))?;
        let gate =
            options.minds_listen_queue.then(|| Gate::new(options.target)).transpose().map_err(|e| {
                let target = options.target;
                error::Error::system(
                    format!("see the listen queue of {target}, which only works on this machine"),
                    e,
                )
            })?;
        let slots: Vec<Option<Connection>> = (0..options.connection_count).map(|_| None).collect();
        Ok(Self {
            due: (0..slots.len()).map(|slot| (0, slot)).collect(),
            start: Start::AtOnce,
            options,
            script,
            epoch,
            poller,
            slots,
            open_count: 0,
            vacant: Vec::new(),
            gate,
            idle: VecDeque::new(),
            supply,
            account,
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
        let stop = loop {
            let now = self.now();
            self.begin_turn(now)?;
            if let Some(stop) = self.stops(now) {
                break stop;
            }
            self.poller
                .wait(&mut events, Some(self.wait_time(now)))
                .map_err(|e| error::Error::system("wait for sockets", e))?;
            for ready in events.iter() {
                self.handle(ready, &mut buffer);
            }
        };
        self.conclude(stop)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn begin_turn(&mut self, now: u64) -> error::Result<()> {
        self.gather(now);
        self.account.turn(now)?;
        self.supply.advance(now);
        let is_past_window = self.options.window.measure_to.is_some_and(|to| now >= to);
        if is_past_window && !self.supply.is_scheduled() && self.supply.has_more() {
            self.supply.close();
            self.due.clear();
        }
        self.open_due(now);
        if matches!(self.start, Start::Gathering(_)) {
            return Ok(());
        }
        // Those of a gathering are idle in a closed loop too, once.
        if self.supply.is_scheduled() || !self.idle.is_empty() {
            self.start_due(now);
        }
        if self.supply.is_scheduled()
            && self.supply.open_count(self.account.tally.messages_overall.total()) == 0
            && !self.supply.is_due()
        {
            // Waiting for the schedule is no standstill.
            self.decided_at = now;
        }
        Ok(())
    }

    fn stops(&self, now: u64) -> Option<Stop> {
        if self.is_over() || self.is_forsaken() {
            return Some(Stop::Done);
        }
        if self.is_past_ending(now) {
            return Some(Stop::Late);
        }
        (now - self.decided_at > PROGRESS_TIME).then_some(Stop::Stuck)
    }

    fn is_over(&self) -> bool {
        self.open_count == 0 && (self.due.is_empty() || !self.supply.has_more()) && !self.may_open()
    }

    /// Whether a connection may yet be opened for a message that is not due.
    fn may_open(&self) -> bool {
        !self.vacant.is_empty() && self.supply.has_more()
    }

    /// Gives messages that are due to idle sessions and to new connections; ends idle sessions when none will come.
    fn start_due(&mut self, now: u64) {
        while self.supply.is_due() || !self.supply.has_more() {
            let Some(slot) = self.idle.pop_front() else { break };
            let idle = self.slots[slot].take_if(|connection| connection.session.is_idle());
            let Some(mut connection) = idle else { continue };
            let next = connection.session.start(&mut self.supply);
            match self.act(slot, &mut connection, next, now) {
                Ok(()) => self.slots[slot] = Some(connection),
                Err(ending) => self.end(slot, &connection, ending),
            }
        }
        while self.supply.is_due() && !self.vacant.is_empty() && self.may_connect(now) {
            let Some(slot) = self.vacant.pop() else { break };
            self.open(slot, now);
        }
    }

    fn is_past_ending(&self, now: u64) -> bool {
        self.options.window.measure_to.is_some_and(|to| now > to + ENDING_TIME)
    }

    fn wait_time(&self, now: u64) -> Duration {
        const WAIT_MAX: u64 = 100_000_000;
        let Window { measure_from, measure_to } = self.options.window;
        let retry_at = self.due.front().map(|(at, _)| *at);
        let due_at = self.supply.next_due_at();
        let room_at = self.gate.as_ref().and_then(Gate::looks_again_at);
        let times = [Some(measure_from), measure_to, retry_at, due_at, room_at, self.begins_at()];
        let until = times.into_iter().flatten().filter(|at| *at > now);
        Duration::from_nanos(until.map(|at| at - now).fold(WAIT_MAX, u64::min))
    }

    fn open_due(&mut self, now: u64) {
        while let Some((at, slot)) = self.due.front().copied() {
            if at > now || self.is_opening_enough() || (!self.opens_on_demand() && !self.may_connect(now)) {
                return;
            }
            self.due.pop_front();
            if self.opens_on_demand() {
                self.vacant.push(slot);
            } else {
                self.open(slot, now);
            }
        }
    }

    fn may_connect(&mut self, now: u64) -> bool {
        self.supply.has_more() && self.gate.as_mut().is_none_or(|gate| gate.admits(now))
    }

    fn opens_on_demand(&self) -> bool {
        let is_replaced = self.options.manner.messages_per_connection.is_some();
        self.supply.is_scheduled() && is_replaced && matches!(self.start, Start::AtOnce)
    }

    fn open(&mut self, slot: usize, now: u64) {
        if !self.supply.has_more() {
            return;
        }
        let claim = self.opens_on_demand().then(|| self.supply.claim()).flatten();
        match self.connect(slot, now) {
            Ok(mut connection) => {
                if let Some(claim) = claim {
                    connection.session.prepare(claim);
                }
                self.slots[slot] = Some(connection);
                self.open_count += 1;
            }
            Err(error) => {
                self.account.tally.fail(Failure::connect(error));
                self.give_back(claim);
                self.due.push_back((now + RETRY_TIME, slot));
            }
        }
    }

    fn connect(&self, slot: usize, now: u64) -> rustix::io::Result<Connection> {
        let sources = &self.options.sources;
        // Each thread has its own slots, so all threads together use the addresses evenly.
        let (index, count) = self.options.place;
        let source = (!sources.is_empty()).then(|| sources[(slot * count + index) % sources.len()]);
        let connection = Connection::open(self.options.target, source, self.options.manner, now)?;
        self.poller.add(&connection, slot as u64)?;
        Ok(connection)
    }

    fn give_back(&mut self, claim: Option<Claim>) {
        if let Some(claim) = claim {
            self.supply.give_back(claim);
        }
    }

    fn end(&mut self, slot: usize, connection: &Connection, ending: Ending) {
        self.open_count -= 1;
        self.note_end(connection);
        let now = self.now();
        match ending {
            Ending::AsAgreed if self.opens_on_demand() => return self.vacant.push(slot),
            // At the next turn, or when there is room: those that failed wait longer.
            Ending::AsAgreed if self.gate.is_some() => return self.due.push_front((now, slot)),
            Ending::AsAgreed => return self.open(slot, now),
            Ending::Failed(failure) => self.account.tally.fail(failure),
            Ending::GivenUp => {}
        }
        if let Some(lost) = connection.session.lost() {
            self.account.lost(lost, now);
        }
        // The one whose envelope went ahead was never sent.
        self.give_back(connection.session.unsent());
        if self.supply.has_more() {
            self.due.push_back((now + RETRY_TIME, slot));
        }
    }

    /// Whoever still owes a reply is named, whether or not it is that of a message.
    fn conclude(mut self, stop: Stop) -> error::Result<WorkerResult> {
        let now = self.now();
        for connection in self.slots.iter().flatten() {
            let stage = connection.session.stage();
            match stop {
                Stop::Late if stage != Stage::Idle => self.account.tally.fail(Failure::Late(stage)),
                Stop::Stuck if stage != Stage::Idle => self.account.tally.fail(Failure::Unanswered(stage)),
                Stop::Done | Stop::Late | Stop::Stuck => {}
            }
            if let Some(lost) = connection.session.lost() {
                self.account.lost(lost, now);
            }
            if let Some(unsent) = connection.session.unsent() {
                self.supply.give_back(unsent);
            }
        }
        self.account.tally.connections_held = self.gate.as_ref().map_or(0, |gate| gate.held_count);
        self.account.conclude(now, &self.supply, stop == Stop::Stuck)
    }
}
