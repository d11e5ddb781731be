//! `mailrace-bench load HOST:PORT`.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::JsonArgument;
use crate::cpu;
use crate::error::{Error, Result};
use crate::load::content::{Content, Corpus, SizeShare, parse_sizes};
use crate::load::gathering::Opening;
use crate::load::highest_rate::{self, Goal, Trial};
use crate::load::pace::{Arrivals, Pace};
use crate::load::script::MailShape;
use crate::load::session::{Errand, Pipelining};
use crate::load::{self, Amount, LoadOptions, Refinements};
use crate::units::{CoreList, parse_duration, parse_some_duration};

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
    /// Size of each message, headers included; or several with their weights, as in 1KiB:50,64KiB:45,1MiB:5
    #[arg(long, value_name = "SIZES", default_value = "4KiB", value_parser = parse_size_list)]
    size: SizeList,
    /// Send the messages of a directory of .eml files, or of an mbox file, in turn; each line end becomes CR LF
    #[arg(long, value_name = "PATH", conflicts_with = "size")]
    corpus: Option<PathBuf>,
    /// Open loop: so many messages a second come due whatever the server does, each timed from its scheduled time
    #[arg(long, value_name = "N/s", value_parser = parse_rate)]
    rate: Option<f64>,
    /// How the messages of an open loop are spread
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    arrivals: Arrivals,
    /// Look for the highest rate whose p99 stays below --p99, from --rate (or 1000/s) on, in runs of --duration
    #[arg(long, requires = "p99", conflicts_with_all = ["count", "ledger"])]
    find_max: bool,
    /// The bound for --find-max
    #[arg(long, value_name = "TIME", value_parser = parse_some_duration, requires = "find_max")]
    p99: Option<Duration>,
    /// Before the first message, open all connections and say EHLO on each: none of that is in the figures
    #[arg(long)]
    ramp: bool,
    /// After that, let all of them be silent for so long (implies --ramp)
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    idle: Option<Duration>,
    /// Send no mail: connect, EHLO, QUIT. Each visit is counted like a message, its 221 like the 250
    #[arg(long, conflicts_with_all = ["reuse", "recipients", "size", "corpus", "ledger", "ramp", "idle"])]
    visit: bool,
    /// Connect from these addresses in turn: one, or a range such as 127.0.0.1-127.0.0.8; repeat it for several
    #[arg(long, value_name = "ADDR", value_parser = parse_sources)]
    source: Vec<Sources>,
    /// Open a connection only while the server's listen queue has room for it; the server must run on this machine.
    /// Without it, those that find a short queue full wait for TCP to try again, after 1, 3 and 7 seconds
    #[arg(long)]
    mind_listen_queue: bool,
    /// Give each message an id and write a line for each 250 to FILE, which may not be there yet; see audit
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Of what is drawn at random: arrivals and sizes
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_some_duration)]
    duration: Duration,
    /// How long to run before measuring
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    warm_up: Duration,
    /// Send exactly N messages and measure all of them, instead of a time
    #[arg(long, value_name = "N", conflicts_with_all = ["duration", "warm_up"])]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// The name given with EHLO
    #[arg(long, value_name = "NAME", default_value = "load.example", value_parser = parse_word)]
    helo: String,
    /// The reverse-path
    #[arg(long, value_name = "ADDRESS", default_value = "sender@load.example", value_parser = parse_word)]
    from: String,
    /// The forward-path
    #[arg(long, value_name = "ADDRESS", default_value = "recipient@load.example", value_parser = parse_word)]
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

#[derive(Clone, Debug)]
struct SizeList(Vec<SizeShare>);

fn parse_size_list(text: &str) -> std::result::Result<SizeList, String> {
    parse_sizes(text).map(SizeList)
}

pub(super) fn parse_rate(text: &str) -> std::result::Result<f64, String> {
    const RATE_MAX: f64 = 1e7;
    let rate = text.strip_suffix("/s").and_then(|number| number.parse::<f64>().ok());
    rate.filter(|rate| *rate > 0.0 && *rate <= RATE_MAX)
        .ok_or_else(|| "write messages a second, at most 10000000, like 500/s or 0.5/s".into())
}

/// A name or an address that stays within its command.
fn parse_word(text: &str) -> std::result::Result<String, String> {
    let strays = |c: char| c.is_control() || c == '<' || c == '>';
    if text.contains(strays) {
        return Err("write it without angle brackets, line ends and other control characters".into());
    }
    Ok(text.to_owned())
}

#[derive(Clone, Debug)]
struct Sources(Vec<IpAddr>);

fn parse_sources(text: &str) -> std::result::Result<Sources, String> {
    const COUNT_MAX: u32 = 65_536;
    let bad = || format!("`{text}`: write an address, or a range of IPv4 addresses like 127.0.0.1-127.0.0.8");
    let Some((first, last)) = text.split_once('-') else {
        return text.parse().map(|address| Sources(vec![address])).map_err(|_| bad());
    };
    let first = first.parse::<Ipv4Addr>().map_err(|_| bad())?.to_bits();
    let last = last.parse::<Ipv4Addr>().map_err(|_| bad())?.to_bits();
    if first > last || last - first >= COUNT_MAX {
        return Err(bad());
    }
    Ok(Sources((first..=last).map(|bits| Ipv4Addr::from_bits(bits).into()).collect()))
}

pub(super) fn run(arguments: &LoadArguments) -> Result<ExitCode> {
    arguments.json.check()?;
    let refinements = refinements(arguments)?;
    let options = options(arguments, refinements.sources.first().copied())?;
    if let (true, Some(p99)) = (arguments.find_max, arguments.p99) {
        return find_max(arguments, &options, &refinements, p99);
    }
    let report = load::run_refined(&options, &refinements)?;
    arguments.json.write(&report)?;
    if !arguments.json.is_stdout() {
        print!("{}", report.summary());
    }
    Ok(ExitCode::from(u8::from(report.messages.accepted == 0)))
}

