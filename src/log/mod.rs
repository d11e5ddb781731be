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

mod active;
mod damage;
mod error;
mod format;
mod head;
mod ids;
mod position;
mod reader;
pub mod recovery;
mod scan;
mod segment;
pub mod storage;
mod view;
pub mod writer;

#[cfg(test)]
mod fixture;

pub use active::{PreparedSegment, prepare, prepare_unless};
pub use damage::{Damage, DamageReason};
pub use error::{AppendError, FileError, OpenError, ReadError, SyncError};
pub use format::ContentFlaw;
pub use head::Head;
pub use position::Positions;
pub use reader::{Entry, Lookup, Place, Reader, SegmentState, SegmentSummary};
pub use recovery::{Cut, RecoveryReport};
pub use scan::{Record, RecordFlaw};
pub use storage::{DirStorage, Storage, StorageFile};
pub use writer::{SEGMENT_SIZE_DEFAULT, Visibility, Writer, WriterOptions};
