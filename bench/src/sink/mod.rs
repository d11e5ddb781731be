//! A null SMTP server: it answers as a server must, looks only for the end of data, and keeps nothing.
//!
//! It is what the load is proven on: it counts what it answered, and costs so little that the load is the limit.
//! It can also misbehave as [`Faults`] say, and counts that too.

pub mod fault;
mod session;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, sockopt};

use crate::cpu;
use crate::error::{Error, Result};
use crate::poll::{Events, Poller, Readiness};
use fault::{Faults, Stall};
use session::{SinkSession, Then};

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
    counts: Arc<Counts>,
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a sink has done, each counted before it is told to the client.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    refusals: AtomicU64,
    resets: AtomicU64,
    /// Those that are over, as they turned out.
    stalls: Mutex<Vec<Stalled>>,
}

/// A stall as it turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields name themselves")]
pub struct Stalled {
    pub from: Instant,
    pub to: Instant,
}

impl Counts {
    fn stalls(&self) -> std::sync::MutexGuard<'_, Vec<Stalled>> {
        // A push cannot be left half done.
        self.stalls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    /// Listens on `address` and serves on one thread, pinned to `core` where one is given.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the core not be used.
    pub fn start(address: SocketAddr, core: Option<usize>) -> Result<Self> {
        Self::start_faulty(address, core, Faults::default())
    }

