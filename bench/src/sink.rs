//! A null SMTP server: it answers as a server must, looks only for the end of data, and keeps nothing.
//!
//! It is what the load is proven on: it counts what it answered, and costs so little that the load is the limit.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, sockopt};

use crate::cpu;
use crate::error::{Error, Result};
use crate::poll::{Events, Poller, Readiness};

/// How often an idle sink looks whether it is to stop.
const STOP_CHECK: Duration = Duration::from_millis(20);
/// Octets read at once.
const RECEIVE_LEN: usize = 64 << 10;
/// The token of the listener; connections have those from 0.
const LISTENER: u64 = u64::MAX;

/// A sink that runs on a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    accepted: Arc<AtomicU64>,
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Listens on `address` and serves on one thread, pinned to `core` where one is given.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(address: SocketAddr, core: Option<usize>) -> Result<Self> {
        let attempt = || format!("listen on {address}");
        let listener = listen(address).map_err(|e| Error::system(attempt(), e))?;
        let address = listener.local_addr().map_err(|e| Error::system(attempt(), e))?;
        let mut server = Server::new(listener)?;
        let (accepted, is_stopping) = (Arc::clone(&server.accepted), Arc::clone(&server.is_stopping));
        let thread = std::thread::spawn(move || {
            let is_placed = core.is_none_or(|core| cpu::pin_thread(&[core]).is_ok());
            assert!(is_placed, "the sink cannot be pinned to core {core:?}");
            server.run();
        });
        Ok(Self { address, accepted, is_stopping, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Messages answered with 250 so far.
    pub fn accepted_count(&self) -> u64 {
        self.accepted.load(Ordering::Acquire)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A sink that panicked has shown it already.
            drop(thread.join());
        }
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

struct Server {
    listener: TcpListener,
    poller: Poller,
    slots: Vec<Option<(OwnedFd, SinkSession)>>,
    free: Vec<usize>,
    accepted: Arc<AtomicU64>,
    is_stopping: Arc<AtomicBool>,
}

impl Server {
    fn new(listener: TcpListener) -> Result<Self> {
        let poller = Poller::new().map_err(|e| Error::system("make an epoll descriptor", e))?;
        poller.add(&listener, LISTENER).map_err(|e| Error::system("watch the listener", e))?;
        let (accepted, is_stopping) = (Arc::default(), Arc::default());
        Ok(Self { listener, poller, slots: Vec::new(), free: Vec::new(), accepted, is_stopping })
    }

    fn run(&mut self) {
        let mut buffer = vec![0; RECEIVE_LEN];
        let mut replies = Vec::new();
        let mut events = Events::default();
        while !self.is_stopping.load(Ordering::Acquire) {
            if self.poller.wait(&mut events, Some(STOP_CHECK)).is_err() {
                return;
            }
            for ready in events.iter() {
                if ready.token == LISTENER {
                    self.accept();
                } else if ready.readable {
                    self.serve(ready, &mut buffer, &mut replies);
                }
            }
        }
    }

    fn accept(&mut self) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        while let Ok(socket) = rustix::net::accept_with(&self.listener, flags) {
            let slot = self.free.pop().unwrap_or(self.slots.len());
            let is_ready = sockopt::set_tcp_nodelay(&socket, true).is_ok()
                && self.poller.add(&socket, slot as u64).is_ok();
            if slot == self.slots.len() {
                self.slots.push(None);
            }
            if is_ready && rustix::net::send(&socket, b"220 sink\r\n", SendFlags::NOSIGNAL).is_ok() {
                self.slots[slot] = Some((socket, SinkSession::default()));
            } else {
                self.free.push(slot);
            }
        }
    }

    fn serve(&mut self, ready: Readiness, buffer: &mut [u8], replies: &mut Vec<u8>) {
        let slot = usize::try_from(ready.token).expect("tokens are slot numbers");
        let Some((socket, session)) = &mut self.slots[slot] else { return };
        let is_over = loop {
            match rustix::net::recv(&*socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => break true,
                Ok((count, _)) => {
                    replies.clear();
                    let accepted = session.take(&buffer[..count], replies);
                    // Counted before it is answered, so that whoever has read the 250 finds it counted.
                    self.accepted.fetch_add(accepted, Ordering::Release);
                    // Replies are far smaller than a socket's buffer: one that does not take them is dropped.
                    let sent = rustix::net::send(&*socket, replies, SendFlags::NOSIGNAL);
                    if sent != Ok(replies.len()) || session.has_quit {
                        break true;
                    }
                    if count < buffer.len() && !ready.ended {
                        break false;
                    }
                }
                Err(Errno::AGAIN) => break false,
                Err(_) => break true,
            }
        };
        if is_over {
            self.slots[slot] = None;
            self.free.push(slot);
        }
    }
}

/// The end of data, found even where the text before it is empty.
const END_OF_DATA: &[u8] = b"\r\n.\r\n";

/// One client's dialogue as the sink sees it.
#[derive(Debug, Default)]
struct SinkSession {
    /// An unfinished command line, or in data the last octets of the text, which may begin its end.
    held: Vec<u8>,
    in_data: bool,
    has_quit: bool,
}

impl SinkSession {
    /// Takes what was received and pushes the replies to it; the number of messages that ended in it.
    fn take(&mut self, received: &[u8], replies: &mut Vec<u8>) -> u64 {
        let joined;
        let mut input = received;
        if !self.held.is_empty() {
            self.held.extend_from_slice(received);
            joined = std::mem::take(&mut self.held);
            input = &joined;
        }
        let mut ended = 0;
        while !input.is_empty() && !self.has_quit {
            if self.in_data {
                let Some(end) = memchr::memmem::find(input, END_OF_DATA) else {
                    self.held.extend_from_slice(&input[input.len().saturating_sub(END_OF_DATA.len() - 1)..]);
                    break;
                };
                input = &input[end + END_OF_DATA.len()..];
                self.in_data = false;
                ended += 1;
                replies.extend_from_slice(b"250 2.0.0 discarded\r\n");
            } else {
                let Some(end) = memchr::memchr(b'\n', input) else {
                    self.held.extend_from_slice(input);
                    break;
                };
                self.command(&input[..end], replies);
                // The CR LF of the DATA line also begins the end of an empty text, so in data it is looked at again.
                input = &input[if self.in_data { end - 1 } else { end + 1 }..];
            }
        }
        ended
    }

    fn command(&mut self, line: &[u8], replies: &mut Vec<u8>) {
        let verb = line.get(..4).unwrap_or(line).to_ascii_uppercase();
        let reply: &[u8] = match &verb[..] {
            b"EHLO" => b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
            b"DATA" if line.ends_with(b"\r") => {
                self.in_data = true;
                b"354 go on\r\n"
            }
            b"QUIT" => {
                self.has_quit = true;
                b"221 2.0.0 bye\r\n"
            }
            b"HELO" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP" => b"250 2.0.0 ok\r\n",
            _ => b"500 5.5.2 what?\r\n",
        };
        replies.extend_from_slice(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &[u8] =
        b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\nx\r\n..\r\n.\r\nDATA\r\n.\r\nQUIT\r\n";

    fn replies(chunks: &[&[u8]]) -> (u64, String) {
        let mut session = SinkSession::default();
        let mut replies = Vec::new();
        let ended = chunks.iter().map(|chunk| session.take(chunk, &mut replies)).sum();
        (ended, String::from_utf8(replies).expect("ASCII"))
    }

    #[test]
    fn a_session_is_answered_the_same_wherever_it_is_cut() {
        let (ended, whole) = replies(&[CLIENT]);
        assert_eq!(ended, 2);
        assert!(whole.ends_with("354 go on\r\n250 2.0.0 discarded\r\n221 2.0.0 bye\r\n"), "{whole}");
        for cut in 0..CLIENT.len() {
            let (front, back) = CLIENT.split_at(cut);
            assert_eq!(replies(&[front, back]), (2, whole.clone()), "cut at {cut}");
        }
    }
}
