//! What became of a submitted message: the word that the log's side sends back to the session's side.
//!
//! It crosses from `commit` to `shard` beside a ticket; `smtp` turns it into the final reply.

use super::Receipt;

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// In the log, and as durable as the durability mode promises.
    Stored(Receipt),
    /// Thrown away on purpose (`--durability discard`).
    Discarded,
    /// Not stored; the sender must keep it.
    Refused(StorageRefusal),
}

/// Why a message could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageRefusal {
    /// No space left on the device; heals by itself once there is room.
    NoSpace,
    /// The log failed and takes no more messages until the server is started anew.
    LogFailed,
}
