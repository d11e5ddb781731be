//! One server under comparison, from its start to its end, whatever it is made of.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::catalogue::{Found, Peer, Start};
use super::tree::{self, Extent};
use crate::error::{Error, Result};
use crate::group::{Group, GroupHome};
use crate::mailrace::{Mailrace, MailraceOptions, Totals};
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
    /// When it cannot be run, ends, or does not greet within half a minute.
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
        const PATIENCE: Duration = Duration::from_secs(30);
        let pid = self.pid;
        match first_sign(self.address, Instant::now() + PATIENCE, || tree::is_running(pid)) {
            Sign::Greeting => return Ok(self),
            Sign::End => {
                if let Process::Other(process) = &mut self.process {
                    process.wait_for(|_| None::<()>)?;
                }
            }
            Sign::None => {}
        }
        let reason = format!("it did not greet on {} in {} s", self.address, PATIENCE.as_secs());
        let Process::Other(process) = &self.process else { unreachable!("mailrace says when it is ready") };
        let error = process.error(reason);
        self.stop()?;
        Err(error)
    }

    /// Ends it and all processes it has started; mailrace's own counts.
    ///
    /// # Errors
    /// When mailrace fails while it stops.
    pub fn stop(self) -> Result<Option<Totals>> {
        match self.process {
            Process::Mailrace(both) => {
                let (mailrace, options) = *both;
                mailrace.stop(&options).map(Some)
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

/// What a server that was started showed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Greeting,
    /// It is no longer running.
    End,
    /// Neither, until the deadline.
    None,
}

/// Tries to be greeted until `deadline`, whatever the server does meanwhile: not listen, refuse, or be silent.
fn first_sign(address: SocketAddr, deadline: Instant, is_running: impl Fn() -> bool) -> Sign {
    const PAUSE: Duration = Duration::from_millis(20);
    while Instant::now() < deadline {
        if is_greeted(address, deadline).unwrap_or(false) {
            return Sign::Greeting;
        }
        if !is_running() {
            return Sign::End;
        }
        std::thread::sleep(PAUSE);
    }
    Sign::None
}

/// Whether a connection is greeted with 220; given up after seconds, for a server may forget a connection of the time
/// before it was ready, and at `deadline` in any case.
fn is_greeted(address: SocketAddr, deadline: Instant) -> std::io::Result<bool> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let deadline = deadline.min(Instant::now() + PATIENCE);
    // No timeout may be zero.
    let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut socket = TcpStream::connect_timeout(&address, left())?;
    let mut code = [0; 3];
    for octet in &mut code {
        socket.set_read_timeout(Some(left()))?;
        socket.read_exact(std::slice::from_mut(octet))?;
    }
    Ok(code == *b"220")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_silent_server_is_given_up_at_one_deadline() {
        // Connections are taken by its backlog and never answered.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let began = Instant::now();
        let deadline = began + Duration::from_millis(200);
        assert_eq!(first_sign(address, deadline, || true), Sign::None);
        assert!(began.elapsed() >= Duration::from_millis(200), "it gave up early");
        // Five hundred attempts, each with a patience of its own, took forty minutes.
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    }

    #[test]
    fn a_greeting_and_an_end_are_told_apart() {
        let deadline = || Instant::now() + Duration::from_secs(60);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let greeter = std::thread::spawn(move || {
            let (mut first, _) = listener.accept().expect("a connection");
            first.write_all(b"421 not yet\r\n").expect("a reply");
            let (mut second, _) = listener.accept().expect("another");
            second.write_all(b"220 mx\r\n").expect("a greeting");
            listener
        });
        assert_eq!(first_sign(address, deadline(), || true), Sign::Greeting);
        drop(greeter.join().expect("the greeter"));
        assert_eq!(first_sign(address, deadline(), || false), Sign::End);
    }
}
