//! What a message costs when its connection is one of very many: the same rate, and as fast as it goes, over a crowd
//! and over a few.
//!
//! All connections are greeted before a run begins, so that opening them is in no figure.

use super::outcome::{Limit, Part};
use super::own::{self, count, per_second, ratios};
use super::runs;
use super::stage::{Run, Stage};
use super::table::How;
use super::{Findings, TargetsOptions};
use crate::error::Result;
use crate::host;
use crate::load::Refinements;

/// Connections compared.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Few.
    pub few: usize,
    /// Many.
    pub many: usize,
}

impl Crowd {
    /// As the target was set.
    pub const AS_SET: Self = Self { few: 64, many: 10_000 };
}

/// Processor time per message of many by that of few, at most.
const TIMES_FEW_MAX: f64 = 1.5;
/// Messages that each of many connections sends in a window of a closed loop, on average, at least.
const MESSAGES_EACH_MIN: u64 = 2;

/// Measures both loops over both numbers of connections in each round.
///
/// # Errors
/// When the server cannot be run or driven.
pub fn measure(options: &TargetsOptions, crowd: Crowd, progress: &mut dyn FnMut(&str)) -> Result<Findings> {
    if let Some(reason) = host::descriptors_lacking(crowd.many as u64) {
        return Ok(Findings::open(&[How::CrowdCpu], &reason));
    }
    let mut stage = Stage::new(options)?;
    let mut both = |refinements: &Refinements| -> Result<(Run, Run)> {
        let few = own::run(&mut stage, crowd.few, refinements)?;
        Ok((few, own::run(&mut stage, crowd.many, refinements)?))
    };
    let (mut closed, mut open, mut rate) = (Vec::new(), Vec::new(), None);
    for round in 1..=options.rounds {
        progress(&format!("round {round} of {}: {} connections", options.rounds, count(crowd.many)));
        let (few, many) = both(&own::closed())?;
        // The rate that both bear is found once, so that all rounds are offered the same.
        let rate = *rate.get_or_insert((few.load.rate.min(many.load.rate) / 2.0).max(1.0));
        closed.push((few, many));
        open.push(both(&own::open(rate))?);
    }
    Ok(findings(crowd, &closed, &open, rate.unwrap_or_default()))
}

/// A window of a closed loop must see a few messages of each connection: else their share of a burst that began
/// before it decides what they cost. In the open loop no more than the rate is asked for.
fn too_short(crowd: Crowd, rounds: &[(Run, Run)]) -> Option<String> {
    let is_short = |run: &Run| {
        !run.load.is_open_loop() && run.load.messages.accepted < MESSAGES_EACH_MIN * crowd.many as u64
    };
    rounds.iter().any(|(_, many)| is_short(many)).then(|| {
        format!(
            "fewer than {MESSAGES_EACH_MIN} messages of each of {} connections in a run: give a longer --duration",
            count(crowd.many)
        )
    })
}

fn findings(crowd: Crowd, closed: &[(Run, Run)], open: &[(Run, Run)], rate: f64) -> Findings {
    let mut findings = Findings::default();
    let unit = format!("times that at {}", count(crowd.few));
    let at_rate = format!("open loop, {} offered to both", per_second(rate));
    for (name, rounds) in [(at_rate.as_str(), open), ("closed loop", closed)] {
        let all_count = rounds.iter().all(|(few, many)| few.counts() && many.counts());
        let part = match too_short(crowd, rounds) {
            Some(reason) if all_count => Part::open(name, reason),
            _ => Part::held(name, ratios(rounds, Run::cpu_us), Limit::AtMost(TIMES_FEW_MAX), &unit),
        };
        findings.add(How::CrowdCpu, part);
    }
    let names = |pace: &str| [crowd.few, crowd.many].map(|n| format!("{pace}, {} connections", count(n)));
    let seen = [own::seen(names("open loop"), open), own::seen(names("closed loop"), closed)].concat();
    let words = format!(
        "4 KiB, sync, connections kept and all greeted before the run. Offered in the open loop: {}, half of the \
         slower closed loop of the first round.",
        per_second(rate)
    );
    findings.pages.push(runs::page("mailrace, a crowd of connections", words, &seen));
    findings
}
