//! What can go wrong with a benchmark, in words that name what failed, on what, and what to do.

use std::path::PathBuf;
use std::{fmt, io};

use crate::load::report::LoadReport;

/// Why a benchmark could not be run or finished.
#[derive(Debug)]
pub enum Error {
    /// An operating system call failed.
    System {
        /// What was attempted, such as "pin to core 3".
        attempt: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server under test did not start, or ended before it was asked to.
    Server {
        /// The program.
        program: PathBuf,
        /// What it did instead.
        reason: String,
        /// The last lines it wrote on standard error.
        said: String,
    },
    /// Nothing got through for so long that the run was given up.
    NoProgress {
        /// Whom the load went to.
        target: String,
        /// The failures seen until then, most frequent first.
        failures: String,
        /// The run as far as it came.
        report: Box<LoadReport>,
    },
    /// A program this benchmark drives is not on this machine.
    Missing {
        /// Its name, such as `smtp-source`.
        program: String,
        /// How to get it.
        remedy: String,
    },
}

/// The result of a step of a benchmark.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A system error, with what was attempted.
    pub fn system(attempt: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System { attempt: attempt.into(), source: source.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { attempt, source } => write!(f, "cannot {attempt}: {source}"),
            Self::Server { program, reason, said } if said.is_empty() => {
                write!(f, "{}: {reason}", program.display())
            }
            Self::Server { program, reason, said } => {
                write!(f, "{}: {reason}; it said:\n{said}", program.display())
            }
            Self::NoProgress { target, failures, .. } => {
                write!(f, "nothing got through to {target} any more; failures: {failures}")
            }
            Self::Missing { program, remedy } => write!(f, "{program} was not found: {remedy}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
