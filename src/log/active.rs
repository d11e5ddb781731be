//! The segment that is being written: how it comes into being, and how it is sealed.
//!
//! A segment file gets its final name only after its header is durable, and is used only after that name is. It is
//! sealed, durably, before its successor is made. So every segment but the newest ends with a footer, whenever the
//! power goes. Lack of space on these ways is told apart from failures: it heals.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{AppendError, FileError};
use super::segment::{
    FOOTER_LEN, Footer, SEGMENT_HEADER_LEN, SegmentHeader, Successor, segment_boundary, segment_name,
};
use super::storage::{Storage, StorageFile, is_shortage, write_all_at};
use crate::message::{Lsn, Timestamp};

const NEW_SEGMENT: &str = "segment.tmp";
const PREPARED_PREFIX: &str = "prepared-";
const PREPARED_SUFFIX: &str = ".tmp";
/// Octets zeroed by one write while a segment is prepared.
const ZEROS_LEN: usize = 1024 * 1024;
/// Segments prepared and not yet used, at most.
const PREPARED_MAX: usize = 16;

/// Whether a name is that of a file being made; recovery removes what a crash left of them.
pub(crate) fn is_temporary(name: &str) -> bool {
    name == NEW_SEGMENT || (name.starts_with(PREPARED_PREFIX) && name.ends_with(PREPARED_SUFFIX))
}

/// A file for a later segment, its blocks already written and synced: a sync into such blocks need not write
/// metadata, which makes it two to six times as fast.
#[derive(Debug)]
pub struct PreparedSegment<F> {
    pub(crate) file: F,
    pub(crate) name: String,
}

impl<F: StorageFile> PreparedSegment<F> {
    /// Takes a file that exists under a temporary name. What it holds does not matter: octets that were not
    /// written to the new segment never validate in it.
    pub fn from_file(file: F, name: String) -> Self {
        Self { file, name }
    }
}

/// Makes a file of `size` octets for a later segment, zero-filled and synced. Runs on any thread.
///
/// # Errors
/// `StorageFull` when less than twice that much is free: the last room on a disk is for mail. Else those of the
/// system calls; the half-made file is removed.
pub fn prepare<S: Storage>(storage: &S, size: u64) -> io::Result<PreparedSegment<S::File>> {
    prepare_unless(storage, size, &AtomicBool::new(false))
}

/// As [`prepare`], and given up soon after `unwanted` has become true.
///
/// # Errors
/// As [`prepare`]; `Interrupted` when it was given up.
pub fn prepare_unless<S: Storage>(
    storage: &S,
    size: u64,
    unwanted: &AtomicBool,
) -> io::Result<PreparedSegment<S::File>> {
    if storage.free_space()? < size.saturating_mul(2) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let (file, name) = create_prepared(storage)?;
    match zero_fill(&file, size, unwanted).and_then(|()| file.sync_all()) {
        Ok(()) => Ok(PreparedSegment { file, name }),
        Err(error) => {
            // Recovery removes it if this fails as well.
            let _ = storage.remove(&name);
            Err(error)
        }
    }
}

