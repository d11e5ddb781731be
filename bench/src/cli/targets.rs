//! `mailrace-bench targets`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use super::JsonArgument;
use super::quick::ServerArguments;
use super::report::{OutputArguments, Saved};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::interruption::{self, Entered, Leftover};
use crate::report::{Page, markdown};
use crate::smtp_source::defaults;
use crate::targets::{self, How, TARGETS, TargetsOptions, TargetsReport};
use crate::units::{parse_some_count, parse_some_duration};

/// Measure the performance targets the project has set itself; up to 25 minutes; exit code 1 when a bound is missed
///
/// A figure that this machine cannot take leaves its row NOT MEASURED with the reason, and is neither a pass nor a miss;
/// a mailrace that fails, or answers nothing, has missed it. Some rows need scripts/peers and scripts/peers-compare to
/// have run, and perf and root.
#[derive(Debug, clap::Args)]
pub(super) struct TargetsArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Measure only these rows, by number or name; then nothing is recorded [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_row)]
    rows: Vec<How>,
    /// Keep the record under this directory, by host and date
    #[arg(long, value_name = "DIR", default_value = "bench/record")]
    record: PathBuf,
    /// Record even when only some rows are measured
    #[arg(long)]
    record_some: bool,
    /// How often to measure each
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = parse_some_count)]
    rounds: usize,
    /// How long to measure, where it is not a number of messages
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_some_duration)]
    duration: Duration,
    /// Messages of a run of smtp-source over reused connections
    #[arg(long, value_name = "N", default_value_t = defaults::REUSED_COUNT)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    reused_count: u64,
    /// Messages of a run of smtp-source with a new connection for each
    #[arg(long, value_name = "N", default_value_t = defaults::NEW_COUNT)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    new_count: u64,
    #[command(flatten)]
    json: JsonArgument,
}

/// A row by its number in the table, or its name.
fn parse_row(text: &str) -> std::result::Result<How, String> {
    let by_number = text.parse::<usize>().ok().and_then(|number| TARGETS.get(number.checked_sub(1)?));
    let row = by_number.map_or_else(|| How::from_str(text, false), |target| Ok(target.how));
    row.map_err(|_| {
        let names = How::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
        format!("it is no number from 1 to {}, and none of {}", TARGETS.len(), names.join(", "))
    })
}

pub(super) fn run(arguments: &TargetsArguments) -> Result<ExitCode> {
    let all = TARGETS.map(|target| target.how);
    let rows = if arguments.rows.is_empty() { &all[..] } else { &arguments.rows };
    let is_recorded = all.iter().all(|how| rows.contains(how)) || arguments.record_some;
    let options = options(arguments)?;
    // What would keep the result from being written is found out before the half hour, not after it.
    arguments.json.check()?;
    let day = Page::here("").date;
    let day = day.split(' ').next().unwrap_or_default();
    let record = is_recorded.then(|| Record::begin(&arguments.record.join(slug(&Host::this())), day));
    let record = record.transpose()?;
    let report = targets::run(&options, rows, &mut |what: &str| eprintln!("mailrace-bench: {what}"))?;
    let page = report.page();
    arguments.json.write(&Saved { result: &report, page: &page })?;
    match record {
        Some(record) => eprintln!("mailrace-bench: recorded in {}", record.keep(&report, &page)?.display()),
        None => eprintln!("mailrace-bench: not recorded, for not every row was asked for (--record-some)"),
    }
    if !arguments.json.is_stdout() {
        // Who has closed standard output wants no more of it, and the files are written.
        let _ = writeln!(std::io::stdout(), "{}", markdown(&page));
    }
    Ok(if report.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The directory of a record, made before the measurement; it goes again when nothing comes of that.
#[derive(Debug)]
struct Record {
    directory: PathBuf,
    /// Until it is to be kept.
    entered: Option<Entered>,
}

impl Record {
    /// # Errors
    /// When the directory cannot be made, or nothing be written in it.
    fn begin(parent: &Path, day: &str) -> Result<Self> {
        let directory = fresh_directory(parent, day)?;
        let entered = Some(interruption::enter(Leftover::Directory(directory.clone())));
        let record = Self { directory, entered };
        let probe = record.directory.join("probe");
        let written = std::fs::write(&probe, "x").and_then(|()| std::fs::remove_file(&probe));
        written.map_err(|e| Error::system(format!("write in {}", record.directory.display()), e))?;
        Ok(record)
    }

    /// Writes all files of it; where they are.
    fn keep(mut self, report: &TargetsReport, page: &Page) -> Result<PathBuf> {
        // Half a record is better than none.
        self.entered = None;
        OutputArguments::into_directory(&self.directory, "targets").keep(report, page)?;
        Ok(self.directory.clone())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.entered.is_some() {
            // It is empty, and no part of the result.
            let _ = std::fs::remove_dir(&self.directory);
        }
    }
}

fn options(arguments: &TargetsArguments) -> Result<TargetsOptions> {
    let server = &arguments.server;
    Ok(TargetsOptions {
        mailrace: server.binary()?,
        arguments: server.arguments.clone(),
        // Servers are started with paths in it from directories of their own.
        parent_dir: server.data_dir()?,
        afterwards: server.afterwards(),
        server_cores: server.server_cores.clone(),
        load_cores: server.load_cores.clone(),
        rounds: arguments.rounds,
        duration: arguments.duration,
        reused_count: arguments.reused_count,
        new_count: arguments.new_count,
    })
}

/// A machine by its processor and cores, never by its name.
fn slug(host: &Host) -> String {
    let text = format!("{} {} cores", host.processor, host.core_count).to_lowercase();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// `parent/day`, or `parent/day-2` and so on: no record is written over.
fn fresh_directory(parent: &Path, day: &str) -> Result<PathBuf> {
    let attempt = |path: &Path, e| Error::system(format!("make {}", path.display()), e);
    std::fs::create_dir_all(parent).map_err(|e| attempt(parent, e))?;
    let mut number = 1;
    loop {
        let name = if number == 1 { day.to_owned() } else { format!("{day}-{number}") };
        let path = parent.join(name);
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(attempt(&path, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_nothing_leaves_nothing_and_takes_no_name() {
        let parent = tempfile::tempdir().expect("a directory");
        let first = Record::begin(parent.path(), "day").expect("a record");
        let second = Record::begin(parent.path(), "day").expect("another");
        assert!(second.directory.ends_with("day-2") && first.directory.is_dir());
        drop((first, second));
        assert_eq!(std::fs::read_dir(parent.path()).expect("the directory").count(), 0);
    }

    #[test]
    fn rows_are_named_by_number_or_name() {
        assert_eq!(parse_row("1"), Ok(How::PipelinedSync));
        assert_eq!(parse_row("20"), Ok(How::Age));
        assert_eq!(parse_row("flood-times"), Ok(How::FloodTimes));
        for bad in ["0", "21", "", "Age"] {
            assert!(parse_row(bad).is_err_and(|reason| reason.contains("pipelined-sync")), "{bad}");
        }
    }
}
