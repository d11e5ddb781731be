//! What the messages of a run contain: one size, several sizes by weight, or the mail of a corpus.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::units::parse_size;

/// One size of a mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SizeShare {
    /// Octets of the text, headers included.
    pub size: usize,
    /// How often it is sent, against the sum of all weights.
    pub weight: u32,
}

/// What the messages of a run contain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Made-up text of the shape's size.
    #[default]
    OneSize,
    /// Made-up text of several sizes, chosen at random by weight.
    Sizes(Vec<SizeShare>),
    /// Every message of a corpus in turn.
    Corpus(Corpus),
}

/// Messages from files, their lines ended by CR LF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// Where they are from.
    pub source: PathBuf,
    /// Their texts, none empty.
    pub texts: Vec<Vec<u8>>,
}

/// Octets of all messages of a corpus together: they are held in memory, once or twice.
const CORPUS_LEN_MAX: u64 = 1 << 30;

/// Sizes from `4KiB`, or by weight from `1KiB:50,64KiB:45,1MiB:5`.
///
/// # Errors
/// Says what such a list looks like when `text` is none.
pub fn parse_sizes(text: &str) -> std::result::Result<Vec<SizeShare>, String> {
    text.split(',')
        .map(|part| {
            let (size, weight) = part.split_once(':').unwrap_or((part, "1"));
            let size = parse_size(size)?;
            if size < 2 {
                return Err(format!("`{part}`: a message has at least two octets, CR LF"));
            }
            let weight = weight.parse().ok().filter(|weight| *weight > 0).ok_or_else(|| {
                format!("`{part}`: write a size and its weight, a whole number above 0, like 64KiB:45")
            })?;
            Ok(SizeShare { size, weight })
        })
        .collect()
}

impl Corpus {
    /// Reads every `.eml` file of a directory in the order of their names, or an mbox file.
    ///
    /// # Errors
    /// When it cannot be read, holds no message, or more than a gibibyte.
    pub fn read(source: &Path) -> Result<Self> {
        let attempt = |path: &Path| format!("read the corpus {}", path.display());
        let invalid = |what: &str| {
            Error::system(attempt(source), std::io::Error::new(std::io::ErrorKind::InvalidData, what))
        };
        let mut len: u64 = 0;
        let mut read = |path: &Path| {
            len += std::fs::metadata(path).map_err(|e| Error::system(attempt(path), e))?.len();
            if len > CORPUS_LEN_MAX {
                return Err(invalid("it is larger than 1 GiB, which would have to be held in memory"));
            }
            std::fs::read(path).map_err(|e| Error::system(attempt(path), e))
        };
        let raw = if source.is_dir() {
            let files = eml_files(source).map_err(|e| Error::system(attempt(source), e))?;
            files.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?
        } else {
            messages_of_mbox(&read(source)?)
        };
        let texts: Vec<Vec<u8>> = raw.iter().filter(|m| !m.is_empty()).map(|m| with_crlf(m)).collect();
        if texts.is_empty() {
            return Err(invalid("it holds no message: name a directory of .eml files or an mbox file"));
        }
        Ok(Self { source: source.to_owned(), texts })
    }
}

fn eml_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("eml")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The messages between the "From " lines of an mbox (RFC 4155), quoted "From " lines unquoted the mboxrd way.
fn messages_of_mbox(mbox: &[u8]) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for line in mbox.split_inclusive(|octet| *octet == b'\n') {
        let quote_len = line.iter().take_while(|octet| **octet == b'>').count();
        let is_from = line[quote_len..].starts_with(b"From ");
        match messages.last_mut() {
            _ if is_from && quote_len == 0 => messages.push(Vec::new()),
            Some(message) => message.extend_from_slice(&line[usize::from(is_from)..]),
            // What stands before the first "From " line belongs to no message.
            None => {}
        }
    }
    for message in &mut messages {
        // The empty line before the next "From " line is the mailbox's.
        for end in [&b"\n\r\n"[..], b"\n\n"] {
            if message.ends_with(end) {
                message.truncate(message.len() - end.len() + 1);
                break;
            }
        }
    }
    messages
}

/// `message` with every line ended by CR LF, whether it ended with LF, CR or both before, or not at all.
fn with_crlf(message: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(message.len() + message.len() / 32 + 2);
    let mut rest = message;
    while !rest.is_empty() {
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        text.extend_from_slice(&rest[..end]);
        text.extend_from_slice(b"\r\n");
        let is_pair = rest[end..].starts_with(b"\r\n");
        rest = rest.get(end + 1 + usize::from(is_pair)..).unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_lists_have_weights_and_units() {
        let share = |size, weight| SizeShare { size, weight };
        assert_eq!(parse_sizes("4KiB"), Ok(vec![share(4096, 1)]));
        assert_eq!(parse_sizes("1KiB:50,1MiB:5"), Ok(vec![share(1024, 50), share(1 << 20, 5)]));
        for bad in ["", "4KiB:", "4KiB:0", "4KiB:x", "4096:1", "1KiB,,2KiB", "1B"] {
            assert!(parse_sizes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_mbox_is_cut_at_its_from_lines_and_unquoted() {
        let mbox =
            b"junk\nFrom a Thu\nSubject: 1\n\n>From here\n>>From there\n\nFrom b Fri\nSubject: 2\n\nx\n";
        let messages = messages_of_mbox(mbox);
        assert_eq!(messages, [&b"Subject: 1\n\nFrom here\n>From there\n"[..], b"Subject: 2\n\nx\n"]);
    }

    #[test]
    fn every_line_ends_with_cr_lf() {
        assert_eq!(with_crlf(b"a\nb\r\n\rc\n\n"), b"a\r\nb\r\n\r\nc\r\n\r\n");
        assert_eq!(with_crlf(b"a"), b"a\r\n");
        assert_eq!(with_crlf(b"a\r"), b"a\r\n");
    }

    #[test]
    fn a_corpus_is_read_in_the_order_of_names_and_may_not_be_empty() {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in [("b.eml", "2\n"), ("a.eml", "1\n"), ("c.txt", "3\n"), ("d.eml", "")] {
            std::fs::write(directory.path().join(name), text).expect("a file");
        }
        let corpus = Corpus::read(directory.path()).expect("a corpus");
        assert_eq!(corpus.texts, [b"1\r\n", b"2\r\n"]);
        for absent in ["c.txt", "nothing"] {
            let error = Corpus::read(&directory.path().join(absent)).expect_err("no corpus");
            assert!(error.to_string().contains(absent), "{error}");
        }
    }
}
