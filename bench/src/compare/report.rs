//! What a comparison found, with all that it was measured with; `page` makes it readable.

use std::collections::BTreeMap;

use serde::Serialize;

use super::CompareOptions;
use super::catalogue::Peer;
use super::ceilings::Ceilings;
use super::counting::{Counts, PACE};
use super::curve_report::CurvesReport;
use super::doubt::{self, Doubt};
use super::shape::Shape;
use crate::host::{self, Host};
use crate::load::report::LoadReport;
use crate::stats::Spread;
use crate::units::CoreList;

/// Everything compared.
#[derive(Debug, Serialize)]
pub struct CompareReport {
    host: Host,
    pub(super) server_cores: CoreList,
    pub(super) load_cores: CoreList,
    pub(super) mailrace_arguments: Vec<String>,
    pub(super) shapes: Vec<Shape>,
    pub(super) connections: usize,
    pub(super) idle_connections: usize,
    pub(super) rounds: usize,
    pub(super) warm_up_s: f64,
    pub(super) duration_s: f64,
    /// Why servers were followed as trees of processes and not as control groups; `null` when they were groups.
    pub(super) no_groups: Option<String>,
    /// Offered while system calls were counted, messages per second.
    counting_rate: u32,
    /// Sessions it was offered over.
    counting_sessions: u32,
    /// One entry a server, those that could not be had included.
    pub(super) peers: Vec<PeerFigures>,
    /// What this machine gives at most, in the same rounds.
    pub(super) ceilings: Ceilings,
    /// What the servers do along a rate, a size or a number, where that was measured.
    pub(super) curves: Option<CurvesReport>,
}

/// What was found of one server.
#[derive(Debug, Serialize)]
pub struct PeerFigures {
    /// The server.
    #[serde(flatten)]
    pub peer: Peer,
    /// Its version; empty when it could not be had.
    pub version: String,
    /// Why it could not be had or started; `null` when it could.
    pub missing: Option<String>,
    /// What failed or is in doubt, each once.
    pub notes: Vec<String>,
    /// KiB of user memory for each idle connection, one entry a round.
    pub idle_kib: Vec<f64>,
    /// Events per message, one entry a round.
    pub counts: Vec<Counts>,
    /// One entry a round that did not fail, by shape.
    #[serde(serialize_with = "by_title")]
    pub runs: BTreeMap<Shape, Vec<Run>>,
    /// Why there are not as many runs as rounds, by shape.
    #[serde(serialize_with = "by_title")]
    pub failed: BTreeMap<Shape, Vec<String>>,
}

/// One shape in one round.
#[derive(Debug, Serialize)]
pub struct Run {
    /// The round, from 1 on: runs of one round stand side by side.
    pub round: usize,
    /// Processor time of all the server's processes, in ms per 1,000 accepted messages; `null` where no message was
    /// accepted, or its processes could not be followed.
    pub cpu_ms_per_1000: Option<f64>,
    /// Cores they kept busy.
    pub cores_busy: f64,
    /// What the load saw.
    pub load: LoadReport,
}

pub(super) fn by_title<T: Serialize, S: serde::Serializer>(
    runs: &BTreeMap<Shape, T>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(runs.iter().map(|(shape, runs)| (shape.title(), runs)))
}

impl PeerFigures {
    /// Nothing measured yet.
    pub fn new(peer: Peer, version: std::result::Result<String, String>) -> Self {
        let (version, missing) = match version {
            Ok(version) => (version, None),
            Err(reason) => (String::new(), Some(reason)),
        };
        let (notes, idle_kib, counts) = (Vec::new(), Vec::new(), Vec::new());
        let (runs, failed) = (BTreeMap::new(), BTreeMap::new());
        Self { peer, version, missing, notes, idle_kib, counts, runs, failed }
    }

    /// Remembers what failed or is in doubt.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Remembers why there is no run of a shape in a round.
    pub fn fail(&mut self, shape: Shape, round: usize, reason: &str) {
        let reason = format!("round {round}: {reason}");
        let reasons = self.failed.entry(shape).or_default();
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }

