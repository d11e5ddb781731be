//! Appends batches of messages to the newest segment, one vectored write and one sync each.
//!
//! ```text
//!  append(batch)  -> written     one pwritev (more only past IOV_MAX), or the batch is refused whole
//!  sync()         -> durable     one fdatasync
//!  publish()      -> visible     other processes may show it; only now may a 250 leave
//! ```
//!
//! A failed sync, or a failed write other than for lack of space, is final: every later call fails with the same
//! error, nothing is tried again. For lack of space the batch is refused, the segment sealed behind its last whole
//! batch, and a new segment tried at most every [`NO_SPACE_RETRY_MICROSECONDS`].
//!
//! A batch never crosses segments: refusing it means cutting one file. Copies per octet: none; headers and end
//! marks go to one buffer that is used again, envelopes and bodies are written from where they are.

use std::io::IoSlice;

use uuid::Uuid;

use super::active::{ActiveSegment, PreparedSegment};
use super::error::{AppendError, FileError, OpenError, SyncError, is_no_space};
use super::format::{RecordHeader, encode_end, record_len};
use super::ids::IdGenerator;
use super::position::{PositionFile, Positions, Slot};
use super::recovery::{RecoveryReport, recover};
use super::segment::{FOOTER_LEN, SEGMENT_HEADER_LEN, SegmentHeader, Successor, segment_boundary};
use super::storage::{Storage, StorageFile, write_slices_at};
use crate::message::{Lsn, Message, Partition, Timestamp};

/// The usual size of a segment, in octets.
pub const SEGMENT_SIZE_DEFAULT: u64 = 64 * 1024 * 1024;
/// After lack of space, the file system is asked again no sooner than this.
pub const NO_SPACE_RETRY_MICROSECONDS: u64 = 100_000;

/// Up to where readers in other processes are shown records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// What a sync has covered (durability `sync`).
    Durable,
    /// What the operating system has taken (durability `os`).
    Written,
}

/// How a log is written.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Octets after which a new segment begins; a batch longer than that gets a segment as large as it needs.
    pub segment_size: u64,
    /// The partition this log holds.
    pub partition: Partition,
    /// Up to where readers are shown records.
    pub visibility: Visibility,
    /// Seeds the ids of log and segments: from the system's randomness, another one at each start.
    pub id_seed: u64,
}

/// The one writer of a log.
#[derive(Debug)]
pub struct Writer<S: Storage> {
    storage: S,
    _lock: S::Lock,
    options: WriterOptions,
    log: Uuid,
    ids: IdGenerator,
    state: State<S::File>,
    /// Set while space is lacking.
    outage: Option<Outage>,
    prepared: Option<PreparedSegment<S::File>>,
    positions: Positions,
    position_file: PositionFile<S::File>,
    next_sequence: u64,
    last_time: Timestamp,
    buffers: Buffers,
}

#[derive(Debug)]
enum State<F> {
    Active(ActiveSegment<F>),
    /// The last segment is sealed, the next one not yet made.
    Between(Successor),
    Failed(FileError),
}

#[derive(Debug)]
struct Outage {
    since: Timestamp,
    cause: FileError,
}

/// Used again for each batch, so that appending allocates nothing once they have grown.
#[derive(Debug, Default)]
struct Buffers {
    /// `header 0 | end 0, header 1 | ... | end n`: what stands between envelopes and bodies.
    frames: Vec<u8>,
    /// Where each header ends in `frames`.
    header_ends: Vec<usize>,
    slices: Vec<IoSlice<'static>>,
}

