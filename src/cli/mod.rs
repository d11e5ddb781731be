//! The command line: one file per subcommand, each from arguments to a call, a table or a stream of output.
//!
//! Exit codes are those of sysexits(3) where a command does not say otherwise.

pub mod check;
mod completions;
mod filter;
mod host;
mod log_cat;
pub mod log_command;
mod log_find;
mod log_formats;
mod log_get;
mod log_ls;
mod log_stat;
mod log_tail;
mod log_verify;
pub mod manual;
pub mod options;
mod progress;
mod range;
pub mod screen;
pub mod serve;
pub mod settings;
pub mod settings_error;
pub mod settings_file;
mod statistics;
pub mod units;
mod welcome;

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use settings::Sources;

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
    /// Print the settings `serve` would have, and where each comes from, or what is wrong with them.
    Check(Box<serve::ServeArguments>),
    /// Read the log, beside a running server or without one.
    #[command(subcommand)]
    Log(Box<log_command::LogCommand>),
    /// Print a script that completes commands and options in a shell.
    Completions(completions::CompletionsArguments),
    /// Print a manual page, or write all of them.
    Man(manual::ManArguments),
}

/// What stands below the options of `serve` and `check`.
const SETTINGS_HELP: &str = "\
Each option may also stand in a file, as in max-connections = 500, and in the environment, as in \
MAILRACE_MAX_CONNECTIONS=500 (a list with commas). The environment is stronger than the file, and a flag is stronger \
than both. mailrace check prints what holds and why.";

/// The whole command line. Beyond [`Cli`] its switches can be turned off again: `--accept-any=false`.
#[must_use]
pub fn command() -> clap::Command {
    let settings = |command: clap::Command| command.mut_args(options::with_values).after_help(SETTINGS_HELP);
    Cli::command().mut_subcommand("serve", settings).mut_subcommand("check", settings)
}

/// Parses `arguments` (the program's name first) and runs what they say; without any it says what can be done.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.len() <= 1 {
        return welcome::run();
    }
    let matches = command().try_get_matches_from(&arguments);
    match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(Cli { command: Command::Serve(_) }) => serve::run(&Sources::of_process(arguments)),
        Ok(Cli { command: Command::Check(_) }) => check::run(&Sources::of_process(arguments)),
        Ok(Cli { command: Command::Log(command) }) => log_command::run(&command),
        Ok(Cli { command: Command::Completions(arguments) }) => completions::run(&arguments),
        Ok(Cli { command: Command::Man(arguments) }) => manual::run(&arguments),
        Err(error) => {
            let error = in_plain_words(error);
            // Nothing can be done when the terminal is gone.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 })
        }
    }
}

/// Whole numbers are refused in the words of Rust's own parser, "invalid digit found in string"; not to a person.
fn in_plain_words(error: clap::Error) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let (option, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    let counts = error.kind() == clap::error::ErrorKind::ValueValidation && option.ends_with("<N>");
    match counts && value.parse::<u128>().is_err() {
        true => command()
            .error(error.kind(), format!("invalid value '{value}' for '{option}': it is not a whole number")),
        false => error,
    }
}

/// Writes what a command has to say to standard output; a reader that has gone away is no error.
fn print(text: &[u8]) -> ExitCode {
    match std::io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("mailrace: cannot write the output: {error}");
            ExitCode::from(exit::IO_ERROR)
        }
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
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
