//! `mailrace log cat`: every message of the log, oldest first, as JSON lines, as an mbox or as a list.

use std::io::{BufWriter, Write};

use clap::Args;

use super::log_command::{DAMAGED, DataDir, LogCommandError};
use super::log_formats::Format;
use super::progress::Progress;
use super::range::{RangeArguments, Standing};
use super::screen::{Screen, tell_damage};
use crate::log::Entry;

/// Octets collected before they are written.
pub(super) const BUFFER_LEN: usize = 256 * 1024;

/// Arguments of `log cat`.
#[derive(Debug, Args)]
pub struct CatArguments {
    /// Which log.
    #[command(flatten)]
    pub log: DataDir,
    /// How to print each message.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub format: Format,
    /// Which part of it.
    #[command(flatten)]
    pub range: RangeArguments,
}

pub(super) fn run(arguments: &CatArguments, screen: &mut Screen<'_>) -> Result<u8, LogCommandError> {
    let CatArguments { log, format, range } = arguments;
    let mut reader = log.reader()?;
    range.seek(&mut reader).map_err(|error| log.read_error(error))?;
    let extent = reader.extent().map_err(|error| log.read_error(error))?;
    let mut progress = Progress::over(extent, "reading", screen.shows_progress);
    let mut output = BufWriter::with_capacity(BUFFER_LEN, &mut *screen.output);
    let (mut code, mut count) = (0, 0);
    while !range.is_full(count)
        && let Some(entry) = reader.next_entry().map_err(|error| log.read_error(error))?
    {
        match entry {
            Entry::Record(record) => {
                progress.reach(record.end);
                match range.standing(record.receipt, record.received_at) {
                    Standing::Before => continue,
                    Standing::Inside => count += 1,
                    Standing::Behind => break,
                }
                format.write(&record, screen.output_colours, &mut output).map_err(LogCommandError::Output)?;
            }
            Entry::Damage(damage) => {
                code = DAMAGED;
                progress.aside(|| tell_damage(screen.messages, screen.message_colours, &damage));
            }
        }
    }
    output.flush().map_err(LogCommandError::Output)?;
    Ok(code)
}
