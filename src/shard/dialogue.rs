//! One client's conversation without its socket: octets in, replies out, messages to the queue.
//!
//! ```text
//!  input --> Session::step --replies--> outbox --ready--> (the driver sends)
//!                 |                       ^
//!                 +--message--> tickets --+ final reply, when its ticket is settled
//! ```
//! The driver calls [`Dialogue::advance`], sends what the outbox has ready, and waits for what [`Next`] says.
//! Input goes on being parsed while final replies wait, within a number of messages and
//! [`PENDING_BYTES_MAX`], so that several messages of one connection share one sync. Nothing here knows a socket, a clock or a runtime: the
//! simulation drives the same code.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::tickets::{Answers, Tickets};
use crate::smtp::{Reply, Session, SessionCounts, SessionOptions, Step};

/// Octets of messages of one connection that may wait for their final reply; the one that reaches it is still taken.
pub const PENDING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the driver must wait for, once it has sent what is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: sending was all.
    Flush,
    /// More input.
    Read,
    /// The final reply of a message. More input may be given before that if [`Dialogue::wants_input`].
    WaitTicket,
    /// Room in the queue. No input may be taken before that.
    WaitRoom,
    /// Nothing: close the connection.
    Close,
}

/// One client's conversation.
#[derive(Debug)]
pub struct Dialogue {
    session: Session,
    answers: Rc<Answers>,
    pending_count_max: usize,
    closing: bool,
}

impl Dialogue {
    /// Begins with the greeting. At most `pending_count_max` messages wait for their final reply at a time.
    #[must_use]
    pub fn new(session: Session, pending_count_max: usize) -> Self {
        let answers = Answers::new();
        session.greet(answers.outbox().borrow_mut().replies());
        Self { session, answers, pending_count_max, closing: false }
    }

    /// What is in force, as [`Session::renew`] wants it; to be called before [`Dialogue::advance`].
    pub fn renew(&mut self, options: &Arc<SessionOptions>) {
        self.session.renew(options);
    }

    /// Octets an unfinished command line may have.
    #[must_use]
    pub fn command_line_max(&self) -> usize {
        self.session.command_line_max()
    }

    /// Parses `input` as far as that is possible now. An unfinished command line may stay in it.
    pub fn advance(&mut self, input: &mut Bytes, tickets: &mut Tickets) -> Next {
        loop {
            if self.answers.is_parked() {
                return Next::WaitRoom;
            }
            if self.closing {
                return self.when_pending(Next::Close);
            }
            if !self.wants_input() {
                return Next::WaitTicket;
            }
            let step = self.session.step(input, self.answers.outbox().borrow_mut().replies());
            match step {
                Step::NeedInput => {
                    self.session.settle();
                    return self.when_pending(Next::Read);
                }
                Step::Submit(message) => tickets.submit(message, &self.answers),
                Step::Flush => return self.when_pending(Next::Flush),
                Step::Close => self.closing = true,
            }
        }
    }

    /// Ends the conversation with `reply`, behind what was said so far; further input is ignored.
    pub fn close_with(&mut self, reply: Reply) {
        if !self.closing {
            self.answers.outbox().borrow_mut().replies().push(reply);
            self.closing = true;
        }
    }

    /// Where the replies are and how to wait for more.
    #[must_use]
    pub fn answers(&self) -> &Rc<Answers> {
        &self.answers
    }

    /// No mail transaction is under way and no final reply is due.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.session.is_idle() && self.pending_count() == 0
    }

    /// More input would be parsed at once.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let outbox = self.answers.outbox().borrow();
        !self.closing
            && !self.answers.is_parked()
            && outbox.pending_count() < self.pending_count_max
            && outbox.pending_bytes() < PENDING_BYTES_MAX
    }

    /// What the session has counted since this was last asked.
    pub fn take_counts(&mut self) -> SessionCounts {
        self.session.take_counts()
    }

    fn when_pending(&self, otherwise: Next) -> Next {
        match self.pending_count() {
            0 => otherwise,
            _ => Next::WaitTicket,
        }
    }

    fn pending_count(&self) -> usize {
        self.answers.outbox().borrow().pending_count()
    }
}

#[cfg(test)]
#[path = "dialogue_tests.rs"]
mod tests;
