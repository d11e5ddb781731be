//! `mailrace log get`: one message, octet for octet as it was sent, found by the receipt its sender was given.
//!
//! The header section has a checksum of its own: with `--headers` it is printed whatever became of the text behind it.

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
    /// Print the header section only, with the empty line that ends it. The rest is neither read nor checked.
    #[arg(long)]
    pub headers: bool,
    /// Which log.
    #[command(flatten)]
    pub log: DataDir,
}

pub(super) fn run(arguments: &GetArguments, output: &mut dyn Write) -> Result<u8, LogCommandError> {
    let receipt = arguments.receipt;
    let reader = arguments.log.reader()?;
    let found = match arguments.headers {
        true => reader.get_head(receipt).map(|lookup| lookup.map(|head| head.header_section)),
        false => reader.get(receipt).map(|lookup| lookup.map(|record| record.body)),
    };
    match found.map_err(|error| arguments.log.read_error(error))? {
        Lookup::Found(octets) => {
            output.write_all(&octets).map_err(LogCommandError::Output)?;
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
