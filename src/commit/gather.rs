//! Whether it pays to let a batch wait for more messages before it is written.
//!
//! A sync costs the same for one message as for a hundred. Where many senders each send little, the first message
//! wakes the commit thread and would be synced alone, again and again, at several times its own cost. So a batch
//! may wait for a moment, but only while experience shows that others come meanwhile: the wait is tried, what came
//! is weighed, and where it was too little the next tries are further and further apart. A sender who is alone
//! waits in one of some five hundred batches.
//!
//! Knows no clock: the caller waits and tells what came.

use std::time::Duration;

/// How long a batch waits for more messages after its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gather {
    /// [`GATHER_TIME`] while that brings enough of them, else not at all.
    WhenItPays,
    /// This long, or until the batch is full; zero for not at all.
    For(Duration),
}

/// How long a batch waits for more when that pays.
pub const GATHER_TIME: Duration = Duration::from_micros(500);

/// Messages that must come for each one in hand. With fewer, two or three senders who each wait for their 250
/// would be slowed down for nothing.
const ARRIVALS_MIN: f32 = 1.5;
/// The weight of the newest wait in the average.
const NEWEST_WEIGHT: f32 = 0.25;
/// Batches between two tries, at most.
const PAUSE_MAX: u32 = 512;

/// What the waits have brought so far.
#[derive(Debug)]
pub(super) struct Gathering {
    /// Messages that came for each one in hand.
    arrivals: f32,
    /// Batches that do not wait before the next try.
    pause: u32,
    pause_next: u32,
}

impl Gathering {
    pub(super) fn new() -> Self {
        Self { arrivals: 0.0, pause: 0, pause_next: 1 }
    }

    /// Whether the batch at hand should wait; to be asked once for each batch.
    pub(super) fn pays(&mut self) -> bool {
        let pays = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        pays
    }

    /// A batch that held `in_hand` messages has waited and `came` more have come.
    pub(super) fn note(&mut self, in_hand: usize, came: usize) {
        let ratio = came as f32 / in_hand.max(1) as f32;
        self.arrivals += (ratio - self.arrivals) * NEWEST_WEIGHT;
        if self.arrivals >= ARRIVALS_MIN {
            self.pause_next = 1;
        } else {
            self.pause = self.pause_next;
            self.pause_next = (self.pause_next * 2).min(PAUSE_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs batches and gives how many of them waited.
    fn waits(gathering: &mut Gathering, batches: u32, in_hand: usize, came: usize) -> u32 {
        let mut waits = 0;
        for _ in 0..batches {
            if gathering.pays() {
                waits += 1;
                gathering.note(in_hand, came);
            }
        }
        waits
    }

    #[test]
    fn a_sender_who_is_alone_hardly_ever_waits() {
        let mut gathering = Gathering::new();
        waits(&mut gathering, 2 * PAUSE_MAX, 1, 0);
        let later = waits(&mut gathering, 100 * PAUSE_MAX, 1, 0);
        assert!((99..=100).contains(&later), "{later}");
    }

    #[test]
    fn batches_wait_where_many_senders_send_little() {
        let mut gathering = Gathering::new();
        waits(&mut gathering, 1000, 1, 3);
        assert_eq!(waits(&mut gathering, 1000, 1, 3), 1000);
    }

    #[test]
    fn large_batches_and_pairs_of_senders_do_not_wait() {
        for (in_hand, came) in [(100, 100), (1, 1), (2, 1)] {
            let mut gathering = Gathering::new();
            waits(&mut gathering, 2 * PAUSE_MAX, in_hand, came);
            let later = waits(&mut gathering, 10 * PAUSE_MAX, in_hand, came);
            assert!(later <= 10, "{in_hand} in hand, {came} came: {later}");
        }
    }

    #[test]
    fn a_change_of_load_is_noticed_both_ways() {
        let mut gathering = Gathering::new();
        waits(&mut gathering, 10_000, 1, 0);
        waits(&mut gathering, 10 * PAUSE_MAX, 1, 4);
        assert_eq!(waits(&mut gathering, 100, 1, 4), 100, "many came");
        waits(&mut gathering, 100, 1, 0);
        assert!(waits(&mut gathering, 100, 1, 0) < 5, "they have gone");
    }
}
