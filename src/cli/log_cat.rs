//! `mailrace log cat`: every message of the log, oldest first, as JSON lines, as an mbox or as a list.

use std::io::{BufWriter, Write};

use clap::{Args, ValueEnum};

use super::log_command::{DAMAGED, DataDir, LogCommandError};
use super::log_formats::{write_jsonl, write_mboxrd, write_summary};
use crate::log::Entry;

/// Octets collected before they are written.
const BUFFER_LEN: usize = 256 * 1024;

/// Arguments of `log cat`.
#[derive(Debug, Args)]
pub struct CatArguments {
    /// Which log.
    #[command(flatten)]
    pub log: DataDir,
    /// How to print each message.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub format: Format,
}

/// How messages are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line, the message in base64: nothing is lost.
    Jsonl,
    /// One mailbox file, "From " lines quoted the mboxrd way.
    Mboxrd,
    /// One line a message: receipt, time, size, addresses.
    Summary,
}

pub(super) fn run(
    arguments: &CatArguments,
    output: &mut dyn Write,
    messages: &mut dyn Write,
) -> Result<u8, LogCommandError> {
    let mut reader = arguments.log.reader()?;
    let mut output = BufWriter::with_capacity(BUFFER_LEN, output);
    let mut code = 0;
    while let Some(entry) = reader.next_entry().map_err(|error| arguments.log.read_error(error))? {
        match entry {
            Entry::Record(record) => match arguments.format {
                Format::Jsonl => write_jsonl(&record, &mut output),
                Format::Mboxrd => write_mboxrd(&record, &mut output),
                Format::Summary => write_summary(&record, &mut output),
            }
            .map_err(LogCommandError::Output)?,
            Entry::Damage(damage) => {
                code = DAMAGED;
                // The exit code tells as well.
                let _ = writeln!(messages, "mailrace: damage stepped over: {damage}");
            }
        }
    }
    output.flush().map_err(LogCommandError::Output)?;
    Ok(code)
}
