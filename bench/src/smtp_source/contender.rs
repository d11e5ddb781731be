//! Who answers smtp-source, and how each is started and stopped.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use super::{Comparison, Connections, Run};
use crate::compare::catalogue::{Found, PEERS, Peer};
use crate::compare::server::{Hall, Server};
use crate::cpu;
use crate::error::{Error, Result};
use crate::mailrace::{Mailrace, MailraceOptions};
use crate::process::ServerProcess;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// mailrace in the mode that was asked for.
    Mailrace,
    /// Postfix's sink, which keeps nothing.
    SmtpSink,
    /// Postfix, which syncs each message into its hold queue.
    Postfix,
}

/// Connections that may wait at smtp-sink.
const BACKLOG: &str = "1024";
/// Postfix gets one message of so many that the others get: it takes far longer for each.
const POSTFIX_PART: u64 = 10;

impl Contender {
    /// As the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mailrace => "mailrace",
            Self::SmtpSink => "smtp-sink",
            Self::Postfix => "Postfix",
        }
    }
}

/// The Postfix of the comparison, or why it cannot be had.
pub(super) fn postfix(found: &Found) -> std::result::Result<Peer, String> {
    const NAME: &str = "postfix";
    found.version(NAME)?;
    let peer = PEERS.into_iter().find(|peer| peer.name == NAME);
    peer.ok_or_else(|| format!("no server named {NAME} is compared"))
}

impl Comparison<'_> {
    fn messages(&self, connections: Connections) -> u64 {
        match connections {
            Connections::Reused => self.options.reused_count,
            Connections::New => self.options.new_count,
        }
    }

    pub(super) fn measure_mailrace(&mut self, connections: Connections) -> Result<Run> {
        let server = MailraceOptions {
            binary: self.options.mailrace.clone(),
            cores: self.options.server_cores.clone(),
            durability: self.options.durability,
            data_dir: self.workspace.fresh(),
            arguments: self.options.arguments.clone(),
        };
        let mailrace = Mailrace::start(&server)?;
        let cpu_time = || cpu::of_process(mailrace.pid());
        let run = match self.drive(mailrace.address(), cpu_time, connections, self.messages(connections)) {
            Ok(run) => run,
            Err(error) => return Err(mailrace.blamed(&server, error)),
        };
        self.driver = mailrace.driver().to_owned();
        let totals = mailrace.stop(&server)?;
        self.workspace.put_aside(&server.data_dir)?;
        Ok(Run { totals: Some(totals), ..run })
    }

    pub(super) fn measure_smtp_sink(&self, connections: Connections) -> Result<Run> {
        let address = free_address()?;
        let mut command = Command::new(&self.options.smtp_sink);
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "nobody"]);
        }
        command.arg(address.to_string()).arg(BACKLOG);
        let server = ServerProcess::start(command, &self.options.server_cores.0)?;
        wait_until_listening(&server, address)?;
        let cpu_time = || cpu::of_process(server.pid());
        let run = self.drive(address, cpu_time, connections, self.messages(connections))?;
        server.stop()?;
        Ok(run)
    }

    pub(super) fn measure_postfix(&mut self, connections: Connections) -> Result<Run> {
        let failed = |reason: String| Error::Missing { program: "Postfix".into(), remedy: reason };
        let directory = self.workspace.fresh_made()?;
        let Some(found) = &self.found else { return Err(failed("it was not asked for".into())) };
        let hall = Hall {
            mailrace: &self.options.mailrace,
            arguments: &self.options.arguments,
            cores: &self.options.server_cores,
            groups: &self.groups,
            found,
        };
        let server = Server::start(&postfix(found).map_err(failed)?, &hall, directory.clone())?;
        let messages = (self.messages(connections) / POSTFIX_PART).max(1);
        let cpu_time = || Ok(server.extent().cpu_time());
        let run = self.drive(server.address, cpu_time, connections, messages);
        server.stop()?;
        self.workspace.put_aside(&directory)?;
        run
    }
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