impl<S: Storage> Writer<S> {
    /// Takes the lock, recovers what the last writer left, makes a new segment and tells readers where the log
    /// stands; all of it durable when this returns. On a full disk it returns a writer that refuses batches until
    /// there is room.
    ///
    /// # Errors
    /// [`OpenError`]; the files are as before or recovered, never worse.
    pub fn open(
        storage: S,
        options: WriterOptions,
        now: Timestamp,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let lock = storage.lock().map_err(|cause| match cause.kind() {
            std::io::ErrorKind::WouldBlock => OpenError::Locked,
            _ => FileError::new("lock", super::storage::LOCK_FILE, cause).into(),
        })?;
        let mut ids = IdGenerator::new(options.id_seed);
        let recovered = recover(&storage, options.partition, &mut ids)?;
        let end = recovered.successor.base;
        let slot = Slot { generation: recovered.generation, log: recovered.log, visible: end, durable: end };
        let position_file = PositionFile::open(&storage, slot)?;
        let mut writer = Self {
            storage,
            _lock: lock,
            options,
            log: recovered.log,
            ids,
            state: State::Between(recovered.successor),
            outage: None,
            prepared: None,
            positions: Positions::at(end),
            position_file,
            next_sequence: recovered.next_sequence,
            last_time: recovered.last_time,
            buffers: Buffers::default(),
        };
        match writer.make_room(0, now) {
            Ok(()) | Err(AppendError::NoSpace(_)) => {}
            Err(AppendError::Failed(error)) => return Err(error.into()),
        }
        writer.publish().map_err(|SyncError(error)| error)?;
        Ok((writer, recovered.report))
    }

    /// Writes a batch behind the last one. `lsns` is emptied and gets the position of each message, in order. An
    /// empty batch does nothing.
    ///
    /// # Errors
    /// [`AppendError`]: nothing of the batch is in the log, `lsns` is empty.
    pub fn append<'a, B>(&mut self, batch: B, now: Timestamp, lsns: &mut Vec<Lsn>) -> Result<(), AppendError>
    where
        B: Iterator<Item = &'a Message> + Clone,
    {
        lsns.clear();
        let need: u64 = batch.clone().map(record_len).sum();
        if need == 0 {
            return Ok(());
        }
        self.make_room(need, now)?;
        let State::Active(segment) = &mut self.state else { unreachable!("room was made for the batch") };
        let time = self.last_time.max(now);
        let batch_start = segment.footer.lsn;
        let stamp =
            Stamp { lsn: batch_start, sequence: self.next_sequence, time, durable: self.positions.durable };
        self.buffers.encode(batch.clone(), stamp, segment.header.id, lsns);
        self.positions.appended = batch_start.advanced(need);
        self.positions.check();
        let offset = batch_start.0 - segment.header.base.0;
        let written =
            self.buffers.with_slices(batch, |slices| write_slices_at(&segment.file, slices, offset));
        if let Err(cause) = written {
            lsns.clear();
            self.positions.appended = self.positions.written;
            let error = FileError::new("write", &segment.name, cause);
            return Err(self.refuse(error, now));
        }
        let footer = &mut segment.footer;
        footer.first_time = if footer.records == 0 { time } else { footer.first_time };
        footer.last_time = time;
        footer.records += lsns.len() as u64;
        footer.last_record = lsns.last().copied().expect("the batch is not empty");
        footer.lsn = self.positions.appended;
        footer.next_sequence += lsns.len() as u64;
        self.next_sequence = footer.next_sequence;
        self.last_time = time;
        self.positions.written = self.positions.appended;
        self.positions.check();
        Ok(())
    }

    /// Makes everything written durable. Without a system call when it is already.
    ///
    /// # Errors
    /// Any, lack of space included, is final: the kernel may have thrown the octets away.
    pub fn sync(&mut self) -> Result<(), SyncError> {
        match &self.state {
            State::Failed(error) => return Err(SyncError(error.clone())),
            State::Active(segment) if self.positions.durable < self.positions.written => {
                if let Err(cause) = segment.file.sync_data() {
                    let error = FileError::new("sync", &segment.name, cause);
                    return Err(SyncError(self.fail(error)));
                }
            }
            State::Active(_) | State::Between(_) => {}
        }
        self.positions.durable = self.positions.written;
        Ok(())
    }

    /// Lets readers in other processes see what is durable (or written, as the options say). To be called before
    /// any 250 that depends on it.
    ///
    /// # Errors
    /// Final as those of [`Writer::sync`]: readers would miss what was acknowledged.
    pub fn publish(&mut self) -> Result<(), SyncError> {
        if let State::Failed(error) = &self.state {
            return Err(SyncError(error.clone()));
        }
        let Positions { durable, written, .. } = self.positions;
        let visible = match self.options.visibility {
            Visibility::Durable => durable,
            Visibility::Written => written,
        };
        self.position_file.publish(visible, durable).map_err(|error| SyncError(self.fail(error)))
    }

