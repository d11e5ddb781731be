//! The commit thread: one for each log directory, from the first message to the seal.
//!
//! It ends when all shards have dropped their ports, and then seals the log; or when the log fails, and then drops
//! its inbox, which refuses what is queued and tells every shard to turn new connections away.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::batch::Batch;
use super::prepare::Preparation;
use super::step::{Commit, Refused, Sink, commit};
use crate::handoff::{BatchBounds, Inbox, Taken, Wait};
use crate::log::{FileError, Storage, SyncError};
use crate::message::Timestamp;
use crate::observe::{CommitCounters, Event};

/// How batches are made.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// What one batch may hold.
    pub bounds: BatchBounds,
    /// How long to wait for more after the first message of a batch came; zero by default, since a batch grows by
    /// itself while the sync before it runs.
    pub delay: Duration,
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
    Failed(FileError),
    /// A fault of ours: the thread panicked, and everything unanswered was refused.
    Panicked,
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
    let committer = Committer { inbox, sink, preparation, options, counters, lacks_space: false };
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
                return Ending::Failed(announce(error, &self.options.data_dir));
            }
            if let (Some(preparation), Sink::Log { writer, .. }) = (&mut self.preparation, &mut self.sink) {
                preparation.tend(writer);
            }
        }
        self.seal()
    }

    /// Waits for the next batch; false when none will come.
    fn collect(&mut self, batch: &mut Batch) -> bool {
        let CommitOptions { bounds, delay, .. } = self.options;
        if batch.take(&mut self.inbox, bounds, Wait::Block) == Taken::Closed {
            return false;
        }
        if !delay.is_zero() {
            let deadline = Instant::now() + delay;
            while batch.take(&mut self.inbox, bounds, Wait::Until(deadline)) == Taken::Some {}
        }
        true
    }

    fn count(&mut self, committed: &Commit) {
        let counters = &self.counters;
        match &committed.refused {
            Some(Refused::NoSpace(error)) => {
                counters.refused_no_space.add(committed.messages);
                if !self.lacks_space {
                    let event = about(Event::new("no-space"), error, &self.options.data_dir);
                    event.field("action", "make room; mail is refused with 452 until then").emit();
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
                    Event::new("space-again").emit();
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
            Err(SyncError(error)) => Ending::Failed(announce(error, &self.options.data_dir)),
        }
    }
}

/// Says once, loudly, that nothing is acknowledged from this log any more.
fn announce(error: FileError, data_dir: &Path) -> FileError {
    about(Event::new("log-failed"), &error, data_dir)
        .field("action", "mend the disk and start the server anew; no message is acknowledged until then")
        .emit();
    error
}

/// Names the file, what was done with it, and what the system said.
fn about(event: Event, error: &FileError, data_dir: &Path) -> Event {
    event
        .field("file", data_dir.join(&error.file).display())
        .field("operation", error.operation)
        .field("error", &error.cause)
}

/// The time of the system's clock.
fn timestamp() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
}
