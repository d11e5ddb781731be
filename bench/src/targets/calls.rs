//! The targets counted from outside: system calls and syncs per message at a fixed offered rate.
//!
//! The rate is a part of what a closed loop of the same shape gave just before, and the same in all rounds. Counting
//! begins when the warm-up is over; what was counted is divided by the messages of that time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::outcome::{Limit, Part};
use super::runs::{self, Seen};
use super::stage::{Run, Stage};
use super::table::How;
use super::{Findings, TargetsOptions};
use crate::ceiling::shape::Shape;
use crate::compare::counting::{self, Counts};
use crate::compare::tree::Extent;
use crate::cpu;
use crate::error::Result;
use crate::load::Refinements;
use crate::load::pace::{Arrivals, Pace};
use crate::load::report::LoadReport;
use crate::mailrace::{Durability, Mailrace};
use crate::report::{Cell as ReportCell, Section, Table};
use crate::stats::{Spread, thousands};

const PIPELINED: Shape = Shape { size: 4 << 10, connections: 64, lockstep: false };
const LOCKSTEP: Shape = Shape { size: 4 << 10, connections: 1000, lockstep: true };
/// Offered, of the rate of a closed loop: near what the server can do, with room for a noisy minute.
const OFFERED_PART: f64 = 0.75;
/// Of what was offered at least so much must have been answered in time, or it was another load.
const ANSWERED_MIN: f64 = 0.98;
/// System calls per message, at most.
const PIPELINED_MAX: f64 = 2.0;
const LOCKSTEP_MAX: f64 = 6.0;
/// Syncs per message, at most.
const SYNCS_MAX: f64 = 1.0 / 16.0;
/// A count must cover at least this part of the window.
const COUNTED_PART: u32 = 4;

/// One shape at its rate, over all rounds.
struct Cell {
    shape: Shape,
    offered: f64,
    rounds: Vec<Round>,
}

/// One round.
struct Round {
    run: Run,
    /// Per message, or why nothing was counted.
    counts: OrReason<Counts>,
}

/// Measures the shapes that `rows` need, in interleaved rounds.
///
/// # Errors
/// When the server cannot be run or driven.
pub(super) fn measure(
    options: &TargetsOptions,
    rows: &[How],
    progress: &mut dyn FnMut(&str),
) -> Result<Findings> {
    let has = |how: How| rows.contains(&how);
    let shapes = [
        (has(How::CallsPipelined) || has(How::Syncs)).then_some(PIPELINED),
        has(How::CallsLockstep).then_some(LOCKSTEP),
    ];
    let mut stage = Stage::new(options)?;
    let mut cells = Vec::new();
    for shape in shapes.into_iter().flatten() {
        progress(&format!("{shape}: the rate of a closed loop"));
        let (closed, _) = stage.with_mailrace(Durability::Sync, &ARGUMENTS, |stage, mailrace| {
            stage.drive(&shape, mailrace.address(), mailrace.pid(), &Refinements::default())
        })?;
        cells.push(Cell { shape, offered: (closed.rate * OFFERED_PART).max(1.0), rounds: Vec::new() });
    }
    for number in 1..=options.rounds {
        for cell in &mut cells {
            progress(&format!(
                "round {number} of {}: {} at {:.0} messages/s",
                options.rounds, cell.shape, cell.offered
            ));
            cell.rounds.push(measure_round(&mut stage, options, cell)?);
        }
    }
    Ok(findings(rows, &cells))
}

/// Nothing is waited for, so that a sync more or less is the load's doing.
const ARGUMENTS: [&str; 2] = ["--commit-delay", "0ms"];

fn measure_round(stage: &mut Stage<'_>, options: &TargetsOptions, cell: &Cell) -> Result<Round> {
    let ((load, counted), totals) =
        stage.with_mailrace(Durability::Sync, &ARGUMENTS, |stage, mailrace| {
            driven_and_counted(stage, options, cell, mailrace)
        })?;
    let counts = counted.and_then(|counted| {
        answered_in_time(&load, cell.offered)?;
        counting::read(&counted.file, load.rate * counted.time.as_secs_f64())
    });
    Ok(Round { run: Run { load, totals }, counts })
}

/// What perf has counted, and for how long.
struct Counted {
    file: PathBuf,
    time: Duration,
}

type OrReason<T> = std::result::Result<T, String>;

fn driven_and_counted(
    stage: &Stage<'_>,
    options: &TargetsOptions,
    cell: &Cell,
    mailrace: &Mailrace,
) -> Result<(LoadReport, OrReason<Counted>)> {
    let pace = Pace::Open { rate: cell.offered, arrivals: Arrivals::Constant };
    let refinements = Refinements { pace, ..Refinements::default() };
    let from = Instant::now() + options.warm_up();
    let window = (from, from + options.duration);
    let (file, pid) = (stage.file("perf.csv"), mailrace.pid());
    let (load, counted) = std::thread::scope(|scope| {
        let count = || cpu::with_cores(&options.load_cores.0, || count(pid, window, file));
        let counting = scope.spawn(count);
        let load = stage.drive(&cell.shape, mailrace.address(), pid, &refinements);
        (load, counting.join().expect("the counting thread panicked"))
    });
    Ok((load?, counted?))
}

