//! How a record is printed: as a JSON line, as a message of an mbox, as one line for a person.
//!
//! JSON holds Unicode text only, but what a client says may be any octets. So `helo`, `reverse_path` and
//! `forward_paths` are always text, with U+FFFD where octets are not UTF-8; when that happened, a second member of
//! the same name with `_base64` behind it holds the octets themselves (for `forward_paths` a list of all of them).

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::write::EncoderWriter;
use clap::ValueEnum;

use super::screen::{ASIDE, Colours, RECEIPT};
use crate::log::{Head, Record};
use crate::message::Timestamp;

/// One JSON object and a line feed.
fn write_jsonl(record: &Record, output: &mut dyn Write) -> io::Result<()> {
    let envelope = &record.envelope;
    let helo = envelope.greeting().1;
    let reverse_path = envelope.reverse_path();
    let forward_paths: Vec<&[u8]> = envelope.forward_paths().collect();
    write!(output, r#"{{"offset":{},"#, record.receipt.lsn)?;
    member(output, "receipt", &record.receipt.to_string())?;
    member(output, "received_at", &rfc3339(record.received_at))?;
    member(output, "peer", &envelope.peer().to_string())?;
    member(output, "helo", &text(helo))?;
    if is_lossy(helo) {
        member(output, "helo_base64", &BASE64.encode(helo))?;
    }
    member(output, "reverse_path", &text(reverse_path))?;
    if is_lossy(reverse_path) {
        member(output, "reverse_path_base64", &BASE64.encode(reverse_path))?;
    }
    list(output, "forward_paths", forward_paths.iter().map(|path| text(path)))?;
    if forward_paths.iter().any(|path| is_lossy(path)) {
        list(output, "forward_paths_base64", forward_paths.iter().map(|path| BASE64.encode(path).into()))?;
    }
    write!(output, r#""size":{},"message_base64":""#, record.body.len())?;
    let mut encoder = EncoderWriter::new(&mut *output, &BASE64);
    encoder.write_all(&record.body)?;
    encoder.finish()?;
    drop(encoder);
    output.write_all(b"\"}\n")
}

fn member(output: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    write!(output, "\"{name}\":")?;
    serde_json::to_writer(&mut *output, value)?;
    output.write_all(b",")
}

fn list<'a>(
    output: &mut dyn Write,
    name: &str,
    values: impl Iterator<Item = Cow<'a, str>>,
) -> io::Result<()> {
    write!(output, "\"{name}\":[")?;
    for (index, value) in values.enumerate() {
        if index > 0 {
            output.write_all(b",")?;
        }
        serde_json::to_writer(&mut *output, &value)?;
    }
    output.write_all(b"],")
}

fn text(octets: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(octets)
}

fn is_lossy(octets: &[u8]) -> bool {
    std::str::from_utf8(octets).is_err()
}

/// RFC 3339, UTC, with all six digits of the microseconds. Times past the year 9999 are shown as its end.
pub(super) fn rfc3339(time: Timestamp) -> String {
    format!("{:.6}", civil(time))
}

fn civil(time: Timestamp) -> jiff::Timestamp {
    i64::try_from(time.0)
        .ok()
        .and_then(|microseconds| jiff::Timestamp::from_microsecond(microseconds).ok())
        .unwrap_or(jiff::Timestamp::MAX)
}

/// One message of an mbox: a separator line with sender and time, the text with every line of `>`s and `From `
/// given one `>` more, an empty line. CR LF becomes LF, as programs that read an mbox on Unix expect; `get` and
/// `jsonl` give the octets as they were.
fn write_mboxrd(record: &Record, output: &mut dyn Write) -> io::Result<()> {
    output.write_all(b"From ")?;
    match record.envelope.reverse_path() {
        b"" => output.write_all(b"MAILER-DAEMON")?,
        // Readers take the sender to end at the first blank.
        path => path
            .iter()
            .try_for_each(|octet| output.write_all(&[if *octet == b' ' { b'_' } else { *octet }]))?,
    }
    let time = civil(record.received_at);
    writeln!(output, " {}", time.strftime("%a %b %e %H:%M:%S %Y"))?;
    for line in record.body.split_inclusive(|octet| *octet == b'\n') {
        let unquoted = line.iter().position(|octet| *octet != b'>').map_or(&b""[..], |at| &line[at..]);
        if unquoted.starts_with(b"From ") {
            output.write_all(b">")?;
        }
        match line {
            [text @ .., b'\r', b'\n'] => [text, b"\n"],
            [text @ .., b'\n'] => [text, b"\n"],
            text => [text, b"\n"],
        }
        .iter()
        .try_for_each(|part| output.write_all(part))?;
    }
    output.write_all(b"\n")
}

/// One line: receipt, time, octets, who to whom. Octets that could drive a terminal are escaped.
pub(super) fn write_summary(head: &Head, colours: Colours, output: &mut dyn Write) -> io::Result<()> {
    let envelope = &head.envelope;
    let recipients: Vec<String> = envelope.forward_paths().map(printable).collect();
    writeln!(
        output,
        "{}  {}  {:>9}  <{}> -> <{}>",
        colours.paint(RECEIPT, head.receipt),
        colours.paint(ASIDE, rfc3339(head.received_at)),
        head.body_len,
        printable(envelope.reverse_path()),
        recipients.join(">, <"),
    )
}

/// How messages are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line, the message in base64: nothing is lost.
    Jsonl,
    /// One mailbox file, "From " lines quoted the mboxrd way.
    Mboxrd,
    /// One line a message: receipt, time, size, addresses.
    Summary,
}

