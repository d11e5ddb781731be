//! The ledger of a load: one line for each message that was answered 250.
//!
//! ```text
//! 00f3a1b2c3d4e5f6-000000000042 <TAB> SHA-256 of the text, in hexadecimal <TAB> 250 2.0.0 stored 0@4096
//! ```
//! The id stands in the last line of the message and is its own: a number drawn for the run and the message's number
//! in it. The text is hashed as a reader will see it: id line included, dots unstuffed.
//!
//! The last line and not the first, because texts are the same for many messages: what stands before the id is hashed
//! once for each text and not for each message. That took more than half of a ledger's processor time, though SHA-256
//! runs on the processor's own instructions where it has them.
//!
//! Lines reach the file in one write(2) for each turn of the load's loop, whole, and a run ends with an fsync. So a
//! load that is killed has written all its 250s but those of its last turn, and a server that is killed none too
//! few. It says nothing about a power cut on the machine the load runs on.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Octets of a message's id.
pub const ID_LEN: usize = 29;
/// What stands before the id in a message.
const ID_LINE_START: &[u8] = b"X-Mailrace-Bench-Id: ";
/// Octets of the line that holds the id, CR LF included.
pub const ID_LINE_LEN: usize = ID_LINE_START.len() + ID_LEN + 2;
/// Octets of a reply that are kept.
const REPLY_LEN_MAX: usize = 200;

/// The line that makes a message its own, and ends it.
pub type IdLine = [u8; ID_LINE_LEN];

/// The id line of message `number` of the run `run`.
pub fn id_line(run: u64, number: u64) -> IdLine {
    let mut line = [0; ID_LINE_LEN];
    let mut rest = &mut line[..];
    let written = write!(rest, "X-Mailrace-Bench-Id: {run:016x}-{number:012}\r\n");
    assert!(written.is_ok() && rest.is_empty(), "message numbers have at most 12 digits");
    line
}

/// The id in a message, when it ends with one.
pub fn id_of(message: &[u8]) -> Option<&str> {
    let line = &message[message.len().checked_sub(ID_LINE_LEN)?..];
    let id = line.strip_prefix(ID_LINE_START)?.strip_suffix(b"\r\n")?;
    let is_id = id.iter().all(|octet| octet.is_ascii_hexdigit() || *octet == b'-');
    is_id.then(|| std::str::from_utf8(id).ok()).flatten()
}

/// A hash of a message text.
pub type Hash = [u8; 32];

/// The SHA-256 of a message.
pub fn hash(message: &[u8]) -> Hash {
    Prefix::new(message).with(&[])
}

/// A text whose hash is to be taken again and again, with different ends.
#[derive(Clone, Debug)]
pub struct Prefix(Sha256);

impl Prefix {
    /// Looks at `text` once.
    pub fn new(text: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(text))
    }

    /// The SHA-256 of the text with `end` behind it.
    pub fn with(&self, end: &[u8]) -> Hash {
        self.0.clone().chain_update(end).finalize().into()
    }
}

/// Writes the lines of one thread of a run.
#[derive(Debug)]
pub struct LedgerWriter {
    path: PathBuf,
    file: File,
    lines: Vec<u8>,
    run: u64,
}

/// Makes an empty ledger at `path`.
///
/// # Errors
/// When there is a file already, which may be needed, or none can be made.
pub fn create(path: &Path) -> Result<()> {
    let made = File::create_new(path);
    made.map(drop).map_err(|e| Error::system(format!("make the ledger {}", path.display()), e))
}

impl LedgerWriter {
    /// Appends to the ledger at `path` the lines of the run `run`; several threads may do so.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, run: u64) -> Result<Self> {
        let file = File::options().append(true).open(path);
        let file = file.map_err(|e| Error::system(format!("open the ledger {}", path.display()), e))?;
        Ok(Self { path: path.to_owned(), file, lines: Vec::new(), run })
    }

    /// The id line of message `number` of this run.
    pub fn id_line(&self, number: u64) -> IdLine {
        id_line(self.run, number)
    }

    /// Notes that the message of `text` and `line` was answered 250 with `reply` behind the code.
    pub fn note(&mut self, text: &Prefix, line: &IdLine, reply: &[u8]) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.lines.extend_from_slice(&line[ID_LINE_START.len()..][..ID_LEN]);
        self.lines.push(b'\t');
        for octet in text.with(line) {
            self.lines.extend([HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
        }
        self.lines.extend_from_slice(b"\t250 ");
        let reply = &reply[..reply.len().min(REPLY_LEN_MAX)];
        self.lines.extend(reply.iter().map(|octet| if octet.is_ascii_control() { b' ' } else { *octet }));
        self.lines.push(b'\n');
    }

    /// Writes what was noted since the last time.
    ///
    /// # Errors
    /// When the file does not take it: the ledger is then short of these lines.
    pub fn flush(&mut self) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.lines);
        self.lines.clear();
        written.map_err(|e| Error::system(format!("write the ledger {}", self.path.display()), e))
    }

    /// Writes the rest and syncs the file.
    ///
    /// # Errors
    /// As [`LedgerWriter::flush`].
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.file.sync_all().map_err(|e| Error::system(format!("sync the ledger {}", self.path.display()), e))
    }
}

