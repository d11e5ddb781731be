//! Walks the records of one segment file, and finds the next intact one behind damaged octets.
//!
//! Recovery and readers both see a segment through [`SegmentScan::step`], so that they agree on what a record is.
//! It judges octets only: whether flawed octets are damage, the remains of a torn batch or the end of the log is
//! for the caller to say. Reads ahead in one buffer that is used again, never past the limit it is given: far where
//! every octet is wanted, little in [`SegmentScan::step_head`], which passes over bodies.

use std::ops::Range;

use bytes::Bytes;

use super::error::{FileError, ReadError};
use super::format::{
    ContentFlaw, END_MARK_LEN, HeaderFlaw, RECORD_HEADER_LEN, RECORD_MAGIC, RecordHeader, check_contents,
    check_head, total_at_end,
};
use super::head::Head;
use super::segment::{
    FOOTER_LEN, FOOTER_MAGIC, Footer, SEGMENT_HEADER_LEN, SegmentHeader, SegmentHeaderFlaw, segment_name,
};
use super::storage::{StorageFile, read_full_at};
use crate::message::{Envelope, Lsn, Receipt, Timestamp};

/// Octets read at once.
const READ_AHEAD: usize = 256 * 1024;
/// Octets read at once where bodies are passed over: header, envelope and header section of most messages.
const HEAD_READ_AHEAD: usize = 16 * 1024;
/// Octets enough to tell whether a record or a footer begins: the longer of their fixed parts.
const PROBE_LEN: usize = if FOOTER_LEN > RECORD_HEADER_LEN { FOOTER_LEN } else { RECORD_HEADER_LEN };

/// One message read back, every checksum held.
#[derive(Debug, Clone)]
pub struct Record {
    /// Partition and position: what the sender was told.
    pub receipt: Receipt,
    /// Counts the records of the partition from 0.
    pub sequence: u64,
    /// When the record was written; never earlier than that of the record before it.
    pub received_at: Timestamp,
    /// Who sent it to whom.
    pub envelope: Envelope,
    /// The text between DATA and its end, dots unstuffed.
    pub body: Bytes,
    /// Octets of the header section at the start of `body`, with the empty line that ends it.
    pub header_section_len: usize,
    /// Whether a new batch begins with this record.
    pub first_of_batch: bool,
    /// Everything below this position was durable before the record's batch was written.
    pub durable_before: Lsn,
    /// The position behind the record.
    pub end: Lsn,
}

/// Why octets where a record should be are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFlaw {
    /// No intact header stands there.
    Header,
    /// The header is intact, what follows is not.
    Contents(ContentFlaw),
}

impl Record {
    /// All but the text behind the header section.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            receipt: self.receipt,
            sequence: self.sequence,
            received_at: self.received_at,
            envelope: self.envelope.clone(),
            header_section: self.body.slice(..self.header_section_len),
            body_len: self.body.len() as u64,
            end: self.end,
        }
    }
}

/// What stands at a position.
#[derive(Debug)]
pub(crate) enum Step<R = Record> {
    Record(R),
    Footer(Footer),
    /// No record; the next place to look is `end`. With `to_limit` nothing intact stands behind it.
    Flawed {
        flaw: RecordFlaw,
        end: Lsn,
        to_limit: bool,
    },
    /// The limit was reached between two records.
    End,
}

/// An open segment file.
#[derive(Debug)]
pub(crate) struct SegmentScan<F> {
    pub(crate) file: F,
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    /// The first block holds damage, but one copy of the header could be used.
    pub(crate) header_damaged: bool,
    window: Vec<u8>,
    window_at: u64,
}

/// A segment file whose header cannot be used.
#[derive(Debug)]
pub(crate) struct Unreadable<F> {
    pub(crate) file: F,
    pub(crate) name: String,
}

impl<F: StorageFile> SegmentScan<F> {
    /// Reads the header of the segment that begins at `base`; gives the file back when it has none to use.
    pub(crate) fn open(file: F, base: Lsn) -> Result<Result<Self, Unreadable<F>>, ReadError> {
        let name = segment_name(base);
        let mut block = [0; SEGMENT_HEADER_LEN as usize];
        let read =
            read_full_at(&file, &mut block, 0).map_err(|cause| FileError::new("read", &name, cause))?;
        match SegmentHeader::decode(&block[..read], base) {
            Ok((header, header_damaged)) => {
                Ok(Ok(Self { file, name, header, header_damaged, window: Vec::new(), window_at: 0 }))
            }
            Err(SegmentHeaderFlaw::Newer(version)) => Err(ReadError::NewerFormat { file: name, version }),
            Err(SegmentHeaderFlaw::Invalid) => Ok(Err(Unreadable { file, name })),
        }
    }

