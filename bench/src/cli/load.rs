//! `mailrace-bench load HOST:PORT`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use super::JsonArgument;
use crate::error::{Error, Result};
use crate::load::script::MailShape;
use crate::load::session::Pipelining;
use crate::load::{self, Amount, LoadOptions};
use crate::units::{CoreList, parse_duration, parse_size};

/// Drive an SMTP server with many senders at once
#[derive(Debug, clap::Args)]
pub(super) struct LoadArguments {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    target: String,
    /// Pin one thread to each of these cores, such as 1 or 2-3; without it one thread runs unpinned
    #[arg(long, value_name = "LIST")]
    cores: Option<CoreList>,
    /// Connections held at once, over all threads
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Messages per connection: `kept` for one connection throughout, `new` for one each, or a number
    #[arg(long, value_name = "kept|new|K", default_value = "kept", value_parser = parse_reuse)]
    reuse: Reuse,
    /// When to send commands ahead of replies (RFC 2920)
    #[arg(long, value_enum, default_value_t = Pipelining::Announced)]
    pipelining: Pipelining,
    /// Recipients per message
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    recipients: u32,
    /// Size of each message, headers included
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = parse_size)]
    size: usize,
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// How long to run before measuring
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    warm_up: Duration,
    /// Send exactly N messages and measure all of them, instead of a time
    #[arg(long, value_name = "N", conflicts_with_all = ["duration", "warm_up"])]
    count: Option<u64>,
    /// The name given with EHLO
    #[arg(long, value_name = "NAME", default_value = "load.example")]
    helo: String,
    /// The reverse-path
    #[arg(long, value_name = "ADDRESS", default_value = "sender@load.example")]
    from: String,
    /// The forward-path
    #[arg(long, value_name = "ADDRESS", default_value = "recipient@load.example")]
    to: String,
    /// Also report what this process uses: the server's, when it runs here
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    #[command(flatten)]
    json: JsonArgument,
}

#[derive(Clone, Copy, Debug)]
struct Reuse(Option<u32>);

fn parse_reuse(text: &str) -> std::result::Result<Reuse, String> {
    match text {
        "kept" => Ok(Reuse(None)),
        "new" => Ok(Reuse(Some(1))),
        _ => match text.parse() {
            Ok(count) if count > 0 => Ok(Reuse(Some(count))),
            _ => Err("write kept, new or a number of messages".into()),
        },
    }
}

pub(super) fn run(arguments: &LoadArguments) -> Result<ExitCode> {
    let report = load::run(&options(arguments)?)?;
    if !arguments.json.is_stdout() {
        print!("{}", report.summary());
    }
    arguments.json.write(&report)?;
    Ok(ExitCode::SUCCESS)
}

fn options(arguments: &LoadArguments) -> Result<LoadOptions> {
    Ok(LoadOptions {
        target: resolve(&arguments.target)?,
        cores: arguments.cores.clone().map_or_else(Vec::new, |cores| cores.0),
        connection_count: arguments.connections as usize,
        messages_per_connection: arguments.reuse.0,
        pipelining: arguments.pipelining,
        mail: MailShape {
            helo: arguments.helo.clone(),
            reverse_path: arguments.from.clone(),
            forward_path: arguments.to.clone(),
            recipient_count: arguments.recipients,
            size: arguments.size.max(2),
        },
        amount: match arguments.count {
            Some(count) => Amount::Count(count),
            None => Amount::For { warm_up: arguments.warm_up, duration: arguments.duration },
        },
        server_pid: arguments.server_pid,
    })
}

fn resolve(target: &str) -> Result<SocketAddr> {
    let attempt = || format!("find {target}");
    let mut addresses = target.to_socket_addrs().map_err(|e| Error::system(attempt(), e))?;
    addresses.next().ok_or_else(|| Error::system(attempt(), std::io::ErrorKind::NotFound))
}
