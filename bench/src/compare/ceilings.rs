//! What this machine gives at most, in the rounds of a comparison: a bare sink in each shape, and synced writes.
//!
//! The bare sink on monoio and the disk loops are those of `ceiling`, and so is the arithmetic: each round's figures are
//! held against the ceilings of that round. A ceiling that could not be taken is named with its reason, and nothing is
//! held against it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::report::{Run, by_title};
use super::shape::Shape;
use super::tree::Extent;
use super::{CompareOptions, drive};
use crate::ceiling::bare::{BareKind, BareSink};
use crate::ceiling::disk::{self, DiskCeiling};
use crate::ceiling::shape::Shape as CeilingShape;
use crate::ceiling::share::{Against, Shares};
use crate::error::Result;
use crate::floor::{Floor, Method, RECORD_LEN, RECORDS_MAX};
use crate::load::session::Pipelining;
use crate::mailrace::Durability;
use crate::stats::Spread;
use crate::workspace::Workspace;

/// Each disk loop takes this part of a run.
const LOOP_PART: u32 = 8;

/// The ceilings of all rounds.
#[derive(Debug, Default, Serialize)]
pub struct Ceilings {
    /// The bare monoio sink, one entry a round, by shape.
    #[serde(serialize_with = "by_title")]
    bare: BTreeMap<Shape, Vec<Run>>,
    /// Synced writes, one entry a round.
    disk: Vec<DiskRound>,
    /// What could not be taken, each once.
    pub(super) notes: Vec<String>,
}

/// The disk loops of one round.
#[derive(Debug, Serialize)]
struct DiskRound {
    round: usize,
    loops: Vec<Floor>,
}

/// What the ceilings of one round take.
pub(super) fn time(options: &CompareOptions) -> Duration {
    let loops = u32::try_from(Method::ALL.len() * disk::RECORD_COUNTS.len()).unwrap_or(u32::MAX);
    options.duration / LOOP_PART * loops + options.shapes_time()
}

