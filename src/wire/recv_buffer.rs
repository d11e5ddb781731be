//! Where received octets land: large chunks, shared by all connections of a shard and used again.
//!
//! ```text
//!  chunk   [ slice of a | slice of b | slice of a |          space for the next read           ]
//!            body of a    command      ...          ^ 16 KiB or more, else the chunk is retired
//! ```
//! Each read takes what it filled off the front of the chunk as [`Bytes`], so a small read costs no more memory
//! than its octets and nobody copies what a message keeps. A chunk with too little space left is retired, and
//! used again when the last slice of it is gone. It is the owner that reads: this layer sees no socket.
//!
//! Copies per octet: none, except an unfinished command line, which is copied in front of the next read, and
//! the zeroes written over a chunk before it is used again (safe code reads into initialised memory only).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Octets of a chunk.
pub const CHUNK_LEN: usize = 256 * 1024;

/// A read is never given less space than this many octets.
pub const READ_SPACE_MIN: usize = 16 * 1024;

/// Retired chunks that are kept in the hope of being used again; older ones are left to their slices.
const RETIRED_COUNT_MAX: usize = 64;

/// Retired chunks that are looked at before a new one is made.
const RETIRED_TRIES_MAX: usize = 8;

/// The receive chunks of one shard.
#[derive(Debug, Default)]
pub struct RecvBuffer {
    current: BytesMut,
    retired: VecDeque<BytesMut>,
}

/// What one read brought.
#[derive(Debug)]
pub struct Received {
    /// The unfinished octets given to [`RecvBuffer::receive`], and what was read behind them.
    pub octets: Bytes,
    /// How many octets were read; 0 at the end of the stream.
    pub count: usize,
    /// The read left space unused: nothing more was waiting.
    pub drained: bool,
}

impl RecvBuffer {
    /// Without a chunk until the first read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `read` fill space behind a copy of `unfinished` and gives both as one run of octets. `read` returns
    /// how many octets it wrote.
    ///
    /// # Errors
    /// Those of `read`; nothing is used up then.
    ///
    /// # Panics
    /// When `unfinished` leaves no room for a read in a new chunk, or `read` claims more than it was given.
    pub fn receive<E>(
        &mut self,
        unfinished: &[u8],
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Received, E> {
        let start = unfinished.len();
        assert!(start + READ_SPACE_MIN <= CHUNK_LEN, "{start} unfinished octets fill a chunk");
        if self.current.len() < start + READ_SPACE_MIN {
            self.next_chunk();
        }
        self.current[..start].copy_from_slice(unfinished);
        let space = self.current.len() - start;
        let count = read(&mut self.current[start..])?;
        assert!(count <= space, "{count} octets were read into {space}");
        let octets = self.current.split_to(start + count).freeze();
        Ok(Received { octets, count, drained: count < space })
    }

    fn next_chunk(&mut self) {
        let next = self.reclaimed().unwrap_or_else(|| BytesMut::zeroed(CHUNK_LEN));
        let full = std::mem::replace(&mut self.current, next);
        if full.capacity() > 0 {
            self.retired.push_back(full);
        }
        if self.retired.len() > RETIRED_COUNT_MAX {
            self.retired.pop_front();
        }
    }

    /// A retired chunk that nobody holds a slice of any more, oldest first.
    fn reclaimed(&mut self) -> Option<BytesMut> {
        for _ in 0..self.retired.len().min(RETIRED_TRIES_MAX) {
            let mut chunk = self.retired.pop_front()?;
            chunk.clear();
            if chunk.try_reclaim(CHUNK_LEN) {
                chunk.resize(CHUNK_LEN, 0);
                return Some(chunk);
            }
            self.retired.push_back(chunk);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `octets`, or as many as fit.
    fn receive(buffer: &mut RecvBuffer, unfinished: &[u8], octets: &[u8]) -> Received {
        let read = |space: &mut [u8]| {
            let count = octets.len().min(space.len());
            space[..count].copy_from_slice(&octets[..count]);
            Ok::<_, ()>(count)
        };
        buffer.receive(unfinished, read).expect("this read does not fail")
    }

    #[test]
    fn an_unfinished_line_stands_in_front_of_the_next_read() {
        let mut buffer = RecvBuffer::new();
        let first = receive(&mut buffer, b"", b"NOOP\r\nQU").octets;
        let second = receive(&mut buffer, &first[6..], b"IT\r\n");
        assert_eq!(second.octets, "QUIT\r\n");
        assert_eq!(second.count, 4);
        assert!(second.drained);
    }

    #[test]
    fn reads_of_many_connections_share_a_chunk_and_are_not_copied() {
        let mut buffer = RecvBuffer::new();
        let first = receive(&mut buffer, b"", b"one");
        let second = receive(&mut buffer, b"", b"two");
        assert_eq!(first.octets.as_ptr().wrapping_add(3), second.octets.as_ptr());
        assert_eq!((&first.octets[..], &second.octets[..]), (&b"one"[..], &b"two"[..]));
    }

    #[test]
    fn a_read_that_fills_its_space_may_have_left_something_behind() {
        let mut buffer = RecvBuffer::new();
        assert!(!receive(&mut buffer, b"", &vec![7; CHUNK_LEN]).drained);
        assert!(receive(&mut buffer, b"", &vec![7; CHUNK_LEN - 1]).drained);
    }

    #[test]
    fn the_end_of_the_stream_is_a_read_of_nothing() {
        let mut buffer = RecvBuffer::new();
        let end = receive(&mut buffer, b"QUI", b"");
        assert_eq!((end.count, &end.octets[..]), (0, &b"QUI"[..]));
    }

    #[test]
    fn a_failed_read_uses_nothing_up() {
        let mut buffer = RecvBuffer::new();
        let before = receive(&mut buffer, b"", b"a").octets;
        assert_eq!(buffer.receive(b"", |_| Err("refused")).expect_err("it fails"), "refused");
        let after = receive(&mut buffer, b"", b"b").octets;
        assert_eq!(before.as_ptr().wrapping_add(1), after.as_ptr());
    }

    #[test]
    fn a_chunk_is_used_again_once_its_last_slice_is_gone() {
        let mut buffer = RecvBuffer::new();
        let kept = receive(&mut buffer, b"", &vec![b'x'; CHUNK_LEN - 1]).octets;
        let first_chunk = kept.as_ptr();
        let second = receive(&mut buffer, b"", &vec![b'y'; CHUNK_LEN - 1]).octets;
        assert_ne!(second.as_ptr(), first_chunk, "the first chunk is in use");
        drop(kept);
        let third = receive(&mut buffer, b"", b"z").octets;
        assert_eq!(third.as_ptr(), first_chunk);
        assert_eq!(third, "z");
    }

    #[test]
    fn chunks_that_stay_in_use_are_let_go_of() {
        let mut buffer = RecvBuffer::new();
        let kept: Vec<Bytes> = (0..2 * RETIRED_COUNT_MAX)
            .map(|_| receive(&mut buffer, b"", &vec![b'x'; CHUNK_LEN - 1]).octets.slice(..1))
            .collect();
        assert_eq!(buffer.retired.len(), RETIRED_COUNT_MAX);
        assert!(kept.iter().all(|slice| slice == "x"));
    }
}
