//! `mailrace log get`: one message, octet for octet as it was sent, found by the receipt its sender was given.

use std::io::Write;

use clap::Args;

use super::log_command::{DataDir, LogCommandError};
use crate::log::Lookup;
use crate::message::Receipt;

/// Arguments of `log get`.
#[derive(Debug, Args)]
pub struct GetArguments {
    /// What stands behind "stored" in the reply to the message: partition@position.
    #[arg(value_name = "RECEIPT")]
    pub receipt: Receipt,
    /// Which log.
    #[command(flatten)]
    pub log: DataDir,
}

pub(super) fn run(arguments: &GetArguments, output: &mut dyn Write) -> Result<u8, LogCommandError> {
    let receipt = arguments.receipt;
    let reader = arguments.log.reader()?;
    match reader.get(receipt).map_err(|error| arguments.log.read_error(error))? {
        Lookup::Found(record) => {
            output.write_all(&record.body).map_err(LogCommandError::Output)?;
            Ok(0)
        }
        Lookup::NotFound => {
            let path = arguments.log.data_dir.display();
            Err(LogCommandError::NoRecord(format!("no message {receipt} in the log at {path}")))
        }
        Lookup::Damaged(damage) => {
            Err(LogCommandError::Damaged(format!("message {receipt} cannot be read: {damage}")))
        }
    }
}