/// Counts in the window, but for the time perf takes to begin.
fn count(pid: u32, (from, to): (Instant, Instant), file: PathBuf) -> OrReason<Counted> {
    std::thread::sleep(from.saturating_duration_since(Instant::now()));
    let time = counting::while_counting(Extent { group: None, root: pid }, &file, || {
        let began = Instant::now();
        std::thread::sleep(to.saturating_duration_since(began));
        began.elapsed()
    })?;
    if time < (to - from) / COUNTED_PART {
        return Err("perf began when the run was nearly over: give it a longer --duration".into());
    }
    Ok(Counted { file, time })
}

fn answered_in_time(load: &LoadReport, offered: f64) -> OrReason<()> {
    if load.rate >= offered * ANSWERED_MIN {
        return Ok(());
    }
    Err(format!("of {offered:.0} messages/s offered only {:.0} were answered in time", load.rate))
}

fn findings(rows: &[How], cells: &[Cell]) -> Findings {
    let mut findings = Findings::default();
    let demands = [
        (How::CallsPipelined, PIPELINED, PIPELINED_MAX),
        (How::CallsLockstep, LOCKSTEP, LOCKSTEP_MAX),
        (How::Syncs, PIPELINED, SYNCS_MAX),
    ];
    for (how, shape, at_most) in demands.into_iter().filter(|(how, ..)| rows.contains(how)) {
        let Some(cell) = cells.iter().find(|cell| cell.shape == shape) else { continue };
        let figure = if how == How::Syncs { Counts::syncs } else { |counts: &Counts| counts.syscalls };
        findings.add(how, cell.part(at_most, figure));
    }
    let seen = cells.iter().map(|cell| {
        let name = format!("{}, mailrace sync, {}/s", cell.shape, cell.offered_in_words());
        Seen::new(name, cell.rounds.iter().map(|round| round.run.load.clone()))
    });
    let words = format!(
        "Open loop at {OFFERED_PART} of the rate of a closed loop, constant arrivals, --commit-delay 0ms; times from \
         the scheduled time."
    );
    let mut page = runs::page("Counted from outside", words, &seen.collect::<Vec<_>>());
    page.sections.push(Section {
        heading: "per message".into(),
        words: "By perf, of all threads of the process, io_uring's own workers included.".into(),
        table: Some(table(cells)),
        charts: Vec::new(),
    });
    findings.pages.push(page);
    findings
}

impl Cell {
    fn part(&self, at_most: f64, figure: fn(&Counts) -> Option<f64>) -> Part {
        if !self.rounds.iter().all(|round| round.run.counts()) {
            return Part::held("", None, Limit::AtMost(at_most), "");
        }
        let mut values = Vec::new();
        for round in &self.rounds {
            match round.counts.as_ref().map(figure) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => return Part::open("", "perf cannot count it here".into()),
                Err(reason) => return Part::open("", reason.clone()),
            }
        }
        let unit = format!("a message, at {} messages/s", self.offered_in_words());
        Part::held("", Some(Spread::of(values)), Limit::AtMost(at_most), &unit)
    }

    fn offered_in_words(&self) -> String {
        thousands(&format!("{:.0}", self.offered))
    }

    fn spread(&self, figure: fn(&Counts) -> Option<f64>) -> ReportCell {
        let counts: Vec<Counts> = self.rounds.iter().filter_map(|round| round.counts.clone().ok()).collect();
        counting::spread(&counts, figure).map_or_else(|| "NOT MEASURED".into(), ReportCell::from)
    }
}

fn table(cells: &[Cell]) -> Table {
    let mut table = Table::new(&[
        "run",
        "system calls",
        "fsync and fdatasync calls",
        "files synced in an ext4",
        "io_uring operations",
        "syncs by its own count",
    ]);
    for cell in cells {
        let own = cell.rounds.iter().map(|Round { run: Run { totals, .. }, .. }| totals);
        let own = Spread::of(own.map(|totals| totals.syncs as f64 / totals.messages.max(1) as f64));
        table.row(vec![
            cell.shape.to_string().into(),
            cell.spread(|counts| counts.syscalls),
            cell.spread(|counts| counts.sync_syscalls),
            cell.spread(|counts| counts.ext4_syncs),
            cell.spread(|counts| counts.uring_operations),
            own.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    fn cell(counts: &[OrReason<Option<f64>>]) -> Cell {
        let load = runs::sample_load(100);
        let totals = crate::mailrace::Totals { messages: 100, syncs: 10, batches: 10 };
        let round = |counts: &OrReason<Option<f64>>| Round {
            run: Run { load: load.clone(), totals },
            counts: counts.clone().map(|syscalls| Counts {
                syscalls,
                sync_syscalls: None,
                ext4_syncs: None,
                uring_operations: None,
            }),
        };
        Cell { shape: PIPELINED, offered: 1000.0, rounds: counts.iter().map(round).collect() }
    }

    #[test]
    fn a_round_that_was_not_counted_leaves_the_row_open() {
        let verdict =
            |counts: &[OrReason<Option<f64>>]| cell(counts).part(2.0, |counts| counts.syscalls).verdict;
        assert_eq!(verdict(&[Ok(Some(1.0)), Ok(Some(2.0))]), Some(Verdict::Pass));
        assert_eq!(verdict(&[Ok(Some(2.5)), Ok(Some(2.5))]), Some(Verdict::Miss));
        assert_eq!(verdict(&[Ok(Some(1.0)), Ok(None)]), Some(Verdict::NotMeasured));
        assert_eq!(verdict(&[Ok(Some(1.0)), Err("no perf".into())]), Some(Verdict::NotMeasured));
    }
}
