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
//! time: outcomes to deliver, room for parked messages, an order of the server: to drain, or to go by new settings.

mod connection;
mod deadline;
pub mod dialogue;
mod listener;
mod net;
mod orders;
pub mod outbox;
mod parking;
pub mod tickets;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use self::deadline::Deadlines;
use self::listener::Listener;
use self::net::{Reactor, Readiness};
use self::orders::Orders;
use self::tickets::Tickets;
use crate::handoff::{Doorbell, ShardPort};
use crate::observe::{Event, EventName, ShardCounters};
use crate::smtp::SessionOptions;
use crate::wire::recv_buffer::RecvBuffer;

pub use self::listener::{BACKLOG, BindError, ConnectionGate, bind};
pub use self::net::{DriverChoice, DriverInUse};
pub use self::orders::{ShardDrain, ShardRenewal};

/// What one shard is made of.
#[derive(Debug)]
pub struct ShardOptions {
    /// Its number, for the thread's name.
    pub index: usize,
    /// The core to run on, by the kernel's number.
    pub core: usize,
    /// The driver to use.
    pub driver: DriverChoice,
    /// What all sessions have in common, until [`ShardRenewal`] brings something newer.
    pub session: Arc<SessionOptions>,
    /// The bounds of its connections.
    pub limits: ShardLimits,
    /// Where it accepts connections.
    pub listeners: Vec<TcpListener>,
    /// The way to the commit thread.
    pub port: ShardPort,
    /// Where it counts.
    pub counters: Arc<ShardCounters>,
    /// How many connections the process has.
    pub connections: Arc<ConnectionGate>,
}

/// The bounds of the connections of a shard.
#[derive(Debug, Clone, Copy)]
pub struct ShardLimits {
    /// How long a client may be silent, or leave replies unread.
    pub idle_timeout: Duration,
    /// How long transactions under way may take to finish in a drain.
    pub drain_timeout: Duration,
    /// Messages of one connection that may wait for their final reply.
    pub pipelined_max: usize,
}

/// How far a shard has come on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Takes connections and mail.
    Running,
    /// Takes no connections; transactions under way may finish.
    Draining,
    /// Waits for no client any more, only for the log.
    Cut,
}

/// A running shard.
#[derive(Debug)]
pub struct Shard {
    thread: JoinHandle<()>,
    orders: Arc<Orders>,
    driver: DriverInUse,
}

/// Why a shard did not start, or how it ended before its time.
#[derive(Debug)]
pub enum ShardError {
    /// Its thread could not be started.
    Thread(io::Error),
    /// The driver asked for is refused by the kernel.
    Driver(DriverChoice, io::Error),
    /// No descriptor was left for its listeners or its doorbell.
    Descriptors(io::Error),
    /// A fault of ours: its thread panicked, and its connections ended with it.
    Panicked,
}

impl fmt::Display for ShardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(error) => write!(f, "a shard's thread cannot be started: {error}"),
            Self::Driver(DriverChoice::IoUring, error) => {
                write!(
                    f,
                    "the kernel refuses io_uring: {error}; allow it, or use --driver auto or --driver epoll"
                )
            }
            Self::Driver(_, error) => write!(f, "the event loop cannot be set up: {error}"),
            Self::Descriptors(error) => {
                write!(f, "a shard lacks descriptors for its listeners: {error}; raise the limit (ulimit -n)")
            }
            Self::Panicked => write!(f, "a shard panicked and its connections ended with it"),
        }
    }
}

impl std::error::Error for ShardError {}

impl Shard {
    /// The driver that runs it, by the word for it in events.
    #[must_use]
    pub fn driver(&self) -> &'static str {
        self.driver.name()
    }

    /// How to tell it to end.
    #[must_use]
    pub fn drain_handle(&self) -> ShardDrain {
        ShardDrain::of(&self.orders)
    }

    /// How to give it new settings.
    #[must_use]
    pub fn renewal_handle(&self) -> ShardRenewal {
        ShardRenewal::of(&self.orders)
    }

    /// Waits until it has ended after a drain.
    ///
    /// # Errors
    /// [`ShardError::Panicked`].
    pub fn join(self) -> Result<(), ShardError> {
        self.thread.join().map_err(|_| ShardError::Panicked)
    }
}

/// Starts a shard; it accepts connections when this returns.
///
/// # Errors
/// [`ShardError`]; its thread has ended then.
pub fn spawn(options: ShardOptions) -> Result<Shard, ShardError> {
    let orders = Arc::new(Orders::new(Arc::clone(options.port.doorbell())));
    let (started, starting): (SyncSender<_>, Receiver<Result<DriverInUse, ShardError>>) = sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("shard-{}", options.index)).spawn({
        let orders = Arc::clone(&orders);
        move || run_or_abort(options, &orders, &started)
    });
    let thread = thread.map_err(ShardError::Thread)?;
    let driver = starting.recv().unwrap_or(Err(ShardError::Panicked))?;
    Ok(Shard { thread, orders, driver })
}

