//! One SMTP session.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::counts::SessionCounts;
use super::options::SessionOptions;
use super::reply::ReplyBuffer;
use crate::message::Message;

/// What must happen next.
#[derive(Debug)]
pub enum Step {
    /// All complete lines are eaten; what is left in the input is an unfinished one.
    NeedInput,
    /// A message is complete. Its final reply belongs behind the replies pushed so far: keep the place, submit,
    /// and go on with the rest of the input.
    Submit(Message),
    /// The replies have reached [`super::reply::PENDING_LEN_MAX`]: send them, then go on with the rest of the input.
    Flush,
    /// Send the replies and close the connection. Every later step says so again.
    Close,
}

/// One SMTP session, from the greeting to its end.
#[derive(Debug)]
pub struct Session {
    options: Arc<SessionOptions>,
    _peer: SocketAddr,
    _local: Option<SocketAddr>,
    counts: SessionCounts,
}

impl Session {
    /// For a client at `peer` that connected to `local`.
    #[must_use]
    pub fn new(options: Arc<SessionOptions>, peer: SocketAddr, local: Option<SocketAddr>) -> Self {
        Self { options, _peer: peer, _local: local, counts: SessionCounts::default() }
    }

    /// Pushes the greeting.
    pub fn greet(&self, replies: &mut ReplyBuffer) {
        replies.push_octets(&self.options.greeting);
    }

    /// Eats the complete lines at the front of `input` until one of them asks for more than a reply.
    pub fn step(&mut self, input: &mut Bytes, _replies: &mut ReplyBuffer) -> Step {
        input.clear();
        Step::NeedInput
    }

    /// To be called when all that was received has been stepped through and more must be waited for: lets go of
    /// receive buffers of which an unfinished message holds only a small part, by copying that part.
    pub fn settle(&mut self) {}

    /// No mail transaction is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        true
    }

    /// The counts since they were last taken; they begin anew.
    pub fn take_counts(&mut self) -> SessionCounts {
        std::mem::take(&mut self.counts)
    }
}
