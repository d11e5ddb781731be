//! The text of a message: its octets in the chunks they were received in, with length and checksums.
//!
//! `smtp` pushes slices as the data scanner yields them; `log` writes [`Body::chunks`] as they are. The checksum
//! is taken here, on the receiving thread, while the octets are in its cache. The header section (RFC 5322
//! section 2.1: all up to and with the first empty line) has a length and a checksum of its own, so that a
//! reader can trust the headers without reading the rest.

use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};

/// Slices shorter than this many octets are joined by copying, so that a body made of dots (each stuffed dot
/// ends a slice) needs no more handles than another of its size.
pub const JOIN_MAX: usize = 512;

/// When a reading ends within a message, slices shorter than this many octets are copied out of the buffer they
/// were received in, so that a client that sends a few octets at a time cannot hold one such buffer for each.
pub const SETTLE_MAX: usize = 16 * 1024;

/// A message text, complete and checksummed.
#[derive(Debug, Clone)]
pub struct Body {
    chunks: Vec<Bytes>,
    len: usize,
    crc: u32,
    header_len: usize,
    header_crc: u32,
}

impl Body {
    /// The text in order; no chunk is empty.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// The number of octets in the text.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for a message whose end of data followed DATA at once.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// CRC32C (RFC 3720 appendix B.4) of the whole text.
    #[must_use]
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// The octets of the header section with the empty line that ends it; the whole text when there is none.
    #[must_use]
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// CRC32C of the header section.
    #[must_use]
    pub fn header_crc(&self) -> u32 {
        self.header_crc
    }

    /// The text as one run of octets, copied.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.chunks.concat()
    }
}

impl From<&[u8]> for Body {
    fn from(text: &[u8]) -> Self {
        let mut builder = BodyBuilder::default();
        builder.push(Bytes::copy_from_slice(text));
        builder.finish()
    }
}

/// Collects a message text slice by slice.
#[derive(Debug)]
pub struct BodyBuilder {
    chunks: Vec<Bytes>,
    /// So many chunks at the front stay as they are.
    settled: usize,
    /// Small slices waiting to become one chunk.
    joined: BytesMut,
    len: usize,
    digest: Digest,
    header: HeaderEnd,
}

/// How far the search for the empty line that ends the header section has come.
#[derive(Debug, Clone, Copy)]
enum HeaderEnd {
    /// Not found; so many octets of CR LF CR LF ended what was pushed so far (a text that starts with CR LF has
    /// no headers, so the search begins as if a line had just ended).
    Searching {
        matched: usize,
    },
    Found {
        len: usize,
        crc: u32,
    },
}

impl Default for BodyBuilder {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            settled: 0,
            joined: BytesMut::new(),
            len: 0,
            digest: Digest::new(CrcAlgorithm::Crc32Iscsi),
            header: HeaderEnd::Searching { matched: 2 },
        }
    }
}

impl BodyBuilder {
    /// Adds the next slice of the text. Slices of at least [`JOIN_MAX`] octets are kept, shorter ones copied.
    pub fn push(&mut self, slice: Bytes) {
        if slice.is_empty() {
            return;
        }
        self.checksum(&slice);
        self.len += slice.len();
        if slice.len() < JOIN_MAX {
            self.joined.extend_from_slice(&slice);
            self.close_joined_at_bound();
        } else {
            self.close_joined();
            self.chunks.push(slice);
        }
    }

    /// Copies what is shorter than [`SETTLE_MAX`] out of the slices pushed since the last call. To be called when a
    /// reading is used up and the message is not complete.
    pub fn settle(&mut self) {
        if self.settled == self.chunks.len() {
            return;
        }
        let last = self.joined.split();
        let recent: Vec<Bytes> = self.chunks.drain(self.settled..).collect();
        for chunk in recent {
            if chunk.len() < SETTLE_MAX {
                // An octet is copied so a few times at most: what grows to the bound is a chunk that stays.
                self.joined.extend_from_slice(&chunk);
            } else {
                self.close_joined();
                self.chunks.push(chunk);
            }
        }
        self.joined.extend_from_slice(&last);
        self.close_joined_at_bound();
        self.settled = self.chunks.len();
    }

    /// The octets pushed so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True before the first octet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole text as a value.
    #[must_use]
    pub fn finish(mut self) -> Body {
        self.close_joined();
        let crc = crc_value(&self.digest);
        let (header_len, header_crc) = match self.header {
            HeaderEnd::Found { len, crc } => (len, crc),
            HeaderEnd::Searching { .. } => (self.len, crc),
        };
        Body { chunks: self.chunks, len: self.len, crc, header_len, header_crc }
    }

    /// A buffer that grows for ever would be moved again and again.
    fn close_joined_at_bound(&mut self) {
        if self.joined.len() >= SETTLE_MAX {
            self.close_joined();
        }
    }

    fn close_joined(&mut self) {
        if !self.joined.is_empty() {
            self.chunks.push(self.joined.split().freeze());
        }
    }