fn find_max(
    arguments: &LoadArguments,
    options: &LoadOptions,
    refinements: &Refinements,
    p99: Duration,
) -> Result<ExitCode> {
    const FIRST_RATE: f64 = 1000.0;
    let goal = Goal::new(p99, arguments.rate.unwrap_or(FIRST_RATE));
    let mut tell = |trial: &Trial| {
        let verdict = trial.failed.as_ref().map_or("holds".into(), |why| format!("does not hold: {why}"));
        let p99 = trial.report.time_to_250_us.p99;
        let full = if trial.load_binds { "; the load's cores were full" } else { "" };
        eprintln!("mailrace-bench: {:.0}/s: p99 {p99:.0} us, {verdict}{full}", trial.offered_rate);
    };
    let found = highest_rate::find(options, refinements, arguments.arrivals, goal, &mut tell)?;
    arguments.json.write(&found)?;
    if !arguments.json.is_stdout() {
        match found.rate {
            Some(rate) => println!("{rate:.0} messages/s with p99 at most {p99:?}, in an open loop"),
            None => {
                println!("no rate had a p99 of at most {p99:?}: {}", found.last_flaw().unwrap_or_default())
            }
        }
        if found.load_binds {
            println!(
                "the load's cores were full at the next rate: the limit may be the load's; give it more --cores"
            );
        }
    }
    Ok(ExitCode::from(u8::from(found.rate.is_none())))
}

fn refinements(arguments: &LoadArguments) -> Result<Refinements> {
    let content = match (&arguments.corpus, &arguments.size.0[..]) {
        (Some(path), _) => Content::Corpus(Corpus::read(path)?),
        (None, [_]) => Content::OneSize,
        (None, shares) => Content::Sizes(shares.to_vec()),
    };
    let arrivals = arguments.arrivals;
    Ok(Refinements {
        pace: arguments.rate.map_or(Pace::Closed, |rate| Pace::Open { rate, arrivals }),
        content,
        sources: arguments.source.iter().flat_map(|sources| sources.0.clone()).collect(),
        ledger: arguments.ledger.clone(),
        seed: arguments.seed,
        minds_listen_queue: arguments.mind_listen_queue,
        opening: match (arguments.idle, arguments.ramp) {
            (Some(idle), _) => Opening::Gathered { idle },
            (None, true) => Opening::Gathered { idle: Duration::ZERO },
            (None, false) => Opening::AtOnce,
        },
        errand: if arguments.visit { Errand::Visit } else { Errand::Mail },
        shows_progress: std::io::stderr().is_terminal(),
        epoch: None,
    })
}

fn options(arguments: &LoadArguments, source: Option<IpAddr>) -> Result<LoadOptions> {
    if let Some(pid) = arguments.server_pid {
        cpu::of_process(pid)?;
    }
    Ok(LoadOptions {
        target: reach(&arguments.target, source)?,
        cores: arguments.cores.clone().map_or_else(Vec::new, |cores| cores.0),
        connection_count: arguments.connections as usize,
        messages_per_connection: arguments.reuse.0,
        pipelining: arguments.pipelining,
        mail: MailShape {
            helo: arguments.helo.clone(),
            reverse_path: arguments.from.clone(),
            forward_path: arguments.to.clone(),
            recipient_count: arguments.recipients,
            size: arguments.size.0[0].size,
        },
        amount: match arguments.count {
            Some(count) => Amount::Count(count),
            None => Amount::For { warm_up: arguments.warm_up, duration: arguments.duration },
        },
        server_pid: arguments.server_pid,
    })
}

/// The first address of `target` that takes a connection: a name may have several, and a run against one that takes
/// none would only count that.
fn reach(target: &str, source: Option<IpAddr>) -> Result<SocketAddr> {
    let attempt = || format!("find {target}");
    let has_port = target.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_port {
        let hint = std::io::Error::other("write HOST:PORT, as in localhost:25 or [::1]:25");
        return Err(Error::system(attempt(), hint));
    }
    let addresses = target.to_socket_addrs().map_err(|e| Error::system(attempt(), e))?;
    let mut failed = Error::system(attempt(), std::io::ErrorKind::NotFound);
    for address in addresses {
        match try_connection(address, source) {
            Ok(()) => return Ok(address),
            Err(error) => failed = Error::system(format!("connect to {address}{}", from(source)), error),
        }
    }
    Err(failed)
}

fn try_connection(address: SocketAddr, source: Option<IpAddr>) -> std::io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&address.into(), PATIENCE)
}

fn from(source: Option<IpAddr>) -> String {
    source.map_or_else(String::new, |source| format!(" from {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_sources_are_taken_as_a_person_writes_them() {
        assert_eq!(parse_rate("500/s"), Ok(500.0));
        for bad in ["500", "0/s", "-1/s", "x/s", "inf/s", "nan/s"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
        let range = parse_sources("127.0.0.255-127.0.1.1").expect("a range").0;
        assert_eq!(
            range,
            ["127.0.0.255", "127.0.1.0", "127.0.1.1"].map(|a| a.parse::<IpAddr>().expect("one"))
        );
        assert_eq!(parse_sources("::1").expect("an address").0.len(), 1);
        for bad in ["", "127.0.0.2-127.0.0.1", "0.0.0.0-255.255.255.255", "::1-::2", "127.0.0.1-8"] {
            assert!(parse_sources(bad).is_err(), "{bad}");
        }
    }
}
