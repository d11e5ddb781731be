//! The highest rate of an open loop at which a server keeps its p99 under a bound.
//!
//! Rates double until one is too high, then the gap is halved until it is below 3 %. A rate that fails is tried once
//! more, for a noisy minute is no limit of the server. A search ends before that where a rate brings too few messages
//! to tell a p99 from, and where the server stands still twice.

use std::time::Duration;

use serde::Serialize;

use super::pace::{Arrivals, Pace};
use super::report::LoadReport;
use super::{LoadOptions, Refinements, run_refined};
use crate::error::{Error, Result};

/// Runs of which a search may consist.
const TRIALS_MAX: usize = 40;
/// A search ends when the lowest rate known to fail is at most so many times the highest known to hold.
const GAP_MAX: f64 = 1.03;
/// The share of the messages due in the window that must get their 250 within it.
const RATE_SHARE_MIN: f64 = 0.98;
/// Fewer messages than this have no p99.
const MESSAGES_MIN: u64 = 100;

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
    /// Why the rate is too high, or nothing can be said of it; `null` when it held.
    pub failed: Option<String>,
    /// Whether the load kept its cores full.
    pub load_binds: bool,
    /// The run, as far as it came.
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
    /// Whether the load kept its cores full at `too_high`: then the limit may be the load's, not the server's.
    pub load_binds: bool,
    /// Every run, in order.
    pub trials: Vec<Trial>,
}

impl HighestRate {
    /// What the last run that did not hold failed by.
    pub fn last_flaw(&self) -> Option<&str> {
        self.trials.iter().rev().find_map(|trial| trial.failed.as_deref())
    }
}

/// What a rate has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Holds,
    TooHigh,
    /// The server answers nothing any more: no further rate would show anything else.
    StoodStill,
    /// Too few messages came due, and lower rates bring fewer.
    TooFew,
}

/// Looks for the highest rate; `tell` hears of each run.
///
/// # Errors
/// As a run, but for one in which nothing gets through: that is a trial that failed.
pub fn find(
    options: &LoadOptions,
    refinements: &Refinements,
    arrivals: Arrivals,
    goal: Goal,
    tell: &mut dyn FnMut(&Trial),
) -> Result<HighestRate> {
    let mut trials = Vec::new();
    let mut attempt = |rate: f64| -> Result<Answer> {
        let mut answer = Answer::TooHigh;
        for _ in 0..2 {
            let pace = Pace::Open { rate, arrivals };
            let (trial, found) = try_once(options, &Refinements { pace, ..refinements.clone() }, rate, goal)?;
            tell(&trial);
            trials.push(trial);
            answer = found;
            if matches!(answer, Answer::Holds | Answer::TooFew) {
                break;
            }
        }
        Ok(answer)
    };
    let (rate, too_high) = search(goal.first_rate, &mut attempt)?;
    let is_at_limit = |trial: &Trial| trial.load_binds && Some(trial.offered_rate) == too_high;
    let load_binds = trials.iter().any(is_at_limit);
    Ok(HighestRate { goal, rate, too_high, load_binds, trials })
}

/// One run at `rate`, which is the pace of `refinements`.
fn try_once(
    options: &LoadOptions,
    refinements: &Refinements,
    rate: f64,
    goal: Goal,
) -> Result<(Trial, Answer)> {
    let (report, failed, answer) = match run_refined(options, refinements) {
        Err(Error::NoProgress { failures, report, .. }) => {
            (*report, Some(format!("nothing got through any more: {failures}")), Answer::StoodStill)
        }
        ended => judge(ended?, goal),
    };
    let load_binds = report.load_binds();
    Ok((Trial { offered_rate: rate, failed, load_binds, report }, answer))
}

fn judge(report: LoadReport, goal: Goal) -> (LoadReport, Option<String>, Answer) {
    let due = report.messages.total() + report.unsent;
    if due < MESSAGES_MIN {
        let few = format!("only {due} messages came due, too few to tell a p99: raise --duration or --rate");
        return (report, Some(few), Answer::TooFew);
    }
    let flaw = flaw(&report, goal);
    let answer = if flaw.is_none() { Answer::Holds } else { Answer::TooHigh };
    (report, flaw, answer)
}

/// The highest rate that was seen to hold and the lowest that was seen not to.
fn search(first: f64, attempt: &mut dyn FnMut(f64) -> Result<Answer>) -> Result<(Option<f64>, Option<f64>)> {
    let (mut low, mut high): (Option<f64>, Option<f64>) = (None, None);
    let mut rate = first;
    for _ in 0..TRIALS_MAX / 2 {
        match attempt(rate)? {
            Answer::Holds => low = Some(rate),
            Answer::TooHigh => high = Some(rate),
            Answer::StoodStill => return Ok((low, Some(rate))),
            Answer::TooFew => break,
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
                Ok(if rate <= 12_345.0 { Answer::Holds } else { Answer::TooHigh })
            })
            .expect("a search");
            let (low, high) = (low.expect("a rate that holds"), high.expect("one that does not"));
            assert!(low <= 12_345.0 && high > 12_345.0 && high / low <= GAP_MAX, "{low} {high}");
            assert!(asked <= TRIALS_MAX / 2, "{asked}");
        }
        assert_eq!(search(8.0, &mut |_| Ok(Answer::TooHigh)).expect("a search").0, None);
    }

    #[test]
    fn a_search_ends_where_no_rate_would_show_more() {
        for (last, found) in
            [(Answer::StoodStill, (Some(8.0), Some(16.0))), (Answer::TooFew, (Some(8.0), None))]
        {
            let mut answers = [Answer::Holds, last].into_iter();
            let mut attempt = |_| Ok(answers.next().expect("no rate is tried after that"));
            assert_eq!(search(8.0, &mut attempt).expect("a search"), found);
        }
    }
}
