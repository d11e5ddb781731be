//! Plays the dialogues of `tests/transcripts/*.smtp` through a session, lockstep and cut in every way.
//!
//! ```text
//! # words for the reader                        | anywhere
//! @ recipients ann@example.org                  | settings, before the first line of the dialogue
//! S: 220 mx.example.org ESMTP mailrace          | a reply line, without its CR LF
//! C: NOOP                                       | sent with CR LF; \r \n \t \0 \\ \xNN mean what they do in C
//! c: NOOP\n                                     | sent as it stands, without CR LF
//! C*2100: a                                     | the text so many times, then CR LF (c*: without)
//! M: sender@example.net -> ann@example.org      | the envelope of the message just submitted
//! m: Subject: a test                            | a line of its text, all of them in order; escapes as above
//! X: closed                                     | the session has ended
//! ```
//!
//! Settings: `domain`, `recipients` (one address each), `max-message-size`, `max-recipients`, `max-bad-commands`,
//! `bare-lf keep`. Each stored message is answered as if it stood at 4096, 8192, ... of partition 0.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use mailrace::message::{Lsn, Message, Outcome, Partition, Receipt};
use mailrace::policy::{Limits, Recipients};
use mailrace::smtp::{BareLf, ReplyBuffer, Session, SessionOptions, Step, reply};

/// A dialogue taken from its file.
struct Transcript {
    options: Arc<SessionOptions>,
    /// What is sent in one go, and everything that is answered to it.
    turns: Vec<(Vec<u8>, Vec<u8>)>,
    messages: Vec<Expected>,
    ends_closed: bool,
}

#[derive(Debug, PartialEq, Default)]
struct Expected {
    envelope: String,
    text: Vec<u8>,
}

/// A session with the driver's part: input kept until it is eaten, outcomes answered at once.
struct Player {
    session: Session,
    waiting: Vec<u8>,
    replies: ReplyBuffer,
    answered: Vec<u8>,
    messages: Vec<Expected>,
    closed: bool,
}

impl Player {
    fn new(options: &Arc<SessionOptions>) -> Self {
        let peer = "192.0.2.9:4025".parse().expect("an address");
        let session = Session::new(options.clone(), peer, None);
        let mut replies = ReplyBuffer::new();
        session.greet(&mut replies);
        let (waiting, answered, messages) = Default::default();
        let mut player = Self { session, waiting, replies, answered, messages, closed: false };
        player.take_replies();
        player
    }

    fn take_replies(&mut self) {
        let replies = self.replies.take();
        self.answered.extend_from_slice(&replies);
    }

    fn send(&mut self, octets: &[u8]) {
        self.waiting.extend_from_slice(octets);
        let mut input = Bytes::from(std::mem::take(&mut self.waiting));
        loop {
            let step = self.session.step(&mut input, &mut self.replies);
            self.take_replies();
            match step {
                Step::NeedInput => break,
                Step::Flush => {}
                Step::Submit(message) => self.store(&message),
                Step::Close => {
                    self.closed = true;
                    break;
                }
            }
        }
        assert!(self.closed || input.len() <= 2048, "no more than a command line waits");
        self.session.settle();
        self.waiting = input.to_vec();
    }

    fn store(&mut self, message: &Message) {
        let to: Vec<_> = message.envelope.forward_paths().map(String::from_utf8_lossy).collect();
        let from = String::from_utf8_lossy(message.envelope.reverse_path()).into_owned();
        let envelope = format!("{from} -> {}", to.join(" "));
        self.messages.push(Expected { envelope, text: message.body.to_vec() });
        let lsn = Lsn(4096 * self.messages.len() as u64);
        let outcome = Outcome::Stored(Receipt { partition: Partition(0), lsn });
        self.answered.extend_from_slice(reply::of_outcome(outcome).as_bytes());
    }
}

/// The octets of a line as it is written in a transcript.
fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            octets.push(*first);
            continue;
        }
        let (octet, used) = match rest {
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'0', ..] => (0, 1),
            [b'\\', ..] => (b'\\', 1),
            [b'x', high, low, ..] => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("two hexadecimal digits");
                (u8::from_str_radix(digits, 16).expect("two hexadecimal digits"), 3)
            }
            _ => panic!("an unknown escape in {text:?}"),
        };
        octets.push(octet);
        rest = &rest[used..];
    }
    octets
}

fn sent(mark: &str, text: &str) -> Option<Vec<u8>> {
    let (kind, times) = match mark.split_once('*') {
        Some((kind, times)) => (kind, times.parse().expect("how many times")),
        None => (mark, 1),
    };
    let mut octets = unescape(text).repeat(times);
    match kind {
        "C" => octets.extend_from_slice(b"\r\n"),
        "c" => {}
        _ => return None,
    }
    Some(octets)
}

#[derive(Default)]
struct Settings {
    domains: Vec<String>,
    recipients: Option<String>,
    subaddress: Option<u8>,
    limits: Limits,
    bare_lf: BareLf,
}

