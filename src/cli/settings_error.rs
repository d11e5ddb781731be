//! Why settings cannot be used: what is wrong, where it stands, and the exit code for it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::exit;
use super::settings_file::Position;
use crate::config::ConfigError;

/// Why settings cannot be used.
#[derive(Debug)]
pub enum SettingsError {
    /// The command line is not one of ours.
    Arguments(clap::Error),
    /// The configuration file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// All that is wrong with the file and the environment; never empty.
    Problems(Vec<Problem>),
    /// Settings of different sources that exclude each other, each with its place.
    Contradiction(Vec<String>),
    /// Each value is one, but together they cannot be used.
    Config {
        /// Why.
        error: ConfigError,
        /// The settings it is about that the command line did not give, each with its place.
        places: Vec<String>,
    },
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    place: String,
    message: String,
}

impl Problem {
    pub(super) fn in_file(path: &Path, position: Position, message: String) -> Self {
        let Position { line, column } = position;
        Self { place: format!("{}:{line}:{column}", path.display()), message }
    }

    pub(super) fn in_variable(name: String, message: String) -> Self {
        Self { place: format!("environment {name}"), message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(error) => f.write_str(error.to_string().trim_end()),
            Self::Unreadable(path, error) => {
                write!(f, "cannot read the configuration {}: {error}", path.display())
            }
            Self::Problems(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\nmailrace: "))
            }
            Self::Contradiction(settings) => {
                write!(f, "{} exclude each other: keep one", settings.join(" and "))
            }
            Self::Config { error, places } if places.is_empty() => error.fmt(f),
            Self::Config { error, places } => write!(f, "{error} ({})", places.join(", ")),
        }
    }
}

impl std::error::Error for SettingsError {}

impl SettingsError {
    /// The exit code of sysexits(3): 64 for the command line, 78 for a file or a variable.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Arguments(_) => exit::USAGE,
            Self::Unreadable(_, error) => match error.kind() {
                ErrorKind::PermissionDenied => exit::NO_PERMISSION,
                ErrorKind::InvalidData | ErrorKind::IsADirectory => exit::CONFIG,
                _ => exit::NO_INPUT,
            },
            Self::Problems(_) | Self::Contradiction(_) => exit::CONFIG,
            Self::Config { error, places } => match super::serve::config_exit_code(error) {
                exit::USAGE if !places.is_empty() => exit::CONFIG,
                code => code,
            },
        }
    }
}
