//! The way there and back: a bounded queue of submissions, and the ports through which shards use it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError};

use super::doorbell::Doorbell;
use super::watermark::Watermark;
use crate::message::{Message, Outcome, StorageRefusal, Ticket};

/// How much may be between the shards and the commit thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages in the queue.
    pub count_max: usize,
    /// Octets in the queue; a larger message passes when it is alone.
    pub bytes_max: usize,
    /// Messages of one shard that were submitted and whose outcome it has not read.
    pub in_flight_max: usize,
}

impl QueueLimits {
    /// The most that `count_max` may be.
    pub const COUNT_MAX: usize = (1 << (63 - COUNT_SHIFT)) - 1;
    /// The most that `bytes_max` may be: 4 TiB.
    pub const BYTES_MAX: usize = 1 << 42;
    /// The most that `in_flight_max` may be.
    pub const IN_FLIGHT_MAX: usize = 1 << 24;
}

/// How much one [`Inbox::take`] gives; the first message passes whatever its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchBounds {
    /// Messages.
    pub count: usize,
    /// Octets of envelopes and bodies.
    pub bytes: usize,
    /// Slices for one vectored write: the chunks of each body and [`IOVECS_PER_MESSAGE`] more.
    pub iovecs: usize,
}

/// What a record adds to the slices of its body: header, envelope, and padding with the end mark.
pub const IOVECS_PER_MESSAGE: usize = 3;

/// One message on its way to the log.
#[derive(Debug)]
pub struct Submission {
    /// Who will answer for it.
    pub shard: usize,
    /// Its number in that shard.
    pub ticket: Ticket,
    /// What to store.
    pub message: Message,
}

/// There is no room now: the message comes back, and the shard's doorbell rings when there is some.
#[derive(Debug)]
pub struct QueueFull(pub Message);

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no room in the queue for a message of {} octets", self.0.len())
    }
}

impl std::error::Error for QueueFull {}

/// How long [`Inbox::take`] waits for the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until there is one.
    Block,
    /// Not at all.
    Poll,
    /// Until there is one or this time has come.
    Until(Instant),
}

/// What [`Inbox::take`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// At least one message.
    Some,
    /// None within the wait.
    Empty,
    /// None, and none will come: all ports are gone.
    Closed,
}

/// Makes the queue with one port for each shard, in their order.
///
/// # Errors
/// When the process has no descriptor left for a doorbell.
///
/// # Panics
/// When a limit is zero or above its most.
pub fn channel(shard_count: usize, limits: QueueLimits) -> io::Result<(Inbox, Vec<ShardPort>)> {
    let (sender, receiver) = crossbeam_channel::bounded(limits.count_max);
    let room = Arc::new(Room::new(limits));
    let log_failed = Arc::new(AtomicBool::new(false));
    let lanes: Vec<Arc<Lane>> = std::iter::repeat_with(|| Lane::new(limits.in_flight_max).map(Arc::new))
        .take(shard_count)
        .collect::<io::Result<_>>()?;
    let ports = lanes
        .iter()
        .enumerate()
        .map(|(shard, lane)| ShardPort {
            shard,
            lane: Arc::clone(lane),
            room: Arc::clone(&room),
            log_failed: Arc::clone(&log_failed),
            sender: sender.clone(),
            submitted: Ticket(0),
            read: Ticket(0),
        })
        .collect();
    let lanes =
        lanes.into_iter().map(|lane| LaneEnd { lane, finished: Ticket(0), raised: Ticket(0) }).collect();
    Ok((Inbox { receiver, room, log_failed, lanes, held: None }, ports))
}

/// What one shard and the commit thread share.
#[derive(Debug)]
struct Lane {
    watermark: Watermark,
    /// The shard wants to be rung when there is room in the queue.
    parked: AtomicBool,
    /// The commit thread is gone.
    closed: AtomicBool,
    doorbell: Arc<Doorbell>,
}

impl Lane {
    fn new(in_flight_max: usize) -> io::Result<Self> {
        Ok(Self {
            watermark: Watermark::new(in_flight_max),
            parked: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            doorbell: Arc::new(Doorbell::new()?),
        })
    }
}

/// How full the queue is: messages and octets in one word, so that both are taken or neither and nobody ever
/// sees room that another shard holds only for a moment.
#[derive(Debug)]
struct Room {
    used: AtomicU64,
    limits: QueueLimits,
}

const COUNT_SHIFT: u32 = 44;
const BYTES_MASK: u64 = (1 << COUNT_SHIFT) - 1;

