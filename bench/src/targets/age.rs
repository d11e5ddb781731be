//! Whether a log of many segments costs more than one of few: to start on, to append to, to read a message from.
//!
//! The old log is built once, of small segments, and then used by each round; the young one is built once too, and
//! each start gets a copy of it, since every start begins a segment. Times are of whole programs, as their user has
//! them. How many segments each log had is part of the result.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::outcome::{Limit, Part};
use super::own::{self, count, shape};
use super::runs::{self, Seen};
use super::stage::{Run, Stage};
use super::table::How;
use super::{Findings, TargetsOptions};
use crate::cpu;
use crate::error::{Error, Result};
use crate::ledger;
use crate::load::session::Pipelining;
use crate::load::{self, Amount, LoadOptions, Refinements};
use crate::mailrace::{Durability, Mailrace, MailraceOptions};
use crate::report::{Cell, Section, Table};
use crate::stats::Spread;

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// Segments of the old log, at least.
    pub segments: usize,
    /// Starts of each log in a round.
    pub starts: usize,
    /// Connections that append.
    pub connections: usize,
}

impl Age {
    /// As the target was set.
    pub const AS_SET: Self = Self { segments: 2_000, starts: 5, connections: 64 };
}

/// Costs are the same when those of the old log are at most so many times those of the young one.
const TIMES_YOUNG_MAX: f64 = 1.1;
/// The smallest segment that mailrace makes, and a message of which only one fits into it.
const SEGMENT_SIZE: &str = "64KiB";
const MESSAGE_SIZE: usize = 40 << 10;
/// Messages of the young log: a first, a middle and a last.
const YOUNG_MESSAGES: usize = 3;
/// How often each message is read in a round.
const GETS: usize = 5;

/// A log and three receipts of it.
struct Log {
    directory: PathBuf,
    /// Of the first message, the one in the middle, and the last.
    receipts: [String; 3],
}

/// What one round found of one log, in milliseconds but for the run.
struct Found {
    segments: usize,
    start_ms: f64,
    get_ms: [f64; 3],
    append: Run,
}

/// Measures start-up, reading and appending of both logs in each round.
///
/// # Errors
/// When a log cannot be built or the server not be run or driven.
pub fn measure(options: &TargetsOptions, age: Age, progress: &mut dyn FnMut(&str)) -> Result<Findings> {
    let mut stage = Stage::new(options)?;
    progress(&format!("a log of {} segments", count(age.segments)));
    let old = build(&mut stage, age.segments, &["--segment-size", SEGMENT_SIZE])?;
    let built = segment_count(&old.directory)?;
    if built < age.segments {
        let reason = format!(
            "the old log has only {} segments: {SEGMENT_SIZE} no longer holds one message",
            count(built)
        );
        return Ok(Findings::open(&[How::Age], &reason));
    }
    let young = build(&mut stage, YOUNG_MESSAGES, &[])?;
    let mut rounds = Vec::new();
    for round in 1..=options.rounds {
        progress(&format!("round {round} of {}: start, get, append", options.rounds));
        rounds.push(round_of(&mut stage, age, &young, &old)?);
    }
    Ok(findings(age, &rounds))
}

/// A log of so many messages, sent one after the other.
fn build(stage: &mut Stage<'_>, message_count: usize, arguments: &[&str]) -> Result<Log> {
    let directory = stage.workspace().fresh();
    let ledger_path = stage.workspace().fresh();
    let server = serve_options(stage, &directory, arguments);
    let mailrace = Mailrace::start(&server)?;
    let mut load = LoadOptions {
        pipelining: Pipelining::Announced,
        amount: Amount::Count(message_count as u64),
        ..stage.load(&shape(1), mailrace.address(), mailrace.pid(), stage.options().duration)
    };
    load.mail.size = MESSAGE_SIZE;
    let refinements = Refinements { ledger: Some(ledger_path.clone()), ..Refinements::default() };
    if let Err(error) = load::run_refined(&load, &refinements) {
        return Err(mailrace.blamed(&server, error));
    }
    mailrace.stop(&server)?;
    stage.workspace().write_out()?;
    let lines = ledger::read(&ledger_path)?.lines;
    let receipt = |index: usize| lines.get(index).and_then(|line| line.reply.split(' ').next_back());
    let places = [0, lines.len() / 2, lines.len().saturating_sub(1)];
    let receipts = places.map(|index| receipt(index).unwrap_or_default().to_owned());
    Ok(Log { directory, receipts })
}

