//! What a second shard costs: the same offered rate with one shard and with two, processor time per message.
//!
//! The server's own processor time is compared, so a core that the second shard shares with the load makes it later
//! but, caches aside, not costlier.

use super::outcome::{Limit, Part};
use super::own::{self, count, per_second, ratios};
use super::runs;
use super::stage::{Run, Stage};
use super::table::How;
use super::{Findings, TargetsOptions, lines};
use crate::cpu;
use crate::error::Result;
use crate::units::CoreList;

/// How many connections send; both shards get some of them by hash.
#[derive(Clone, Copy, Debug)]
pub struct Shards {
    /// Connections.
    pub connections: usize,
}

impl Shards {
    /// As the target is measured.
    pub const AS_SET: Self = Self { connections: 64 };
}

/// Processor time per message of two shards by that of one, at most.
const TIMES_ONE_MAX: f64 = 1.15;

/// Measures one and two shards in each round, at half of what one does in a closed loop.
///
/// # Errors
/// When the server cannot be run or driven.
pub fn measure(options: &TargetsOptions, shards: Shards, progress: &mut dyn FnMut(&str)) -> Result<Findings> {
    let found = cores(&options.server_cores.0, &options.load_cores.0, &cpu::allowed_cores()?);
    let Some((one, two)) = found else {
        return Ok(Findings::open(
            &[How::TwoShards],
            "two shards need two cores, and this machine allows one",
        ));
    };
    let (mut first, mut second) = (Stage::on(options, one.clone())?, Stage::on(options, two.clone())?);
    progress("the rate of one shard");
    let closed = own::run(&mut first, shards.connections, &own::closed())?;
    let rate = (closed.load.rate / 2.0).max(1.0);
    let refinements = own::open(rate);
    let mut rounds = Vec::new();
    for round in 1..=options.rounds {
        progress(&format!("round {round} of {}: one shard, two shards", options.rounds));
        let alone = own::run(&mut first, shards.connections, &refinements)?;
        rounds.push((alone, own::run(&mut second, shards.connections, &refinements)?));
    }
    let shares_load = two.0.iter().any(|core| options.load_cores.0.contains(core));
    let beside = if shares_load { ", the second shard on a core of the load's" } else { "" };
    let unit = format!("times that of one, {} offered to both{beside}", per_second(rate));
    let mut findings = Findings::default();
    findings.add(
        How::TwoShards,
        Part::held("CPU per message", ratios(&rounds, Run::cpu_us), Limit::AtMost(TIMES_ONE_MAX), &unit),
    );
    findings.add(How::TwoShards, lines::listed());
    let words = format!(
        "4 KiB, sync, {} kept connections, open loop at {}, half of what one shard did in a closed loop. One shard on \
         core {one}, two on cores {two}, load on {}: {}. Processor time is the server's own.",
        count(shards.connections),
        per_second(rate),
        options.load_cores,
        if shares_load { "the second shard and the load take turns" } else { "each has its own" },
    );
    let seen = own::seen(["one shard".into(), "two shards".into()], &rounds);
    findings.pages.push(runs::page("mailrace, two shards against one", words, &seen));
    Ok(findings)
}

/// The cores of one shard and of two: the first of the server's, and a second that is the load's only if no other is
/// allowed.
fn cores(server: &[usize], load: &[usize], allowed: &[usize]) -> Option<(CoreList, CoreList)> {
    let first = *server.first()?;
    let is_other = |core: &usize| *core != first && allowed.contains(core);
    let (shared, free): (Vec<usize>, Vec<usize>) = allowed.iter().partition(|core| load.contains(core));
    let own = server.iter().skip(1).copied();
    let second = own.chain(free).chain(shared).find(is_other)?;
    Some((CoreList(vec![first]), CoreList(vec![first, second])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_shard_shares_the_loads_core_only_if_it_must() {
        let second = |server: &[usize], load: &[usize], allowed: &[usize]| {
            cores(server, load, allowed).map(|(_, two)| two.0[1])
        };
        assert_eq!(second(&[0], &[1], &[0, 1]), Some(1));
        assert_eq!(second(&[0], &[1], &[0, 1, 2]), Some(2));
        assert_eq!(second(&[0, 3], &[1], &[0, 1, 2, 3]), Some(3));
        assert_eq!(second(&[0], &[0], &[0]), None);
    }
}
