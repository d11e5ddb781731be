//! The load: many senders at once against one server, closed or open loop, one pinned thread per core.
//!
//! - `session` is the dialogue without I/O, `reply` its input and `script` its output;
//! - `content` and `text` are what is sent, `pace` is when;
//! - `gathering` is where the threads of a run that begins with all connections greeted wait for one another;
//! - `connection` puts a socket under a session, `worker` drives all connections of one thread;
//! - `listen_queue` keeps connections from being opened faster than the server takes them, where that is asked for;
//! - `supply` says what is still to be sent, `account` and `tally` count what came of it, `report` makes it readable;
//! - `highest_rate` looks for the highest rate a server bears, `progress` tells how far a run is.
//!
//! The generator must be cheaper per message than any server it drives, or it measures itself: its own
//! processor time stands in each report.

pub mod account;
pub mod connection;
pub mod content;
pub mod gathering;
pub mod highest_rate;
pub mod listen_queue;
pub mod pace;
pub mod piece;
mod progress;
pub mod reply;
pub mod report;
pub mod script;
pub mod session;
pub mod supply;
pub mod tally;
mod text;
pub mod worker;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::ledger::{self, LedgerWriter};
use crate::{cpu, host};
use account::{Account, Window};
use content::Content;
use gathering::{Gathering, Opening};
use pace::{Pace, Schedule};
use progress::Progress;
use report::LoadReport;
use script::{MailShape, Script};
use session::{Errand, Manner, Pipelining};
use supply::Supply;
use tally::Tally;
use worker::{Worker, WorkerOptions, WorkerResult};

/// How much is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// As much as gets through in `duration`, measured after `warm_up`.
    For {
        /// Not measured.
        warm_up: Duration,
        /// Measured.
        duration: Duration,
    },
    /// So many messages, all of them measured.
    Count(u64),
}

/// A run of load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The server.
    pub target: SocketAddr,
    /// One thread on each of these; empty for one thread wherever the system puts it.
    pub cores: Vec<usize>,
    /// Connections held at once, over all threads.
    pub connection_count: usize,
    /// Messages after which a connection is replaced by a new one; `None` keeps it.
    pub messages_per_connection: Option<u32>,
    /// When commands are sent ahead of replies.
    pub pipelining: Pipelining,
    /// What is sent.
    pub mail: MailShape,
    /// How much of it.
    pub amount: Amount,
    /// A process whose processor time is taken beside the load: the server, when it runs on this machine.
    pub server_pid: Option<u32>,
}

/// Processor time of a process over a stretch of time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProcessUse {
    /// Processor seconds, user and system, of all threads.
    pub cpu_s: f64,
    /// The stretch in seconds.
    pub elapsed_s: f64,
}

/// What a run may have beside its [`LoadOptions`]; by default none of it.
#[derive(Clone, Debug, Default)]
pub struct Refinements {
    /// What starts a message.
    pub pace: Pace,
    /// What the messages contain.
    pub content: Content,
    /// Where connections come from, in turn; empty to leave that to the system.
    pub sources: Vec<IpAddr>,
    /// A file, not there yet, that gets a line for each 250.
    pub ledger: Option<PathBuf>,
    /// Of all that is drawn at random: arrivals and sizes.
    pub seed: u64,
    /// Whether a connection is opened only while the server's listen queue has room, which only this machine tells.
    pub minds_listen_queue: bool,
    /// When the first message may be sent.
    pub opening: Opening,
    /// What connections are opened for.
    pub errand: Errand,
    /// Whether to tell once a second on standard error how far the run is.
    pub shows_progress: bool,
    /// The zero of the run's clock, when something else is to know it; by default the moment the threads are started.
    pub epoch: Option<Instant>,
}

/// Runs the load to its end.
///
/// # Errors
/// When the machine lacks what it needs (descriptors, cores), or nothing gets through for half a minute.
pub fn run(options: &LoadOptions) -> Result<LoadReport> {
    run_refined(options, &Refinements::default())
}

/// Runs the load to its end, with all that can be asked of it.
///
/// # Errors
/// As [`run`], and when the ledger cannot be written.
pub fn run_refined(options: &LoadOptions, refinements: &Refinements) -> Result<LoadReport> {
    run_gathered(options, refinements, &mut || ())
}