fn serve_options(stage: &Stage<'_>, directory: &Path, arguments: &[&str]) -> MailraceOptions {
    let options = stage.options();
    let further = arguments.iter().map(ToString::to_string);
    MailraceOptions {
        binary: options.mailrace.clone(),
        cores: stage.core().clone(),
        durability: Durability::Sync,
        data_dir: directory.to_owned(),
        arguments: options.arguments.iter().cloned().chain(further).collect(),
    }
}

/// Starts take turns, then reads, then one run each.
fn round_of(stage: &mut Stage<'_>, age: Age, young: &Log, old: &Log) -> Result<(Found, Found)> {
    let mut starts = (Vec::new(), Vec::new());
    for _ in 0..age.starts {
        let copy = copy_of(stage, young)?;
        starts.0.push(start_ms(stage, &copy)?);
        starts.1.push(start_ms(stage, &old.directory)?);
    }
    let gets = get_both_ms(stage, young, old)?;
    let copy = copy_of(stage, young)?;
    let segments = (segment_count(&copy)?, segment_count(&old.directory)?);
    let appends = (append(stage, age, &copy)?, append(stage, age, &old.directory)?);
    let median = |times: Vec<f64>| Spread::of(times).median;
    Ok((
        Found { segments: segments.0, start_ms: median(starts.0), get_ms: gets.0, append: appends.0 },
        Found { segments: segments.1, start_ms: median(starts.1), get_ms: gets.1, append: appends.1 },
    ))
}

/// From the start of the program to its ready event.
fn start_ms(stage: &Stage<'_>, directory: &Path) -> Result<f64> {
    let server = serve_options(stage, directory, &[]);
    let from = Instant::now();
    let mailrace = Mailrace::start(&server)?;
    let elapsed = from.elapsed();
    mailrace.stop(&server)?;
    Ok(elapsed.as_secs_f64() * 1e3)
}

fn append(stage: &mut Stage<'_>, age: Age, directory: &Path) -> Result<Run> {
    let server = serve_options(stage, directory, &[]);
    let mailrace = Mailrace::start(&server)?;
    let duration = stage.options().duration;
    let load = stage.load(&shape(age.connections), mailrace.address(), mailrace.pid(), duration);
    let load = match load::run(&load) {
        Ok(load) => load,
        Err(error) => return Err(mailrace.blamed(&server, error)),
    };
    let totals = mailrace.stop(&server)?;
    stage.workspace().write_out()?;
    Ok(Run { load, totals })
}

/// Medians of reading the three messages of both logs in turn.
fn get_both_ms(stage: &Stage<'_>, young: &Log, old: &Log) -> Result<([f64; 3], [f64; 3])> {
    let mut times = [[Vec::new(), Vec::new(), Vec::new()], [Vec::new(), Vec::new(), Vec::new()]];
    for _ in 0..GETS {
        for place in 0..3 {
            for (log, times) in [young, old].into_iter().zip(&mut times) {
                times[place].push(get_ms(stage, log, &log.receipts[place])?);
            }
        }
    }
    let [young, old] = times.map(|places| places.map(|times| Spread::of(times).median));
    Ok((young, old))
}

/// The whole of `mailrace log get`, from its start to its end.
fn get_ms(stage: &Stage<'_>, log: &Log, receipt: &str) -> Result<f64> {
    let options = stage.options();
    let failed = |reason: String, said: &[u8]| Error::Server {
        program: options.mailrace.clone(),
        reason,
        said: String::from_utf8_lossy(said).into_owned(),
    };
    let mut command = Command::new(&options.mailrace);
    command.args(["log", "get", receipt, "--data-dir"]).arg(&log.directory).stdin(Stdio::null());
    let from = Instant::now();
    let output = cpu::with_cores(&stage.core().0, || command.output())?;
    let elapsed = from.elapsed();
    let output = output.map_err(|e| Error::system(format!("run {}", options.mailrace.display()), e))?;
    if !output.status.success() || output.stdout.len() != MESSAGE_SIZE {
        let reason = format!("log get {receipt} gave {} octets of {MESSAGE_SIZE}", output.stdout.len());
        return Err(failed(reason, &output.stderr));
    }
    Ok(elapsed.as_secs_f64() * 1e3)
}