/// What the tasks of one shard share.
#[derive(Debug)]
struct State {
    /// What is in force.
    session: RefCell<Arc<SessionOptions>>,
    limits: ShardLimits,
    connections: Arc<ConnectionGate>,
    counters: Arc<ShardCounters>,
    doorbell: Arc<Doorbell>,
    tickets: RefCell<Tickets>,
    recv_buffer: RefCell<RecvBuffer>,
    deadlines: RefCell<Deadlines>,
    phase: Cell<Phase>,
    /// Connections that exist.
    open: Cell<usize>,
    /// Accept loops that run.
    listening: Cell<usize>,
}

/// Sessions have guards of their own, so a panic that arrives here is one of the shard itself. Its sockets would
/// go on taking connections that nobody serves: better to end the process, whose supervisor starts it anew. What
/// was answered 250 is safe, and what was not is still with its sender.
fn run_or_abort(
    options: ShardOptions,
    orders: &Orders,
    started: &SyncSender<Result<DriverInUse, ShardError>>,
) {
    let index = options.index;
    if catch_unwind(AssertUnwindSafe(|| run(options, orders, started))).is_err() {
        Event::new(EventName::ShardPanicked).field("shard", index).emit();
        std::process::abort();
    }
    orders.close();
}

fn run(options: ShardOptions, orders: &Orders, started: &SyncSender<Result<DriverInUse, ShardError>>) {
    // Not being pinned costs speed only, so a refusal is no reason to stop.
    core_affinity::set_for_current(core_affinity::CoreId { id: options.core });
    let mut reactor = match Reactor::new(options.driver) {
        Ok(reactor) => reactor,
        Err(error) => return drop(started.send(Err(ShardError::Driver(options.driver, error)))),
    };
    let driver = reactor.driver();
    reactor.run(async {
        match open(options) {
            Ok((shard, listeners, bell)) => {
                // Whoever started us may have gone already; then a drain will follow.
                let _ = started.send(Ok(driver));
                attend(shard, listeners, bell, orders).await;
            }
            Err(error) => drop(started.send(Err(ShardError::Descriptors(error)))),
        }
    });
}

type Opened = (Rc<State>, Vec<Rc<Listener>>, Readiness);

fn open(options: ShardOptions) -> io::Result<Opened> {
    let bell = Readiness::of(options.port.doorbell())?;
    let listeners = options.listeners.into_iter().map(|listener| Listener::new(listener).map(Rc::new));
    let listeners = listeners.collect::<io::Result<_>>()?;
    let state = State {
        session: RefCell::new(options.session),
        limits: options.limits,
        connections: options.connections,
        doorbell: Arc::clone(options.port.doorbell()),
        tickets: RefCell::new(Tickets::new(options.port, Arc::clone(&options.counters))),
        counters: options.counters,
        recv_buffer: RefCell::new(RecvBuffer::new()),
        deadlines: RefCell::new(Deadlines::new(options.limits.idle_timeout)),
        phase: Cell::new(Phase::Running),
        open: Cell::new(0),
        listening: Cell::new(0),
    };
    Ok((Rc::new(state), listeners, bell))
}

/// The main task: starts the others and hears the doorbell until the shard is over.
async fn attend(shard: Rc<State>, listeners: Vec<Rc<Listener>>, bell: Readiness, orders: &Orders) {
    shard.listening.set(listeners.len());
    for listener in &listeners {
        net::spawn(Rc::clone(listener).run(Rc::clone(&shard)));
    }
    // A task that still waits when the runtime goes is never dropped: only the others may own the shard, since the
    // commit thread ends when all ports are gone.
    net::spawn(sweep(Rc::downgrade(&shard), shard.deadlines.borrow().interval()));
    while !shard.is_over() {
        if let Err(error) = bell.readable().await {
            // Deaf, it would take connections that nobody serves.
            panic!("the doorbell cannot be waited for: {error}");
        }
        shard.doorbell.silence();
        shard.tickets.borrow_mut().settle();
        if let Some(session) = orders.renewed() {
            shard.session.replace(session);
        }
        if orders.says_drain() && shard.phase.get() == Phase::Running {
            shard.phase.set(Phase::Draining);
            listeners.iter().for_each(|listener| listener.close(&shard));
            shard.deadlines.borrow().end_idle();
            net::spawn(cut(Rc::downgrade(&shard), shard.limits.drain_timeout));
        }
    }
}

async fn sweep(shard: Weak<State>, interval: Duration) {
    loop {
        net::sleep(interval).await;
        let Some(shard) = shard.upgrade() else { return };
        let timed_out = shard.deadlines.borrow_mut().sweep();
        shard.counters.timeouts.add(timed_out);
        if shard.phase.get() == Phase::Cut {
            shard.deadlines.borrow().end_all();
        }
    }
}

/// Ends the waits for clients once the drain has lasted long enough.
async fn cut(shard: Weak<State>, drain_timeout: Duration) {
    net::sleep(drain_timeout).await;
    if let Some(shard) = shard.upgrade() {
        shard.phase.set(Phase::Cut);
        shard.deadlines.borrow().end_all();
    }
}

impl State {
    fn is_over(&self) -> bool {
        self.phase.get() != Phase::Running && self.open.get() == 0 && self.listening.get() == 0
    }
}
