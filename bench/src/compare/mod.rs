//! mailrace beside other servers: the same load, the same pinning, interleaved rounds.
//!
//! - `catalogue` names the servers, `server` runs one, `tree` looks at its processes;
//! - `idle` opens connections that do nothing, to learn what one takes;
//! - `shape` is what the load does, `paced` the fixed rate at which `counting` counts system calls;
//! - `report` holds the figures and `page` shows them, `keeping` putting together what does as much;
//! - `curves` goes along a rate, a size or a number, `curve_report` and `curve_page` hold and show that.
//!
//! In each round each server is started twice, in a fresh directory: to take idle connections, and to meet the shapes of
//! load in their order.
//! What cannot be had or fails is named with its reason and its figures are missing; nothing is left out silently.

pub mod catalogue;
pub mod counting;
mod curve_page;
pub mod curve_report;
pub mod curves;
pub mod idle;
mod keeping;
pub mod paced;
mod page;
pub mod report;
pub mod server;
pub mod shape;
pub mod tree;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::group::GroupHome;
use crate::load::listen_queue::ListenQueue;
use crate::load::report::LoadReport;
use crate::load::script::MailShape;
use crate::load::{self, Amount, LoadOptions, Refinements};
use crate::progress::Steps;
use crate::units::CoreList;
use crate::workspace::{Afterwards, Workspace};
use catalogue::{Found, Peer, Start};
use counting::{Counts, PACE};
use curve_report::CurvesReport;
use curves::CurvePlan;
use report::{CompareReport, PeerFigures, Run};
use server::{Hall, Server};
use shape::Shape;
use tree::Extent;

/// What is compared, and where.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// The project's directory, which holds the other servers.
    pub root: PathBuf,
    /// mailrace's program.
    pub mailrace: PathBuf,
    /// Further arguments of its `serve`.
    pub arguments: Vec<String>,
    /// Where data goes, in a new directory.
    pub parent_dir: PathBuf,
    /// What becomes of it.
    pub afterwards: Afterwards,
    /// The servers' cores.
    pub server_cores: CoreList,
    /// The load's cores.
    pub load_cores: CoreList,
    /// Servers, in the order of the report.
    pub peers: Vec<Peer>,
    /// Shapes of load, in the order of the report.
    pub shapes: Vec<Shape>,
    /// Connections at once.
    pub connections: usize,
    /// Idle connections opened to learn what one takes.
    pub idle_connections: usize,
    /// How often each is measured.
    pub rounds: usize,
    /// Before each measurement.
    pub warm_up: Duration,
    /// Each measurement.
    pub duration: Duration,
    /// What is measured along curves afterwards, and of which servers.
    pub curves: CurvePlan,
}

