//! The disk loop at the batch size that mailrace met: what a bare write and sync of as much gives in the same round.
//!
//! The other loops run at fixed amounts. How much mailrace puts under one sync follows from its load and this disk, so
//! it is known only after its run: the loop follows right behind.

use serde::Serialize;

use super::shape::Shape;
use super::{CeilingOptions, MailraceRun};
use crate::error::Result;
use crate::floor::{self, Floor, Method, RECORD_LEN, RECORDS_MAX};
use crate::mailrace::Totals;
use crate::stats::Spread;
use crate::workspace::Workspace;

/// One round's loops behind one run of mailrace.
#[derive(Clone, Debug, Serialize)]
pub struct MetBatch {
    /// Records of 4 KiB before each sync: mailrace's mean batch by its own count, rounded.
    pub records_per_sync: usize,
    /// One loop for each method.
    pub loops: Vec<Floor>,
}

/// The same over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct MetCell {
    /// Records of 4 KiB before each sync.
    pub records_per_sync: Spread,
    /// What the best method makes durable, in 10^6 octets per second.
    pub megabytes_per_s: Spread,
    /// mailrace's text per second as a part of it, round by round.
    pub share: Spread,
    /// One entry a round.
    pub rounds: Vec<MetBatch>,
}

impl MetBatch {
    /// Measures behind a run of mailrace; nothing where it synced nothing.
    ///
    /// # Errors
    /// When the disk cannot be written or synced.
    pub(super) fn measure(
        options: &CeilingOptions,
        workspace: &mut Workspace,
        shape: &Shape,
        totals: Totals,
    ) -> Result<Option<Self>> {
        let Some(records_per_sync) = records_per_sync(shape, totals) else { return Ok(None) };
        let directory = workspace.fresh_made()?;
        let (cores, time) = (&options.server_cores.0, options.loop_time());
        let loops = floor::measure_methods(&directory, cores, &Method::ALL, &[records_per_sync], time)?;
        workspace.put_aside(&directory)?;
        Ok(Some(Self { records_per_sync, loops }))
    }

    fn megabytes_per_s(&self) -> Option<f64> {
        let rates = self.loops.iter().map(|floor| floor.records_per_s * RECORD_LEN as f64 / 1e6);
        rates.filter(|rate| *rate > 0.0).max_by(f64::total_cmp)
    }
}

/// Its text alone: what its records hold besides is its own cost.
fn records_per_sync(shape: &Shape, totals: Totals) -> Option<usize> {
    let messages = (totals.syncs > 0).then(|| totals.messages as f64 / totals.syncs as f64)?;
    let records = (messages * shape.size as f64 / RECORD_LEN as f64).round();
    Some((records as usize).clamp(1, RECORDS_MAX))
}

impl MetCell {
    /// Of the rounds of one cell; nothing unless every round has loops.
    pub(super) fn of(batches: &[Option<&MetBatch>], runs: &[&MailraceRun]) -> Option<Self> {
        let rounds: Vec<MetBatch> =
            batches.iter().copied().collect::<Option<Vec<_>>>()?.into_iter().cloned().collect();
        let allowed: Vec<f64> = rounds.iter().map(MetBatch::megabytes_per_s).collect::<Option<_>>()?;
        let share = runs.iter().zip(&allowed).map(|(run, allowed)| run.load.megabytes_per_s / allowed);
        (!rounds.is_empty()).then(|| Self {
            records_per_sync: Spread::of(rounds.iter().map(|round| round.records_per_sync as f64)),
            megabytes_per_s: Spread::of(allowed.iter().copied()),
            share: Spread::of(share),
            rounds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_what_one_sync_covered_in_records_of_4_kib() {
        let shape = |size| Shape { size, connections: 1, lockstep: false };
        let records = |size, messages, syncs| {
            records_per_sync(&shape(size), Totals { messages, syncs, batches: syncs })
        };
        assert_eq!(records(4096, 100, 10), Some(10));
        assert_eq!(records(65_536, 30, 20), Some(24));
        assert_eq!(records(1024, 1, 1), Some(1), "a sync covers one record at least");
        assert_eq!(records(1 << 20, 1000, 1), Some(RECORDS_MAX));
        assert_eq!(records(4096, 100, 0), None);
    }
}
