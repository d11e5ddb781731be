//! `mailrace-bench prove`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::JsonArgument;
use crate::error::Result;
use crate::prove::{self, Part, ProveOptions};
use crate::sink::fault::Delay;
use crate::units::{CoreList, parse_duration};
use crate::{cpu, peers};

/// Hold the load's own figures against what they must be, on sinks of this program; exit code 1 when one is wrong
#[derive(Debug, clap::Args)]
pub(super) struct ProveArguments {
    /// What to prove
    #[arg(long, value_enum, value_name = "LIST", value_delimiter = ',', default_values = ["stall", "rate"])]
    parts: Vec<Part>,
    /// smtp-source [default: in PATH or under target/peers]
    #[arg(long, value_name = "FILE")]
    smtp_source: Option<PathBuf>,
    /// The sinks' core
    #[arg(long, value_name = "N", default_value_t = 0)]
    sink_core: usize,
    /// The loads' cores
    #[arg(long, value_name = "LIST", default_value = "1")]
    load_cores: CoreList,
    /// How often to take each figure
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long a round of stalls is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// How long the sink stands still
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    stall: Duration,
    /// From one stall to the next
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    every: Duration,
    /// Messages a second that come due at the sink with stalls
    #[arg(long, value_name = "N/s", default_value = "1000/s", value_parser = super::load::parse_rate)]
    rate: f64,
    /// How late the sink of the rates answers each end of data: a time, or one drawn evenly from a range
    #[arg(long, value_name = "TIME", default_value = "30ms-90ms")]
    delay: Delay,
    /// Sessions of either load at the sink of the rates
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    sessions: u32,
    /// Messages of either load in a round of the rates
    #[arg(long, value_name = "N", default_value_t = 1500, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    #[command(flatten)]
    json: JsonArgument,
}

pub(super) fn run(arguments: &ProveArguments) -> Result<ExitCode> {
    arguments.json.check()?;
    let given = arguments.smtp_source.as_deref();
    let smtp_source = arguments.parts.contains(&Part::Rate).then(|| peers::find("smtp-source", given));
    let options = ProveOptions {
        parts: arguments.parts.clone(),
        smtp_source: smtp_source.transpose()?,
        sink_core: arguments.sink_core,
        load_cores: arguments.load_cores.clone(),
        rounds: arguments.rounds as usize,
        duration_s: arguments.duration.as_secs_f64(),
        stall_s: arguments.stall.as_secs_f64(),
        every_s: arguments.every.as_secs_f64(),
        offered_rate: arguments.rate,
        delay_s: [arguments.delay.from, arguments.delay.to].map(|time| time.as_secs_f64()),
        sessions: arguments.sessions as usize,
        count: arguments.count,
    };
    let ordinary_priority = cpu::take_precedence().err().map(|error| error.to_string());
    let report = prove::run(&options, ordinary_priority, &mut |what| eprintln!("mailrace-bench: {what}"))?;
    if !arguments.json.is_stdout() {
        print!("{}", report.summary());
    }
    arguments.json.write(&report)?;
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
