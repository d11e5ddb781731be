//! What a reader may look at: which segments there are, and how far they may be read.
//!
//! The order of the looks matters. Beside a writer the position is read before the directory, so that every segment
//! below the position is in the list. Without a writer the lock is probed again after the directory was read: a
//! writer that came in between might have appended to a segment in the list, one that comes later never does, since
//! a writer always begins with a segment of its own.

use uuid::Uuid;

use super::error::{FileError, ReadError};
use super::position::{POSITION_FILE, Slot, read_position};
use super::segment::segment_base;
use super::storage::{LOCK_FILE, Storage};
use crate::message::Lsn;

/// Writers may come and go while a reader looks; after so many it gives up.
const LOOKS_MAX: u32 = 100;

/// How far a log may be read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// A writer lives: nothing behind this position.
    Visible(Lsn),
    /// No writer: everything intact. The position file, if there is one, tells what was durable.
    Tail(Option<Slot>),
}

/// One look at a data directory.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Rising.
    bases: Vec<Lsn>,
    /// Whether anything tells that this is the directory of a log.
    pub(crate) finds_log: bool,
    pub(crate) bound: Bound,
}

impl View {
    pub(crate) fn take<S: Storage>(storage: &S) -> Result<Self, ReadError> {
        for _ in 0..LOOKS_MAX {
            let locked = is_locked(storage)?;
            let position = read_position(storage)?;
            let names = storage.list().map_err(|cause| FileError::new("list", "", cause))?;
            let mut bases = segment_bases(&names);
            let traced = names.iter().any(|name| name == LOCK_FILE || name == POSITION_FILE);
            let finds_log = locked || traced || !bases.is_empty();
            if locked {
                let visible = match position {
                    Some(slot) => slot.visible,
                    None if bases.is_empty() => Lsn(0),
                    None => return Err(ReadError::NoPosition),
                };
                bases.retain(|base| *base < visible);
                return Ok(Self { bases, finds_log, bound: Bound::Visible(visible) });
            }
            if !is_locked(storage)? {
                return Ok(Self { bases, finds_log, bound: Bound::Tail(position) });
            }
        }
        Err(ReadError::NoPosition)
    }

    pub(crate) fn bases(&self) -> &[Lsn] {
        &self.bases
    }

    /// The segment behind another one, or the first.
    pub(crate) fn segment_after(&self, base: Option<Lsn>) -> Option<Lsn> {
        let index = base.map_or(0, |base| self.bases.partition_point(|other| *other <= base));
        self.bases.get(index).copied()
    }

    /// The segment that holds a position, if any does.
    pub(crate) fn segment_of(&self, lsn: Lsn) -> Option<Lsn> {
        let behind = self.bases.partition_point(|base| *base <= lsn);
        self.bases[..behind].last().copied()
    }

    pub(crate) fn is_newest(&self, base: Lsn) -> bool {
        self.bases.last() == Some(&base)
    }

    /// Whether a position may not be shown yet.
    pub(crate) fn hides(&self, lsn: Lsn) -> bool {
        matches!(self.bound, Bound::Visible(visible) if lsn >= visible)
    }

    /// How far the log must reach. A position file left by another log (`log` is the one read) says nothing.
    pub(crate) fn owed(&self, log: Option<Uuid>) -> Lsn {
        match self.bound {
            Bound::Visible(visible) => visible,
            Bound::Tail(Some(slot)) if log.is_none_or(|log| log == slot.log) => slot.durable,
            Bound::Tail(_) => Lsn(0),
        }
    }
}

fn is_locked<S: Storage>(storage: &S) -> Result<bool, FileError> {
    storage.is_locked().map_err(|cause| FileError::new("probe", LOCK_FILE, cause))
}

fn segment_bases(names: &[String]) -> Vec<Lsn> {
    let mut bases: Vec<Lsn> = names.iter().filter_map(|name| segment_base(name)).collect();
    bases.sort_unstable();
    bases
}
