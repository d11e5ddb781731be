//! The envelope of a message: one small block of typed fields, the same in memory and on disk.
//!
//! ```text
//! block  = field*
//! field  = tag: u16 LE | value length: u32 LE | value
//!
//! tag  value
//!   1  peer: 4 or 16 octets of address, then the port as u16 LE
//!   2  the argument of HELO
//!   3  the argument of EHLO or LHLO
//!   4  reverse-path, `local-part@domain` as sent; no octets for the null reverse-path
//!   5  forward-path, one field each in the order of RCPT, `local-part@domain` as sent
//!   6  parameters of MAIL: u8 flags (1 = BODY=8BITMIME, 2 = SMTPUTF8, 4 = SIZE was given), declared SIZE u64 LE
//!   7  the local address that was connected to, like tag 1
//!  16  reserved: TLS facts          17  reserved: DSN parameters     18  reserved: duplicate of
//!  19  reserved: proxied peer       20  reserved: stage times
//! ```
//!
//! A reader skips tags it does not know. Paths are kept without angle brackets and without a source route.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

/// Field tags; the numbers are part of the format on disk.
pub mod tag {
    /// Address and port of the client.
    pub const PEER: u16 = 1;
    /// Argument of HELO.
    pub const HELO: u16 = 2;
    /// Argument of EHLO.
    pub const EHLO: u16 = 3;
    /// Where notices of failure go; empty for the null reverse-path.
    pub const REVERSE_PATH: u16 = 4;
    /// One recipient.
    pub const FORWARD_PATH: u16 = 5;
    /// Parameters of MAIL.
    pub const MAIL_PARAMETERS: u16 = 6;
    /// The local address that was connected to.
    pub const LOCAL: u16 = 7;
}

/// Octets in front of each value: the tag and the length.
pub const FIELD_HEADER_LEN: usize = 6;

const FLAG_8BITMIME: u8 = 1;
const FLAG_SMTPUTF8: u8 = 2;
const FLAG_SIZE: u8 = 4;

/// How the client introduced itself (RFC 5321 section 4.1.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// HELO: no extensions.
    Helo,
    /// EHLO: extensions may be used.
    Ehlo,
}

/// The parameters of MAIL that are kept with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailParameters {
    /// BODY=8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// The octets announced by SIZE= (RFC 1870).
    pub size: Option<u64>,
}

/// A block of fields that does not follow the diagram above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeError {
    /// Octets from the start of the block to the field that is wrong.
    pub position: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "envelope octet {}: {}", self.position, self.reason)
    }
}

impl std::error::Error for EnvelopeError {}

/// A complete envelope. Cloning shares the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    block: Bytes,
}

impl Envelope {
    /// Takes a block read from a log.
    ///
    /// # Errors
    /// [`EnvelopeError`] when a field runs past the end, or peer, greeting or reverse-path are missing or of the
    /// wrong length.
    pub fn from_block(block: Bytes) -> Result<Self, EnvelopeError> {
        let mut position = 0;
        let mut seen = [false; 3];
        while position < block.len() {
            let error = |reason| EnvelopeError { position, reason };
            let (tag, value) = split_field(&block[position..]).ok_or_else(|| error("field past the end"))?;
            match tag {
                tag::PEER | tag::LOCAL if decode_address(value).is_none() => {
                    return Err(error("bad address"));
                }
                tag::MAIL_PARAMETERS if value.len() < 9 => return Err(error("bad MAIL parameters")),
                tag::PEER => seen[0] = true,
                tag::HELO | tag::EHLO => seen[1] = true,
                tag::REVERSE_PATH => seen[2] = true,
                _ => {}
            }
            position += FIELD_HEADER_LEN + value.len();
        }
        if seen.contains(&false) {
            return Err(EnvelopeError { position, reason: "peer, greeting or reverse-path is missing" });
        }
        Ok(Self { block })
    }

    /// The octets as they are written to the log.
    #[must_use]
    pub fn block(&self) -> &Bytes {
        &self.block
    }

