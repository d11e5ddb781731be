//! The performance targets the project has set itself, and how the code stands to them today.
//!
//! Each row of the table is kept as it was set. A row that no benchmark can measure yet says why, and so does one
//! whose measurement failed: a figure taken under other conditions than the row's would be no answer.

use serde::Serialize;

use crate::error::Result;
use crate::load::session::Pipelining;
use crate::mailrace::Durability;
use crate::quick::{self, QuickOptions};
use crate::report::{Cell, Figure, Page, Section, Table, Verdict};
use crate::smtp_source::{self, Connections, SmtpSourceOptions};
use crate::stats::Spread;

/// One target as it was set.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Target {
    /// The shape of the load.
    pub what: &'static str,
    /// What must be kept.
    pub bound: &'static str,
    /// What is aimed at; may be empty.
    pub goal: &'static str,
    /// What stands beside it in the same run.
    pub compared_with: &'static str,
    /// How it is measured.
    #[serde(skip)]
    how: How,
}

/// How a row is measured.
#[derive(Clone, Copy, Debug)]
enum How {
    /// mailrace's processor time per message by smtp-sink's, at most so much.
    BesideSmtpSink { connections: Connections, at_most: f64 },
    /// Median time to 250 of one connection in lockstep less the floor's median write and sync, at most so many µs.
    AboveFloor { at_most_us: f64 },
    /// Not yet, and why.
    NotYet(&'static str),
}

const CEILING: &str = "needs the bare sinks of a ceiling measured in the same run";
const OPEN_LOOP: &str = "needs load at a fixed offered rate (open loop)";
const PEERS: &str = "needs Postfix as a peer in the same run";

const fn target(what: &'static str, bound: &'static str, goal: &'static str, how: How) -> Target {
    Target { what, bound, goal, compared_with: "own", how }
}

const fn beside(compared_with: &'static str, target: Target) -> Target {
    Target { compared_with, ..target }
}

/// The targets, in the order they were set.
pub const TARGETS: [Target; 20] = [
    beside(
        "ceiling",
        target(
            "4 KiB, 64 and 512 connections, pipelined, sync, one core receiving, writing and syncing",
            "CPU per message at most 1.7 times the bare monoio sink's",
            "1.5 times; 100,000/s where the disk floor allows",
            How::NotYet(CEILING),
        ),
    ),
    beside(
        "ceiling",
        target(
            "4 KiB, 64 and 512 connections, pipelined, discard (through the queue)",
            "CPU per message at most 1.35 times the bare monoio sink's",
            "1.2 times",
            How::NotYet(CEILING),
        ),
    ),
    beside(
        "ceiling",
        target(
            "4 KiB lockstep, 64 and 1,000 connections, sync",
            "CPU per message at most 1.35 times the bare monoio sink's",
            "1.25 times; 40,000/s",
            How::NotYet(CEILING),
        ),
    ),
    beside(
        "smtp-sink",
        target(
            "smtp-source, 100 sessions, 4 KiB, sync, connections reused",
            "CPU per message at most 0.7 of smtp-sink's, which keeps nothing",
            "",
            How::BesideSmtpSink { connections: Connections::Reused, at_most: 0.7 },
        ),
    ),
    beside(
        "smtp-sink",
        target(
            "smtp-source, 100 sessions, 4 KiB, sync, a new connection for each message",
            "CPU per message at most 0.7 of smtp-sink's, which keeps nothing",
            "",
            How::BesideSmtpSink { connections: Connections::New, at_most: 0.7 },
        ),
    ),
    beside(
        "Postfix",
        target(
            "smtp-source, 100 sessions, 4 KiB, sync",
            "CPU per message at most 1/30 of Postfix's reused, 1/15 new",
            "",
            How::NotYet(PEERS),
        ),
    ),
    beside(
        "ceiling",
        target(
            "64 KiB and 1 MiB, sync",
            "at least 0.85 of what binds: bare sink or sequential synced bandwidth by the best method; nothing \
             written twice when bandwidth binds",
            "",
            How::NotYet(CEILING),
        ),
    ),
    beside(
        "mailin-embedded",
        target(
            "64 KiB and 1 MiB, sync",
            "CPU per MiB below mailin-embedded's, which keeps nothing",
            "",
            How::NotYet("needs mailin-embedded as a peer in the same run"),
        ),
    ),
    beside(
        "floor",
        target(
            "one connection, 4 KiB, lockstep, sync",
            "p50 time to 250 at most the floor of one 4 KiB write + sync plus 60 µs",
            "",
            How::AboveFloor { at_most_us: 60.0 },
        ),
    ),
    beside(
        "ceiling",
        target(
            "half of the highest rate, open loop",
            "p99 time to 250 at most 3 times the p99 of a bare write + sync of the mean batch size met; p99.9 shown",
            "",
            How::NotYet(OPEN_LOOP),
        ),
    ),
    target(
        "system calls per message, 64 connections pipelined, fixed offered rate, --commit-delay 0",
        "at most 2",
        "",
        How::NotYet(OPEN_LOOP),
    ),
    target(
        "system calls per message, 1,000 connections lockstep, fixed offered rate, --commit-delay 0",
        "at most 6",
        "",
        How::NotYet(OPEN_LOOP),
    ),
    target(
        "syncs per message at 64 connections, fixed offered rate, --commit-delay 0",
        "at most 1/16",
        "",
        How::NotYet(OPEN_LOOP),
    ),
    target(
        "CPU per message at 10,000 connections",
        "at most 1.5 of that at 64",
        "",
        How::NotYet("needs load whose ramp-up to 10,000 connections is kept out of the figures"),
    ),
    target(
        "idle connection",
        "slope of RSS between 5,000 and 15,000 at most 2 KiB each",
        "",
        How::NotYet("needs load that holds idle connections"),
    ),
    target(
        "idle connections, all sending at once",
        "a burst from all is answered; 100,000 where descriptors allow",
        "",
        How::NotYet("needs load that holds idle connections"),
    ),
    target(
        "2 shards against 1, at the same offered rate",
        "CPU per message at most 1.15; every shared cache line listed in the docs",
        "",
        How::NotYet(OPEN_LOOP),
    ),
    target(
        "a connection flood at a fixed rate (connect, EHLO, QUIT) while 1,000 good sessions run open loop at half of \
         their maximum",
        "the good ones keep their rate",
        "",
        How::NotYet(OPEN_LOOP),
    ),
    target("the same flood", "the good ones keep their p99 within 3 times", "", How::NotYet(OPEN_LOOP)),
    target(
        "age of the log",
        "append, start-up and get cost the same with 1 and with 2,000 segments",
        "",
        How::NotYet("needs a benchmark of logs of many segments"),
    ),
];

/// How one target came out.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The target.
    pub target: Target,
    /// Whether its bound was kept.
    pub verdict: Verdict,
    /// What was measured, with its ends over the rounds, unless it was not.
    pub measured: Option<Figure>,
    /// The figure's unit, why there is none, or why it does not count.
    pub words: String,
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct TargetsReport {
    /// One entry a target.
    pub outcomes: Vec<Outcome>,
    /// The runs the figures come from: their inputs, their tables, the floor taken with them.
    pub runs: Vec<Page>,
}

/// Measures what can be measured; `smtp_source` is an error where its programs are not here.
pub fn run(
    quick: &QuickOptions,
    smtp_source: Result<SmtpSourceOptions>,
    progress: &mut dyn FnMut(&str),
) -> TargetsReport {
    let beside = smtp_source.and_then(|options| smtp_source::run(&options, progress));
    let lockstep = QuickOptions {
        modes: vec![Durability::Sync],
        connections: vec![1],
        pipelining: Pipelining::Never,
        ..quick.clone()
    };
    let lockstep = quick::run(&lockstep, progress);
    let outcome = |target: Target| match target.how {
        How::NotYet(reason) => Outcome::open(target, reason.into()),
        How::BesideSmtpSink { connections, at_most } => match &beside {
            Ok(report) => Outcome::of(target, report.cpu_ratio(connections), at_most, "times smtp-sink's"),
            Err(error) => Outcome::open(target, error.to_string()),
        },
        How::AboveFloor { at_most_us } => match &lockstep {
            Ok(report) => Outcome::above_floor(target, report.p50_above_floor_us(), at_most_us),
            Err(error) => Outcome::open(target, error.to_string()),
        },
    };
    let outcomes = TARGETS.into_iter().map(outcome).collect();
    let pages = [beside.map(|report| report.page()), lockstep.map(|report| report.page())];
    TargetsReport { outcomes, runs: pages.into_iter().flatten().collect() }
}

impl Outcome {
    fn open(target: Target, reason: String) -> Self {
        Self { target, verdict: Verdict::NotMeasured, measured: None, words: reason }
    }

