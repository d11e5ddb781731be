//! mailrace against what this machine gives at most: which ceiling binds, and how near mailrace comes to it.
//!
//! ```text
//! network   messages/s of the bare monoio sink, same shape
//! disk      messages/s the best synced loop makes durable when each sync covers all that can be in flight
//! core      1 / (CPU of the bare sink + CPU of the cheapest synced loop), a message: one core doing both
//! ```
//! The lowest binds. A mode that syncs nothing has the network alone: what it writes is not the disk's yet. Where that is
//! the network and the load kept its cores full with the bare sink, it is the load that binds: a faster load might have
//! had more of the sink, and a share of it is no share of a limit of this machine.

use serde::Serialize;

use super::cells::server_cpu_us;
use super::disk::DiskCeiling;
use super::shape::Shape;
use crate::floor::Floor;
use crate::load::report::LoadReport;
use crate::mailrace::Durability;
use crate::stats::Spread;

/// What holds a message rate down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// The receive path.
    Network,
    /// What drives it: the bare sink might take more.
    Load,
    /// Synchronous writes.
    Disk,
    /// Processor time of both together.
    Core,
}

impl Bound {
    /// The word in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Load => "load",
            Self::Disk => "disk",
            Self::Core => "core",
        }
    }
}

/// One round's ceilings and what mailrace gave beside them.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The bare sink's run.
    pub bare: &'a LoadReport,
    /// The disk loops.
    pub disk: &'a [Floor],
    /// mailrace's run.
    pub mailrace: &'a LoadReport,
}

/// mailrace's figures as parts of the ceilings: 1 is the ceiling itself. `null` where a ceiling does not apply.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shares {
    /// Processor time per message, mailrace's over the bare sink's.
    pub cpu_to_network: Spread,
    /// Processor time per message, mailrace's over that of bare sink and disk loop together.
    pub cpu_to_core: Option<Spread>,
    /// Messages/s, mailrace's over the bare sink's.
    pub rate_to_network: Spread,
    /// Messages/s, mailrace's over the disk's.
    pub rate_to_disk: Option<Spread>,
    /// Messages/s, mailrace's over one core's.
    pub rate_to_core: Option<Spread>,
    /// The lowest ceiling, by medians.
    pub bound: Bound,
    /// Messages/s it allows.
    pub bound_messages_per_s: Spread,
    /// mailrace's part of it.
    pub rate_to_bound: Spread,
}

/// One round's ceilings in messages/s, and the core's in processor time.
#[derive(Clone, Copy, Debug)]
struct Ceilings {
    network: f64,
    disk: f64,
    core: f64,
    core_cpu_us: f64,
}

impl Shares {
    /// Over all rounds of one cell.
    pub fn of(durability: Durability, shape: &Shape, rounds: &[Against<'_>]) -> Self {
        let ceilings: Vec<Ceilings> = rounds.iter().map(|round| Ceilings::of(shape, round)).collect();
        let to = |ceiling: fn(&Ceilings) -> f64| {
            Spread::of(rounds.iter().zip(&ceilings).map(|(round, c)| ratio(round.mailrace.rate, ceiling(c))))
        };
        let cpu_to_core = rounds.iter().zip(&ceilings);
        let cpu_to_core = cpu_to_core.map(|(round, c)| ratio(server_cpu_us(round.mailrace), c.core_cpu_us));
        let cpu_to_network = rounds.iter().map(|r| ratio(server_cpu_us(r.mailrace), server_cpu_us(r.bare)));
        let is_synced = durability == Durability::Sync;
        let candidates = [Bound::Network, Bound::Disk, Bound::Core];
        let allowed = |bound: Bound| Spread::of(ceilings.iter().map(|c| c.messages_per_s(bound)));
        let bound = candidates.into_iter().filter(|bound| is_synced || *bound == Bound::Network);
        let bound = bound.min_by(|a, b| allowed(*a).median.total_cmp(&allowed(*b).median));
        let bound = bound.unwrap_or(Bound::Network);
        let full = rounds.iter().filter(|round| round.bare.load_binds()).count();
        let is_loads = bound == Bound::Network && full * 2 > rounds.len();
        let bound = if is_loads { Bound::Load } else { bound };
        let rate_to_bound = rounds.iter().zip(&ceilings);
        let rate_to_bound =
            rate_to_bound.map(|(round, c)| ratio(round.mailrace.rate, c.messages_per_s(bound)));
        Self {
            cpu_to_network: Spread::of(cpu_to_network),
            cpu_to_core: is_synced.then(|| Spread::of(cpu_to_core)),
            rate_to_network: to(|c| c.network),
            rate_to_disk: is_synced.then(|| to(|c| c.disk)),
            rate_to_core: is_synced.then(|| to(|c| c.core)),
            bound,
            bound_messages_per_s: allowed(bound),
            rate_to_bound: Spread::of(rate_to_bound),
        }
    }
}

impl Ceilings {
    fn of(shape: &Shape, round: &Against<'_>) -> Self {
        let disk = DiskCeiling::of(round.disk, shape.in_flight_len());
        let size = shape.size as f64;
        let core_cpu_us = server_cpu_us(round.bare) + disk.map_or(0.0, |d| d.cpu_s_per_octet * size * 1e6);
        Self {
            network: round.bare.rate,
            disk: disk.map_or(0.0, |disk| disk.octets_per_s / size),
            core: ratio(1e6, core_cpu_us),
            core_cpu_us,
        }
    }

    fn messages_per_s(&self, bound: Bound) -> f64 {
        match bound {
            Bound::Network | Bound::Load => self.network,
            Bound::Disk => self.disk,
            Bound::Core => self.core,
        }
    }
}

/// `a / b`, or 0 where there is nothing to divide by: JSON has no infinity.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::sample_load;

    #[test]
    fn a_bare_sink_that_the_load_could_not_fill_is_no_ceiling_of_the_network() {
        let bound = |cores_busy: &[f64]| {
            let loads = cores_busy.iter().map(|busy| {
                let mut load = sample_load(100);
                load.load.cores_busy = *busy;
                load
            });
            let loads: Vec<LoadReport> = loads.collect();
            let against = loads.iter().map(|load| Against { bare: load, disk: &[], mailrace: load });
            let shape = Shape { size: 4 << 10, connections: 64, lockstep: false };
            let shares = Shares::of(Durability::Discard, &shape, &against.collect::<Vec<_>>());
            (shares.bound, shares.rate_to_bound.median)
        };
        assert_eq!(bound(&[0.5, 0.5, 0.99]), (Bound::Network, 1.0));
        assert_eq!(bound(&[0.5, 0.96, 0.99]), (Bound::Load, 1.0));
    }
}
