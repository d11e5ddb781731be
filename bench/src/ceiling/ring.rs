//! The one file with `unsafe`: a safe face on the few io_uring operations a bare sink needs.
//!
//! What makes it sound: all memory the kernel reads or writes on its own time lives for ever (it is leaked, once a
//! process), a received buffer is a value that cannot be copied and is given up to be filled again, and only octets
//! that live for ever can be sent. The io-uring crate makes every submission `unsafe`, so a ring cannot be had
//! without.
#![expect(unsafe_code, reason = "io-uring's submissions and buffer rings have no safe form")]

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};

/// Entries of the submission ring.
const RING_ENTRIES: u32 = 4096;
/// Buffers the kernel may fill; a power of two. It takes them in turn, so all of them have to stay in the second
/// cache.
const BUFFER_COUNT: u16 = 128;
/// Octets of one of them.
const BUFFER_LEN: usize = 16 << 10;
const BUFFER_GROUP: u16 = 0;
/// What a completion answers: the upper half of its user data. The lower is the connection's slot.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;

/// A ring with multishot accept and receive into a ring of buffers.
pub(super) struct Ring {
    uring: IoUring,
    listener: TcpListener,
    /// First entry of the buffer ring; the memory is never freed.
    entries: *mut BufRingEntry,
    /// First octet of the buffers; the memory is never freed.
    buffers: *mut u8,
    tail: u16,
}

/// Octets the kernel has received and will not touch until they are given back.
pub(super) struct Received {
    buffer: u16,
    len: usize,
}

/// What happened.
pub(super) enum Event {
    /// A new connection.
    Accepted(OwnedFd),
    /// Octets for a connection.
    Received(u32, Received),
    /// A connection receives no more until that is asked for again: no buffer was free, or no room to say more.
    Starved(u32),
    /// A connection is over.
    Ended(u32),
}

impl Ring {
    /// A ring that accepts from `listener`.
    pub(super) fn new(listener: TcpListener) -> io::Result<Self> {
        const PAGE_LEN: usize = 4096;
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_cqsize(4 * RING_ENTRIES);
        let uring = builder.build(RING_ENTRIES)?;
        let entries_len = usize::from(BUFFER_COUNT) * size_of::<BufRingEntry>();
        let memory = vec![0_u8; entries_len + PAGE_LEN].leak();
        let (_, aligned) = memory.split_at_mut(memory.as_ptr().align_offset(PAGE_LEN));
        let entries = aligned.as_mut_ptr().cast::<BufRingEntry>();
        let buffers = vec![0_u8; usize::from(BUFFER_COUNT) * BUFFER_LEN].leak().as_mut_ptr();
        // SAFETY: the entries are page-aligned, zeroed, BUFFER_COUNT of them, and never freed.
        unsafe { uring.submitter().register_buf_ring(entries as u64, BUFFER_COUNT, BUFFER_GROUP)? };
        let mut ring = Self { uring, listener, entries, buffers, tail: 0 };
        for buffer in 0..BUFFER_COUNT {
            ring.give_back(Received { buffer, len: 0 });
        }
        ring.accept()?;
        Ok(ring)
    }

    /// The octets of a buffer.
    pub(super) fn octets(&self, received: &Received) -> &[u8] {
        // SAFETY: a `Received` is made only from a completion that names the buffer and at most its length, and the
        // kernel does not write to it before `give_back` has consumed it.
        unsafe { std::slice::from_raw_parts(self.buffer(received.buffer), received.len) }
    }

    /// Lets the kernel fill a buffer again.
    pub(super) fn give_back(&mut self, received: Received) {
        let index = usize::from(self.tail % BUFFER_COUNT);
        // SAFETY: the index is below BUFFER_COUNT; the kernel reads an entry only after the tail has passed it.
        let entry = unsafe { &mut *self.entries.add(index) };
        entry.set_addr(self.buffer(received.buffer) as u64);
        entry.set_len(u32::try_from(BUFFER_LEN).expect("buffers are small"));
        entry.set_bid(received.buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry, is aligned, lives as long as the ring, and is written here only;
        // the setters above do not touch it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Receives for a connection until it ends.
    pub(super) fn receive(&mut self, socket: &OwnedFd, slot: u32) -> io::Result<()> {
        let receive = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), BUFFER_GROUP).build();
        self.push(&receive.user_data(RECEIVE << 32 | u64::from(slot)))
    }

    /// Sends octets; a failure shows when the connection receives.
    pub(super) fn send(&mut self, socket: &OwnedFd, octets: &'static [u8]) -> io::Result<()> {
        let len = u32::try_from(octets.len()).expect("replies are short");
        let send = opcode::Send::new(Fd(socket.as_raw_fd()), octets.as_ptr(), len).build();
        self.push(&send.user_data(SEND << 32).flags(squeue::Flags::SKIP_SUCCESS))
    }

    /// Submits all, waits for something to happen, and appends it to `events`.
    pub(super) fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        match self.uring.submit_and_wait(1) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            submitted => drop(submitted?),
        }
        let mut accepts = true;
        for entry in self.uring.completion() {
            accepts &= entry.user_data() >> 32 != ACCEPT || cqueue::more(entry.flags());
            read(&entry, events)?;
        }
        if accepts { Ok(()) } else { self.accept() }
    }

    fn accept(&mut self) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd())).build();
        self.push(&accept.user_data(ACCEPT << 32))
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: no operation above names memory that could be freed: sends name octets that live for ever,
        // receives the leaked buffers. A closed descriptor is an error of the operation, not of memory.
        while unsafe { self.uring.submission().push(entry) }.is_err() {
            self.uring.submit()?;
        }
        Ok(())
    }

    fn buffer(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < BUFFER_COUNT, "buffer {buffer} of {BUFFER_COUNT}");
        // SAFETY: the buffers are BUFFER_COUNT times BUFFER_LEN octets long.
        unsafe { self.buffers.add(usize::from(buffer) * BUFFER_LEN) }
    }
}

/// Appends what a completion means; an error when nothing can be accepted any more.
fn read(entry: &cqueue::Entry, events: &mut Vec<Event>) -> io::Result<()> {
    let (result, slot) = (entry.result(), entry.user_data() as u32);
    match entry.user_data() >> 32 {
        // SAFETY: the kernel has just made this descriptor for this accept, and nobody else knows it.
        ACCEPT if result >= 0 => events.push(Event::Accepted(unsafe { OwnedFd::from_raw_fd(result) })),
        ACCEPT => return Err(io::Error::from_raw_os_error(-result)),
        RECEIVE if result == -rustix::io::Errno::NOBUFS.raw_os_error() => events.push(Event::Starved(slot)),
        RECEIVE => match (usize::try_from(result), cqueue::buffer_select(entry.flags())) {
            (Ok(len @ 1..), Some(buffer)) => {
                events.push(Event::Received(slot, Received { buffer, len: len.min(BUFFER_LEN) }));
                events.extend((!cqueue::more(entry.flags())).then_some(Event::Starved(slot)));
            }
            _ => events.push(Event::Ended(slot)),
        },
        _ => {}
    }
    Ok(())
}
