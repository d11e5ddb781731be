//! `mailrace-bench sink`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use crate::error::Result;
use crate::host;
use crate::sink::Sink;
use crate::units::parse_duration;

/// Serve SMTP and keep nothing, to prove the load on
#[derive(Debug, clap::Args)]
pub(super) struct SinkArguments {
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:2526")]
    listen: SocketAddr,
    /// Pin the sink to this core
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// Connections that may be open at once
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections_max: u64,
    /// Stop after this time
    #[arg(long, value_name = "TIME", default_value = "60min", value_parser = parse_duration)]
    duration: Duration,
}

pub(super) fn run(arguments: &SinkArguments) -> Result<ExitCode> {
    host::raise_descriptor_limit(arguments.connections_max)?;
    let sink = Sink::start(arguments.listen, arguments.core)?;
    eprintln!("mailrace-bench: sink listening on {}", sink.address());
    std::thread::sleep(arguments.duration);
    eprintln!("mailrace-bench: sink stopped, messages {}", sink.accepted_count());
    Ok(ExitCode::SUCCESS)
}
