//! The intake, wired: log, commit thread, shards, shutdown. The only file that names every layer.
//!
//! Start: the log is locked, recovered and opened first, then addresses are bound, then the commit thread and the
//! shards start; a failure on the way stops what had begun. End: [`Drain::start`] tells the shards to take no new
//! connections; when the last connection is over each shard drops its port, the commit thread seals the log, and
//! [`Server::wait`] returns the totals.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::cli::exit;
use crate::commit::{self, Acknowledge, CommitOptions, CommitThread, Ending, Sink};
use crate::config::{Config, DriverChoice, Durability};
use crate::handoff::{self, BatchBounds, QueueLimits, ShardPort};
use crate::log::{DirStorage, OpenError, RecoveryReport, Visibility, Writer, WriterOptions};
use crate::message::{Partition, Timestamp};
use crate::observe::{CommitCounters, Event, ShardCounters};
use crate::shard::listener::{BindError, ConnectionGate, Listeners, listen};
use crate::shard::net::{Driver, DriverInUse};
use crate::shard::{self, Control, ShardHandle, ShardOptions};
use crate::smtp::SessionOptions;

/// A running intake.
#[derive(Debug)]
pub struct Server {
    config: Config,
    addresses: Vec<SocketAddr>,
    driver: DriverInUse,
    shards: Vec<ShardHandle>,
    commit: CommitThread,
    commit_counters: Arc<CommitCounters>,
    shard_counters: Vec<Arc<ShardCounters>>,
    drain: Drain,
    /// Dropped when all is over, which ends the thread that would cut a drain short.
    alive: Sender<()>,
}

/// Tells a server to take no new connections and to end; may be cloned and sent to any thread.
#[derive(Debug, Clone)]
pub struct Drain {
    order: Arc<DrainOrder>,
}

#[derive(Debug)]
struct DrainOrder {
    controls: Vec<Arc<Control>>,
    timeout: Duration,
    given: AtomicBool,
    /// Disconnected when the server is over.
    over: Receiver<()>,
}

/// How a server ended.
#[derive(Debug)]
pub struct Stopped {
    /// The `stopped` event with the totals of its life.
    pub event: Event,
    /// 0, or the exit code of sysexits(3) for the failure that ended it.
    pub exit_code: u8,
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// The data directory cannot be made or opened.
    DataDir(PathBuf, io::Error),
    /// The log in it cannot be opened.
    Log(PathBuf, OpenError),
    /// An address cannot be listened on.
    Bind(BindError),
    /// The system refused a descriptor or a thread.
    System(io::Error),
    /// The event loop asked for cannot be had.
    Driver(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataDir(path, error) => {
                write!(f, "data directory {}: {error}: name another with --data-dir", path.display())
            }
            Self::Log(path, error @ OpenError::Locked) => {
                write!(
                    f,
                    "data directory {}: {error}: stop that one or name another with --data-dir",
                    path.display()
                )
            }
            Self::Log(path, error) => write!(f, "data directory {}: {error}", path.display()),
            Self::Bind(error) => error.fmt(f),
            Self::System(error) => write!(f, "the system refused a descriptor or a thread: {error}"),
            Self::Driver(error) => {
                write!(
                    f,
                    "the event loop cannot be started: {error}: --driver auto takes epoll where io_uring is refused"
                )
            }
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    /// The exit code of sysexits(3) for it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::DataDir(_, error) if error.kind() == io::ErrorKind::PermissionDenied => exit::NO_PERMISSION,
            Self::DataDir(..) => exit::CANNOT_CREATE,
            Self::Log(_, OpenError::Locked) => exit::TEMPORARY,
            Self::Log(_, OpenError::File(error)) if error.cause.kind() == io::ErrorKind::PermissionDenied => {
                exit::NO_PERMISSION
            }
            Self::Log(_, OpenError::File(_)) => exit::IO_ERROR,
            Self::Log(..) => exit::CONFIG,
            Self::Bind(error) if error.error.kind() == io::ErrorKind::PermissionDenied => exit::NO_PERMISSION,
            Self::Bind(_) => exit::UNAVAILABLE,
            Self::System(_) | Self::Driver(_) => exit::OS_ERROR,
        }
    }
}

