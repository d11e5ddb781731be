//! One segment in octets: its name, its header and the footer that seals it.
//!
//! ```text
//!  0       128       2048      2176      4096
//!  +--------+----------+--------+---------+--------+--------+----
//!  | header | zeros    | copy   | zeros   | record | record | ...   | footer (112) |
//!  +--------+----------+--------+---------+--------+--------+----
//!  ^ base LSN
//! ```
//!
//! Pure. The header stands there twice, since without the segment's id no record in it can be trusted. The octets
//! 0..16 and the place of the checksum are the same in every version to come.

use uuid::Uuid;

use super::format::{crc32c, seeded_crc32c, u16_at, u32_at, u64_at};
use crate::message::{Lsn, Partition, Timestamp};

/// Octets in front of a segment's first record; segments begin at multiples of it.
pub(crate) const SEGMENT_HEADER_LEN: u64 = 4096;
/// Octets of a footer.
pub(crate) const FOOTER_LEN: usize = 112;
/// The segment format this program writes, and the newest it reads.
pub(crate) const SEGMENT_VERSION: u16 = 1;
pub(crate) const FOOTER_MAGIC: &[u8; 8] = b"MRFOOTER";

const SEGMENT_MAGIC: &[u8; 8] = b"MRSEGMNT";
const FIELDS_LEN: usize = 128;
/// Where the copy of the fields stands.
const COPY_AT: usize = 2048;
const NAME_DIGITS: usize = 20;
const NAME_SUFFIX: &str = ".segment";

/// The file name of the segment that begins at `base`.
pub(crate) fn segment_name(base: Lsn) -> String {
    format!("{:0NAME_DIGITS$}{NAME_SUFFIX}", base.0)
}

/// The base LSN a file name tells; `None` for every other file.
pub(crate) fn segment_base(name: &str) -> Option<Lsn> {
    let digits = name.strip_suffix(NAME_SUFFIX)?;
    let well_formed = digits.len() == NAME_DIGITS && digits.bytes().all(|octet| octet.is_ascii_digit());
    if well_formed { digits.parse().ok().map(Lsn) } else { None }
}

/// The first place from `lsn` on where a segment may begin.
pub(crate) fn segment_boundary(lsn: Lsn) -> Lsn {
    Lsn(lsn.0.checked_next_multiple_of(SEGMENT_HEADER_LEN).expect("a log position stays below 2^64"))
}

/// Where a new segment ties in: facts of the one before it. All zero when there is none, or none that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Link {
    pub(crate) segment_id: u64,
    /// The position behind the footer.
    pub(crate) end: Lsn,
    pub(crate) footer_crc: u32,
}

/// Where the next segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Successor {
    pub(crate) previous: Link,
    pub(crate) base: Lsn,
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The same in all segments of a log.
    pub(crate) log: Uuid,
    /// Random; seeds the checksums of this segment's records.
    pub(crate) id: u64,
    pub(crate) base: Lsn,
    /// No record of this segment ends behind this position: a log that ended without a footer goes on here, so
    /// that a position once told to a client is not given out again.
    pub(crate) limit: Lsn,
    pub(crate) previous: Link,
    pub(crate) partition: Partition,
    pub(crate) created: Timestamp,
    pub(crate) first_sequence: u64,
}

/// Why a file has no usable segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentHeaderFlaw {
    /// Both copies are damaged.
    Invalid,
    /// Intact, but of a newer version.
    Newer(u16),
}

