//! Which messages may be started, and when.

use std::collections::VecDeque;

use super::pace::Schedule;

/// A message that somebody has undertaken to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Counts the messages of a thread from 0.
    pub number: u64,
    /// When it came due, in nanoseconds of the run's clock; 0 in a closed loop.
    pub due_at: u64,
}

/// The messages one thread may start: a count, or as many as fit until it is closed; with a schedule, none before
/// its time.
#[derive(Debug)]
pub struct Supply {
    left: u64,
    schedule: Option<Schedule>,
    now: u64,
    next_number: u64,
    /// Claimed once, never sent, and still to be sent.
    returned: VecDeque<Claim>,
    is_closed: bool,
    /// Nothing can be claimed yet.
    is_held: bool,
}

impl Supply {
    /// `count` messages.
    pub fn of(count: u64) -> Self {
        let returned = VecDeque::new();
        Self {
            left: count,
            schedule: None,
            now: 0,
            next_number: 0,
            returned,
            is_closed: false,
            is_held: false,
        }
    }

    /// As many as can be sent until [`Supply::close`].
    pub fn endless() -> Self {
        Self::of(u64::MAX)
    }

    /// The same messages, each at its time.
    pub fn at_times_of(self, schedule: Schedule) -> Self {
        Self { schedule: Some(schedule), ..self }
    }

    /// The same messages, none of which can be claimed before [`Supply::begin`].
    pub fn held(self) -> Self {
        Self { is_held: true, ..self }
    }

    /// What was held can be claimed; the zero of its schedule is `at`.
    pub fn begin(&mut self, at: u64) {
        self.is_held = false;
        self.schedule = self.schedule.take().map(|schedule| schedule.starting(at));
    }

    /// Whether a schedule says when messages are due.
    pub fn is_scheduled(&self) -> bool {
        self.schedule.is_some()
    }

    /// Tells what time it is: what has come due by `now` can be claimed.
    pub fn advance(&mut self, now: u64) {
        self.now = now;
    }

    /// Takes one message; `None` when none is left, or none is due yet.
    pub fn claim(&mut self) -> Option<Claim> {
        if !self.is_due() {
            return None;
        }
        if let Some(claim) = self.returned.pop_front() {
            return Some(claim);
        }
        let due_at = self.schedule.as_mut().map_or(Some(0), Iterator::next)?;
        let number = self.next_number;
        self.next_number += 1;
        self.left -= 1;
        Some(Claim { number, due_at })
    }

    /// Puts back a message that was claimed but never sent.
    pub fn give_back(&mut self, claim: Claim) {
        self.returned.push_back(claim);
    }

    /// Nothing more is started.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether there is a message to be started now or later.
    pub fn has_more(&self) -> bool {
        let is_any_left = || !self.returned.is_empty() || self.next_due_at().is_some();
        !self.is_closed && (self.is_held || is_any_left())
    }

    /// Whether a claim would succeed.
    pub fn is_due(&self) -> bool {
        let is_next_due = || self.next_due_at().is_some_and(|at| at <= self.now);
        !self.is_closed && !self.is_held && (!self.returned.is_empty() || is_next_due())
    }

    /// When the next message that was never claimed comes due; 0 without a schedule, `None` when there is none.
    pub fn next_due_at(&self) -> Option<u64> {
        if self.left == 0 {
            return None;
        }
        self.schedule.as_ref().map_or(Some(0), Schedule::peek)
    }

    /// Messages that are claimed, and neither given back nor among `decided`.
    pub fn open_count(&self, decided: u64) -> u64 {
        self.next_number - self.returned.len() as u64 - decided
    }

    /// The times of all messages that came due and that nobody has undertaken to send, or gave back.
    ///
    /// Without an end to the schedule or a count there is no end to them.
    pub fn unsent(&self) -> impl Iterator<Item = u64> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let never_claimed = self.schedule.clone().into_iter().flatten().take(left);
        self.returned.iter().map(|claim| claim.due_at).chain(never_claimed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pace::Arrivals;
    use super::*;

    #[test]
    fn a_supply_ends_at_its_count_or_when_closed() {
        let mut two = Supply::of(2);
        let first = two.claim().expect("the first");
        assert!(two.claim().is_some() && two.claim().is_none());
        two.give_back(first);
        assert_eq!((two.claim(), two.claim()), (Some(first), None));
        let mut endless = Supply::endless();
        let claim = endless.claim().expect("one");
        endless.close();
        endless.give_back(claim);
        assert!(endless.claim().is_none());
    }

    #[test]
    fn what_is_held_cannot_be_claimed_and_its_schedule_starts_with_the_run() {
        let schedule = Schedule::new(1000.0, Arrivals::Constant, 0, (0, 1)).ending(Some(2_500_000));
        let mut supply = Supply::endless().at_times_of(schedule).held();
        supply.advance(9_000_000);
        assert_eq!((supply.claim(), supply.has_more()), (None, true));
        supply.begin(9_000_000);
        assert_eq!(supply.claim(), None);
        supply.advance(12_000_000);
        let due: Vec<u64> = std::iter::from_fn(|| supply.claim()).map(|claim| claim.due_at).collect();
        assert_eq!((due, supply.has_more()), (vec![10_000_000, 11_000_000], false));
    }

    #[test]
    fn a_scheduled_message_cannot_be_claimed_before_its_time_and_keeps_it_while_it_waits() {
        let schedule = Schedule::new(1000.0, Arrivals::Constant, 0, (0, 1)).ending(Some(3_500_000));
        let mut supply = Supply::endless().at_times_of(schedule);
        supply.advance(999_999);
        assert_eq!((supply.is_due(), supply.has_more(), supply.claim()), (false, true, None));
        supply.advance(2_500_000);
        assert_eq!(supply.claim().map(|claim| claim.due_at), Some(1_000_000));
        let second = supply.claim().expect("due too");
        assert_eq!((second.due_at, supply.claim()), (2_000_000, None));
        supply.give_back(second);
        assert!(supply.unsent().eq([2_000_000, 3_000_000]));
        assert_eq!(supply.open_count(0), 1);
    }
}