/// Runs the load to its end; with [`Opening::Gathered`], `meanwhile` is called at the end of the silence, when all
/// connections are greeted and nothing has been sent.
///
/// # Errors
/// As [`run_refined`].
pub fn run_gathered(
    options: &LoadOptions,
    refinements: &Refinements,
    meanwhile: &mut dyn FnMut(),
) -> Result<LoadReport> {
    host::raise_descriptor_limit(options.connection_count as u64 + DESCRIPTORS_SPARE)?;
    if let Some(path) = &refinements.ledger {
        ledger::create(path)?;
    }
    let has_ledger = refinements.ledger.is_some();
    let script = Script::new(&options.mail, &refinements.content, has_ledger, refinements.seed)?;
    let thread_count = options.cores.len().clamp(1, options.connection_count.max(1));
    let accepted = AtomicU64::new(0);
    let gathering = Gathering::of(options.connection_count);
    let (epoch, run_id) = (refinements.epoch.unwrap_or_else(Instant::now), fastrand::u64(..));
    let task = Task { options, refinements, script: &script, epoch, run_id, accepted: &accepted };
    let (results, start, server) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..thread_count)
            .map(|index| {
                let (task, gathering) = (&task, &gathering);
                scope.spawn(move || {
                    let _attendance = gathering.attend();
                    task.run((index, thread_count), gathering)
                })
            })
            .collect();
        let progress = refinements.shows_progress.then(|| Progress::begin(scope, &accepted));
        let start = begin(refinements.opening, &gathering, epoch, meanwhile);
        let watch = start.at.and_then(|start| watch_server(options, start));
        let results: Vec<_> =
            threads.into_iter().map(|t| t.join().expect("a load thread panicked")).collect();
        drop(progress);
        let server = watch.and_then(ServerWatch::finish);
        (results, start, server)
    });
    let results = results.into_iter().collect::<Result<Vec<WorkerResult>>>()?;
    conclude(options, refinements, &results, start, server)
}

/// What all threads of a run share.
struct Task<'a> {
    options: &'a LoadOptions,
    refinements: &'a Refinements,
    script: &'a Script,
    epoch: Instant,
    run_id: u64,
    accepted: &'a AtomicU64,
}

impl Task<'_> {
    /// One thread's part.
    fn run(&self, place: (usize, usize), gathering: &Gathering) -> Result<WorkerResult> {
        let Self { options, refinements, .. } = *self;
        let supply = supply_of(options, refinements, place);
        let ledger = refinements.ledger.as_deref();
        let ledger = ledger.map(|path| LedgerWriter::open(path, self.run_id)).transpose()?;
        let account = Account::new(window(options.amount), supply.is_scheduled(), ledger, self.accepted);
        let worker_options = worker_options(options, refinements, place);
        let worker = Worker::new(worker_options, supply, account, self.script, self.epoch)?;
        match refinements.opening {
            Opening::AtOnce => worker.run(),
            Opening::Gathered { .. } => worker.gathering_at(gathering).run(),
        }
    }
}

/// When a run began.
#[derive(Clone, Copy)]
struct Start {
    /// The zero of its window; `None` when it never did.
    at: Option<Instant>,
    /// How long its connections took to be greeted, where it waited for them.
    gathered_in: Option<Duration>,
}

/// Waits for the connections where the run is to, and says when it begins.
fn begin(opening: Opening, gathering: &Gathering, epoch: Instant, meanwhile: &mut dyn FnMut()) -> Start {
    /// Threads look at least ten times a second.
    const NOTICE: Duration = Duration::from_millis(150);
    let Opening::Gathered { idle } = opening else { return Start { at: Some(epoch), gathered_in: None } };
    if !gathering.wait() {
        return Start { at: None, gathered_in: None };
    }
    let gathered_in = Some(epoch.elapsed());
    std::thread::sleep(idle);
    meanwhile();
    let start = epoch.elapsed() + NOTICE;
    gathering.begin(u64::try_from(start.as_nanos()).unwrap_or(u64::MAX));
    Start { at: Some(epoch + start), gathered_in }
}

/// Descriptors beside those of the connections.
const DESCRIPTORS_SPARE: u64 = 64;

/// The part of `total` that falls to one of `count` threads.
fn share(total: u64, index: usize, count: usize) -> u64 {
    let (index, count) = (index as u64, count as u64);
    total / count + u64::from(index < total % count)
}

fn supply_of(options: &LoadOptions, refinements: &Refinements, place: (usize, usize)) -> Supply {
    let supply = match options.amount {
        Amount::For { .. } => Supply::endless(),
        Amount::Count(total) => Supply::of(share(total, place.0, place.1)),
    };
    match refinements.pace {
        Pace::Closed => supply,
        Pace::Open { rate, arrivals } => {
            let schedule = Schedule::new(rate, arrivals, refinements.seed, place);
            supply.at_times_of(schedule.ending(window(options.amount).measure_to))
        }
    }
}

fn window(amount: Amount) -> Window {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    match amount {
        Amount::Count(_) => Window { measure_from: 0, measure_to: None },
        Amount::For { warm_up, duration } => Window {
            measure_from: nanoseconds(warm_up),
            measure_to: Some(nanoseconds(warm_up.saturating_add(duration))),
        },
    }
}