impl SegmentHeader {
    /// The whole first block of a segment file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut fields = [0; FIELDS_LEN];
        let mut put = |at: usize, value: &[u8]| fields[at..at + value.len()].copy_from_slice(value);
        put(0, SEGMENT_MAGIC);
        put(8, &SEGMENT_VERSION.to_le_bytes());
        put(12, &(SEGMENT_HEADER_LEN as u32).to_le_bytes());
        put(16, self.log.as_bytes());
        put(32, &self.id.to_le_bytes());
        put(40, &self.base.0.to_le_bytes());
        put(48, &self.limit.0.to_le_bytes());
        put(56, &self.previous.segment_id.to_le_bytes());
        put(64, &self.previous.end.0.to_le_bytes());
        put(72, &self.previous.footer_crc.to_le_bytes());
        put(76, &self.partition.0.to_le_bytes());
        put(80, &self.created.0.to_le_bytes());
        put(88, &self.first_sequence.to_le_bytes());
        let crc = crc32c(&fields[..124]);
        fields[124..].copy_from_slice(&crc.to_le_bytes());
        let mut block = vec![0; SEGMENT_HEADER_LEN as usize];
        block[..FIELDS_LEN].copy_from_slice(&fields);
        block[COPY_AT..COPY_AT + FIELDS_LEN].copy_from_slice(&fields);
        block
    }

    /// Reads the first block of the segment file that begins at `base`. The flag tells that something in the block
    /// is damaged but one of the two copies could be used.
    ///
    /// # Errors
    /// [`SegmentHeaderFlaw`] when neither copy can be used.
    pub(crate) fn decode(block: &[u8], base: Lsn) -> Result<(Self, bool), SegmentHeaderFlaw> {
        let copy = |at: usize| block.get(at..at + FIELDS_LEN).ok_or(SegmentHeaderFlaw::Invalid);
        let first = copy(0).and_then(|fields| Self::decode_fields(fields, base));
        let second = copy(COPY_AT).and_then(|fields| Self::decode_fields(fields, base));
        match (first, second) {
            (Err(SegmentHeaderFlaw::Newer(version)), _) | (_, Err(SegmentHeaderFlaw::Newer(version))) => {
                Err(SegmentHeaderFlaw::Newer(version))
            }
            (Ok(header), _) | (_, Ok(header)) => Ok((header, header.encode() != block)),
            _ => Err(SegmentHeaderFlaw::Invalid),
        }
    }

    fn decode_fields(fields: &[u8], base: Lsn) -> Result<Self, SegmentHeaderFlaw> {
        if &fields[..8] != SEGMENT_MAGIC || u32_at(fields, 124) != crc32c(&fields[..124]) {
            return Err(SegmentHeaderFlaw::Invalid);
        }
        let version = u16_at(fields, 8);
        if version > SEGMENT_VERSION {
            return Err(SegmentHeaderFlaw::Newer(version));
        }
        let header = Self {
            log: Uuid::from_bytes(fields[16..32].try_into().expect("sixteen octets")),
            id: u64_at(fields, 32),
            base: Lsn(u64_at(fields, 40)),
            limit: Lsn(u64_at(fields, 48)),
            previous: Link {
                segment_id: u64_at(fields, 56),
                end: Lsn(u64_at(fields, 64)),
                footer_crc: u32_at(fields, 72),
            },
            partition: Partition(u16_at(fields, 76)),
            created: Timestamp(u64_at(fields, 80)),
            first_sequence: u64_at(fields, 88),
        };
        if header.base == base { Ok(header) } else { Err(SegmentHeaderFlaw::Invalid) }
    }

    /// The position of the first record.
    pub(crate) fn first_record(&self) -> Lsn {
        self.base.advanced(SEGMENT_HEADER_LEN)
    }
}

/// What stands behind the last record of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    /// The footer's own position: behind the last record.
    pub(crate) lsn: Lsn,
    /// How many intact records the segment held when it was sealed.
    pub(crate) records: u64,
    /// The last of them; 0 when there is none.
    pub(crate) last_record: Lsn,
    /// Times of the first and the last of them; 0 when there is none.
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
    /// Octets that are no record are damage below this position, and harmless remains of a torn batch from it on.
    /// Above `lsn` it tells how far the log once was durable before its end was lost.
    pub(crate) durable: Lsn,
    /// The sequence number of the next record of the partition.
    pub(crate) next_sequence: u64,
    /// Where the next segment begins; anything else means that segments are missing.
    pub(crate) next_base: Lsn,
}

