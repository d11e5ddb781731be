//! The commit thread: one for each log directory, from the first message to the seal.
//!
//! It ends when all shards have dropped their ports, and then seals the log; or when the log fails, and then drops
//! its inbox, which refuses what is queued and tells every shard to turn new connections away.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use super::batch::Batch;
use super::gather::{GATHER_TIME, Gather, Gathering};
use super::prepare::Preparation;
use super::step::{Commit, Refused, Sink, commit};
use crate::handoff::{BatchBounds, Inbox, Taken, Wait};
use crate::log::{FileError, Storage, SyncError};
use crate::message::Timestamp;
use crate::observe::{CommitCounters, Event, EventName};

/// How batches are made.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// What one batch may hold.
    pub bounds: BatchBounds,
    /// How long to wait for more after the first message of a batch came. A batch also grows by itself while the
    /// sync before it runs.
    pub gather: Gather,
    /// Where the log is; named in events.
    pub data_dir: PathBuf,
}

/// A running commit thread.
#[derive(Debug)]
pub struct CommitThread {
    thread: JoinHandle<Ending>,
}

/// How a commit thread ended.
#[derive(Debug)]
pub enum Ending {
    /// All ports are gone, everything is answered and the log is sealed.
    Sealed,
    /// The log failed; what was answered 250 before is unaffected.
    Failed(FileError, HeldLock),
    /// A fault of ours: the thread panicked, and everything unanswered was refused.
    Panicked,
}

/// The lock of a log that failed. Kept until the process ends: a server that still turns clients away is still the
/// log's server.
pub struct HeldLock(#[expect(dead_code, reason = "kept, never looked at")] Option<Box<dyn Send>>);

impl fmt::Debug for HeldLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldLock")
    }
}

/// Starts the commit thread. `storage` is where segments are prepared ahead; without it none are.
///
/// # Errors
/// When no thread can be started; the inbox and the log are dropped then.
pub fn spawn<S: Storage>(
    inbox: Inbox,
    sink: Sink<S>,
    storage: Option<S>,
    options: CommitOptions,
    counters: Arc<CommitCounters>,
) -> io::Result<CommitThread> {
    let preparation = match (&sink, storage) {
        (Sink::Log { writer, .. }, Some(storage)) => {
            Some(Preparation::start(storage, writer.segment_size())?)
        }
        _ => None,
    };
    let gathering = Gathering::new();
    let committer = Committer { inbox, sink, preparation, options, gathering, counters, lacks_space: false };
    let thread = std::thread::Builder::new().name("commit".to_owned()).spawn(move || committer.run())?;
    Ok(CommitThread { thread })
}

impl CommitThread {
    /// Waits until it has ended: after all shard ports were dropped, or the log has failed.
    #[must_use]
    pub fn join(self) -> Ending {
        self.thread.join().unwrap_or(Ending::Panicked)
    }
}

struct Committer<S: Storage> {
    inbox: Inbox,
    sink: Sink<S>,
    preparation: Option<Preparation<S>>,
    options: CommitOptions,
    gathering: Gathering,
    counters: Arc<CommitCounters>,
    lacks_space: bool,
}

impl<S: Storage> Committer<S> {
    fn run(mut self) -> Ending {
        let mut batch = Batch::default();
        while self.collect(&mut batch) {
            let committed = commit(&mut self.inbox, &mut self.sink, &mut batch, timestamp());
            self.count(&committed);
            if let Some(Refused::LogFailed(error)) = committed.refused {
                let error = announce(error, &self.options.data_dir);
                return Ending::Failed(error, held_lock(self.sink));
            }
            if let (Some(preparation), Sink::Log { writer, .. }) = (&mut self.preparation, &mut self.sink) {
                preparation.tend(writer);
            }
        }
        self.seal()
    }

    /// Waits for the next batch; false when none will come.
    fn collect(&mut self, batch: &mut Batch) -> bool {
        let CommitOptions { bounds, gather, .. } = self.options;
        if batch.take(&mut self.inbox, bounds, Wait::Block) == Taken::Closed {
            return false;
        }
        match gather {
            Gather::WhenItPays if self.gathering.pays() => {
                let in_hand = batch.len();
                // Asleep, not at the queue: being woken for each message would cost what the wait is to save.
                std::thread::sleep(GATHER_TIME);
                let _ = batch.take(&mut self.inbox, bounds, Wait::Poll);
                self.gathering.note(in_hand, batch.len() - in_hand);
            }
            Gather::For(time) if !time.is_zero() => {
                let deadline = Instant::now() + time;
                while batch.take(&mut self.inbox, bounds, Wait::Until(deadline)) == Taken::Some {}
            }
            Gather::WhenItPays | Gather::For(_) => {}
        }
        true
    }

    fn count(&mut self, committed: &Commit) {
        let counters = &self.counters;
        match &committed.refused {
            Some(Refused::NoSpace(error)) => {
                counters.refused_no_space.add(committed.messages);
                if !self.lacks_space {
                    Event::new(EventName::NoSpace)
                        .field("file", self.options.data_dir.join(&error.file).display())
                        .field("operation", error.operation)
                        .field("error", &error.cause)
                        .field("action", "make room; mail is refused with 452 until there is some")
                        .emit();
                }
                self.lacks_space = true;
            }
            Some(Refused::LogFailed(_)) => counters.refused_log_failed.add(committed.messages),
            None => {
                counters.batches.add(1);
                counters.syncs.add(u64::from(committed.synced));
                counters.messages_stored.add(committed.messages);
                counters.octets_stored.add(committed.octets);
                counters.batch_messages_max.raise_to(committed.messages);
                if self.lacks_space {
                    Event::new(EventName::SpaceAgain).emit();
                }
                self.lacks_space = false;
            }
        }
    }

    fn seal(self) -> Ending {
        let Sink::Log { mut writer, .. } = self.sink else { return Ending::Sealed };
        if let Some(preparation) = self.preparation {
            preparation.end(&mut writer);
        }
        match writer.close() {
            Ok(()) => Ending::Sealed,
            Err(SyncError(error)) => Ending::Failed(announce(error, &self.options.data_dir), HeldLock(None)),
        }
    }
}

fn held_lock<S: Storage>(sink: Sink<S>) -> HeldLock {
    match sink {
        Sink::Log { writer, .. } => HeldLock(Some(Box::new(writer.into_lock()))),
        Sink::Discard => HeldLock(None),
    }
}

/// Says once, loudly, that nothing is acknowledged from this log any more.
fn announce(error: FileError, data_dir: &Path) -> FileError {
    Event::new(EventName::LogFailed)
        .field("file", data_dir.join(&error.file).display())
        .field("operation", error.operation)
        .field("error", &error.cause)
        .field("action", "mend the disk and start the server anew; no message is acknowledged until then")
        .emit();
    error
}

/// The time of the system's clock.
fn timestamp() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
}
