//! What we answer: every reply of the program, encoded once, and the table from refusals to replies.
//!
//! A [`Reply`] is a constant whose form is checked when the program is compiled. RFC 2034 section 4: every 2xx,
//! 4xx and 5xx reply carries an enhanced status code except the greeting and the replies to HELO and EHLO.
//! Nothing a client sent is echoed except an address that has passed the grammar, which holds no control octet.

use std::fmt;

use bytes::BytesMut;

use crate::message::{Outcome, StorageRefusal};
use crate::policy::Refusal;

/// The session asks its driver to send when this many octets of replies wait, so that a client that sends
/// commands and reads nothing cannot make us hold more than this and one reply.
pub const PENDING_LEN_MAX: usize = 16 * 1024;

/// RFC 5321 section 4.5.3.1.5: octets of a reply line, CR LF included.
pub const LINE_LEN_MAX: usize = 512;

/// One reply line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    line: &'static str,
}

/// RFC 5321 section 4.2.3 and RFC 3463; the words are ours.
macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident = $line:literal;)*) => {
        $($(#[$doc])* pub const $name: Reply = Reply::new(concat!($line, "\r\n"));)*

        /// Every constant reply with its name.
        pub const ALL: &[(&str, Reply)] = &[$((stringify!($name), $name)),*];
    };
}

replies! {
    /// To HELP.
    HELP = "214 2.0.0 HELO EHLO MAIL RCPT DATA RSET NOOP QUIT VRFY; see RFC 5321";
    /// To QUIT.
    BYE = "221 2.0.0 bye";
    /// To RSET and NOOP.
    OK = "250 2.0.0 ok";
    /// To MAIL.
    SENDER_OK = "250 2.1.0 sender ok";
    /// To RCPT.
    RECIPIENT_OK = "250 2.1.5 recipient ok";
    /// To the end of data when messages are thrown away on purpose.
    DISCARDED = "250 2.0.0 discarded";
    /// To VRFY.
    NOT_VERIFIED = "252 2.0.0 not verified; send mail and see";
    /// To DATA.
    SEND_TEXT = "354 send the message; end it with CR LF . CR LF";

    /// The driver heard nothing for too long.
    IDLE_TIMEOUT = "421 4.4.2 timed out waiting for you; closing";
    /// The driver has no room for another connection.
    TOO_MANY_CONNECTIONS = "421 4.3.2 too many connections; try again later";
    /// The server is being stopped.
    SHUTTING_DOWN = "421 4.3.2 shutting down; try again later";
    /// The message log has failed and takes nothing more.
    LOG_FAILED = "421 4.3.0 cannot store mail; try again later";
    /// Our fault.
    INTERNAL_ERROR = "421 4.3.0 internal error; try again later";
    /// An HTTP request (a TLS hello gets no words: nobody there could read them).
    NOT_HTTP = "421 4.7.0 this is SMTP, not HTTP; closing";
    /// More refused commands than allowed.
    TOO_MANY_BAD_COMMANDS = "421 4.7.0 too many bad commands; closing";

    /// Outcome: the log failed before the message was safe.
    NOT_STORED = "451 4.3.0 message not stored; try again later";
    /// Outcome: the disk is full.
    NO_SPACE = "452 4.3.1 no space to store the message; try again later";
    /// Policy: enough recipients.
    TOO_MANY_RECIPIENTS = "452 4.5.3 too many recipients; send the rest in another transaction";

    /// Not a command.
    UNRECOGNIZED = "500 5.5.1 command not recognized";
    /// A command line over the limit.
    LINE_TOO_LONG = "500 5.5.2 command line too long";
    /// A command line with LF or CR by itself.
    BARE_LINE_END_IN_COMMAND = "500 5.5.2 end lines with CR LF";
    /// HELO or EHLO without a name.
    HELLO_SYNTAX = "501 5.5.4 say who you are: EHLO name";
    /// MAIL that does not parse.
    MAIL_SYNTAX = "501 5.5.4 syntax: MAIL FROM:<address> [parameters]";
    /// RCPT that does not parse.
    RCPT_SYNTAX = "501 5.5.4 syntax: RCPT TO:<address>";
    /// VRFY without argument.
    VRFY_SYNTAX = "501 5.5.4 syntax: VRFY address";
    /// An argument where none belongs.
    NO_ARGUMENT_ALLOWED = "501 5.5.4 this command takes no argument";
    /// A parameter of MAIL or RCPT that does not parse.
    PARAMETER_SYNTAX = "501 5.5.4 malformed parameter";
    /// The reverse-path is no address.
    BAD_SENDER_ADDRESS = "501 5.1.7 malformed sender address";
    /// The forward-path is no address.
    BAD_RECIPIENT_ADDRESS = "501 5.1.3 malformed recipient address";
    /// A command we know and do not offer.
    NOT_IMPLEMENTED = "502 5.5.1 command not implemented";
    /// MAIL, RCPT or DATA before HELO or EHLO.
    HELLO_FIRST = "503 5.5.1 send HELO or EHLO first";
    /// MAIL inside a transaction.
    NESTED_MAIL = "503 5.5.1 a mail transaction is under way; RSET drops it";
    /// RCPT or DATA without MAIL.
    MAIL_FIRST = "503 5.5.1 send MAIL first";
    /// DATA without RCPT.
    RCPT_FIRST = "503 5.5.1 send RCPT first";
    /// Policy: the mailbox is not known.
    NO_SUCH_USER = "550 5.1.1 No such user here";
    /// Policy: not our domain.
    RELAY_DENIED = "550 5.7.1 no mail for this domain here";
    /// Policy: CR or LF by itself in a message.
    BARE_LINE_END_IN_MESSAGE = "550 5.6.0 message holds a bare LF or CR; lines must end with CR LF";
    /// Policy: too large.
    MESSAGE_TOO_LARGE = "552 5.3.4 message larger than the limit announced by SIZE";
    /// A non-ASCII address without the SMTPUTF8 parameter (RFC 6531 section 3.5).
    NON_ASCII_ADDRESS = "553 5.6.7 non-ASCII address without SMTPUTF8";
    /// DATA after RCPT commands that were all refused.
    NO_VALID_RECIPIENTS = "554 5.5.1 no valid recipients";
    /// A parameter of MAIL or RCPT we did not announce.
    UNKNOWN_PARAMETER = "555 5.5.4 parameter not recognized";
}

impl Reply {
    const fn new(line: &'static str) -> Self {
        let octets = line.as_bytes();
        assert!(octets.len() <= LINE_LEN_MAX && octets[3] == b' ');
        let mut index = 0;
        while index < octets.len() - 2 {
            assert!(octets[index] >= b' ' && octets[index] <= b'~');
            index += 1;
        }
        // RFC 2034 section 4: the class of the enhanced status code is that of the reply code; 3xx have none.
        assert!(octets[0] == b'3' || (octets[4] == octets[0] && octets[5] == b'.'));
        Self { line }
    }

    /// The three digits.
    #[must_use]
    pub const fn code(self) -> u16 {
        let octets = self.line.as_bytes();
        (octets[0] - b'0') as u16 * 100 + (octets[1] - b'0') as u16 * 10 + (octets[2] - b'0') as u16
    }

    /// Where the words begin: behind the reply code and, where there is one, the enhanced status code.
    fn words_at(self) -> usize {
        let codes = if self.code() / 100 == 3 { 1 } else { 2 };
        self.line.match_indices(' ').nth(codes - 1).map_or(self.line.len(), |(at, _)| at + 1)
    }

    /// The whole line with its CR LF.
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        self.line.as_bytes()
    }
}