impl CompareOptions {
    /// Where the servers come from and run.
    fn hall<'a>(&'a self, found: &'a Found, groups: &'a std::result::Result<GroupHome, String>) -> Hall<'a> {
        Hall {
            mailrace: &self.mailrace,
            arguments: &self.arguments,
            cores: &self.server_cores,
            groups,
            found,
        }
    }

    /// What one run takes.
    fn run_time(&self) -> Duration {
        self.warm_up + self.duration
    }

    /// What one server takes in one round, as far as that is known beforehand.
    fn server_time(&self) -> Duration {
        const START_AND_STOP: Duration = Duration::from_secs(2);
        let counting = Duration::from_secs(1) * (PACE.count + PACE.count / 4) / PACE.rate;
        let count = self.shapes.iter().filter(|shape| **shape != Shape::Idle).count();
        START_AND_STOP + counting + self.run_time() * u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// Compares all servers in all rounds; `progress` is told what is about to be measured.
///
/// # Errors
/// When the data cannot be written. A server that fails is reported instead.
pub fn run(options: &CompareOptions, progress: &mut dyn FnMut(&str)) -> Result<CompareReport> {
    let found = Found::read(&options.root);
    let groups = GroupHome::find();
    let hall = options.hall(&found, &groups);
    let mut workspace = Workspace::new(&options.parent_dir, options.afterwards)?;
    let mut figures: Vec<PeerFigures> =
        options.peers.iter().map(|peer| PeerFigures::new(*peer, version(peer, &found))).collect();
    let there = figures.iter().filter(|figures| figures.missing.is_none()).count();
    let runs = u32::try_from(there * options.rounds).unwrap_or(u32::MAX);
    let mut steps = Steps::new(options.server_time() * runs + curves::planned(options, &found));
    for round in 1..=options.rounds {
        for figures in &mut figures {
            if figures.missing.is_some() {
                continue;
            }
            let what = format!("round {round} of {}, {}", options.rounds, figures.peer.name);
            progress(&steps.begin(options.server_time(), &what));
            measure_peer(options, &hall, &mut workspace, figures, round)?;
        }
    }
    let curves = match options.curves.is_empty() {
        true => None,
        false => Some(curves::measure(options, &hall, &mut workspace, &mut steps, progress)?),
    };
    Ok(CompareReport::new(options, groups.err(), figures, curves))
}

/// Measures only what is to be measured along curves.
///
/// # Errors
/// As [`run`].
pub fn run_curves(options: &CompareOptions, progress: &mut dyn FnMut(&str)) -> Result<CurvesReport> {
    let found = Found::read(&options.root);
    let groups = GroupHome::find();
    let hall = options.hall(&found, &groups);
    let mut workspace = Workspace::new(&options.parent_dir, options.afterwards)?;
    let mut steps = Steps::new(curves::planned(options, &found));
    curves::measure(options, &hall, &mut workspace, &mut steps, progress)
}

fn version(peer: &Peer, found: &Found) -> std::result::Result<String, String> {
    match peer.start {
        Start::Script { folder, .. } => found.version(folder),
        Start::Mailrace(_) | Start::Sink => Ok(env!("CARGO_PKG_VERSION").into()),
    }
}

/// One server in one round. Thousands of connections that end at once would keep a server busy: so one takes the idle
/// ones and another meets the shapes.
fn measure_peer(
    options: &CompareOptions,
    hall: &Hall<'_>,
    workspace: &mut Workspace,
    figures: &mut PeerFigures,
    round: usize,
) -> Result<()> {
    let skipped = usize::from(!options.shapes.contains(&Shape::Idle));
    for part in [measure_idle, measure].into_iter().skip(skipped) {
        let directory = workspace.fresh_made()?;
        match Server::start(&figures.peer, hall, directory.clone()) {
            Ok(server) => part(options, server, &directory, figures, round),
            Err(error) => figures.missing = Some(error.to_string()),
        }
        workspace.put_aside(&directory)?;
    }
    Ok(())
}

/// What an idle connection takes, of a server that has just been started.
fn measure_idle(options: &CompareOptions, server: Server, _: &Path, figures: &mut PeerFigures, _: usize) {
    match idle::kib_for_each(server.address, server.extent(), options.idle_connections) {
        Ok(kib) => figures.idle_kib.push(kib),
        Err(error) => figures.note(format!("idle connections: {error}")),
    }
    if let Err(error) = server.stop() {
        figures.note(error.to_string());
    }
}

/// One server in one round, from its start to its end.
fn measure(
    options: &CompareOptions,
    server: Server,
    directory: &Path,
    figures: &mut PeerFigures,
    round: usize,
) {
    let (address, extent) = (server.address, server.extent());
    let file = directory.join("perf.csv");
    match Counts::take(address, extent, &options.load_cores.0, &file) {
        Ok(counts) => figures.counts.push(counts),
        Err(reason) => figures.note(format!("system calls: {reason}")),
    }
    let mut accepted = 0;
    for shape in options.shapes.iter().filter(|shape| **shape != Shape::Idle) {
        match drive(options, address, extent, *shape) {
            Ok(run) => {
                let run = Run { round, ..run };
                accepted += run.load.messages_overall.accepted;
                figures.runs.entry(*shape).or_default().push(run);
            }
            Err(error) => figures.note(format!("{}: {error}", shape.title())),
        }
    }
    match server.stop() {
        Ok(Some(counted)) if counted < accepted => {
            figures.note(format!("it counts {counted} messages, the load {accepted}"));
        }
        Ok(_) => {}
        Err(error) => figures.note(error.to_string()),
    }
}

fn drive(options: &CompareOptions, target: SocketAddr, server: Extent<'_>, shape: Shape) -> Result<Run> {
    let mut mail = MailShape::of_size(shape.size());
    mail.recipient_count = shape.recipient_count();
    let load = LoadOptions {
        target,
        cores: options.load_cores.0.clone(),
        connection_count: shape.connection_count(options.connections),
        messages_per_connection: shape.messages_per_connection(),
        pipelining: shape.pipelining(),
        mail,
        amount: Amount::For { warm_up: options.warm_up, duration: options.duration },
        // It knows only a single process.
        server_pid: None,
    };
    observed(&load, Refinements::default(), server)
}

/// Runs the load and watches the server meanwhile, in its window.
fn observed(options: &LoadOptions, refinements: Refinements, server: Extent<'_>) -> Result<Run> {
    let Amount::For { warm_up, duration } = options.amount else {
        unreachable!("a comparison measures for a time")
    };
    // Where the kernel tells of it; otherwise nobody is spared, and each report says so.
    let minds_listen_queue = ListenQueue::of(options.target).is_ok();
    let refinements = Refinements { minds_listen_queue, ..refinements };
    let began = Instant::now();
    let (load, cores_busy) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| cores_busy(server, began + warm_up, duration));
        (load::run_refined(options, &refinements), watch.join().expect("the watch panicked"))
    });
    let load: LoadReport = load?;
    let cpu_ms_per_1000 = if load.rate > 0.0 { cores_busy / load.rate * 1e6 } else { 0.0 };
    Ok(Run { round: 0, cpu_ms_per_1000, cores_busy, load })
}

/// Cores that `server` keeps busy from `from` on for `duration`.
fn cores_busy(server: Extent<'_>, from: Instant, duration: Duration) -> f64 {
    std::thread::sleep(from.saturating_duration_since(Instant::now()));
    let (began, before) = (Instant::now(), server.cpu_time());
    std::thread::sleep((from + duration).saturating_duration_since(Instant::now()));
    let (elapsed, after) = (began.elapsed(), server.cpu_time());
    after.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64()
}
