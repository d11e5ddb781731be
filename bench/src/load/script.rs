//! The octets a sender writes, laid out once before the run so that each write is one slice of them.

use super::session::Piece;

/// What every message of a run has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailShape {
    /// The name given with EHLO.
    pub helo: String,
    /// The reverse-path, without angle brackets.
    pub reverse_path: String,
    /// The forward-path of each recipient, without angle brackets.
    pub forward_path: String,
    /// Recipients per message.
    pub recipient_count: u32,
    /// Octets between DATA's 354 and the end of data, headers included; at least 2.
    pub size: usize,
}

impl MailShape {
    /// A message of `size` octets to one recipient, with the names every run has unless told otherwise.
    pub fn of_size(size: usize) -> Self {
        Self {
            helo: "load.example".into(),
            reverse_path: "sender@load.example".into(),
            forward_path: "recipient@load.example".into(),
            recipient_count: 1,
            size,
        }
    }
}

/// The octets of each [`Piece`].
#[derive(Debug)]
pub struct Script {
    pieces: [Vec<u8>; Piece::COUNT],
}

impl Script {
    /// Lays out all pieces for messages of one shape.
    pub fn new(shape: &MailShape) -> Self {
        let mail = format!("MAIL FROM:<{}>\r\n", shape.reverse_path).into_bytes();
        let recipient = format!("RCPT TO:<{}>\r\n", shape.forward_path).into_bytes();
        let data = b"DATA\r\n".to_vec();
        let quit = b"QUIT\r\n".to_vec();
        let reset = b"RSET\r\n".to_vec();
        let envelope = [&mail[..], &recipient.repeat(shape.recipient_count as usize), &data].concat();
        let body = [&text(shape)[..], b".\r\n"].concat();
        let octets = |piece| match piece {
            Piece::Hello => format!("EHLO {}\r\n", shape.helo).into_bytes(),
            Piece::Envelope => envelope.clone(),
            Piece::Mail => mail.clone(),
            Piece::Recipient => recipient.clone(),
            Piece::Data => data.clone(),
            Piece::Body => body.clone(),
            Piece::BodyThenEnvelope => [&body[..], &envelope].concat(),
            Piece::BodyThenQuit => [&body[..], &quit].concat(),
            Piece::NoText => b".\r\n".to_vec(),
            Piece::Reset => reset.clone(),
            Piece::ResetThenEnvelope => [&reset[..], &envelope].concat(),
            Piece::Quit => quit.clone(),
        };
        Self { pieces: Piece::ALL.map(octets) }
    }

    /// The octets of `piece`.
    pub fn octets(&self, piece: Piece) -> &[u8] {
        &self.pieces[piece as usize]
    }
}

/// A message of exactly `shape.size` octets in lines ended by CR LF, none of which begins with a dot.
fn text(shape: &MailShape) -> Vec<u8> {
    let headers = format!(
        "From: <{}>\r\nTo: <{}>\r\nSubject: load\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n\r\n",
        shape.reverse_path, shape.forward_path
    );
    let mut text = if headers.len() + 2 <= shape.size { headers.into_bytes() } else { Vec::new() };
    while text.len() < shape.size {
        let left = shape.size - text.len();
        // A rest of one octet could not end with CR LF.
        let line_len = if left == LINE_LEN + 1 { LINE_LEN - 1 } else { left.min(LINE_LEN) };
        let letters = (b'a'..=b'z').cycle().take(line_len.saturating_sub(2));
        text.extend(letters);
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// Octets of a line of text, its CR LF included (RFC 5322 section 2.1.1 recommends no more).
const LINE_LEN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(size: usize) -> MailShape {
        MailShape {
            helo: "load.example".into(),
            reverse_path: "a@load.example".into(),
            forward_path: "b@load.example".into(),
            recipient_count: 2,
            size,
        }
    }

    #[test]
    fn the_text_has_the_size_asked_for_and_ends_its_lines() {
        for size in (2..400).chain([4096, 65_536]) {
            let text = text(&shape(size));
            assert_eq!(text.len(), size);
            assert!(text.ends_with(b"\r\n"), "{size}");
            assert!(!text.starts_with(b".") && memchr::memmem::find(&text, b"\n.").is_none(), "{size}");
            assert_eq!(memchr::memchr_iter(b'\n', &text).count(), memchr::memchr_iter(b'\r', &text).count());
        }
    }

    #[test]
    fn a_pipelined_write_holds_a_body_and_the_next_envelope() {
        let script = Script::new(&shape(100));
        let write = script.octets(Piece::BodyThenEnvelope);
        let envelope: &[u8] = b".\r\nMAIL FROM:<a@load.example>\r\nRCPT TO:<b@load.example>\r\n\
            RCPT TO:<b@load.example>\r\nDATA\r\n";
        assert_eq!(&write[100..], envelope);
    }
}
