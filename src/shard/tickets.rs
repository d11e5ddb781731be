//! Whose ticket is whose: hands messages to the queue and brings each outcome to the connection it belongs to.
//!
//! ```text
//!  connection a --m1--+                                     +--> outbox of a: 250
//!  connection b --m2--+--> submit --> queue ... settle -----+--> outbox of b: 250
//!  connection a --m3--+      |                              +--> outbox of a: 250
//!                            +--> parking, while there is no room
//! ```
//! Outcomes come in the order of submission, so the owners stand in one FIFO and no ticket is ever searched for.
//! [`Tickets::settle`] is the one place where an outcome becomes a reply, and it has no other source of outcomes
//! than [`ShardPort::next_outcome`], which gives none above the watermark: no 250 before its message is stored.
//! One walk for each ring of the doorbell, without a wake-up for each message. A connection that is gone costs
//! nothing: its outcomes go into an outbox that nobody sends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::outbox::Outbox;
use super::parking::{Parked, Parking};
use crate::handoff::{QueueFull, ShardPort};
use crate::message::{Message, Outcome};
use crate::observe::ShardCounters;

/// What a connection shares with the tickets of its shard: where its answers go, and how it is woken.
#[derive(Debug, Default)]
pub struct Answers {
    outbox: RefCell<Outbox>,
    parked: Cell<bool>,
    news: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Answers {
    /// For a new connection.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self::default())
    }

    /// The replies of the connection. Borrow it for one step, never across a wait.
    #[must_use]
    pub fn outbox(&self) -> &RefCell<Outbox> {
        &self.outbox
    }

    /// A message of this connection waits for room in the queue: it may not submit another before that.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.parked.get()
    }

    /// Ready as soon as something has happened since it last was: an answer, or the end of the parking.
    pub fn poll_news(&self, context: &Context<'_>) -> Poll<()> {
        if self.news.replace(false) {
            return Poll::Ready(());
        }
        *self.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    fn tell(&self) {
        self.news.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(super) fn set_parked(&self, parked: bool) {
        self.parked.set(parked);
        if !parked {
            self.tell();
        }
    }
}

/// The messages of one shard that have no final reply yet.
#[derive(Debug)]
pub struct Tickets {
    port: ShardPort,
    /// Who waits for the tickets in flight, in their order.
    owners: VecDeque<Rc<Answers>>,
    parking: Parking,
    counters: Arc<ShardCounters>,
}

impl Tickets {
    /// None yet.
    #[must_use]
    pub fn new(port: ShardPort, counters: Arc<ShardCounters>) -> Self {
        Self { port, owners: VecDeque::new(), parking: Parking::default(), counters }
    }

    /// Takes a message of the connection behind `answers`, keeps the place of its final reply, and hands it to
    /// the queue. When there is no room, or others wait for room already, the message is parked:
    /// [`Answers::is_parked`] says so, and its connection must take no further input until that has ended.
    pub fn submit(&mut self, message: Message, answers: &Rc<Answers>) {
        self.counters.messages_submitted.add(1);
        answers.outbox.borrow_mut().open_slot(message.body.len());
        let message = match self.parking.is_empty() {
            true => match self.port.submit(message) {
                Ok(_) => return self.owners.push_back(Rc::clone(answers)),
                Err(QueueFull(message)) => message,
            },
            false => message,
        };
        answers.set_parked(true);
        self.parking.park(Parked { message, answers: Rc::clone(answers) });
    }

    /// To be called for each ring of the doorbell: puts the final replies of all finished messages into their
    /// outboxes, then lets parked messages into the queue, oldest first, as long as there is room.
    pub fn settle(&mut self) {
        while let Some((ticket, outcome)) = self.port.next_outcome() {
            let owner = self.owners.pop_front();
            let owner = owner.unwrap_or_else(|| panic!("{ticket:?} was submitted by nobody"));
            let message_len = owner.outbox.borrow_mut().answer(outcome);
            self.count(outcome, message_len);
            owner.tell();
        }
        while let Some(owner) = self.parking.admit_first(&mut self.port) {
            owner.set_parked(false);
            self.owners.push_back(owner);
        }
    }

    /// Messages whose final reply is due, parked ones included.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.owners.len() + self.parking.len()
    }

    /// The log has failed for good: nothing can be stored any more.
    #[must_use]
    pub fn log_failed(&self) -> bool {
        self.port.log_failed()
    }

    fn count(&self, outcome: Outcome, message_len: usize) {
        match outcome {
            Outcome::Stored(_) | Outcome::Discarded => {
                self.counters.messages_accepted.add(1);
                self.counters.octets_accepted.add(message_len as u64);
            }
            Outcome::Refused(_) => self.counters.messages_refused.add(1),
        }
    }
}
