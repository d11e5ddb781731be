//! Messages that found the queue full, in the order in which they came.
//!
//! A connection parks at most one message and takes no input meanwhile, so TCP pushes back on its client and the
//! memory held here is bounded by the connections. While anybody is parked, everybody else who submits queues up
//! behind: a busy client cannot overtake a patient one. Whoever is parked stays so only until the doorbell rings:
//! the last try that failed has asked for that ring.

use std::collections::VecDeque;
use std::rc::Rc;

use super::tickets::Answers;
use crate::handoff::{QueueFull, ShardPort};
use crate::message::Message;

/// One message without a ticket.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) message: Message,
    pub(super) answers: Rc<Answers>,
}

/// Those who wait for room.
#[derive(Debug, Default)]
pub(super) struct Parking {
    waiting: VecDeque<Parked>,
}

impl Parking {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn park(&mut self, parked: Parked) {
        self.waiting.push_back(parked);
    }

    /// Hands the oldest message to the queue and gives its owner back; nothing when there is no room for it or
    /// nobody waits.
    pub(super) fn admit_first(&mut self, port: &mut ShardPort) -> Option<Rc<Answers>> {
        let Parked { message, answers } = self.waiting.pop_front()?;
        match port.submit(message) {
            Ok(_) => Some(answers),
            Err(QueueFull(message)) => {
                self.waiting.push_front(Parked { message, answers });
                None
            }
        }
    }
}
