//! An eventfd: one thread rings, another sleeps until it has been rung.
//!
//! Rings that nobody has heard yet run together into one. It wakes, and carries no word: what there is to see
//! stands in the watermark, which is stored before the bell is rung.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

/// The bell of one shard.
#[derive(Debug)]
pub struct Doorbell {
    eventfd: OwnedFd,
}

impl Doorbell {
    /// A bell that has not been rung.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { eventfd: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)? })
    }

    /// Wakes whoever waits for this descriptor to become readable.
    pub fn ring(&self) {
        // The write can fail only when 2^64 - 2 rings are unheard: then the bell is ringing already.
        let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
    }

    /// Ends the ringing and tells whether there was any. To be called before looking at what the ring was for,
    /// so that a ring during the look is heard later.
    pub fn silence(&self) -> bool {
        rustix::io::read(&self.eventfd, &mut [0; 8]).is_ok()
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_run_together_and_are_silenced_at_once() {
        let bell = Doorbell::new().expect("an eventfd");
        assert!(!bell.silence(), "a new bell is silent");
        bell.ring();
        bell.ring();
        assert!(bell.silence());
        assert!(!bell.silence());
    }
}
