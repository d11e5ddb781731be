//! One comparison, one target: driven by Postfix's smtp-source, mailrace with every message durable uses less
//! processor time per message than Postfix's smtp-sink, which keeps nothing.
//!
//! smtp-source waits for each reply (it cannot pipeline). Rounds are interleaved, and so is who comes first.

mod page;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cpu;
use crate::error::{Error, Result};
use crate::floor::{self, Floor};
use crate::host::Host;
use crate::mailrace::{Durability, Mailrace, MailraceOptions, Totals};
use crate::process::ServerProcess;
use crate::stats::Spread;
use crate::units::CoreList;
use crate::workspace::{Afterwards, Workspace};

/// What is compared, and where.
#[derive(Clone, Debug)]
pub struct SmtpSourceOptions {
    /// mailrace's program.
    pub mailrace: PathBuf,
    /// Further arguments of its `serve`.
    pub arguments: Vec<String>,
    /// Its durability mode.
    pub durability: Durability,
    /// Postfix's load.
    pub smtp_source: PathBuf,
    /// Postfix's sink.
    pub smtp_sink: PathBuf,
    /// Where data goes, in a new directory.
    pub parent_dir: PathBuf,
    /// What becomes of it.
    pub afterwards: Afterwards,
    /// The servers' cores.
    pub server_cores: CoreList,
    /// The load's cores.
    pub load_cores: CoreList,
    /// Sessions smtp-source runs at once.
    pub sessions: usize,
    /// Octets of a message's text, headers not included: smtp-source counts so.
    pub size: usize,
    /// Messages of a run over reused connections.
    pub reused_count: u64,
    /// Messages of a run with a new connection for each.
    pub new_count: u64,
    /// How often each is measured.
    pub rounds: usize,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Contender {
    Mailrace,
    SmtpSink,
}

/// How smtp-source uses connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Connections {
    /// One connection per session.
    Reused,
    /// One connection per message.
    New,
}

/// Everything measured, and whether the target is met.
#[derive(Debug, Serialize)]
pub struct SmtpSourceReport {
    host: Host,
    mailrace: PathBuf,
    arguments: Vec<String>,
    durability: Durability,
    driver: String,
    smtp_source: PathBuf,
    smtp_sink: PathBuf,
    server_cores: CoreList,
    load_cores: CoreList,
    sessions: usize,
    size: usize,
    /// One entry a round.
    floors: Vec<Vec<Floor>>,
    rows: Vec<Row>,
    targets: Vec<Target>,
}

/// One contender with one use of connections.
#[derive(Debug, Serialize)]
struct Row {
    contender: Contender,
    connections: Connections,
    /// Messages per second.
    rate: Spread,
    /// The server's processor time per message, all its threads.
    server_cpu_us: Spread,
    /// Whether mailrace counted the messages that were sent, each time; smtp-sink does not tell.
    counts_agree: bool,
    runs: Vec<Run>,
}

/// One run of smtp-source.
#[derive(Debug, Serialize)]
struct Run {
    messages: u64,
    elapsed_s: f64,
    server_cpu_s: f64,
    /// mailrace's own count, warm-up included.
    totals: Option<Totals>,
}

/// mailrace's median against smtp-sink's.
#[derive(Debug, Serialize)]
struct Target {
    connections: Connections,
    /// mailrace's processor time per message as a share of smtp-sink's.
    ratio: f64,
    /// Less, and with every message accounted for.
    is_met: bool,
}

/// Messages sent to a server before it is measured.
const WARM_UP_COUNT: u64 = 1_000;
/// Connections that may wait at smtp-sink.
const BACKLOG: &str = "1024";

