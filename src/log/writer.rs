//! Signatures ahead of their bodies.
#![allow(unused_variables, missing_docs)]
use std::io;

use super::storage::{Storage, StorageFile};
use super::{AppendError, OpenError, SyncError};
use crate::message::{Lsn, Message, Partition, Timestamp};

/// Up to where readers are shown records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// What a sync has covered (durability `sync`).
    Durable,
    /// What was written (durability `os`).
    Written,
}

/// How a log is written.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Octets after which a new segment begins; a batch larger than it gets a segment as large as needed.
    pub segment_size: u64,
    /// The partition this log holds.
    pub partition: Partition,
    /// Up to where readers are shown records.
    pub visibility: Visibility,
    /// Seed of the segment ids; from the system's randomness, different at each start.
    pub id_seed: u64,
}

/// How far the log has come; each is the position behind the last octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    pub durable: Lsn,
    pub written: Lsn,
    pub appended: Lsn,
}

/// A file for a later segment, its blocks already written and synced.
#[derive(Debug)]
pub struct PreparedSegment<F> {
    pub file: F,
    pub name: String,
}

/// Zero-fills and syncs a file for a later segment.
pub fn prepare<S: Storage>(storage: &S, size: u64) -> io::Result<PreparedSegment<S::File>> {
    unimplemented!()
}

#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {}

pub struct Writer<S: Storage> {
    storage: S,
}

impl<S: Storage> Writer<S> {
    /// Takes the lock, recovers, opens a new segment, publishes the position.
    pub fn open(
        storage: S,
        options: WriterOptions,
        now: Timestamp,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        unimplemented!()
    }
    /// One vectored write of a whole batch; `lsns` is cleared and gets one entry per message.
    pub fn append<'a, B>(&mut self, batch: B, now: Timestamp, lsns: &mut Vec<Lsn>) -> Result<(), AppendError>
    where
        B: Iterator<Item = &'a Message> + Clone,
    {
        unimplemented!()
    }
    pub fn sync(&mut self) -> Result<(), SyncError> {
        unimplemented!()
    }
    pub fn publish(&mut self) -> Result<(), SyncError> {
        unimplemented!()
    }
    pub fn positions(&self) -> Positions {
        unimplemented!()
    }
    pub fn partition(&self) -> Partition {
        unimplemented!()
    }
    pub fn wants_segment(&self) -> bool {
        unimplemented!()
    }
    pub fn offer(&mut self, prepared: PreparedSegment<S::File>) {}
    pub fn close(self, now: Timestamp) -> Result<(), SyncError> {
        unimplemented!()
    }
}
