//! One server under comparison, from its start to its end, whatever it is made of.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::catalogue::{Found, Peer, Start};
use super::tree::{self, Extent};
use crate::error::{Error, Result};
use crate::group::{Group, GroupHome};
use crate::mailrace::{Mailrace, MailraceOptions};
use crate::process::ServerProcess;
use crate::units::CoreList;

/// Where servers come from and run.
#[derive(Debug)]
pub struct Hall<'a> {
    /// The mailrace to compare.
    pub mailrace: &'a Path,
    /// Further arguments of its `serve`.
    pub arguments: &'a [String],
    /// The cores each server is confined to.
    pub cores: &'a CoreList,
    /// Where a control group for each can be made, or why not.
    pub groups: &'a std::result::Result<GroupHome, String>,
    /// The others.
    pub found: &'a Found,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    /// Removed last, with whatever still runs in it.
    group: Option<Group>,
    /// Where it listens.
    pub address: SocketAddr,
    pid: u32,
}

#[derive(Debug)]
enum Process {
    Mailrace(Box<(Mailrace, MailraceOptions)>),
    Other(ServerProcess),
}

impl Server {
    /// Starts `peer` with its data in `directory` and waits until it greets.
    ///
    /// # Errors
    /// When it cannot be run, ends, or does not greet within ten seconds.
    pub fn start(peer: &Peer, hall: &Hall<'_>, directory: PathBuf) -> Result<Self> {
        let group = hall.groups.as_ref().ok().map(GroupHome::make).transpose();
        let group = group.map_err(|reason| {
            Error::system("give the server a control group", std::io::Error::other(reason))
        })?;
        if let Start::Mailrace(durability) = peer.start {
            let options = MailraceOptions {
                binary: hall.mailrace.to_owned(),
                cores: hall.cores.clone(),
                durability,
                data_dir: directory.join("log"),
                arguments: hall.arguments.to_vec(),
            };
            let mailrace = Mailrace::start_in(group.as_ref(), &options)?;
            let (address, pid) = (mailrace.address(), mailrace.pid());
            let process = Process::Mailrace(Box::new((mailrace, options)));
            return Ok(Self { process, group, address, pid });
        }
        let address = free_address()?;
        let command = command(peer, hall, address, &directory)?;
        let process = ServerProcess::start_in(group.as_ref(), command, &hall.cores.0)?;
        let server = Self { pid: process.pid(), process: Process::Other(process), group, address };
        server.wait_until_it_greets()
    }

    /// All that belongs to it.
    pub fn extent(&self) -> Extent<'_> {
        Extent { group: self.group.as_ref(), root: self.pid }
    }

    fn wait_until_it_greets(mut self) -> Result<Self> {
        const ATTEMPTS: u32 = 500;
        const PAUSE: Duration = Duration::from_millis(20);
        for _ in 0..ATTEMPTS {
            if is_greeted(self.address) {
                return Ok(self);
            }
            std::thread::sleep(PAUSE);
            if let (Process::Other(process), false) = (&mut self.process, tree::is_running(self.pid)) {
                process.wait_for(|_| None::<()>)?;
            }
        }
        let reason = format!("it does not greet on {}", self.address);
        let Process::Other(process) = &self.process else { unreachable!("mailrace says when it is ready") };
        let error = process.error(reason);
        self.stop()?;
        Err(error)
    }

    /// Ends it and all processes it has started; mailrace's own count of messages.
    ///
    /// # Errors
    /// When mailrace fails while it stops.
    pub fn stop(self) -> Result<Option<u64>> {
        match self.process {
            Process::Mailrace(both) => {
                let (mailrace, options) = *both;
                mailrace.stop(&options).map(|totals| Some(totals.messages))
            }
            Process::Other(process) => {
                let processes = tree::processes(self.pid);
                drop(process);
                tree::kill(&processes);
                Ok(None)
            }
        }
    }
}

fn command(peer: &Peer, hall: &Hall<'_>, address: SocketAddr, directory: &Path) -> Result<Command> {
    match peer.start {
        Start::Script { folder, keep } => {
            let mut command = Command::new(hall.found.serve_script(folder));
            command.arg(address.port().to_string()).arg(directory);
            command.env("PEERS", hall.found.peers_dir()).env("KEEP", keep);
            Ok(command)
        }
        Start::Sink => {
            let this = std::env::current_exe().map_err(|e| Error::system("find this program", e))?;
            let mut command = Command::new(this);
            command.args(["sink", "--listen", &address.to_string()]);
            Ok(command)
        }
        Start::Mailrace(_) => unreachable!("mailrace chooses its own port"),
    }
}

/// An address nobody listens on at the moment.
fn free_address() -> Result<SocketAddr> {
    let attempt = |e| Error::system("find a free port", e);
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(attempt)
}

fn is_greeted(address: SocketAddr) -> bool {
    let greeting = || -> std::io::Result<String> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line)?;
        Ok(line)
    };
    greeting().is_ok_and(|line| line.starts_with("220"))
}
