//! What a comparison found, with all that it was measured with; `page` makes it readable.

use std::collections::BTreeMap;

use serde::Serialize;

use super::CompareOptions;
use super::catalogue::Peer;
use super::counting::{Counts, PACE};
use super::curve_report::CurvesReport;
use super::shape::Shape;
use crate::host::Host;
use crate::load::report::LoadReport;
use crate::stats::{Spread, thousands};
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
    /// One entry a round, by shape.
    #[serde(serialize_with = "by_title")]
    pub runs: BTreeMap<Shape, Vec<Run>>,
}

/// One shape in one round.
#[derive(Debug, Serialize)]
pub struct Run {
    /// The round, from 1 on: runs of one round stand side by side.
    pub round: usize,
    /// Processor time of all the server's processes, in ms per 1,000 accepted messages.
    pub cpu_ms_per_1000: f64,
    /// Cores they kept busy.
    pub cores_busy: f64,
    /// What the load saw.
    pub load: LoadReport,
}

fn by_title<S: serde::Serializer>(
    runs: &BTreeMap<Shape, Vec<Run>>,
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
        Self { peer, version, missing, notes, idle_kib, counts, runs: BTreeMap::new() }
    }

    /// Remembers what failed or is in doubt.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
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
    /// Processor time in ms per 1,000 messages: a server whose processes could not be followed has none, for no
    /// server works for nothing.
    pub(super) fn cpu(&self) -> Option<f64> {
        (self.cpu_ms_per_1000 > 0.0).then_some(self.cpu_ms_per_1000)
    }
}

/// One figure of some runs; nothing without runs, or where any of them lacks it.
pub(super) fn spread(runs: &[Run], figure: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
    let values: Option<Vec<f64>> = runs.iter().map(figure).collect();
    values.filter(|values| !values.is_empty()).map(Spread::of)
}

/// A load that keeps so much of each of its cores busy may be what was measured.
const LOAD_FULL: f64 = 0.95;

/// What a reader must know before trusting some runs: failures by cause, and whether the load was the limit.
pub(super) fn doubts(runs: &[Run], load_cores: &CoreList) -> Vec<String> {
    let mut failures = BTreeMap::<&str, u64>::new();
    for (failure, count) in runs.iter().flat_map(|run| &run.load.failures) {
        *failures.entry(failure).or_default() += count;
    }
    let failed =
        |(failure, count): (&str, u64)| format!("failed {} times: {failure}", thousands(&count.to_string()));
    let mut doubts: Vec<String> = failures.into_iter().map(failed).collect();
    let silent = runs.iter().filter(|run| run.load.time_to_250_us.count == 0).count();
    if silent > 0 {
        doubts.push(format!("no message was answered in the window of {silent} of {} runs", runs.len()));
    }
    let held: u64 = runs.iter().map(|run| run.load.connections_held).sum();
    if held > 0 {
        let held = thousands(&held.to_string());
        doubts.push(format!("its listen queue was full: {held} connections were opened later"));
    }
    let busy = spread(runs, |run| Some(run.load.load.cores_busy));
    if busy.is_some_and(|busy| busy.median > LOAD_FULL * load_cores.0.len() as f64) {
        doubts.push("the load's cores were full: the load may be the limit".into());
    }
    doubts
}

impl CompareReport {
    /// The figures with what they were measured with.
    pub fn new(
        options: &CompareOptions,
        no_groups: Option<String>,
        peers: Vec<PeerFigures>,
        curves: Option<CurvesReport>,
    ) -> Self {
        Self {
            host: Host::this(),
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
            curves,
        }
    }
}