impl Format {
    /// Prints one message.
    pub(super) fn write(self, record: &Record, colours: Colours, output: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Jsonl => write_jsonl(record, output),
            Self::Mboxrd => write_mboxrd(record, output),
            Self::Summary => write_summary(&record.head(), colours, output),
        }
    }
}

/// Text as it is, everything else as `\xHH`.
pub(super) fn printable(octets: &[u8]) -> String {
    let mut printable = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || is_unseen(character) {
                printable.extend(character.escape_default());
            } else {
                printable.push(character);
            }
        }
        printable.extend(chunk.invalid().iter().map(|octet| format!("\\x{octet:02x}")));
    }
    printable
}

/// Characters that change the order of the text around them, or show nothing.
fn is_unseen(character: char) -> bool {
    matches!(character, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::envelope::MailParameters;
    use crate::message::{EnvelopeBuilder, Greeting, Lsn, Partition, Receipt};
    use bytes::Bytes;

    fn record(sender: &[u8], recipients: &[&[u8]], body: &'static [u8]) -> Record {
        let peer = "[2001:db8::1]:4025".parse().expect("an address");
        let session = EnvelopeBuilder::new(peer, None, Greeting::Ehlo, b"client.example");
        let mut envelope = session.transaction(sender, MailParameters::default());
        recipients.iter().for_each(|path| envelope.forward_path(path));
        Record {
            receipt: Receipt { partition: Partition(0), lsn: Lsn(4096) },
            sequence: 0,
            received_at: Timestamp(1_795_494_006_000_007),
            envelope: envelope.finish(),
            body: Bytes::from_static(body),
            header_section_len: 0,
            first_of_batch: true,
            durable_before: Lsn(0),
            end: Lsn(8192),
        }
    }

    fn printed(write: fn(&Record, &mut dyn Write) -> io::Result<()>, record: &Record) -> String {
        let mut output = Vec::new();
        write(record, &mut output).expect("memory takes it");
        String::from_utf8(output).expect("text")
    }

    fn summary(record: &Record, output: &mut dyn Write) -> io::Result<()> {
        write_summary(&record.head(), Colours(false), output)
    }

    #[test]
    fn a_json_line_holds_the_whole_message() {
        let record = record(b"a@example.org", &[b"b@example.net", b"\"c\\\" d\"@example.net"], b"Hi\r\n\0");
        assert_eq!(
            printed(write_jsonl, &record),
            concat!(
                r#"{"offset":4096,"receipt":"0@4096","received_at":"2026-11-24T04:20:06.000007Z","#,
                r#""peer":"[2001:db8::1]:4025","helo":"client.example","reverse_path":"a@example.org","#,
                r#""forward_paths":["b@example.net","\"c\\\" d\"@example.net"],"size":5,"#,
                r#""message_base64":"SGkNCgA="}"#,
                "\n"
            )
        );
    }

    #[test]
    fn octets_that_are_not_text_are_kept_beside_the_text() {
        let printed = printed(write_jsonl, &record(b"\xFF@x", &[b"ok@x", b"\xC3\x28@x"], b""));
        let object: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(object["reverse_path"], "\u{FFFD}@x");
        assert_eq!(object["reverse_path_base64"], BASE64.encode(b"\xFF@x"));
        assert_eq!(object["forward_paths"][1], "\u{FFFD}(@x");
        assert_eq!(object["forward_paths_base64"][0], BASE64.encode(b"ok@x"));
        assert_eq!(object["forward_paths_base64"][1], BASE64.encode(b"\xC3\x28@x"));
        assert_eq!(object.get("helo_base64"), None);
    }

    #[test]
    fn an_mbox_message_is_quoted_the_mboxrd_way() {
        let body =
            b"Subject: x\r\n\r\nFrom here\r\n>From there\r\n>>From\r\nfrom\r\n >From\r\n> From \r\nFrom ";
        assert_eq!(
            printed(write_mboxrd, &record(b"a@example.org", &[], body)),
            "From a@example.org Tue Nov 24 04:20:06 2026\n\
             Subject: x\n\n>From here\n>>From there\n>>From\nfrom\n >From\n> From \n>From \n\n"
        );
        assert_eq!(
            printed(write_mboxrd, &record(b"", &[], b"")),
            "From MAILER-DAEMON Tue Nov 24 04:20:06 2026\n\n"
        );
    }

    #[test]
    fn a_summary_cannot_drive_a_terminal() {
        let line = printed(summary, &record(b"\x1B[2J@x", &["\u{202E}b\u{e9}@x".as_bytes(), b"\x9B@x"], b""));
        assert!(line.ends_with("  <\\u{1b}[2J@x> -> <\\u{202e}bé@x>, <\\x9b@x>\n"), "{line}");
    }

    #[test]
    fn times_beyond_the_calendar_do_not_stop_the_output() {
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00.000000Z");
        assert!(rfc3339(Timestamp(u64::MAX)).starts_with("9999-12-30T"));
    }
}
