//! This machine's limits, in the units and the minute of what is held against them.
//!
//! ```text
//! each round:  disk loops -> memory copies
//!              -> for each shape: bare sinks, then mailrace in each mode, each followed by a disk loop of its mean batch
//! ```
//! - `bare` starts a sink as a child process: `dialogue` over `monoio_sink` or `uring_sink` (over `ring`);
//! - `disk` and `memory` are the loops, `met` the one at mailrace's own batches, `shape` is what the load looks like;
//! - `micro` is mailrace's own work in pieces, `instructions` counts what they cost;
//! - `cells` holds the figures, `share` puts mailrace against the ceiling that binds, `report` keeps it, `page` shows it.
//!
//! Rounds are interleaved and a share is taken within its round, so that a slow window falls on both sides of it.

pub mod bare;
pub mod cells;
mod dialogue;
pub mod disk;
pub mod instructions;
pub mod memory;
pub mod met;
pub mod micro;
mod monoio_sink;
mod page;
pub mod report;
mod ring;
pub mod shape;
pub mod share;
mod uring_sink;

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Result;
use crate::floor::Floor;
use crate::load::report::LoadReport;
use crate::load::script::MailShape;
use crate::load::{self, Amount, LoadOptions};
use crate::mailrace::{Durability, Mailrace, MailraceOptions, Totals};
use crate::progress::Steps;
use crate::units::CoreList;
use crate::workspace::{Afterwards, Workspace};
use bare::{BareKind, BareSink};
use memory::Copy;
use met::MetBatch;
use report::CeilingReport;
use shape::Shape;

/// What is measured, and where.
#[derive(Clone, Debug)]
pub struct CeilingOptions {
    /// Where data goes, in a new directory.
    pub parent_dir: PathBuf,
    /// What becomes of it.
    pub afterwards: Afterwards,
    /// The cores of sinks, disk loops, copies and mailrace.
    pub server_cores: CoreList,
    /// The load's cores.
    pub load_cores: CoreList,
    /// Shapes, in the order of the table.
    pub shapes: Vec<Shape>,
    /// Bare sinks, in the order of the table.
    pub kinds: Vec<BareKind>,
    /// mailrace in the same rounds; `None` leaves it out.
    pub mailrace: Option<Candidate>,
    /// How often each cell is measured.
    pub rounds: usize,
    /// Before each measurement of a server.
    pub warm_up: Duration,
    /// Each measurement of a server; each disk loop and copy takes an eighth.
    pub duration: Duration,
}

impl CeilingOptions {
    /// What one server's run takes.
    fn run_time(&self) -> Duration {
        self.warm_up + self.duration
    }

    /// What each disk loop and each copy takes.
    fn loop_time(&self) -> Duration {
        self.duration / 8
    }

    /// What disk loops and copies take, nearly: three methods with five batch sizes, two copies.
    fn loops_time(&self) -> Duration {
        self.loop_time() * 17
    }

    /// What one run of mailrace takes, nearly, with the loops of three methods behind one that syncs.
    fn mailrace_time(&self, mode: Durability) -> Duration {
        let loops = if mode == Durability::Sync { self.loop_time() * 3 } else { Duration::ZERO };
        self.run_time() + loops
    }

    /// What all rounds take.
    fn time(&self) -> Duration {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let modes = self.mailrace.iter().flat_map(|candidate| &candidate.modes);
        let modes: Duration = modes.map(|mode| self.mailrace_time(*mode)).sum();
        let shape = self.run_time() * count(self.kinds.len()) + modes;
        (self.loops_time() + shape * count(self.shapes.len())) * count(self.rounds)
    }
}

/// The mailrace held against the ceilings.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The server's program.
    pub binary: PathBuf,
    /// Further arguments of its `serve`.
    pub arguments: Vec<String>,
    /// Modes, in the order of the table.
    pub modes: Vec<Durability>,
}

/// What one round measured.
#[derive(Debug)]
pub struct Round {
    /// The disk loops, method by method.
    pub disk: Vec<Floor>,
    /// The copies.
    pub memory: Vec<Copy>,
    /// For each shape a run of each bare sink.
    pub bare: Vec<Vec<LoadReport>>,
    /// For each shape a run of mailrace in each mode.
    pub mailrace: Vec<Vec<MailraceRun>>,
    /// For each of those runs the disk loops at its mean batch; nothing behind one that synced nothing.
    pub met: Vec<Vec<Option<MetBatch>>>,
}