/// Runs all rounds; `progress` is told what is about to be measured.
///
/// # Errors
/// When a program cannot be run, or smtp-source meets a refusal.
pub fn run(options: &SmtpSourceOptions, progress: &mut dyn FnMut(&str)) -> Result<SmtpSourceReport> {
    let mut comparison = Comparison {
        options,
        workspace: Workspace::new(&options.parent_dir, options.afterwards)?,
        driver: String::new(),
    };
    let pairs = [
        (Contender::Mailrace, Connections::Reused),
        (Contender::SmtpSink, Connections::Reused),
        (Contender::Mailrace, Connections::New),
        (Contender::SmtpSink, Connections::New),
    ];
    let mut runs = pairs.map(|_| Vec::new());
    let mut floors = Vec::new();
    for round in 0..options.rounds {
        progress(&format!("round {} of {}: floor", round + 1, options.rounds));
        floors.push(comparison.floor()?);
        for index in 0..pairs.len() {
            // Every other round the second of each pair comes first.
            let index = index ^ (round % 2);
            let (contender, connections) = pairs[index];
            progress(&format!(
                "round {} of {}: {}, {} connections",
                round + 1,
                options.rounds,
                contender.name(),
                connections.name()
            ));
            runs[index].push(comparison.measure(contender, connections)?);
        }
    }
    let rows = pairs
        .into_iter()
        .zip(runs)
        .map(|((contender, connections), runs)| Row::of(contender, connections, runs));
    let rows: Vec<Row> = rows.collect();
    let targets = [Connections::Reused, Connections::New].map(|connections| Target::of(connections, &rows));
    Ok(SmtpSourceReport {
        host: Host::this(),
        mailrace: options.mailrace.clone(),
        arguments: options.arguments.clone(),
        durability: options.durability,
        driver: comparison.driver,
        smtp_source: options.smtp_source.clone(),
        smtp_sink: options.smtp_sink.clone(),
        server_cores: options.server_cores.clone(),
        load_cores: options.load_cores.clone(),
        sessions: options.sessions,
        size: options.size,
        floors,
        rows,
        targets: targets.into(),
    })
}

struct Comparison<'a> {
    options: &'a SmtpSourceOptions,
    workspace: Workspace,
    driver: String,
}

impl Comparison<'_> {
    fn floor(&mut self) -> Result<Vec<Floor>> {
        let time = Duration::from_millis(300);
        let directory = self.workspace.fresh_made()?;
        let floor = floor::measure(&directory, &self.options.server_cores.0, &[1, 64], time)?;
        self.workspace.put_aside(&directory)?;
        Ok(floor)
    }

    fn measure(&mut self, contender: Contender, connections: Connections) -> Result<Run> {
        match contender {
            Contender::Mailrace => self.measure_mailrace(connections),
            Contender::SmtpSink => self.measure_smtp_sink(connections),
        }
    }

    fn measure_mailrace(&mut self, connections: Connections) -> Result<Run> {
        let server = MailraceOptions {
            binary: self.options.mailrace.clone(),
            cores: self.options.server_cores.clone(),
            durability: self.options.durability,
            data_dir: self.workspace.fresh(),
            arguments: self.options.arguments.clone(),
        };
        let mailrace = Mailrace::start(&server)?;
        let run = self.drive(mailrace.address(), mailrace.pid(), connections)?;
        self.driver = mailrace.driver().to_owned();
        let totals = mailrace.stop(&server)?;
        self.workspace.put_aside(&server.data_dir)?;
        Ok(Run { totals: Some(totals), ..run })
    }

    fn measure_smtp_sink(&self, connections: Connections) -> Result<Run> {
        let address = free_address()?;
        let mut command = Command::new(&self.options.smtp_sink);
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "nobody"]);
        }
        command.arg(address.to_string()).arg(BACKLOG);
        let server = ServerProcess::start(command, &self.options.server_cores.0)?;
        wait_until_listening(&server, address)?;
        let run = self.drive(address, server.pid(), connections)?;
        server.stop()?;
        Ok(run)
    }

    /// Runs smtp-source against a server that is ready, after a short run to warm it up.
    fn drive(&self, target: SocketAddr, pid: u32, connections: Connections) -> Result<Run> {
        let options = self.options;
        let messages = match connections {
            Connections::Reused => options.reused_count,
            Connections::New => options.new_count,
        };
        self.smtp_source(target, connections, WARM_UP_COUNT.min(messages))?;
        let (began, cpu_before) = (Instant::now(), cpu::of_process(pid)?);
        self.smtp_source(target, connections, messages)?;
        let (elapsed, cpu_after) = (began.elapsed(), cpu::of_process(pid)?);
        Ok(Run {
            messages,
            elapsed_s: elapsed.as_secs_f64(),
            server_cpu_s: cpu_after.saturating_sub(cpu_before).as_secs_f64(),
            totals: None,
        })
    }

    fn smtp_source(&self, target: SocketAddr, connections: Connections, messages: u64) -> Result<()> {
        let options = self.options;
        let run = SourceRun {
            program: &options.smtp_source,
            cores: &options.load_cores.0,
            sessions: options.sessions,
            size: options.size,
            messages,
            connections,
        };
        drive(&run, target)
    }
}

/// One run of smtp-source.
#[derive(Clone, Copy, Debug)]
pub struct SourceRun<'a> {
    /// The program.
    pub program: &'a Path,
    /// Where it runs.
    pub cores: &'a [usize],
    /// Sessions at once.
    pub sessions: usize,
    /// Octets of a message's text, headers not included.
    pub size: usize,
    /// Messages in all.
    pub messages: u64,
    /// How it uses connections.
    pub connections: Connections,
}

