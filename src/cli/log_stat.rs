//! `mailrace log stat`: how many messages a log holds, how much, and from when; with `--scan` what they are.
//!
//! Segments that lie in the range as a whole tell by their footers, so that a log of any size is counted at once;
//! those at its edges, and the one being written, are walked head by head. With `--scan` all of it is.

use clap::{Args, ValueEnum};

use super::log_command::{DAMAGED, DataDir, LogCommandError};
use super::progress::Progress;
use super::range::{RangeArguments, Standing};
use super::screen::{Screen, tell_damage};
use super::statistics::Statistics;
use crate::log::{DirStorage, Entry, Place, ReadError, Reader, SegmentState, SegmentSummary};
use crate::message::{Lsn, Timestamp};

/// Arguments of `log stat`.
#[derive(Debug, Args)]
pub struct StatArguments {
    /// Which log.
    #[command(flatten)]
    pub log: DataDir,
    /// Which part of it.
    #[command(flatten)]
    pub range: RangeArguments,
    /// Read the head of every message: sizes, days, and the domains that send and receive most.
    #[arg(long)]
    pub scan: bool,
    /// Show so many domains.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Layout::Text)]
    pub format: Layout,
}

/// How statistics are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// For a person.
    Text,
    /// One JSON object, sizes in octets.
    Json,
}

pub(super) fn run(arguments: &StatArguments, screen: &mut Screen<'_>) -> Result<u8, LogCommandError> {
    let StatArguments { log, range, scan, .. } = arguments;
    let mut reader = log.reader()?;
    let extent = reader.extent().map_err(|error| log.read_error(error))?;
    let shows = screen.shows_quiet_progress;
    let mut count = Count {
        range: *range,
        statistics: if *scan { Statistics::of_heads() } else { Statistics::default() },
        progress: Progress::over(extent, "counting", shows),
        code: 0,
    };
    let counted = match *scan || range.limit.is_some() {
        true => range.seek(&mut reader).and_then(|()| count.walk(&mut reader, Lsn(u64::MAX), screen)),
        false => count.by_segments(&mut reader, screen),
    };
    counted.map_err(|error| log.read_error(error))?;
    let Count { statistics, code, progress, .. } = count;
    drop(progress);
    let (output, colours) = (&mut *screen.output, screen.output_colours);
    match arguments.format {
        Layout::Text => statistics.write_text(arguments.top, colours, output),
        Layout::Json => writeln!(output, "{}", statistics.to_json(arguments.top)),
    }
    .map_err(LogCommandError::Output)?;
    Ok(code)
}

struct Count {
    range: RangeArguments,
    statistics: Statistics,
    progress: Progress,
    code: u8,
}

/// How a segment stands to the range, as its footer tells.
enum Cover {
    /// All of its messages are in the range.
    Whole(u64, Option<(Timestamp, Timestamp)>),
    /// None is.
    Nothing,
    /// It must be walked to know.
    Unknown,
}

impl Count {
    fn by_segments(
        &mut self,
        reader: &mut Reader<DirStorage>,
        screen: &mut Screen<'_>,
    ) -> Result<(), ReadError> {
        for segment in reader.segments()? {
            match self.cover(&segment) {
                Cover::Nothing => {}
                Cover::Whole(records, times) => {
                    self.statistics.add_segment(records, segment.end.0 - segment.base.0, times);
                    self.progress.reach(segment.end);
                }
                Cover::Unknown => {
                    self.go_into(reader, segment.base)?;
                    self.walk(reader, segment.end, screen)?;
                }
            }
        }
        Ok(())
    }

    fn cover(&self, segment: &SegmentSummary) -> Cover {
        let SegmentState::Sealed { records, times } = &segment.state else { return Cover::Unknown };
        let RangeArguments { from, until, .. } = self.range;
        if from.iter().chain(&until).any(|edge| edge.partition.is_some()) {
            return Cover::Unknown;
        }
        let Some((first, last)) = *times else { return Cover::Whole(*records, None) };
        // No record begins at the end, and the first one behind the base.
        let is_behind = |place: Place, lsn, time| place.is_behind(lsn, time);
        let starts_inside = from.is_none_or(|edge| !is_behind(edge.place, segment.base, first));
        let ends_inside = until.is_none_or(|edge| is_behind(edge.place, segment.end, last));
        if starts_inside && ends_inside {
            return Cover::Whole(*records, *times);
        }
        let ends_before = from.is_some_and(|edge| is_behind(edge.place, segment.end, last));
        let begins_behind = until.is_some_and(|edge| !is_behind(edge.place, segment.base, first));
        if ends_before || begins_behind { Cover::Nothing } else { Cover::Unknown }
    }

    /// Goes to the first message of a segment that may be in the range.
    fn go_into(&self, reader: &mut Reader<DirStorage>, base: Lsn) -> Result<(), ReadError> {
        reader.seek(Place::Lsn(base))?;
        let Some(from) = self.range.from else { return Ok(()) };
        let is_behind = match reader.next_head()? {
            Some(Entry::Record(head)) => from.place.is_behind(head.receipt.lsn, head.received_at),
            Some(Entry::Damage(_)) | None => false,
        };
        reader.seek(if is_behind { from.place } else { Place::Lsn(base) })
    }

    /// Counts what is in the range, up to a position.
    fn walk(
        &mut self,
        reader: &mut Reader<DirStorage>,
        end: Lsn,
        screen: &mut Screen<'_>,
    ) -> Result<(), ReadError> {
        while !self.range.is_full(self.statistics.messages)
            && let Some(entry) = reader.next_head()?
        {
            match entry {
                Entry::Record(head) if head.receipt.lsn >= end => break,
                Entry::Record(head) => {
                    self.progress.reach(head.end);
                    match self.range.standing(head.receipt, head.received_at) {
                        Standing::Before => {}
                        Standing::Inside => self.statistics.add(&head),
                        Standing::Behind => break,
                    }
                }
                Entry::Damage(damage) if damage.from >= end => break,
                Entry::Damage(damage) => {
                    self.code = DAMAGED;
                    self.statistics.damaged_places += 1;
                    self.progress.aside(|| tell_damage(screen.messages, screen.message_colours, &damage));
                }
            }
        }
        Ok(())
    }
}
