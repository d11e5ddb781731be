//! Message texts as clients send them: what goes over the wire, and what must be read back.

use mailrace_support::naive;
use mailrace_support::rng::Rng;

/// The largest message text the simulated server takes, in octets.
pub(crate) const MESSAGE_SIZE_MAX: usize = 30_000;

/// What is wrong with a message, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    BareLineEnd,
    TooLarge,
}

/// One message text.
#[derive(Debug)]
pub(crate) struct Text {
    /// Dots stuffed, with the end of data.
    pub(crate) wire: Vec<u8>,
    /// What a reader must find.
    pub(crate) text: Vec<u8>,
    pub(crate) flaw: Flaw,
}

/// Lines that a server must not take for anything but text.
const TRAPS: [&[u8]; 12] = [
    b".",
    b"..",
    b"...",
    b"",
    b"QUIT",
    b"RSET",
    b"DATA",
    b"MAIL FROM:<smuggled@client.example>",
    b"RCPT TO:<smuggled@server.example>",
    b". QUIT",
    b".\x00",
    b"From nobody",
];

/// What some servers take for the end of a line or of the data.
const SMUGGLES: [&[u8]; 9] =
    [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r.\r", b"\n", b"\r", b"\r\n\x00.\r\n"];

impl Text {
    pub(crate) fn random(rng: &mut Rng, index: usize) -> Self {
        match rng.below(20) {
            0 => Self::too_large(rng, index),
            1 | 2 => Self::smuggling(rng, index),
            3 => Self::stuffed(Vec::new(), Flaw::None),
            4 => Self::stuffed(exactly(MESSAGE_SIZE_MAX, index), Flaw::None),
            _ => {
                let size = *rng.pick(&[100, 300, 1000, 1000, 4000, 9000, 20_000]);
                Self::stuffed(lines(rng, index, size), Flaw::None)
            }
        }
    }

    fn too_large(rng: &mut Rng, index: usize) -> Self {
        Self::stuffed(exactly(MESSAGE_SIZE_MAX + rng.between(1, 5000), index), Flaw::TooLarge)
    }

    /// As a client sends that stuffs dots.
    fn stuffed(text: Vec<u8>, flaw: Flaw) -> Self {
        let mut wire = Vec::with_capacity(text.len() + 100);
        let mut line_begins = true;
        for (at, octet) in text.iter().enumerate() {
            if line_begins && *octet == b'.' {
                wire.push(b'.');
            }
            wire.push(*octet);
            line_begins = text[..=at].ends_with(b"\r\n");
        }
        wire.extend_from_slice(b".\r\n");
        Self { wire, text, flaw }
    }

    /// As a client sends that hopes for a server with other ideas of a line end; it stuffs nothing.
    fn smuggling(rng: &mut Rng, index: usize) -> Self {
        let mut wire = lines(rng, index, 200);
        wire.retain(|octet| *octet != b'.');
        for _ in 0..rng.between(1, 3) {
            wire.extend_from_slice(rng.pick::<&[u8]>(&SMUGGLES));
            wire.extend_from_slice(
                b"MAIL FROM:<smuggled@client.example>\r\nRCPT TO:<a@server.example>\r\nDATA\r\nevil",
            );
        }
        wire.extend_from_slice(b"\r\n.\r\n");
        let read = naive::text(&wire).expect("it ends");
        if !read.rest.is_empty() {
            // The pieces met to a real end of data: a different message, not a trick.
            return Self::stuffed(lines(rng, index, 200), Flaw::None);
        }
        let flaw = if read.bare_line_end { Flaw::BareLineEnd } else { Flaw::None };
        Self { wire, text: read.text, flaw }
    }
}

/// Each message's text differs from every other's, so that none can stand in for another.
fn marker(index: usize) -> Vec<u8> {
    format!("Message-ID: <{index}@client.example>\r\n").into_bytes()
}

fn lines(rng: &mut Rng, index: usize, size: usize) -> Vec<u8> {
    let mut text = marker(index);
    while text.len() < size {
        match rng.below(4) {
            0 => text.extend_from_slice(rng.pick::<&[u8]>(&TRAPS)),
            1 => {
                let octets = rng.word().to_le_bytes();
                text.extend(octets.iter().filter(|octet| !matches!(octet, b'\r' | b'\n')));
            }
            _ => {
                let len = *rng.pick(&[0, 1, 70, 76, 511, 512, 513, 998, 1500]);
                text.resize(text.len() + len, b'a' + (rng.below(26) as u8));
            }
        }
        text.extend_from_slice(b"\r\n");
    }
    text
}

fn exactly(size: usize, index: usize) -> Vec<u8> {
    let mut text = marker(index);
    text.resize(size - 2, b'x');
    text.extend_from_slice(b"\r\n");
    text
}
