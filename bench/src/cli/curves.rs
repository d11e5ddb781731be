//! `mailrace-bench curves`.

use std::process::ExitCode;

use super::compare::{CommonArguments, parse_peer};
use crate::compare::catalogue::Peer;
use crate::compare::curves::{Curve, CurvePlan};
use crate::compare::{self, CompareOptions};
use crate::error::Result;

/// Drive servers along an offered rate, a message size, a number of connections and of recipients
#[derive(Debug, clap::Args)]
pub(super) struct CurvesArguments {
    /// Servers, of those `compare` knows
    #[arg(
        long, value_name = "LIST", value_delimiter = ',', value_parser = parse_peer,
        default_values = ["mailrace-sync", "mailrace-os", "mailrace-discard"]
    )]
    peers: Vec<Peer>,
    /// Curves: latency against rate; throughput against size and connections; CPU against recipients
    #[arg(
        long, value_name = "LIST", value_delimiter = ',', value_enum,
        default_values = ["rate", "size", "connections", "recipients"]
    )]
    curves: Vec<Curve>,
    #[command(flatten)]
    common: CommonArguments,
}

pub(super) fn run(arguments: &CurvesArguments) -> Result<ExitCode> {
    let curves = CurvePlan { peers: arguments.peers.clone(), curves: arguments.curves.clone() };
    let options = CompareOptions { curves, ..arguments.common.options()? };
    arguments.common.prepare(&options)?;
    let report = compare::run_curves(&options, &mut |what| eprintln!("mailrace-bench: {what}"))?;
    arguments.common.output.write_brief(&report, &report.page(), &report.brief())?;
    Ok(ExitCode::SUCCESS)
}
