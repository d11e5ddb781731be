//! Load with a ledger: many connections send messages whose every octet follows from a number, and each 250 is
//! written down with its receipt.
//!
//! Whatever happens to the server then, the [`Ledger`] is what it has promised. An [`audit`] holds the log against
//! it: every promised message is there, exactly; nothing is there that was not sent, exactly as it was sent.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::conversation::{Conversation, Reply};
use crate::readback::{Log, Stored};
use crate::rng::Rng;

/// How long a load may take to get as many answers as were asked for.
const LOAD_DEADLINE: Duration = Duration::from_secs(60);

/// The number a message is made from; it stands in its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u64);

impl MessageId {
    /// The message's text: what is sent, and what must be read back.
    #[must_use]
    pub fn text(self) -> Vec<u8> {
        let mut rng = Rng::new(self.0);
        let mut text = format!("Message: {}\r\nSubject: load\r\n\r\n", self.0).into_bytes();
        let length = match rng.below(20) {
            0 => rng.between(100_000, 300_000),
            1..=3 => rng.between(8_000, 70_000),
            _ => rng.between(0, 5_000),
        };
        while text.len() < length {
            match rng.below(12) {
                0 => text.extend_from_slice(b".\r\n"),
                1 => text.extend_from_slice(b"..\r\n"),
                2 => text.extend_from_slice(b"\r\n"),
                _ => {
                    // Any octet but CR and LF, NUL included.
                    let line = (0..rng.between(1, 900)).map(|_| (rng.word() >> 32) as u8);
                    text.extend(line.map(|octet| if b"\r\n".contains(&octet) { b'x' } else { octet }));
                    text.extend_from_slice(b"\r\n");
                }
            }
        }
        text
    }

    /// Whom the message is from.
    #[must_use]
    pub fn reverse_path(self) -> String {
        format!("sender-{}@example.org", self.0)
    }

    /// Whom it is to.
    #[must_use]
    pub fn forward_path(self) -> String {
        format!("reader-{}@example.net", self.0)
    }

    fn of(text: &[u8]) -> Option<Self> {
        let line = text.strip_prefix(b"Message: ")?.split(|&octet| octet == b'\r').next()?;
        std::str::from_utf8(line).ok()?.parse().ok().map(Self)
    }
}

/// Every 250 that clients were given: the message and its receipt.
#[derive(Debug, Default)]
pub struct Ledger {
    promised: Mutex<Vec<(MessageId, String)>>,
    grown: Condvar,
}

impl Ledger {
    /// Writes a promise down.
    ///
    /// # Panics
    /// When another holder has panicked.
    pub fn enter(&self, message: MessageId, receipt: String) {
        self.promised.lock().expect("no panic while held").push((message, receipt));
        self.grown.notify_all();
    }

    /// All promises so far.
    ///
    /// # Panics
    /// When another holder has panicked.
    #[must_use]
    pub fn promised(&self) -> Vec<(MessageId, String)> {
        self.promised.lock().expect("no panic while held").clone()
    }

    /// How many promises there are.
    ///
    /// # Panics
    /// When another holder has panicked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.promised.lock().expect("no panic while held").len()
    }

    /// Whether nothing was promised.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until `count` promises were made.
    ///
    /// # Panics
    /// When they are not made in time.
    pub fn wait_for(&self, count: usize) {
        let until = Instant::now() + LOAD_DEADLINE;
        let mut promised = self.promised.lock().expect("no panic while held");
        while promised.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "only {} of {count} answers within {LOAD_DEADLINE:?}", promised.len());
            promised = self.grown.wait_timeout(promised, left).expect("no panic while held").0;
        }
    }
}

/// Starts `connections` clients that send until the server is gone, each its own messages, numbered from `first`.
///
/// Every second one pipelines. The handles end when the server does; each gives how many messages it had begun.
pub fn start(
    address: SocketAddr,
    connections: u64,
    first: u64,
    ledger: &std::sync::Arc<Ledger>,
) -> Vec<thread::JoinHandle<u64>> {
    let client = |connection: u64| {
        let ledger = std::sync::Arc::clone(ledger);
        thread::spawn(move || {
            let mut begun = 0;
            // The error is the server's end, which is what the test is about.
            let _ = send_until_gone(address, connection % 2 == 1, &ledger, || {
                begun += 1;
                MessageId(first + (begun - 1) * connections + connection)
            });
            begun
        })
    };
    (0..connections).map(client).collect()
}

fn send_until_gone(
    address: SocketAddr,
    pipelining: bool,
    ledger: &Ledger,
    mut next: impl FnMut() -> MessageId,
) -> io::Result<()> {
    let mut client = Conversation::hello(address)?;
    loop {
        let message = next();
        match send(&mut client, message, pipelining)?.receipt() {
            Some(receipt) => ledger.enter(message, receipt),
            // Refused: nothing was promised, and the server is about to end.
            None => return Ok(()),
        }
    }
}

/// Sends one message; gives the reply to its end of data.
///
/// # Errors
/// As [`Conversation::mail`].
pub fn send(client: &mut Conversation, message: MessageId, pipelining: bool) -> io::Result<Reply> {
    let (from, to, text) = (message.reverse_path(), message.forward_path(), message.text());
    match pipelining {
        true => client.pipelined_mail(&from, &to, &text),
        false => client.mail(&from, &to, &text),
    }
}

/// What an audit found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Messages in the log, promised or not.
    pub stored: usize,
    /// Promises that the log does not keep.
    pub lost: Vec<(MessageId, String)>,
    /// Messages that are not what was sent, or more than once, by receipt.
    pub wrong: Vec<String>,
}

impl Audit {
    /// Whether every promise was kept and nothing else is there.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.wrong.is_empty()
    }
}

/// Holds the log against every promise.
///
/// # Panics
/// When the log cannot be read.
#[must_use]
pub fn audit(log: Log<'_>, promised: &[(MessageId, String)]) -> Audit {
    let mut audit = Audit::default();
    let mut found: HashMap<MessageId, String> = HashMap::new();
    log.each(|stored| {
        audit.stored += 1;
        match intact(&stored) {
            Some(message) if found.insert(message, stored.receipt()).is_none() => {}
            _ => audit.wrong.push(stored.receipt()),
        }
    });
    let lost = promised.iter().filter(|(message, receipt)| found.get(message) != Some(receipt));
    audit.lost = lost.cloned().collect();
    audit
}

/// The number of a stored message, when text and envelope are exactly what that number was sent as.
fn intact(stored: &Stored) -> Option<MessageId> {
    let message = MessageId::of(&stored.message)?;
    let envelope = stored.reverse_path() == message.reverse_path()
        && stored.forward_paths() == [message.forward_path().as_str()];
    (envelope && stored.message == message.text()).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_follows_from_its_number() {
        for number in 0..50 {
            let text = MessageId(number).text();
            assert_eq!(text, MessageId(number).text());
            assert_eq!(MessageId::of(&text), Some(MessageId(number)));
            assert!(text.ends_with(b"\r\n"));
            assert_eq!(crate::conversation::with_crlf(&text), text, "no lone CR or LF");
        }
    }
}
