//! `mailrace-bench targets`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::quick::ServerArguments;
use super::report::OutputArguments;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::load::session::Pipelining;
use crate::mailrace::Durability;
use crate::quick::QuickOptions;
use crate::smtp_source::{self, SmtpSourceOptions, defaults};
use crate::targets;
use crate::units::parse_duration;

/// Measure the performance targets the project has set itself; exit code 1 when a bound is missed
#[derive(Debug, clap::Args)]
pub(super) struct TargetsArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Keep the record under this directory, by host and date
    #[arg(long, value_name = "DIR", default_value = "bench/record")]
    record: PathBuf,
    /// How often to measure each
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// How long to measure, where it is not a number of messages
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    duration: Duration,
    /// Messages of a run of smtp-source over reused connections
    #[arg(long, value_name = "N", default_value_t = defaults::REUSED_COUNT)]
    reused_count: u64,
    /// Messages of a run of smtp-source with a new connection for each
    #[arg(long, value_name = "N", default_value_t = defaults::NEW_COUNT)]
    new_count: u64,
}

pub(super) fn run(arguments: &TargetsArguments) -> Result<ExitCode> {
    let quick = quick_options(arguments)?;
    let progress = &mut |what: &str| eprintln!("mailrace-bench: {what}");
    let report = targets::run(&quick, smtp_source_options(arguments, &quick), progress);
    let page = report.page();
    let day = page.date.split(' ').next().unwrap_or_default();
    let directory = fresh_directory(&arguments.record.join(slug(&Host::this())), day)?;
    OutputArguments::into_directory(&directory, "targets").write(&report, &page)?;
    eprintln!("mailrace-bench: recorded in {}", directory.display());
    Ok(if report.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn quick_options(arguments: &TargetsArguments) -> Result<QuickOptions> {
    let server = &arguments.server;
    Ok(QuickOptions {
        mailrace: server.binary()?,
        arguments: server.arguments.clone(),
        parent_dir: server.data_dir.clone(),
        afterwards: server.afterwards(),
        server_cores: server.server_cores.clone(),
        load_cores: server.load_cores.clone(),
        modes: vec![Durability::Sync],
        connections: vec![1],
        size: 4096,
        pipelining: Pipelining::Never,
        rounds: arguments.rounds.max(1),
        warm_up: arguments.duration / 4,
        duration: arguments.duration,
    })
}

fn smtp_source_options(arguments: &TargetsArguments, quick: &QuickOptions) -> Result<SmtpSourceOptions> {
    let (smtp_source, smtp_sink) = smtp_source::find_programs(None, None)?;
    Ok(SmtpSourceOptions {
        mailrace: quick.mailrace.clone(),
        arguments: quick.arguments.clone(),
        durability: Durability::Sync,
        smtp_source,
        smtp_sink,
        parent_dir: quick.parent_dir.clone(),
        afterwards: quick.afterwards,
        server_cores: quick.server_cores.clone(),
        load_cores: quick.load_cores.clone(),
        sessions: 100,
        size: quick.size,
        reused_count: arguments.reused_count.max(1),
        new_count: arguments.new_count.max(1),
        rounds: quick.rounds,
    })
}

/// A machine by its processor and cores, never by its name.
fn slug(host: &Host) -> String {
    let text = format!("{} {} cores", host.processor, host.core_count).to_lowercase();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// `parent/day`, or `parent/day-2` and so on: no record is written over.
fn fresh_directory(parent: &Path, day: &str) -> Result<PathBuf> {
    let attempt = |path: &Path, e| Error::system(format!("make {}", path.display()), e);
    std::fs::create_dir_all(parent).map_err(|e| attempt(parent, e))?;
    let mut number = 1;
    loop {
        let name = if number == 1 { day.to_owned() } else { format!("{day}-{number}") };
        let path = parent.join(name);
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(attempt(&path, error)),
        }
    }
}
