//! `mailrace-bench ceiling`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::JsonArgument;
use super::report::OutputArguments;
use crate::ceiling::bare::{self, BareKind};
use crate::ceiling::instructions::{Record, Work, is_callgrind_here};
use crate::ceiling::shape::Shape;
use crate::ceiling::{self, Candidate, CeilingOptions};
use crate::error::Result;
use crate::mailrace::{Durability, binary_beside_this_one};
use crate::units::{CoreList, parse_duration, parse_some_count, parse_some_duration};
use crate::workspace::Afterwards;

/// Measure this machine's limits: bare sinks, synced writes, memory; and mailrace beside them
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct CeilingArguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Run mailrace in the same rounds and give its figures as shares of the ceilings
    #[arg(long)]
    with_mailrace: bool,
    /// Modes of mailrace to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["sync"])]
    modes: Vec<Durability>,
    /// The mailrace to measure [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    mailrace: Option<PathBuf>,
    /// A further argument for its serve; repeat it for several, as in --serve=--driver --serve=epoll
    #[arg(long = "serve", value_name = "ARGUMENT", allow_hyphen_values = true)]
    arguments: Vec<String>,
    /// Loads, as SIZExCONNECTIONS with :lockstep for four round trips a message instead of one
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values = Shape::DEFAULTS)]
    shapes: Vec<Shape>,
    /// Cores of sinks, disk loops, copies and mailrace
    #[arg(long, value_name = "LIST", default_value = "0")]
    server_cores: CoreList,
    /// The load's cores
    #[arg(long, value_name = "LIST", default_value = "1")]
    load_cores: CoreList,
    /// How often to measure each cell
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = parse_some_count)]
    rounds: usize,
    /// How long to measure a server; each disk loop and copy takes an eighth
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_some_duration)]
    duration: Duration,
    /// How long to run before measuring
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_duration)]
    warm_up: Duration,
    /// Keep data under this directory while measuring
    #[arg(long, value_name = "DIR", default_value = "target/bench-data")]
    data_dir: PathBuf,
    /// Keep the data afterwards too
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// A bare sink on a free port of the loopback, until it is ended; started by `ceiling` itself
    #[command(hide = true)]
    BareSink {
        /// What it is built on
        #[arg(value_enum)]
        kind: BareKind,
        /// Connections that may be open at once
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        connections: u64,
    },
    /// Count the instructions of parser, session and encoder with callgrind, against a record; 1 when there are more
    Instructions(InstructionsArguments),
    /// One piece of work over and over; started under callgrind by `ceiling instructions`
    #[command(hide = true)]
    Work {
        /// Which
        #[arg(value_enum)]
        work: Work,
        /// How often
        count: u64,
    },
}

#[derive(Debug, clap::Args)]
struct InstructionsArguments {
    /// The record
    #[arg(long, value_name = "FILE", default_value = "bench/benches/instructions.json")]
    record: PathBuf,
    /// Write the record anew instead of comparing with it
    #[arg(long)]
    update: bool,
    /// Exit with 1 when nothing could be compared, too
    #[arg(long)]
    must_run: bool,
    /// How many percent more than recorded is still right; five times as many when another compiler recorded
    #[arg(long, value_name = "PERCENT", default_value_t = 3.0)]
    tolerance: f64,
    /// What to count
    #[arg(long, value_enum, value_name = "LIST", value_delimiter = ',', default_values = ["parser", "session", "encode"])]
    work: Vec<Work>,
    /// How often each is done
    #[arg(long, value_name = "N", default_value_t = 5000)]
    repetitions: u64,
}

pub(super) fn run(arguments: &CeilingArguments) -> Result<ExitCode> {
    match &arguments.part {
        Some(Part::BareSink { kind, connections }) => match bare::serve(*kind, *connections)? {},
        Some(Part::Instructions(arguments)) => return instructions(arguments),
        Some(Part::Work { work, count }) => {
            work.repeat(*count);
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    arguments.output.check()?;
    let report = ceiling::run(&options(arguments)?, &mut |what| eprintln!("mailrace-bench: {what}"))?;
    arguments.output.write(&report, &report.page())?;
    Ok(ExitCode::SUCCESS)
}

fn instructions(arguments: &InstructionsArguments) -> Result<ExitCode> {
    if !is_callgrind_here() {
        return Ok(not_run(arguments, "valgrind is not here; scripts/peers installs it"));
    }
    let counted = Record::count(&arguments.work, arguments.repetitions.max(1))?;
    if arguments.update {
        let record = JsonArgument { json: Some(arguments.record.clone()) };
        return record.write(&counted).map(|()| ExitCode::SUCCESS);
    }
    let recorded = Record::read(&arguments.record)?;
    match counted.against(&recorded, arguments.tolerance / 100.0) {
        Ok((text, is_good)) => {
            print!("{text}");
            Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(reason) => Ok(not_run(arguments, &format!("{reason}; record anew with --update"))),
    }
}

fn not_run(arguments: &InstructionsArguments, reason: &str) -> ExitCode {
    println!("NOT RUN: {reason}");
    if arguments.must_run { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn options(arguments: &CeilingArguments) -> Result<CeilingOptions> {
    let mailrace = match arguments.with_mailrace {
        false => None,
        true => Some(Candidate {
            binary: arguments.mailrace.clone().map_or_else(binary_beside_this_one, Ok)?,
            arguments: arguments.arguments.clone(),
            modes: arguments.modes.clone(),
        }),
    };
    Ok(CeilingOptions {
        parent_dir: arguments.data_dir.clone(),
        afterwards: if arguments.keep { Afterwards::Keep } else { Afterwards::Delete },
        server_cores: arguments.server_cores.clone(),
        load_cores: arguments.load_cores.clone(),
        shapes: arguments.shapes.clone(),
        kinds: BareKind::ALL.to_vec(),
        mailrace,
        rounds: arguments.rounds,
        warm_up: arguments.warm_up,
        duration: arguments.duration,
    })
}
