//! What a connection costs that says nothing after EHLO, and whether all of them are answered when they speak at once.
//!
//! Each round holds few and then many connections against a server of its own each, reads the server's resident set
//! at the end of a silence, and has every connection send one message in the same instant.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::outcome::{Limit, Part};
use super::own::{count, shape};
use super::stage::{Run, Stage};
use super::table::How;
use super::{Findings, TargetsOptions};
use crate::error::{Error, Result};
use crate::host;
use crate::load::gathering::Opening;
use crate::load::report::LoadReport;
use crate::load::{self, Amount, LoadOptions, Refinements};
use crate::mailrace::Durability;
use crate::report::{Page, Section, Table};
use crate::stats::Spread;

/// Idle connections compared.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// Few.
    pub few: usize,
    /// Many.
    pub many: usize,
    /// As many as a burst is to come from where the system allows so many descriptors.
    pub most: usize,
}

impl Idle {
    /// As the targets were set.
    pub const AS_SET: Self = Self { few: 5_000, many: 15_000, most: 100_000 };
}

/// KiB of resident set of each connection more, at most.
const SLOPE_KIB_MAX: f64 = 2.0;
/// How long connections are silent before memory is read.
const SILENCE: Duration = Duration::from_millis(500);

/// One crowd: silent, then all at once.
#[derive(Clone, Debug)]
struct Held {
    connection_count: usize,
    /// Resident set of the server at the end of the silence.
    resident_kib: Option<u64>,
    burst: Run,
}

/// Measures both crowds in each round, and the largest once.
///
/// # Errors
/// When the server cannot be run or driven.
pub fn measure(options: &TargetsOptions, idle: Idle, progress: &mut dyn FnMut(&str)) -> Result<Findings> {
    if let Some(reason) = host::descriptors_lacking(idle.many as u64) {
        return Ok(Findings::open(&[How::IdleMemory, How::IdleBurst], &reason));
    }
    let mut stage = Stage::new(options)?;
    let mut rounds = Vec::new();
    for round in 1..=options.rounds {
        progress(&format!("round {round} of {}: up to {} connections", options.rounds, count(idle.many)));
        rounds.push((hold(&mut stage, idle.few)?, hold(&mut stage, idle.many)?));
    }
    let most = match host::descriptors_lacking(idle.most as u64) {
        Some(reason) => Err(reason),
        None => {
            progress(&format!("{} connections", count(idle.most)));
            Ok(hold(&mut stage, idle.most)?)
        }
    };
    Ok(findings(&rounds, &most))
}

fn hold(stage: &mut Stage<'_>, connection_count: usize) -> Result<Held> {
    let ((resident_kib, load), totals) = stage.with_mailrace(Durability::Sync, &[], |stage, mailrace| {
        let duration = stage.options().duration;
        let burst = LoadOptions {
            messages_per_connection: Some(1),
            amount: Amount::Count(connection_count as u64),
            ..stage.load(&shape(connection_count), mailrace.address(), mailrace.pid(), duration)
        };
        let opening = Opening::Gathered { idle: SILENCE };
        let refinements =
            Refinements { opening, sources: sources(connection_count), ..Refinements::default() };
        let mut resident = None;
        let load = load::run_gathered(&burst, &refinements, &mut || resident = resident_kib(mailrace.pid()));
        Ok((resident, burst_of(load)?))
    })?;
    Ok(Held { connection_count, resident_kib, burst: Run { load, totals } })
}

/// A burst that was not answered to its end is one all the same, unless the crowd never came together.
fn burst_of(load: Result<LoadReport>) -> Result<LoadReport> {
    match load {
        Err(Error::NoProgress { report, .. }) if report.gathered_s.is_some() => Ok(*report),
        load => load,
    }
}

/// Addresses enough for the ports of so many connections; none where the system's choice does.
fn sources(connection_count: usize) -> Vec<IpAddr> {
    /// Linux gives out every other port of its 28,000 first, and searches them all for each connection beyond those.
    const PER_ADDRESS: usize = 10_000;
    let addresses = u32::try_from(connection_count.div_ceil(PER_ADDRESS)).unwrap_or(u32::MAX);
    if addresses == 1 {
        return Vec::new();
    }
    (0..addresses).map(|n| Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + n).into()).collect()
}