    /// How far the log has come.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.positions
    }

    /// The partition this log holds.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.options.partition
    }

    /// The octets a prepared segment should have.
    #[must_use]
    pub fn segment_size(&self) -> u64 {
        self.options.segment_size
    }

    /// Whether a prepared segment would be of use: none is at hand and the newest segment holds records.
    #[must_use]
    pub fn wants_segment(&self) -> bool {
        let in_use = matches!(&self.state, State::Active(segment) if segment.footer.records > 0);
        in_use && self.prepared.is_none() && self.outage.is_none()
    }

    /// Takes a file for the next segment; one that is not wanted is removed.
    pub fn offer(&mut self, prepared: PreparedSegment<S::File>) {
        if let Some(surplus) = self.prepared.replace(prepared) {
            // Recovery removes it if this fails.
            let _ = self.storage.remove(&surplus.name);
        }
    }

    /// Syncs, seals the newest segment and lets the log go.
    ///
    /// # Errors
    /// As [`Writer::sync`], and lack of space for the footer. The next start recovers.
    pub fn close(mut self) -> Result<(), SyncError> {
        self.sync()?;
        if let State::Active(segment) = &mut self.state {
            let (AppendError::NoSpace(error) | AppendError::Failed(error)) = match segment.seal() {
                Ok(_) => {
                    self.discard_prepared();
                    return self.publish();
                }
                Err(error) => error,
            };
            return Err(SyncError(self.fail(error)));
        }
        self.discard_prepared();
        self.publish()
    }

    fn discard_prepared(&mut self) {
        if let Some(unused) = self.prepared.take() {
            let _ = self.storage.remove(&unused.name);
        }
    }

    /// Sees to it that the newest segment takes `need` octets, or says why not.
    fn make_room(&mut self, need: u64, now: Timestamp) -> Result<(), AppendError> {
        if let State::Failed(error) = &self.state {
            return Err(AppendError::Failed(error.clone()));
        }
        if let Some(outage) = &self.outage {
            // A clock that stepped back must not prolong the outage.
            let waited = now.0.checked_sub(outage.since.0);
            if waited.is_some_and(|waited| waited < NO_SPACE_RETRY_MICROSECONDS) {
                return Err(AppendError::NoSpace(outage.cause.clone()));
            }
        }
        match self.try_make_room(need, now) {
            Ok(()) => {
                self.outage = None;
                Ok(())
            }
            Err(AppendError::NoSpace(cause)) => {
                self.outage = Some(Outage { since: now, cause: cause.clone() });
                Err(AppendError::NoSpace(cause))
            }
            Err(AppendError::Failed(error)) => Err(AppendError::Failed(self.fail(error))),
        }
    }

    fn try_make_room(&mut self, need: u64, now: Timestamp) -> Result<(), AppendError> {
        let successor = match &mut self.state {
            State::Failed(error) => return Err(AppendError::Failed(error.clone())),
            // The first segment after a start could not be prepared: it is left as soon as a prepared one is there.
            State::Active(segment)
                if segment.has_room(need)
                    && !(segment.growing && segment.footer.records > 0 && self.prepared.is_some()) =>
            {
                return Ok(());
            }
            State::Active(segment) => segment.seal()?,
            State::Between(successor) => *successor,
        };
        self.state = State::Between(successor);
        let base = successor.base;
        let overhead = SEGMENT_HEADER_LEN + FOOTER_LEN as u64;
        let header = SegmentHeader {
            log: self.log,
            id: self.ids.next_id(),
            base,
            limit: segment_boundary(
                base.advanced(self.options.segment_size.max(need.saturating_add(overhead))),
            ),
            previous: successor.previous,
            partition: self.options.partition,
            created: self.last_time.max(now),
            first_sequence: self.next_sequence,
        };
        let segment = ActiveSegment::create(&self.storage, self.prepared.take(), header)?;
        // Sealing synced all of the old segment, and the new one's header is durable.
        self.positions = Positions::at(segment.footer.lsn);
        self.state = State::Active(segment);
        Ok(())
    }

    /// A write of a batch failed: for lack of space cut it off and wait, else fail for good.
    fn refuse(&mut self, error: FileError, now: Timestamp) -> AppendError {
        let State::Active(segment) = &mut self.state else {
            unreachable!("only an active segment is written to")
        };
        if !is_no_space(&error.cause) {
            return AppendError::Failed(self.fail(error));
        }
        // A segment without a record stays in use: sealing it would fill the disk with empty segments.
        segment.full = segment.footer.records > 0;
        let cut = if segment.full { segment.seal().map(Some) } else { segment.cut().map(|()| None) };
        match cut {
            Ok(Some(successor)) => {
                self.positions.durable = self.positions.written;
                self.state = State::Between(successor);
            }
            Ok(None) => {}
            // Sealed later, before the next segment is made.
            Err(AppendError::NoSpace(_)) => segment.full = true,
            Err(AppendError::Failed(error)) => return AppendError::Failed(self.fail(error)),
        }
        self.outage = Some(Outage { since: now, cause: error.clone() });
        AppendError::NoSpace(error)
    }

    fn fail(&mut self, error: FileError) -> FileError {
        self.state = State::Failed(error.clone());
        error
    }
}