fn create_prepared<S: Storage>(storage: &S) -> io::Result<(S::File, String)> {
    for number in 0..PREPARED_MAX {
        let name = format!("{PREPARED_PREFIX}{number}{PREPARED_SUFFIX}");
        match storage.create(&name) {
            Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {}
            created => return Ok((created?, name)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn zero_fill<F: StorageFile>(file: &F, size: u64, unwanted: &AtomicBool) -> io::Result<()> {
    let zeros = vec![0; ZEROS_LEN];
    let mut offset = 0;
    while offset < size {
        if unwanted.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = usize::try_from(size - offset).map_or(ZEROS_LEN, |left| left.min(ZEROS_LEN));
        write_all_at(file, &zeros[..len], offset)?;
        offset += len as u64;
    }
    Ok(())
}

/// The newest segment, open for appending.
#[derive(Debug)]
pub(crate) struct ActiveSegment<F> {
    pub(crate) file: F,
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    /// What its footer will say; `lsn` is the position behind the last record.
    pub(crate) footer: Footer,
    /// Set when a write ran out of space: takes no more records and waits to be sealed.
    pub(crate) full: bool,
    /// Its blocks were not written ahead: syncs into it cost more than into a prepared one.
    pub(crate) growing: bool,
}

impl<F: StorageFile> ActiveSegment<F> {
    /// Makes the segment durable under its name. Takes the prepared file if there is one.
    pub(crate) fn create<S: Storage<File = F>>(
        storage: &S,
        prepared: Option<PreparedSegment<F>>,
        header: SegmentHeader,
    ) -> Result<Self, AppendError> {
        let growing = prepared.is_none();
        let (file, temporary) = match prepared {
            Some(prepared) => (prepared.file, prepared.name),
            None => (create_new(storage).map_err(shortage_or_failed)?, NEW_SEGMENT.to_owned()),
        };
        let name = segment_name(header.base);
        let made = write_header(&file, &temporary, &header).and_then(|()| {
            storage.rename(&temporary, &name).map_err(|cause| FileError::new("rename", &temporary, cause))
        });
        if let Err(error) = made {
            // Nothing depends on the file yet; recovery removes it if this fails.
            let _ = storage.remove(&temporary);
            return Err(no_space_or_failed(error));
        }
        // From here on a failure leaves open which of the two names is on disk: final, whatever its cause.
        storage.sync_dir("").map_err(|cause| AppendError::Failed(FileError::new("sync", "", cause)))?;
        let footer = Footer {
            lsn: header.first_record(),
            records: 0,
            last_record: Lsn::default(),
            first_time: Timestamp::default(),
            last_time: Timestamp::default(),
            durable: Lsn::default(),
            next_sequence: header.first_sequence,
            next_base: Lsn::default(),
        };
        Ok(Self { file, name, header, footer, full: false, growing })
    }

    /// Whether `octets` more fit, with a footer behind them.
    pub(crate) fn has_room(&self, octets: u64) -> bool {
        let end = u128::from(self.footer.lsn.0) + u128::from(octets) + FOOTER_LEN as u128;
        !self.full && end <= u128::from(self.header.limit.0)
    }

    /// Cuts the file behind its last record, writes the footer and syncs.
    pub(crate) fn seal(&mut self) -> Result<Successor, AppendError> {
        self.footer.durable = self.footer.lsn;
        self.footer.next_base = segment_boundary(self.footer.end());
        seal(&self.file, &self.name, &self.header, &self.footer)
    }

    /// Throws away everything behind the last record, durably.
    pub(crate) fn cut(&self) -> Result<(), AppendError> {
        let len = self.footer.lsn.0 - self.header.base.0;
        self.file
            .truncate(len)
            .map_err(|cause| no_space_or_failed(FileError::new("truncate", &self.name, cause)))?;
        self.file.sync_all().map_err(|cause| AppendError::Failed(FileError::new("sync", &self.name, cause)))
    }
}

/// Writes a footer where it says it stands, with nothing behind it, and makes it durable with all before it.
pub(crate) fn seal<F: StorageFile>(
    file: &F,
    name: &str,
    header: &SegmentHeader,
    footer: &Footer,
) -> Result<Successor, AppendError> {
    let offset = footer.lsn.0 - header.base.0;
    let end = offset + FOOTER_LEN as u64;
    let error = |operation| move |cause| no_space_or_failed(FileError::new(operation, name, cause));
    // Cutting first gives room back, and takes none: where the file is longer the footer's block exists.
    if file.len().map_err(error("read"))? > end {
        file.truncate(end).map_err(error("truncate"))?;
    }
    write_all_at(file, &footer.encode(header.id), offset).map_err(error("write"))?;
    file.sync_all().map_err(|cause| AppendError::Failed(FileError::new("sync", name, cause)))?;
    Ok(Successor { previous: footer.link(header.id), base: footer.next_base })
}

/// A new file under a temporary name; one that an earlier attempt left is replaced.
fn create_new<S: Storage>(storage: &S) -> Result<S::File, FileError> {
    let error = |operation| move |cause| FileError::new(operation, NEW_SEGMENT, cause);
    match storage.create(NEW_SEGMENT) {
        Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {
            storage.remove(NEW_SEGMENT).map_err(error("remove"))?;
            storage.create(NEW_SEGMENT).map_err(error("create"))
        }
        created => created.map_err(error("create")),
    }
}

fn write_header<F: StorageFile>(file: &F, name: &str, header: &SegmentHeader) -> Result<(), FileError> {
    let block = header.encode();
    debug_assert_eq!(block.len() as u64, SEGMENT_HEADER_LEN);
    write_all_at(file, &block, 0).map_err(|cause| FileError::new("write", name, cause))?;
    file.sync_all().map_err(|cause| FileError::new("sync", name, cause))
}

/// Without a file there is nothing that could be lost: what is short now is asked for again.
fn shortage_or_failed(error: FileError) -> AppendError {
    if is_shortage(&error.cause) { AppendError::NoSpace(error) } else { no_space_or_failed(error) }
}

fn no_space_or_failed(error: FileError) -> AppendError {
    if error.is_no_space() { AppendError::NoSpace(error) } else { AppendError::Failed(error) }
}
