//! The queue in which a server's listener keeps connections it has not accepted yet, as the kernel of this machine
//! tells of it (sock_diag(7)), and a gate that opens no connection while it is full.
//!
//! A connection that finds the queue full is not refused: its SYN, or the last step of its handshake, is dropped, and
//! TCP tries again after one, three and seven seconds. The sender may even take it for open and wait for a greeting
//! that never comes. Many senders that start in the same instant meet this with a short queue, and what is measured
//! then are those seconds. Senders on a network start apart from each other; behind the gate these do too.

use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

/// Octets of an answer: one socket without attributes takes a hundred or so.
const ANSWER_LEN_MAX: usize = 4096;
/// While the queue is full, it is looked at so often.
const HOLD_TIME: u64 = 200_000;

/// How full a listen queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filling {
    /// Connections that wait to be accepted.
    pub waiting: u32,
    /// The listener's backlog; the kernel lets one more wait.
    pub backlog: u32,
}

/// A listener's queue.
pub struct ListenQueue {
    socket: netlink_sys::Socket,
    question: Vec<u8>,
    answer: Vec<u8>,
}

impl ListenQueue {
    /// The queue of whoever listens on `target`.
    ///
    /// # Errors
    /// When the kernel does not tell, as of a listener on another machine.
    pub fn of(target: SocketAddr) -> Result<Self> {
        let mut socket = netlink_sys::Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
        let mut queue = Self { socket, question: question(target), answer: vec![0; ANSWER_LEN_MAX] };
        queue.filling().map(|_| queue)
    }

    /// How full it is now.
    ///
    /// # Errors
    /// When nobody listens any more, or the kernel does not tell.
    pub fn filling(&mut self) -> Result<Filling> {
        self.socket.send(&self.question, 0)?;
        let len = self.socket.recv(&mut &mut self.answer[..], 0)?;
        let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&self.answer[..len]);
        match answer.map_err(|e| Error::new(ErrorKind::InvalidData, e.to_string()))?.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(listener)) => {
                let header = listener.header;
                Ok(Filling { waiting: header.recv_queue, backlog: header.send_queue })
            }
            NetlinkPayload::Error(error) => Err(error.to_io()),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// Waits until a connection more has room.
    ///
    /// # Errors
    /// As [`ListenQueue::filling`], and when there is none in `patience`.
    pub fn wait_for_room(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let filling = self.filling()?;
            if filling.waiting < filling.backlog {
                return Ok(());
            }
            if Instant::now() > deadline {
                let reason = format!("the server accepts no connection: {} wait already", filling.waiting);
                return Err(Error::new(ErrorKind::TimedOut, reason));
            }
            std::thread::sleep(Duration::from_nanos(HOLD_TIME));
        }
    }
}

impl std::fmt::Debug for ListenQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListenQueue").finish_non_exhaustive()
    }
}

/// Asks for the socket that listens on `target`, and for no other.
fn question(target: SocketAddr) -> Vec<u8> {
    const ANY_COOKIE: [u8; 8] = [0xff; 8];
    let (family, nobody) = match target {
        SocketAddr::V4(_) => (AF_INET, Ipv4Addr::UNSPECIFIED.into()),
        SocketAddr::V6(_) => (AF_INET6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::LISTEN,
        socket_id: SocketId {
            source_port: target.port(),
            source_address: target.ip(),
            destination_port: 0,
            destination_address: nobody,
            interface_id: 0,
            cookie: ANY_COOKIE,
        },
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut octets = vec![0; message.buffer_len()];
    message.serialize(&mut octets);
    octets
}

/// Admits new connections while there is room for them.
#[derive(Debug)]
pub struct Gate {
    queue: ListenQueue,
    /// When to look again; `None` while it is open.
    shut_until: Option<u64>,
    /// Connections that were not admitted at once.
    pub held_count: u64,
}

impl Gate {
    /// A gate before whoever listens on `target`.
    ///
    /// # Errors
    /// As [`ListenQueue::of`].
    pub fn new(target: SocketAddr) -> Result<Self> {
        Ok(Self { queue: ListenQueue::of(target)?, shut_until: None, held_count: 0 })
    }

    /// Whether a connection may be opened at `now`, in nanoseconds of the run's clock.
    pub fn admits(&mut self, now: u64) -> bool {
        if self.shut_until.is_some_and(|until| now < until) {
            return false;
        }
        // Where nobody listens any more there is nothing to be careful with: who connects will be told.
        let is_full = self.queue.filling().is_ok_and(|filling| filling.waiting >= filling.backlog);
        self.held_count += u64::from(is_full && self.shut_until.is_none());
        self.shut_until = is_full.then_some(now + HOLD_TIME);
        !is_full
    }

    /// When a gate that is shut looks again.
    pub fn looks_again_at(&self) -> Option<u64> {
        self.shut_until
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn listener(backlog: i32) -> (TcpListener, SocketAddr) {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let address: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        socket.bind(&address.into()).expect("a port");
        socket.listen(backlog).expect("a listener");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("its address");
        (listener, address)
    }

    #[test]
    fn connections_wait_until_they_are_accepted() {
        let (listener, address) = listener(2);
        let mut queue = ListenQueue::of(address).expect("a queue");
        assert_eq!(queue.filling().expect("told"), Filling { waiting: 0, backlog: 2 });
        let _clients: Vec<_> = (0..2).map(|_| TcpStream::connect(address).expect("room")).collect();
        assert_eq!(queue.filling().expect("told"), Filling { waiting: 2, backlog: 2 });
        let _first = listener.accept().expect("one");
        assert_eq!(queue.filling().expect("told").waiting, 1);
        drop(listener);
        assert!(queue.filling().is_err());
        assert!(ListenQueue::of(address).is_err());
    }

    #[test]
    fn the_gate_is_shut_while_the_queue_is_full_and_counts_whom_it_held() {
        let (listener, address) = listener(1);
        let mut gate = Gate::new(address).expect("a gate");
        assert!(gate.admits(0) && gate.looks_again_at().is_none());
        let _waiting = TcpStream::connect(address).expect("room");
        assert_eq!((gate.admits(10), gate.looks_again_at()), (false, Some(10 + HOLD_TIME)));
        let _accepted = listener.accept().expect("one");
        assert!(!gate.admits(11), "it is not time to look again");
        assert!(gate.admits(10 + HOLD_TIME));
        assert_eq!(gate.held_count, 1);
    }
}
