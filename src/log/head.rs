//! A message without its text: what a search needs, read and trusted without the octets behind the header section.
//!
//! Header, envelope and header section have checksums of their own, so a head is as sure as a whole record. What it
//! does not tell is whether the rest of the body is intact.

use bytes::Bytes;

use super::format::{ContentFlaw, RECORD_HEADER_LEN, RecordHeader};
use crate::message::{Envelope, Lsn, Partition, Receipt, Timestamp};

/// One message up to the end of its header section.
#[derive(Debug, Clone)]
pub struct Head {
    /// Partition and position: what the sender was told.
    pub receipt: Receipt,
    /// Counts the records of the partition from 0.
    pub sequence: u64,
    /// When the record was written; never earlier than that of the record before it.
    pub received_at: Timestamp,
    /// Who sent it to whom.
    pub envelope: Envelope,
    /// The start of the body up to and with the first empty line; all of it when there is none.
    pub header_section: Bytes,
    /// Octets of the whole body, header section included.
    pub body_len: u64,
    /// The position behind the record.
    pub end: Lsn,
}

impl Head {
    /// Copies the parts out of checked octets: one allocation for both.
    pub(crate) fn new(
        header: &RecordHeader,
        octets: &[u8],
        partition: Partition,
        end: Lsn,
    ) -> Result<Self, ContentFlaw> {
        let mut block = Bytes::copy_from_slice(&octets[RECORD_HEADER_LEN..]);
        let header_section = block.split_off(header.envelope_len as usize);
        Ok(Self {
            receipt: Receipt { partition, lsn: header.lsn },
            sequence: header.sequence,
            received_at: header.time,
            envelope: Envelope::from_block(block).map_err(|_| ContentFlaw::Envelope)?,
            header_section,
            body_len: header.body_len,
            end,
        })
    }
}
