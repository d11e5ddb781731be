//! Readiness of many sockets: epoll, edge-triggered, each descriptor registered once for its whole life.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 256;

/// A set of sockets.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

/// What has become ready, taken from the kernel in one go; its memory is used again and again.
pub struct Events(Vec<epoll::Event>);

impl Default for Events {
    fn default() -> Self {
        Self(Vec::with_capacity(EVENTS_MAX))
    }
}

impl Events {
    /// Each socket that has become ready.
    pub fn iter(&self) -> impl Iterator<Item = Readiness> + '_ {
        self.0.iter().map(|event| Readiness::from(*event))
    }
}

/// What became ready.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    /// The number the socket was registered under.
    pub token: u64,
    /// Octets, the end of the stream or an error can be read.
    pub readable: bool,
    /// There is room to write, or a connection attempt has ended.
    pub writable: bool,
    /// The peer has closed its side, or the connection failed.
    pub ended: bool,
}

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> rustix::io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Watches `socket` until it is closed.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn add(&self, socket: impl AsFd, token: u64) -> rustix::io::Result<()> {
        use epoll::EventFlags as Flags;
        let flags = Flags::IN | Flags::OUT | Flags::RDHUP | Flags::ET;
        epoll::add(&self.epoll, socket, epoll::EventData::new_u64(token), flags)
    }

    /// Waits until something is ready or `timeout` has passed; what is ready then stands in `events`.
    ///
    /// # Errors
    /// As epoll_wait(2), an interruption excepted.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> rustix::io::Result<()> {
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        events.0.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events.0), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl From<epoll::Event> for Readiness {
    fn from(event: epoll::Event) -> Self {
        use epoll::EventFlags as Flags;
        let flags = event.flags;
        Self {
            token: event.data.u64(),
            readable: flags.intersects(Flags::IN | Flags::RDHUP | Flags::HUP | Flags::ERR),
            writable: flags.contains(Flags::OUT),
            ended: flags.intersects(Flags::RDHUP | Flags::HUP | Flags::ERR),
        }
    }
}