    /// The position behind the file's last octet.
    pub(crate) fn file_end(&self) -> Result<Lsn, ReadError> {
        let len = self.file.len().map_err(|cause| FileError::new("read", &self.name, cause))?;
        Ok(self.header.base.advanced(len))
    }

    /// The footer that ends the file, if it is sealed and nothing was left behind the footer.
    pub(crate) fn footer_at_end(&mut self) -> Result<Option<Footer>, ReadError> {
        let end = self.file_end()?;
        let Some(at) = end.0.checked_sub(FOOTER_LEN as u64).map(Lsn) else { return Ok(None) };
        if at < self.header.first_record() {
            return Ok(None);
        }
        let mut octets = [0; FOOTER_LEN];
        let read = read_full_at(&self.file, &mut octets, at.0 - self.header.base.0)
            .map_err(|cause| FileError::new("read", &self.name, cause))?;
        Ok(Footer::decode(&octets[..read], self.header.id, at))
    }

    /// Forgets what was read ahead. To be called when the file may have changed below an earlier limit.
    pub(crate) fn forget(&mut self) {
        self.window.clear();
    }

    /// Looks at `at` and takes nothing from `limit` on into account.
    pub(crate) fn step(&mut self, at: Lsn, limit: Lsn) -> Result<Step, ReadError> {
        self.step_by(at, limit, READ_AHEAD, Self::record)
    }

    /// As [`SegmentScan::step`], but of a record only header, envelope and header section are read and held against
    /// their checksums. What was never whole may pass for a record here: for octets that were durable once.
    pub(crate) fn step_head(&mut self, at: Lsn, limit: Lsn) -> Result<Step<Head>, ReadError> {
        self.step_by(at, limit, HEAD_READ_AHEAD, Self::head)
    }

    fn step_by<R>(
        &mut self,
        at: Lsn,
        limit: Lsn,
        read_ahead: usize,
        read: fn(&mut Self, &RecordHeader, Lsn) -> Result<Step<R>, ReadError>,
    ) -> Result<Step<R>, ReadError> {
        if at >= limit {
            return Ok(Step::End);
        }
        let id = self.header.id;
        let probe = self.octets_ahead(at, PROBE_LEN, limit, read_ahead)?;
        if let Some(footer) = Footer::decode(probe, id, at) {
            return Ok(Step::Footer(footer));
        }
        match RecordHeader::decode(probe, id, at) {
            Ok(header) => {
                let total = header.total_len().expect("checked when the header was decoded");
                if total > limit.0 - header.lsn.0 {
                    let flaw = RecordFlaw::Contents(ContentFlaw::CutShort);
                    return Ok(Step::Flawed { flaw, end: limit, to_limit: true });
                }
                read(self, &header, limit)
            }
            Err(HeaderFlaw::Newer(version)) => {
                Err(ReadError::NewerFormat { file: self.name.clone(), version })
            }
            Err(HeaderFlaw::Invalid) => {
                let next = self.find_intact(at.advanced(Lsn::ALIGNMENT), limit, READ_AHEAD)?;
                Ok(Step::Flawed {
                    flaw: RecordFlaw::Header,
                    end: next.unwrap_or(limit),
                    to_limit: next.is_none(),
                })
            }
        }
    }

    /// The record behind an intact header, which ends at or below the limit. The header's length can be trusted, so
    /// a damaged record hides no other.
    fn record(&mut self, header: &RecordHeader, limit: Lsn) -> Result<Step, ReadError> {
        let end = header.end().expect("the limit is not lower");
        let partition = self.header.partition;
        let total = usize::try_from(end.0 - header.lsn.0).expect("a record in a file fits the address space");
        let octets = self.octets(header.lsn, total, limit)?;
        let checked = if octets.len() == total {
            check_contents(header, octets).and_then(|()| envelope_and_body(header, octets))
        } else {
            Err(ContentFlaw::CutShort)
        };
        let (envelope, body) = match checked {
            Ok(parts) => parts,
            Err(flaw) => {
                let to_limit = end == limit;
                return Ok(Step::Flawed { flaw: RecordFlaw::Contents(flaw), end, to_limit });
            }
        };
        Ok(Step::Record(Record {
            receipt: Receipt { partition, lsn: header.lsn },
            sequence: header.sequence,
            received_at: header.time,
            envelope,
            body,
            header_section_len: usize::try_from(header.header_section_len).expect("not longer than the body"),
            first_of_batch: header.first_of_batch,
            durable_before: header.durable,
            end,
        }))
    }