impl Server {
    /// Starts everything that `config` says; mail is accepted when this returns.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let (sink, storage) = open_sink(&config)?;
        let listeners = listen(&config.listen, config.cores.len()).map_err(StartError::Bind)?;
        let addresses = listeners[0].addresses().collect();
        let (inbox, ports) =
            handoff::channel(config.cores.len(), queue_limits(&config)).map_err(StartError::System)?;
        let commit_counters = Arc::new(CommitCounters::default());
        let options = commit_options(&config);
        let commit = commit::spawn(inbox, sink, storage, options, Arc::clone(&commit_counters))
            .map_err(StartError::System)?;
        let shard_counters: Vec<Arc<ShardCounters>> = config.cores.iter().map(|_| Arc::default()).collect();
        let (shards, driver) = match start_shards(&config, listeners, ports, &shard_counters) {
            Ok(started) => started,
            Err(error) => {
                // All ports are gone: the commit thread seals the log and ends.
                let _ = commit.join();
                return Err(error);
            }
        };
        let (alive, over) = bounded(0);
        let controls = shards.iter().map(|shard| Arc::clone(shard.control())).collect();
        let order = DrainOrder {
            controls,
            timeout: config.connections.drain_timeout,
            given: AtomicBool::new(false),
            over,
        };
        let drain = Drain { order: Arc::new(order) };
        Ok(Self { config, addresses, driver, shards, commit, commit_counters, shard_counters, drain, alive })
    }

    /// The addresses listened on, with the ports the system chose.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What each shard has counted so far.
    #[must_use]
    pub fn shard_counters(&self) -> &[Arc<ShardCounters>] {
        &self.shard_counters
    }

    /// What the commit thread has counted so far.
    #[must_use]
    pub fn commit_counters(&self) -> &Arc<CommitCounters> {
        &self.commit_counters
    }

    /// The one line that says the server is ready and how it runs.
    #[must_use]
    pub fn ready_event(&self) -> Event {
        let config = &self.config;
        let join = |items: Vec<String>| items.join(",");
        let data_dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        Event::new("ready")
            .field("listen", join(self.addresses.iter().map(ToString::to_string).collect()))
            .field("cores", join(config.cores.iter().map(ToString::to_string).collect()))
            .field("data_dir", data_dir.display())
            .field("driver", self.driver.name())
            .field("durability", durability_name(config.durability))
            .field("max_connections", config.connections.connections_max)
            .field("version", env!("CARGO_PKG_VERSION"))
            .field("pid", std::process::id())
    }

    /// A way to end this server from another thread.
    #[must_use]
    pub fn drain_handle(&self) -> Drain {
        self.drain.clone()
    }

    /// Waits until the server has ended after [`Drain::start`]: every connection over, every accepted message
    /// answered, the log sealed.
    #[must_use]
    pub fn wait(self) -> Stopped {
        let mut exit_code = 0;
        for (index, shard) in self.shards.into_iter().enumerate() {
            if !shard.join() {
                Event::new("shard-failed").field("shard", index).emit();
                exit_code = exit::SOFTWARE;
            }
        }
        exit_code = match self.commit.join() {
            Ending::Sealed => exit_code,
            Ending::Failed(_) => exit::IO_ERROR,
            Ending::Panicked => exit::SOFTWARE,
        };
        drop(self.alive);
        let event =
            Event::new("stopped").fields(sum(&self.shard_counters)).fields(self.commit_counters.values());
        Stopped { event, exit_code }
    }
}

impl Drain {
    /// Takes no new connections, lets running transactions finish within the drain time-out, ends idle sessions
    /// with 421. Calling it again changes nothing.
    pub fn start(&self) {
        if self.order.given.swap(true, Ordering::Relaxed) {
            return;
        }
        self.order.controls.iter().for_each(|control| control.drain());
        let order = Arc::clone(&self.order);
        let cut_short = move || {
            if order.over.recv_timeout(order.timeout) == Err(RecvTimeoutError::Timeout) {
                Event::new("drain-timeout").field("after_seconds", order.timeout.as_secs_f64()).emit();
                order.controls.iter().for_each(|control| control.cut());
            }
        };
        if std::thread::Builder::new().name("drain".to_owned()).spawn(cut_short).is_err() {
            // No thread to wait with: better a short drain than one without end.
            self.order.controls.iter().for_each(|control| control.cut());
        }
    }
}

/// The log, or nothing; and the storage in which segments are prepared ahead.
fn open_sink(config: &Config) -> Result<(Sink<DirStorage>, Option<DirStorage>), StartError> {
    let acknowledge = match config.durability {
        Durability::Discard => return Ok((Sink::Discard, None)),
        Durability::Sync => Acknowledge::AfterSync,
        Durability::Os => Acknowledge::AfterWrite,
    };
    let path = &config.data_dir;
    let storage = DirStorage::create(path).map_err(|error| StartError::DataDir(path.clone(), error))?;
    let options = WriterOptions {
        segment_size: config.segment_size,
        partition: Partition(0),
        visibility: match acknowledge {
            Acknowledge::AfterSync => Visibility::Durable,
            Acknowledge::AfterWrite => Visibility::Written,
        },
        id_seed: getrandom::u64().map_err(|error| StartError::System(io::Error::other(error)))?,
    };
    let (writer, report) = Writer::open(storage.clone(), options, now())
        .map_err(|error| StartError::Log(path.clone(), error))?;
    announce_recovery(&report);
    Ok((Sink::Log { writer: Box::new(writer), acknowledge }, Some(storage)))
}

