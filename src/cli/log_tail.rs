//! `mailrace log tail`: the last messages of the log, and with `-f` those that come.
//!
//! Following costs the server nothing: the position file is read a few times a second, and nothing is registered with
//! the kernel that each of its writes would have to pass. It goes on over changes of segments and over restarts.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::log_cat::BUFFER_LEN;
use super::log_command::{DAMAGED, DataDir, LogCommandError};
use super::log_formats::Format;
use super::range::{RangeArguments, Standing};
use super::screen::{Screen, tell_damage};
use crate::log::{DirStorage, Entry, ReadError, Reader};

/// A new message is shown within this time.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// After so many looks in vain the directory is read anew: a server that was killed may have left messages that its
/// position file does not tell of.
const LOOKS_MAX: u32 = 20;

/// Arguments of `log tail`.
#[derive(Debug, Args)]
pub struct TailArguments {
    /// Which log.
    #[command(flatten)]
    pub log: DataDir,
    /// Go on with the messages that come, until interrupted, or until --limit or --until says so.
    #[arg(short, long)]
    pub follow: bool,
    /// Begin with the last N messages.
    #[arg(short = 'n', long = "last", value_name = "N", default_value_t = 10, conflicts_with = "from")]
    pub last: u64,
    /// Which part of the log.
    #[command(flatten)]
    pub range: RangeArguments,
    /// How to print each message.
    #[arg(long, value_enum, default_value_t = Format::Summary)]
    pub format: Format,
}

pub(super) fn run(arguments: &TailArguments, screen: &mut Screen<'_>) -> Result<u8, LogCommandError> {
    let read_error = |error| arguments.log.read_error(error);
    let mut reader = arguments.log.reader()?;
    match arguments.range.from {
        Some(edge) => reader.seek(edge.place),
        None => reader.seek_last(arguments.last),
    }
    .map_err(read_error)?;
    let mut tail = Tail { arguments, count: 0, code: 0 };
    loop {
        let ended = tail.print_what_there_is(&mut reader, screen)?;
        if ended || !arguments.follow || !wait_for_more(&mut reader).map_err(read_error)? {
            return Ok(tail.code);
        }
    }
}

struct Tail<'a> {
    arguments: &'a TailArguments,
    /// Messages printed.
    count: u64,
    code: u8,
}

impl Tail<'_> {
    /// Prints up to the end of what may be shown now; true when nothing that comes later is asked for.
    fn print_what_there_is(
        &mut self,
        reader: &mut Reader<DirStorage>,
        screen: &mut Screen<'_>,
    ) -> Result<bool, LogCommandError> {
        let TailArguments { log, range, format, .. } = self.arguments;
        let mut output = BufWriter::with_capacity(BUFFER_LEN, &mut *screen.output);
        let mut ended = range.is_full(self.count);
        while !ended && let Some(entry) = reader.next_entry().map_err(|error| log.read_error(error))? {
            match entry {
                Entry::Record(record) => match range.standing(record.receipt, record.received_at) {
                    Standing::Before => {}
                    Standing::Inside => {
                        let printed = format.write(&record, screen.output_colours, &mut output);
                        printed.map_err(LogCommandError::Output)?;
                        self.count += 1;
                        ended = range.is_full(self.count);
                    }
                    Standing::Behind => ended = true,
                },
                Entry::Damage(damage) => {
                    self.code = DAMAGED;
                    tell_damage(screen.messages, screen.message_colours, &damage);
                }
            }
        }
        output.flush().map_err(LogCommandError::Output)?;
        drop(output);
        screen.output.flush().map_err(LogCommandError::Output)?;
        Ok(ended)
    }
}

/// Waits until there may be more to show, and looks at it; false when nobody reads the output any more.
fn wait_for_more(reader: &mut Reader<DirStorage>) -> Result<bool, ReadError> {
    loop {
        for _ in 0..LOOKS_MAX {
            if is_unread_within(LOOK_INTERVAL) {
                return Ok(false);
            }
            if reader.has_news()? {
                break;
            }
        }
        match reader.refresh() {
            // A server is just starting.
            Err(ReadError::NoPosition) => {}
            refreshed => return refreshed.map(|()| true),
        }
    }
}

/// Waits for `interval`, or until the other end of the pipe that standard output is has been closed.
fn is_unread_within(interval: Duration) -> bool {
    let stdout = io::stdout();
    let timeout = Timespec::try_from(interval).expect("the interval is short");
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    // A signal may end the wait early: then the next look comes a little sooner.
    poll(&mut watched, Some(&timeout)).is_ok_and(|closed| closed > 0)
}
