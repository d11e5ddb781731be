//! The bare sink on io_uring itself: what the kernel gives without a runtime.
//!
//! Multishot accept and receive, buffers from a ring, all submissions of a wake-up in one system call. Replies are
//! kept for ever by what they say, since the kernel reads them on its own time; there are few different ones, the one
//! last given in front.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use rustix::net::{Shutdown, shutdown, sockopt};

use super::dialogue::{Dialogue, GREETING};
use super::ring::{Event, Ring};

/// Different runs of replies that are kept; a client that calls for more is dropped.
const REPLIES_MAX: usize = 4096;

/// Serves on this thread until the process ends.
///
/// # Errors
/// When the kernel refuses io_uring, or nothing can be accepted any more.
pub(super) fn serve(listener: TcpListener) -> io::Result<Infallible> {
    let mut server = Server {
        ring: Ring::new(listener)?,
        slots: Vec::new(),
        free: Vec::new(),
        known: Vec::new(),
        replies: Vec::new(),
    };
    let mut events = Vec::new();
    loop {
        server.ring.wait(&mut events)?;
        for event in events.drain(..) {
            server.handle(event)?;
        }
    }
}

struct Server {
    ring: Ring,
    slots: Vec<Option<(OwnedFd, Dialogue)>>,
    free: Vec<u32>,
    known: Vec<&'static [u8]>,
    replies: Vec<u8>,
}

impl Server {
    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Accepted(socket) => self.open(socket),
            Event::Received(slot, received) => {
                self.replies.clear();
                if let Some((_, dialogue)) = &mut self.slots[slot as usize] {
                    dialogue.take(self.ring.octets(&received), &mut self.replies);
                }
                self.ring.give_back(received);
                self.answer(slot)
            }
            Event::Starved(slot) => match &self.slots[slot as usize] {
                Some((socket, _)) => self.ring.receive(socket, slot),
                None => Ok(()),
            },
            Event::Ended(slot) => {
                self.slots[slot as usize] = None;
                self.free.push(slot);
                Ok(())
            }
        }
    }

    fn open(&mut self, socket: OwnedFd) -> io::Result<()> {
        sockopt::set_tcp_nodelay(&socket, true)?;
        let fresh = u32::try_from(self.slots.len()).expect("descriptors are fewer");
        let slot = self.free.pop().unwrap_or(fresh);
        if slot == fresh {
            self.slots.push(None);
        }
        self.ring.send(&socket, GREETING)?;
        self.ring.receive(&socket, slot)?;
        self.slots[slot as usize] = Some((socket, Dialogue::default()));
        Ok(())
    }

    fn answer(&mut self, slot: u32) -> io::Result<()> {
        let Some((socket, dialogue)) = &self.slots[slot as usize] else { return Ok(()) };
        if self.replies.is_empty() {
            return Ok(());
        }
        let is_over = dialogue.has_quit() || self.known.len() >= REPLIES_MAX;
        match self.known.iter().position(|known| *known == self.replies) {
            Some(0) => {}
            Some(index) => self.known.swap(0, index),
            None => self.known.insert(0, self.replies.clone().leak()),
        }
        self.ring.send(socket, self.known[0])?;
        if is_over {
            // The slot is free again when the receive has ended, which this brings about; its failure does so too.
            let _ = shutdown(socket, Shutdown::Read);
        }
        Ok(())
    }
}
