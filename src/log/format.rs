//! One record in octets: the fixed header in front of a message and the end mark behind it.
//!
//! ```text
//!  +-------------+----------------+------+---------+----------+
//!  | header (96) | envelope block | body | 0 .. 7  | end mark |
//!  |             |                |      | zeros   | (16)     |
//!  +-------------+----------------+------+---------+----------+
//!  ^ lsn                                           ^ multiple of 8
//! ```
//!
//! Pure: octets to values and back. The header's checksum is seeded with the segment's id and covers the record's
//! own position, so octets left over from another segment, or copied to another place, never validate. The whole
//! format is drawn in `docs/format.md`.

use crc_fast::{CrcAlgorithm, checksum};

use crate::message::{Lsn, Message, Timestamp};

/// Octets in a record's fixed header.
pub(crate) const RECORD_HEADER_LEN: usize = 96;
/// Octets in the mark behind a record.
pub(crate) const END_MARK_LEN: usize = 16;
/// The record format this program writes, and the newest it reads.
pub(crate) const RECORD_VERSION: u16 = 1;
pub(crate) const RECORD_MAGIC: &[u8; 4] = b"MRRC";
const END_MAGIC: &[u8; 8] = b"MRRECEND";
const FLAG_FIRST_OF_BATCH: u16 = 1;

/// CRC32C (RFC 3720 appendix B.4).
pub(crate) fn crc32c(octets: &[u8]) -> u32 {
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, octets)).expect("CRC32C has 32 bits")
}

/// CRC32C over a segment id and a fixed block of at most 120 octets.
pub(crate) fn seeded_crc32c(segment_id: u64, octets: &[u8]) -> u32 {
    let mut block = [0; 128];
    block[..8].copy_from_slice(&segment_id.to_le_bytes());
    block[8..8 + octets.len()].copy_from_slice(octets);
    crc32c(&block[..8 + octets.len()])
}

pub(crate) fn u16_at(octets: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(octets[at..at + 2].try_into().expect("two octets"))
}

pub(crate) fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(octets[at..at + 4].try_into().expect("four octets"))
}

pub(crate) fn u64_at(octets: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(octets[at..at + 8].try_into().expect("eight octets"))
}

/// The fixed header of a record, without magic, version and its own checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) first_of_batch: bool,
    pub(crate) lsn: Lsn,
    /// Counts the records of the partition from 0.
    pub(crate) sequence: u64,
    pub(crate) envelope_len: u32,
    pub(crate) envelope_crc: u32,
    pub(crate) body_len: u64,
    pub(crate) body_crc: u32,
    pub(crate) header_section_len: u64,
    pub(crate) header_section_crc: u32,
    pub(crate) time: Timestamp,
    /// Everything below this position was durable before the record's batch was written.
    pub(crate) durable: Lsn,
}

/// Why octets are not the header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFlaw {
    /// Not a header at all, or not of this segment and position, or damaged.
    Invalid,
    /// Intact, but of a newer version.
    Newer(u16),
}

impl RecordHeader {
    /// The header of a message that begins at `lsn`.
    pub(crate) fn of(message: &Message, lsn: Lsn) -> Self {
        let block = message.envelope.block();
        let body = &message.body;
        Self {
            first_of_batch: false,
            lsn,
            sequence: 0,
            envelope_len: u32::try_from(block.len()).expect("an envelope is far below 4 GiB"),
            envelope_crc: crc32c(block),
            body_len: body.len() as u64,
            body_crc: body.crc(),
            header_section_len: body.header_len() as u64,
            header_section_crc: body.header_crc(),
            time: Timestamp::default(),
            durable: Lsn::default(),
        }
    }

    /// Octets from the first of the header to the last of the end mark; `None` when they pass 2^63.
    pub(crate) fn total_len(&self) -> Option<u64> {
        total_len(u64::from(self.envelope_len), self.body_len)
    }

    /// The position behind the record; `None` when it passes 2^64.
    pub(crate) fn end(&self) -> Option<Lsn> {
        self.lsn.0.checked_add(self.total_len()?).map(Lsn)
    }

    /// Octets from the first of the header to the last of the header section; `None` when they pass 2^64.
    pub(crate) fn head_len(&self) -> Option<u64> {
        (RECORD_HEADER_LEN as u64 + u64::from(self.envelope_len)).checked_add(self.header_section_len)
    }

