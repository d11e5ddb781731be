//! One client's dialogue as the sink sees it, without I/O: octets in, replies out, and what follows from them.

use std::time::Duration;

use fastrand::Rng;

use super::fault::{Draw, Faults};
use crate::load::session::Stage;

/// The end of data, found even where the text before it is empty.
const END_OF_DATA: &[u8] = b"\r\n.\r\n";

/// What is to be done about the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Then {
    /// Answer, and read on.
    #[default]
    GoOn,
    /// Answer after this time, and read on only then.
    Wait(Duration),
    /// Answer and close.
    Close,
    /// Close without an answer to what came last.
    Reset,
}

/// What came of what was received last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Messages answered 250.
    pub(super) accepted: u64,
    /// Replies drawn to be refusals.
    pub(super) refusals: u64,
    pub(super) then: Then,
}

/// A dialogue.
#[derive(Debug)]
pub(super) struct SinkSession {
    /// What is not yet looked at: an unfinished command line, in data the last octets of the text, which may begin
    /// its end, and all that stands behind an end of data whose reply waits.
    held: Vec<u8>,
    in_data: bool,
    transaction: Transaction,
    rng: Rng,
    done: Done,
}

/// What of the envelope was refused; without faults nothing is, and any order of commands is taken.
#[derive(Clone, Copy, Debug, Default)]
struct Transaction {
    is_mail_refused: bool,
    is_recipient_refused: bool,
    has_recipient: bool,
}

impl SinkSession {
    /// A session that draws its faults from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            held: Vec::new(),
            in_data: false,
            transaction: Transaction::default(),
            rng: Rng::with_seed(seed),
            done: Done::default(),
        }
    }

    /// Pushes the greeting.
    pub(super) fn greet(&mut self, faults: &Faults, replies: &mut Vec<u8>) {
        self.answer(Stage::Greeting, b"220 sink\r\n", faults, replies);
        if self.done.refusals > 0 {
            self.done.then = Then::Close;
        }
    }

    /// What came of everything since the last call.
    pub(super) fn done(&mut self) -> Done {
        std::mem::take(&mut self.done)
    }

    /// Takes what was received and pushes the replies to it.
    pub(super) fn take(&mut self, received: &[u8], faults: &Faults, replies: &mut Vec<u8>) {
        let joined;
        let mut input = received;
        if !self.held.is_empty() {
            self.held.extend_from_slice(received);
            joined = std::mem::take(&mut self.held);
            input = &joined;
        }
        while !input.is_empty() {
            if self.done.then != Then::GoOn {
                self.held.extend_from_slice(input);
                break;
            }
            if self.in_data {
                let Some(end) = memchr::memmem::find(input, END_OF_DATA) else {
                    self.held.extend_from_slice(&input[input.len().saturating_sub(END_OF_DATA.len() - 1)..]);
                    break;
                };
                input = &input[end + END_OF_DATA.len()..];
                self.end_of_data(faults, replies);
            } else {
                let Some(end) = memchr::memchr(b'\n', input) else {
                    self.held.extend_from_slice(input);
                    break;
                };
                self.command(&input[..end], faults, replies);
                // The CR LF of the DATA line also begins the end of an empty text, so in data it is looked at again.
                input = &input[if self.in_data { end - 1 } else { end + 1 }..];
            }
        }
    }

    fn end_of_data(&mut self, faults: &Faults, replies: &mut Vec<u8>) {
        self.in_data = false;
        self.transaction = Transaction::default();
        if self.answer(Stage::Body, b"250 2.0.0 discarded\r\n", faults, replies) {
            self.done.accepted += 1;
        }
        if self.done.then == Then::GoOn
            && let Some(delay) = faults.draw_delay(&mut self.rng)
        {
            self.done.then = Then::Wait(delay);
        }
    }

    fn command(&mut self, line: &[u8], faults: &Faults, replies: &mut Vec<u8>) {
        const OK: &[u8] = b"250 2.0.0 ok\r\n";
        const BAD_SEQUENCE: &[u8] = b"503 5.5.1 not now\r\n";
        let verb = line.get(..4).unwrap_or(line).to_ascii_uppercase();
        match &verb[..] {
            b"EHLO" => {
                self.answer(Stage::Hello, b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n", faults, replies);
            }
            b"HELO" => {
                self.answer(Stage::Hello, OK, faults, replies);
            }
            b"MAIL" => {
                let is_mail_refused = !self.answer(Stage::Mail, OK, faults, replies);
                self.transaction = Transaction { is_mail_refused, ..Transaction::default() };
            }
            b"RCPT" if !self.transaction.is_mail_refused => {
                let is_taken = self.answer(Stage::Recipient, OK, faults, replies);
                self.transaction.has_recipient |= is_taken;
                self.transaction.is_recipient_refused |= !is_taken;
            }
            b"DATA" if line.ends_with(b"\r") && self.transaction.may_begin() => {
                self.in_data = self.answer(Stage::Data, b"354 go on\r\n", faults, replies);
            }
            b"DATA" | b"RCPT" => replies.extend_from_slice(BAD_SEQUENCE),
            b"RSET" => {
                self.transaction = Transaction::default();
                replies.extend_from_slice(OK);
            }
            b"NOOP" => replies.extend_from_slice(OK),
            b"QUIT" => {
                self.done.then = Then::Close;
                replies.extend_from_slice(b"221 2.0.0 bye\r\n");
            }
            _ => replies.extend_from_slice(b"500 5.5.2 what?\r\n"),
        }
    }

    /// Pushes `reply`, or what the faults make of it; whether it is `reply`.
    fn answer(&mut self, stage: Stage, reply: &[u8], faults: &Faults, replies: &mut Vec<u8>) -> bool {
        match faults.draw(stage, &mut self.rng) {
            Draw::AsItShould => {
                replies.extend_from_slice(reply);
                return true;
            }
            Draw::Refuse(code) => {
                self.done.refusals += 1;
                replies.extend_from_slice(format!("{code} {}.0.0 drawn\r\n", code / 100).as_bytes());
                if code == 421 {
                    self.done.then = Then::Close;
                }
            }
            Draw::Reset => self.done.then = Then::Reset,
        }
        false
    }
}