fn start_shards(
    config: &Config,
    listeners: Vec<Listeners>,
    ports: Vec<ShardPort>,
    counters: &[Arc<ShardCounters>],
) -> Result<(Vec<ShardHandle>, DriverInUse), StartError> {
    let session = Arc::new(SessionOptions::new(
        &config.hostname,
        config.limits.clone(),
        config.recipients.clone(),
        config.bare_lf,
    ));
    let gate = ConnectionGate::new(config.connections.connections_max);
    let mut shards: Vec<ShardHandle> = Vec::with_capacity(ports.len());
    let (started, drivers) = mpsc::channel();
    let mut result: Result<DriverInUse, StartError> = Ok(DriverInUse::Epoll);
    for (shard, (listeners, port)) in listeners.into_iter().zip(ports).enumerate() {
        let options = ShardOptions {
            shard,
            core: config.cores[shard],
            driver: driver(config.driver),
            session: Arc::clone(&session),
            command_line_max: config.limits.command_line_max,
            pipelined_max: config.connections.pipelined_max,
            idle_timeout: config.connections.idle_timeout,
            gate: Arc::clone(&gate),
            counters: Arc::clone(&counters[shard]),
        };
        match shard::spawn(options, listeners, port, started.clone()) {
            Ok(handle) => shards.push(handle),
            Err(error) => {
                result = Err(StartError::System(error));
                break;
            }
        }
    }
    for _ in &shards {
        let driver = match drivers.recv_timeout(SHARD_START_TIMEOUT) {
            Ok(driver) => driver.map_err(StartError::Driver),
            Err(_) => Err(StartError::Driver(io::Error::other("a shard did not start"))),
        };
        result = result.and(driver);
    }
    match result {
        Ok(driver) => Ok((shards, driver)),
        Err(error) => {
            shards.iter().for_each(|shard| shard.control().cut());
            for shard in shards {
                let _ = shard.join();
            }
            Err(error)
        }
    }
}

/// How long a shard may take to set up its ring; the kernel does it in a millisecond.
const SHARD_START_TIMEOUT: Duration = Duration::from_secs(30);

/// Says what recovery found, one event for each thing an operator may want to look at.
fn announce_recovery(report: &RecoveryReport) {
    for cut in &report.cut {
        Event::new("recovery-cut")
            .field("segment", &cut.segment)
            .field("from", cut.from)
            .field("to", cut.to)
            .field("copy", &cut.copy)
            .emit();
    }
    for damage in &report.damage {
        Event::new("damage")
            .field("segment", &damage.segment)
            .field("from", damage.from)
            .field("to", damage.to)
            .field("reason", &damage.reason)
            .emit();
    }
    if let Some((segment, records)) = &report.walked {
        Event::new("recovered")
            .field("segment", segment)
            .field("records", records)
            .field("resumes_at", report.resumes_at)
            .emit();
    }
}

fn queue_limits(config: &Config) -> QueueLimits {
    let queue = config.queue;
    QueueLimits {
        count_max: queue.messages_max,
        bytes_max: queue.octets_max,
        in_flight_max: queue.in_flight_max,
    }
}

fn commit_options(config: &Config) -> CommitOptions {
    let batch = config.batch;
    let bounds = BatchBounds { count: batch.messages_max, bytes: batch.octets_max, iovecs: BATCH_SLICES_MAX };
    CommitOptions { bounds, delay: batch.delay }
}

/// Slices of one batch: sixteen full vectored writes.
const BATCH_SLICES_MAX: usize = 16 * 1024;

fn driver(choice: DriverChoice) -> Driver {
    match choice {
        DriverChoice::Auto => Driver::Auto,
        DriverChoice::IoUring => Driver::IoUring,
        DriverChoice::Epoll => Driver::Epoll,
    }
}

fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Sync => "sync",
        Durability::Os => "os",
        Durability::Discard => "discard",
    }
}

/// The counters of all shards added up, by name.
fn sum(counters: &[Arc<ShardCounters>]) -> Vec<(&'static str, u64)> {
    let mut totals: Vec<(&'static str, u64)> = ShardCounters::default().values().collect();
    for shard in counters {
        for (total, (_, value)) in totals.iter_mut().zip(shard.values()) {
            total.1 += value;
        }
    }
    totals
}

fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    Timestamp(u64::try_from(since_epoch.unwrap_or_default().as_micros()).unwrap_or(u64::MAX))
}
