//! `mailrace log ...`: reads the message log of a data directory, beside a running server or without one.
//!
//! None of these commands writes to the directory. When nobody reads their output any more, they end quietly with exit
//! code 0; `verify` alone goes on: its exit code is what most want of it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::screen::Screen;
use super::{exit, log_cat, log_find, log_get, log_ls, log_stat, log_tail, log_verify};
use crate::log::{DirStorage, ReadError, Reader};

/// The exit code of a command that met damage in the log.
pub const DAMAGED: u8 = 1;

/// A server that is just starting has no position file to go by for a moment; so long, so often it is waited for.
const POSITION_TRIES_MAX: u32 = 100;
const POSITION_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// What to do with the log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Print every message of the log, oldest first.
    Cat(log_cat::CatArguments),
    /// Print one message, octet for octet, as it was sent.
    Get(log_get::GetArguments),
    /// Print the last messages, and with -f those that come.
    Tail(log_tail::TailArguments),
    /// Print the messages that meet conditions: addresses, sizes, header fields, a receipt.
    Find(log_find::FindArguments),
    /// Count messages and octets, and with --scan sizes, days and domains.
    Stat(log_stat::StatArguments),
    /// Check every octet of the log. Exits 0 when intact, 1 on damage, 2 when it could not run.
    Verify(log_verify::VerifyArguments),
    /// List the segments of the log.
    Ls(log_ls::LsArguments),
}

/// Which log to read.
#[derive(Debug, Args)]
pub struct DataDir {
    /// The directory that holds the log.
    #[arg(long, value_name = "DIR", default_value = "./mailrace-data")]
    pub data_dir: PathBuf,
}

/// Runs a command on standard output and standard error.
#[must_use]
pub fn run(command: &LogCommand) -> ExitCode {
    let (mut output, mut messages) = (io::stdout().lock(), io::stderr().lock());
    ExitCode::from(run_to(command, &mut Screen::standard(&mut output, &mut messages)))
}

/// Runs a command. Returns the exit code.
pub fn run_to(command: &LogCommand, screen: &mut Screen<'_>) -> u8 {
    let verify = matches!(command, LogCommand::Verify(_));
    let result = match command {
        LogCommand::Cat(arguments) => log_cat::run(arguments, screen),
        LogCommand::Get(arguments) => log_get::run(arguments, screen.output),
        LogCommand::Tail(arguments) => log_tail::run(arguments, screen),
        LogCommand::Find(arguments) => log_find::run(arguments, screen),
        LogCommand::Stat(arguments) => log_stat::run(arguments, screen),
        LogCommand::Verify(arguments) => log_verify::run(arguments, screen),
        LogCommand::Ls(arguments) => log_ls::run(arguments, screen),
    };
    // What is still buffered may meet the closed pipe only now.
    let flushed = screen.output.flush().map_err(LogCommandError::Output);
    let result = result.and_then(|code| match flushed {
        Err(error) if verify && error.is_unread() => Ok(code),
        flushed => flushed.map(|()| code),
    });
    match result {
        Ok(code) => code,
        Err(error) if error.is_unread() => 0,
        Err(error) => {
            // Nothing can be done when nobody listens there either.
            let _ = writeln!(screen.messages, "mailrace: {error}");
            if verify { log_verify::COULD_NOT_RUN } else { error.exit_code() }
        }
    }
}

/// Why a command did not get to its end.
#[derive(Debug)]
pub(super) enum LogCommandError {
    /// The data directory cannot be opened.
    DataDir(PathBuf, io::Error),
    /// The data directory is there, but nothing of a log in it.
    NoLog(PathBuf),
    /// The log cannot be read.
    Read(PathBuf, ReadError),
    /// The output cannot be written.
    Output(io::Error),
    /// There is no such record.
    NoRecord(String),
    /// The record is damaged.
    Damaged(String),
}

impl LogCommandError {
    /// Whether nobody reads the output any more.
    pub(super) fn is_unread(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::NoLog(_) | Self::NoRecord(_) => exit::NO_INPUT,
            Self::DataDir(_, error) if is_absent(error) => exit::NO_INPUT,
            Self::DataDir(_, error) => io_exit_code(error),
            Self::Read(_, ReadError::NoPosition) => exit::TEMPORARY,
            Self::Read(_, ReadError::NewerFormat { .. }) | Self::Damaged(_) => exit::DATA_ERROR,
            Self::Read(_, ReadError::File(error)) => io_exit_code(&error.cause),
            Self::Output(_) => exit::IO_ERROR,
        }
    }
}

/// Whether there is no such directory, as opposed to one that cannot be opened.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn io_exit_code(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::PermissionDenied => exit::NO_PERMISSION,
        _ => exit::IO_ERROR,
    }
}

impl fmt::Display for LogCommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataDir(path, error) if is_absent(error) => {
                write!(f, "no log at {}: {error} (name its directory with --data-dir)", path.display())
            }
            Self::DataDir(path, error) => write!(f, "cannot open {}: {error}", path.display()),
            Self::NoLog(path) => write!(
                f,
                "no log at {}: no lock, no position file and no segment there (name its directory with --data-dir)",
                path.display()
            ),
            Self::Read(path, error) => write!(f, "cannot read the log at {}: {error}", path.display()),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
            Self::NoRecord(text) | Self::Damaged(text) => f.write_str(text),
        }
    }
}

impl DataDir {
    /// Opens the log for reading. A directory that holds none is most likely not the one that was meant.
    pub(super) fn reader(&self) -> Result<Reader<DirStorage>, LogCommandError> {
        let path = &self.data_dir;
        let storage =
            DirStorage::open(path).map_err(|error| LogCommandError::DataDir(path.clone(), error))?;
        let mut tries = 1;
        loop {
            match Reader::open(storage.clone()) {
                Err(ReadError::NoPosition) if tries < POSITION_TRIES_MAX => {
                    tries += 1;
                    std::thread::sleep(POSITION_RETRY_INTERVAL);
                }
                Ok(reader) if reader.finds_log() => return Ok(reader),
                Ok(_) => return Err(LogCommandError::NoLog(path.clone())),
                Err(error) => return Err(self.read_error(error)),
            }
        }
    }

    pub(super) fn read_error(&self, error: ReadError) -> LogCommandError {
        LogCommandError::Read(self.data_dir.clone(), error)
    }
}
