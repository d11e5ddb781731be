//! `mailrace-bench smtp-source`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::quick::ServerArguments;
use super::report::OutputArguments;
use crate::compare::catalogue;
use crate::error::Result;
use crate::mailrace::Durability;
use crate::smtp_source::{self, SmtpSourceOptions, defaults};
use crate::units::{parse_size, parse_some_count};

/// Compare mailrace with Postfix's smtp-sink, both driven by Postfix's smtp-source; exit code 1 when mailrace uses more CPU
#[derive(Debug, clap::Args)]
pub(super) struct SmtpSourceArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// mailrace's durability mode
    #[arg(long, value_enum, default_value_t = Durability::Sync)]
    durability: Durability,
    /// smtp-source [default: in PATH or under target/peers]
    #[arg(long, value_name = "FILE")]
    smtp_source: Option<PathBuf>,
    /// smtp-sink [default: in PATH or under target/peers]
    #[arg(long, value_name = "FILE")]
    smtp_sink: Option<PathBuf>,
    /// Measure Postfix as well, as scripts/peers-compare unpacks it; with a tenth of the messages
    #[arg(long)]
    postfix: bool,
    /// Sessions at once
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_some_count)]
    sessions: usize,
    /// Size of each message, headers not included
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = parse_size)]
    size: usize,
    /// Messages of a run over reused connections
    #[arg(long, value_name = "N", default_value_t = defaults::REUSED_COUNT, value_parser = clap::value_parser!(u64).range(1..))]
    reused_count: u64,
    /// Messages of a run with a new connection for each
    #[arg(long, value_name = "N", default_value_t = defaults::NEW_COUNT, value_parser = clap::value_parser!(u64).range(1..))]
    new_count: u64,
    /// How often to measure each
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = parse_some_count)]
    rounds: usize,
    #[command(flatten)]
    output: OutputArguments,
}

pub(super) fn run(arguments: &SmtpSourceArguments) -> Result<ExitCode> {
    let server = &arguments.server;
    let (smtp_source, smtp_sink) =
        smtp_source::find_programs(arguments.smtp_source.as_deref(), arguments.smtp_sink.as_deref())?;
    let options = SmtpSourceOptions {
        mailrace: server.binary()?,
        arguments: server.arguments.clone(),
        durability: arguments.durability,
        smtp_source,
        smtp_sink,
        postfix: arguments.postfix.then(catalogue::project_root).transpose()?,
        // Postfix is started with paths in it from directories of its own.
        parent_dir: server.data_dir()?,
        afterwards: server.afterwards(),
        server_cores: server.server_cores.clone(),
        load_cores: server.load_cores.clone(),
        sessions: arguments.sessions,
        size: arguments.size,
        reused_count: arguments.reused_count,
        new_count: arguments.new_count,
        rounds: arguments.rounds,
    };
    arguments.output.check()?;
    let report = smtp_source::run(&options, &mut |what| eprintln!("mailrace-bench: {what}"))?;
    arguments.output.write(&report, &report.page())?;
    Ok(if report.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
