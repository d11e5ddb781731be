//! One pinned thread with its own event loop, listeners and connections: bytes in, replies out, and nothing else.
//!
//! ```text
//!  listener --accept--> connection (dialogue + socket) --> tickets --> handoff
//!                            ^                                |
//!                            +------- answers <--- settle <---+--- doorbell
//! ```
//! Level 3: names `message`, `wire`, `policy`, `smtp`, `handoff`, `observe`; it cannot name `log`. monoio is named in
//! `net` only; `dialogue`, `outbox`, `tickets` and `parking` know no socket, and the simulation runs them as they
//! are. All tasks of a shard run on its thread, so what they share stands in cells, without locks.
//!
//! What runs: one task for each connection and each listener, one for the sweep over deadlines, and the main task,
//! which hears the doorbell. The doorbell rings for three reasons, and the main task looks after all of them each
//! time: outcomes to deliver, room for parked messages, an order of the server to drain or to end.

mod connection;
mod deadline;
pub mod dialogue;
pub mod listener;
pub mod net;
pub mod outbox;
mod parking;
pub mod tickets;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use self::deadline::Deadlines;
use self::listener::{ConnectionGate, Listener, Listeners};
use self::net::{Driver, DriverInUse, Reactor, Readiness};
use self::tickets::Tickets;
use crate::handoff::{Doorbell, ShardPort};
use crate::observe::ShardCounters;
use crate::smtp::SessionOptions;
use crate::wire::recv_buffer::RecvBuffer;

/// What one shard is made of.
#[derive(Debug)]
pub struct ShardOptions {
    /// Its number, for the thread's name.
    pub shard: usize,
    /// The core to run on, by the kernel's number.
    pub core: usize,
    /// The driver to use.
    pub driver: Driver,
    /// What all sessions have in common.
    pub session: Arc<SessionOptions>,
    /// Octets an unfinished command line may have.
    pub command_line_max: usize,
    /// Messages of one connection that may wait for their final reply.
    pub pipelined_max: usize,
    /// How long a client may be silent, or leave replies unread.
    pub idle_timeout: Duration,
    /// How many connections the process has.
    pub gate: Arc<ConnectionGate>,
    /// Where this shard counts.
    pub counters: Arc<ShardCounters>,
}

/// How far a shard has come on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Takes connections and mail.
    Running = 0,
    /// Takes no connections; transactions under way may finish.
    Draining = 1,
    /// Waits for no client any more, only for the log.
    Cut = 2,
}

/// What the server holds of a running shard.
#[derive(Debug)]
pub struct ShardHandle {
    thread: JoinHandle<()>,
    control: Arc<Control>,
}

/// How the server tells a shard to end.
#[derive(Debug)]
pub struct Control {
    phase: AtomicU8,
    doorbell: Arc<Doorbell>,
}

impl Control {
    /// No new connections; idle sessions get 421, transactions under way may finish.
    pub fn drain(&self) {
        self.advance_to(Phase::Draining);
    }

    /// No more waiting for clients: every session gets 421 as soon as its stored messages are answered.
    pub fn cut(&self) {
        self.advance_to(Phase::Cut);
    }

    fn advance_to(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
        self.doorbell.ring();
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Cut,
        }
    }
}

impl ShardHandle {
    /// How to tell it to end.
    #[must_use]
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Waits until it has ended; false when it panicked, which ended its connections with it.
    #[must_use]
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}

/// Starts a shard. Its driver, or why it has none, is sent to `started`.
///
/// # Errors
/// When no thread can be started.
pub fn spawn(
    options: ShardOptions,
    listeners: Listeners,
    port: ShardPort,
    started: Sender<io::Result<DriverInUse>>,
) -> io::Result<ShardHandle> {
    let control = Arc::new(Control { phase: AtomicU8::new(0), doorbell: Arc::clone(port.doorbell()) });
    let thread = std::thread::Builder::new().name(format!("shard-{}", options.shard)).spawn({
        let control = Arc::clone(&control);
        move || run(options, listeners, port, control, &started)
    })?;
    Ok(ShardHandle { thread, control })
}