impl Room {
    fn new(limits: QueueLimits) -> Self {
        assert!(limits.count_max > 0 && limits.bytes_max > 0, "a queue without room: {limits:?}");
        assert!(limits.count_max <= QueueLimits::COUNT_MAX, "too many messages: {limits:?}");
        assert!(limits.bytes_max <= QueueLimits::BYTES_MAX, "too many octets: {limits:?}");
        Self { used: AtomicU64::new(0), limits }
    }

    fn one(len: usize) -> u64 {
        let len = len as u64;
        assert!(len < BYTES_MASK / 2, "a message of {len} octets");
        1 << COUNT_SHIFT | len
    }

    fn reserve(&self, len: usize) -> bool {
        let fits = |used: u64| {
            let (count, bytes) = ((used >> COUNT_SHIFT) as usize, (used & BYTES_MASK) as usize);
            let fits = count < self.limits.count_max
                && (bytes == 0 || bytes.saturating_add(len) <= self.limits.bytes_max);
            fits.then(|| used + Self::one(len))
        };
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
    }

    fn release(&self, len: usize) {
        self.used.fetch_sub(Self::one(len), Ordering::SeqCst);
    }
}

/// A shard's end: messages in, outcomes out.
#[derive(Debug)]
pub struct ShardPort {
    shard: usize,
    lane: Arc<Lane>,
    room: Arc<Room>,
    log_failed: Arc<AtomicBool>,
    sender: Sender<Submission>,
    submitted: Ticket,
    read: Ticket,
}

impl ShardPort {
    /// Hands a message over and gives it the next ticket of this shard. Never blocks.
    ///
    /// After the commit thread has gone, messages are still accepted: their outcome is at once that the log
    /// failed.
    ///
    /// # Errors
    /// [`QueueFull`] with the message when the queue is full or as many outcomes as there are slots are unread.
    /// The doorbell will ring when it is worth another try.
    pub fn submit(&mut self, message: Message) -> Result<Ticket, QueueFull> {
        if self.in_flight() >= self.lane.watermark.slot_count() as u64 {
            // The outcomes in flight ring when they finish; for one that has, and was rung for, ring again.
            if self.read < self.lane.watermark.finished() {
                self.lane.doorbell.ring();
            }
            return Err(QueueFull(message));
        }
        let len = message.len();
        let has_room = self.reserve(len);
        // What was queued when the commit thread went keeps its room for ever, and nobody would ring for more.
        if !has_room && !self.is_closed() {
            return Err(QueueFull(message));
        }
        let ticket = self.submitted.next();
        self.submitted = ticket;
        if has_room {
            match self.sender.try_send(Submission { shard: self.shard, ticket, message }) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => unreachable!("room was reserved and the channel holds as much"),
                Err(TrySendError::Disconnected(_)) => self.room.release(len),
            }
        }
        if self.is_closed() {
            // The last ring of the commit thread may have been heard before this ticket was given.
            self.lane.doorbell.ring();
        }
        Ok(ticket)
    }

    /// Takes room for a message, or sees to it that the doorbell rings when there may be some.
    fn reserve(&self, len: usize) -> bool {
        if self.room.reserve(len) {
            return true;
        }
        // Say first that we wait and look again after that; the commit thread makes room first and looks for the
        // flag after that. With both fences one of the two sees the other, so no ring is lost. A commit thread
        // that goes rings in any case.
        self.lane.parked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.room.reserve(len)
    }

    fn is_closed(&self) -> bool {
        self.lane.closed.load(Ordering::Acquire)
    }

    /// The next outcome in the order of submission, when its ticket is at or below the watermark.
    ///
    /// This is the only way to an outcome, and so to a 250: what is not finished cannot be answered.
    pub fn next_outcome(&mut self) -> Option<(Ticket, Outcome)> {
        let ticket = self.read.next();
        if ticket > self.submitted {
            return None;
        }
        // Before the watermark: when the commit thread goes, what it has finished is still worth reading.
        let closed = self.lane.closed.load(Ordering::Acquire);
        let outcome = if ticket <= self.lane.watermark.finished() {
            self.lane.watermark.outcome(ticket)
        } else if closed {
            Outcome::Refused(StorageRefusal::LogFailed)
        } else {
            return None;
        };
        self.read = ticket;
        Some((ticket, outcome))
    }

    /// The highest finished ticket.
    #[must_use]
    pub fn finished(&self) -> Ticket {
        self.lane.watermark.finished()
    }

    /// Messages submitted whose outcome was not read.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.submitted.0 - self.read.0
    }

    /// The log has failed for good: every message from now on is refused. All shards see it, whoever's message
    /// met the failure.
    #[must_use]
    pub fn log_failed(&self) -> bool {
        self.log_failed.load(Ordering::Relaxed)
    }

    /// Rings when outcomes are published and when there is room again.
    #[must_use]
    pub fn doorbell(&self) -> &Arc<Doorbell> {
        &self.lane.doorbell
    }
}

