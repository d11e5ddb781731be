//! Pieces of mailrace's own work, each alone: what the micro benchmarks time and callgrind counts.
//!
//! Each goes through a door that production uses, with input laid out beforehand.

use std::io::{self, IoSlice};
use std::sync::Arc;

use ::mailrace::log::{Storage, StorageFile, Visibility, Writer, WriterOptions};
use ::mailrace::message::envelope::MailParameters;
use ::mailrace::message::{Body, EnvelopeBuilder, ForwardPath, Greeting, Lsn, Message, Partition, Timestamp};
use ::mailrace::policy::{Limits, Recipients, Verdict};
use ::mailrace::smtp::command::Command;
use ::mailrace::smtp::{BareLf, ReplyBuffer, Session, SessionOptions, Step};
use ::mailrace::wire::{DataEvent, DataScanner, Line, LineScanner};
use bytes::Bytes;

/// What the lines of a text look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// 80 octets each, as most mail.
    Plain,
    /// 80 octets each, a stuffed dot in front: the scanner's worst case but one.
    Dots,
    /// 80 octets each, ended by LF alone.
    BareLineEnds,
    /// Four octets each, CR LF included.
    ShortLines,
}

impl TextKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Dots, Self::BareLineEnds, Self::ShortLines];

    /// A text of about `len` octets with the end of data behind it.
    pub fn text(self, len: usize) -> Bytes {
        let letters = "abcdefghijklmnopqrstuvwxyz".repeat(3);
        let line = match self {
            Self::Plain => format!("{letters}\r\n"),
            Self::Dots => format!("..{}\r\n", &letters[2..]),
            Self::BareLineEnds => format!("{letters}a\n"),
            Self::ShortLines => "ab\r\n".to_owned(),
        };
        let text = line.repeat(len.div_ceil(line.len()));
        Bytes::from(text + "\r\n.\r\n")
    }
}

/// Scans a text to the end of data; octets of it, dots unstuffed.
///
/// # Panics
/// When `text` holds no end of data.
pub fn scan_text(text: &Bytes) -> usize {
    let (mut scanner, mut input, mut octets) = (DataScanner::new(), text.clone(), 0);
    loop {
        match scanner.next(&mut input) {
            DataEvent::Text(slice) => octets += slice.len(),
            DataEvent::End => return octets + usize::from(scanner.saw_bare_line_end()),
            DataEvent::NeedInput => panic!("the text has an end"),
        }
    }
}

/// Command lines as clients send them, one message's and the rest of a session.
pub const COMMAND_LINES: &[u8] = b"EHLO client.example.org\r\nMAIL FROM:<sender@example.org> SIZE=4096\r\n\
    RCPT TO:<first.recipient@example.net>\r\nrcpt to:<second@example.net>\r\nDATA\r\nRSET\r\nNOOP\r\nQUIT\r\n";

/// Splits [`COMMAND_LINES`] and takes each command apart; commands that mean something.
pub fn parse_commands(lines: &[u8]) -> usize {
    let (mut scanner, mut input, mut known) = (LineScanner::new(2048), lines, 0);
    while let Line::Complete { len } = scanner.next(input) {
        known += usize::from(Command::parse(&input[..len]) != Command::Unrecognized);
        input = &input[len + 2..];
    }
    known
}

/// A session that has said EHLO, and the octets of one message of 4 KiB to it.
#[derive(Debug)]
pub struct SessionWork {
    session: Session,
    replies: ReplyBuffer,
    message: Bytes,
}

impl SessionWork {
    /// The session is ready for its first message.
    pub fn new() -> Self {
        let options =
            SessionOptions::new("mx.bench.example", Limits::default(), Recipients::any(), BareLf::default());
        let peer = "192.0.2.9:4025".parse().expect("an address");
        let commands = b"MAIL FROM:<sender@example.org>\r\nRCPT TO:<recipient@example.net>\r\nDATA\r\n";
        let message = [&commands[..], &TextKind::Plain.text(4096)].concat().into();
        let mut work = Self {
            session: Session::new(Arc::new(options), peer, None),
            replies: ReplyBuffer::new(),
            message,
        };
        let step = work.session.step(&mut Bytes::from_static(b"EHLO a.example\r\n"), &mut work.replies);
        assert!(matches!(step, Step::NeedInput), "EHLO needs nothing but a reply: {step:?}");
        work
    }

    /// Octets the session eats for a message.
    pub fn message_len(&self) -> usize {
        self.message.len()
    }

