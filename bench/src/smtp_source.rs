//! One comparison, one target: driven by Postfix's smtp-source, mailrace with every message durable uses less
//! processor time per message than Postfix's smtp-sink, which keeps nothing. Postfix itself may stand beside both.
//!
//! smtp-source waits for each reply (it cannot pipeline). Rounds are interleaved, and so is who comes first.

mod contender;
mod page;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::compare::catalogue::Found;
use crate::cpu;
use crate::error::{Error, Result};
use crate::floor::{self, Floor};
use crate::group::GroupHome;
use crate::host::{self, Host};
use crate::mailrace::{Durability, Totals};
use crate::stats::Spread;
use crate::units::CoreList;
use crate::workspace::{Afterwards, Workspace};
pub use contender::Contender;

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
    /// The project's directory, whose unpacked Postfix is measured too; `None` leaves Postfix out.
    pub postfix: Option<PathBuf>,
    /// Where data goes, in a new directory; an absolute path when Postfix is measured.
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
    /// Why there is nothing of Postfix, or not all of it; `null` when nothing is missing.
    postfix_missing: Option<String>,
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
    /// Whether mailrace counted the messages that were sent, each time; the others do not tell.
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

/// Runs all rounds; `progress` is told what is about to be measured.
///
/// # Errors
/// When mailrace, smtp-sink or smtp-source cannot be run, or smtp-source meets a refusal of one of them.
pub fn run(options: &SmtpSourceOptions, progress: &mut dyn FnMut(&str)) -> Result<SmtpSourceReport> {
    let found = options.postfix.as_deref().map(Found::read);
    let mut comparison = Comparison {
        options,
        postfix_missing: found.as_ref().and_then(|found| contender::postfix(found).err()),
        found,
        groups: GroupHome::find(),
        workspace: Workspace::new(&options.parent_dir, options.afterwards)?,
        driver: String::new(),
    };
    let mut rows = comparison.rows();
    let mut floors = Vec::new();
    for round in 0..options.rounds {
        let mut tell = |what: &str| progress(&format!("round {} of {}: {what}", round + 1, options.rounds));
        tell("floor");
        floors.push(comparison.floor()?);
        for connections in [Connections::Reused, Connections::New] {
            let mut of_round: Vec<&mut Row> =
                rows.iter_mut().filter(|row| row.connections == connections).collect();
            // Every other round the last comes first.
            if round % 2 == 1 {
                of_round.reverse();
            }
            for row in of_round {
                tell(&format!("{}, {} connections", row.contender.name(), connections.name()));
                row.runs.extend(comparison.measure(row.contender, connections)?);
            }
        }
    }
    Ok(comparison.report(rows, floors))
}

struct Comparison<'a> {
    options: &'a SmtpSourceOptions,
    /// What was unpacked, where Postfix is to be measured.
    found: Option<Found>,
    groups: std::result::Result<GroupHome, String>,
    postfix_missing: Option<String>,
    workspace: Workspace,
    driver: String,
}