/// One run of mailrace.
#[derive(Clone, Debug)]
pub struct MailraceRun {
    /// What the load saw.
    pub load: LoadReport,
    /// What the server says it did, warm-up included.
    pub totals: Totals,
    /// Its I/O driver.
    pub driver: String,
}

/// Measures all rounds; `progress` is told what is about to be measured.
///
/// # Errors
/// When a sink or the server cannot be run or driven, or the disk not be written.
pub fn run(options: &CeilingOptions, progress: &mut dyn FnMut(&str)) -> Result<CeilingReport> {
    let mut workspace = Workspace::new(&options.parent_dir, options.afterwards)?;
    let mut rounds = Vec::new();
    let mut steps = Steps::new(options.time());
    for number in 1..=options.rounds {
        let mut tell = |time: Duration, what: &str| {
            progress(&steps.begin(time, &format!("round {number} of {}, {what}", options.rounds)));
        };
        rounds.push(measure_round(options, &mut workspace, &mut tell)?);
    }
    Ok(CeilingReport::new(options, workspace.root(), &rounds))
}

fn measure_round(
    options: &CeilingOptions,
    workspace: &mut Workspace,
    progress: &mut dyn FnMut(Duration, &str),
) -> Result<Round> {
    let cores = &options.server_cores.0;
    let loop_time = options.loop_time();
    progress(options.loops_time(), "disk and memory");
    let directory = workspace.fresh_made()?;
    let disk = disk::measure(&directory, cores, loop_time)?;
    workspace.put_aside(&directory)?;
    let memory = memory::measure(cores, loop_time)?;
    let mut round = Round { disk, memory, bare: Vec::new(), mailrace: Vec::new(), met: Vec::new() };
    for shape in &options.shapes {
        let mut sinks = Vec::new();
        for kind in &options.kinds {
            progress(options.run_time(), &format!("{shape}, bare {}", kind.name()));
            sinks.push(measure_bare(options, *kind, shape)?);
        }
        round.bare.push(sinks);
        let (mut modes, mut met) = (Vec::new(), Vec::new());
        if let Some(candidate) = &options.mailrace {
            for mode in &candidate.modes {
                progress(options.mailrace_time(*mode), &format!("{shape}, mailrace {}", mode.name()));
                let run = measure_mailrace(options, candidate, *mode, workspace, shape)?;
                met.push(MetBatch::measure(options, workspace, shape, run.totals)?);
                modes.push(run);
            }
        }
        round.mailrace.push(modes);
        round.met.push(met);
    }
    Ok(round)
}

fn measure_bare(options: &CeilingOptions, kind: BareKind, shape: &Shape) -> Result<LoadReport> {
    let sink = BareSink::start(kind, &options.server_cores.0, shape.connections)?;
    let load = load::run(&load_options(options, shape, sink.address(), sink.pid()))?;
    sink.stop()?;
    Ok(load)
}

fn measure_mailrace(
    options: &CeilingOptions,
    candidate: &Candidate,
    durability: Durability,
    workspace: &mut Workspace,
    shape: &Shape,
) -> Result<MailraceRun> {
    let server = MailraceOptions {
        binary: candidate.binary.clone(),
        cores: options.server_cores.clone(),
        durability,
        data_dir: workspace.fresh(),
        arguments: candidate.arguments.clone(),
    };
    let mailrace = Mailrace::start(&server)?;
    let load = load::run(&load_options(options, shape, mailrace.address(), mailrace.pid()))?;
    let driver = mailrace.driver().to_owned();
    let totals = mailrace.stop(&server)?;
    workspace.put_aside(&server.data_dir)?;
    Ok(MailraceRun { load, totals, driver })
}

fn load_options(
    options: &CeilingOptions,
    shape: &Shape,
    target: std::net::SocketAddr,
    server_pid: u32,
) -> LoadOptions {
    LoadOptions {
        target,
        cores: options.load_cores.0.clone(),
        connection_count: shape.connections,
        messages_per_connection: None,
        pipelining: shape.pipelining(),
        mail: MailShape::of_size(shape.size),
        amount: Amount::For { warm_up: options.warm_up, duration: options.duration },
        server_pid: Some(server_pid),
    }
}