fn segment_count(directory: &Path) -> Result<usize> {
    let attempt = |e| Error::system(format!("read {}", directory.display()), e);
    let mut count = 0;
    for entry in std::fs::read_dir(directory).map_err(attempt)? {
        let path = entry.map_err(attempt)?.path();
        count += usize::from(path.extension().is_some_and(|extension| extension == "segment"));
    }
    Ok(count)
}

/// The log's files in a directory of their own.
fn copy_of(stage: &mut Stage<'_>, log: &Log) -> Result<PathBuf> {
    let directory = stage.workspace().fresh_made()?;
    let attempt = |e| Error::system(format!("copy {}", log.directory.display()), e);
    for entry in std::fs::read_dir(&log.directory).map_err(attempt)? {
        let entry = entry.map_err(attempt)?;
        std::fs::copy(entry.path(), directory.join(entry.file_name())).map_err(attempt)?;
    }
    Ok(directory)
}

/// A cost of a log, by name.
type Cost = (&'static str, fn(&Found) -> Option<f64>);

const COSTS: [Cost; 5] = [
    ("append, server CPU a message", |found| found.append.cpu_us()),
    ("start-up to the ready event", |found| Some(found.start_ms)),
    ("get, first message", |found| Some(found.get_ms[0])),
    ("get, middle message", |found| Some(found.get_ms[1])),
    ("get, last message", |found| Some(found.get_ms[2])),
];

fn findings(age: Age, rounds: &[(Found, Found)]) -> Findings {
    let mut findings = Findings::default();
    let segments = |log: fn(&(Found, Found)) -> usize| {
        let counts = rounds.iter().map(log);
        let (least, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
        match (least, most) {
            (1, 1) => "1 segment".into(),
            _ if least == most => format!("{} segments", count(least)),
            _ => format!("{} to {} segments", count(least), count(most)),
        }
    };
    let (young, old) = (segments(|round| round.0.segments), segments(|round| round.1.segments));
    let unit = format!("times: {old} against {young}; at most {TIMES_YOUNG_MAX} is the same");
    for (name, cost) in COSTS {
        let part = Part::held(name, own::ratios(rounds, cost), Limit::AtMost(TIMES_YOUNG_MAX), &unit);
        findings.add(How::Age, part);
    }
    let words = format!(
        "4 KiB, sync, {} kept connections, closed loop, appended to a copy of the young log ({young} when it began) and \
         to the old one ({old}).",
        age.connections
    );
    let seen = [
        Seen::new("append to the young log", rounds.iter().map(|round| round.0.append.load.clone())),
        Seen::new("append to the old log", rounds.iter().map(|round| round.1.append.load.clone())),
    ];
    let mut page = runs::page("mailrace, age of the log", words, &seen);
    page.sections.push(costs_section(rounds));
    findings.pages.push(page);
    findings
}

fn costs_section(rounds: &[(Found, Found)]) -> Section {
    let mut table = Table::new(&["cost", "the young log", "the old log"]);
    for (name, cost) in COSTS {
        let spread = |log: fn(&(Found, Found)) -> &Found| -> Cell {
            Spread::of(rounds.iter().map(|round| cost(log(round)).unwrap_or_default())).into()
        };
        let unit = if name.starts_with("append") { "µs" } else { "ms" };
        table.row(vec![
            format!("{name} ({unit})").into(),
            spread(|round| &round.0),
            spread(|round| &round.1),
        ]);
    }
    let words = "Start-up and get are wall times of the whole program, medians within a round.".into();
    Section { heading: "The costs".into(), words, table: Some(table), charts: Vec::new() }
}
