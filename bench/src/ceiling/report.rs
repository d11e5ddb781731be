//! Everything measured, with all inputs; `page` makes it readable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cells::{BareCell, CopyCell, Figures, MailraceCell};
use super::disk::{self, DiskCell};
use super::met::MetBatch;
use super::share::{Against, Shares};
use super::{CeilingOptions, MailraceRun, Round};
use crate::floor::{Floor, Method, RECORDS_MAX};
use crate::host::{self, Host};
use crate::load::report::LoadReport;
use crate::units::CoreList;

/// Every input and every figure.
#[derive(Debug, Serialize)]
pub struct CeilingReport {
    host: Host,
    pub(super) server_cores: CoreList,
    pub(super) load_cores: CoreList,
    pub(super) rounds: usize,
    pub(super) warm_up_s: f64,
    pub(super) duration_s: f64,
    data_dir: PathBuf,
    /// One cell for each bare sink and shape.
    pub(super) bare: Vec<BareCell>,
    /// One cell for each method and batch size.
    pub(super) disk: Vec<DiskCell>,
    /// The most octets that were made durable in sequence, by the best method.
    pub(super) sequential: Option<DiskCell>,
    /// Each round's disk loops.
    disk_rounds: Vec<Vec<Floor>>,
    pub(super) memory: Vec<CopyCell>,
    /// The server held against the ceilings, when one was.
    pub(super) mailrace: Option<CandidateReport>,
}

/// mailrace in the same rounds.
#[derive(Debug, Serialize)]
pub(super) struct CandidateReport {
    binary: PathBuf,
    arguments: Vec<String>,
    pub(super) driver: String,
    /// One cell for each shape and mode.
    pub(super) cells: Vec<MailraceCell>,
}

impl CeilingReport {
    /// Puts the rounds together with what was asked for.
    pub fn new(options: &CeilingOptions, data_dir: &Path, rounds: &[Round]) -> Self {
        let disk_rounds: Vec<Vec<Floor>> = rounds.iter().map(|round| round.disk.clone()).collect();
        let disk = disk::cells(&disk_rounds);
        let in_sequence = disk.iter().filter(|cell| cell.records_per_sync == RECORDS_MAX);
        let sequential =
            in_sequence.max_by(|a, b| a.records_per_s.median.total_cmp(&b.records_per_s.median)).cloned();
        Self {
            host: host::at_start().host.clone(),
            server_cores: options.server_cores.clone(),
            load_cores: options.load_cores.clone(),
            rounds: rounds.len(),
            warm_up_s: options.warm_up.as_secs_f64(),
            duration_s: options.duration.as_secs_f64(),
            data_dir: data_dir.to_owned(),
            bare: bare_cells(options, rounds),
            disk,
            sequential,
            disk_rounds,
            memory: CopyCell::of(rounds),
            mailrace: CandidateReport::new(options, rounds),
        }
    }

    /// What a reader must know before trusting a cell, a line for each kind; empty when there is nothing.
    pub(super) fn doubts(&self) -> Vec<String> {
        let mut doubts = Doubts::default();
        for cell in &self.bare {
            let name = format!("{}, bare {}", cell.shape, cell.kind.name());
            doubts.add(&name, &cell.figures, &cell.runs);
            let is_unsaturated = cell.figures.server_busy.median < BUSY_MIN;
            if is_unsaturated && cell.figures.load_busy.median < BUSY_MIN * self.load_cores.0.len() as f64 {
                doubts.note("Neither server nor load was busy all the time", &name);
            }
        }
        for cell in self.mailrace.iter().flat_map(|candidate| &candidate.cells) {
            let name = format!("{}, mailrace {}", cell.shape, cell.durability.name());
            doubts.add(&name, &cell.figures, &cell.runs);
            if !cell.counts_agree {
                doubts.note("The server's count of messages is not the load's", &name);
            }
        }
        self.doubts_of_the_machine().into_iter().chain(doubts.in_words()).collect()
    }

