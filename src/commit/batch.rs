//! The messages of one group commit, in buffers that are used again for the next one.
//!
//! Bounds are given from outside; see [`crate::handoff::BatchBounds`].

use crate::handoff::{BatchBounds, IOVECS_PER_MESSAGE, Inbox, Submission, Taken, Wait};
use crate::message::{Lsn, Message};

/// What shares one write and one sync.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) submissions: Vec<Submission>,
    /// Where each was written; filled by the writer.
    pub(super) lsns: Vec<Lsn>,
}

impl Batch {
    /// Takes what is queued, within what `bounds` leave beside what the batch already holds; waits for the first
    /// as `wait` says.
    pub fn take(&mut self, inbox: &mut Inbox, bounds: BatchBounds, wait: Wait) -> Taken {
        match self.room(bounds) {
            Some(room) => inbox.take(&mut self.submissions, room, wait),
            None => Taken::Empty,
        }
    }

    /// The messages in the order they were taken.
    pub fn messages(&self) -> impl Iterator<Item = &Message> + Clone {
        self.submissions.iter().map(|submission| &submission.message)
    }

    /// How many messages it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.submissions.len()
    }

    /// True when there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.submissions.is_empty()
    }

    /// Octets of message text in it.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.messages().map(|message| message.body.len() as u64).sum()
    }

    /// Drops the messages and keeps the buffers.
    pub(super) fn clear(&mut self) {
        self.submissions.clear();
        self.lsns.clear();
    }

    /// What `bounds` leave; `None` when the batch is full. An empty batch has room for any message.
    fn room(&self, bounds: BatchBounds) -> Option<BatchBounds> {
        if self.is_empty() {
            return Some(bounds);
        }
        let left = self.messages().try_fold(bounds, |left, message| {
            Some(BatchBounds {
                count: left.count.checked_sub(1)?,
                bytes: left.bytes.checked_sub(message.len())?,
                iovecs: left.iovecs.checked_sub(message.body.chunks().len() + IOVECS_PER_MESSAGE)?,
            })
        });
        // The first message of a take passes whatever its size, so a batch with little left takes none.
        left.filter(|left| left.count > 0 && left.bytes > bounds.bytes / 2 && left.iovecs > bounds.iovecs / 2)
    }
}