    /// The header's octets, for a segment.
    ///
    /// # Panics
    /// When the record passes 2^63 octets.
    pub(crate) fn encode(&self, segment_id: u64) -> [u8; RECORD_HEADER_LEN] {
        let mut octets = [0; RECORD_HEADER_LEN];
        let mut put = |at: usize, value: &[u8]| octets[at..at + value.len()].copy_from_slice(value);
        let flags = if self.first_of_batch { FLAG_FIRST_OF_BATCH } else { 0 };
        put(0, RECORD_MAGIC);
        put(4, &RECORD_VERSION.to_le_bytes());
        put(6, &flags.to_le_bytes());
        put(8, &self.lsn.0.to_le_bytes());
        put(16, &self.sequence.to_le_bytes());
        put(24, &self.total_len().expect("a record stays below 2^63 octets").to_le_bytes());
        put(32, &self.envelope_len.to_le_bytes());
        put(36, &self.envelope_crc.to_le_bytes());
        put(40, &self.body_len.to_le_bytes());
        put(48, &self.body_crc.to_le_bytes());
        put(52, &self.header_section_crc.to_le_bytes());
        put(56, &self.header_section_len.to_le_bytes());
        put(64, &self.time.0.to_le_bytes());
        put(72, &self.durable.0.to_le_bytes());
        let crc = seeded_crc32c(segment_id, &octets[..92]);
        octets[92..].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    /// Reads the header that should stand at `lsn` in a segment.
    ///
    /// # Errors
    /// [`HeaderFlaw`] when anything about it is not as it was written.
    pub(crate) fn decode(octets: &[u8], segment_id: u64, lsn: Lsn) -> Result<Self, HeaderFlaw> {
        let octets = octets.get(..RECORD_HEADER_LEN).ok_or(HeaderFlaw::Invalid)?;
        let intact = &octets[..4] == RECORD_MAGIC
            && u64_at(octets, 8) == lsn.0
            && u32_at(octets, 92) == seeded_crc32c(segment_id, &octets[..92]);
        if !intact {
            return Err(HeaderFlaw::Invalid);
        }
        let version = u16_at(octets, 4);
        if version > RECORD_VERSION {
            return Err(HeaderFlaw::Newer(version));
        }
        let header = Self {
            first_of_batch: u16_at(octets, 6) & FLAG_FIRST_OF_BATCH != 0,
            lsn,
            sequence: u64_at(octets, 16),
            envelope_len: u32_at(octets, 32),
            envelope_crc: u32_at(octets, 36),
            body_len: u64_at(octets, 40),
            body_crc: u32_at(octets, 48),
            header_section_crc: u32_at(octets, 52),
            header_section_len: u64_at(octets, 56),
            time: Timestamp(u64_at(octets, 64)),
            durable: Lsn(u64_at(octets, 72)),
        };
        let lengths_agree = header.total_len() == Some(u64_at(octets, 24))
            && header.header_section_len <= header.body_len
            && header.durable <= lsn;
        if lengths_agree { Ok(header) } else { Err(HeaderFlaw::Invalid) }
    }
}

/// Octets a message takes as a record.
///
/// # Panics
/// When that passes 2^63.
pub(crate) fn record_len(message: &Message) -> u64 {
    total_len(message.envelope.block().len() as u64, message.body.len() as u64)
        .expect("a record stays below 2^63 octets")
}

fn total_len(envelope_len: u64, body_len: u64) -> Option<u64> {
    let contents = (RECORD_HEADER_LEN as u64).checked_add(envelope_len)?.checked_add(body_len)?;
    let total = contents.checked_next_multiple_of(Lsn::ALIGNMENT)?.checked_add(END_MARK_LEN as u64)?;
    (total < 1 << 63).then_some(total)
}

/// The padding and the end mark behind a body, appended to `frames`.
pub(crate) fn encode_end(header: &RecordHeader, frames: &mut Vec<u8>) {
    let total = header.total_len().expect("a record stays below 2^63 octets");
    let padding = padding_len(header);
    frames.extend_from_slice(&[0; Lsn::ALIGNMENT as usize][..padding]);
    frames.extend_from_slice(END_MAGIC);
    frames.extend_from_slice(&total.to_le_bytes());
}

/// The total length an end mark tells; `None` when it is none.
pub(crate) fn total_at_end(mark: &[u8; END_MARK_LEN]) -> Option<u64> {
    mark.starts_with(END_MAGIC).then(|| u64_at(mark, END_MAGIC.len()))
}

fn padding_len(header: &RecordHeader) -> usize {
    let contents = RECORD_HEADER_LEN as u64 + u64::from(header.envelope_len) + header.body_len;
    usize::try_from(contents.next_multiple_of(Lsn::ALIGNMENT) - contents).expect("padding is below 8 octets")
}

/// What is wrong with the octets behind an intact header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentFlaw {
    /// The record runs past the end of what there is.
    CutShort,
    /// The envelope's checksum does not match, or its fields do not parse.
    Envelope,
    /// The body's checksum does not match.
    Body,
    /// The header section's checksum does not match.
    HeaderSection,
    /// The octets between body and end mark are not zero.
    Padding,
    /// The end mark is missing.
    EndMark,
}

