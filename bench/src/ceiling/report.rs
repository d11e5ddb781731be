//! Everything measured, as JSON for machines and tables for people.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cells::{BareCell, CopyCell, Figures, MailraceCell};
use super::disk::{self, DiskCell};
use super::share::{Against, Shares};
use super::{CeilingOptions, MailraceRun, Round};
use crate::floor::{Floor, RECORD_LEN, RECORDS_MAX};
use crate::host::Host;
use crate::stats::{Spread, thousands};
use crate::table::Table;
use crate::units::CoreList;

/// Every input and every figure.
#[derive(Debug, Serialize)]
pub struct CeilingReport {
    host: Host,
    server_cores: CoreList,
    load_cores: CoreList,
    rounds: usize,
    warm_up_s: f64,
    duration_s: f64,
    data_dir: PathBuf,
    /// One cell for each bare sink and shape.
    bare: Vec<BareCell>,
    /// One cell for each method and batch size.
    disk: Vec<DiskCell>,
    /// The most octets that were made durable in sequence, by the best method.
    sequential: Option<DiskCell>,
    /// Each round's disk loops.
    disk_rounds: Vec<Vec<Floor>>,
    memory: Vec<CopyCell>,
    /// The server held against the ceilings, when one was.
    mailrace: Option<CandidateReport>,
}

/// mailrace in the same rounds.
#[derive(Debug, Serialize)]
struct CandidateReport {
    binary: PathBuf,
    arguments: Vec<String>,
    driver: String,
    /// One cell for each shape and mode.
    cells: Vec<MailraceCell>,
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
            host: Host::this(),
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

    /// The tables, for a terminal or a page.
    pub fn markdown(&self) -> String {
        let host = &self.host;
        let mut text = format!(
            "Ceilings of this machine: {processor}, {cores} cores, Linux {kernel}, load average {load:.1}.\n\
             Servers on cores {server}, load on cores {load_cores}; connections kept, {seconds} s a run, median \
             of {rounds} (min-max); data in {dir}.\n\n\
             Bare sinks: canned replies, a search for the end of data, nothing else.\n\n{bare}\n\
             Disk: records of {record} octets into blocks already written, synced before the next batch.\n\n{disk}",
            processor = host.processor,
            cores = host.core_count,
            kernel = host.kernel,
            load = host.load_average,
            server = self.server_cores,
            load_cores = self.load_cores,
            seconds = self.duration_s,
            rounds = self.rounds,
            dir = self.data_dir.display(),
            bare = self.bare_table(),
            record = thousands(&RECORD_LEN.to_string()),
            disk = self.disk_table(),
        );
        if let Some(best) = &self.sequential {
            let rate = best.megabytes_per_s.words(0);
            text += &format!("\nSequential and synced: {rate} MB/s by {}.\n", best.method.name());
        }
        for copy in &self.memory {
            let len = thousands(&copy.len.to_string());
            text += &format!("Memory, copies of {len} octets: {} GB/s.\n", copy.gigabytes_per_s.words(1));
        }
        if let Some(candidate) = &self.mailrace {
            text += &format!("\n{}", candidate.markdown());
        }
        text + &self.doubts()
    }

    fn bare_table(&self) -> Table {
        let mut table = Table::new(&SERVER_COLUMNS);
        for cell in &self.bare {
            let who = format!("bare {}", cell.kind.name());
            table.row(server_row(cell.shape.to_string(), who, &cell.figures));
        }
        table
    }

    fn disk_table(&self) -> Table {
        let heading =
            ["method", "records/sync", "records/s", "MB/s", "sync p50 us", "sync p99 us", "CPU us/record"];
        let mut table = Table::new(&heading);
        for cell in &self.disk {
            table.row(vec![
                cell.method.name().into(),
                thousands(&cell.records_per_sync.to_string()),
                cell.records_per_s.words(0),
                cell.megabytes_per_s.words(0),
                cell.p50_us.words(0),
                cell.p99_us.words(0),
                cell.cpu_us_per_record.words(2),
            ]);
        }
        table
    }

