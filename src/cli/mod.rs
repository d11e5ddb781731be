//! The command line: one file per subcommand, each from arguments to a call, a table or a stream of output.
//!
//! Exit codes are those of sysexits(3) where a command does not say otherwise.

mod filter;
mod log_cat;
pub mod log_command;
mod log_find;
mod log_formats;
mod log_get;
mod log_ls;
mod log_stat;
mod log_tail;
mod log_verify;
mod progress;
mod range;
pub mod screen;
pub mod serve;
mod statistics;
pub mod units;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The exit codes of sysexits(3) that are used here.
pub mod exit {
    /// Wrong arguments.
    pub const USAGE: u8 = 64;
    /// Input that is not as it was written.
    pub const DATA_ERROR: u8 = 65;
    /// Input that is not there.
    pub const NO_INPUT: u8 = 66;
    /// A service or address that cannot be had.
    pub const UNAVAILABLE: u8 = 69;
    /// A fault of ours.
    pub const SOFTWARE: u8 = 70;
    /// The system refused something basic: a thread, a ring.
    pub const OS_ERROR: u8 = 71;
    /// A file or directory that cannot be made.
    pub const CANNOT_CREATE: u8 = 73;
    /// Reading or writing failed.
    pub const IO_ERROR: u8 = 74;
    /// Try again later: somebody else holds it.
    pub const TEMPORARY: u8 = 75;
    /// Not allowed.
    pub const NO_PERMISSION: u8 = 77;
    /// A setting that cannot be used.
    pub const CONFIG: u8 = 78;
}

/// Takes mail in over SMTP and answers 250 only when it is on disk.
#[derive(Debug, Parser)]
#[command(name = "mailrace", version, about, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take mail in over SMTP and store it in the log.
    Serve(Box<serve::ServeArguments>),
    /// Read the log, beside a running server or without one.
    #[command(subcommand)]
    Log(log_command::LogCommand),
}

/// Parses `arguments` (the program's name first) and runs what they say.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(arguments) {
        Ok(Cli { command: Command::Serve(arguments) }) => serve::run(&arguments),
        Ok(Cli { command: Command::Log(command) }) => log_command::run(&command),
        Err(error) => {
            // Nothing can be done when the terminal is gone.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_is_explained() {
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}
