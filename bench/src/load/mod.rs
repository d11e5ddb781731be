//! The load: many senders at once against one server, closed loop, one pinned thread per core.
//!
//! - `session` is the dialogue without I/O, `reply` its input and `script` its output;
//! - `connection` puts a socket under it, `worker` drives all connections of one thread;
//! - `supply` says how much is still to be sent, `tally` counts what came of it, `report` makes it readable.
//!
//! The generator must be cheaper per message than any server it drives, or it measures itself: its own
//! processor time stands in each report.

pub mod connection;
pub mod reply;
pub mod report;
pub mod script;
pub mod session;
pub mod supply;
pub mod tally;
pub mod worker;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::{cpu, host};
use report::LoadReport;
use script::{MailShape, Script};
use session::{Manner, Pipelining};
use supply::Supply;
use tally::Tally;
use worker::{Window, Worker, WorkerOptions, WorkerResult};

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

/// Runs the load to its end.
///
/// # Errors
/// When the machine lacks what it needs (descriptors, cores), or nothing gets through for half a minute.
pub fn run(options: &LoadOptions) -> Result<LoadReport> {
    host::raise_descriptor_limit(options.connection_count as u64 + DESCRIPTORS_SPARE)?;
    let script = Script::new(&options.mail);
    let thread_count = options.cores.len().clamp(1, options.connection_count.max(1));
    let epoch = Instant::now();
    let (results, server) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..thread_count)
            .map(|index| {
                let script = &script;
                scope.spawn(move || {
                    let supply = supply_of(options.amount, index, thread_count);
                    Worker::new(worker_options(options, index, thread_count), supply, script, epoch)?.run()
                })
            })
            .collect();
        let watch = watch_server(options, epoch);
        let results: Vec<_> =
            threads.into_iter().map(|t| t.join().expect("a load thread panicked")).collect();
        let server = watch.and_then(ServerWatch::finish);
        (results, server)
    });
    let results = results.into_iter().collect::<Result<Vec<WorkerResult>>>()?;
    conclude(options, &results, server)
}

/// Descriptors beside those of the connections.
const DESCRIPTORS_SPARE: u64 = 64;

/// The part of `total` that falls to one of `count` threads.
fn share(total: u64, index: usize, count: usize) -> u64 {
    let (index, count) = (index as u64, count as u64);
    total / count + u64::from(index < total % count)
}

fn supply_of(amount: Amount, index: usize, thread_count: usize) -> Supply {
    match amount {
        Amount::For { .. } => Supply::endless(),
        Amount::Count(total) => Supply::of(share(total, index, thread_count)),
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

fn worker_options(options: &LoadOptions, index: usize, thread_count: usize) -> WorkerOptions {
    let connection_count = share(options.connection_count as u64, index, thread_count);
    WorkerOptions {
        core: options.cores.get(index).copied(),
        target: options.target,
        connection_count: usize::try_from(connection_count).unwrap_or(usize::MAX),
        manner: Manner {
            pipelining: options.pipelining,
            recipient_count: options.mail.recipient_count,
            messages_per_connection: options.messages_per_connection,
        },
        window: window(options.amount),
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
fn watch_server(options: &LoadOptions, epoch: Instant) -> Option<ServerWatch> {
    let pid = options.server_pid?;
    let Amount::For { warm_up, duration } = options.amount else { return ServerWatch::begin(pid) };
    std::thread::sleep((epoch + warm_up).saturating_duration_since(Instant::now()));
    let mut watch = ServerWatch::begin(pid)?;
    std::thread::sleep((epoch + warm_up + duration).saturating_duration_since(Instant::now()));
    watch.mark_end();
    Some(watch)
}

fn conclude(
    options: &LoadOptions,
    results: &[WorkerResult],
    server: Option<ProcessUse>,
) -> Result<LoadReport> {
    let mut tally = Tally::default();
    for result in results {
        tally.add(&result.tally);
    }
    if results.iter().any(|r| r.is_stuck) {
        let failures = tally.failures_in_words();
        return Err(Error::NoProgress { target: options.target.to_string(), failures });
    }
    let began = results.iter().map(|r| r.measured.0).min().unwrap_or(0);
    let ended = results.iter().map(|r| r.measured.1).max().unwrap_or(0);
    let window = Duration::from_nanos(ended.saturating_sub(began));
    let cpu = results.iter().map(|r| r.cpu).sum();
    Ok(LoadReport::new(options, &tally, report::Spent { window, cpu, threads: results.len() }, server))
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
}