    /// The head behind an intact header; as [`SegmentScan::record`].
    fn head(&mut self, header: &RecordHeader, limit: Lsn) -> Result<Step<Head>, ReadError> {
        let end = header.end().expect("the limit is not lower");
        let partition = self.header.partition;
        let len = header.head_len().and_then(|len| usize::try_from(len).ok());
        let len = len.expect("no longer than the record, which fits the address space");
        let octets = self.octets_ahead(header.lsn, len, limit, HEAD_READ_AHEAD)?;
        let checked = match octets.get(..len) {
            Some(octets) => {
                check_head(header, octets).and_then(|()| Head::new(header, octets, partition, end))
            }
            None => Err(ContentFlaw::CutShort),
        };
        let flawed = |flaw| Step::Flawed { flaw: RecordFlaw::Contents(flaw), end, to_limit: end == limit };
        Ok(checked.map_or_else(flawed, Step::Record))
    }

    /// The header of the record that ends at a position; `None` when none that is intact ends there. Reads nothing
    /// ahead.
    pub(crate) fn header_before(&mut self, end: Lsn) -> Result<Option<RecordHeader>, ReadError> {
        let Some(mark_at) = end.0.checked_sub(END_MARK_LEN as u64).map(Lsn) else { return Ok(None) };
        let mut mark = [0; END_MARK_LEN];
        let mut octets = [0; RECORD_HEADER_LEN];
        if mark_at < self.header.first_record() || !self.fill(&mut mark, mark_at)? {
            return Ok(None);
        }
        let begin = total_at_end(&mark).and_then(|total| end.0.checked_sub(total)).map(Lsn);
        let Some(begin) = begin.filter(|begin| *begin >= self.header.first_record()) else { return Ok(None) };
        if !self.fill(&mut octets, begin)? {
            return Ok(None);
        }
        let header = RecordHeader::decode(&octets, self.header.id, begin).ok();
        Ok(header.filter(|header| header.end() == Some(end)))
    }

    /// Fills a buffer with the octets at a position; false when the file ends before.
    fn fill(&self, buffer: &mut [u8], at: Lsn) -> Result<bool, ReadError> {
        let read = read_full_at(&self.file, buffer, at.0 - self.header.base.0)
            .map_err(|cause| FileError::new("read", &self.name, cause))?;
        Ok(read == buffer.len())
    }

    /// The first intact record header that stands between two positions, and whole below the second.
    pub(crate) fn header_from(&mut self, from: Lsn, to: Lsn) -> Result<Option<RecordHeader>, ReadError> {
        let id = self.header.id;
        let Some(at) = self.find_intact(from, to, HEAD_READ_AHEAD)? else { return Ok(None) };
        let octets = self.octets_ahead(at, RECORD_HEADER_LEN, to, HEAD_READ_AHEAD)?;
        Ok(RecordHeader::decode(octets, id, at).ok())
    }

    /// The first place from `from` on where an intact record header or footer stands. Reads every octet about once,
    /// whatever stands there: a sender may fill a message with magics.
    fn find_intact(&mut self, from: Lsn, limit: Lsn, read_ahead: usize) -> Result<Option<Lsn>, ReadError> {
        let id = self.header.id;
        let mut at = from;
        while at < limit {
            let octets = self.octets_ahead(at, PROBE_LEN, limit, read_ahead)?;
            if let Some(offset) = first_mark(octets, id, at) {
                return Ok(Some(at.advanced(offset as u64)));
            }
            // What begins in the last octets held may end behind them: the next look begins there.
            let Some(last_judged) = octets.len().checked_sub(PROBE_LEN) else { break };
            at = at.advanced((last_judged + 1).next_multiple_of(Lsn::ALIGNMENT as usize) as u64);
        }
        Ok(None)
    }

