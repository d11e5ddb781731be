//! The bare sink on monoio: what the runtime under mailrace gives when nothing is done with the mail.
//!
//! One task per connection waits for readiness, receives without blocking into one scratch buffer that all of them
//! share, and sends canned replies the same way: of the forms measured on monoio this was the cheapest, most of
//! all for large texts.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use monoio::net::TcpStream;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};
use nix::sys::socket::{MsgFlags, recv, send};

use super::dialogue::{Dialogue, GREETING};

/// Entries of the submission ring.
const RING_ENTRIES: u32 = 4096;
/// Octets received at once.
const SCRATCH_LEN: usize = 256 << 10;

/// What all connections share; used between waits only.
struct Scratch {
    received: Vec<u8>,
    replies: Vec<u8>,
}

/// Serves on this thread until the process ends.
///
/// # Errors
/// When the kernel refuses io_uring, or nothing can be accepted any more.
pub(super) fn serve(listener: TcpListener) -> io::Result<Infallible> {
    runtime()?.block_on(async {
        let listener = monoio::net::TcpListener::from_std(listener)?;
        let scratch = Rc::new(RefCell::new(Scratch { received: vec![0; SCRATCH_LEN], replies: Vec::new() }));
        loop {
            let (stream, _) = listener.accept().await?;
            let scratch = Rc::clone(&scratch);
            // A client that breaks off ends its own task, and nobody else cares.
            drop(monoio::spawn(async move { drop(converse(&stream, &scratch).await) }));
        }
    })
}

/// Interrupts of this thread are saved where the kernel can; older ones know neither flag.
fn runtime() -> io::Result<Runtime<IoUringDriver>> {
    let build = |flags: io_uring::Builder| {
        RuntimeBuilder::<IoUringDriver>::new().uring_builder(flags).with_entries(RING_ENTRIES).build()
    };
    let mut deferred = io_uring::IoUring::builder();
    deferred.setup_single_issuer().setup_defer_taskrun();
    build(deferred).or_else(|_| build(io_uring::IoUring::builder()))
}

async fn converse(stream: &TcpStream, scratch: &RefCell<Scratch>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    answer(stream, GREETING)?;
    let mut dialogue = Dialogue::default();
    while !dialogue.has_quit() {
        stream.readable(false).await?;
        let Scratch { received, replies } = &mut *scratch.borrow_mut();
        let count = match recv(stream.as_raw_fd(), received, MsgFlags::MSG_DONTWAIT) {
            Err(nix::errno::Errno::EAGAIN) => continue,
            other => other?,
        };
        if count == 0 {
            break;
        }
        replies.clear();
        dialogue.take(&received[..count], replies);
        if !replies.is_empty() {
            answer(stream, replies)?;
        }
    }
    Ok(())
}

/// Replies are far smaller than a socket's buffer: a client that leaves them unread is dropped.
fn answer(stream: &TcpStream, replies: &[u8]) -> io::Result<()> {
    let sent = send(stream.as_raw_fd(), replies, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?;
    if sent == replies.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
