//! `mailrace log verify`: reads the whole log and holds every checksum, link and count.

use std::fmt;
use std::io::Write;

use clap::Args;

use super::log_command::{DAMAGED, DataDir, LogCommandError};
use super::progress::Progress;
use super::screen::{BAD, GOOD, Screen};
use crate::log::Entry;

/// The exit code when the log could not be read at all.
pub(super) const COULD_NOT_RUN: u8 = 2;

/// Arguments of `log verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Which log.
    #[command(flatten)]
    pub log: DataDir,
}

pub(super) fn run(arguments: &VerifyArguments, screen: &mut Screen<'_>) -> Result<u8, LogCommandError> {
    let read_error = |error| arguments.log.read_error(error);
    let mut reader = arguments.log.reader()?;
    let extent = reader.extent().map_err(read_error)?;
    let mut progress = Progress::over(extent, "verifying", screen.shows_quiet_progress);
    let colours = screen.output_colours;
    let output = &mut *screen.output;
    let (mut records, mut octets, mut damages) = (0_u64, 0_u64, 0_u64);
    while let Some(entry) = reader.next_entry().map_err(read_error)? {
        match entry {
            Entry::Record(record) => {
                records += 1;
                octets += record.body.len() as u64;
                progress.reach(record.end);
            }
            Entry::Damage(damage) => {
                damages += 1;
                let damaged = colours.paint(BAD, "damaged");
                progress.aside(|| print(output, format_args!("{damaged}: {damage}")))?;
            }
        }
    }
    drop(progress);
    let (style, verdict) = if damages == 0 { (GOOD, "intact") } else { (BAD, "damaged") };
    let verdict = colours.paint(style, verdict);
    print(output, format_args!("{verdict}: {records} messages, {octets} octets, {damages} damaged places"))?;
    Ok(if damages == 0 { 0 } else { DAMAGED })
}

/// Prints a line. That nobody reads it is no reason to end without a verdict.
fn print(output: &mut dyn Write, line: fmt::Arguments<'_>) -> Result<(), LogCommandError> {
    match writeln!(output, "{line}").map_err(LogCommandError::Output) {
        Err(error) if error.is_unread() => Ok(()),
        printed => printed,
    }
}
