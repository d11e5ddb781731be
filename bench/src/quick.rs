//! mailrace's own figures in a few minutes: every durability mode over a few numbers of connections, server on
//! its cores and load on others, beside the floor of the disk taken in the same minute.
//!
//! Rounds are interleaved: a window in which the machine is slow falls on all cells alike, and each figure is the
//! median of its rounds.

mod page;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::error::Result;
use crate::floor::{self, Floor};
use crate::host::{self, Host};
use crate::load::report::LoadReport;
use crate::load::script::MailShape;
use crate::load::session::Pipelining;
use crate::load::{self, Amount, LoadOptions};
use crate::mailrace::{Durability, Mailrace, MailraceOptions, Totals};
use crate::stats::Spread;
use crate::units::CoreList;
use crate::workspace::{Afterwards, Workspace};

/// What is measured, and where.
#[derive(Clone, Debug)]
pub struct QuickOptions {
    /// The server's program.
    pub mailrace: PathBuf,
    /// Further arguments of its `serve`.
    pub arguments: Vec<String>,
    /// Where data goes, in a new directory.
    pub parent_dir: PathBuf,
    /// What becomes of it.
    pub afterwards: Afterwards,
    /// The server's cores.
    pub server_cores: CoreList,
    /// The load's cores.
    pub load_cores: CoreList,
    /// Modes, in the order of the table.
    pub modes: Vec<Durability>,
    /// Numbers of connections.
    pub connections: Vec<usize>,
    /// Octets of a message.
    pub size: usize,
    /// When commands are sent ahead of replies.
    pub pipelining: Pipelining,
    /// How often each cell is measured.
    pub rounds: usize,
    /// Before each measurement.
    pub warm_up: Duration,
    /// Each measurement.
    pub duration: Duration,
}

/// Records before each sync of the floor's loops.
const FLOOR_RECORDS: [usize; 2] = [1, 64];

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct QuickReport {
    host: Host,
    mailrace: PathBuf,
    arguments: Vec<String>,
    driver: String,
    server_cores: CoreList,
    load_cores: CoreList,
    size: usize,
    pipelining: Pipelining,
    warm_up_s: f64,
    duration_s: f64,
    data_dir: PathBuf,
    /// One entry a round, one row a loop.
    floors: Vec<Vec<Floor>>,
    /// One entry a cell of the table.
    cells: Vec<Cell>,
}

/// One mode with one number of connections.
#[derive(Debug, Serialize)]
pub struct Cell {
    durability: Durability,
    connections: usize,
    /// Accepted messages per second.
    rate: Spread,
    /// Median time to 250.
    p50_us: Spread,
    /// 99th percentile of the time to 250.
    p99_us: Spread,
    /// The server's processor time per message, all its threads.
    server_cpu_us: Spread,
    /// Cores the server kept busy.
    server_busy: Spread,
    /// The load's processor time per message.
    load_cpu_us: Spread,
    /// Synchronous writes per message, over the whole run.
    syncs_per_message: Spread,
    runs: Vec<Run>,
}

/// One measurement.
#[derive(Debug, Serialize)]
struct Run {
    load: LoadReport,
    totals: Totals,
    /// Whether the server's count of messages is the load's count of 250s.
    counts_agree: bool,
}

/// Measures all rounds; `progress` is told what is about to be measured.
///
/// # Errors
/// When the server cannot be run or driven, or its data not be written.
pub fn run(options: &QuickOptions, progress: &mut dyn FnMut(&str)) -> Result<QuickReport> {
    let mut workspace = Workspace::new(&options.parent_dir, options.afterwards)?;
    let shapes: Vec<(usize, Durability)> = options
        .connections
        .iter()
        .flat_map(|connections| options.modes.iter().map(|mode| (*connections, *mode)))
        .collect();
    let mut floors = Vec::new();
    let mut runs: Vec<Vec<Run>> = shapes.iter().map(|_| Vec::new()).collect();
    let mut driver = String::new();
    for round in 1..=options.rounds {
        progress(&format!("round {round} of {}: floor", options.rounds));
        floors.push(measure_floor(options, &mut workspace)?);
        for (shape, runs) in shapes.iter().zip(&mut runs) {
            let (connections, mode) = *shape;
            progress(&format!(
                "round {round} of {}: {} over {connections} connections",
                options.rounds,
                mode.name()
            ));
            let (run, used) = measure(options, &mut workspace, mode, connections)?;
            runs.push(run);
            driver = used;
        }
    }
    let mut cells: Vec<Cell> = shapes
        .into_iter()
        .zip(runs)
        .map(|((connections, mode), runs)| Cell::of(mode, connections, runs))
        .collect();
    cells.sort_by_key(|cell| options.modes.iter().position(|mode| *mode == cell.durability));
    Ok(QuickReport {
        host: host::at_start().host.clone(),
        mailrace: options.mailrace.clone(),
        arguments: options.arguments.clone(),
        driver,
        server_cores: options.server_cores.clone(),
        load_cores: options.load_cores.clone(),
        size: options.size,
        pipelining: options.pipelining,
        warm_up_s: options.warm_up.as_secs_f64(),
        duration_s: options.duration.as_secs_f64(),
        data_dir: workspace.root().to_owned(),
        floors,
        cells,
    })
}

fn measure_floor(options: &QuickOptions, workspace: &mut Workspace) -> Result<Vec<Floor>> {
    let directory = workspace.fresh_made()?;
    let time = (options.duration / 4).min(Duration::from_millis(500));
    let floor = floor::measure(&directory, &options.server_cores.0, &FLOOR_RECORDS, time)?;
    workspace.put_aside(&directory)?;
    Ok(floor)
}

fn measure(
    options: &QuickOptions,
    workspace: &mut Workspace,
    durability: Durability,
    connection_count: usize,
) -> Result<(Run, String)> {
    let server = MailraceOptions {
        binary: options.mailrace.clone(),
        cores: options.server_cores.clone(),
        durability,
        data_dir: workspace.fresh(),
        arguments: options.arguments.clone(),
    };
    let mailrace = Mailrace::start(&server)?;
    let load = match load::run(&LoadOptions {
        target: mailrace.address(),
        cores: options.load_cores.0.clone(),
        connection_count,
        messages_per_connection: None,
        pipelining: options.pipelining,
        mail: MailShape::of_size(options.size),
        amount: Amount::For { warm_up: options.warm_up, duration: options.duration },
        server_pid: Some(mailrace.pid()),
    }) {
        Ok(load) => load,
        Err(error) => return Err(mailrace.blamed(&server, error)),
    };
    let driver = mailrace.driver().to_owned();
    let totals = mailrace.stop(&server)?;
    workspace.put_aside(&server.data_dir)?;
    let counts_agree = totals.messages == load.messages_overall.accepted;
    Ok((Run { load, totals, counts_agree }, driver))
}

impl Cell {
    fn of(durability: Durability, connections: usize, runs: Vec<Run>) -> Self {
        let spread = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
        Self {
            durability,
            connections,
            rate: spread(|run| run.load.rate),
            p50_us: spread(|run| run.load.time_to_250_us.p50),
            p99_us: spread(|run| run.load.time_to_250_us.p99),
            server_cpu_us: spread(|run| run.load.server.map_or(0.0, |server| server.cpu_us_per_message)),
            server_busy: spread(|run| run.load.server.map_or(0.0, |server| server.cores_busy)),
            load_cpu_us: spread(|run| run.load.load.cpu_us_per_message),
            syncs_per_message: spread(|run| run.totals.syncs as f64 / run.totals.messages.max(1) as f64),
            runs,
        }
    }
}
