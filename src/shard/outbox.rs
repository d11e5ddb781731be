//! Replies of one connection in their order, some of which wait for a ticket.
//!
//! ```text
//!  ready   220 .. 250 .. 354 ..                     may be sent now
//!  slots         [m1]            [m2]      [m3]     final replies that wait for their tickets
//!  held               250 .. 354      250           what stands behind them
//! ```
//! A final reply that waits holds back what stands behind it and nothing else. The session writes into `ready`
//! while no slot is open and into `held` afterwards; an answer moves one slot, and the replies up to the next
//! one, to `ready`. RFC 2920 section 3.2: replies leave in the order of the commands.

use std::collections::VecDeque;

use crate::message::Outcome;
use crate::smtp::{ReplyBuffer, reply};

/// The replies of one connection that were not sent yet.
#[derive(Debug, Default)]
pub struct Outbox {
    ready: ReplyBuffer,
    held: ReplyBuffer,
    /// Octets of `held` that were moved to `ready`; they go when no slot is open.
    held_moved: usize,
    slots: VecDeque<Slot>,
    pending_bytes: usize,
}

/// The place of a final reply.
#[derive(Debug)]
struct Slot {
    /// How many octets of `held` stand before it.
    held_before: usize,
    message_len: usize,
}

impl Outbox {
    /// Empty; takes memory with the first reply.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the next replies belong.
    pub fn replies(&mut self) -> &mut ReplyBuffer {
        match self.slots.is_empty() {
            true => &mut self.ready,
            false => &mut self.held,
        }
    }

    /// Keeps the place of the final reply to a message with `message_len` octets of text, behind the replies so far.
    pub fn open_slot(&mut self, message_len: usize) {
        self.slots.push_back(Slot { held_before: self.held.len(), message_len });
        self.pending_bytes += message_len;
    }

    /// Puts the final reply into the first open slot; returns the length of its message.
    ///
    /// # Panics
    /// When no slot is open: somebody else's outcome came here.
    pub fn answer(&mut self, outcome: Outcome) -> usize {
        let slot = self.slots.pop_front().expect("an outcome comes only for an open slot");
        self.pending_bytes -= slot.message_len;
        self.ready.push_octets(reply::of_outcome(outcome).as_bytes());
        let held_end = self.slots.front().map_or(self.held.len(), |next| next.held_before);
        self.ready.push_octets(&self.held.as_bytes()[self.held_moved..held_end]);
        self.held_moved = held_end;
        if self.slots.is_empty() {
            self.held.clear();
            self.held_moved = 0;
        }
        slot.message_len
    }

    /// What may be sent now.
    #[must_use]
    pub fn ready(&self) -> &[u8] {
        self.ready.as_bytes()
    }

    /// Takes note that the first `count` octets of [`Outbox::ready`] were sent, and gives the rest away.
    pub fn sent(&mut self, count: usize) -> Option<bytes::BytesMut> {
        if count == self.ready.len() {
            self.ready.clear();
            return None;
        }
        let mut rest = self.ready.take();
        bytes::Buf::advance(&mut rest, count);
        Some(rest)
    }

    /// Final replies that wait.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.slots.len()
    }

    /// Octets of the messages whose final replies wait.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Lsn, Partition, Receipt, StorageRefusal};

    fn stored(lsn: u64) -> Outcome {
        Outcome::Stored(Receipt { partition: Partition(0), lsn: Lsn(lsn) })
    }

    fn send(outbox: &mut Outbox) -> String {
        let ready = String::from_utf8(outbox.ready().to_vec()).expect("replies are ASCII");
        assert!(outbox.sent(ready.len()).is_none());
        ready.replace("\r\n", "|")
    }

    #[test]
    fn a_waiting_reply_holds_back_only_what_stands_behind_it() {
        let mut outbox = Outbox::new();
        outbox.replies().push(reply::SEND_TEXT);
        outbox.open_slot(10);
        outbox.replies().push(reply::OK);
        outbox.open_slot(20);
        outbox.replies().push(reply::BYE);
        assert_eq!((outbox.pending_count(), outbox.pending_bytes()), (2, 30));
        assert_eq!(send(&mut outbox), format!("{}|", reply::SEND_TEXT));
        assert_eq!(send(&mut outbox), "");
        assert_eq!(outbox.answer(stored(8)), 10);
        assert_eq!(send(&mut outbox), format!("250 2.0.0 stored 0@8|{}|", reply::OK));
        assert_eq!(outbox.answer(Outcome::Refused(StorageRefusal::NoSpace)), 20);
        assert_eq!(send(&mut outbox), format!("{}|{}|", reply::NO_SPACE, reply::BYE));
        assert_eq!((outbox.pending_count(), outbox.pending_bytes()), (0, 0));
    }

    #[test]
    fn replies_behind_a_later_slot_wait_for_it_though_they_came_after_an_answer() {
        let mut outbox = Outbox::new();
        outbox.open_slot(1);
        outbox.open_slot(1);
        outbox.answer(stored(8));
        outbox.replies().push(reply::OK);
        assert_eq!(send(&mut outbox), "250 2.0.0 stored 0@8|");
        outbox.open_slot(1);
        outbox.answer(stored(16));
        assert_eq!(send(&mut outbox), format!("250 2.0.0 stored 0@16|{}|", reply::OK));
        outbox.answer(Outcome::Discarded);
        assert_eq!(send(&mut outbox), format!("{}|", reply::DISCARDED));
        outbox.replies().push(reply::OK);
        assert_eq!(send(&mut outbox), format!("{}|", reply::OK));
    }

    #[test]
    fn what_a_short_send_left_over_is_given_away_once() {
        let mut outbox = Outbox::new();
        outbox.replies().push_octets(b"250 one\r\n");
        let rest = outbox.sent(4).expect("not all was sent");
        assert_eq!(&rest[..], b"one\r\n");
        assert_eq!(outbox.ready(), b"");
    }

    #[test]
    #[should_panic(expected = "only for an open slot")]
    fn an_outcome_without_a_slot_is_a_defect() {
        Outbox::new().answer(Outcome::Discarded);
    }
}