    /// It could not be started: it is missing where it never gave a figure, and lacks a round of each shape where it did.
    pub fn could_not_start(&mut self, shapes: impl Iterator<Item = Shape>, round: usize, reason: &str) {
        if self.runs.is_empty() && self.counts.is_empty() && self.idle_kib.is_empty() {
            self.missing = Some(reason.to_owned());
            return;
        }
        self.note(format!("round {round}: {reason}"));
        shapes
            .filter(|shape| self.runs_of(*shape).iter().all(|run| run.round != round))
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|shape| self.fail(shape, round, reason));
    }

    /// What a reader must know of one shape in so many rounds.
    pub(super) fn doubts_of(&self, shape: Shape, rounds: usize, load_cores: &CoreList) -> Vec<Doubt> {
        let runs = self.runs_of(shape);
        let reasons = self.failed.get(&shape).map_or(&[][..], Vec::as_slice);
        let lacking = doubt::lacking(runs.len(), rounds, reasons).filter(|_| self.missing.is_none());
        lacking.into_iter().chain(doubt::doubts(runs, load_cores)).collect()
    }

    /// Its runs of one shape; none when it never met it.
    pub(super) fn runs_of(&self, shape: Shape) -> &[Run] {
        self.runs.get(&shape).map_or(&[], Vec::as_slice)
    }

    /// Messages/s by those of `other` in the same rounds; nothing when they share none.
    pub(super) fn rate_to(&self, other: &Self, shape: Shape) -> Option<Spread> {
        let beside = |run: &Run| {
            let other = other.runs_of(shape).iter().find(|other| other.round == run.round)?;
            (other.load.rate > 0.0).then(|| run.load.rate / other.load.rate)
        };
        let ratios: Vec<f64> = self.runs_of(shape).iter().filter_map(beside).collect();
        (!ratios.is_empty()).then(|| Spread::of(ratios))
    }
}

impl Run {
    /// Processor time in ms per 1,000 messages, where there is any.
    pub(super) fn cpu(&self) -> Option<f64> {
        self.cpu_ms_per_1000
    }
}

/// One figure of some runs; nothing without runs, or where any of them lacks it.
pub(super) fn spread(runs: &[Run], figure: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
    let values: Option<Vec<f64>> = runs.iter().map(figure).collect();
    values.filter(|values| !values.is_empty()).map(Spread::of)
}

impl CompareReport {
    /// The figures with what they were measured with.
    pub fn new(
        options: &CompareOptions,
        no_groups: Option<String>,
        peers: Vec<PeerFigures>,
        ceilings: Ceilings,
        curves: Option<CurvesReport>,
    ) -> Self {
        Self {
            host: host::at_start().host.clone(),
            server_cores: options.server_cores.clone(),
            load_cores: options.load_cores.clone(),
            mailrace_arguments: options.arguments.clone(),
            shapes: options.shapes.clone(),
            connections: options.connections,
            idle_connections: options.idle_connections,
            rounds: options.rounds,
            warm_up_s: options.warm_up.as_secs_f64(),
            duration_s: options.duration.as_secs_f64(),
            no_groups,
            counting_rate: PACE.rate,
            counting_sessions: PACE.sessions,
            peers,
            ceilings,
            curves,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::catalogue::PEERS;

    #[test]
    fn a_failed_round_stands_with_its_shape_and_hides_no_other_round() {
        let mut figures = PeerFigures::new(PEERS[0], Ok("1".into()));
        figures.idle_kib.push(1.0);
        figures.fail(Shape::New, 1, "it hung");
        figures.could_not_start([Shape::New, Shape::Reused].into_iter(), 2, "it ended");
        assert_eq!(figures.missing, None);
        let cores = CoreList(vec![0]);
        let words =
            |shape| figures.doubts_of(shape, 2, &cores).into_iter().map(|d| d.words).collect::<Vec<_>>();
        assert_eq!(words(Shape::New), ["0 of 2 rounds; round 1: it hung; round 2: it ended"]);
        assert_eq!(words(Shape::Reused), ["0 of 2 rounds; round 2: it ended"]);
        let mut never = PeerFigures::new(PEERS[0], Ok("1".into()));
        never.could_not_start([Shape::New].into_iter(), 1, "it ended");
        assert_eq!(never.missing.as_deref(), Some("it ended"));
        assert!(never.doubts_of(Shape::New, 1, &cores).is_empty(), "the reason it is missing says all");
    }
}
