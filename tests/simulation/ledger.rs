//! What clients sent, what they were told, what readers saw; and what must hold between the three.
//!
//! - A message answered 250 is in the log from that moment on, byte for byte, under its receipt, until the end.
//! - Each record is a message that some client sent completely: not split, merged, altered, or stored twice.
//! - A message that was refused for what it is, or whose transaction was dropped, is in no record.
//! - At the moment of a 250 in mode `sync`, a power cut would not take the record away.
//! - After the log has failed, no 250 is given for anything above its end: the durable one, in mode `os` the written one.
//! - A position is never given to two messages, and positions rise.
//! - A record that was shown from a running server's log is never gone again.

use std::collections::BTreeMap;

use mailrace::log::{Damage, Record};
use mailrace::message::Receipt;

use crate::mail::{Flaw, Text};

/// One message as its client knows it.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) text: Vec<u8>,
    pub(crate) flaw: Flaw,
    pub(crate) forward_paths: Vec<String>,
    /// Its end of data has been delivered to the server.
    pub(crate) complete: bool,
    pub(crate) receipt: Option<Receipt>,
    pub(crate) refused: bool,
    /// A running server's log has shown it.
    shown: bool,
    /// It was stored in mode `os` when the power went: nothing was promised.
    forgiven: bool,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    messages: Vec<Sent>,
    /// Which message stands at a position, as told by replies and readers.
    positions: BTreeMap<u64, usize>,
    /// Nothing above this may be acknowledged: the log has failed there.
    pub(crate) failed_at: Option<u64>,
    /// The disk has done more than lose what was not synced: damage may be reported, and what was never answered
    /// 250 may vanish though it was shown.
    damage_allowed: bool,
}

impl Ledger {
    /// Notes a message that a client is about to send, and gives its number.
    pub(crate) fn send(&mut self, text: &Text, forward_paths: Vec<String>) -> usize {
        self.messages.push(Sent {
            text: text.text.clone(),
            flaw: text.flaw,
            forward_paths,
            complete: false,
            receipt: None,
            refused: false,
            shown: false,
            forgiven: false,
        });
        self.messages.len() - 1
    }

    /// The number the next message will have.
    pub(crate) fn next_index(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn message(&self, index: usize) -> &Sent {
        &self.messages[index]
    }

    pub(crate) fn complete(&mut self, index: usize) {
        self.messages[index].complete = true;
    }

    /// A client has read its 250.
    pub(crate) fn accept(&mut self, index: usize, receipt: Receipt) {
        if let Some(end) = self.failed_at {
            assert!(receipt.lsn.0 < end, "message {index}: 250 for {receipt} though the log failed at {end}");
        }
        self.note_position(index, receipt.lsn.0);
        let message = &mut self.messages[index];
        assert!(message.complete, "message {index}: 250 before it was sent");
        assert!(!message.refused && message.receipt.is_none(), "message {index}: a second final reply");
        message.receipt = Some(receipt);
    }

    /// A client has read a refusal.
    pub(crate) fn refuse(&mut self, index: usize) {
        let message = &mut self.messages[index];
        assert!(!message.refused && message.receipt.is_none(), "message {index}: a second final reply");
        message.refused = true;
    }

    /// Holds a record that a reader was shown against what was sent; gives the message's number.
    pub(crate) fn check_record(&mut self, record: &Record, keeps_bare_line_ends: bool) -> usize {
        let sender = String::from_utf8_lossy(record.envelope.reverse_path()).into_owned();
        let index = sender.strip_prefix('m').and_then(|rest| rest.strip_suffix("@client.example"));
        let index: usize = index.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| {
            panic!("a record of {sender}, who sent nothing: {}", record.body.escape_ascii())
        });
        assert!(index < self.messages.len(), "a record of message {index}, which was never sent");
        self.note_position(index, record.receipt.lsn.0);
        let message = &mut self.messages[index];
        assert!(message.complete, "message {index}: a record though its end was never delivered");
        let allowed = match message.flaw {
            Flaw::None => true,
            Flaw::BareLineEnd => keeps_bare_line_ends,
            Flaw::TooLarge => false,
        };
        assert!(allowed, "message {index}: stored in spite of {:?}", message.flaw);
        assert!(
            record.body == message.text,
            "message {index} was altered: sent {}, stored {}",
            message.text.escape_ascii(),
            record.body.escape_ascii()
        );
        let paths: Vec<_> = record.envelope.forward_paths().map(String::from_utf8_lossy).collect();
        assert_eq!(paths, message.forward_paths, "message {index}: its recipients");
        if let Some(receipt) = message.receipt {
            assert_eq!(receipt, record.receipt, "message {index}: its receipt");
        }
        index
    }

    /// A running server's log has shown this message: it will be there for ever.
    pub(crate) fn shown(&mut self, index: usize) {
        self.messages[index].shown = true;
    }

    /// Holds the whole log, as it was just read, against what was promised.
    pub(crate) fn check_log(&self, found: &[usize]) {
        let mut there = vec![false; self.messages.len()];
        for index in found {
            assert!(!there[*index], "message {index} is in the log twice");
            there[*index] = true;
        }
        for (index, message) in self.messages.iter().enumerate().filter(|(_, message)| !message.forgiven) {
            assert!(
                there[index] || message.receipt.is_none(),
                "message {index} was answered 250 and is gone"
            );
            let must_stay = message.shown && !self.damage_allowed;
            assert!(there[index] || !must_stay, "message {index} was shown to a reader and is gone");
        }
    }

    /// Damage may be reported only where the disk did more than lose what was not synced.
    pub(crate) fn check_damage(&self, damage: &Damage) {
        assert!(self.damage_allowed, "damage without cause: {damage}");
    }

    /// A sync has failed, and the kernel forgot what it had not written.
    pub(crate) fn allow_damage(&mut self) {
        self.damage_allowed = true;
    }

    /// The power went in mode `os`: what is stored so far need not be there.
    pub(crate) fn forgive_losses(&mut self) {
        self.damage_allowed = true;
        self.messages.iter_mut().for_each(|message| message.forgiven = true);
    }

    /// The highest position known; the next life begins behind it.
    pub(crate) fn position_max(&self) -> Option<u64> {
        self.positions.last_key_value().map(|(position, _)| *position)
    }

    fn note_position(&mut self, index: usize, position: u64) {
        let owner = *self.positions.entry(position).or_insert(index);
        assert_eq!(owner, index, "position {position} was given to two messages");
    }
}