impl Footer {
    /// The footer's octets, for a segment.
    pub(crate) fn encode(&self, segment_id: u64) -> [u8; FOOTER_LEN] {
        let mut octets = [0; FOOTER_LEN];
        let mut put = |at: usize, value: &[u8]| octets[at..at + value.len()].copy_from_slice(value);
        put(0, FOOTER_MAGIC);
        put(8, &SEGMENT_VERSION.to_le_bytes());
        put(12, &(FOOTER_LEN as u32).to_le_bytes());
        put(16, &self.lsn.0.to_le_bytes());
        put(24, &self.records.to_le_bytes());
        put(32, &self.last_record.0.to_le_bytes());
        put(40, &self.first_time.0.to_le_bytes());
        put(48, &self.last_time.0.to_le_bytes());
        put(56, &self.durable.0.to_le_bytes());
        put(64, &self.next_sequence.to_le_bytes());
        put(72, &self.next_base.0.to_le_bytes());
        let crc = seeded_crc32c(segment_id, &octets[..108]);
        octets[108..].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    /// Reads the footer that may stand at `lsn`.
    pub(crate) fn decode(octets: &[u8], segment_id: u64, lsn: Lsn) -> Option<Self> {
        let octets = octets.get(..FOOTER_LEN)?;
        let intact = &octets[..8] == FOOTER_MAGIC
            && u64_at(octets, 16) == lsn.0
            && u32_at(octets, 108) == seeded_crc32c(segment_id, &octets[..108]);
        intact.then(|| Self {
            lsn,
            records: u64_at(octets, 24),
            last_record: Lsn(u64_at(octets, 32)),
            first_time: Timestamp(u64_at(octets, 40)),
            last_time: Timestamp(u64_at(octets, 48)),
            durable: Lsn(u64_at(octets, 56)),
            next_sequence: u64_at(octets, 64),
            next_base: Lsn(u64_at(octets, 72)),
        })
    }

    /// What the next segment says about the one this footer seals.
    pub(crate) fn link(&self, segment_id: u64) -> Link {
        let octets = self.encode(segment_id);
        Link { segment_id, end: self.end(), footer_crc: u32_at(&octets, 108) }
    }

    /// The position behind the footer.
    pub(crate) fn end(&self) -> Lsn {
        self.lsn.advanced(FOOTER_LEN as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            log: Uuid::from_u128(0x1234_5678),
            id: 0xDEAD_BEEF_0BAD_CAFE,
            base: Lsn(8192),
            limit: Lsn(1 << 20),
            previous: Link { segment_id: 9, end: Lsn(8000), footer_crc: 17 },
            partition: Partition(3),
            created: Timestamp(1_700_000_000_000_000),
            first_sequence: 42,
        }
    }

    #[test]
    fn a_name_tells_its_base_and_nothing_else_is_a_segment() {
        assert_eq!(segment_name(Lsn(184_467)), "00000000000000184467.segment");
        assert_eq!(segment_base("00000000000000184467.segment"), Some(Lsn(184_467)));
        assert_eq!(segment_base(&segment_name(Lsn(u64::MAX))), Some(Lsn(u64::MAX)));
        for name in [
            "position",
            "184467.segment",
            "0000000000000018446x.segment",
            "+0000000000000184467.segment",
            "00000000000000184467.segment.tmp",
            "99999999999999999999.segment",
        ] {
            assert_eq!(segment_base(name), None, "{name}");
        }
    }

    #[test]
    fn any_flipped_bit_in_the_header_block_is_seen_and_survived() {
        let block = header().encode();
        assert_eq!(SegmentHeader::decode(&block, Lsn(8192)), Ok((header(), false)));
        for bit in 0..block.len() * 8 {
            let mut damaged = block.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&damaged, Lsn(8192)), Ok((header(), true)), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_segment_is_named_and_a_renamed_one_is_refused() {
        let mut block = header().encode();
        for at in [0, COPY_AT] {
            block[at + 8] = 2;
            let crc = crc32c(&block[at..at + 124]);
            block[at + 124..at + 128].copy_from_slice(&crc.to_le_bytes());
        }
        assert_eq!(SegmentHeader::decode(&block, Lsn(8192)), Err(SegmentHeaderFlaw::Newer(2)));
        assert_eq!(SegmentHeader::decode(&header().encode(), Lsn(4096)), Err(SegmentHeaderFlaw::Invalid));
    }

    #[test]
    fn a_footer_reads_back_only_whole_and_in_its_place() {
        let footer = Footer {
            lsn: Lsn(5000),
            records: 3,
            last_record: Lsn(4800),
            first_time: Timestamp(1),
            last_time: Timestamp(2),
            durable: Lsn(4900),
            next_sequence: 45,
            next_base: Lsn(8192),
        };
        let octets = footer.encode(7);
        assert_eq!(Footer::decode(&octets, 7, Lsn(5000)), Some(footer));
        assert_eq!(Footer::decode(&octets, 8, Lsn(5000)), None);
        assert_eq!(Footer::decode(&octets, 7, Lsn(5008)), None);
        for bit in 0..FOOTER_LEN * 8 {
            let mut damaged = octets;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Footer::decode(&damaged, 7, Lsn(5000)), None, "bit {bit}");
        }
    }
}
