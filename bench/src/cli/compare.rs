//! `mailrace-bench compare`.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use super::JsonArgument;
use super::quick::ServerArguments;
use crate::compare::catalogue::{self, PEERS, Peer, SCRIPT};
use crate::compare::shape::Shape;
use crate::compare::{self, CompareOptions, idle};
use crate::error::{Error, Result};
use crate::host;
use crate::units::parse_duration;

/// Compare mailrace with other servers: same load, same pinning, interleaved rounds; fetches them first
#[derive(Debug, clap::Args)]
pub(super) struct CompareArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// One shape, 4 KiB over reused connections, and idle connections: less than ten minutes
    #[arg(long, conflicts_with = "shapes")]
    quick: bool,
    /// Servers to compare [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_peer)]
    peers: Vec<Peer>,
    /// Shapes of load [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    shapes: Vec<Shape>,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 100)]
    connections: usize,
    /// Idle connections to learn the memory of one from; 20 times as many where they take little
    #[arg(long, value_name = "N", default_value_t = 200)]
    idle_connections: usize,
    /// How often to measure each
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    duration: Duration,
    /// How long to run before measuring
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    warm_up: Duration,
    /// Take the servers as they are, and fetch none
    #[arg(long)]
    no_fetch: bool,
    #[command(flatten)]
    json: JsonArgument,
}

fn parse_peer(name: &str) -> std::result::Result<Peer, String> {
    let peer = PEERS.into_iter().find(|peer| peer.name == name);
    peer.ok_or_else(|| format!("it is none of {}", PEERS.map(|peer| peer.name).join(", ")))
}

pub(super) fn run(arguments: &CompareArguments) -> Result<ExitCode> {
    const DESCRIPTORS_SPARE: u64 = 1024;
    let options = options(arguments)?;
    // The servers inherit it.
    let idle_count = idle::most(arguments.idle_connections) as u64;
    host::raise_descriptor_limit(idle_count + DESCRIPTORS_SPARE)?;
    if !arguments.no_fetch {
        fetch(&options.root)?;
    }
    let report = compare::run(&options, &mut |what| eprintln!("mailrace-bench: {what}"))?;
    if !arguments.json.is_stdout() {
        println!("{}", report.markdown());
    }
    arguments.json.write(&report)?;
    Ok(ExitCode::SUCCESS)
}

fn options(arguments: &CompareArguments) -> Result<CompareOptions> {
    let server = &arguments.server;
    let shapes = match &arguments.shapes[..] {
        _ if arguments.quick => vec![Shape::Reused, Shape::Idle],
        [] => Shape::ALL.to_vec(),
        given => given.to_vec(),
    };
    let peers = if arguments.peers.is_empty() { PEERS.to_vec() } else { arguments.peers.clone() };
    Ok(CompareOptions {
        root: catalogue::project_root()?,
        mailrace: server.binary()?,
        arguments: server.arguments.clone(),
        parent_dir: std::path::absolute(&server.data_dir)
            .map_err(|e| Error::system(format!("find {}", server.data_dir.display()), e))?,
        afterwards: server.afterwards(),
        server_cores: server.server_cores.clone(),
        load_cores: server.load_cores.clone(),
        peers,
        shapes,
        connections: arguments.connections.max(1),
        idle_connections: arguments.idle_connections.max(1),
        rounds: arguments.rounds.max(1),
        warm_up: arguments.warm_up,
        duration: arguments.duration,
    })
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
