//! The target of an open loop at half of the highest rate: p99 against that of a bare write and sync of batches as
//! large as those mailrace made.
//!
//! The highest rate is looked for once, before the rounds. In each round mailrace is run at half of it, and the loop
//! with the mean batch of that very run follows in the same minute.

use std::time::Duration;

use super::outcome::{Limit, Part};
use super::runs::{self, Seen};
use super::stage::{Run, Stage, ratios};
use super::table::How;
use super::{Findings, TargetsOptions};
use crate::ceiling::shape::Shape;
use crate::error::Result;
use crate::floor::{self, Floor, RECORDS_MAX};
use crate::load::Refinements;
use crate::load::highest_rate::{self, Goal, Trial};
use crate::load::pace::{Arrivals, Pace};
use crate::mailrace::{Durability, Totals};
use crate::report::{Section, Table};
use crate::stats::{Spread, thousands};

/// The load.
const SHAPE: Shape = Shape { size: 4 << 10, connections: 64, lockstep: false };
/// A rate is too high when its p99 is longer.
const P99_MAX: Duration = Duration::from_millis(20);
/// Times the p99 of the bare loop, at most.
const TIMES_BARE_MAX: f64 = 3.0;

/// One round at half of the highest rate.
struct Round {
    run: Run,
    bare: Floor,
}

/// Looks for the highest rate and measures at half of it.
///
/// # Errors
/// When the server cannot be run or driven, or the disk not be written.
pub(super) fn measure(options: &TargetsOptions, progress: &mut dyn FnMut(&str)) -> Result<Findings> {
    let mut stage = Stage::new(options)?;
    let Some(highest) = highest_rate(&mut stage, options, progress)? else {
        let reason = format!("no rate had a p99 of at most {P99_MAX:?}");
        return Ok(Findings::open(&[How::HalfRate], &reason));
    };
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        progress(&format!("round {number} of {}: half of {highest:.0} messages/s", options.rounds));
        rounds.push(measure_round(&mut stage, options, highest / 2.0, number)?);
    }
    Ok(findings(highest, &rounds))
}

fn highest_rate(
    stage: &mut Stage<'_>,
    options: &TargetsOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<Option<f64>> {
    progress("the rate of a closed loop");
    let closed = stage.run_mailrace(Durability::Sync, &SHAPE)?;
    let goal = Goal::new(P99_MAX, (closed.load.rate / 2.0).max(1.0));
    let tell = &mut |trial: &Trial| {
        let verdict = trial.failed.as_deref().unwrap_or("held");
        progress(&format!("the highest rate: {:.0}/s, {verdict}", trial.offered_rate));
    };
    let (found, _) = stage.with_mailrace(Durability::Sync, &[], |stage, mailrace| {
        let load = stage.load(&SHAPE, mailrace.address(), mailrace.pid(), options.duration / 2);
        highest_rate::find(&load, &Refinements::default(), Arrivals::Poisson, goal, tell)
    })?;
    Ok(found.rate)
}

fn measure_round(stage: &mut Stage<'_>, options: &TargetsOptions, rate: f64, number: usize) -> Result<Round> {
    let pace = Pace::Open { rate, arrivals: Arrivals::Poisson };
    let refinements = Refinements { pace, seed: number as u64, ..Refinements::default() };
    let (load, totals) = stage.with_mailrace(Durability::Sync, &[], |stage, mailrace| {
        stage.drive(&SHAPE, mailrace.address(), mailrace.pid(), &refinements)
    })?;
    let records = batch_len(totals);
    let bare = stage.in_directory(|stage, directory| {
        floor::measure(directory, &stage.core().0, &[records], options.duration / 2)
    })?;
    Ok(Round { run: Run { load, totals }, bare: bare[0] })
}

/// The mean batch, in whole messages.
fn batch_len(totals: Totals) -> usize {
    let mean = totals.messages as f64 / totals.batches.max(1) as f64;
    (mean.round() as usize).clamp(1, RECORDS_MAX)
}

impl Round {
    /// Its p99, when it was a run at that rate at all.
    fn p99_us(&self) -> Option<f64> {
        let is_whole = self.run.counts() && self.run.load.unsent == 0 && self.run.load.messages.lost == 0;
        is_whole.then_some(self.run.load.time_to_250_us.p99)
    }
}

fn findings(highest: f64, rounds: &[Round]) -> Findings {
    let mut findings = Findings::default();
    let offered = thousands(&format!("{:.0}", highest / 2.0));
    let ratio = ratios(rounds.iter().map(|round| (round.p99_us(), Some(round.bare.sync_us.p99))));
    let unit = format!("times that of the bare write + sync; {offered} messages/s, Poisson, 64 connections");
    findings.add(How::HalfRate, Part::held("p99", ratio, Limit::AtMost(TIMES_BARE_MAX), &unit));
    let spread = |figure: &dyn Fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
    let times =
        |figure: &dyn Fn(&Round) -> f64, name: &str, unit: &str| Part::shown(name, spread(figure), unit);
    for part in [
        times(&|round| round.run.load.time_to_250_us.p99, "p99 itself", "µs"),
        times(&|round| round.run.load.time_to_250_us.p999, "p99.9", "µs"),
        times(&|round| round.bare.sync_us.p99, "p99 of the bare write + sync", "µs"),
        times(&|round| round.bare.records_per_sync as f64, "mean batch met", "messages"),
    ] {
        findings.add(How::HalfRate, part);
    }
    let name = format!("{SHAPE}, mailrace sync, {offered}/s");
    let seen = Seen::new(name, rounds.iter().map(|round| round.run.load.clone()));
    let words = format!(
        "Open loop, Poisson arrivals, times from the scheduled time. The highest rate with a p99 of at most {} ms was \
         {} messages/s.",
        P99_MAX.as_millis(),
        thousands(&format!("{highest:.0}")),
    );
    let mut page = runs::page("At half of the highest rate", words, &[seen]);
    page.sections.push(Section {
        heading: "bare write + sync, by round".into(),
        words:
            "pwritev and fdatasync of as many records of 4 KiB as mailrace had in a batch, right after it."
                .into(),
        table: Some(bare_table(rounds)),
        charts: Vec::new(),
    });
    findings.pages.push(page);
    findings
}

fn bare_table(rounds: &[Round]) -> Table {
    let mut table =
        Table::new(&["round", "records/sync", "p50 (µs)", "p99 (µs)", "p99.9 (µs)", "mailrace's p99 (µs)"]);
    for (index, Round { run, bare }) in rounds.iter().enumerate() {
        let figure = |value: f64| Spread::of([value]).into();
        table.row(vec![
            (index + 1).to_string().into(),
            thousands(&bare.records_per_sync.to_string()).into(),
            figure(bare.sync_us.p50),
            figure(bare.sync_us.p99),
            figure(bare.sync_us.p999),
            figure(run.load.time_to_250_us.p99),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bare_loop_writes_what_a_batch_held() {
        let totals = |messages, batches| Totals { messages, syncs: 0, batches };
        assert_eq!(batch_len(totals(0, 0)), 1);
        assert_eq!(batch_len(totals(25, 10)), 3);
        assert_eq!(batch_len(totals(1_000_000, 1)), RECORDS_MAX);
    }
}