/// Runs smtp-source against `target` to its end.
///
/// # Errors
/// When it cannot be run, or does not get every message through.
pub fn drive(run: &SourceRun<'_>, target: SocketAddr) -> Result<()> {
    let mut command = Command::new(run.program);
    command.args(["-s", &run.sessions.to_string(), "-l", &run.size.to_string()]);
    command.args(["-m", &run.messages.to_string(), "-M", "load.example"]);
    command.args(["-f", "sender@load.example", "-t", "recipient@load.example"]);
    if run.connections == Connections::Reused {
        command.arg("-d");
    }
    command.arg(target.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = cpu::with_cores(run.cores, || command.spawn())?
        .and_then(std::process::Child::wait_with_output)
        .map_err(|e| Error::system(format!("run {}", run.program.display()), e))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Server {
        program: run.program.to_owned(),
        reason: format!("it failed against {target}: {}", output.status),
        said: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
    })
}

/// An address nobody listens on at the moment.
fn free_address() -> Result<SocketAddr> {
    let attempt = |e| Error::system("find a free port", e);
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(attempt)
}

/// smtp-sink does not say when it is ready, so it is tried.
fn wait_until_listening(server: &ServerProcess, address: SocketAddr) -> Result<()> {
    const ATTEMPTS: u32 = 500;
    for _ in 0..ATTEMPTS {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(server.error(format!("nobody listens on {address}")))
}

impl Contender {
    fn name(self) -> &'static str {
        match self {
            Self::Mailrace => "mailrace",
            Self::SmtpSink => "smtp-sink",
        }
    }
}

impl Connections {
    /// As tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reused => "reused",
            Self::New => "new",
        }
    }
}

impl Row {
    fn of(contender: Contender, connections: Connections, runs: Vec<Run>) -> Self {
        let rate = Spread::of(runs.iter().map(|run| run.messages as f64 / run.elapsed_s));
        let server_cpu_us = Spread::of(runs.iter().map(|run| run.server_cpu_s * 1e6 / run.messages as f64));
        let sent = |run: &Run| run.messages + WARM_UP_COUNT.min(run.messages);
        let counts_agree =
            runs.iter().all(|run| run.totals.is_none_or(|totals| totals.messages == sent(run)));
        Self { contender, connections, rate, server_cpu_us, counts_agree, runs }
    }
}

impl Target {
    fn of(connections: Connections, rows: &[Row]) -> Self {
        let cpu = |contender| {
            let row = rows.iter().find(|row| row.contender == contender && row.connections == connections);
            row.map_or(f64::INFINITY, |row| row.server_cpu_us.median)
        };
        let (ours, theirs) = (cpu(Contender::Mailrace), cpu(Contender::SmtpSink));
        let is_counted = rows.iter().all(|row| row.counts_agree);
        Self { connections, ratio: ours / theirs, is_met: is_counted && ours > 0.0 && ours < theirs }
    }
}

impl SmtpSourceReport {
    /// Whether mailrace used less than smtp-sink with both uses of connections.
    pub fn is_met(&self) -> bool {
        self.targets.iter().all(|target| target.is_met)
    }
}

/// The program's usual size of a run: seconds, not minutes.
pub mod defaults {
    /// Messages of a run over reused connections.
    pub const REUSED_COUNT: u64 = 50_000;
    /// Messages of a run with new connections.
    pub const NEW_COUNT: u64 = 20_000;
}

/// Finds both programs of Postfix.
///
/// # Errors
/// When one is missing.
pub fn find_programs(source: Option<&Path>, sink: Option<&Path>) -> Result<(PathBuf, PathBuf)> {
    Ok((crate::peers::find("smtp-source", source)?, crate::peers::find("smtp-sink", sink)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(contender: Contender, server_cpu_s: f64, counted: u64) -> Row {
        let totals = Totals { messages: counted, syncs: 1, batches: 1 };
        let totals = (contender == Contender::Mailrace).then_some(totals);
        Row::of(contender, Connections::New, vec![Run { messages: 10, elapsed_s: 1.0, server_cpu_s, totals }])
    }

    fn is_met(ours: f64, theirs: f64, counted: u64) -> bool {
        let rows = [row(Contender::Mailrace, ours, counted), row(Contender::SmtpSink, theirs, 0)];
        Target::of(Connections::New, &rows).is_met
    }

    #[test]
    fn the_target_asks_for_less_cpu_and_every_message() {
        assert!(is_met(0.1, 0.2, 20));
        assert!(!is_met(0.2, 0.2, 20), "as much is not less");
        assert!(!is_met(0.1, 0.2, 19), "a message is missing");
        assert!(!is_met(0.0, 0.2, 20), "nothing was measured");
    }
}
