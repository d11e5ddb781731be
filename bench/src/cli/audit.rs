//! `mailrace-bench audit LEDGER --data-dir DIR`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::JsonArgument;
use crate::audit;
use crate::error::Result;

/// Hold the ledger of a load against the log of the mailrace it went to: exit 0 when no message is lost, altered or
/// doubled, else 1
#[derive(Debug, clap::Args)]
pub(super) struct AuditArguments {
    /// What `load --ledger` wrote; repeat it for several loads
    #[arg(value_name = "LEDGER", required = true)]
    ledgers: Vec<PathBuf>,
    /// The log's directory
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    json: JsonArgument,
}

pub(super) fn run(arguments: &AuditArguments) -> Result<ExitCode> {
    let report = audit::run(&arguments.ledgers, &arguments.data_dir)?;
    if !arguments.json.is_stdout() {
        print!("{}", report.summary());
    }
    arguments.json.write(&report)?;
    Ok(ExitCode::from(u8::from(!report.is_clean())))
}