impl Ceilings {
    /// Takes them once; what fails is noted.
    ///
    /// # Errors
    /// When there can be no directory for the disk loops.
    pub(super) fn measure_round(
        &mut self,
        options: &CompareOptions,
        workspace: &mut Workspace,
        round: usize,
    ) -> Result<()> {
        let directory = workspace.fresh_made()?;
        match disk::measure(&directory, &options.server_cores.0, options.duration / LOOP_PART) {
            Ok(loops) => self.disk.push(DiskRound { round, loops }),
            Err(error) => self.note(format!("the disk's ceiling: {error}")),
        }
        workspace.put_aside(&directory)?;
        for shape in options.loaded_shapes() {
            match bare_run(options, shape) {
                Ok(run) => self.bare.entry(shape).or_default().push(Run { round, ..run }),
                Err(error) => self.note(format!("{}, the bare sink's ceiling: {error}", shape.title())),
            }
        }
        let lacks = |method: &Method| self.disk.iter().any(|round| round.lacks(*method));
        let lacking: Vec<Method> = Method::ALL.into_iter().filter(lacks).collect();
        for method in lacking {
            self.note(format!("{}: NOT MEASURED: the file system has no direct I/O", method.name()));
        }
        Ok(())
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The bare sink's runs of a shape.
    pub(super) fn bare(&self, shape: Shape) -> &[Run] {
        self.bare.get(&shape).map_or(&[], Vec::as_slice)
    }

    /// mailrace's runs against the ceilings of the same rounds; nothing where a round lacks one, or there was nothing
    /// to take a share of.
    pub(super) fn shares(
        &self,
        durability: Durability,
        shape: Shape,
        connections: usize,
        runs: &[Run],
    ) -> Option<Shares> {
        let mut rounds = Vec::new();
        for run in runs {
            let bare = self.bare(shape).iter().find(|bare| bare.round == run.round)?;
            let disk = self.disk.iter().find(|disk| disk.round == run.round)?;
            run.cpu().zip(bare.cpu())?;
            rounds.push(Against { bare: &bare.load, disk: &disk.loops, mailrace: &run.load });
        }
        if rounds.is_empty() {
            return None;
        }
        let shares = Shares::of(durability, &as_ceiling(shape, connections), &rounds);
        (shares.bound_messages_per_s.min > 0.0).then_some(shares)
    }

    /// Processor time of some runs by the bare sink's in the same rounds; nothing where either is unknown.
    pub(super) fn cpu_to_bare(&self, shape: Shape, runs: &[Run]) -> Option<Spread> {
        let beside = |run: &Run| {
            let bare = self.bare(shape).iter().find(|bare| bare.round == run.round)?;
            Some(run.cpu()? / bare.cpu()?)
        };
        let ratios: Option<Vec<f64>> = runs.iter().map(beside).collect();
        ratios.filter(|ratios| !ratios.is_empty()).map(Spread::of)
    }

    /// Messages/s of a shape that the disk allows when each sync covers one of every connection.
    pub(super) fn disk_rate(&self, shape: Shape, connections: usize) -> Option<Spread> {
        let shape = as_ceiling(shape, connections);
        let of = |round: &DiskRound| DiskCeiling::of(&round.loops, shape.in_flight_len());
        let rates: Option<Vec<f64>> = self
            .disk
            .iter()
            .map(|round| of(round).map(|disk| disk.octets_per_s / shape.size as f64))
            .collect();
        rates.filter(|rates| !rates.is_empty()).map(Spread::of)
    }

    /// Sequential synced bandwidth in 10^6 octets per second: the best method at the most records a sync.
    pub(super) fn sequential_mb_per_s(&self) -> Option<Spread> {
        let best = |round: &DiskRound| {
            let largest = round.loops.iter().filter(|floor| floor.records_per_sync == RECORDS_MAX);
            largest.map(|floor| floor.records_per_s * RECORD_LEN as f64 / 1e6).max_by(f64::total_cmp)
        };
        let rates: Option<Vec<f64>> = self.disk.iter().map(best).collect();
        rates.filter(|rates| !rates.is_empty()).map(Spread::of)
    }
}

impl DiskRound {
    fn lacks(&self, method: Method) -> bool {
        self.loops.iter().all(|floor| floor.method != method)
    }
}

fn bare_run(options: &CompareOptions, shape: Shape) -> Result<Run> {
    let connections = shape.connection_count(options.connections);
    let sink = BareSink::start(BareKind::Monoio, &options.server_cores.0, connections)?;
    let run = drive(options, sink.address(), Extent { group: None, root: sink.pid() }, shape)?;
    sink.stop()?;
    Ok(run)
}

/// The same load as the ceilings have it.
fn as_ceiling(shape: Shape, connections: usize) -> CeilingShape {
    CeilingShape {
        size: shape.size(),
        connections: shape.connection_count(connections),
        lockstep: shape.pipelining() == Pipelining::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ceiling::share::Bound;
    use crate::load::report::{LoadReport, Spent, Times, Use};
    use crate::load::script::MailShape;
    use crate::load::tally::Tally;
    use crate::load::{Amount, LoadOptions, Refinements};

    fn run(round: usize, rate: f64, cpu: f64) -> Run {
        let options = LoadOptions {
            target: ([127, 0, 0, 1], 25).into(),
            cores: Vec::new(),
            connection_count: 1,
            messages_per_connection: None,
            pipelining: Pipelining::Always,
            mail: MailShape::of_size(4 << 10),
            amount: Amount::Count(1),
            server_pid: None,
        };
        let second = Duration::from_secs(1);
        let spent = Spent { window: second, cpu: second / 2, threads: 1, gathered_in: None };
        let mut load = LoadReport::new(&options, &Refinements::default(), &Tally::default(), spent, None);
        load.rate = rate;
        load.server = Some(Use { cpu_us_per_message: cpu, cores_busy: 1.0 });
        Run { round, cpu_ms_per_1000: Some(cpu), cores_busy: 1.0, load }
    }

    fn loops(records_per_s: f64) -> Vec<Floor> {
        let method = Method::WriteThenSync;
        let sync_us = Times::default();
        vec![Floor { method, records_per_sync: 64, records_per_s, sync_us, cpu_us_per_record: 1.0 }]
    }

    #[test]
    fn a_run_is_held_against_the_ceilings_of_its_own_round() {
        let mut ceilings = Ceilings::default();
        ceilings.bare.insert(Shape::Reused, vec![run(1, 1000.0, 10.0), run(2, 2000.0, 20.0)]);
        ceilings.disk = [1, 2].map(|round| DiskRound { round, loops: loops(500.0 * round as f64) }).into();
        let runs = [run(1, 250.0, 20.0), run(2, 500.0, 40.0)];
        let shares = |mode| ceilings.shares(mode, Shape::Reused, 64, &runs).expect("shares");
        let synced = shares(Durability::Sync);
        assert_eq!((synced.bound, synced.rate_to_bound.median), (Bound::Disk, 0.5));
        assert_eq!(synced.bound_messages_per_s, Spread::of([500.0, 1000.0]));
        let kept = shares(Durability::Discard);
        assert_eq!((kept.bound, kept.rate_to_bound.median), (Bound::Network, 0.25));
        assert_eq!(ceilings.cpu_to_bare(Shape::Reused, &runs), Some(Spread::of([2.0, 2.0])));
        assert_eq!(ceilings.disk_rate(Shape::Reused, 64), Some(Spread::of([500.0, 1000.0])));
        assert!(ceilings.shares(Durability::Sync, Shape::Reused, 64, &[run(3, 1.0, 1.0)]).is_none());
        assert!(ceilings.cpu_to_bare(Shape::New, &runs).is_none(), "no bare sink met this shape");
    }
}
