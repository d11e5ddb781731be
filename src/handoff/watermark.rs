//! One number per shard that says up to which ticket everything is finished, and a ring of outcomes below it.
//!
//! ```text
//!  tickets   ... 7   8   9 | 10   11 ...
//!                finished -^          slot of ticket t = t modulo the number of slots
//! ```
//! The commit thread stores outcomes above the number and then raises it with Release; the shard loads it with
//! Acquire and reads outcomes at or below it. A slot is used again only when its shard has read it, which the
//! port sees to: it has no more tickets in flight than there are slots.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::message::{Lsn, Outcome, Partition, Receipt, StorageRefusal, Ticket};

/// Keeps what two threads write apart: two cache lines, since CPUs fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Watermark {
    finished: AtomicU64,
    slots: Box<[Slot]>,
}

/// An [`Outcome`] in two atomic words; the watermark orders them.
#[derive(Debug, Default)]
struct Slot {
    kind: AtomicU64,
    lsn: AtomicU64,
}

const STORED: u64 = 0;
const DISCARDED: u64 = 1;
const NO_SPACE: u64 = 2;
const LOG_FAILED: u64 = 3;
const PARTITION_SHIFT: u32 = 8;

impl Watermark {
    pub(super) fn new(slot_count: usize) -> Self {
        assert!(slot_count > 0, "a shard without outcome slots could never submit");
        Self {
            finished: AtomicU64::new(0),
            slots: std::iter::repeat_with(Slot::default).take(slot_count).collect(),
        }
    }

    pub(super) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// The highest finished ticket; outcomes up to it may be read.
    pub(super) fn finished(&self) -> Ticket {
        Ticket(self.finished.load(Ordering::Acquire))
    }

    /// Commit side: writes what became of `ticket`; the shard sees it with the next [`Watermark::raise`].
    pub(super) fn store(&self, ticket: Ticket, outcome: Outcome) {
        let (kind, lsn) = match outcome {
            Outcome::Stored(receipt) => {
                (STORED | u64::from(receipt.partition.0) << PARTITION_SHIFT, receipt.lsn.0)
            }
            Outcome::Discarded => (DISCARDED, 0),
            Outcome::Refused(StorageRefusal::NoSpace) => (NO_SPACE, 0),
            Outcome::Refused(StorageRefusal::LogFailed) => (LOG_FAILED, 0),
        };
        let slot = self.slot(ticket);
        slot.kind.store(kind, Ordering::Relaxed);
        slot.lsn.store(lsn, Ordering::Relaxed);
    }

    /// Commit side: everything up to `ticket` is finished.
    pub(super) fn raise(&self, ticket: Ticket) {
        let before = self.finished.load(Ordering::Relaxed);
        assert!(before <= ticket.0, "the watermark fell from {before} to {}", ticket.0);
        self.finished.store(ticket.0, Ordering::Release);
    }

    /// Shard side: what became of `ticket`.
    ///
    /// # Panics
    /// When `ticket` stands above the watermark: answering it would break the promise behind every 250.
    pub(super) fn outcome(&self, ticket: Ticket) -> Outcome {
        let finished = self.finished();
        assert!(ticket <= finished, "{ticket:?} was read above the watermark {finished:?}");
        let slot = self.slot(ticket);
        let kind = slot.kind.load(Ordering::Relaxed);
        match kind & ((1 << PARTITION_SHIFT) - 1) {
            STORED => Outcome::Stored(Receipt {
                partition: Partition((kind >> PARTITION_SHIFT) as u16),
                lsn: Lsn(slot.lsn.load(Ordering::Relaxed)),
            }),
            DISCARDED => Outcome::Discarded,
            NO_SPACE => Outcome::Refused(StorageRefusal::NoSpace),
            kind => {
                assert!(kind == LOG_FAILED, "an outcome of kind {kind} was never stored");
                Outcome::Refused(StorageRefusal::LogFailed)
            }
        }
    }

    fn slot(&self, ticket: Ticket) -> &Slot {
        let slot_count = self.slots.len() as u64;
        &self.slots[(ticket.0 % slot_count) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTCOMES: [Outcome; 5] = [
        Outcome::Stored(Receipt { partition: Partition(0), lsn: Lsn(0) }),
        Outcome::Stored(Receipt { partition: Partition(u16::MAX), lsn: Lsn(u64::MAX) }),
        Outcome::Discarded,
        Outcome::Refused(StorageRefusal::NoSpace),
        Outcome::Refused(StorageRefusal::LogFailed),
    ];

    #[test]
    fn every_outcome_reads_back_through_a_ring_that_wraps() {
        let watermark = Watermark::new(2);
        for (ticket, outcome) in (1..).map(Ticket).zip(OUTCOMES) {
            watermark.store(ticket, outcome);
            watermark.raise(ticket);
            assert_eq!(watermark.outcome(ticket), outcome);
        }
    }

    #[test]
    fn as_many_outcomes_as_there_are_slots_wait_side_by_side() {
        let watermark = Watermark::new(OUTCOMES.len());
        for (ticket, outcome) in (4..).map(Ticket).zip(OUTCOMES) {
            watermark.store(ticket, outcome);
        }
        watermark.raise(Ticket(8));
        for (ticket, outcome) in (4..).map(Ticket).zip(OUTCOMES) {
            assert_eq!(watermark.outcome(ticket), outcome);
        }
    }

    #[test]
    #[should_panic(expected = "above the watermark")]
    fn an_outcome_above_the_watermark_is_never_read() {
        let watermark = Watermark::new(4);
        watermark.store(Ticket(1), Outcome::Discarded);
        watermark.store(Ticket(2), Outcome::Discarded);
        watermark.raise(Ticket(1));
        let _ = watermark.outcome(Ticket(2));
    }

    #[test]
    #[should_panic(expected = "fell")]
    fn the_watermark_never_falls() {
        let watermark = Watermark::new(4);
        watermark.raise(Ticket(2));
        watermark.raise(Ticket(1));
    }
}