    /// All fields as tag and value, unknown ones included.
    pub fn fields(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let mut rest = &self.block[..];
        std::iter::from_fn(move || {
            let (tag, value) = split_field(rest)?;
            rest = &rest[FIELD_HEADER_LEN + value.len()..];
            Some((tag, value))
        })
    }

    /// Address and port of the client.
    ///
    /// # Panics
    /// Never: a block without a valid peer is refused when it is made.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.first(tag::PEER).and_then(decode_address).expect("every envelope holds a valid peer")
    }

    /// The local address that was connected to, where it is known.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.first(tag::LOCAL).and_then(decode_address)
    }

    /// How the client greeted and with which argument.
    #[must_use]
    pub fn greeting(&self) -> (Greeting, &[u8]) {
        match self.first(tag::EHLO) {
            Some(argument) => (Greeting::Ehlo, argument),
            None => (Greeting::Helo, self.first(tag::HELO).unwrap_or_default()),
        }
    }

    /// The reverse-path without angle brackets; empty for the null reverse-path.
    #[must_use]
    pub fn reverse_path(&self) -> &[u8] {
        self.first(tag::REVERSE_PATH).unwrap_or_default()
    }

    /// The forward-paths without angle brackets, in the order of RCPT.
    pub fn forward_paths(&self) -> impl Iterator<Item = &[u8]> {
        self.fields().filter(|(tag, _)| *tag == tag::FORWARD_PATH).map(|(_, value)| value)
    }

    /// The parameters of MAIL; all absent when MAIL carried none.
    #[must_use]
    pub fn mail_parameters(&self) -> MailParameters {
        let Some(value) = self.first(tag::MAIL_PARAMETERS) else { return MailParameters::default() };
        let size: [u8; 8] = value[1..9].try_into().expect("the length was checked when the block was taken");
        MailParameters {
            eight_bit: value[0] & FLAG_8BITMIME != 0,
            smtputf8: value[0] & FLAG_SMTPUTF8 != 0,
            size: (value[0] & FLAG_SIZE != 0).then_some(u64::from_le_bytes(size)),
        }
    }

    fn first(&self, wanted: u16) -> Option<&[u8]> {
        self.fields().find(|(tag, _)| *tag == wanted).map(|(_, value)| value)
    }
}

/// Builds envelopes for one session: what holds for the whole session is encoded once and copied into each.
#[derive(Debug, Clone)]
pub struct EnvelopeBuilder {
    block: BytesMut,
}

impl EnvelopeBuilder {
    /// Starts with the facts of the connection and its greeting.
    #[must_use]
    pub fn new(peer: SocketAddr, local: Option<SocketAddr>, greeting: Greeting, argument: &[u8]) -> Self {
        let mut builder = Self { block: BytesMut::with_capacity(64 + argument.len()) };
        builder.address(tag::PEER, peer);
        if let Some(local) = local {
            builder.address(tag::LOCAL, local);
        }
        let tag = match greeting {
            Greeting::Helo => tag::HELO,
            Greeting::Ehlo => tag::EHLO,
        };
        builder.field(tag, argument);
        builder
    }

    /// A copy with the reverse-path and parameters of a new mail transaction; `self` stays for the next one.
    #[must_use]
    pub fn transaction(&self, reverse_path: &[u8], parameters: MailParameters) -> Self {
        let mut block = BytesMut::with_capacity(self.block.len() + reverse_path.len() + 128);
        block.extend_from_slice(&self.block);
        let mut builder = Self { block };
        builder.field(tag::REVERSE_PATH, reverse_path);
        if parameters != MailParameters::default() {
            let mut value = [0; 9];
            value[0] = u8::from(parameters.eight_bit) * FLAG_8BITMIME
                + u8::from(parameters.smtputf8) * FLAG_SMTPUTF8
                + u8::from(parameters.size.is_some()) * FLAG_SIZE;
            value[1..].copy_from_slice(&parameters.size.unwrap_or(0).to_le_bytes());
            builder.field(tag::MAIL_PARAMETERS, &value);
        }
        builder
    }

    /// Adds one recipient.
    pub fn forward_path(&mut self, forward_path: &[u8]) {
        self.field(tag::FORWARD_PATH, forward_path);
    }