    /// What a reader must know before trusting a cell; empty when there is nothing.
    fn doubts(&self) -> String {
        let mut text = String::new();
        if self.server_cores.0.len() > 1 {
            text += "\nThe bare sinks use one core each, whatever the server's cores: compare CPU only.";
        }
        let own = (self.server_cores.0.len() + self.load_cores.0.len()) as f64;
        if self.host.load_average > own + 1.0 {
            text += &format!(
                "\nLoad average {:.1}: other programs ran too, so no rate here is this machine's limit.",
                self.host.load_average
            );
        }
        for cell in &self.bare {
            let name = format!("{}, bare {}", cell.shape, cell.kind.name());
            text += &doubts_of(&name, &cell.figures, cell.runs.iter().flat_map(|run| &run.failures));
            let is_unsaturated = cell.figures.server_busy.median < BUSY_MIN;
            if is_unsaturated && cell.figures.load_busy.median < BUSY_MIN * self.load_cores.0.len() as f64 {
                text += &format!("\n{name}: neither server nor load was busy all the time.");
            }
        }
        for cell in self.mailrace.iter().flat_map(|candidate| &candidate.cells) {
            let name = format!("{}, mailrace {}", cell.shape, cell.durability.name());
            text += &doubts_of(&name, &cell.figures, cell.runs.iter().flat_map(|run| &run.failures));
            if !cell.counts_agree {
                text += &format!("\n{name}: the server's count of messages is not the load's.");
            }
        }
        text
    }
}

/// A core is taken for full from here on: a wait now and then is no reserve.
const BUSY_MIN: f64 = 0.95;

fn doubts_of<'a>(
    name: &str,
    figures: &Figures,
    failures: impl Iterator<Item = (&'a String, &'a u64)>,
) -> String {
    let mut text: String =
        failures.map(|(failure, count)| format!("\n{name}: failed {count} times: {failure}.")).collect();
    if figures.load_cpu_us.median > figures.server_cpu_us.median {
        text += &format!("\n{name}: the load costs more than the server, so its rate is the load's.");
    }
    text
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

impl CandidateReport {
    fn new(options: &CeilingOptions, rounds: &[Round]) -> Option<Self> {
        let candidate = options.mailrace.as_ref()?;
        let mut cells = Vec::new();
        let mut driver = String::new();
        for (at, shape) in options.shapes.iter().enumerate() {
            for (of, mode) in candidate.modes.iter().enumerate() {
                let runs: Vec<&MailraceRun> = rounds.iter().map(|round| &round.mailrace[at][of]).collect();
                // The first kind is monoio, which is what mailrace itself is built on.
                let against = rounds.iter().map(|round| Against {
                    bare: &round.bare[at][0],
                    disk: &round.disk,
                    mailrace: &round.mailrace[at][of].load,
                });
                let shares = Shares::of(*mode, shape, &against.collect::<Vec<_>>());
                driver = runs.first().map_or(driver, |run| run.driver.clone());
                cells.push(MailraceCell::of(*mode, *shape, &runs, shares));
            }
        }
        let (binary, arguments) = (candidate.binary.clone(), candidate.arguments.clone());
        Some(Self { binary, arguments, driver, cells })
    }

    fn markdown(&self) -> String {
        let mut table = Table::new(&SERVER_COLUMNS);
        let mut shares = Table::new(&[
            "shape",
            "mode",
            "messages/sync",
            "CPU, times bare monoio",
            "CPU, times bare monoio + disk loop",
            "rate/monoio",
            "rate/disk",
            "rate/core",
            "binding",
            "which allows/s",
            "share of it",
        ]);
        for cell in &self.cells {
            let mode = cell.durability.name();
            table.row(server_row(cell.shape.to_string(), format!("mailrace {mode}"), &cell.figures));
            shares.row(share_row(cell, mode));
        }
        format!(
            "mailrace in the same rounds, driver {}:\n\n{table}\nAs parts of the ceilings, each in its round:\n\n\
             {shares}",
            self.driver
        )
    }
}

fn share_row(cell: &MailraceCell, mode: &str) -> Vec<String> {
    let s = &cell.shares;
    let or_dash = |spread: Option<Spread>| spread.map_or("-".into(), |spread| spread.words(2));
    vec![
        cell.shape.to_string(),
        mode.into(),
        cell.messages_per_sync.words(1),
        s.cpu_to_network.words(2),
        or_dash(s.cpu_to_core),
        s.rate_to_network.words(2),
        or_dash(s.rate_to_disk),
        or_dash(s.rate_to_core),
        s.bound.name().into(),
        s.bound_messages_per_s.words(0),
        s.rate_to_bound.words(2),
    ]
}

const SERVER_COLUMNS: [&str; 9] = [
    "shape",
    "server",
    "messages/s",
    "MB/s",
    "p50 us",
    "p99 us",
    "server CPU us/message",
    "server cores",
    "load CPU us/message",
];

fn server_row(shape: String, server: String, figures: &Figures) -> Vec<String> {
    vec![
        shape,
        server,
        figures.messages_per_s.words(0),
        figures.megabytes_per_s.words(0),
        figures.p50_us.words(0),
        figures.p99_us.words(0),
        figures.server_cpu_us.words(1),
        format!("{:.2}", figures.server_busy.median),
        format!("{:.1}", figures.load_cpu_us.median),
    ]
}
