//! `mailrace log ls`: the segments of the log, from their headers and footers; no record is read.

use std::io::Write;

use clap::Args;

use super::log_command::{DataDir, LogCommandError};
use super::log_formats::rfc3339;
use super::screen::{ASIDE, BAD, Colours, GOOD, HEADING, Screen};
use crate::log::{SegmentState, SegmentSummary};

/// Arguments of `log ls`.
#[derive(Debug, Args)]
pub struct LsArguments {
    /// Which log.
    #[command(flatten)]
    pub log: DataDir,
}

pub(super) fn run(arguments: &LsArguments, screen: &mut Screen<'_>) -> Result<u8, LogCommandError> {
    let reader = arguments.log.reader()?;
    let segments = reader.segments().map_err(|error| arguments.log.read_error(error))?;
    write_table(&segments, screen.output, screen.output_colours).map_err(LogCommandError::Output)?;
    Ok(0)
}

fn write_table(segments: &[SegmentSummary], output: &mut dyn Write, colours: Colours) -> std::io::Result<()> {
    let line = |[first, octets, messages, _, from, to]: [&str; 6], state: &str| {
        format!("{first:>20}  {octets:>12}  {messages:>9}  {state}  {from:<27}  {to}")
    };
    let row = |output: &mut dyn Write, style, cells: [&str; 6]| {
        let state = colours.paint(style, format_args!("{:<8}", cells[3])).to_string();
        writeln!(output, "{}", line(cells, &state).trim_end())
    };
    let names = ["FIRST POSITION", "OCTETS", "MESSAGES", "STATE", "FROM", "TO"];
    writeln!(output, "{}", colours.paint(HEADING, line(names, "STATE   ").trim_end()))?;
    for SegmentSummary { base, end, state } in segments {
        let octets = (end.0 - base.0).to_string();
        let base = base.to_string();
        match state {
            SegmentState::Sealed { records, times } => {
                let [from, to] = match times {
                    Some((first, last)) => [rfc3339(*first), rfc3339(*last)],
                    None => [String::new(), String::new()],
                };
                row(output, GOOD, [&base, &octets, &records.to_string(), "sealed", &from, &to])?;
            }
            SegmentState::Open => row(output, ASIDE, [&base, &octets, "-", "open", "", ""])?,
            SegmentState::Damaged(_) => row(output, BAD, [&base, &octets, "-", "damaged", "", ""])?,
        }
    }
    Ok(())
}
