//! The highest rate of an open loop at which a server keeps its p99 under a bound.
//!
//! Rates double until one is too high, then the gap is halved until it is below 3 %. A rate that fails is tried once
//! more, for a noisy minute is no limit of the server.

use std::time::Duration;

use serde::Serialize;

use super::pace::{Arrivals, Pace};
use super::report::LoadReport;
use super::{LoadOptions, Refinements, run_refined};
use crate::error::Result;

/// Runs of which a search may consist.
const TRIALS_MAX: usize = 40;
/// A search ends when the lowest rate known to fail is at most so many times the highest known to hold.
const GAP_MAX: f64 = 1.03;
/// The share of the messages due in the window that must get their 250 within it.
const RATE_SHARE_MIN: f64 = 0.98;

/// What is looked for.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Goal {
    /// The p99 of the time from a message's scheduled time to its 250 may be no longer, in microseconds.
    pub p99_us_max: f64,
    /// Messages a second to begin with.
    pub first_rate: f64,
}

impl Goal {
    /// A p99 of at most `p99`, looked for from `first_rate` messages a second on.
    pub fn new(p99: Duration, first_rate: f64) -> Self {
        Self { p99_us_max: p99.as_secs_f64() * 1e6, first_rate }
    }
}

/// One run of a search.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// Messages a second that came due.
    pub offered_rate: f64,
    /// Why the rate is too high; `null` when it held.
    pub failed: Option<String>,
    /// The run.
    pub report: LoadReport,
}

/// What a search found.
#[derive(Clone, Debug, Serialize)]
pub struct HighestRate {
    /// What was looked for.
    pub goal: Goal,
    /// The highest rate that held; `null` when not even the first did, nor any below it down to one a second.
    pub rate: Option<f64>,
    /// The lowest rate that failed twice; `null` when none was reached.
    pub too_high: Option<f64>,
    /// Every run, in order.
    pub trials: Vec<Trial>,
}

/// Looks for the highest rate; `tell` hears of each run.
///
/// # Errors
/// As a run.
pub fn find(
    options: &LoadOptions,
    refinements: &Refinements,
    arrivals: Arrivals,
    goal: Goal,
    tell: &mut dyn FnMut(&Trial),
) -> Result<HighestRate> {
    let mut trials = Vec::new();
    let mut attempt = |rate: f64| -> Result<bool> {
        for _ in 0..2 {
            let pace = Pace::Open { rate, arrivals };
            let report = run_refined(options, &Refinements { pace, ..refinements.clone() })?;
            let trial = Trial { offered_rate: rate, failed: flaw(&report, goal), report };
            tell(&trial);
            let has_held = trial.failed.is_none();
            trials.push(trial);
            if has_held {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let (rate, too_high) = search(goal.first_rate, &mut attempt)?;
    Ok(HighestRate { goal, rate, too_high, trials })
}

/// The highest rate for which `holds` was seen true and the lowest for which it was false.
fn search(first: f64, holds: &mut dyn FnMut(f64) -> Result<bool>) -> Result<(Option<f64>, Option<f64>)> {
    let (mut low, mut high): (Option<f64>, Option<f64>) = (None, None);
    let mut rate = first;
    for _ in 0..TRIALS_MAX / 2 {
        if holds(rate)? {
            low = Some(rate)
        } else {
            high = Some(rate)
        }
        rate = match (low, high) {
            (Some(low), Some(high)) if high / low <= GAP_MAX => break,
            (Some(low), Some(high)) => (low * high).sqrt(),
            (Some(low), None) => low * 2.0,
            (None, Some(high)) if high > 1.0 => high / 4.0,
            (None, _) => break,
        };
    }
    Ok((low, high))
}

fn flaw(report: &LoadReport, goal: Goal) -> Option<String> {
    let p99 = report.time_to_250_us.p99;
    let undone = report.unsent + report.messages.lost + report.messages.refused;
    if undone > 0 {
        Some(format!("{undone} messages unsent, lost or refused"))
    } else if p99 > goal.p99_us_max {
        Some(format!("p99 {p99:.0} us"))
    } else if report.rate * report.window_s < report.messages.accepted as f64 * RATE_SHARE_MIN {
        Some(format!("only {:.0} messages/s", report.rate))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_closes_in_on_the_limit_from_either_side() {
        for first in [10.0, 1_000.0, 1_000_000.0] {
            let mut asked = 0;
            let (low, high) = search(first, &mut |rate| {
                asked += 1;
                Ok(rate <= 12_345.0)
            })
            .expect("a search");
            let (low, high) = (low.expect("a rate that holds"), high.expect("one that does not"));
            assert!(low <= 12_345.0 && high > 12_345.0 && high / low <= GAP_MAX, "{low} {high}");
            assert!(asked <= TRIALS_MAX / 2, "{asked}");
        }
        assert_eq!(search(8.0, &mut |_| Ok(false)).expect("a search").0, None);
    }
}
