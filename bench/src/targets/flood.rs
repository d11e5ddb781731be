//! Whether good senders notice a flood of connections that bring no mail.
//!
//! The good ones run in an open loop at half of what they do in a closed one. Each round measures them alone and
//! beside visitors who connect, say EHLO and QUIT at a fixed rate, each time against a fresh server.

use std::time::Duration;

use super::outcome::{Limit, Part};
use super::own::{self, count, per_second, ratios, shape};
use super::runs;
use super::stage::{self, Run, Stage};
use super::table::How;
use super::{Findings, TargetsOptions};
use crate::error::Result;
use crate::host;
use crate::load::pace::{Arrivals, Pace};
use crate::load::report::LoadReport;
use crate::load::session::Errand;
use crate::load::{self, Amount, LoadOptions, Refinements};
use crate::mailrace::{Durability, Mailrace};
use crate::stats::Spread;

/// The flood, and those beside it.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Good sessions.
    pub sessions: usize,
    /// Visits a second.
    pub rate: f64,
    /// Visits that may be under way at once.
    pub visitors: usize,
}

impl Flood {
    /// As the targets are measured.
    pub const AS_SET: Self = Self { sessions: 1_000, rate: 2_000.0, visitors: 500 };
}

/// The good ones' rate beside the flood by that without it, at least: 2 % are left to the measurement.
const RATE_KEPT_MIN: f64 = 0.98;
/// Their p99 beside it by that without it, at most.
const TIMES_MAX: f64 = 3.0;
/// A flood that reaches less of its rate is none.
const FLOOD_SHARE_MIN: f64 = 0.95;

/// Measures the good ones alone and beside the flood in each round.
///
/// # Errors
/// When the server cannot be run or driven.
pub fn measure(options: &TargetsOptions, flood: Flood, progress: &mut dyn FnMut(&str)) -> Result<Findings> {
    let rows = [How::FloodRate, How::FloodTimes];
    let all = (flood.sessions + flood.visitors) as u64;
    if let Some(reason) = host::descriptors_lacking(all) {
        return Ok(Findings::open(&rows, &reason));
    }
    // Both loads are of this process.
    host::raise_descriptor_limit(all)?;
    let mut stage = Stage::new(options)?;
    progress(&format!("the highest rate of {} sessions", count(flood.sessions)));
    let closed = own::run(&mut stage, flood.sessions, &own::closed())?;
    let rate = (closed.load.rate / 2.0).max(1.0);
    let good = own::open(rate);
    let (mut rounds, mut floods) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        progress(&format!("round {round} of {}: without and with the flood", options.rounds));
        let alone = own::run(&mut stage, flood.sessions, &good)?;
        let ((load, visits), totals) = stage.with_mailrace(Durability::Sync, &[], |stage, mailrace| {
            beside_flood(stage, mailrace, flood, &good)
        })?;
        rounds.push((alone, Run { load, totals }));
        floods.push(visits);
    }
    Ok(findings(flood, rate, &rounds, &floods))
}

/// The good ones' run and the flood's, which lasts from before their warm-up to after their window.
fn beside_flood(
    stage: &Stage<'_>,
    mailrace: &Mailrace,
    flood: Flood,
    good: &Refinements,
) -> Result<(LoadReport, LoadReport)> {
    /// The good ones begin so long after they have gathered, at most.
    const HEAD_START: Duration = Duration::from_millis(500);
    let options = stage.options();
    let good_options =
        stage.load(&shape(flood.sessions), mailrace.address(), mailrace.pid(), options.duration);
    let amount = Amount::For { warm_up: options.warm_up(), duration: options.duration + HEAD_START };
    let flood_options = LoadOptions { amount, connection_count: flood.visitors, ..good_options.clone() };
    let pace = Pace::Open { rate: flood.rate, arrivals: Arrivals::Constant };
    let visits = Refinements { pace, errand: Errand::Visit, ..Refinements::default() };
    std::thread::scope(|scope| {
        let mut flooding = None;
        let mut begin = || flooding = Some(scope.spawn(|| load::run_refined(&flood_options, &visits)));
        let load = load::run_gathered(&good_options, good, &mut begin)?;
        let flooding = flooding.expect("a run that has ended has gathered");
        Ok((load, flooding.join().expect("the flood panicked")?))
    })
}

fn findings(flood: Flood, rate: f64, rounds: &[(Run, Run)], floods: &[LoadReport]) -> Findings {
    let mut findings = Findings::default();
    let visits = Spread::of(floods.iter().map(|report| report.rate));
    let reached = format!("{} of {} visits", per_second(visits.median), per_second(flood.rate));
    let is_flood = visits.median >= flood.rate * FLOOD_SHARE_MIN;
    let part = |measured, limit, unit: &str| {
        let unit = format!("{unit} without the flood; {reached}, {} offered by the good", per_second(rate));
        if is_flood {
            Part::held("", measured, limit, &unit)
        } else {
            Part::open("", format!("the flood reached only {reached}: this machine cannot make it"))
        }
    };
    let kept = ratios(rounds, rate_kept);
    findings.add(How::FloodRate, part(kept, Limit::AtLeast(RATE_KEPT_MIN), "of their rate"));
    let p99 = |run: &Run| Some(run.load.time_to_250_us.p99).filter(|_| run.counts() && run.load.rate > 0.0);
    let times = || part(ratios(rounds, p99), Limit::AtMost(TIMES_MAX), "times their p99");
    let runs = rounds.iter().flat_map(|(alone, flooded)| [alone, flooded]);
    findings.add(How::FloodTimes, stage::held_percentile(runs, times, ""));
    let words = format!(
        "{} kept sessions, 4 KiB, sync, open loop at {}, half of what they did in a closed loop. The flood connects, \
         says EHLO and QUIT {} times a second, at most {} at once; it reached {}. Both loads run on the same cores, so \
         the flood delays the good ones' load too.",
        count(flood.sessions),
        per_second(rate),
        per_second(flood.rate).trim_end_matches("/s"),
        flood.visitors,
        visits.words(0),
    );
    let seen = own::seen(["without the flood".into(), "with the flood".into()], rounds);
    findings.pages.push(runs::page("mailrace, a flood of connections", words, &seen));
    findings
}

/// 250s a second in the window, less what was offered and not accepted; nothing when messages were miscounted.
fn rate_kept(run: &Run) -> Option<f64> {
    let load = &run.load;
    let offered = load.messages.total() + load.unsent;
    let is_whole = run.counts() && offered > 0 && load.rate > 0.0;
    is_whole.then(|| load.rate * load.messages.accepted as f64 / offered as f64)
}

#[cfg(test)]
mod tests {
    use super::runs::sample_load;
    use super::*;
    use crate::mailrace::Totals;
    use crate::report::Verdict;

    #[test]
    fn good_times_of_those_who_were_answered_are_no_pass_when_others_were_not() {
        let run = |unsent| {
            let mut load = sample_load(100);
            (load.time_to_250_us.p99, load.unsent) = (500.0, unsent);
            Run { load, totals: Totals { messages: 100, syncs: 1, batches: 1 } }
        };
        let flood = Flood { sessions: 1, rate: 100.0, visitors: 1 };
        let verdict = |unsent| {
            let found = findings(flood, 100.0, &[(run(0), run(unsent))], &[sample_load(100)]);
            let part = &found.parts.iter().find(|(how, _)| *how == How::FloodTimes).expect("its row").1;
            (part.verdict, part.words.contains("1 never sent"))
        };
        assert_eq!(verdict(0), (Some(Verdict::Pass), false));
        assert_eq!(verdict(1), (Some(Verdict::Miss), true));
    }
}
