//! The figures of one cell of the tables, over all rounds.

use serde::Serialize;

use super::bare::BareKind;
use super::memory::Copy;
use super::met::{MetBatch, MetCell};
use super::shape::Shape;
use super::share::Shares;
use super::{MailraceRun, Round};
use crate::load::report::LoadReport;
use crate::mailrace::{Durability, Totals};
use crate::stats::Spread;

/// What the load saw of a server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// Accepted messages per second.
    pub messages_per_s: Spread,
    /// Their text in 10^6 octets per second.
    pub megabytes_per_s: Spread,
    /// Median time to 250.
    pub p50_us: Spread,
    /// 99th percentile of the time to 250.
    pub p99_us: Spread,
    /// The server's processor time per message, all its threads.
    pub server_cpu_us: Spread,
    /// Cores the server kept busy.
    pub server_busy: Spread,
    /// The load's processor time per message.
    pub load_cpu_us: Spread,
    /// Cores the load kept busy.
    pub load_busy: Spread,
}

impl Figures {
    /// Of the runs of one cell.
    pub fn of<'a>(runs: impl Iterator<Item = &'a LoadReport> + Clone) -> Self {
        let spread = |figure: fn(&LoadReport) -> f64| Spread::of(runs.clone().map(figure));
        Self {
            messages_per_s: spread(|run| run.rate),
            megabytes_per_s: spread(|run| run.megabytes_per_s),
            p50_us: spread(|run| run.time_to_250_us.p50),
            p99_us: spread(|run| run.time_to_250_us.p99),
            server_cpu_us: spread(server_cpu_us),
            server_busy: spread(|run| run.server.map_or(0.0, |server| server.cores_busy)),
            load_cpu_us: spread(|run| run.load.cpu_us_per_message),
            load_busy: spread(|run| run.load.cores_busy),
        }
    }
}

/// A run's processor time per message on the server's side.
pub(super) fn server_cpu_us(run: &LoadReport) -> f64 {
    run.server.map_or(0.0, |server| server.cpu_us_per_message)
}

/// A bare sink under one shape of load.
#[derive(Clone, Debug, Serialize)]
pub struct BareCell {
    /// What the sink is built on.
    pub kind: BareKind,
    /// The load.
    pub shape: Shape,
    /// What it gave.
    pub figures: Figures,
    /// Each round's run, with all its inputs.
    pub runs: Vec<LoadReport>,
}

/// mailrace in one mode under one shape of load.
#[derive(Clone, Debug, Serialize)]
pub struct MailraceCell {
    /// What it does before its 250.
    pub durability: Durability,
    /// The load.
    pub shape: Shape,
    /// What it gave.
    pub figures: Figures,
    /// Messages each synchronous write covered, over the whole run; 0 without any.
    pub messages_per_sync: Spread,
    /// The same against what this machine gives at most.
    pub shares: Shares,
    /// The disk loop at that many messages a sync; `null` without a sync.
    pub met: Option<MetCell>,
    /// Each round's run, with all its inputs.
    pub runs: Vec<LoadReport>,
    /// Each round's count by the server itself.
    pub totals: Vec<Totals>,
    /// Whether every round's count of messages is the load's count of 250s.
    pub counts_agree: bool,
}

/// Copies of one length over all rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CopyCell {
    /// Octets of one copy.
    pub len: usize,
    /// Octets copied per second, in 10^9.
    pub gigabytes_per_s: Spread,
}

impl BareCell {
    pub(super) fn of(kind: BareKind, shape: Shape, runs: Vec<LoadReport>) -> Self {
        Self { kind, shape, figures: Figures::of(runs.iter()), runs }
    }
}

impl MailraceCell {
    pub(super) fn of(
        durability: Durability,
        shape: Shape,
        runs: &[&MailraceRun],
        met: &[Option<&MetBatch>],
        shares: Shares,
    ) -> Self {
        let batch = |run: &&MailraceRun| match run.totals.syncs {
            0 => 0.0,
            syncs => run.totals.messages as f64 / syncs as f64,
        };
        let agrees = |run: &&MailraceRun| run.totals.messages == run.load.messages_overall.accepted;
        Self {
            durability,
            shape,
            figures: Figures::of(runs.iter().map(|run| &run.load)),
            messages_per_sync: Spread::of(runs.iter().map(batch)),
            shares,
            met: MetCell::of(met, runs),
            runs: runs.iter().map(|run| run.load.clone()).collect(),
            totals: runs.iter().map(|run| run.totals).collect(),
            counts_agree: runs.iter().all(agrees),
        }
    }
}

impl CopyCell {
    pub(super) fn of(rounds: &[Round]) -> Vec<Self> {
        let cell = |index: usize, copy: &Copy| {
            let rates = rounds.iter().filter_map(|round| round.memory.get(index));
            Self { len: copy.len, gigabytes_per_s: Spread::of(rates.map(|copy| copy.gigabytes_per_s)) }
        };
        let first = rounds.first().map_or(&[][..], |round| &round.memory);
        first.iter().enumerate().map(|(index, copy)| cell(index, copy)).collect()
    }
}
