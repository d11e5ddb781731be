//! The intake, wired: log, commit thread, shards, shutdown. The only file that names every layer.
//!
//! Start: the log is locked, recovered and opened first, then addresses are bound, then the commit thread and the
//! shards start; a failure on the way stops what had begun. End: [`Drain::start`] tells the shards to take no new
//! connections; when the last connection is over each shard drops its port, the commit thread seals the log, and
//! [`Server::wait`] returns the totals. Between the two, [`Reload::apply`] gives sessions new settings.

mod reload;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

pub use self::reload::Reload;
use crate::cli::exit;
use crate::commit::{self, Acknowledge, CommitOptions, CommitThread, Ending, Sink};
use crate::config::{Config, DriverChoice, Durability};
use crate::handoff::{self, BatchBounds, QueueLimits, ShardPort};
use crate::log::{DirStorage, OpenError, RecoveryReport, Visibility, Writer, WriterOptions};
use crate::message::{Partition, Timestamp};
use crate::observe::{CommitCounters, Event, EventName, ShardCounters};
use crate::shard::{
    self, BindError, ConnectionGate, Shard, ShardDrain, ShardError, ShardLimits, ShardOptions,
};
use crate::smtp::SessionOptions;

/// A running intake.
#[derive(Debug)]
pub struct Server {
    config: Config,
    addresses: Vec<SocketAddr>,
    shards: Vec<Shard>,
    commit: CommitThread,
    commit_counters: Arc<CommitCounters>,
    shard_counters: Vec<Arc<ShardCounters>>,
}

/// Tells a server to take no new connections and to end; may be cloned and sent to any thread.
#[derive(Debug, Clone)]
pub struct Drain {
    shards: Vec<ShardDrain>,
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
    /// A shard did not start.
    Shard(ShardError),
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
            Self::Shard(error) => error.fmt(f),
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
            Self::System(_) | Self::Shard(_) => exit::OS_ERROR,
        }
    }
}

impl Server {
    /// Starts everything that `config` says; mail is accepted when this returns.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        // The addresses first: a start that is refused leaves no segment behind. Who connects meanwhile waits.
        let listeners = shard::bind(&config.listen, config.cores.len()).map_err(StartError::Bind)?;
        let (sink, storage) = open_sink(&config)?;
        let addresses = listeners[0]
            .iter()
            .map(std::net::TcpListener::local_addr)
            .collect::<io::Result<_>>()
            .map_err(StartError::System)?;
        let (inbox, ports) =
            handoff::channel(config.cores.len(), queue_limits(&config)).map_err(StartError::System)?;
        let commit_counters = Arc::new(CommitCounters::default());
        let options = commit_options(&config);
        let commit = commit::spawn(inbox, sink, storage, options, Arc::clone(&commit_counters))
            .map_err(StartError::System)?;
        let shard_counters: Vec<Arc<ShardCounters>> = config.cores.iter().map(|_| Arc::default()).collect();
        match start_shards(&config, listeners, ports, &shard_counters) {
            Ok(shards) => Ok(Self { config, addresses, shards, commit, commit_counters, shard_counters }),
            Err(error) => {
                // All ports are gone: the commit thread seals the log and ends.
                let _ = commit.join();
                Err(StartError::Shard(error))
            }
        }
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
    pub fn ready_event(&self) -> Event {
        let config = &self.config;
        let join = |items: Vec<String>| items.join(",");
        let data_dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        Event::new(EventName::Ready)
            .field("listen", join(self.addresses.iter().map(ToString::to_string).collect()))
            .field("cores", join(config.cores.iter().map(ToString::to_string).collect()))
            .field("data_dir", data_dir.display())
            .field("driver", self.shards.first().map_or("none", Shard::driver))
            .field("durability", durability_name(config.durability))
            .field("max_connections", config.connections.connections_max)
            .field("version", env!("CARGO_PKG_VERSION"))
            .field("pid", std::process::id())
    }

    /// A way to end this server from another thread.
    #[must_use]
    pub fn drain_handle(&self) -> Drain {
        Drain { shards: self.shards.iter().map(Shard::drain_handle).collect() }
    }

