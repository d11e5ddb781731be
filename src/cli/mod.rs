//! The command line: one file per subcommand, each from arguments to a call, a table or a stream of output.
//!
//! Exit codes are those of sysexits(3) where a command does not say otherwise.

mod log_cat;
pub mod log_command;
mod log_formats;
mod log_get;
mod log_ls;
mod log_verify;

/// The exit codes of sysexits(3) that are used here.
pub mod exit {
    /// Wrong arguments.
    pub const USAGE: u8 = 64;
    /// Input that is not as it was written.
    pub const DATA_ERROR: u8 = 65;
    /// Input that is not there.
    pub const NO_INPUT: u8 = 66;
    /// Reading or writing failed.
    pub const IO_ERROR: u8 = 74;
    /// Try again later: somebody else holds it.
    pub const TEMPORARY: u8 = 75;
}