    /// Octets in the block so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.block.len()
    }

    /// Never true: the peer is there from the start.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// The envelope, complete.
    #[must_use]
    pub fn finish(self) -> Envelope {
        Envelope { block: self.block.freeze() }
    }

    fn field(&mut self, tag: u16, value: &[u8]) {
        self.block.put_u16_le(tag);
        self.block.put_u32_le(u32::try_from(value.len()).expect("a command line is far below 4 GiB"));
        self.block.put_slice(value);
    }

    fn address(&mut self, tag: u16, address: SocketAddr) {
        let mut value = [0; 18];
        let ip_len = match address.ip() {
            IpAddr::V4(ip) => {
                value[..4].copy_from_slice(&ip.octets());
                4
            }
            IpAddr::V6(ip) => {
                value[..16].copy_from_slice(&ip.octets());
                16
            }
        };
        value[ip_len..ip_len + 2].copy_from_slice(&address.port().to_le_bytes());
        self.field(tag, &value[..ip_len + 2]);
    }
}

fn split_field(rest: &[u8]) -> Option<(u16, &[u8])> {
    let (header, values) = rest.split_at_checked(FIELD_HEADER_LEN)?;
    let tag = u16::from_le_bytes([header[0], header[1]]);
    let len = u32::from_le_bytes([header[2], header[3], header[4], header[5]]);
    Some((tag, values.get(..usize::try_from(len).ok()?)?))
}

fn decode_address(value: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = value.split_last_chunk::<2>()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_le_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> EnvelopeBuilder {
        let peer = "[2001:db8::1]:4025".parse().expect("an address");
        EnvelopeBuilder::new(
            peer,
            Some("127.0.0.1:25".parse().expect("an address")),
            Greeting::Ehlo,
            b"c.example",
        )
    }

    #[test]
    fn an_envelope_reads_back_as_it_was_built() {
        let parameters = MailParameters { eight_bit: true, smtputf8: false, size: Some(u64::MAX) };
        let mut builder = session().transaction(b"a@example.org", parameters);
        builder.forward_path(b"b@example.net");
        builder.forward_path(b"\"c d\"@example.net");
        let built = builder.finish();
        let read = Envelope::from_block(built.block().clone()).expect("a valid block");
        assert_eq!(read, built);
        assert_eq!(read.peer(), "[2001:db8::1]:4025".parse().expect("an address"));
        assert_eq!(read.local(), Some("127.0.0.1:25".parse().expect("an address")));
        assert_eq!(read.greeting(), (Greeting::Ehlo, &b"c.example"[..]));
        assert_eq!(read.reverse_path(), b"a@example.org");
        assert_eq!(read.mail_parameters(), parameters);
        assert_eq!(read.forward_paths().collect::<Vec<_>>(), [&b"b@example.net"[..], b"\"c d\"@example.net"]);
    }

    #[test]
    fn one_transaction_leaves_nothing_in_the_next() {
        let session = session();
        let mut first = session.transaction(b"a@example.org", MailParameters::default());
        first.forward_path(b"b@example.net");
        let second = session.transaction(b"", MailParameters::default()).finish();
        assert_eq!(second.reverse_path(), b"");
        assert_eq!(second.forward_paths().count(), 0);
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let mut block = session().transaction(b"a@example.org", MailParameters::default()).block;
        block.put_u16_le(999);
        block.put_u32_le(3);
        block.put_slice(b"new");
        let read = Envelope::from_block(block.freeze()).expect("a valid block");
        assert_eq!(read.reverse_path(), b"a@example.org");
    }

    #[test]
    fn every_cut_of_a_block_is_refused_or_lacks_only_whole_fields() {
        let mut builder = session().transaction(b"a@example.org", MailParameters::default());
        builder.forward_path(b"b@example.net");
        let block = builder.finish().block;
        let whole_without_recipient = block.len() - FIELD_HEADER_LEN - b"b@example.net".len();
        for len in 0..block.len() {
            let read = Envelope::from_block(block.slice(..len));
            assert_eq!(read.is_ok(), len == whole_without_recipient, "cut to {len}");
        }
    }
}