/// The commit thread's end of one lane.
#[derive(Debug)]
struct LaneEnd {
    lane: Arc<Lane>,
    finished: Ticket,
    raised: Ticket,
}

impl LaneEnd {
    fn ring_if_parked(&self) {
        if self.lane.parked.load(Ordering::SeqCst) && self.lane.parked.swap(false, Ordering::SeqCst) {
            self.lane.doorbell.ring();
        }
    }
}

/// The commit thread's end: messages out, outcomes in. When it is dropped, all that is unfinished is refused.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Submission>,
    room: Arc<Room>,
    log_failed: Arc<AtomicBool>,
    lanes: Vec<LaneEnd>,
    /// Taken from the channel but too much for the batch before it.
    held: Option<Submission>,
}

impl Inbox {
    /// Moves what is queued to the end of `into`, up to `bounds`, after waiting for the first as `wait` says.
    pub fn take(&mut self, into: &mut Vec<Submission>, bounds: BatchBounds, wait: Wait) -> Taken {
        let first = match self.first(wait) {
            Ok(first) => first,
            Err(taken) => return taken,
        };
        let mut left = Left::new(bounds);
        left.subtract(&first.message);
        into.push(first);
        while left.count > 0 {
            let Ok(submission) = self.receiver.try_recv() else { break };
            if !left.holds(&submission.message) {
                self.held = Some(submission);
                break;
            }
            self.room.release(submission.message.len());
            left.subtract(&submission.message);
            into.push(submission);
        }
        self.ring_parked();
        Taken::Some
    }

    /// Notes what became of a message; its shard sees it with the next [`Inbox::publish`].
    ///
    /// # Panics
    /// When the messages of a shard are not finished in their order, or there is no such shard.
    pub fn finish(&mut self, shard: usize, ticket: Ticket, outcome: Outcome) {
        let end = &mut self.lanes[shard];
        assert_eq!(ticket, end.finished.next(), "shard {shard} finishes in the order of its tickets");
        end.lane.watermark.store(ticket, outcome);
        end.finished = ticket;
        if outcome == Outcome::Refused(StorageRefusal::LogFailed) {
            self.log_failed.store(true, Ordering::Relaxed);
        }
    }

    /// Lets the shards see what was finished, and rings those concerned.
    pub fn publish(&mut self) {
        for end in &mut self.lanes {
            if end.finished != end.raised {
                end.lane.watermark.raise(end.finished);
                end.raised = end.finished;
                // This ring serves a parked shard too.
                end.lane.parked.store(false, Ordering::SeqCst);
                end.lane.doorbell.ring();
            }
        }
        self.ring_parked();
    }

    fn first(&mut self, wait: Wait) -> Result<Submission, Taken> {
        let first = match self.held.take() {
            Some(held) => held,
            None => match wait {
                Wait::Block => self.receiver.recv().map_err(|_| Taken::Closed)?,
                Wait::Poll => self.receiver.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => Taken::Empty,
                    TryRecvError::Disconnected => Taken::Closed,
                })?,
                Wait::Until(deadline) => {
                    self.receiver.recv_deadline(deadline).map_err(|error| match error {
                        RecvTimeoutError::Timeout => Taken::Empty,
                        RecvTimeoutError::Disconnected => Taken::Closed,
                    })?
                }
            },
        };
        self.room.release(first.message.len());
        Ok(first)
    }

    fn ring_parked(&self) {
        fence(Ordering::SeqCst);
        self.lanes.iter().for_each(LaneEnd::ring_if_parked);
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.log_failed.store(true, Ordering::Relaxed);
        for end in &self.lanes {
            end.lane.closed.store(true, Ordering::Release);
            end.lane.doorbell.ring();
        }
    }
}

/// What a batch may still take.
struct Left {
    count: usize,
    bytes: usize,
    iovecs: usize,
}

impl Left {
    fn new(bounds: BatchBounds) -> Self {
        Self { count: bounds.count, bytes: bounds.bytes, iovecs: bounds.iovecs }
    }

    fn holds(&self, message: &Message) -> bool {
        self.count > 0 && self.bytes >= message.len() && self.iovecs >= iovecs(message)
    }

    fn subtract(&mut self, message: &Message) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(message.len());
        self.iovecs = self.iovecs.saturating_sub(iovecs(message));
    }
}

fn iovecs(message: &Message) -> usize {
    message.body.chunks().len() + IOVECS_PER_MESSAGE
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
