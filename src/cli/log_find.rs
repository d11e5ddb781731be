//! `mailrace log find`: the messages that answer to conditions, printed as they are found.
//!
//! The envelope and the header section decide, so the text behind it is read of those messages only that are printed
//! whole, and damage in the text of the others goes unseen: `log verify` looks for it.

use std::io::{BufWriter, Write};

use clap::Args;

use super::filter::FilterArguments;
use super::log_cat::BUFFER_LEN;
use super::log_command::{DAMAGED, DataDir, LogCommandError};
use super::log_formats::{Format, write_summary};
use super::progress::Progress;
use super::range::{RangeArguments, Standing};
use super::screen::{Colours, Screen, tell_damage};
use crate::log::{Damage, DirStorage, Entry, Head, Lookup, Reader};

/// Arguments of `log find`.
#[derive(Debug, Args)]
pub struct FindArguments {
    /// Which log.
    #[command(flatten)]
    pub log: DataDir,
    /// Which messages: all conditions must hold.
    #[command(flatten)]
    pub filter: FilterArguments,
    /// Which part of the log.
    #[command(flatten)]
    pub range: RangeArguments,
    /// How to print each message.
    #[arg(long, value_enum, default_value_t = Format::Summary)]
    pub format: Format,
}

pub(super) fn run(arguments: &FindArguments, screen: &mut Screen<'_>) -> Result<u8, LogCommandError> {
    let FindArguments { log, filter, range, format } = arguments;
    let range = filter.receipt.map_or(*range, RangeArguments::of);
    let mut reader = log.reader()?;
    range.seek(&mut reader).map_err(|error| log.read_error(error))?;
    let extent = reader.extent().map_err(|error| log.read_error(error))?;
    let mut progress = Progress::over(extent, "searching", screen.shows_progress);
    let mut output = BufWriter::with_capacity(BUFFER_LEN, &mut *screen.output);
    let (mut code, mut count) = (0, 0);
    while !range.is_full(count)
        && let Some(entry) = reader.next_head().map_err(|error| log.read_error(error))?
    {
        let damage = match entry {
            Entry::Record(head) => {
                progress.reach(head.end);
                match range.standing(head.receipt, head.received_at) {
                    Standing::Before => continue,
                    Standing::Inside if !filter.matches(&head) => continue,
                    Standing::Inside => count += 1,
                    Standing::Behind => break,
                }
                print(log, &mut reader, &head, (*format, screen.output_colours), &mut output)?
            }
            Entry::Damage(damage) => Some(damage),
        };
        if let Some(damage) = damage {
            code = DAMAGED;
            progress.aside(|| tell_damage(screen.messages, screen.message_colours, &damage));
        }
    }
    output.flush().map_err(LogCommandError::Output)?;
    Ok(code)
}

/// Prints a message, for which its text may have to be read first: gives the damage that is met there.
fn print(
    log: &DataDir,
    reader: &mut Reader<DirStorage>,
    head: &Head,
    (format, colours): (Format, Colours),
    output: &mut dyn Write,
) -> Result<Option<Damage>, LogCommandError> {
    if format == Format::Summary {
        write_summary(head, colours, output).map_err(LogCommandError::Output)?;
        return Ok(None);
    }
    match reader.whole(head).map_err(|error| log.read_error(error))? {
        Lookup::Found(record) => {
            format.write(&record, colours, output).map_err(LogCommandError::Output)?;
            Ok(None)
        }
        Lookup::NotFound => Ok(None),
        Lookup::Damaged(damage) => Ok(Some(damage)),
    }
}
