//! Whether the load's own figures are right, on this machine, now: each beside the one it must be.
//!
//! ```text
//! stall   a sink stands still again and again: the open loop's p99 is the one computed from the stalls and the schedule
//! count   what the load counts as accepted is what the sink counts
//! rate    a sink whose delay is the limit: the load is as fast as Postfix's smtp-source
//! ```
//! Sink and load run in this process, on cores of their own. It does not show how cheap the load is.

mod rate;
mod stall;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::error::Result;
use crate::host::Host;
use crate::stats::{Spread, thousands};
use crate::table::Table;
use crate::units::CoreList;

/// What is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// A stall is charged to every message that came due in it.
    Stall,
    /// The rate against a sink that is the limit is that of smtp-source.
    Rate,
}

/// How it is proven.
#[derive(Clone, Debug, Serialize)]
pub struct ProveOptions {
    /// What.
    pub parts: Vec<Part>,
    /// Postfix's load; only for [`Part::Rate`].
    pub smtp_source: Option<PathBuf>,
    /// The sink's core.
    pub sink_core: usize,
    /// The load's cores.
    pub load_cores: CoreList,
    /// How often each figure is taken; the median is judged.
    pub rounds: usize,
    /// Of one round of the stalls, in seconds.
    pub duration_s: f64,
    /// Of one stall, in seconds.
    pub stall_s: f64,
    /// From one stall to the next, in seconds.
    pub every_s: f64,
    /// Messages a second offered to the sink that stalls.
    pub offered_rate: f64,
    /// How late the sink of the rates answers each end of data: drawn evenly between these, in seconds.
    pub delay_s: [f64; 2],
    /// Sessions of either load against it.
    pub sessions: usize,
    /// Messages of one run of the rates.
    pub count: u64,
}

/// The p99 may be off by this part.
const P99_TOLERANCE: f64 = 0.05;
/// Two rates may be apart by this part.
const RATE_TOLERANCE: f64 = 0.03;

/// A figure beside the one it must be.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What is compared.
    pub name: String,
    /// Of both figures.
    pub unit: &'static str,
    /// What it must be, in each round.
    pub expected: Vec<f64>,
    /// What the load says, in each round.
    pub reported: Vec<f64>,
    /// By how much of 1 the load is off: the median of the rounds.
    pub deviation: f64,
    /// By how much it may be.
    pub tolerance: f64,
    /// Whether it is off by no more.
    pub holds: bool,
}

/// Everything that was held against something.
#[derive(Clone, Debug, Serialize)]
pub struct ProveReport {
    /// Where.
    pub host: Host,
    /// How.
    pub input: ProveOptions,
    /// Why other work on this machine was not kept behind; `null` when it was.
    pub ordinary_priority: Option<String>,
    /// Figure by figure.
    pub checks: Vec<Check>,
}

impl Check {
    fn new(name: impl Into<String>, unit: &'static str, tolerance: f64, pairs: Vec<(f64, f64)>) -> Self {
        let off = |(expected, reported): &(f64, f64)| {
            if expected == reported { 0.0 } else { reported / expected - 1.0 }
        };
        let deviation = Spread::of(pairs.iter().map(off)).median;
        // A count has to be right each time.
        let holds = match tolerance {
            0.0 => pairs.iter().all(|(expected, reported)| expected == reported),
            _ => deviation.abs() <= tolerance,
        };
        let (expected, reported) = pairs.into_iter().unzip();
        Self { name: name.into(), unit, expected, reported, deviation, tolerance, holds }
    }

    fn row(&self) -> Vec<String> {
        let decimals = if self.unit == "ms" { 2 } else { 0 };
        let words = |values: &[f64]| Spread::of(values.iter().copied()).words(decimals);
        let percent = |part: f64| format!("{:.1} %", part * 1e2);
        vec![
            self.name.clone(),
            format!("{} {}", words(&self.expected), self.unit),
            format!("{} {}", words(&self.reported), self.unit),
            format!("{}{}", if self.deviation > 0.0 { "+" } else { "" }, percent(self.deviation)),
            if self.tolerance > 0.0 { percent(self.tolerance) } else { "none".into() },
            if self.holds { "PASS" } else { "MISS" }.into(),
        ]
    }
}

impl ProveReport {
    /// Whether every figure is what it must be.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }

    /// A table, and what has to be known to read it.
    pub fn summary(&self) -> String {
        let mut table = Table::new(&["figure", "must be", "the load says", "off by", "may be", ""]);
        self.checks.iter().for_each(|check| table.row(check.row()));
        let priority = match &self.ordinary_priority {
            None => "sink and loads ran before all ordinary work (SCHED_FIFO)".into(),
            Some(why) => format!("sink and loads ran at ordinary priority, so other work shows ({why})"),
        };
        format!(
            "{table}\nmedians of {} rounds with minimum and maximum; load average {:.1}; {priority}\n",
            thousands(&self.input.rounds.to_string()),
            self.host.load_average
        )
    }
}

/// Takes all figures; `progress` is told what is about to be measured.
///
/// # Errors
/// When a run cannot be made, or smtp-source meets a refusal.
pub fn run(
    options: &ProveOptions,
    ordinary_priority: Option<String>,
    progress: &mut dyn FnMut(&str),
) -> Result<ProveReport> {
    let host = Host::this();
    let mut checks = Vec::new();
    if options.parts.contains(&Part::Stall) {
        checks.extend(stall::prove(options, progress)?);
    }
    if options.parts.contains(&Part::Rate) {
        checks.extend(rate::prove(options, progress)?);
    }
    Ok(ProveReport { host, input: options.clone(), ordinary_priority, checks })
}

/// A free port of the loopback.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_judged_but_counts_must_be_right_each_time() {
        let p99 = |pairs: &[(f64, f64)]| Check::new("p99", "ms", 0.05, pairs.to_vec());
        assert!(p99(&[(90.0, 94.0), (90.0, 200.0), (90.0, 91.0)]).holds);
        assert!(!p99(&[(90.0, 95.0)]).holds && !p99(&[(90.0, 85.0)]).holds);
        let count = |pairs: &[(f64, f64)]| Check::new("250s", "", 0.0, pairs.to_vec());
        assert!(count(&[(7.0, 7.0), (0.0, 0.0)]).holds);
        assert!(!count(&[(7.0, 7.0), (7.0, 8.0), (7.0, 7.0)]).holds);
    }
}