/// One line of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The message's id.
    pub id: String,
    /// Of its text as it was sent.
    pub hash: Hash,
    /// The reply after its end, with the code.
    pub reply: String,
}

/// All lines of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// In the order in which they were written.
    pub lines: Vec<Line>,
    /// Whether a last line without its end was left out.
    pub is_cut: bool,
}

/// Reads a whole ledger. A last line without its end is left out, and said to be: whoever wrote it was killed.
///
/// # Errors
/// When it cannot be read, holds no line, or another line is no ledger line; the line's number is named.
pub fn read(path: &Path) -> Result<Ledger> {
    let attempt = || format!("read the ledger {}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| Error::system(attempt(), e))?;
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let mut lines = Vec::new();
    for (index, line) in whole.lines().enumerate() {
        lines.push(parse(line).ok_or_else(|| {
            let what = format!("line {} is no line of a ledger", index + 1);
            Error::system(attempt(), std::io::Error::new(std::io::ErrorKind::InvalidData, what))
        })?);
    }
    if lines.is_empty() {
        let what = "it holds no line: nothing was acknowledged to the load that wrote it";
        return Err(Error::system(attempt(), std::io::Error::new(std::io::ErrorKind::InvalidData, what)));
    }
    Ok(Ledger { lines, is_cut: whole.len() < text.len() })
}

fn parse(line: &str) -> Option<Line> {
    let mut fields = line.splitn(3, '\t');
    let (id, hex, reply) = (fields.next()?, fields.next()?, fields.next()?);
    let mut hash = Hash::default();
    let is_whole = id.len() == ID_LEN && hex.len() == 2 * hash.len() && hex.is_ascii();
    if !is_whole {
        return None;
    }
    for (octet, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(Line { id: id.into(), hash, reply: reply.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_holds_the_id_that_is_found_in_the_message() {
        let message = [b"Subject: x\r\n\r\n", &id_line(0xab, 42)[..]].concat();
        assert_eq!(id_of(&message), Some("00000000000000ab-000000000042"));
        let cut = &message[..message.len() - 1];
        for other in [&b""[..], b"Subject: x\r\n", cut, &cut[cut.len() - ID_LINE_LEN..]] {
            assert_eq!(id_of(other), None);
        }
    }

    #[test]
    fn lines_are_read_as_they_were_written_and_a_cut_one_is_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ledger");
        create(&path).expect("a ledger");
        assert!(create(&path).is_err(), "a ledger is not written over");
        let mut writer = LedgerWriter::open(&path, 7).expect("a writer");
        for number in 0..2 {
            writer.note(&Prefix::new(b"text\r\n"), &writer.id_line(number), b"2.0.0 stored\t0@1");
        }
        writer.finish().expect("a whole ledger");
        let Ledger { lines, is_cut } = read(&path).expect("lines");
        assert!(!is_cut);
        let second = Line {
            id: "0000000000000007-000000000001".into(),
            hash: hash(&[b"text\r\n", &id_line(7, 1)[..]].concat()),
            reply: "250 2.0.0 stored 0@1".into(),
        };
        assert_eq!((lines.len(), &lines[1]), (2, &second));
        let whole = std::fs::read(&path).expect("the file");
        std::fs::write(&path, &whole[..whole.len() - 1]).expect("a cut file");
        let cut = read(&path).expect("lines");
        assert_eq!((cut.lines.len(), cut.is_cut), (1, true));
        std::fs::write(&path, &whole[..20]).expect("a file cut in its first line");
        assert!(read(&path).expect_err("no line").to_string().contains("holds no line"));
        std::fs::write(&path, "nonsense\n").expect("a file");
        assert!(read(&path).expect_err("no ledger").to_string().contains("line 1"));
    }
}
