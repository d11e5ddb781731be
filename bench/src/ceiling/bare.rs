//! A bare sink as a child process of the same program, so that its processor time is taken as a server's is.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use serde::Serialize;

use super::{monoio_sink, uring_sink};
use crate::error::{Error, Result};
use crate::host;
use crate::process::ServerProcess;

/// What a bare sink is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BareKind {
    /// monoio on io_uring, as mailrace.
    Monoio,
    /// io_uring itself, with multishot operations and a ring of buffers.
    IoUring,
}

impl BareKind {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 2] = [Self::Monoio, Self::IoUring];

    /// As the command line and the table have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Monoio => "monoio",
            Self::IoUring => "io-uring",
        }
    }
}

/// What the child says in front of its address.
const READY: &str = "mailrace-bench: bare sink listening on ";
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A running bare sink; killed when dropped.
#[derive(Debug)]
pub struct BareSink {
    process: ServerProcess,
    address: SocketAddr,
}

impl BareSink {
    /// Starts one on a free port of the loopback, on `cores`.
    ///
    /// # Errors
    /// When it cannot be run or does not get ready.
    pub fn start(kind: BareKind, cores: &[usize], connections: usize) -> Result<Self> {
        let this = std::env::current_exe().map_err(|e| Error::system("find this program", e))?;
        let mut command = Command::new(this);
        command.args(["ceiling", "bare-sink", kind.name(), "--connections", &connections.to_string()]);
        let mut process = ServerProcess::start(command, cores)?;
        let address = process.wait_for(|line| line.strip_prefix(READY)?.parse().ok())?;
        Ok(Self { process, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends it; it has nothing to finish.
    ///
    /// # Errors
    /// When it does not end within a minute.
    pub fn stop(self) -> Result<()> {
        self.process.stop().map(drop)
    }
}

/// What the child does: serves `connections` at once until it is ended.
///
/// # Errors
/// When it cannot listen, or the kernel refuses io_uring.
pub fn serve(kind: BareKind, connections: u64) -> Result<Infallible> {
    const DESCRIPTORS_SPARE: u64 = 64;
    host::raise_descriptor_limit(connections + DESCRIPTORS_SPARE)?;
    let failed = |e| Error::system(format!("serve with {}", kind.name()), e);
    let listener = listen().map_err(failed)?;
    eprintln!("{READY}{}", listener.local_addr().map_err(failed)?);
    match kind {
        BareKind::Monoio => monoio_sink::serve(listener).map_err(failed),
        BareKind::IoUring => uring_sink::serve(listener).map_err(failed),
    }
}

fn listen() -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
