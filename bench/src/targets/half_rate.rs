//! The target of an open loop at half of the highest rate: p99 against that of a bare write and sync of batches as
//! large as those mailrace made.
//!
//! The highest rate is looked for once, before the rounds. In each round mailrace is run at half of it, and the loop
//! with the mean batch of that very run follows in the same minute.

use std::time::Duration;

use super::outcome::{Limit, Part};
use super::runs::{self, Seen};
use super::stage::{self, Run, Stage, ratios};
use super::table::How;
use super::{Findings, TargetsOptions};
use crate::ceiling::shape::Shape;
use crate::error::Result;
use crate::floor::{self, Floor, RECORDS_MAX};
use crate::load::Refinements;
use crate::load::highest_rate::{self, Goal, HighestRate, Trial};
use crate::load::pace::{Arrivals, Pace};
use crate::mailrace::{Durability, Totals};
use crate::report::{Section, Table, Verdict};
use crate::stats::{Spread, thousands};

/// The load.
const SHAPE: Shape = Shape { size: 4 << 10, connections: 64, lockstep: false };
/// A rate is too high when its p99 is longer.
const P99_MAX: Duration = Duration::from_millis(20);
/// Times the p99 of the bare loop, at most.
const TIMES_BARE_MAX: f64 = 3.0;

/// A round of fewer messages has no p99.9, and hardly a p99.
const MESSAGES_MIN: u64 = 1_000;

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
    let found = highest_rate(&mut stage, options, progress)?;
    let Some(highest) = found.rate else {
        let mut findings = Findings::default();
        findings.add(How::HalfRate, without_a_rate(&found));
        return Ok(findings);
    };
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        progress(&format!("round {number} of {}: half of {highest:.0} messages/s", options.rounds));
        rounds.push(measure_round(&mut stage, options, highest / 2.0, number)?);
    }
    Ok(findings(highest, found.load_binds, &rounds))
}

/// A miss, unless the runs were too short to tell.
fn without_a_rate(found: &HighestRate) -> Part {
    let why = found.last_flaw().unwrap_or("none was tried");
    let words = format!("no rate had a p99 of at most {P99_MAX:?}: {why}");
    match found.too_high {
        Some(_) => Part::missed("p99", words),
        None => Part::open("p99", words),
    }
}

fn highest_rate(
    stage: &mut Stage<'_>,
    options: &TargetsOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<HighestRate> {
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
    Ok(found)
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
    /// Its p99, when both sides counted alike.
    fn p99_us(&self) -> Option<f64> {
        self.run.counts().then_some(self.run.load.time_to_250_us.p99)
    }
}

/// The bound, by all rounds. A pass at half of what the load could offer at most is none at half of the highest rate.
fn part(highest: f64, load_binds: bool, rounds: &[Round]) -> Part {
    let offered = thousands(&format!("{:.0}", highest / 2.0));
    let ratio = ratios(rounds.iter().map(|round| (round.p99_us(), Some(round.bare.sync_us.p99))));
    let unit = format!("times that of the bare write + sync; {offered} messages/s, Poisson, 64 connections");
    let fewest = rounds.iter().map(|round| round.run.load.time_to_250_us.count).min().unwrap_or(0);
    if fewest < MESSAGES_MIN {
        let few = format!("a round had only {fewest} messages, at {offered}/s: give it a longer --duration");
        return Part::open("p99", few);
    }
    let held = Part::held("p99", ratio, Limit::AtMost(TIMES_BARE_MAX), &unit);
    if load_binds && held.verdict == Some(Verdict::Pass) {
        let words =
            format!("{}; but the load's cores were full when it looked for the highest rate", held.words);
        return Part { verdict: Some(Verdict::NotMeasured), words, ..held };
    }
    held
}

fn findings(highest: f64, load_binds: bool, rounds: &[Round]) -> Findings {
    let mut findings = Findings::default();
    let offered = thousands(&format!("{:.0}", highest / 2.0));
    let held = || part(highest, load_binds, rounds);
    let runs = rounds.iter().map(|round| &round.run);
    findings.add(How::HalfRate, stage::held_percentile(runs, held, "p99"));
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
    use crate::floor::Method;
    use crate::load::report::{LoadReport, Times};

    #[test]
    fn the_bare_loop_writes_what_a_batch_held() {
        let totals = |messages, batches| Totals { messages, syncs: 0, batches };
        assert_eq!(batch_len(totals(0, 0)), 1);
        assert_eq!(batch_len(totals(25, 10)), 3);
        assert_eq!(batch_len(totals(1_000_000, 1)), RECORDS_MAX);
    }

    /// A round with a p99 of so many times the bare loop's.
    fn round(times: f64, change: impl FnOnce(&mut LoadReport)) -> Round {
        let mut load = runs::sample_load(2_000);
        load.time_to_250_us.count = 2_000;
        load.time_to_250_us.p99 = times;
        change(&mut load);
        let totals = Totals { messages: 2_000, syncs: 1, batches: 1 };
        let sync_us = Times { p99: 1.0, ..Times::default() };
        let method = Method::WriteThenSync;
        let bare = Floor { method, records_per_sync: 1, records_per_s: 1.0, sync_us, cpu_us_per_record: 1.0 };
        Round { run: Run { load, totals }, bare }
    }

    fn verdict(load_binds: bool, round: Round) -> Option<Verdict> {
        findings(1_000.0, load_binds, &[round]).parts[0].1.verdict
    }

    #[test]
    fn a_p99_of_those_that_were_answered_is_no_pass_when_others_were_refused() {
        assert_eq!(verdict(false, round(3.0, |_| ())), Some(Verdict::Pass));
        assert_eq!(verdict(false, round(3.1, |_| ())), Some(Verdict::Miss));
        assert_eq!(verdict(false, round(3.0, |load| load.messages_overall.refused = 1)), Some(Verdict::Miss));
        assert_eq!(
            verdict(false, round(3.0, |load| load.time_to_250_us.count = 9)),
            Some(Verdict::NotMeasured)
        );
    }

    #[test]
    fn half_of_what_the_load_can_offer_is_not_half_of_the_highest_rate() {
        assert_eq!(verdict(true, round(3.0, |_| ())), Some(Verdict::NotMeasured));
        assert_eq!(verdict(true, round(3.1, |_| ())), Some(Verdict::Miss), "more would not be better");
    }

    #[test]
    fn a_server_of_which_no_rate_holds_has_missed_unless_the_runs_were_too_short() {
        let found = |too_high| HighestRate {
            goal: Goal::new(P99_MAX, 1.0),
            rate: None,
            too_high,
            load_binds: false,
            trials: Vec::new(),
        };
        assert_eq!(without_a_rate(&found(Some(1.0))).verdict, Some(Verdict::Miss));
        assert_eq!(without_a_rate(&found(None)).verdict, Some(Verdict::NotMeasured));
    }
}
