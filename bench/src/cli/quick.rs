//! `mailrace-bench quick`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::report::OutputArguments;
use crate::error::{Error, Result};
use crate::load::session::Pipelining;
use crate::mailrace::{Durability, binary_beside_this_one};
use crate::quick::{self, QuickOptions};
use crate::units::{CoreList, parse_duration, parse_size, parse_some_count, parse_some_duration};
use crate::workspace::Afterwards;

/// Measure mailrace in its durability modes over 1 to 1,000 connections, beside the disk's floor
#[derive(Debug, clap::Args)]
pub(super) struct QuickArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Modes to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["sync", "os", "discard"])]
    modes: Vec<Durability>,
    /// Numbers of connections
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values = ["1", "10", "100", "1000"])]
    #[arg(value_parser = parse_some_count)]
    connections: Vec<usize>,
    /// Size of each message, headers included
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = parse_size)]
    size: usize,
    /// When to send commands ahead of replies (RFC 2920)
    #[arg(long, value_enum, default_value_t = Pipelining::Announced)]
    pipelining: Pipelining,
    /// How often to measure each cell
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = parse_some_count)]
    rounds: usize,
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_some_duration)]
    duration: Duration,
    /// How long to run before measuring
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_duration)]
    warm_up: Duration,
    #[command(flatten)]
    output: OutputArguments,
}

/// The server under test, and where it and the load run.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArguments {
    /// The mailrace to measure [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pub(super) mailrace: Option<PathBuf>,
    /// A further argument for its serve; repeat it for several, as in --serve=--driver --serve=epoll
    #[arg(long = "serve", value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub(super) arguments: Vec<String>,
    /// The server's cores
    #[arg(long, value_name = "LIST", default_value = "0")]
    pub(super) server_cores: CoreList,
    /// The load's cores
    #[arg(long, value_name = "LIST", default_value = "1")]
    pub(super) load_cores: CoreList,
    /// Keep data under this directory while measuring
    #[arg(long, value_name = "DIR", default_value = "target/bench-data")]
    pub(super) data_dir: PathBuf,
    /// Keep the data afterwards too
    #[arg(long)]
    keep: bool,
}

impl ServerArguments {
    pub(super) fn binary(&self) -> Result<PathBuf> {
        self.mailrace.clone().map_or_else(binary_beside_this_one, Ok)
    }

    /// The directory of the data, by its absolute path.
    pub(super) fn data_dir(&self) -> Result<PathBuf> {
        std::path::absolute(&self.data_dir)
            .map_err(|e| Error::system(format!("find {}", self.data_dir.display()), e))
    }

    pub(super) fn afterwards(&self) -> Afterwards {
        if self.keep { Afterwards::Keep } else { Afterwards::Delete }
    }
}

pub(super) fn run(arguments: &QuickArguments) -> Result<ExitCode> {
    let server = &arguments.server;
    let options = QuickOptions {
        mailrace: server.binary()?,
        arguments: server.arguments.clone(),
        parent_dir: server.data_dir.clone(),
        afterwards: server.afterwards(),
        server_cores: server.server_cores.clone(),
        load_cores: server.load_cores.clone(),
        modes: arguments.modes.clone(),
        connections: arguments.connections.clone(),
        size: arguments.size,
        pipelining: arguments.pipelining,
        rounds: arguments.rounds,
        warm_up: arguments.warm_up,
        duration: arguments.duration,
    };
    arguments.output.check()?;
    let report = quick::run(&options, &mut |what| eprintln!("mailrace-bench: {what}"))?;
    arguments.output.write(&report, &report.page())?;
    Ok(ExitCode::SUCCESS)
}
