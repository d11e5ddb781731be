//! mailrace beside other servers: the same load, the same pinning, interleaved rounds.
//!
//! - `catalogue` names the servers, `server` runs one, `tree` looks at its processes;
//! - `idle` opens connections that do nothing, to learn what one takes;
//! - `shape` is what the load does, `paced` the fixed rate at which `counting` counts system calls;
//! - `ceilings` are those of this machine, taken in the same rounds;
//! - `report` holds the figures and `page` shows them, `keeping` putting together what does as much, `doubt` naming what
//!   a reader must know;
//! - `curves` goes along a rate, a size or a number, `curve_report` and `curve_page` hold and show that.
//!
//! In each round each server is started three times, in a fresh directory: to take idle connections, to have its system
//! calls counted, and to meet the shapes of load in their order.
//! What cannot be had or fails is named with its reason and its figures are missing; nothing is left out silently.

pub mod catalogue;
pub mod ceilings;
pub mod counting;
mod curve_page;
pub mod curve_report;
pub mod curves;
mod doubt;
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
use crate::load::report::{LoadReport, Use};
use crate::load::script::MailShape;
use crate::load::{self, Amount, LoadOptions, Refinements};
use crate::progress::Steps;
use crate::units::CoreList;
use crate::workspace::{Afterwards, Workspace};
use catalogue::{Found, Peer, version};
use ceilings::Ceilings;
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
        const START_AND_STOP: Duration = Duration::from_secs(3);
        let counting = Duration::from_secs(1) * (PACE.count + PACE.count / 4) / PACE.rate;
        START_AND_STOP + counting + self.shapes_time()
    }

    /// What all shapes take.
    fn shapes_time(&self) -> Duration {
        self.run_time() * u32::try_from(self.loaded_shapes().count()).unwrap_or(u32::MAX)
    }

    /// The shapes that are a load.
    fn loaded_shapes(&self) -> impl Iterator<Item = Shape> {
        self.shapes.iter().copied().filter(|shape| *shape != Shape::Idle)
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
        options.peers.iter().map(|peer| PeerFigures::new(*peer, version(peer, &hall))).collect();
    let there = figures.iter().filter(|figures| figures.missing.is_none()).count();
    let runs = u32::try_from(there).unwrap_or(u32::MAX);
    let round_time = options.server_time() * runs + ceilings::time(options);
    let rounds = u32::try_from(options.rounds).unwrap_or(u32::MAX);
    let mut steps = Steps::new(round_time * rounds + curves::planned(options, &hall));
    let mut ceilings = Ceilings::default();
    for round in 1..=options.rounds {
        let what = format!("round {round} of {}, the machine's ceilings", options.rounds);
        progress(&steps.begin(ceilings::time(options), &what));
        ceilings.measure_round(options, &mut workspace, round)?;
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
    Ok(CompareReport::new(options, groups.err(), figures, ceilings, curves))
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
    let mut steps = Steps::new(curves::planned(options, &hall));
    curves::measure(options, &hall, &mut workspace, &mut steps, progress)
}

/// What one started server is measured by, with its data in a directory, in a round.
type Part = fn(&CompareOptions, Server, &Path, &mut PeerFigures, usize);

/// One server in one round. Thousands of connections that end at once would keep a server busy, and its own count of
/// syncs is one of the whole time it runs: so one takes the idle ones, another is counted, a third meets the shapes.
fn measure_peer(
    options: &CompareOptions,
    hall: &Hall<'_>,
    workspace: &mut Workspace,
    figures: &mut PeerFigures,
    round: usize,
) -> Result<()> {
    let parts: [(bool, Part); 3] = [
        (options.shapes.contains(&Shape::Idle), measure_idle),
        (true, measure_counts),
        (options.loaded_shapes().next().is_some(), measure_shapes),
    ];
    for (_, part) in parts.into_iter().filter(|(is_wanted, _)| *is_wanted) {
        let directory = workspace.fresh_made()?;
        match Server::start(&figures.peer, hall, directory.clone()) {
            Ok(server) => part(options, server, &directory, figures, round),
            Err(error) => figures.could_not_start(options.loaded_shapes(), round, &error.to_string()),
        }
        workspace.put_aside(&directory)?;
        if figures.missing.is_some() {
            break;
        }
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

/// What a message costs, counted from outside, and what the server says of it itself.
fn measure_counts(
    options: &CompareOptions,
    server: Server,
    directory: &Path,
    figures: &mut PeerFigures,
    _: usize,
) {
    let (address, extent) = (server.address, server.extent());
    let counted = Counts::take(address, extent, &options.load_cores.0, &directory.join("perf.csv"));
    let totals = server.stop();
    match counted {
        Ok(counted) => {
            counted.lacking.into_iter().for_each(|reason| figures.note(reason));
            if let Ok(Some(totals)) = &totals {
                let own = totals.syncs as f64 / totals.messages.max(1) as f64;
                counted.counts.disagreement(own).into_iter().for_each(|words| figures.note(words));
            }
            figures.counts.push(counted.counts);
        }
        Err(reason) => figures.note(format!("system calls: {reason}")),
    }
    if let Err(error) = totals {
        figures.note(error.to_string());
    }
}

/// All shapes of load, from the server's start to its end.
fn measure_shapes(
    options: &CompareOptions,
    server: Server,
    _: &Path,
    figures: &mut PeerFigures,
    round: usize,
) {
    let (address, extent) = (server.address, server.extent());
    let mut accepted = 0;
    for shape in options.loaded_shapes() {
        match drive(options, address, extent, shape) {
            Ok(run) => {
                let run = Run { round, ..run };
                accepted += run.load.messages_overall.accepted;
                figures.runs.entry(shape).or_default().push(run);
            }
            Err(error) => figures.fail(shape, round, &error.to_string()),
        }
    }
    match server.stop() {
        Ok(Some(totals)) if totals.messages < accepted => {
            figures.note(format!("it counts {} messages, the load {accepted}", totals.messages));
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
    let mut load: LoadReport = load?;
    // A server whose processes could not be followed has no figure, for no server works for nothing.
    let used = (load.rate > 0.0 && cores_busy > 0.0)
        .then(|| Use { cpu_us_per_message: cores_busy / load.rate * 1e6, cores_busy });
    load.server = used;
    // Microseconds a message are milliseconds for a thousand.
    Ok(Run { round: 0, cpu_ms_per_1000: used.map(|used| used.cpu_us_per_message), cores_busy, load })
}

/// Cores that `server` keeps busy from `from` on for `duration`.
fn cores_busy(server: Extent<'_>, from: Instant, duration: Duration) -> f64 {
    std::thread::sleep(from.saturating_duration_since(Instant::now()));
    let (began, before) = (Instant::now(), server.cpu_time());
    std::thread::sleep((from + duration).saturating_duration_since(Instant::now()));
    let (elapsed, after) = (began.elapsed(), server.cpu_time());
    after.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64()
}
