//! The one place that turns queued messages into answers, in the order that the first promise demands.
//!
//! Nothing here waits but for the storage; time comes in as an argument.

use super::batch::Batch;
use crate::handoff::{BatchBounds, Inbox, Taken, Wait};
use crate::log::{AppendError, FileError, Storage, SyncError, Writer};
use crate::message::{Outcome, Receipt, StorageRefusal, Timestamp};

/// What must have happened before a message counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// An fdatasync that covers it succeeded.
    AfterSync,
    /// It was written to the page cache.
    AfterWrite,
}

/// Where messages go.
pub enum Sink<S: Storage> {
    /// Into the log.
    Log {
        /// The log's only writer.
        writer: Box<Writer<S>>,
        /// What a 250 waits for.
        acknowledge: Acknowledge,
    },
    /// Nowhere: to measure the way to here.
    Discard,
}

/// What became of one batch.
#[derive(Debug)]
pub struct Commit {
    /// Messages in it.
    pub messages: u64,
    /// Octets of message text in it.
    pub octets: u64,
    /// Whether a synchronous write was made for it.
    pub synced: bool,
    /// Set when it was refused, whole.
    pub refused: Option<Refused>,
}

/// Why a batch was refused.
#[derive(Debug, Clone)]
pub enum Refused {
    /// No space; later batches are tried again.
    NoSpace(FileError),
    /// The log failed; nothing is acknowledged from it any more.
    LogFailed(FileError),
}

/// Takes what is queued and commits it. The commit thread and the simulation both run on this pair.
///
/// `None` when nothing was taken; [`Taken`] says whether more can come.
pub fn step<S: Storage>(
    inbox: &mut Inbox,
    sink: &mut Sink<S>,
    batch: &mut Batch,
    bounds: BatchBounds,
    wait: Wait,
    now: Timestamp,
) -> (Taken, Option<Commit>) {
    let taken = batch.take(inbox, bounds, wait);
    let committed = (taken == Taken::Some).then(|| commit(inbox, sink, batch, now));
    (taken, committed)
}

/// Stores a batch and answers for it: write, sync, show it to readers, note each outcome, ring the shards.
///
/// A batch is stored whole or refused whole. It is empty afterwards.
pub fn commit<S: Storage>(
    inbox: &mut Inbox,
    sink: &mut Sink<S>,
    batch: &mut Batch,
    now: Timestamp,
) -> Commit {
    let (messages, octets) = (batch.len() as u64, batch.octets());
    let stored = store(sink, batch, now);
    answer(inbox, sink, batch, stored.as_ref().err());
    batch.clear();
    Commit { messages, octets, synced: matches!(stored, Ok(Stored::Synced)), refused: stored.err() }
}

enum Stored {
    Synced,
    Unsynced,
}

/// Everything that must have happened before the first 250 of this batch, in this order.
fn store<S: Storage>(sink: &mut Sink<S>, batch: &mut Batch, now: Timestamp) -> Result<Stored, Refused> {
    let Sink::Log { writer, acknowledge } = sink else { return Ok(Stored::Unsynced) };
    let Batch { submissions, lsns } = batch;
    writer.append(submissions.iter().map(|submission| &submission.message), now, lsns)?;
    let stored = match acknowledge {
        Acknowledge::AfterSync => writer.sync().map(|()| Stored::Synced)?,
        Acknowledge::AfterWrite => Stored::Unsynced,
    };
    // A reader in another process must find the message as soon as its sender has the 250.
    writer.publish()?;
    Ok(stored)
}

fn answer<S: Storage>(inbox: &mut Inbox, sink: &Sink<S>, batch: &Batch, refused: Option<&Refused>) {
    let outcome = |index: usize| match (refused, sink) {
        (Some(Refused::NoSpace(_)), _) => Outcome::Refused(StorageRefusal::NoSpace),
        (Some(Refused::LogFailed(_)), _) => Outcome::Refused(StorageRefusal::LogFailed),
        (None, Sink::Discard) => Outcome::Discarded,
        (None, Sink::Log { writer, .. }) => {
            Outcome::Stored(Receipt { partition: writer.partition(), lsn: batch.lsns[index] })
        }
    };
    for (index, submission) in batch.submissions.iter().enumerate() {
        inbox.finish(submission.shard, submission.ticket, outcome(index));
    }
    inbox.publish();
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NoSpace(error) => Self::NoSpace(error),
            AppendError::Failed(error) => Self::LogFailed(error),
        }
    }
}

impl From<SyncError> for Refused {
    fn from(SyncError(error): SyncError) -> Self {
        Self::LogFailed(error)
    }
}
