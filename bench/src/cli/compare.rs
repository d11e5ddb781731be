//! `mailrace-bench compare`, and what `curves` has in common with it.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use super::quick::ServerArguments;
use super::report::OutputArguments;
use crate::compare::catalogue::{self, PEERS, Peer, SCRIPT};
use crate::compare::curves::{Curve, CurvePlan};
use crate::compare::shape::Shape;
use crate::compare::{self, CompareOptions, idle};
use crate::error::{Error, Result};
use crate::host;
use crate::units::{parse_duration, parse_some_count, parse_some_duration};

/// Compare mailrace with other servers: same load, same pinning, interleaved rounds; fetches them first
///
/// Run by root, the fetching installs with apt-get what is missing of perf, node, npm, python3 and python3-venv
/// (Debian's linux-perf, nodejs, npm, python3, python3-venv), and removes nothing; --no-fetch fetches and installs nothing.
/// Postfix, Exim and OpenSMTPD are only unpacked, and only root can run them.
#[derive(Debug, clap::Args)]
pub(super) struct CompareArguments {
    /// One shape, 4 KiB over reused connections, and idle connections, no curves: less than ten minutes
    #[arg(long, conflicts_with_all = ["shapes", "curves"])]
    quick: bool,
    /// Servers to compare [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_peer)]
    peers: Vec<Peer>,
    /// Shapes of load [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    shapes: Vec<Shape>,
    /// Curves to go along afterwards [default: all; none with --quick or --shapes]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    curves: Vec<Curve>,
    /// Servers to go along curves, of those compared [default: mailrace, smtp-sink, haraka-fsync, exim, postfix]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_peer)]
    curve_peers: Vec<Peer>,
    /// Go along no curves
    #[arg(long, conflicts_with_all = ["curves", "curve_peers"])]
    no_curves: bool,
    /// Idle connections to learn the memory of one from; 20 times as many where they take little
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = parse_some_count)]
    idle_connections: usize,
    #[command(flatten)]
    common: CommonArguments,
}

/// What every comparison is told.
#[derive(Debug, clap::Args)]
pub(super) struct CommonArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_some_count)]
    connections: usize,
    /// How often to measure each
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = parse_some_count)]
    rounds: usize,
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_some_duration)]
    duration: Duration,
    /// How long to run before measuring
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    warm_up: Duration,
    /// Take the servers as they are; fetch and install nothing
    #[arg(long)]
    no_fetch: bool,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

/// Those that go along curves in a comparison of all: more would make it hours and the pictures thickets.
const CURVE_PEERS: [&str; 7] =
    ["mailrace-sync", "mailrace-os", "mailrace-discard", "smtp-sink", "haraka-fsync", "exim", "postfix"];

pub(super) fn parse_peer(name: &str) -> std::result::Result<Peer, String> {
    let peer = PEERS.into_iter().find(|peer| peer.name == name);
    peer.ok_or_else(|| format!("it is none of {}", PEERS.map(|peer| peer.name).join(", ")))
}

pub(super) fn run(arguments: &CompareArguments) -> Result<ExitCode> {
    let options = options(arguments)?;
    arguments.common.prepare(&options)?;
    let report = compare::run(&options, &mut |what| eprintln!("mailrace-bench: {what}"))?;
    arguments.common.output.write_brief(&report, &report.page(), &report.brief())?;
    Ok(ExitCode::SUCCESS)
}

fn options(arguments: &CompareArguments) -> Result<CompareOptions> {
    let shapes = match &arguments.shapes[..] {
        _ if arguments.quick => vec![Shape::Reused, Shape::Idle],
        [] => Shape::ALL.to_vec(),
        given => given.to_vec(),
    };
    let peers = if arguments.peers.is_empty() { PEERS.to_vec() } else { arguments.peers.clone() };
    let curves = curve_plan(arguments, &peers);
    let idle_connections = arguments.idle_connections;
    let options = arguments.common.options()?;
    Ok(CompareOptions { peers, shapes, curves, idle_connections, ..options })
}

fn curve_plan(arguments: &CompareArguments, peers: &[Peer]) -> CurvePlan {
    let curves = match &arguments.curves[..] {
        _ if arguments.quick || arguments.no_curves => Vec::new(),
        [] if arguments.shapes.is_empty() => Curve::ALL.to_vec(),
        given => given.to_vec(),
    };
    let is_wanted = |peer: &&Peer| match &arguments.curve_peers[..] {
        [] => CURVE_PEERS.contains(&peer.name),
        given => given.iter().any(|given| given.name == peer.name),
    };
    CurvePlan { peers: peers.iter().filter(is_wanted).copied().collect(), curves }
}

impl CommonArguments {
    /// Options that compare nobody yet.
    pub(super) fn options(&self) -> Result<CompareOptions> {
        let server = &self.server;
        Ok(CompareOptions {
            root: catalogue::project_root()?,
            mailrace: server.binary()?,
            arguments: server.arguments.clone(),
            parent_dir: std::path::absolute(&server.data_dir)
                .map_err(|e| Error::system(format!("find {}", server.data_dir.display()), e))?,
            afterwards: server.afterwards(),
            server_cores: server.server_cores.clone(),
            load_cores: server.load_cores.clone(),
            peers: Vec::new(),
            shapes: Vec::new(),
            connections: self.connections,
            idle_connections: 1,
            rounds: self.rounds,
            warm_up: self.warm_up,
            duration: self.duration,
            curves: CurvePlan::default(),
        })
    }

    /// Makes sure that the result can be written, fetches the servers and sees to the descriptors that they, too, inherit.
    pub(super) fn prepare(&self, options: &CompareOptions) -> Result<()> {
        const DESCRIPTORS_SPARE: u64 = 1024;
        const CURVE_DESCRIPTORS: u64 = 8192;
        self.output.check()?;
        host::raise_descriptor_limit(idle::most(options.idle_connections) as u64 + DESCRIPTORS_SPARE)?;
        if !options.curves.is_empty() {
            // Where the machine does not allow so many, the place on the curve that lacks them says so.
            let _ = host::raise_descriptor_limit(CURVE_DESCRIPTORS);
        }
        if self.no_fetch { Ok(()) } else { fetch(&options.root) }
    }
}

/// Runs the script; what it lists is progress, the table names what is missing.
fn fetch(root: &Path) -> Result<()> {
    let attempt = || format!("run {SCRIPT}");
    eprintln!("mailrace-bench: {SCRIPT}");
    let status = Command::new(root.join(SCRIPT)).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.map_err(|e| Error::system(attempt(), e))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::system(format!("{}: {status}", attempt()), std::io::ErrorKind::Other))
}
