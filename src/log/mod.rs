//! The message log: records in segments, the writer, recovery, readers.
//!
//! ```text
//!  data directory (one partition)
//!    lock                          flock held by the writer
//!    position                      what readers may see; volatile
//!    00000000000000000000.segment  sealed: header | record | record | ... | footer
//!    00000000000067112960.segment  the last one, growing
//!    prepared-0.tmp                zero-filled ahead for the next segment
//!    quarantine/                   octets that recovery cut off
//! ```
//!
//! Names `message` only. Files are touched in `storage` alone; time and randomness come in as arguments. The format
//! is drawn in `docs/format.md`.

mod error;
pub mod storage;
pub mod writer;

pub use error::{AppendError, FileError, OpenError, ReadError, SyncError};
pub use storage::{DirStorage, Storage, StorageFile};
pub use writer::{Positions, PreparedSegment, RecoveryReport, Visibility, Writer, WriterOptions, prepare};
