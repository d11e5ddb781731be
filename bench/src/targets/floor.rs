//! The target of one connection: how far its time to 250 lies above one bare write and sync.

use super::outcome::{Limit, Part};
use super::table::How;
use super::{Findings, TargetsOptions};
use crate::error::Result;
use crate::load::session::Pipelining;
use crate::mailrace::Durability;
use crate::quick::{self, QuickOptions};
use crate::stats::Spread;

/// Microseconds of the median above that of the floor, at most.
const ABOVE_FLOOR_US_MAX: f64 = 60.0;

/// Measures one connection in lockstep, and the floor before it in each round.
///
/// # Errors
/// When the server cannot be run or driven, or the disk not be written.
pub(super) fn measure(options: &TargetsOptions, progress: &mut dyn FnMut(&str)) -> Result<Findings> {
    let report = quick::run(
        &QuickOptions {
            mailrace: options.mailrace.clone(),
            arguments: options.arguments.clone(),
            parent_dir: options.parent_dir.clone(),
            afterwards: options.afterwards,
            server_cores: options.server_cores.clone(),
            load_cores: options.load_cores.clone(),
            modes: vec![Durability::Sync],
            connections: vec![1],
            size: 4096,
            pipelining: Pipelining::Never,
            rounds: options.rounds,
            warm_up: options.warm_up(),
            duration: options.duration,
        },
        progress,
    )?;
    let mut findings = Findings::default();
    findings.add(How::OneConnection, above_floor(report.p50_above_floor_us()));
    findings.pages.push(report.page());
    Ok(findings)
}

/// What lies further below the floor than the bound lies above it was not measured under the floor's conditions.
fn above_floor(measured: Option<Spread>) -> Part {
    match measured {
        Some(spread) if spread.median < -ABOVE_FLOOR_US_MAX => {
            let below = -spread.median;
            let words =
                format!("{below:.0} µs below the floor: the disk changed between both; measure again");
            Part::open("", words)
        }
        _ => Part::held("", measured, Limit::AtMost(ABOVE_FLOOR_US_MAX), "µs above the floor"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    #[test]
    fn what_is_far_below_the_floor_was_not_measured_beside_it() {
        let verdict = |above| above_floor(Some(Spread::of([above]))).verdict;
        let (pass, miss) = (Some(Verdict::Pass), Some(Verdict::Miss));
        assert_eq!([-10.0, 60.0, 61.0].map(verdict), [pass, pass, miss]);
        assert_eq!(verdict(-700.0), Some(Verdict::NotMeasured), "nothing is that much faster than the disk");
    }
}
