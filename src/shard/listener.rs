//! Listening sockets, one per shard and address, and the loop that accepts from one.
//!
//! The kernel spreads connections over the sockets of one address (SO_REUSEPORT). Each has one accept loop, which
//! never ends by itself: a drain accepts what the kernel has queued, tells those clients, and shuts the socket
//! down. An accept(2) that fails for want of descriptors or memory neither spins nor goes unanswered: a spare
//! descriptor is let go of for a moment, the client gets its 421, and where even that fails the loop rests.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::connection::Connection;
use super::net::{self, Readiness};
use super::{Phase, State};
use crate::smtp::{Reply, reply};

/// Connections that may wait in the kernel; `net.core.somaxconn` bounds it too.
pub const BACKLOG: i32 = 4096;

/// Connections accepted in one go before the others get a turn.
const ACCEPTS_PER_WAKE_MAX: usize = 64;

/// How long the accept loop rests when descriptors or memory have run out and nobody could be answered.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.error.kind() {
            ErrorKind::AddrInUse => "stop what listens there, or use another --listen",
            ErrorKind::AddrNotAvailable => "give --listen an address of this machine",
            ErrorKind::PermissionDenied => {
                "ports below 1024 take the capability CAP_NET_BIND_SERVICE; use a higher one or grant it"
            }
            _ => "use another --listen",
        };
        write!(f, "cannot listen on {}: {}; {advice}", self.address, self.error)
    }
}

impl std::error::Error for BindError {}

/// Listens on all of `addresses` once per shard.
///
/// `[::]` takes IPv4 as well, unless an IPv4 address has the same port.
///
/// # Errors
/// [`BindError`] for the first address that cannot be had; one that another program listens on is such, though
/// SO_REUSEPORT would let us share it.
pub fn bind(addresses: &[SocketAddr], shard_count: usize) -> Result<Vec<Vec<TcpListener>>, BindError> {
    let mut shards: Vec<Vec<TcpListener>> = (0..shard_count).map(|_| Vec::new()).collect();
    for &asked in addresses {
        let error_at = |address| move |error| BindError { address, error };
        let has_ipv4 = addresses.iter().any(|other| other.is_ipv4() && other.port() == asked.port());
        let ipv6_only = has_ipv4 && asked.port() != 0;
        if asked.port() != 0 {
            // Without SO_REUSEPORT: fails when anybody listens there, ourselves started twice included.
            bound(asked, ipv6_only).map_err(error_at(asked))?;
        }
        let mut address = asked;
        for shard in &mut shards {
            let listener = listening(address, ipv6_only).map_err(error_at(address))?;
            address = listener.local_addr().map_err(error_at(address))?;
            shard.push(listener);
        }
    }
    Ok(shards)
}