/// What the tasks of one shard share.
#[derive(Debug)]
pub(crate) struct Shard {
    session: Arc<SessionOptions>,
    line_max: usize,
    pipelined_max: usize,
    gate: Arc<ConnectionGate>,
    counters: Arc<ShardCounters>,
    doorbell: Arc<Doorbell>,
    tickets: RefCell<Tickets>,
    recv_buffer: RefCell<RecvBuffer>,
    deadlines: RefCell<Deadlines>,
    phase: Cell<Phase>,
    /// Connections that exist.
    open: Cell<usize>,
}

fn run(
    options: ShardOptions,
    listeners: Listeners,
    port: ShardPort,
    control: Arc<Control>,
    started: &Sender<io::Result<DriverInUse>>,
) {
    // A shard on another core works as well, so a refusal is no reason to stop.
    core_affinity::set_for_current(core_affinity::CoreId { id: options.core });
    let mut reactor = match Reactor::new(options.driver) {
        Ok(reactor) => reactor,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let driver = reactor.driver();
    reactor.run(async {
        let opened =
            Listener::all(listeners).and_then(|listeners| Ok((listeners, Readiness::of(port.doorbell())?)));
        match opened {
            Ok((listeners, bell)) => {
                let _ = started.send(Ok(driver));
                attend(Rc::new(Shard::new(options, port)), listeners, bell, &control).await;
            }
            Err(error) => drop(started.send(Err(error))),
        }
    });
}

/// The main task: starts the others and hears the doorbell until the shard is over.
async fn attend(shard: Rc<Shard>, listeners: Vec<Rc<Listener>>, bell: Readiness, control: &Control) {
    for listener in &listeners {
        net::spawn(Rc::clone(listener).run(Rc::clone(&shard)));
    }
    net::spawn(sweep(Rc::clone(&shard)));
    while !shard.is_over() {
        if bell.readable().await.is_err() {
            return;
        }
        shard.doorbell.silence();
        shard.tickets.borrow_mut().settle();
        shard.enter(control.phase(), &listeners);
    }
}

async fn sweep(shard: Rc<Shard>) {
    let interval = shard.deadlines.borrow().interval();
    loop {
        net::sleep(interval).await;
        let timed_out = shard.deadlines.borrow_mut().sweep();
        shard.counters.timeouts.add(timed_out);
        if shard.phase.get() == Phase::Cut {
            shard.deadlines.borrow().end_all();
        }
    }
}

impl Shard {
    fn new(options: ShardOptions, port: ShardPort) -> Self {
        Self {
            session: options.session,
            line_max: options.command_line_max,
            pipelined_max: options.pipelined_max,
            gate: options.gate,
            doorbell: Arc::clone(port.doorbell()),
            tickets: RefCell::new(Tickets::new(port, Arc::clone(&options.counters))),
            counters: options.counters,
            recv_buffer: RefCell::new(RecvBuffer::new()),
            deadlines: RefCell::new(Deadlines::new(options.idle_timeout)),
            phase: Cell::new(Phase::Running),
            open: Cell::new(0),
        }
    }

    /// Follows the server's orders.
    fn enter(self: &Rc<Self>, phase: Phase, listeners: &[Rc<Listener>]) {
        if self.phase.replace(phase) == phase {
            return;
        }
        match phase {
            Phase::Running => {}
            Phase::Draining => {
                listeners.iter().for_each(|listener| listener.close(self));
                self.deadlines.borrow().end_idle();
            }
            Phase::Cut => {
                listeners.iter().for_each(|listener| listener.close(self));
                self.deadlines.borrow().end_all();
            }
        }
    }

    fn is_over(&self) -> bool {
        self.phase.get() != Phase::Running && self.open.get() == 0
    }
}
