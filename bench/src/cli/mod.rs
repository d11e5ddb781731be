//! The command line: one file per subcommand turns arguments into a call and the result into output.

mod audit;
mod ceiling;
mod compare;
mod curves;
mod load;
mod prove;
mod quick;
mod report;
mod sink;
mod smtp_source;
mod targets;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use crate::error::{Error, Result};
use crate::host;
use crate::interruption;

/// Benchmarks of mailrace and of any other SMTP server.
#[derive(Debug, Parser)]
#[command(name = "mailrace-bench", version)]
enum Command {
    Ceiling(ceiling::CeilingArguments),
    Audit(audit::AuditArguments),
    Compare(compare::CompareArguments),
    Curves(curves::CurvesArguments),
    Load(load::LoadArguments),
    Prove(prove::ProveArguments),
    Quick(quick::QuickArguments),
    SmtpSource(smtp_source::SmtpSourceArguments),
    Sink(sink::SinkArguments),
    Report(report::ReportArguments),
    Targets(targets::TargetsArguments),
}

/// Runs the command line; 0 when done, 1 when a bound was missed, 69 when the benchmark could not be run.
pub fn run() -> ExitCode {
    const UNAVAILABLE: u8 = 69; // EX_UNAVAILABLE of sysexits.h
    // Before anything is done, so that the load average is not this program's own.
    host::at_start();
    let command = Command::parse();
    if let Err(error) = interruption::listen() {
        eprintln!("mailrace-bench: {error}");
        return ExitCode::from(UNAVAILABLE);
    }
    let outcome = match command {
        Command::Ceiling(arguments) => ceiling::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Curves(arguments) => curves::run(&arguments),
        Command::Load(arguments) => load::run(&arguments),
        Command::Prove(arguments) => prove::run(&arguments),
        Command::Quick(arguments) => quick::run(&arguments),
        Command::SmtpSource(arguments) => smtp_source::run(&arguments),
        Command::Sink(arguments) => sink::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Targets(arguments) => targets::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("mailrace-bench: {error}");
        ExitCode::from(UNAVAILABLE)
    })
}

/// Where a JSON result goes.
#[derive(Debug, clap::Args)]
struct JsonArgument {
    /// Write the result as JSON to FILE, or to standard output for `-`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl JsonArgument {
    fn is_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }

    /// Finds out before a long run what would keep its result from being written.
    fn check(&self) -> Result<()> {
        self.json.as_deref().filter(|_| !self.is_stdout()).map_or(Ok(()), check_can_be_written)
    }

    fn write(&self, result: &impl serde::Serialize) -> Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        let attempt = || format!("write {}", path.display());
        let mut text = serde_json::to_string_pretty(result)
            .map_err(|e| Error::system(attempt(), std::io::Error::from(e)))?;
        text.push('\n');
        let written = if self.is_stdout() {
            std::io::stdout().write_all(text.as_bytes())
        } else {
            std::fs::write(path, text)
        };
        written.map_err(|e| Error::system(attempt(), e))
    }
}

/// Finds out before a long run what would keep a file from being written; one that was not there is not left behind.
fn check_can_be_written(path: &Path) -> Result<()> {
    let attempt = |e| Error::system(format!("write {}", path.display()), e);
    let was_there = path.symlink_metadata().is_ok();
    std::fs::File::options().create(true).append(true).open(path).map_err(attempt)?;
    if was_there { Ok(()) } else { std::fs::remove_file(path).map_err(attempt) }
}

/// Prints a result that also stands elsewhere or was asked for: a reader who has gone is no failure.
///
/// # Errors
/// When standard output cannot be written for another reason.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::system("write standard output", e))
        }
        _ => Ok(()),
    }
}