    /// A way to give this server new settings from another thread.
    #[must_use]
    pub fn reload_handle(&self) -> Reload {
        Reload::new(self.config.clone(), self.shards.iter().map(Shard::renewal_handle).collect())
    }

    /// Waits until the server has ended after [`Drain::start`]: every connection over, every accepted message
    /// answered, the log sealed.
    #[must_use]
    pub fn wait(self) -> Stopped {
        let mut exit_code = 0;
        for shard in self.shards {
            if let Err(error) = shard.join() {
                Event::new(EventName::ShardFailed).field("error", error).emit();
                exit_code = exit::SOFTWARE;
            }
        }
        exit_code = match self.commit.join() {
            Ending::Sealed => exit_code,
            Ending::Failed(..) => exit::IO_ERROR,
            Ending::Panicked => exit::SOFTWARE,
        };
        let event = Event::new(EventName::Stopped)
            .fields(sum(&self.shard_counters))
            .fields(self.commit_counters.values());
        Stopped { event, exit_code }
    }
}

impl Drain {
    /// Takes no new connections, lets running transactions finish within the drain time-out, ends idle sessions
    /// with 421. Calling it again changes nothing.
    pub fn start(&self) {
        self.shards.iter().for_each(ShardDrain::start);
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

/// Says what recovery found; nothing when the log was closed in order.
fn announce_recovery(report: &RecoveryReport) {
    for cut in &report.cut {
        Event::new(EventName::RecoveryCut)
            .field("segment", &cut.segment)
            .field("from", cut.from)
            .field("to", cut.to)
            .field("copy", &cut.copy)
            .emit();
    }
    for damage in &report.damage {
        Event::new(EventName::RecoveryDamage)
            .field("segment", &damage.segment)
            .field("from", damage.from)
            .field("to", damage.to)
            .field("reason", damage.reason)
            .emit();
    }
}

fn start_shards(
    config: &Config,
    listeners: Vec<Vec<std::net::TcpListener>>,
    ports: Vec<ShardPort>,
    counters: &[Arc<ShardCounters>],
) -> Result<Vec<Shard>, ShardError> {
    let session = session_options(config);
    let connections = Arc::new(ConnectionGate::new(config.connections.connections_max));
    let mut shards = Vec::with_capacity(ports.len());
    for (index, (listeners, port)) in listeners.into_iter().zip(ports).enumerate() {
        let options = ShardOptions {
            index,
            core: config.cores[index],
            driver: driver_choice(config.driver),
            session: Arc::clone(&session),
            limits: shard_limits(config),
            listeners,
            port,
            counters: Arc::clone(&counters[index]),
            connections: Arc::clone(&connections),
        };
        match shard::spawn(options) {
            Ok(shard) => shards.push(shard),
            Err(error) => {
                shards.iter().for_each(|shard: &Shard| shard.drain_handle().start());
                shards.into_iter().for_each(|shard| drop(shard.join()));
                return Err(error);
            }
        }
    }
    Ok(shards)
}

fn session_options(config: &Config) -> Arc<SessionOptions> {
    let Config { hostname, limits, recipients, bare_lf, .. } = config;
    Arc::new(SessionOptions::new(hostname, limits.clone(), recipients.clone(), *bare_lf))
}

fn shard_limits(config: &Config) -> ShardLimits {
    let connections = config.connections;
    ShardLimits {
        idle_timeout: connections.idle_timeout,
        drain_timeout: connections.drain_timeout,
        pipelined_max: connections.pipelined_max,
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
    CommitOptions { bounds, gather: batch.gather, data_dir: config.data_dir.clone() }
}

/// Slices of one batch: sixteen full vectored writes.
const BATCH_SLICES_MAX: usize = 16 * 1024;

fn driver_choice(choice: DriverChoice) -> shard::DriverChoice {
    match choice {
        DriverChoice::Auto => shard::DriverChoice::Auto,
        DriverChoice::IoUring => shard::DriverChoice::IoUring,
        DriverChoice::Epoll => shard::DriverChoice::Epoll,
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