fn bound(address: SocketAddr, ipv6_only: bool) -> io::Result<Socket> {
    let socket = unbound(address, ipv6_only)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn listening(address: SocketAddr, ipv6_only: bool) -> io::Result<TcpListener> {
    let socket = unbound(address, ipv6_only)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit it: replies are short and must not wait for an acknowledgement.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn unbound(address: SocketAddr, ipv6_only: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(ipv6_only)?;
    }
    Ok(socket)
}

/// How many connections the process has, against how many it may have.
#[derive(Debug)]
pub struct ConnectionGate {
    open: AtomicUsize,
    open_max: usize,
}

impl ConnectionGate {
    /// With nobody inside.
    #[must_use]
    pub fn new(open_max: usize) -> Self {
        Self { open: AtomicUsize::new(0), open_max }
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn enter(self: &Arc<Self>) -> Option<Pass> {
        let pass = Pass { gate: Arc::clone(self) };
        // Counted before it is judged, so that two shards never let in one too many; the pass counts it off.
        (self.open.fetch_add(1, Ordering::Relaxed) < self.open_max).then_some(pass)
    }
}

/// One place among the connections, for as long as it is kept.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<ConnectionGate>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One listening socket at work.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    readiness: Readiness,
    /// Where connections arrive, when that is one address.
    local: Option<SocketAddr>,
    /// A descriptor to let go of when there is no other.
    spare: RefCell<Option<OwnedFd>>,
    closed: Cell<bool>,
}

/// How one accept(2) ended.
enum Accepted {
    Connection(TcpStream, SocketAddr),
    /// Nothing waits any more.
    None,
    /// That connection is lost; there may be others.
    Lost,
    /// No descriptor or no memory.
    Exhausted,
}

impl Listener {
    pub(super) fn new(socket: TcpListener) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let readiness = Readiness::of(&socket)?;
        let spare = RefCell::new(Some(rustix::io::dup(&socket)?));
        let local = (!address.ip().is_unspecified()).then_some(address);
        Ok(Self { socket, readiness, local, spare, closed: Cell::new(false) })
    }

    /// Accepts until the listener is closed.
    pub(super) async fn run(self: Rc<Self>, shard: Rc<State>) {
        while !self.closed.get() {
            let readable = self.readiness.readable().await.map_err(drop);
            let accepted = readable.and_then(|()| self.accept_waiting(&shard, ACCEPTS_PER_WAKE_MAX));
            if accepted.is_err() && !self.closed.get() {
                net::sleep(ACCEPT_REST).await;
            }
        }
        shard.listening.set(shard.listening.get() - 1);
        shard.doorbell.ring();
    }

    /// Accepts what the kernel has queued, then listens no more.
    pub(super) fn close(&self, shard: &Rc<State>) {
        if self.closed.replace(true) {
            return;
        }
        // Closing resets what is still queued. The limit is the queue's: new ones may come while we work.
        let _ = self.accept_waiting(shard, BACKLOG as usize);
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Accepts up to `count_max` connections; an error when there is no descriptor or memory left for one.
    fn accept_waiting(&self, shard: &Rc<State>, count_max: usize) -> Result<(), ()> {
        if self.spare.borrow().is_none() {
            *self.spare.borrow_mut() = rustix::io::dup(&self.socket).ok();
        }
        for _ in 0..count_max {
            match self.accept(shard) {
                Accepted::Connection(socket, peer) => self.welcome(socket, peer, shard),
                Accepted::None => return Ok(()),
                Accepted::Lost => {}
                Accepted::Exhausted => self.turn_away_with_spare(shard)?,
            }
        }
        Ok(())
    }

    fn accept(&self, shard: &State) -> Accepted {
        match self.socket.accept() {
            Ok((socket, peer)) => Accepted::Connection(socket, canonical(peer)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Accepted::None,
            Err(_) if self.closed.get() => Accepted::None,
            Err(error) => {
                shard.counters.accept_errors.add(1);
                match Errno::from_io_error(&error) {
                    Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => Accepted::Exhausted,
                    _ => Accepted::Lost,
                }
            }
        }
    }

    fn welcome(&self, socket: TcpStream, peer: SocketAddr, shard: &Rc<State>) {
        shard.counters.connections.add(1);
        if shard.phase.get() != Phase::Running {
            return turn_away(&socket, reply::SHUTTING_DOWN, shard);
        }
        if shard.tickets.borrow().log_failed() {
            return turn_away(&socket, reply::LOG_FAILED, shard);
        }
        let Some(pass) = shard.connections.enter() else {
            return turn_away(&socket, reply::TOO_MANY_CONNECTIONS, shard);
        };
        let local = self.local.or_else(|| socket.local_addr().ok()).map(canonical);
        // Only a registration with the runtime can fail here; the client sees its connection closed.
        if let Ok(connection) = Connection::new(shard, socket, peer, local, pass) {
            net::spawn(connection.run());
        } else {
            shard.counters.accept_errors.add(1);
        }
    }

    /// Answers one client though no descriptor is left; an error when that is impossible.
    fn turn_away_with_spare(&self, shard: &State) -> Result<(), ()> {
        self.spare.take().ok_or(())?;
        let answered = match self.accept(shard) {
            Accepted::Connection(socket, _) => {
                shard.counters.connections.add(1);
                turn_away(&socket, reply::TOO_MANY_CONNECTIONS, shard);
                Ok(())
            }
            Accepted::None | Accepted::Lost => Ok(()),
            Accepted::Exhausted => Err(()),
        };
        *self.spare.borrow_mut() = rustix::io::dup(&self.socket).ok();
        answered
    }
}

/// An IPv4 client of a socket that takes both families is an IPv4 client.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}

/// Says why and closes; a new connection has room for one line, so this cannot block.
fn turn_away(socket: &TcpStream, reply: Reply, shard: &State) {
    shard.counters.connections_refused.add(1);
    shard.counters.connections_closed.add(1);
    let _ = rustix::net::send(socket, reply.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}