/// Holds the octets of a whole record against its intact header.
///
/// # Errors
/// The first [`ContentFlaw`] found; an envelope whose fields do not parse is not looked for here.
pub(crate) fn check_contents(header: &RecordHeader, record: &[u8]) -> Result<(), ContentFlaw> {
    let end_mark_at = record.len().checked_sub(END_MARK_LEN).ok_or(ContentFlaw::CutShort)?;
    let envelope_end = RECORD_HEADER_LEN + header.envelope_len as usize;
    let body_end = end_mark_at - padding_len(header);
    let body = &record[envelope_end..body_end];
    let header_section_len = usize::try_from(header.header_section_len).map_err(|_| ContentFlaw::CutShort)?;
    let (mark, total) = record[end_mark_at..].split_at(END_MAGIC.len());
    if mark != END_MAGIC || u64_at(total, 0) != record.len() as u64 {
        Err(ContentFlaw::EndMark)
    } else if crc32c(&record[RECORD_HEADER_LEN..envelope_end]) != header.envelope_crc {
        Err(ContentFlaw::Envelope)
    } else if crc32c(body) != header.body_crc {
        Err(ContentFlaw::Body)
    } else if crc32c(&body[..header_section_len]) != header.header_section_crc {
        Err(ContentFlaw::HeaderSection)
    } else if record[body_end..end_mark_at].iter().any(|octet| *octet != 0) {
        Err(ContentFlaw::Padding)
    } else {
        Ok(())
    }
}

/// Holds envelope and header section against the intact header in front of them: `head` is all three.
///
/// # Errors
/// The first [`ContentFlaw`] found; fields of the envelope are not looked at here.
pub(crate) fn check_head(header: &RecordHeader, head: &[u8]) -> Result<(), ContentFlaw> {
    let (envelope, header_section) = head[RECORD_HEADER_LEN..].split_at(header.envelope_len as usize);
    if crc32c(envelope) != header.envelope_crc {
        Err(ContentFlaw::Envelope)
    } else if crc32c(header_section) != header.header_section_crc {
        Err(ContentFlaw::HeaderSection)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::fixture::{message, record_octets};
    use proptest::prelude::*;

    #[test]
    fn the_smallest_record_is_longer_than_a_footer() {
        // What is left behind a segment's cut while its footer is written must never hold a whole record.
        const { assert!(RECORD_HEADER_LEN + END_MARK_LEN >= crate::log::segment::FOOTER_LEN) };
    }

    #[test]
    fn a_header_of_a_newer_version_is_named_not_misread() {
        let message = message(b"x");
        let mut octets = RecordHeader::of(&message, Lsn(4096)).encode(7);
        octets[4] = 2;
        assert_eq!(RecordHeader::decode(&octets, 7, Lsn(4096)), Err(HeaderFlaw::Invalid));
        let crc = seeded_crc32c(7, &octets[..92]);
        octets[92..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(RecordHeader::decode(&octets, 7, Lsn(4096)), Err(HeaderFlaw::Newer(2)));
    }

    #[test]
    fn a_header_counts_only_in_its_own_segment_and_place() {
        let octets = RecordHeader::of(&message(b"x"), Lsn(4096)).encode(7);
        assert!(RecordHeader::decode(&octets, 7, Lsn(4096)).is_ok());
        assert_eq!(RecordHeader::decode(&octets, 8, Lsn(4096)), Err(HeaderFlaw::Invalid));
        assert_eq!(RecordHeader::decode(&octets, 7, Lsn(4104)), Err(HeaderFlaw::Invalid));
    }

    #[test]
    fn any_flipped_bit_of_a_text_behind_its_header_section_is_seen() {
        let text = b"behind the empty line";
        let message = message(&[&b"Subject: x\r\n\r\n"[..], text].concat());
        let (header, mut octets) = record_octets(&message, 7, Lsn(8192));
        let end = RECORD_HEADER_LEN + header.envelope_len as usize + message.body.len();
        for bit in (end - text.len()) * 8..end * 8 {
            octets[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check_contents(&header, &octets), Err(ContentFlaw::Body), "bit {bit}");
            octets[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(check_contents(&header, &octets), Ok(()));
    }

    #[test]
    fn lengths_that_overflow_are_no_record() {
        assert_eq!(total_len(u64::from(u32::MAX), u64::MAX), None);
        assert_eq!(total_len(0, u64::MAX - 100), None);
        assert_eq!(total_len(0, 0), Some(112));
    }

    proptest! {
        #[test]
        fn a_record_reads_back_and_any_flipped_bit_is_seen(
            body in proptest::collection::vec(any::<u8>(), 0..600),
            flip in any::<proptest::sample::Index>(),
        ) {
            let message = message(&body);
            let (header, mut octets) = record_octets(&message, 7, Lsn(8192));
            prop_assert_eq!(octets.len() as u64, record_len(&message));
            prop_assert_eq!(octets.len() % 8, 0);
            prop_assert_eq!(RecordHeader::decode(&octets, 7, Lsn(8192)), Ok(header));
            prop_assert_eq!(check_contents(&header, &octets), Ok(()));
            let bit = flip.index(octets.len() * 8);
            octets[bit / 8] ^= 1 << (bit % 8);
            let seen = match RecordHeader::decode(&octets, 7, Lsn(8192)) {
                Err(_) => true,
                Ok(header) => check_contents(&header, &octets).is_err(),
            };
            prop_assert!(seen, "flipped bit {}", bit);
        }
    }
}