fn worker_options(options: &LoadOptions, refinements: &Refinements, place: (usize, usize)) -> WorkerOptions {
    let (index, thread_count) = place;
    let connection_count = share(options.connection_count as u64, index, thread_count);
    WorkerOptions {
        core: options.cores.get(index).copied(),
        target: options.target,
        connection_count: usize::try_from(connection_count).unwrap_or(usize::MAX),
        manner: Manner {
            pipelining: options.pipelining,
            recipient_count: options.mail.recipient_count,
            messages_per_connection: match refinements.errand {
                Errand::Mail => options.messages_per_connection,
                Errand::Visit => Some(1),
            },
            errand: refinements.errand,
        },
        window: window(options.amount),
        sources: refinements.sources.clone(),
        minds_listen_queue: refinements.minds_listen_queue,
        place,
    }
}

/// The server's processor time at the beginning of a window.
struct ServerWatch {
    pid: u32,
    cpu: Duration,
    at: Instant,
    ended: Option<ProcessUse>,
}

impl ServerWatch {
    fn begin(pid: u32) -> Option<Self> {
        Some(Self { pid, cpu: cpu::of_process(pid).ok()?, at: Instant::now(), ended: None })
    }

    fn mark_end(&mut self) {
        let elapsed_s = self.at.elapsed().as_secs_f64();
        let cpu = cpu::of_process(self.pid).ok();
        self.ended =
            cpu.map(|cpu| ProcessUse { cpu_s: cpu.saturating_sub(self.cpu).as_secs_f64(), elapsed_s });
    }

    /// With a count, the window ends when the load has.
    fn finish(mut self) -> Option<ProcessUse> {
        if self.ended.is_none() {
            self.mark_end();
        }
        self.ended
    }
}

/// Follows the window on the calling thread: until its end when it has one, else only its beginning.
fn watch_server(options: &LoadOptions, start: Instant) -> Option<ServerWatch> {
    let pid = options.server_pid?;
    let Amount::For { warm_up, duration } = options.amount else { return ServerWatch::begin(pid) };
    std::thread::sleep((start + warm_up).saturating_duration_since(Instant::now()));
    let mut watch = ServerWatch::begin(pid)?;
    std::thread::sleep((start + warm_up + duration).saturating_duration_since(Instant::now()));
    watch.mark_end();
    Some(watch)
}

fn conclude(
    options: &LoadOptions,
    refinements: &Refinements,
    results: &[WorkerResult],
    start: Start,
    server: Option<ProcessUse>,
) -> Result<LoadReport> {
    let mut tally = Tally::default();
    for result in results {
        tally.add(&result.tally);
    }
    let began = results.iter().map(|r| r.measured.0).min().unwrap_or(0);
    let ended = results.iter().map(|r| r.measured.1).max().unwrap_or(0);
    let window = Duration::from_nanos(ended.saturating_sub(began));
    let cpu = results.iter().map(|r| r.cpu).sum();
    let spent = report::Spent { window, cpu, threads: results.len(), gathered_in: start.gathered_in };
    let report = LoadReport::new(options, refinements, &tally, spent, server);
    if results.iter().any(|r| r.is_stuck) {
        let (target, failures) = (options.target.to_string(), tally.failures_in_words());
        return Err(Error::NoProgress { target, failures, report: Box::new(report) });
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_whole() {
        for count in 1..7 {
            assert_eq!((0..count).map(|i| share(20, i, count)).sum::<u64>(), 20);
        }
    }

    #[test]
    fn a_run_that_stood_still_is_an_error_that_holds_what_it_had_done() {
        let mut tally = Tally::default();
        (tally.messages.accepted, tally.messages.lost) = (3, 1);
        tally.fail(tally::Failure::Unanswered(session::Stage::Body));
        let measured = (0, 1_000_000_000);
        let result = WorkerResult { tally, cpu: Duration::ZERO, measured, is_stuck: true };
        let options = LoadOptions {
            target: ([127, 0, 0, 1], 25).into(),
            cores: Vec::new(),
            connection_count: 4,
            messages_per_connection: None,
            pipelining: Pipelining::Always,
            mail: MailShape::of_size(1024),
            amount: Amount::Count(4),
            server_pid: None,
        };
        let start = Start { at: Some(Instant::now()), gathered_in: Some(Duration::from_secs(1)) };
        let ended = conclude(&options, &Refinements::default(), &[result], start, None);
        let Err(Error::NoProgress { failures, report, .. }) = ended else { panic!("{ended:?}") };
        assert_eq!(failures, "no reply to end of data until the run was given up (1 times)");
        assert_eq!((report.messages.accepted, report.messages.lost, report.gathered_s), (3, 1, Some(1.0)));
    }
}
