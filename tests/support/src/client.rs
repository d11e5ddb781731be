//! The barest SMTP client: a socket, lines, and a deadline on everything.
//!
//! It knows no protocol beyond the end of a reply, so that a test can say what no decent client would.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long the server may take for anything; a test that waits for it fails, it does not hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects and reads nothing.
    ///
    /// # Panics
    /// When the connection is refused, as every method does when what it expects does not happen in time.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// Connects and reads nothing.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Connects, reads the greeting and sends EHLO.
    #[must_use]
    pub fn ready(address: SocketAddr) -> Self {
        let mut client = Self::connect(address);
        client.expect("220");
        client.say("EHLO client.example", "250");
        client
    }

    /// Sends octets as they are.
    pub fn send(&mut self, octets: &[u8]) {
        self.try_send(octets).expect("the server takes octets");
    }

    /// Sends octets as they are.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn try_send(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(octets)
    }

    /// One whole reply, its lines joined by LF, without the last line end.
    pub fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            let len = self.stream.read_line(&mut line).expect("a reply within the deadline");
            assert!(len > 0, "the connection ended instead of a reply; so far: {reply:?}");
            let line = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("not ended by CR LF: {line:?}"));
            reply.push_str(line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
            reply.push('\n');
        }
    }

    /// Reads a reply that begins with `prefix`.
    #[track_caller]
    pub fn expect(&mut self, prefix: &str) -> String {
        let reply = self.reply();
        assert!(reply.starts_with(prefix), "expected {prefix}, got {reply:?}");
        reply
    }

    /// Sends a command and reads a reply that begins with `prefix`.
    #[track_caller]
    pub fn say(&mut self, command: &str, prefix: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        self.expect(prefix)
    }

    /// MAIL, RCPT and DATA, up to the 354.
    #[track_caller]
    pub fn begin_message(&mut self) {
        self.say("MAIL FROM:<sender@client.example>", "250");
        self.say("RCPT TO:<user@server.example>", "250");
        self.say("DATA", "354");
    }

    /// Sends one message in lockstep and gives the final reply.
    #[track_caller]
    pub fn send_message(&mut self, text: &str) -> String {
        self.begin_message();
        self.send(format!("{text}\r\n.\r\n").as_bytes());
        self.reply()
    }

    /// One whole mail transaction as a pipelining client writes it (RFC 2920).
    #[must_use]
    pub fn pipelined(text: &str) -> String {
        format!(
            "MAIL FROM:<sender@client.example>\r\nRCPT TO:<user@server.example>\r\nDATA\r\n{text}\r\n.\r\n"
        )
    }

    /// The connection is over: the server closed it, nothing more comes.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&rest)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }

    /// Ends our side and keeps listening.
    pub fn finish_sending(&mut self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("an open connection");
    }

    /// The address on our side, which is the peer of the server.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().expect("a connected socket")
    }
}