/// Resident set of a process in KiB, as its page tables have it now.
fn resident_kib(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Rss:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn findings(rounds: &[(Held, Held)], most: &std::result::Result<Held, String>) -> Findings {
    let mut findings = Findings::default();
    let slopes: Option<Vec<f64>> = rounds.iter().map(|(few, many)| slope_kib(few, many)).collect();
    findings.add(
        How::IdleMemory,
        match slopes {
            Some(slopes) => {
                let unit = "KiB of user memory a connection; the kernel's for its socket is not in it";
                Part::held("", Some(Spread::of(slopes)), Limit::AtMost(SLOPE_KIB_MAX), unit)
            }
            None => {
                Part::open("", "/proc/PID/smaps_rollup tells nothing of the server: Linux 4.14 has it".into())
            }
        },
    );
    let held: Vec<&Held> =
        rounds.iter().flat_map(|(few, many)| [few, many]).chain(most.as_ref().ok()).collect();
    let largest = held.iter().map(|held| held.connection_count).max().unwrap_or(0);
    let mut unit = format!("of all answered 250, at most {} at once", count(largest));
    if let Err(reason) = most {
        unit += &format!("; {reason}");
    }
    let worst = held.iter().min_by(|a, b| share_answered(a).total_cmp(&share_answered(b)));
    if let Some(worst) = worst.filter(|held| share_answered(held) < 1.0) {
        let (answered, all) = (worst.burst.load.messages.accepted, count(worst.connection_count));
        unit += &format!("; in the worst {answered} of {all}");
    }
    let answered = Spread::of(held.iter().map(|held| share_answered(held)));
    // The worst burst decides, not the middle one.
    let worst = Spread { median: answered.min, ..answered };
    findings.add(How::IdleBurst, Part::held("", Some(worst), Limit::AtLeast(1.0), &unit));
    findings.pages.push(page(&held));
    findings
}

/// KiB that each connection adds between both crowds.
fn slope_kib(few: &Held, many: &Held) -> Option<f64> {
    let connections = many.connection_count.checked_sub(few.connection_count).filter(|more| *more > 0)?;
    Some((many.resident_kib? as f64 - few.resident_kib? as f64) / connections as f64)
}

/// The part of a crowd that got its 250, as far as the server counted them too.
fn share_answered(held: &Held) -> f64 {
    let accepted = held.burst.load.messages.accepted.min(held.burst.totals.messages);
    accepted as f64 / held.connection_count.max(1) as f64
}

fn page(held: &[&Held]) -> Page {
    let columns =
        ["connections", "all greeted after (s)", "server RSS (MiB)", "answered", "p50 (µs)", "last (µs)"];
    let mut table = Table::new(&columns);
    let mut sizes: Vec<usize> = held.iter().map(|held| held.connection_count).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let of_size = held.iter().filter(|held| held.connection_count == size);
        let spread = |figure: fn(&Held) -> f64| Spread::of(of_size.clone().map(|held| figure(held)));
        table.row(vec![
            count(size).into(),
            spread(|held| held.burst.load.gathered_s.unwrap_or_default()).into(),
            spread(|held| held.resident_kib.unwrap_or_default() as f64 / 1024.0).into(),
            spread(share_answered).into(),
            spread(|held| held.burst.load.time_to_250_us.p50).into(),
            spread(|held| held.burst.load.time_to_250_us.max).into(),
        ]);
    }
    let words = format!(
        "Every connection says EHLO and is silent for at least {SILENCE:?}; then memory is read and all send one \
         message of 4 KiB at once. Times are to the 250, in the burst, from the write of the text."
    );
    let section = Section { heading: "The crowds".into(), words, table: Some(table), charts: Vec::new() };
    Page { sections: vec![section], ..Page::here("mailrace, idle connections") }
}

#[cfg(test)]
mod tests {
    use super::super::runs::sample_load;
    use super::*;
    use crate::mailrace::Totals;
    use crate::report::Verdict;

    fn held(answered: u64, counted: u64) -> Held {
        let burst =
            Run { load: sample_load(answered), totals: Totals { messages: counted, syncs: 1, batches: 1 } };
        Held { connection_count: 100, resident_kib: Some(1), burst }
    }

    #[test]
    fn one_missing_250_of_one_burst_is_a_miss() {
        let part = |few: Held, most: std::result::Result<Held, String>| {
            let parts = findings(&[(few, held(100, 100))], &most).parts;
            parts.into_iter().find(|(how, _)| *how == How::IdleBurst).expect("its row").1
        };
        let verdict = |few: Held, most: std::result::Result<Held, String>| {
            let part = part(few, most);
            (part.verdict, part.measured.map(|figure| figure.value))
        };
        let none = || Err("not so many descriptors".into());
        assert_eq!(verdict(held(100, 100), none()), (Some(Verdict::Pass), Some(1.0)));
        assert_eq!(verdict(held(99, 99), none()), (Some(Verdict::Miss), Some(0.99)));
        assert_eq!(verdict(held(100, 99), none()), (Some(Verdict::Miss), Some(0.99)), "a 250 for nothing");
        assert_eq!(verdict(held(100, 100), Ok(held(0, 0))), (Some(Verdict::Miss), Some(0.0)));
        let words = part(held(99, 99), none()).words;
        assert!(words.ends_with("in the worst 99 of 100"), "{words}");
    }

    #[test]
    fn a_burst_that_is_not_answered_to_its_end_is_measured_once_the_crowd_has_come_together() {
        let silent = |gathered_s| {
            let report = Box::new(LoadReport { gathered_s, ..sample_load(99) });
            Err(Error::NoProgress { target: "x".into(), failures: "none".into(), report })
        };
        assert_eq!(burst_of(silent(Some(1.0))).expect("a burst").messages.accepted, 99);
        assert!(burst_of(silent(None)).is_err());
    }

    #[test]
    fn large_crowds_come_from_several_addresses() {
        assert_eq!(sources(10_000), Vec::<IpAddr>::new());
        let three: Vec<String> = sources(25_000).iter().map(ToString::to_string).collect();
        assert_eq!(three, ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    }

    #[test]
    fn this_process_has_a_resident_set() {
        assert!(resident_kib(std::process::id()).is_some_and(|kib| kib > 100));
        assert_eq!(resident_kib(0), None);
    }
}
