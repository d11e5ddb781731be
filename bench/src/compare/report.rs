//! What a comparison found: JSON for machines, Markdown for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::CompareOptions;
use super::catalogue::Peer;
use super::counting::{self, Counts, PACE};
use super::shape::Shape;
use crate::host::Host;
use crate::load::report::LoadReport;
use crate::stats::{Spread, thousands};
use crate::table::Table;
use crate::units::CoreList;

/// What stands in a cell without a figure.
const NOT_MEASURED: &str = "NOT MEASURED";

/// Everything compared.
#[derive(Debug, Serialize)]
pub struct CompareReport {
    host: Host,
    server_cores: CoreList,
    load_cores: CoreList,
    mailrace_arguments: Vec<String>,
    shapes: Vec<Shape>,
    connections: usize,
    idle_connections: usize,
    rounds: usize,
    warm_up_s: f64,
    duration_s: f64,
    /// Why servers were followed as trees of processes and not as control groups; `null` when they were groups.
    no_groups: Option<String>,
    /// Offered while system calls were counted, messages per second.
    counting_rate: u32,
    /// Sessions it was offered over.
    counting_sessions: u32,
    /// One entry a server, those that could not be had included.
    peers: Vec<PeerFigures>,
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

    fn spread(&self, shape: Shape, figure: fn(&Run) -> f64) -> Option<Spread> {
        let runs = self.runs.get(&shape).filter(|runs| !runs.is_empty())?;
        Some(Spread::of(runs.iter().map(figure)))
    }
}

impl CompareReport {
    /// The figures with what they were measured with.
    pub fn new(options: &CompareOptions, no_groups: Option<String>, peers: Vec<PeerFigures>) -> Self {
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
        }
    }

    /// The tables, for a terminal or a page.
    pub fn markdown(&self) -> String {
        let host = &self.host;
        let mut text = format!(
            "Servers on cores {}, load on cores {}; {} connections (16 for 1 MiB), {} s a run after {} s, median of \
             {} interleaved rounds (min-max).\n{}, {} cores, Linux {}, load average {:.1} at the end.\n\n\
             Counted from outside at {} messages/s over {} reused sessions, 4 KiB, lockstep; memory over {} idle \
             connections. {}\n\n{}\n",
            self.server_cores,
            self.load_cores,
            self.connections,
            self.duration_s,
            self.warm_up_s,
            self.rounds,
            host.processor,
            host.core_count,
            host.kernel,
            host.load_average,
            PACE.rate,
            PACE.sessions,
            self.idle_connections,
            self.following(),
            self.peer_table(),
        );
        for shape in self.shapes.iter().filter(|shape| **shape != Shape::Idle) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}:\n\n{}", shape.title(), self.shape_table(*shape));
        }
        text + &self.notes()
    }

    /// Which way processor time and system calls were taken.
    fn following(&self) -> String {
        match &self.no_groups {
            None => {
                "Processor time and system calls are those of a control group of each server's own.".into()
            }
            Some(reason) => format!(
                "Processor time and system calls are those of each server's tree of processes, which misses sessions \
                 that end unseen, since {reason}."
            ),
        }
    }

    fn present(&self) -> impl Iterator<Item = &PeerFigures> {
        self.peers.iter().filter(|peer| peer.missing.is_none())
    }

    fn peer_table(&self) -> Table {
        let mut table = Table::new(&[
            "server",
            "version",
            "configuration",
            "keeps, before 250",
            "system calls/message",
            "syncs/message",
            "io_uring operations/message",
            "KiB/idle connection",
        ]);
        for figures in self.present() {
            let counts = |figure, decimals| words(counting::spread(&figures.counts, figure), decimals);
            let idle = &figures.idle_kib;
            let idle = (!idle.is_empty()).then(|| Spread::of(idle.iter().copied()));
            table.row(vec![
                figures.peer.name.into(),
                figures.version.clone(),
                figures.peer.configuration.into(),
                figures.peer.keeps.into(),
                counts(|counts| counts.syscalls, 1),
                counts(Counts::syncs, 2),
                counts(|counts| counts.uring_operations, 1),
                words(idle, 1),
            ]);
        }
        table
    }

    fn shape_table(&self, shape: Shape) -> Table {
        let mut table = Table::new(&[
            "server",
            "keeps",
            "messages/s",
            "MB/s",
            "CPU ms/1,000 messages",
            "cores",
            "p50 ms",
            "p99 ms",
            "load CPU ms/1,000",
        ]);
        for figures in self.present() {
            let cell = |figure: fn(&Run) -> f64, decimals| words(figures.spread(shape, figure), decimals);
            table.row(vec![
                figures.peer.name.into(),
                figures.peer.keeps.into(),
                cell(|run| run.load.rate, 0),
                cell(|run| run.load.megabytes_per_s, 1),
                words(used(figures.spread(shape, |run| run.cpu_ms_per_1000)), 1),
                middle(used(figures.spread(shape, |run| run.cores_busy)), 2),
                cell(|run| run.load.time_to_250_us.p50 / 1e3, 2),
                cell(|run| run.load.time_to_250_us.p99 / 1e3, 2),
                middle(figures.spread(shape, |run| run.load.load.cpu_us_per_message), 1),
            ]);
        }
        table
    }

    /// Who is missing, what failed, and where the load was the limit.
    fn notes(&self) -> String {
        let mut lines = Vec::new();
        for figures in &self.peers {
            let name = figures.peer.name;
            lines.extend(figures.missing.iter().map(|reason| format!("{name}: NOT MEASURED: {reason}")));
            lines.extend(figures.notes.iter().map(|note| format!("{name}: {note}")));
            for (shape, runs) in &figures.runs {
                let title = shape.title();
                let mut failures = BTreeMap::<&str, u64>::new();
                for (failure, count) in runs.iter().flat_map(|run| &run.load.failures) {
                    *failures.entry(failure).or_default() += count;
                }
                lines.extend(failures.iter().map(|(failure, count)| {
                    format!("{name}: {title}: failed {} times: {failure}", thousands(&count.to_string()))
                }));
                let busy = figures.spread(*shape, |run| run.load.load.cores_busy);
                if busy.is_some_and(|busy| busy.median > LOAD_FULL * self.load_cores.0.len() as f64) {
                    lines.push(format!("{name}: {title}: the load's cores were full, it may be the limit"));
                }
            }
        }
        lines.join("\n")
    }
}

/// A load that keeps so much of each core busy may be what was measured.
const LOAD_FULL: f64 = 0.95;

/// No server works for nothing: where a tree's time could not be followed in some round there is no figure.
fn used(spread: Option<Spread>) -> Option<Spread> {
    spread.filter(|spread| spread.min > 0.0)
}

fn words(spread: Option<Spread>, decimals: usize) -> String {
    spread.map_or_else(|| NOT_MEASURED.into(), |spread| spread.words(decimals))
}

fn middle(spread: Option<Spread>, decimals: usize) -> String {
    spread.map_or_else(|| NOT_MEASURED.into(), |spread| format!("{:.decimals$}", spread.median))
}
