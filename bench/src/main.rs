//! Parses the command line and runs the benchmark it names.

use std::process::ExitCode;

fn main() -> ExitCode {
    mailrace_bench::cli::run()
}
