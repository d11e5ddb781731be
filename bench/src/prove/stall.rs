//! A sink that stands still: every message that came due in a stall has waited for its end.
//!
//! The p99 that an honest load must report is computed from the schedule and from the stalls as they turned out to
//! be by the clock, so that it holds wherever stalls and window lie and however late the sink was woken.

use std::time::{Duration, Instant};

use super::{ANY_PORT, Check, P99_TOLERANCE, ProveOptions, seconds};
use crate::error::Result;
use crate::load::pace::{Arrivals, Pace, Schedule};
use crate::load::script::MailShape;
use crate::load::session::Pipelining;
use crate::load::{self, Amount, LoadOptions, Refinements};
use crate::sink::fault::{Faults, Stall};
use crate::sink::{Sink, Stalled};

/// Not measured, so that connections are open.
const WARM_UP: Duration = Duration::from_millis(500);
/// Enough that hardly a message waits for a connection but in a stall.
const CONNECTIONS: usize = 50;
const SIZE: usize = 4096;

pub(super) fn prove(options: &ProveOptions, progress: &mut dyn FnMut(&str)) -> Result<Vec<Check>> {
    let (mut p99s, mut counts) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        progress(&format!("round {} of {}: stalls", round + 1, options.rounds));
        let (p99, count) = measure(options)?;
        p99s.push(p99);
        counts.push(count);
    }
    let stall = format!("{:.0} ms every {:.0} ms", options.stall_s * 1e3, options.every_s * 1e3);
    Ok(vec![
        Check::new(format!("p99, open loop, a stall of {stall}"), "ms", P99_TOLERANCE, p99s),
        Check::new("messages the sink with stalls has accepted", "", 0.0, counts),
    ])
}

/// p99 in ms and accepted messages, each as it must be and as the load has it.
fn measure(options: &ProveOptions) -> Result<((f64, f64), (f64, f64))> {
    let stall = Stall { length: seconds(options.stall_s), every: seconds(options.every_s) };
    let faults = Faults { stall: Some(stall), ..Faults::default() };
    let sink = Sink::start_faulty(ANY_PORT, Some(options.sink_core), faults)?;
    let epoch = Instant::now();
    let duration = seconds(options.duration_s);
    let load = LoadOptions {
        target: sink.address(),
        cores: options.load_cores.0.clone(),
        connection_count: CONNECTIONS,
        messages_per_connection: None,
        pipelining: Pipelining::Announced,
        mail: MailShape::of_size(SIZE),
        amount: Amount::For { warm_up: WARM_UP, duration },
        server_pid: None,
    };
    let pace = Pace::Open { rate: options.offered_rate, arrivals: Arrivals::Constant };
    let refinements = Refinements { pace, epoch: Some(epoch), ..Refinements::default() };
    let report = load::run_refined(&load, &refinements)?;
    let schedule = Schedule::new(options.offered_rate, Arrivals::Constant, 0, (0, 1));
    let due = schedule.ending(Some(nanoseconds(WARM_UP + duration)));
    let due = due.filter(|at| *at >= nanoseconds(WARM_UP));
    let computed = p99(due.map(|at| wait(epoch + Duration::from_nanos(at), &sink.stalls())));
    let ms = computed.as_secs_f64() * 1e3;
    let counts = (sink.accepted_count() as f64, report.messages_overall.accepted as f64);
    Ok(((ms, report.time_to_250_us.p99 / 1e3), counts))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long a message that came due at `at` waits at least.
fn wait(at: Instant, stalls: &[Stalled]) -> Duration {
    let stall = stalls.iter().find(|stall| stall.from <= at && at < stall.to);
    stall.map_or(Duration::ZERO, |stall| stall.to - at)
}

fn p99(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    let rank = (times.len() * 99).div_ceil(100);
    times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_of_the_slowest_hundredth_is_computed_from_schedule_and_stalls() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let stalls = [100, 1100].map(|from| Stalled { from: at(from), to: at(from + 100) });
        assert_eq!(wait(at(99), &stalls), Duration::ZERO);
        assert_eq!(wait(at(100), &stalls), Duration::from_millis(100));
        assert_eq!(wait(at(1199), &stalls), Duration::from_millis(1));
        assert_eq!(wait(at(1200), &stalls), Duration::ZERO);
        // 2,000 messages, 20 of which may wait longer: those of the first 10 ms of each stall.
        assert_eq!(p99((0..2000).map(|ms| wait(at(ms), &stalls))), Duration::from_millis(90));
        assert_eq!(p99(std::iter::empty()), Duration::ZERO);
    }
}
