//! One non-blocking connection: a socket, its dialogue, and the rest of a write that did not fit.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType, sockopt};

use super::reply::ReplyReader;
use super::script::Script;
use super::session::{Manner, Piece, Session};
use crate::ledger::{ID_LINE_LEN, IdLine};

/// A connection and what it is doing.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// The dialogue.
    pub session: Session,
    /// The replies as they arrive.
    pub replies: ReplyReader,
    /// The piece under way and how much of it is written.
    unsent: Option<(Piece, usize)>,
    /// When connect(2) was called, in nanoseconds of the run's clock.
    pub opened_at: u64,
    /// Whether the connection is known to be open.
    pub is_open: bool,
    /// The newest text.
    pub text: SentText,
}

/// What a connection knows of the text it wrote last.
#[derive(Clone, Copy, Debug)]
pub struct SentText {
    /// When its write began, in nanoseconds of the run's clock.
    pub at: u64,
    /// Its number in the script.
    pub index: usize,
    /// What ends it, where a ledger wants that.
    pub id_line: IdLine,
}

impl Connection {
    /// Begins to connect to `target`, from the address `source` where one is given.
    ///
    /// # Errors
    /// When the system refuses at once.
    pub fn open(
        target: SocketAddr,
        source: Option<IpAddr>,
        manner: Manner,
        now: u64,
    ) -> rustix::io::Result<Self> {
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if let Some(source) = source {
            rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
        }
        match rustix::net::connect(&socket, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Self {
            socket,
            session: Session::new(manner),
            replies: ReplyReader::default(),
            unsent: None,
            opened_at: now,
            is_open: false,
            text: SentText { at: now, index: 0, id_line: [0; ID_LINE_LEN] },
        })
    }

    /// Writes `piece`, or as much of it as fits; [`Connection::flush`] goes on with the rest.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(&mut self, piece: Piece, script: &Script) -> rustix::io::Result<()> {
        self.unsent = Some((piece, 0));
        self.flush(script)
    }

    /// Goes on with a write that did not fit.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn flush(&mut self, script: &Script) -> rustix::io::Result<()> {
        while let Some((piece, written)) = self.unsent {
            let slices = script.slices(piece, self.text.index, &self.text.id_line);
            match write(&self.socket, slices, written) {
                Ok(count) => {
                    let written = written + count;
                    let len: usize = slices.iter().map(|slice| slice.len()).sum();
                    self.unsent = (written < len).then_some((piece, written));
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a write waits for room.
    pub fn has_unsent(&self) -> bool {
        self.unsent.is_some()
    }

    /// Reads what there is into `buffer`; `Ok(None)` when there is nothing yet, `Ok(Some(0))` at the end.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn receive(&mut self, buffer: &mut [u8]) -> rustix::io::Result<Option<usize>> {
        loop {
            match rustix::net::recv(&self.socket, &mut *buffer, rustix::net::RecvFlags::empty()) {
                Ok((count, _)) => return Ok(Some(count)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Why the connection attempt failed, if it did.
    pub fn connect_error(&self) -> Option<Errno> {
        match sockopt::socket_error(&self.socket) {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(error),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Writes what stands behind the first `written` octets of `slices`; the number of octets taken.
fn write(socket: &OwnedFd, slices: [&[u8]; 3], written: usize) -> rustix::io::Result<usize> {
    let mut skipped = written;
    let rests = slices.map(|slice| {
        let skip = skipped.min(slice.len());
        skipped -= skip;
        &slice[skip..]
    });
    if let [only, [], []] = rests {
        return rustix::net::send(socket, only, SendFlags::NOSIGNAL);
    }
    let rests = rests.map(IoSlice::new);
    rustix::net::sendmsg(socket, &rests, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
}