    fn checksum(&mut self, slice: &[u8]) {
        let mut rest = slice;
        if let HeaderEnd::Searching { matched } = self.header {
            match find_empty_line(slice, matched) {
                Ok(end) => {
                    self.digest.update(&slice[..end]);
                    self.header = HeaderEnd::Found { len: self.len + end, crc: crc_value(&self.digest) };
                    rest = &slice[end..];
                }
                Err(matched) => self.header = HeaderEnd::Searching { matched },
            }
        }
        self.digest.update(rest);
    }
}

const EMPTY_LINE: &[u8; 4] = b"\r\n\r\n";

/// Where the empty line ends in `slice`, when `matched` octets of CR LF CR LF stood just before it; else how
/// many octets of it stand at the end now.
fn find_empty_line(slice: &[u8], matched: usize) -> Result<usize, usize> {
    let mut state = matched;
    let mut position = 0;
    while position < slice.len() {
        if state == 0 {
            match memchr::memchr(b'\r', &slice[position..]) {
                Some(skip) => position += skip,
                None => return Err(0),
            }
        }
        state = match (state, slice[position]) {
            (0 | 2, b'\r') | (1 | 3, b'\n') => state + 1,
            (_, b'\r') => 1,
            _ => 0,
        };
        position += 1;
        if state == EMPTY_LINE.len() {
            return Ok(position);
        }
    }
    Err(state)
}

fn crc_value(digest: &Digest) -> u32 {
    u32::try_from(digest.finalize()).expect("CRC32C has 32 bits")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use proptest::prelude::*;

    /// The naive twin: the whole text at once.
    fn header_len_naive(text: &[u8]) -> usize {
        if text.starts_with(b"\r\n") {
            return 2;
        }
        text.windows(4).position(|window| window == EMPTY_LINE).map_or(text.len(), |at| at + 4)
    }

    fn crc_naive(text: &[u8]) -> u32 {
        let mut crc = !0u32;
        for octet in text {
            crc ^= u32::from(*octet);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
            }
        }
        !crc
    }

    #[test]
    fn the_checksum_is_crc32c() {
        // RFC 3720 appendix B.4: 32 octets of zero.
        assert_eq!(Body::from(&[0u8; 32][..]).crc(), 0x8A91_36AA);
    }

    #[test]
    fn small_slices_are_joined_into_few_chunks() {
        let mut builder = BodyBuilder::default();
        for _ in 0..10_000 {
            builder.push(Bytes::from_static(b"."));
        }
        let body = builder.finish();
        assert_eq!(body.len(), 10_000);
        assert_eq!(body.chunks().len(), 1);
    }

    /// A slice of `len` octets of a receive buffer; the count of `buffer` tells who holds it.
    fn received(buffer: &Arc<Vec<u8>>, len: usize) -> Bytes {
        struct Shared(Arc<Vec<u8>>);
        impl AsRef<[u8]> for Shared {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Bytes::from_owner(Shared(buffer.clone())).slice(..len)
    }

    #[test]
    fn a_slow_sender_holds_no_receive_buffers() {
        let buffer = Arc::new(vec![b'a'; 256 * 1024]);
        let mut builder = BodyBuilder::default();
        for _ in 0..1000 {
            builder.push(received(&buffer, JOIN_MAX));
            builder.settle();
            assert_eq!(Arc::strong_count(&buffer), 1, "settling lets go of the buffer");
        }
        let body = builder.finish();
        assert_eq!(body.len(), 1000 * JOIN_MAX);
        assert!(body.chunks().len() <= body.len() / SETTLE_MAX + 1, "{} chunks", body.chunks().len());
    }

    #[test]
    fn a_fast_sender_is_not_copied() {
        let buffer = Arc::new(vec![b'a'; 64 * 1024]);
        let mut builder = BodyBuilder::default();
        for _ in 0..4 {
            builder.push(received(&buffer, buffer.len()));
            builder.settle();
        }
        let body = builder.finish();
        assert!(body.chunks().iter().all(|chunk| chunk.as_ptr() == buffer.as_ptr()));
    }

    #[test]
    fn a_body_of_dots_is_joined_into_chunks_of_bounded_size() {
        let mut builder = BodyBuilder::default();
        for _ in 0..(SETTLE_MAX * 4) {
            builder.push(Bytes::from_static(b"."));
        }
        let chunks: Vec<usize> = builder.finish().chunks().iter().map(Bytes::len).collect();
        assert_eq!(chunks, [SETTLE_MAX; 4]);
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_body(
            text in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..3000),
            cuts in proptest::collection::vec(0usize..3000, 0..8),
            settles in proptest::collection::vec(any::<bool>(), 10),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut builder = BodyBuilder::default();
            for (pair, settle) in cuts.windows(2).zip(settles) {
                builder.push(Bytes::copy_from_slice(&text[pair[0]..pair[1]]));
                if settle {
                    builder.settle();
                }
            }
            let body = builder.finish();
            prop_assert_eq!(body.to_vec(), text.clone());
            prop_assert_eq!(body.len(), text.len());
            prop_assert_eq!(body.crc(), crc_naive(&text));
            let header_len = header_len_naive(&text);
            prop_assert_eq!(body.header_len(), header_len);
            prop_assert_eq!(body.header_crc(), crc_naive(&text[..header_len]));
        }
    }
}
