//! `mailrace-bench sink`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use crate::error::Result;
use crate::host;
use crate::sink::Sink;
use crate::sink::fault::{Delay, Faults, Refusal, Reset, Stall};
use crate::units::{parse_duration, parse_some_duration};

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
    /// Answer each end of data later by this time, or by one drawn evenly from a range such as 1ms-20ms
    #[arg(long, value_name = "TIME")]
    delay: Option<Delay>,
    /// Refuse so many in a thousand at a stage (greeting, ehlo, mail, rcpt, data, end), as in rcpt:450:20; repeatable
    #[arg(long, value_name = "STAGE:CODE:N")]
    refuse: Vec<Refusal>,
    /// Reset the connection instead of so many replies in a thousand at a stage, as in end:5; repeatable
    #[arg(long, value_name = "STAGE:N")]
    reset: Vec<Reset>,
    /// Stand still for this time again and again
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    stall: Option<Duration>,
    /// From one stall to the next
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_some_duration, requires = "stall")]
    every: Duration,
    /// Of delays, refusals and resets
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(arguments: &SinkArguments) -> Result<ExitCode> {
    /// For all that is no connection.
    const DESCRIPTORS_SPARE: u64 = 64;
    host::raise_descriptor_limit(arguments.connections_max.saturating_add(DESCRIPTORS_SPARE))?;
    let sink = Sink::start_faulty(arguments.listen, arguments.core, faults(arguments))?;
    eprintln!("mailrace-bench: sink listening on {}", sink.address());
    std::thread::sleep(arguments.duration);
    eprintln!(
        "mailrace-bench: sink stopped, messages {}, refusals {}, resets {}, stalls {}",
        sink.accepted_count(),
        sink.refusal_count(),
        sink.reset_count(),
        sink.stalls().len()
    );
    Ok(ExitCode::SUCCESS)
}

fn faults(arguments: &SinkArguments) -> Faults {
    Faults {
        seed: arguments.seed,
        delay: arguments.delay,
        refusals: arguments.refuse.clone(),
        resets: arguments.reset.clone(),
        stall: arguments.stall.map(|length| Stall { length, every: arguments.every }),
    }
}
