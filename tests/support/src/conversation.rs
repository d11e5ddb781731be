//! One side of an SMTP conversation that may end at any word, because the server may be killed at any moment.
//!
//! Where [`crate::client::Client`] fails the test when something unexpected happens, every step here gives it back
//! as an error. Every wait has a deadline.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any sync on a busy disk, shorter than a hung test run.
const REPLY_DEADLINE: Duration = Duration::from_secs(60);

/// One reply, with all its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The reply code.
    pub code: u16,
    /// The text of each line behind the code.
    pub lines: Vec<String>,
}

impl Reply {
    /// The text of the last line.
    #[must_use]
    pub fn text(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }

    /// The receipt in `250 2.0.0 stored 0@184467`.
    #[must_use]
    pub fn receipt(&self) -> Option<String> {
        let receipt = self.text().strip_prefix("2.0.0 stored ")?;
        (self.code == 250).then(|| receipt.to_owned())
    }

    /// Whether code and text begin as in `452 4.3.1`.
    #[must_use]
    pub fn is(&self, start: &str) -> bool {
        format!("{} {}", self.code, self.text()).starts_with(start)
    }
}

/// One connection to a server.
#[derive(Debug)]
pub struct Conversation {
    stream: BufReader<TcpStream>,
}

impl Conversation {
    /// Connects and says nothing; the greeting is still to be read.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, REPLY_DEADLINE)?;
        stream.set_read_timeout(Some(REPLY_DEADLINE))?;
        stream.set_write_timeout(Some(REPLY_DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Connects, reads the greeting, says EHLO and reads its reply.
    ///
    /// # Errors
    /// What the kernel says, or that the server answered otherwise.
    pub fn hello(address: SocketAddr) -> io::Result<Self> {
        let mut client = Self::connect(address)?;
        client.expect(220)?;
        client.send(b"EHLO client.example\r\n")?;
        client.expect(250)?;
        Ok(client)
    }

    /// Sends octets as they are.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(octets)
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// `UnexpectedEof` when the server closed, `InvalidData` when it sent something else.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            self.stream.read_until(b'\n', &mut line)?;
            let Some(line) = line.strip_suffix(b"\r\n") else {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
            };
            let shown = || io::Error::new(ErrorKind::InvalidData, String::from_utf8_lossy(line).into_owned());
            let code = line
                .get(..3)
                .and_then(|code| std::str::from_utf8(code).ok()?.parse().ok())
                .ok_or_else(shown)?;
            lines.push(String::from_utf8_lossy(line.get(4..).unwrap_or_default()).into_owned());
            if line.get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
        }
    }

    /// Sends a command line and reads its reply.
    ///
    /// # Errors
    /// As [`Self::reply`].
    pub fn command(&mut self, line: &str) -> io::Result<Reply> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Reads a reply that must have this code.
    ///
    /// # Errors
    /// As [`Self::reply`], and `InvalidData` when the code is another.
    pub fn expect(&mut self, code: u16) -> io::Result<Reply> {
        let reply = self.reply()?;
        match reply.code == code {
            true => Ok(reply),
            false => Err(io::Error::new(ErrorKind::InvalidData, format!("wanted {code}, got {reply:?}"))),
        }
    }

    /// MAIL, RCPT and DATA, up to the 354.
    ///
    /// # Errors
    /// As [`Self::expect`].
    pub fn begin(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.send(format!("MAIL FROM:<{from}>\r\n").as_bytes())?;
        self.expect(250)?;
        self.send(format!("RCPT TO:<{to}>\r\n").as_bytes())?;
        self.expect(250)?;
        self.send(b"DATA\r\n")?;
        self.expect(354)?;
        Ok(())
    }

    /// A whole mail transaction; gives the reply to the end of data.
    ///
    /// # Errors
    /// As [`Self::expect`].
    pub fn mail(&mut self, from: &str, to: &str, text: &[u8]) -> io::Result<Reply> {
        self.begin(from, to)?;
        self.send(&on_the_wire(text))?;
        self.reply()
    }

    /// A whole mail transaction in one write; gives the reply to the end of data.
    ///
    /// # Errors
    /// As [`Self::expect`].
    pub fn pipelined_mail(&mut self, from: &str, to: &str, text: &[u8]) -> io::Result<Reply> {
        let mut octets = format!("MAIL FROM:<{from}>\r\nRCPT TO:<{to}>\r\nDATA\r\n").into_bytes();
        octets.extend(on_the_wire(text));
        self.send(&octets)?;
        self.expect(250)?;
        self.expect(250)?;
        self.expect(354)?;
        self.reply()
    }

    /// Whether the server has closed; waits for it.
    #[must_use]
    pub fn closed(mut self) -> bool {
        let mut octets = Vec::new();
        match io::Read::read_to_end(&mut self.stream, &mut octets) {
            Ok(_) => octets.is_empty(),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// The address this end has.
    ///
    /// # Panics
    /// When the socket has none, which a connected one always has.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().expect("a connected socket has an address")
    }
}

/// Text as RFC 5321 section 4.5.2 sends it: dots at the start of a line doubled, the end of data behind it.
///
/// `text` ends with CR LF or is empty.
#[must_use]
pub fn on_the_wire(text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len() + 16);
    let mut before: [u8; 2] = *b"\r\n";
    for &octet in text {
        if octet == b'.' && before == *b"\r\n" {
            octets.push(b'.');
        }
        octets.push(octet);
        before = [before[1], octet];
    }
    octets.extend_from_slice(b".\r\n");
    octets
}

/// Text with every line end made CR LF, whichever of CR LF, LF and CR it was.
#[must_use]
pub fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(text.len() + text.len() / 16);
    let mut octets = text.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' => {
                octets.next_if_eq(&b'\n');
                lines.extend_from_slice(b"\r\n");
            }
            b'\n' => lines.extend_from_slice(b"\r\n"),
            other => lines.push(other),
        }
    }
    if !lines.ends_with(b"\r\n") {
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_is_doubled_only_behind_cr_lf() {
        assert_eq!(on_the_wire(b".a\r\n..\r\nb.\r\n\n.\r\n"), b"..a\r\n...\r\nb.\r\n\n.\r\n.\r\n");
        assert_eq!(on_the_wire(b""), b".\r\n");
    }

    #[test]
    fn every_line_end_becomes_cr_lf() {
        assert_eq!(with_crlf(b"a\nb\r\nc\rd"), b"a\r\nb\r\nc\r\nd\r\n");
    }
}