impl Transaction {
    fn may_begin(self) -> bool {
        !self.is_mail_refused && (self.has_recipient || !self.is_recipient_refused)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::{Delay, Refusal};
    use super::*;

    const CLIENT: &[u8] =
        b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\nx\r\n..\r\n.\r\nDATA\r\n.\r\nQUIT\r\n";

    fn replies(chunks: &[&[u8]], faults: &Faults) -> (Done, String) {
        let mut session = SinkSession::new(0);
        let mut replies = Vec::new();
        for chunk in chunks {
            session.take(chunk, faults, &mut replies);
        }
        (session.done(), String::from_utf8(replies).expect("ASCII"))
    }

    #[test]
    fn a_session_is_answered_the_same_wherever_it_is_cut() {
        let faults = Faults::default();
        let (done, whole) = replies(&[CLIENT], &faults);
        assert_eq!(done, Done { accepted: 2, refusals: 0, then: Then::Close });
        assert!(whole.ends_with("354 go on\r\n250 2.0.0 discarded\r\n221 2.0.0 bye\r\n"), "{whole}");
        for cut in 0..CLIENT.len() {
            let (front, back) = CLIENT.split_at(cut);
            assert_eq!(replies(&[front, back], &faults), (done, whole.clone()), "cut at {cut}");
        }
    }

    #[test]
    fn after_a_refused_recipient_there_is_no_data() {
        let refusals = vec![Refusal { stage: Stage::Recipient, code: 450, per_mille: 1000 }];
        let faults = Faults { refusals, ..Faults::default() };
        let (done, said) = replies(&[b"MAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\nRSET\r\n"], &faults);
        assert_eq!((done.refusals, done.then), (1, Then::GoOn));
        assert!(said.ends_with("450 4.0.0 drawn\r\n503 5.5.1 not now\r\n250 2.0.0 ok\r\n"), "{said}");
    }

    #[test]
    fn what_stands_behind_a_late_reply_waits_with_it() {
        let time = Duration::from_millis(3);
        let faults = Faults { delay: Some(Delay { from: time, to: time }), ..Faults::default() };
        let mut session = SinkSession::new(0);
        let mut replies = Vec::new();
        session.take(CLIENT, &faults, &mut replies);
        assert_eq!(session.done(), Done { accepted: 1, refusals: 0, then: Then::Wait(time) });
        assert!(replies.ends_with(b"250 2.0.0 discarded\r\n"));
        session.take(b"", &faults, &mut replies);
        assert_eq!(session.done().then, Then::Wait(time));
        session.take(b"", &faults, &mut replies);
        assert_eq!(session.done().then, Then::Close);
    }
}
