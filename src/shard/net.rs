//! The runtime and its sockets: the only file that names monoio.
//!
//! Everything waits by readiness and then calls recv(2), send(2) or accept(2) without blocking. An idle connection
//! so holds no buffer, an abandoned wait loses no descriptor and no octet, and both drivers behave alike. The
//! receive call runs in the shard's own chunk, in the same wake-up that made the socket readable.
//!
//! monoio gives out its descriptors as plain numbers, so the calls go through nix, which takes those; a [`Stream`]
//! owns its descriptor for as long as it is used.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

/// Which driver is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring, or epoll where the kernel refuses it.
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// epoll.
    Epoll,
}

/// Which driver runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverInUse {
    /// io_uring.
    IoUring,
    /// epoll.
    Epoll,
}

impl DriverInUse {
    /// The word for it in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Entries of the submission ring; the completion ring has twice as many, and the kernel keeps what does not fit.
const RING_ENTRIES: u32 = 1024;

/// Waits that may end at once, one after the other, before a task lets the others run.
const EAGER_WAITS_MAX: u8 = 8;

/// A runtime of the current thread.
pub(super) enum Reactor {
    IoUring(Runtime<TimeDriver<IoUringDriver>>),
    Epoll(Runtime<TimeDriver<LegacyDriver>>),
}

impl Reactor {
    /// Must be called on the thread that will run it: a ring with a single issuer belongs to its maker.
    pub(super) fn new(driver: DriverChoice) -> io::Result<Self> {
        let epoll = || Ok(Self::Epoll(RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?));
        match driver {
            DriverChoice::IoUring => io_uring().map(Self::IoUring),
            DriverChoice::Epoll => epoll(),
            DriverChoice::Auto => io_uring().map(Self::IoUring).or_else(|_| epoll()),
        }
    }

    pub(super) fn driver(&self) -> DriverInUse {
        match self {
            Self::IoUring(_) => DriverInUse::IoUring,
            Self::Epoll(_) => DriverInUse::Epoll,
        }
    }

    pub(super) fn run<F: Future>(&mut self, main: F) -> F::Output {
        match self {
            Self::IoUring(runtime) => runtime.block_on(main),
            Self::Epoll(runtime) => runtime.block_on(main),
        }
    }
}

/// Tries the flags that save interrupts first; older kernels know fewer of them.
fn io_uring() -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    let mut deferred = io_uring::IoUring::builder();
    deferred.setup_single_issuer().setup_defer_taskrun();
    let mut cooperative = io_uring::IoUring::builder();
    cooperative.setup_coop_taskrun();
    let build = |flags: io_uring::Builder| {
        let builder = RuntimeBuilder::<IoUringDriver>::new().uring_builder(flags).with_entries(RING_ENTRIES);
        builder.enable_timer().build()
    };
    build(deferred).or_else(|_| build(cooperative)).or_else(|_| build(io_uring::IoUring::builder()))
}

/// Starts a task of its own on this thread's runtime.
pub(super) fn spawn(task: impl Future<Output = ()> + 'static) {
    // Dropping the handle lets the task run on by itself.
    drop(monoio::spawn(task));
}

/// Waits for `time` to pass.
pub(super) async fn sleep(time: Duration) {
    monoio::time::sleep(time).await;
}

/// Which directions of a connection to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Receive,
    Send,
    Both,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Stream {
    socket: monoio::net::TcpStream,
    eager_waits: Cell<u8>,
}

impl Stream {
    pub(super) fn new(socket: TcpStream) -> io::Result<Self> {
        Ok(Self { socket: monoio::net::TcpStream::from_std(socket)?, eager_waits: Cell::new(0) })
    }

    /// Waits until [`Stream::recv`] has something to say.
    pub(super) async fn readable(&self) -> io::Result<()> {
        let_others_run(&self.eager_waits, self.socket.readable(false)).await
    }

    /// Waits until [`Stream::send`] can take something.
    pub(super) async fn writable(&self) -> io::Result<()> {
        let_others_run(&self.eager_waits, self.socket.writable(false)).await
    }

    /// Receives what is there; `WouldBlock` when nothing is, 0 at the end of the stream.
    pub(super) fn recv(&self, space: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.socket.as_raw_fd(), space, MsgFlags::MSG_DONTWAIT)?)
    }

    /// Sends as much as the socket takes; `WouldBlock` when it takes nothing.
    pub(super) fn send(&self, octets: &[u8]) -> io::Result<usize> {
        Ok(send(self.socket.as_raw_fd(), octets, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
    }

    /// Ends `direction`; a pending wait for it completes. An error means that the connection is over anyway.
    pub(super) fn shutdown(&self, direction: Direction) {
        let how = match direction {
            Direction::Receive => Shutdown::Read,
            Direction::Send => Shutdown::Write,
            Direction::Both => Shutdown::Both,
        };
        let _ = shutdown(self.socket.as_raw_fd(), how);
    }
}

/// Waits for a descriptor that somebody else reads: a doorbell, a listener.
#[derive(Debug)]
pub(super) struct Readiness {
    // The type is a mere vehicle: only its readiness is asked for, and poll(2) takes any descriptor.
    descriptor: monoio::net::UnixStream,
    eager_waits: Cell<u8>,
}

impl Readiness {
    /// Watches what `descriptor` refers to, through a descriptor of its own.
    pub(super) fn of(descriptor: &impl AsFd) -> io::Result<Self> {
        let own = UnixStream::from(descriptor.as_fd().try_clone_to_owned()?);
        Ok(Self { descriptor: monoio::net::UnixStream::from_std(own)?, eager_waits: Cell::new(0) })
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        let_others_run(&self.eager_waits, self.descriptor.readable(false)).await
    }
}

/// On io_uring a wait always goes through the kernel. On epoll it may end at once, and a client that sends faster
/// than we read would keep the thread to itself: after some such waits the other tasks, and the poll, get a turn.
async fn let_others_run<F: Future>(eager_waits: &Cell<u8>, wait: F) -> F::Output {
    let mut wait = pin!(wait);
    let mut first = true;
    std::future::poll_fn(|context| {
        if first && eager_waits.get() >= EAGER_WAITS_MAX {
            eager_waits.set(0);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let result = wait.as_mut().poll(context);
        match (&result, first) {
            (Poll::Ready(_), true) => eager_waits.set(eager_waits.get() + 1),
            _ => eager_waits.set(0),
        }
        first = false;
        result
    })
    .await
}
