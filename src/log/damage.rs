//! What readers and recovery say about octets that should be part of the log and are not readable.

use std::fmt;

use super::format::ContentFlaw;
use super::scan::RecordFlaw;
use crate::message::Lsn;

/// A stretch of the log that was durable once and cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file's name inside the data directory; empty when there is no such file.
    pub segment: String,
    /// The first octet concerned.
    pub from: Lsn,
    /// The position behind the last one.
    pub to: Lsn,
    /// What is wrong.
    pub reason: DamageReason,
}

impl Damage {
    pub(crate) fn missing(from: Lsn, to: Lsn) -> Self {
        Self { segment: String::new(), from, to, reason: DamageReason::SegmentsMissing }
    }

    pub(crate) fn header_copy_used(segment: &str, base: Lsn) -> Self {
        let to = base.advanced(super::segment::SEGMENT_HEADER_LEN);
        Self { segment: segment.to_owned(), from: base, to, reason: DamageReason::SegmentHeader }
    }
}

/// What is wrong with a stretch of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageReason {
    /// A record is not as it was written.
    Record(RecordFlaw),
    /// The first block of a segment is not as it was written; its second copy served.
    SegmentHeader,
    /// Both copies of a segment's header are unusable, so that nothing in it can be read.
    SegmentHeaderLost,
    /// A sealed segment has lost its footer.
    FooterMissing,
    /// A sealed segment holds another number of records than its footer says.
    RecordsMissing,
    /// The segment is not the one that its successor was tied to.
    NotLinked,
    /// Whole segments are gone.
    SegmentsMissing,
    /// The log was durable up to further on.
    EndLost,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segment = if self.segment.is_empty() { "(no segment)" } else { &self.segment };
        write!(f, "{segment} position {}..{}: {}", self.from, self.to, self.reason)
    }
}

impl fmt::Display for DamageReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record(RecordFlaw::Header) => "no intact record header",
            Self::Record(RecordFlaw::Contents(ContentFlaw::CutShort)) => "record is cut short",
            Self::Record(RecordFlaw::Contents(ContentFlaw::Envelope)) => "record with a damaged envelope",
            Self::Record(RecordFlaw::Contents(ContentFlaw::Body)) => "record with a damaged body",
            Self::Record(RecordFlaw::Contents(ContentFlaw::HeaderSection)) => {
                "record with a wrong checksum of its header section"
            }
            Self::Record(RecordFlaw::Contents(ContentFlaw::Padding)) => "record with damaged padding",
            Self::Record(RecordFlaw::Contents(ContentFlaw::EndMark)) => "record without its end mark",
            Self::SegmentHeader => "segment header damaged, its copy was used",
            Self::SegmentHeaderLost => "segment header damaged in both copies",
            Self::FooterMissing => "sealed segment without an intact footer",
            Self::RecordsMissing => "sealed segment holds another number of records than its footer says",
            Self::NotLinked => "segment is not the one its successor follows",
            Self::SegmentsMissing => "segments missing",
            Self::EndLost => "the end of the log is missing",
        })
    }
}