    fn doubts_of_the_machine(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.server_cores.0.len() > 1 {
            doubts.push(
                "The bare sinks use one core each, whatever the server's cores: compare CPU only.".into(),
            );
        }
        let lacking =
            Method::ALL.into_iter().filter(|method| self.disk.iter().all(|cell| cell.method != *method));
        doubts.extend(lacking.map(|method| {
            format!("{}: NOT MEASURED: the file system of the data has no direct I/O.", method.name())
        }));
        let own = (self.server_cores.0.len() + self.load_cores.0.len()) as f64;
        let load = self.host.load_average;
        if load > own + 1.0 {
            doubts.push(format!(
                "Load average {load:.1} before the run: other programs ran too, so no rate here is this machine's limit."
            ));
        }
        doubts
    }
}

/// A core is taken for full from here on: a wait now and then is no reserve.
const BUSY_MIN: f64 = 0.95;

/// Cells by what is in doubt about them.
#[derive(Debug, Default)]
struct Doubts {
    cells: BTreeMap<String, Vec<String>>,
}

impl Doubts {
    fn note(&mut self, what: impl Into<String>, cell: &str) {
        self.cells.entry(what.into()).or_default().push(cell.to_owned());
    }

    fn add(&mut self, cell: &str, figures: &Figures, runs: &[LoadReport]) {
        for (failure, count) in runs.iter().flat_map(|run| &run.failures) {
            self.note(format!("Failed: {failure}"), &format!("{cell}, {count} times"));
        }
        if figures.messages_per_s.min <= 0.0 {
            self.note("No message was answered in the window of some round", cell);
        } else if figures.load_cpu_us.median > figures.server_cpu_us.median {
            self.note("The load costs more than the server, so the rate is the load's", cell);
        }
    }

    fn in_words(self) -> impl Iterator<Item = String> {
        self.cells.into_iter().map(|(what, cells)| format!("{what}: {}.", cells.join("; ")))
    }
}

fn bare_cells(options: &CeilingOptions, rounds: &[Round]) -> Vec<BareCell> {
    let mut cells = Vec::new();
    for (at, shape) in options.shapes.iter().enumerate() {
        for (of, kind) in options.kinds.iter().enumerate() {
            let runs = rounds.iter().map(|round| round.bare[at][of].clone()).collect();
            cells.push(BareCell::of(*kind, *shape, runs));
        }
    }
    cells
}

/// The disk loops of a round with those at the batch size that was met.
fn all(round: &Round, met: Option<&MetBatch>) -> Vec<Floor> {
    round.disk.iter().chain(met.iter().flat_map(|met| &met.loops)).copied().collect()
}

impl CandidateReport {
    fn new(options: &CeilingOptions, rounds: &[Round]) -> Option<Self> {
        let candidate = options.mailrace.as_ref()?;
        let mut cells = Vec::new();
        let mut driver = String::new();
        for (at, shape) in options.shapes.iter().enumerate() {
            for (of, mode) in candidate.modes.iter().enumerate() {
                let runs: Vec<&MailraceRun> = rounds.iter().map(|round| &round.mailrace[at][of]).collect();
                // The first kind is monoio, which is what mailrace itself is built on.
                let met: Vec<_> = rounds.iter().map(|round| round.met[at][of].as_ref()).collect();
                let disks: Vec<Vec<Floor>> =
                    rounds.iter().zip(&met).map(|(round, met)| all(round, *met)).collect();
                let against = rounds.iter().zip(&disks).map(|(round, disk)| Against {
                    bare: &round.bare[at][0],
                    disk,
                    mailrace: &round.mailrace[at][of].load,
                });
                let shares = Shares::of(*mode, shape, &against.collect::<Vec<_>>());
                driver = runs.first().map_or(driver, |run| run.driver.clone());
                cells.push(MailraceCell::of(*mode, *shape, &runs, &met, shares));
            }
        }
        let (binary, arguments) = (candidate.binary.clone(), candidate.arguments.clone());
        Some(Self { binary, arguments, driver, cells })
    }
}