/// What the first record of a batch is stamped with.
struct Stamp {
    lsn: Lsn,
    sequence: u64,
    time: Timestamp,
    durable: Lsn,
}

impl Buffers {
    /// Encodes what goes around the messages, and notes where each will stand.
    fn encode<'a>(
        &mut self,
        batch: impl Iterator<Item = &'a Message>,
        stamp: Stamp,
        segment_id: u64,
        lsns: &mut Vec<Lsn>,
    ) {
        self.frames.clear();
        self.header_ends.clear();
        let Stamp { mut lsn, mut sequence, time, durable } = stamp;
        for message in batch {
            let first_of_batch = lsns.is_empty();
            let header =
                RecordHeader { first_of_batch, sequence, time, durable, ..RecordHeader::of(message, lsn) };
            self.frames.extend_from_slice(&header.encode(segment_id));
            self.header_ends.push(self.frames.len());
            encode_end(&header, &mut self.frames);
            lsns.push(lsn);
            lsn = lsn.advanced(record_len(message));
            sequence += 1;
        }
    }

    /// Lays the batch out as slices, frames between messages, for the time of a call.
    fn with_slices<'a, R>(
        &mut self,
        batch: impl Iterator<Item = &'a Message>,
        call: impl FnOnce(&mut [IoSlice<'_>]) -> R,
    ) -> R {
        let mut slices = emptied(std::mem::take(&mut self.slices));
        let mut frames = &self.frames[..];
        let mut position = 0;
        for (message, header_end) in batch.zip(&self.header_ends) {
            // The end of one record and the header of the next are neighbours on disk as well: one slice.
            let (frame, rest) = frames.split_at(header_end - position);
            (frames, position) = (rest, *header_end);
            slices.push(IoSlice::new(frame));
            slices.push(IoSlice::new(message.envelope.block()));
            slices.extend(message.body.chunks().iter().map(|chunk| IoSlice::new(chunk)));
        }
        slices.push(IoSlice::new(frames));
        let result = call(&mut slices);
        self.slices = emptied(slices);
        result
    }
}

/// The vector without its elements, its memory kept, free to borrow from elsewhere: collecting a vector's own
/// iterator re-uses its allocation.
fn emptied<'b>(mut slices: Vec<IoSlice<'_>>) -> Vec<IoSlice<'b>> {
    slices.clear();
    slices.into_iter().map(|_| unreachable!("the vector was just emptied")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_slices_keeps_its_memory() {
        let octets = [1, 2, 3];
        let mut slices = Vec::with_capacity(100);
        slices.push(IoSlice::new(&octets));
        let (capacity, memory) = (slices.capacity(), slices.as_ptr() as usize);
        let emptied: Vec<IoSlice<'static>> = emptied(slices);
        assert_eq!((emptied.capacity(), emptied.as_ptr() as usize), (capacity, memory));
        assert!(emptied.is_empty());
    }
}