    /// Whether an intact record header stands at a position; looks nowhere else.
    pub(crate) fn has_record_header(&mut self, at: Lsn, limit: Lsn) -> Result<bool, ReadError> {
        let id = self.header.id;
        let probe = self.octets(at, RECORD_HEADER_LEN, limit)?;
        Ok(RecordHeader::decode(probe, id, at) != Err(HeaderFlaw::Invalid))
    }

    /// The position behind the last octet of `range` that is not zero; its start when all are.
    pub(crate) fn end_of_nonzero(&mut self, range: Range<Lsn>) -> Result<Lsn, ReadError> {
        let mut end = range.start;
        let mut at = range.start;
        while at < range.end {
            let octets = self.octets(at, READ_AHEAD, range.end)?;
            let len = octets.len() as u64;
            if len == 0 {
                break;
            }
            if let Some(last) = octets.iter().rposition(|octet| *octet != 0) {
                end = at.advanced(last as u64 + 1);
            }
            at = at.advanced(len);
        }
        Ok(end)
    }

    /// At most `len` octets at a position, fewer where limit or file end: a view into the read-ahead buffer.
    pub(crate) fn octets(&mut self, at: Lsn, len: usize, limit: Lsn) -> Result<&[u8], ReadError> {
        let octets = self.octets_ahead(at, len, limit, READ_AHEAD)?;
        Ok(&octets[..len.min(octets.len())])
    }

    /// All octets held from a position to the limit. Reads only when fewer than `len` are held, and then
    /// `read_ahead` at once; fewer are given where limit or file end.
    fn octets_ahead(
        &mut self,
        at: Lsn,
        len: usize,
        limit: Lsn,
        read_ahead: usize,
    ) -> Result<&[u8], ReadError> {
        let room = usize::try_from(limit.0.saturating_sub(at.0)).unwrap_or(usize::MAX);
        let len = len.min(room);
        let offset = at.0 - self.header.base.0;
        let held = offset >= self.window_at
            && offset + len as u64 <= self.window_at + self.window.len() as u64
            && !self.window.is_empty();
        if !held {
            self.window.resize(len.max(read_ahead).min(room), 0);
            self.window_at = offset;
            let read = read_full_at(&self.file, &mut self.window, offset);
            self.window.truncate(*read.as_ref().unwrap_or(&0));
            read.map_err(|cause| FileError::new("read", &self.name, cause))?;
        }
        let start = usize::try_from(offset - self.window_at).expect("inside the window");
        let octets = &self.window[start..];
        Ok(&octets[..room.min(octets.len())])
    }
}

/// Copies envelope and body out of a checked record: one allocation for both.
fn envelope_and_body(header: &RecordHeader, record: &[u8]) -> Result<(Envelope, Bytes), ContentFlaw> {
    let envelope_len = header.envelope_len as usize;
    let body_len = usize::try_from(header.body_len).map_err(|_| ContentFlaw::CutShort)?;
    let contents = &record[RECORD_HEADER_LEN..RECORD_HEADER_LEN + envelope_len + body_len];
    let mut block = Bytes::copy_from_slice(contents);
    let body = block.split_off(envelope_len);
    let envelope = Envelope::from_block(block).map_err(|_| ContentFlaw::Envelope)?;
    Ok((envelope, body))
}

/// The offset of the first intact record header or footer in octets that begin at `at`.
fn first_mark(octets: &[u8], id: u64, at: Lsn) -> Option<usize> {
    // One look at each place where a mark may begin. A search for the magics passes over plain text three times as
    // fast, but takes thirty times as long where a sender wrote nothing but magics.
    (0..octets.len())
        .step_by(Lsn::ALIGNMENT as usize)
        .find(|offset| is_mark(&octets[*offset..], id, at.advanced(*offset as u64)))
}

/// Whether an intact record header or footer begins these octets, which stand at `at`. Most that is none is told by
/// its magic, and a magic in a message by the position behind it, before any checksum is computed.
fn is_mark(octets: &[u8], id: u64, at: Lsn) -> bool {
    if octets.starts_with(RECORD_MAGIC) {
        RecordHeader::decode(octets, id, at) != Err(HeaderFlaw::Invalid)
    } else {
        octets.starts_with(FOOTER_MAGIC) && Footer::decode(octets, id, at).is_some()
    }
}
