//! What can go wrong with the log, one small type per operation; each names the file it happened to.
//!
//! A torn or damaged record is no error: readers report it as a value and go on.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::message::Partition;

/// A system call on one file of the data directory that failed. Cloning shares the cause.
#[derive(Debug, Clone)]
pub struct FileError {
    /// What was being done: `write`, `sync`, `rename`, ...
    pub operation: &'static str,
    /// The file's name inside the data directory; empty for the directory itself.
    pub file: String,
    /// What the operating system said.
    pub cause: Arc<io::Error>,
}

impl FileError {
    pub(crate) fn new(operation: &'static str, file: &str, cause: io::Error) -> Self {
        Self { operation, file: file.to_owned(), cause: Arc::new(cause) }
    }

    /// True for ENOSPC and EDQUOT: it heals by itself when there is room again.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        is_no_space(&self.cause)
    }
}

/// True for ENOSPC and EDQUOT. EFBIG is not among them: no file removed elsewhere makes it go away.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = if self.file.is_empty() { "the data directory" } else { &self.file };
        write!(f, "{} {file}: {}", self.operation, self.cause)
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

/// Why a log could not be opened for writing.
#[derive(Debug, Clone)]
pub enum OpenError {
    /// Another writer holds the lock of this data directory.
    Locked,
    /// A file was written by a newer version of this program.
    NewerFormat {
        /// The file's name inside the data directory.
        file: String,
        /// The format version it carries.
        version: u16,
    },
    /// The newest segment belongs to another partition than the one asked for.
    WrongPartition {
        /// The partition the segment carries.
        found: Partition,
        /// The partition that was to be opened.
        wanted: Partition,
    },
    /// A system call failed. An error while reading is never taken for the end of the log.
    File(FileError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => write!(f, "another server already writes to this data directory"),
            Self::NewerFormat { file, version } => {
                write!(f, "{file} has format version {version}, written by a newer mailrace: use that one")
            }
            Self::WrongPartition { found, wanted } => {
                write!(f, "the log holds partition {}, not partition {}", found.0, wanted.0)
            }
            Self::File(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<FileError> for OpenError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// Why a batch was not appended. Nothing of it will ever be visible to a reader.
#[derive(Debug, Clone)]
pub enum AppendError {
    /// No space left: refuse this batch and go on; the writer tries again by itself.
    NoSpace(FileError),
    /// The log is broken until it is opened anew; every later call fails with the same error.
    Failed(FileError),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NoSpace(error) | Self::Failed(error)) = self;
        error.fmt(f)
    }
}

impl std::error::Error for AppendError {}

/// A sync, a publication or an earlier call failed: the log is broken until it is opened anew.
#[derive(Debug, Clone)]
pub struct SyncError(pub FileError);

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SyncError {}

/// Why a log could not be read. Damage is not among them: it is reported as an entry.
#[derive(Debug, Clone)]
pub enum ReadError {
    /// A file was written by a newer version of this program.
    NewerFormat {
        /// The file's name inside the data directory.
        file: String,
        /// The format version it carries.
        version: u16,
    },
    /// A writer is at work but its position file cannot be read, so it is unknown what may be shown.
    NoPosition,
    /// A system call failed.
    File(FileError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerFormat { file, version } => {
                write!(f, "{file} has format version {version}, written by a newer mailrace: use that one")
            }
            Self::NoPosition => {
                write!(f, "a server is running but its position file is unreadable: try again")
            }
            Self::File(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<FileError> for ReadError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}