impl fmt::Display for Reply {
    /// The line without its CR LF.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.line.trim_end())
    }
}

/// The one table from reasons to replies.
#[must_use]
pub const fn of_refusal(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::RelayDenied => RELAY_DENIED,
        Refusal::UnknownRecipient => NO_SUCH_USER,
        Refusal::TooManyRecipients => TOO_MANY_RECIPIENTS,
        Refusal::MessageTooLarge => MESSAGE_TOO_LARGE,
        Refusal::BareLineEnd => BARE_LINE_END_IN_MESSAGE,
    }
}

/// Octets enough for every final reply.
const FINAL_LEN_MAX: usize = 64;

/// The reply to a message after its end of data, kept inline: it is made once per message.
#[derive(Debug, Clone, Copy)]
pub struct FinalReply {
    octets: [u8; FINAL_LEN_MAX],
    len: usize,
}

/// The final reply: `250 2.0.0 stored 0@184467` with the receipt, or why the sender must keep the message.
#[must_use]
pub fn of_outcome(outcome: Outcome) -> FinalReply {
    let mut reply = FinalReply { octets: [0; FINAL_LEN_MAX], len: 0 };
    match outcome {
        Outcome::Stored(receipt) => {
            reply.text(b"250 2.0.0 stored ");
            reply.decimal(u64::from(receipt.partition.0));
            reply.text(b"@");
            reply.decimal(receipt.lsn.0);
            reply.text(b"\r\n");
        }
        Outcome::Discarded => reply.text(DISCARDED.as_bytes()),
        Outcome::Refused(StorageRefusal::NoSpace) => reply.text(NO_SPACE.as_bytes()),
        Outcome::Refused(StorageRefusal::LogFailed) => reply.text(NOT_STORED.as_bytes()),
    }
    reply
}

impl FinalReply {
    /// The whole line with its CR LF.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets[..self.len]
    }

    fn text(&mut self, text: &[u8]) {
        self.octets[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    fn decimal(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b"0123456789"[(number % 10) as usize];
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.text(&digits[first..]);
    }
}

/// Replies waiting to be sent, in order.
#[derive(Debug, Default)]
pub struct ReplyBuffer {
    octets: BytesMut,
}

impl ReplyBuffer {
    /// Empty; takes memory with the first reply.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `reply`.
    pub fn push(&mut self, reply: Reply) {
        self.push_octets(reply.as_bytes());
    }

    /// Adds `reply` with `address` in angle brackets in front of its words. Give it only what has passed the
    /// address grammar: it may hold no control octet and is short enough for a reply line.
    pub fn push_about(&mut self, reply: Reply, address: &[u8]) {
        let (codes, words) = reply.line.split_at(reply.words_at());
        self.octets.extend_from_slice(codes.as_bytes());
        self.octets.extend_from_slice(b"<");
        self.octets.extend_from_slice(address);
        self.octets.extend_from_slice(b"> ");
        self.octets.extend_from_slice(words.as_bytes());
    }

    /// Adds `reply` with `reason` behind its words.
    pub fn push_because(&mut self, reply: Reply, reason: &'static str) {
        self.octets.extend_from_slice(reply.line.trim_end().as_bytes());
        self.octets.extend_from_slice(b": ");
        self.octets.extend_from_slice(reason.as_bytes());
        self.octets.extend_from_slice(b"\r\n");
    }

    /// Adds whole reply lines.
    pub fn push_octets(&mut self, lines: &[u8]) {
        self.octets.extend_from_slice(lines);
    }

    /// Octets waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// What waits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    /// Takes what waits; the rest of the allocation stays for the replies to come.
    pub fn take(&mut self) -> BytesMut {
        self.octets.split()
    }

    /// Forgets what waits and keeps the allocation.
    pub fn clear(&mut self) {
        self.octets.clear();
    }
}
