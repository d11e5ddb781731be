//! What one thread of a run keeps account of: its window, its counts, its processor time, its ledger.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::connection::SentText;
use super::script::Script;
use super::session::Verdict;
use super::supply::{Claim, Supply};
use super::tally::Tally;
use super::worker::WorkerResult;
use crate::cpu;
use crate::error::Result;
use crate::ledger::LedgerWriter;

/// When a thread measures, in nanoseconds of the run's clock.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Messages from here on count.
    pub measure_from: u64,
    /// Up to here; `None` with a count.
    pub measure_to: Option<u64>,
}

impl Window {
    /// One that does not begin.
    pub const NEVER: Self = Self { measure_from: u64::MAX, measure_to: None };

    /// The same, with the zero of its times at `at`.
    pub fn starting(self, at: u64) -> Self {
        Self {
            measure_from: self.measure_from.saturating_add(at),
            measure_to: self.measure_to.map(|to| to.saturating_add(at)),
        }
    }

    fn holds(self, at: u64) -> bool {
        at >= self.measure_from && self.measure_to.is_none_or(|to| at < to)
    }
}

/// The books of one thread.
#[derive(Debug)]
pub struct Account<'a> {
    /// What was counted so far.
    pub tally: Tally,
    window: Window,
    /// Whether a message belongs to the window by the time it came due, and is timed from then.
    is_scheduled: bool,
    ledger: Option<LedgerWriter>,
    progress: &'a AtomicU64,
    in_window: bool,
    cpu_marks: (Duration, Option<Duration>),
    measured: (u64, u64),
    published: u64,
}

impl<'a> Account<'a> {
    /// Books that are still empty; 250s are added to `progress` as they come.
    pub fn new(
        window: Window,
        is_scheduled: bool,
        ledger: Option<LedgerWriter>,
        progress: &'a AtomicU64,
    ) -> Self {
        Self {
            tally: Tally::default(),
            window,
            is_scheduled,
            ledger,
            progress,
            in_window: false,
            cpu_marks: (Duration::ZERO, None),
            measured: (0, 0),
            published: 0,
        }
    }

    /// The window is `window` from now on, before any has begun.
    pub fn measure_in(&mut self, window: Window) {
        self.window = window;
    }

    /// Once a turn: sees the window begin and end, and writes out what the turn before has brought.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn turn(&mut self, now: u64) -> Result<()> {
        let is_in = self.window.holds(now);
        if is_in && !self.in_window && self.cpu_marks.1.is_none() {
            self.in_window = true;
            self.cpu_marks.0 = cpu::of_this_thread();
            self.measured.0 = now;
        } else if !is_in && self.in_window {
            self.end_window(now);
        }
        let accepted = self.tally.messages_overall.accepted;
        if accepted > self.published {
            self.progress.fetch_add(accepted - self.published, Ordering::Relaxed);
            self.published = accepted;
        }
        self.ledger.as_mut().map_or(Ok(()), LedgerWriter::flush)
    }

    fn end_window(&mut self, now: u64) {
        self.in_window = false;
        self.cpu_marks.1 = Some(cpu::of_this_thread());
        self.measured.1 = now;
    }

    /// What the text of message `number` ends with, when a ledger wants it to be its own.
    pub fn sign(&self, text: &mut SentText, number: u64) {
        if let Some(ledger) = &self.ledger {
            text.id_line = ledger.id_line(number);
        }
    }

    /// Counts a message whose fate a reply has decided; `reply` is the text behind its code.
    pub fn decided(
        &mut self,
        (verdict, claim): (Verdict, Claim),
        now: u64,
        text: &SentText,
        script: &Script,
        reply: &[u8],
    ) {
        let in_window = self.belongs(claim, now);
        if verdict == Verdict::Refused {
            self.tally.messages_overall.refused += 1;
            self.tally.messages.refused += u64::from(in_window);
            return;
        }
        self.tally.messages_overall.accepted += 1;
        if let (Some(ledger), Some(prefix)) = (&mut self.ledger, script.hash_prefix(text.index)) {
            ledger.note(prefix, &text.id_line, reply);
        }
        if self.in_window && self.window.holds(now) {
            self.tally.completed += 1;
            self.tally.completed_octets += script.message_len(text.index) as u64;
        }
        if in_window {
            self.tally.messages.accepted += 1;
            let from = if self.is_scheduled { claim.due_at } else { text.at };
            self.tally.time_to_250.saturating_record(now - from);
            self.tally.text_to_250.saturating_record(now - text.at);
        }
    }

    /// Counts a message whose fate nobody will learn.
    pub fn lost(&mut self, claim: Claim, now: u64) {
        self.tally.messages_overall.lost += 1;
        self.tally.messages.lost += u64::from(self.belongs(claim, now));
    }

    /// Whether a message that is decided at `now` is one of the window's.
    fn belongs(&self, claim: Claim, now: u64) -> bool {
        let in_window = || self.in_window && self.window.holds(now);
        if self.is_scheduled { self.window.holds(claim.due_at) } else { in_window() }
    }

    /// Closes the books; `supply` tells what was never sent.
    ///
    /// # Errors
    /// When the ledger cannot be written or synced.
    pub fn conclude(mut self, now: u64, supply: &Supply, is_stuck: bool) -> Result<WorkerResult> {
        if self.in_window {
            self.end_window(now);
        }
        if self.is_scheduled {
            let unsent = supply.unsent().filter(|due_at| self.window.holds(*due_at));
            self.tally.unsent = unsent.count() as u64;
        }
        self.ledger.take().map_or(Ok(()), LedgerWriter::finish)?;
        let cpu = self.cpu_marks.1.unwrap_or_default().saturating_sub(self.cpu_marks.0);
        Ok(WorkerResult { tally: self.tally, cpu, measured: self.measured, is_stuck })
    }
}