impl Settings {
    fn set(&mut self, line: &str) {
        let (name, value) = line.split_once(' ').expect("a setting has a name and a value");
        let number = || value.parse().expect("a number");
        match name {
            "domain" => self.domains.push(value.to_owned()),
            "recipients" => *self.recipients.get_or_insert_default() += &format!("{value}\n"),
            "max-message-size" => self.limits.message_size_max = number(),
            "max-recipients" => self.limits.recipients_max = number(),
            "max-bad-commands" => self.limits.bad_commands_max = value.parse().expect("a number"),
            "subaddress" => self.subaddress = value.bytes().next(),
            "bare-lf" => self.bare_lf = BareLf::Keep,
            _ => panic!("no setting is called {name}"),
        }
    }

    fn options(&self) -> Arc<SessionOptions> {
        let domains = self.domains.iter().map(String::as_str);
        let recipients = Recipients::listed(domains, self.recipients.as_deref()).expect("good recipients");
        let recipients = recipients.with_subaddress(self.subaddress);
        Arc::new(SessionOptions::new("mx.example.org", self.limits.clone(), recipients, self.bare_lf))
    }
}

impl Transcript {
    fn read(path: &Path) -> Self {
        let written = fs::read_to_string(path).expect("a readable transcript");
        let mut settings = Settings::default();
        let mut turns: Vec<(Vec<u8>, Vec<u8>)> = vec![Default::default()];
        let mut messages: Vec<Expected> = Vec::new();
        let mut ends_closed = false;
        for line in written.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(setting) = line.strip_prefix("@ ") {
                settings.set(setting);
                continue;
            }
            let (mark, text) = line.split_once(':').unwrap_or_else(|| panic!("{path:?}: {line:?}"));
            let text = text.strip_prefix(' ').unwrap_or(text);
            let last = turns.last_mut().expect("there is always a turn");
            match mark {
                "S" => last.1.extend_from_slice(format!("{text}\r\n").as_bytes()),
                "M" => messages.push(Expected { envelope: text.to_owned(), text: Vec::new() }),
                "m" => {
                    let message = messages.last_mut().expect("M: stands before m:");
                    message.text.extend([unescape(text), b"\r\n".to_vec()].concat());
                }
                "X" => ends_closed = true,
                _ => {
                    let octets = sent(mark, text).unwrap_or_else(|| panic!("{path:?}: {line:?}"));
                    match last.1.is_empty() {
                        true => last.0.extend(octets),
                        false => turns.push((octets, Vec::new())),
                    }
                }
            }
        }
        Self { options: settings.options(), turns, messages, ends_closed }
    }

    fn client(&self) -> Vec<u8> {
        self.turns.iter().flat_map(|(sent, _)| sent.clone()).collect()
    }

    fn server(&self) -> String {
        let answered: Vec<u8> = self.turns.iter().flat_map(|(_, answered)| answered.clone()).collect();
        String::from_utf8_lossy(&answered).into_owned()
    }

    /// Plays the client's octets in `pieces`, and holds everything that comes back against the transcript.
    fn play<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>, how: &str) {
        let mut player = Player::new(&self.options);
        for piece in pieces {
            player.send(piece);
        }
        assert_eq!(String::from_utf8_lossy(&player.answered), self.server(), "{how}");
        assert_eq!(player.messages, self.messages, "{how}");
        assert_eq!(player.closed, self.ends_closed, "{how}");
    }
}

fn transcripts() -> Vec<(PathBuf, Transcript)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = fs::read_dir(folder).expect("the folder of transcripts");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "the transcripts are there");
    paths.into_iter().map(|path| (path.clone(), Transcript::read(&path))).collect()
}

#[test]
fn every_transcript_is_answered_line_by_line() {
    for (path, transcript) in transcripts() {
        let name = path.display();
        let mut player = Player::new(&transcript.options);
        for (turn, (sent, expected)) in transcript.turns.iter().enumerate() {
            player.send(sent);
            let answered = std::mem::take(&mut player.answered);
            let (answered, expected) =
                (String::from_utf8_lossy(&answered), String::from_utf8_lossy(expected));
            assert_eq!(answered, expected, "{name}: turn {turn}, to {}", sent.escape_ascii());
        }
        assert_eq!(player.messages, transcript.messages, "{name}");
        assert_eq!(player.closed, transcript.ends_closed, "{name}");
    }
}

#[test]
fn every_transcript_cut_at_any_octet_gives_the_same_replies_and_messages() {
    for (path, transcript) in transcripts() {
        let client = transcript.client();
        transcript.play([&client[..]], &format!("{}: all at once", path.display()));
        transcript.play(client.chunks(1), &format!("{}: octet by octet", path.display()));
        for cut in 0..client.len() {
            let (first, second) = client.split_at(cut);
            transcript.play([first, second], &format!("{}: cut at {cut}", path.display()));
        }
    }
}

#[test]
fn every_reply_line_is_short_and_printable() {
    for (path, transcript) in transcripts() {
        let mut player = Player::new(&transcript.options);
        player.send(&transcript.client());
        for line in player.answered.split_inclusive(|octet| *octet == b'\n') {
            let text = line.strip_suffix(b"\r\n").expect("a reply ends with CR LF");
            assert!(line.len() <= reply::LINE_LEN_MAX, "{}: {} octets", path.display(), line.len());
            assert!(text.iter().all(|octet| *octet >= b' ' && *octet != 0x7f), "{}", text.escape_ascii());
        }
    }
}
