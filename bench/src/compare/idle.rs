//! The memory of a connection that has said EHLO and then waits.
//!
//! It is what many of them add to a first batch, with which the server has touched what it needs but once. Memory grows
//! in steps: a runtime takes megabytes from the system at once, the kernel gives huge pages of two. Where the
//! connections asked for add so little that this is a step and no slope, many more are opened; where they add much,
//! that would not help and might not fit.

use std::io::Result;
use std::net::SocketAddr;
use std::time::Duration;

use super::paced::{self, PacedSession};
use super::tree::Extent;
use crate::load::listen_queue::ListenQueue;

/// The first batch.
const BATCH: usize = 20;
/// Opened before any is greeted: some servers wait before they greet.
const AT_ONCE: usize = 100;
/// Where a connection seems to take less than this, it takes more of them to tell.
const SMALL_KIB: u64 = 10;
/// So many times as many.
const MORE: usize = 20;

/// The most connections that are opened when `count` are asked for.
pub fn most(count: usize) -> usize {
    BATCH + count * (MORE + 1)
}

/// User memory of all of `server`'s processes for one idle connection to `target`, in KiB.
///
/// # Errors
/// When the server refuses, or accepts or greets nobody for ten seconds, or its memory cannot be read.
pub fn kib_for_each(target: SocketAddr, server: Extent<'_>, count: usize) -> Result<f64> {
    let mut crowd = Crowd { target, queue: ListenQueue::of(target).ok(), sessions: Vec::new() };
    crowd.grow(BATCH)?;
    let before = server.memory_kib()?;
    crowd.grow(count)?;
    if server.memory_kib()?.saturating_sub(before) < SMALL_KIB * count as u64 {
        crowd.grow(count * MORE)?;
    }
    let taken = server.memory_kib()?.saturating_sub(before);
    Ok(taken as f64 / (crowd.sessions.len() - BATCH).max(1) as f64)
}

/// Connections that do nothing.
struct Crowd {
    target: SocketAddr,
    queue: Option<ListenQueue>,
    sessions: Vec<PacedSession>,
}

impl Crowd {
    fn grow(&mut self, count: usize) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let script = paced::script();
        for begun in (0..count).step_by(AT_ONCE) {
            let first = self.sessions.len();
            for _ in begun..count.min(begun + AT_ONCE) {
                self.queue.as_mut().map_or(Ok(()), |queue| queue.wait_for_room(PATIENCE))?;
                self.sessions.push(PacedSession::connect(self.target)?);
            }
            self.sessions[first..].iter_mut().try_for_each(|session| session.hello(&script))?;
        }
        Ok(())
    }
}