    /// What lies further below the floor than the bound lies above it was not measured under the floor's conditions.
    fn above_floor(target: Target, measured: Option<Spread>, at_most_us: f64) -> Self {
        match measured {
            Some(spread) if spread.median < -at_most_us => {
                let below = -spread.median;
                let words =
                    format!("{below:.0} µs below the floor: the disk changed between both; measure again");
                Self::open(target, words)
            }
            _ => Self::of(target, measured, at_most_us, "µs above the floor"),
        }
    }

    /// `measured` is nothing when the counts of messages did not agree: then no figure counts.
    fn of(target: Target, measured: Option<Spread>, at_most: f64, unit: &str) -> Self {
        let Some(spread) = measured else {
            let words = "messages were miscounted or none was answered: no figure counts".into();
            return Self { target, verdict: Verdict::Miss, measured: None, words };
        };
        let verdict = if spread.median <= at_most { Verdict::Pass } else { Verdict::Miss };
        Self { target, verdict, measured: Some(spread.into()), words: unit.into() }
    }
}

impl TargetsReport {
    /// Whether no bound that was measured was missed.
    pub fn is_met(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.verdict != Verdict::Miss)
    }

    /// The table.
    pub fn page(&self) -> Page {
        let mut table = Table::new(&["what", "verdict", "measured", "", "bound", "goal", "compared with"]);
        for Outcome { target, verdict, measured, words } in &self.outcomes {
            table.row(vec![
                target.what.into(),
                Cell::Verdict { verdict: *verdict },
                measured.map_or_else(|| "".into(), Cell::Figure),
                words.as_str().into(),
                target.bound.into(),
                target.goal.into(),
                target.compared_with.into(),
            ]);
        }
        let count = |verdict| self.outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
        let (passed, missed) = (count(Verdict::Pass), count(Verdict::Miss));
        let mut page = Page::here("mailrace's performance targets");
        page.sections.push(Section {
            heading: "Targets".into(),
            words: format!(
                "{passed} passed, {missed} missed, {} not measured yet. Medians over the rounds (min–max).",
                count(Verdict::NotMeasured)
            ),
            table: Some(table),
            charts: Vec::new(),
        });
        for run in &self.runs {
            page.notes.extend(run.notes.iter().map(|note| format!("{}: {note}", run.title)));
            page.sections.extend(run.sections.iter().map(|section| Section {
                heading: format!("{}: {}", run.title, section.heading),
                charts: Vec::new(),
                ..section.clone()
            }));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_kept_by_the_median_and_only_by_one() {
        let verdict = |measured| Outcome::of(TARGETS[3], measured, 0.7, "").verdict;
        assert_eq!(verdict(Some(Spread::of([0.1, 0.7, 9.0]))), Verdict::Pass);
        assert_eq!(verdict(Some(Spread::of([0.71]))), Verdict::Miss);
        assert_eq!(verdict(None), Verdict::Miss);
        let verdict = |above| Outcome::above_floor(TARGETS[8], Some(Spread::of([above])), 60.0).verdict;
        assert_eq!([-10.0, 60.0, 61.0].map(verdict), [Verdict::Pass, Verdict::Pass, Verdict::Miss]);
        assert_eq!(verdict(-700.0), Verdict::NotMeasured, "nothing is that much faster than the disk");
    }

    #[test]
    fn every_target_is_in_the_table() {
        let outcomes = TARGETS.map(|target| Outcome::open(target, "why".into())).to_vec();
        let page = TargetsReport { outcomes, runs: Vec::new() }.page();
        assert_eq!(page.check(), Ok(()));
        let rows = page.sections[0].table.as_ref().map(|table| table.rows.len());
        assert_eq!(rows, Some(TARGETS.len()));
    }
}
