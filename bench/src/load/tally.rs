//! What a run counts: messages by fate, failures by cause, times as histograms.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use rustix::io::Errno;

use super::session::Stage;
use super::worker::ENDING_SECONDS;

/// Why something did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// A reply that is not the one hoped for.
    Reply(Stage, u16),
    /// The connection could not be opened.
    Connect(i32),
    /// The server closed while this reply was due.
    Closed(Stage),
    /// The connection broke.
    Broken(i32),
    /// The server said something that is no SMTP reply.
    Malformed,
    /// This reply was still due when the time after the window was over.
    Late(Stage),
    /// This reply was due when the run was given up.
    Unanswered(Stage),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |errno: &i32| std::io::Error::from_raw_os_error(*errno);
        match self {
            Self::Reply(stage, code) => write!(f, "{code} to {}", stage.name()),
            Self::Connect(errno) => write!(f, "connect: {}", words(errno)),
            Self::Closed(stage) => write!(f, "closed before the reply to {}", stage.name()),
            Self::Broken(errno) => write!(f, "connection: {}", words(errno)),
            Self::Malformed => f.write_str("no SMTP reply"),
            Self::Late(stage) => {
                let stage = stage.name();
                write!(f, "no reply to {stage} within {ENDING_SECONDS} s of the end of the window")
            }
            Self::Unanswered(stage) => write!(f, "no reply to {} until the run was given up", stage.name()),
        }
    }
}

impl Failure {
    /// A connection attempt that failed with `errno`.
    pub fn connect(errno: Errno) -> Self {
        Self::Connect(errno.raw_os_error())
    }

    /// A connection that failed with `errno`.
    pub fn broken(errno: Errno) -> Self {
        Self::Broken(errno.raw_os_error())
    }
}

/// Messages by fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Messages {
    /// Answered 250 after the end of data.
    pub accepted: u64,
    /// Answered otherwise.
    pub refused: u64,
    /// Never answered: the connection ended first.
    pub lost: u64,
}

impl Messages {
    /// All that were decided.
    pub fn total(&self) -> u64 {
        self.accepted + self.refused + self.lost
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.lost += other.lost;
    }
}

/// Everything counted, by one thread or by all of them.
#[derive(Clone, Debug)]
pub struct Tally {
    /// In the measured window.
    pub messages: Messages,
    /// In the whole run, warm-up and ending included.
    pub messages_overall: Messages,
    /// 250s that arrived in the measured window, whenever their messages came due.
    pub completed: u64,
    /// Octets of text those 250s were for.
    pub completed_octets: u64,
    /// Messages that came due in the measured window and were never sent.
    pub unsent: u64,
    /// Connections opened in the whole run.
    pub connections_opened: u64,
    /// Those that waited for room in the server's listen queue, in the whole run.
    pub connections_held: u64,
    /// In the whole run.
    pub failures: BTreeMap<Failure, u64>,
    /// Nanoseconds to the 250 of each message of the measured window: in a closed loop from the start of the write
    /// of its text, in an open loop from its scheduled time.
    pub time_to_250: Histogram<u64>,
    /// The same from the start of the write of its text in any loop.
    pub text_to_250: Histogram<u64>,
    /// Nanoseconds from connect(2) to an open connection, in the whole run.
    pub connect: Histogram<u64>,
    /// Nanoseconds from connect(2) to the end of the greeting, in the whole run.
    pub greeting: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            messages: Messages::default(),
            messages_overall: Messages::default(),
            completed: 0,
            completed_octets: 0,
            unsent: 0,
            connections_opened: 0,
            connections_held: 0,
            failures: BTreeMap::new(),
            time_to_250: histogram(),
            text_to_250: histogram(),
            connect: histogram(),
            greeting: histogram(),
        }
    }
}

impl Tally {
    /// Counts a failure.
    pub fn fail(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// Adds what another thread counted.
    pub fn add(&mut self, other: &Self) {
        self.messages.add(&other.messages);
        self.messages_overall.add(&other.messages_overall);
        self.completed += other.completed;
        self.completed_octets += other.completed_octets;
        self.unsent += other.unsent;
        self.connections_opened += other.connections_opened;
        self.connections_held += other.connections_held;
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
        let same = "all histograms have the same bounds";
        self.time_to_250.add(&other.time_to_250).expect(same);
        self.text_to_250.add(&other.text_to_250).expect(same);
        self.connect.add(&other.connect).expect(same);
        self.greeting.add(&other.greeting).expect(same);
    }

    /// The failures in words, most frequent first.
    pub fn failures_in_words(&self) -> String {
        let mut failures: Vec<(&Failure, &u64)> = self.failures.iter().collect();
        failures.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let words: Vec<String> = failures.iter().map(|(f, count)| format!("{f} ({count} times)")).collect();
        if words.is_empty() { "none".into() } else { words.join(", ") }
    }
}

/// 100 ns to ten minutes, to three digits: beyond it counts as ten minutes.
fn histogram() -> Histogram<u64> {
    const TIME_MIN: u64 = 100;
    const TIME_MAX: u64 = 600_000_000_000;
    const DIGITS: u8 = 3;
    Histogram::new_with_bounds(TIME_MIN, TIME_MAX, DIGITS).expect("the bounds are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_of_threads_add_up() {
        let mut one = Tally::default();
        one.messages.accepted = 2;
        one.time_to_250.saturating_record(1_000);
        one.fail(Failure::Reply(Stage::Recipient, 550));
        let mut all = one.clone();
        all.add(&one);
        assert_eq!((all.messages.total(), all.time_to_250.len()), (4, 2));
        assert_eq!(all.failures_in_words(), "550 to RCPT (2 times)");
    }
}