impl Comparison<'_> {
    /// A row for each contender and use of connections, still empty.
    fn rows(&self) -> Vec<Row> {
        let has_postfix = self.found.is_some() && self.postfix_missing.is_none();
        let contenders = [Contender::Mailrace, Contender::SmtpSink, Contender::Postfix];
        let contenders = contenders.into_iter().filter(|who| *who != Contender::Postfix || has_postfix);
        let both = [Connections::Reused, Connections::New];
        contenders.flat_map(|who| both.map(|connections| Row::new(who, connections))).collect()
    }

    fn floor(&mut self) -> Result<Vec<Floor>> {
        let time = Duration::from_millis(300);
        let directory = self.workspace.fresh_made()?;
        let floor = floor::measure(&directory, &self.options.server_cores.0, &[1, 64], time)?;
        self.workspace.put_aside(&directory)?;
        Ok(floor)
    }

    /// One run; none of a Postfix that fails or has failed, whose reason is kept.
    fn measure(&mut self, contender: Contender, connections: Connections) -> Result<Option<Run>> {
        match contender {
            Contender::Mailrace => self.measure_mailrace(connections).map(Some),
            Contender::SmtpSink => self.measure_smtp_sink(connections).map(Some),
            Contender::Postfix if self.postfix_missing.is_some() => Ok(None),
            Contender::Postfix => {
                let run = self.measure_postfix(connections);
                Ok(run.map_err(|error| self.postfix_missing = Some(error.to_string())).ok())
            }
        }
    }

    fn report(self, rows: Vec<Row>, floors: Vec<Vec<Floor>>) -> SmtpSourceReport {
        let options = self.options;
        let rows: Vec<Row> = rows.into_iter().map(Row::concluded).collect();
        let targets =
            [Connections::Reused, Connections::New].map(|connections| Target::of(connections, &rows));
        SmtpSourceReport {
            host: host::at_start().host.clone(),
            mailrace: options.mailrace.clone(),
            arguments: options.arguments.clone(),
            durability: options.durability,
            driver: self.driver,
            smtp_source: options.smtp_source.clone(),
            smtp_sink: options.smtp_sink.clone(),
            server_cores: options.server_cores.clone(),
            load_cores: options.load_cores.clone(),
            sessions: options.sessions,
            size: options.size,
            floors,
            rows,
            targets: targets.into(),
            postfix_missing: self.postfix_missing,
        }
    }

    /// Runs smtp-source against a server that is ready, after a short run to warm it up.
    fn drive(
        &self,
        target: SocketAddr,
        cpu_time: impl Fn() -> Result<Duration>,
        connections: Connections,
        messages: u64,
    ) -> Result<Run> {
        self.smtp_source(target, connections, WARM_UP_COUNT.min(messages))?;
        let (began, cpu_before) = (Instant::now(), cpu_time()?);
        self.smtp_source(target, connections, messages)?;
        let (elapsed, cpu_after) = (began.elapsed(), cpu_time()?);
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

impl Connections {
    /// As the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reused => "reused",
            Self::New => "new",
        }
    }
}

impl Row {
    fn new(contender: Contender, connections: Connections) -> Self {
        let nothing = Spread::default();
        Self {
            contender,
            connections,
            rate: nothing,
            server_cpu_us: nothing,
            counts_agree: true,
            runs: Vec::new(),
        }
    }

    /// With the figures of its runs.
    fn concluded(self) -> Self {
        let runs = &self.runs;
        let rate = Spread::of(runs.iter().map(|run| run.messages as f64 / run.elapsed_s));
        let server_cpu_us = Spread::of(runs.iter().map(|run| run.server_cpu_s * 1e6 / run.messages as f64));
        let sent = |run: &Run| run.messages + WARM_UP_COUNT.min(run.messages);
        let counts_agree =
            runs.iter().all(|run| run.totals.is_none_or(|totals| totals.messages == sent(run)));
        Self { rate, server_cpu_us, counts_agree, ..self }
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
        let runs = vec![Run { messages: 10, elapsed_s: 1.0, server_cpu_s, totals }];
        Row { runs, ..Row::new(contender, Connections::New) }.concluded()
    }

    #[test]
    fn syncs_that_nobody_counted_are_not_zero() {
        assert_eq!(row(Contender::SmtpSink, 0.1, 0).syncs_per_message(), None);
        assert_eq!(row(Contender::Postfix, 0.1, 0).syncs_per_message(), None);
        assert_eq!(row(Contender::Mailrace, 0.1, 0).syncs_per_message(), None, "no message");
        let counted = row(Contender::Mailrace, 0.1, 4).syncs_per_message();
        assert_eq!(counted, Some(Spread::of([0.25])));
        assert_eq!(Row::new(Contender::Mailrace, Connections::New).syncs_per_message(), None);
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