    /// Receives one message.
    ///
    /// # Panics
    /// When the session does not submit it.
    pub fn receive(&mut self) -> Message {
        self.replies.clear();
        let mut input = self.message.clone();
        match self.session.step(&mut input, &mut self.replies) {
            Step::Submit(message) => message,
            other => panic!("a message is submitted, not {other:?}"),
        }
    }
}

impl Default for SessionWork {
    fn default() -> Self {
        Self::new()
    }
}

/// A list of `count` mailboxes, one a line, in a thousand domains.
pub fn recipient_list(count: usize) -> String {
    (0..count).map(|user| format!("first.last-{user}@domain-{}.example.org\n", user % 1000)).collect()
}

/// Reads a list of recipients as `serve` does.
///
/// # Panics
/// When a line of it is no mailbox.
pub fn load_recipients(list: &str) -> Recipients {
    Recipients::listed([], Some(list)).expect("a good list")
}

/// Asks for one recipient that is listed; true when it is taken.
///
/// # Panics
/// When `address` is none.
pub fn takes_recipient(recipients: &Recipients, address: &str) -> bool {
    let (path, _) = ForwardPath::parse(address.as_bytes()).expect("an address");
    recipients.verdict(&path) == Verdict::Accept
}

/// A log whose files keep nothing: what is left is the encoding of records and the writer's own book-keeping.
#[derive(Debug)]
pub struct EncodeWork {
    writer: Writer<Nowhere>,
    batch: Vec<Message>,
    lsns: Vec<Lsn>,
}

impl EncodeWork {
    /// Ready to append batches of `count` messages of 4 KiB.
    ///
    /// # Panics
    /// When the empty log does not open: nothing in it can fail.
    pub fn new(count: usize) -> Self {
        let options = WriterOptions {
            segment_size: 1 << 60, // never full
            partition: Partition::default(),
            visibility: Visibility::Durable,
            id_seed: 7,
        };
        let (writer, _) = Writer::open(Nowhere, options, Timestamp(1)).expect("nothing fails nowhere");
        Self { writer, batch: vec![message(); count], lsns: Vec::new() }
    }

    /// Appends one batch; the position of its last record.
    ///
    /// # Panics
    /// When the writer refuses it: nothing can fail.
    pub fn append(&mut self) -> Option<Lsn> {
        let appended = self.writer.append(self.batch.iter(), Timestamp(2), &mut self.lsns);
        appended.expect("nothing fails nowhere");
        self.lsns.last().copied()
    }
}

fn message() -> Message {
    let peer = "192.0.2.1:4025".parse().expect("an address");
    let session = EnvelopeBuilder::new(peer, None, Greeting::Ehlo, b"client.example");
    let mut envelope = session.transaction(b"sender@example.org", MailParameters::default());
    envelope.forward_path(b"recipient@example.net");
    Message { envelope: envelope.finish(), body: Body::from(&TextKind::Plain.text(4096)[..4096]) }
}

/// A data directory that takes everything and holds nothing.
#[derive(Clone, Debug)]
struct Nowhere;

impl Storage for Nowhere {
    type File = Self;
    type Lock = ();

    fn lock(&self) -> io::Result<()> {
        Ok(())
    }
    fn is_locked(&self) -> io::Result<bool> {
        Ok(true)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn create(&self, _: &str) -> io::Result<Self> {
        Ok(Self)
    }
    fn open(&self, _: &str) -> io::Result<Self> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn open_for_writing(&self, _: &str) -> io::Result<Self> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn make_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn free_space(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl StorageFile for Nowhere {
    fn write_at(&self, slices: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn truncate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_of_work_does_what_it_is_named_for() {
        for kind in TextKind::ALL {
            let text = kind.text(4096);
            let dots = if kind == TextKind::Dots { 4096_usize.div_ceil(80) } else { 0 };
            let bare = usize::from(kind == TextKind::BareLineEnds);
            assert_eq!(scan_text(&text), text.len() - b".\r\n".len() - dots + bare, "{kind:?}");
        }
        assert_eq!(parse_commands(COMMAND_LINES), 8);
        let mut session = SessionWork::new();
        assert!((4096..4300).contains(&session.receive().body.len()));
        assert!(session.receive().len() < session.message_len() + 200);
        let mut encode = EncodeWork::new(3);
        let (first, second) = (encode.append().expect("records"), encode.append().expect("records"));
        assert!((3 * 4096..3 * 4500).contains(&(second.0 - first.0)), "{first:?} {second:?}");
    }
}