    /// The same, misbehaving as `faults` say.
    ///
    /// # Errors
    /// As [`Sink::start`].
    pub fn start_faulty(address: SocketAddr, core: Option<usize>, faults: Faults) -> Result<Self> {
        let attempt = || format!("listen on {address}");
        let listener = listen(address).map_err(|e| Error::system(attempt(), e))?;
        let address = listener.local_addr().map_err(|e| Error::system(attempt(), e))?;
        let mut server = Server::new(listener, faults)?;
        let (counts, is_stopping) = (Arc::clone(&server.counts), Arc::clone(&server.is_stopping));
        let (placed, placing) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let place = core.map_or(Ok(()), |core| cpu::pin_thread(&[core]));
            let is_placed = place.is_ok();
            if placed.send(place).is_err() || !is_placed {
                return;
            }
            // Delays and stalls end at their time, not up to 50 us later. A system that refuses makes them late.
            let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
            server.run();
        });
        placing.recv().expect("the thread says where it is before it does anything else")?;
        Ok(Self { address, counts, is_stopping, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Messages answered with 250 so far.
    pub fn accepted_count(&self) -> u64 {
        self.counts.accepted.load(Ordering::Acquire)
    }

    /// Replies so far that refused something on purpose; what is only out of order thereafter is not among them.
    pub fn refusal_count(&self) -> u64 {
        self.counts.refusals.load(Ordering::Acquire)
    }

    /// Connections reset on purpose so far.
    pub fn reset_count(&self) -> u64 {
        self.counts.resets.load(Ordering::Acquire)
    }

    /// Stalls that are over, in order, each by the clock.
    pub fn stalls(&self) -> Vec<Stalled> {
        self.counts.stalls().clone()
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
    faults: Faults,
    /// When the next stall begins.
    stall: Option<(Instant, Stall)>,
    slots: Vec<Option<Client>>,
    free: Vec<usize>,
    /// When delayed slots go on, by the number of the connection that waits there.
    waits: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    connection_count: u64,
    /// No descriptor was left for a connection that waits; its readiness will not be told again.
    is_short: bool,
    counts: Arc<Counts>,
    is_stopping: Arc<AtomicBool>,
}

struct Client {
    socket: OwnedFd,
    session: SinkSession,
    number: u64,
    /// Replies that wait for their time; nothing is read meanwhile.
    delayed: Option<Vec<u8>>,
}

impl Server {
    fn new(listener: TcpListener, faults: Faults) -> Result<Self> {
        let poller = Poller::new().map_err(|e| Error::system("make an epoll descriptor", e))?;
        poller.add(&listener, LISTENER).map_err(|e| Error::system("watch the listener", e))?;
        Ok(Self {
            listener,
            poller,
            stall: faults.stall.map(|stall| (Instant::now() + stall.every, stall)),
            faults,
            slots: Vec::new(),
            free: Vec::new(),
            waits: BinaryHeap::new(),
            connection_count: 0,
            is_short: false,
            counts: Arc::default(),
            is_stopping: Arc::default(),
        })
    }

    fn run(&mut self) {
        let mut buffer = vec![0; RECEIVE_LEN];
        let mut replies = Vec::new();
        let mut events = Events::default();
        while !self.is_stopping.load(Ordering::Acquire) {
            if self.poller.wait(&mut events, Some(self.wait_time())).is_err() {
                return;
            }
            self.stall_when_due();
            for ready in events.iter() {
                if ready.token == LISTENER {
                    self.accept();
                } else if ready.readable {
                    let slot = usize::try_from(ready.token).expect("tokens are slot numbers");
                    self.serve(slot, Some(ready), &mut buffer, &mut replies);
                }
            }
            self.resume_delayed(&mut buffer, &mut replies);
            if self.is_short {
                self.accept();
            }
        }
    }

    fn wait_time(&self) -> Duration {
        let stall_at = self.stall.map(|(at, _)| at);
        let resume_at = self.waits.peek().map(|Reverse((at, ..))| *at);
        let Some(at) = stall_at.into_iter().chain(resume_at).min() else { return STOP_CHECK };
        at.saturating_duration_since(Instant::now()).min(STOP_CHECK)
    }

    /// Does nothing at all for the length of a stall. It ends at its own time even when it began late.
    fn stall_when_due(&mut self) {
        let Some((at, stall)) = self.stall else { return };
        if Instant::now() >= at {
            let from = Instant::now();
            std::thread::sleep((at + stall.length).saturating_duration_since(from));
            self.counts.stalls().push(Stalled { from, to: Instant::now() });
            self.stall = Some((at + stall.every, stall));
        }
    }

    fn resume_delayed(&mut self, buffer: &mut [u8], replies: &mut Vec<u8>) {
        while let Some(Reverse((at, slot, number))) = self.waits.peek().copied() {
            if at > Instant::now() {
                return;
            }
            self.waits.pop();
            let Some(client) = self.slots[slot].as_mut().filter(|client| client.number == number) else {
                continue;
            };
            let delayed = client.delayed.take().unwrap_or_default();
            let is_sent =
                rustix::net::send(&client.socket, &delayed, SendFlags::NOSIGNAL) == Ok(delayed.len());
            if is_sent { self.serve(slot, None, buffer, replies) } else { self.close(slot) }
        }
    }

    fn accept(&mut self) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        self.is_short = false;
        loop {
            let socket = match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                    self.is_short = true;
                    return;
                }
                // That connection is lost; there may be others.
                Err(_) => continue,
            };
            let slot = self.free.pop().unwrap_or(self.slots.len());
            if slot == self.slots.len() {
                self.slots.push(None);
            }
            let number = self.connection_count;
            self.connection_count += 1;
            let session = SinkSession::new(self.faults.seed.wrapping_add(number));
            let is_ready = sockopt::set_tcp_nodelay(&socket, true).is_ok()
                && self.poller.add(&socket, slot as u64).is_ok();
            self.slots[slot] = Some(Client { socket, session, number, delayed: None });
            let mut replies = Vec::new();
            let greet = |session: &mut SinkSession, faults: &Faults, replies: &mut Vec<u8>| {
                session.greet(faults, replies);
            };
            if !is_ready || !self.step(slot, &mut replies, greet) {
                self.close(slot);
            }
        }
    }

    /// Moves one connection as far as it goes; without `ready`, after a delay, whatever became of it meanwhile.
    fn serve(&mut self, slot: usize, ready: Option<Readiness>, buffer: &mut [u8], replies: &mut Vec<u8>) {
        if ready.is_none() && !self.take(slot, &[], replies) {
            return self.close(slot);
        }
        let is_open = loop {
            let Some(client) = self.slots[slot].as_ref().filter(|client| client.delayed.is_none()) else {
                return;
            };
            match rustix::net::recv(&client.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => break false,
                Ok((count, _)) => {
                    if !self.take(slot, &buffer[..count], replies) {
                        break false;
                    }
                    if count < buffer.len() && ready.is_some_and(|ready| !ready.ended) {
                        break true;
                    }
                }
                Err(Errno::AGAIN) => break true,
                Err(_) => break false,
            }
        };
        if !is_open {
            self.close(slot);
        }
    }

    fn take(&mut self, slot: usize, received: &[u8], replies: &mut Vec<u8>) -> bool {
        self.step(slot, replies, |session, faults, replies| session.take(received, faults, replies))
    }

    /// Lets a session do something and carries out what follows; whether the connection stays open.
    fn step(
        &mut self,
        slot: usize,
        replies: &mut Vec<u8>,
        act: impl FnOnce(&mut SinkSession, &Faults, &mut Vec<u8>),
    ) -> bool {
        let Some(client) = &mut self.slots[slot] else { return true };
        replies.clear();
        act(&mut client.session, &self.faults, replies);
        let done = client.session.done();
        // Counted before it is answered, so that whoever has read the 250 finds it counted.
        self.counts.accepted.fetch_add(done.accepted, Ordering::Release);
        self.counts.refusals.fetch_add(done.refusals, Ordering::Release);
        if let Then::Wait(time) = done.then {
            client.delayed = Some(std::mem::take(replies));
            self.waits.push(Reverse((Instant::now() + time, slot, client.number)));
            return true;
        }
        // Replies are far smaller than a socket's buffer: one that does not take them is dropped.
        let is_sent = rustix::net::send(&client.socket, replies, SendFlags::NOSIGNAL) == Ok(replies.len());
        if done.then == Then::Reset {
            self.counts.resets.fetch_add(1, Ordering::Release);
            // With this a close sends RST.
            return sockopt::set_socket_linger(&client.socket, Some(Duration::ZERO)).is_err();
        }
        is_sent && done.then == Then::GoOn
    }

    fn close(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.free.push(slot);
    }
}
