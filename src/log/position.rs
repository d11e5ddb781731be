//! How far the log has come, and the small file that tells other processes.
//!
//! ```text
//!  slot 0 (64 octets)                      slot 1
//!  +-------+------------+-----+---------+---------+------+-----+----
//!  | magic | generation | log | visible | durable | zero | crc | ...
//!  +-------+------------+-----+---------+---------+------+-----+----
//!  0       8            16    32        40        48     60
//! ```
//!
//! The writer overwrites the older slot each time, so that a reader always finds one whole. The file is volatile: it
//! is never synced and rebuilt at recovery, but whatever it says of the durable position was true.

use std::io;

use uuid::Uuid;

use super::error::{FileError, ReadError};
use super::format::{crc32c, u32_at, u64_at};
use super::storage::{Storage, StorageFile, read_full_at, write_all_at};
use crate::message::Lsn;

/// The file's name in the data directory.
pub(crate) const POSITION_FILE: &str = "position";

const SLOT_MAGIC: &[u8; 8] = b"MRPOSITN";
const SLOT_LEN: usize = 64;
/// A reader meets two slots in the middle of being rewritten only when the writer laps it; so often it looks anew.
const READ_TRIES_MAX: usize = 100;

/// How far a log has come: each is the position behind the last octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    /// Covered by a sync that succeeded.
    pub durable: Lsn,
    /// Handed to the operating system.
    pub written: Lsn,
    /// Given out to records.
    pub appended: Lsn,
}

impl Positions {
    /// All three at one place.
    #[must_use]
    pub fn at(lsn: Lsn) -> Self {
        Self { durable: lsn, written: lsn, appended: lsn }
    }

    /// The one place where their order is held.
    ///
    /// # Panics
    /// When not `durable <= written <= appended`.
    pub(crate) fn check(&self) {
        assert!(
            self.durable <= self.written && self.written <= self.appended,
            "positions out of order: {self:?}"
        );
    }
}

/// What the position file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) generation: u64,
    pub(crate) log: Uuid,
    /// Readers beside a writer show nothing behind this.
    pub(crate) visible: Lsn,
    pub(crate) durable: Lsn,
}

impl Slot {
    pub(crate) fn encode(&self) -> [u8; SLOT_LEN] {
        let mut octets = [0; SLOT_LEN];
        octets[..8].copy_from_slice(SLOT_MAGIC);
        octets[8..16].copy_from_slice(&self.generation.to_le_bytes());
        octets[16..32].copy_from_slice(self.log.as_bytes());
        octets[32..40].copy_from_slice(&self.visible.0.to_le_bytes());
        octets[40..48].copy_from_slice(&self.durable.0.to_le_bytes());
        let crc = crc32c(&octets[..60]);
        octets[60..].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    fn decode(octets: &[u8]) -> Option<Self> {
        if &octets[..8] != SLOT_MAGIC || u32_at(octets, 60) != crc32c(&octets[..60]) {
            return None;
        }
        Some(Self {
            generation: u64_at(octets, 8),
            log: Uuid::from_bytes(octets[16..32].try_into().expect("sixteen octets")),
            visible: Lsn(u64_at(octets, 32)),
            durable: Lsn(u64_at(octets, 40)),
        })
    }

    /// Where the slot of a generation stands in the file.
    fn offset(&self) -> u64 {
        self.generation % 2 * SLOT_LEN as u64
    }
}

/// The position file as its writer sees it.
#[derive(Debug)]
pub(crate) struct PositionFile<F> {
    file: F,
    last: Slot,
}

impl<F: StorageFile> PositionFile<F> {
    /// Opens or makes the file and writes `first` into it.
    pub(crate) fn open<S: Storage<File = F>>(storage: &S, first: Slot) -> Result<Self, FileError> {
        let error = |operation| move |cause| FileError::new(operation, POSITION_FILE, cause);
        let file = match storage.open_for_writing(POSITION_FILE) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                storage.create(POSITION_FILE).map_err(error("create"))?
            }
            opened => opened.map_err(error("open"))?,
        };
        write_all_at(&file, &first.encode(), first.offset()).map_err(error("write"))?;
        Ok(Self { file, last: first })
    }

    /// Tells readers the new positions; no system call when they are the ones told last.
    pub(crate) fn publish(&mut self, visible: Lsn, durable: Lsn) -> Result<(), FileError> {
        if (self.last.visible, self.last.durable) == (visible, durable) {
            return Ok(());
        }
        let next = Slot { generation: self.last.generation + 1, visible, durable, ..self.last };
        write_all_at(&self.file, &next.encode(), next.offset())
            .map_err(|cause| FileError::new("write", POSITION_FILE, cause))?;
        self.last = next;
        Ok(())
    }
}

/// The newest intact slot; `None` when there is no file or nothing intact in it.
pub(crate) fn read_position<S: Storage>(storage: &S) -> Result<Option<Slot>, ReadError> {
    let error = |operation| move |cause| FileError::new(operation, POSITION_FILE, cause);
    let file = match storage.open(POSITION_FILE) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(error("open"))?,
    };
    for _ in 0..READ_TRIES_MAX {
        let mut octets = [0; 2 * SLOT_LEN];
        read_full_at(&file, &mut octets, 0).map_err(error("read"))?;
        let newest = octets.chunks(SLOT_LEN).filter_map(Slot::decode).max_by_key(|slot| slot.generation);
        if newest.is_some() {
            return Ok(newest);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::fixture::Dir;

    fn slot(generation: u64, visible: u64) -> Slot {
        Slot { generation, log: Uuid::from_u128(1), visible: Lsn(visible), durable: Lsn(visible) }
    }

    #[test]
    fn a_reader_finds_what_was_published_last() {
        let dir = Dir::new();
        assert_eq!(read_position(&dir.storage()).expect("readable"), None);
        let mut file = PositionFile::open(&dir.storage(), slot(7, 4096)).expect("opened");
        for visible in [4096, 5000, 6000, 7000] {
            file.publish(Lsn(visible), Lsn(4096)).expect("published");
            let read = read_position(&dir.storage()).expect("readable").expect("a slot");
            assert_eq!((read.visible, read.durable), (Lsn(visible), Lsn(4096)));
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before_it() {
        let dir = Dir::new();
        let mut file = PositionFile::open(&dir.storage(), slot(0, 4096)).expect("opened");
        file.publish(Lsn(5000), Lsn(5000)).expect("published");
        for bit in 0..SLOT_LEN * 8 {
            dir.flip("position", SLOT_LEN * 8 + bit);
            let read = read_position(&dir.storage()).expect("readable").expect("a slot");
            assert_eq!(read, slot(0, 4096), "bit {bit}");
            dir.flip("position", SLOT_LEN * 8 + bit);
        }
    }

    #[test]
    fn garbage_is_no_position() {
        let dir = Dir::new();
        for garbage in [&b""[..], b"x", &[0xFF; 500]] {
            dir.write("position", garbage);
            assert_eq!(read_position(&dir.storage()).expect("readable"), None);
        }
    }
}
