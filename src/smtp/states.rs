//! Every state of a session with every command: the reply code, and the state that follows.
//!
//! This table is not what the session runs on; it is what the session is held against, by `tests/states.rs`, and
//! what `docs/smtp.md` shows. A row is one command in its plain, well-formed shape ([`PROBES`]).

use std::fmt;

use State::{Closed, Connected, Idle, Mail, Recipients, Refused, Text};

/// Where a session may stand when a command comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Greeted by us, nothing said yet.
    Connected,
    /// HELO or EHLO was said; no transaction.
    Idle,
    /// MAIL was accepted; no RCPT yet.
    Mail,
    /// RCPT was sent, and every one refused.
    Refused,
    /// A recipient was accepted.
    Recipients,
    /// DATA was accepted. What comes is text and no command, until its end.
    Text,
    /// The connection is being closed.
    Closed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connected => "connected",
            Self::Idle => "idle",
            Self::Mail => "MAIL given",
            Self::Refused => "all recipients refused",
            Self::Recipients => "recipients given",
            Self::Text => "text",
            Self::Closed => "closed",
        })
    }
}

/// A command and the line that stands for it.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// As the table calls it.
    pub name: &'static str,
    /// What is sent, without CR LF.
    pub line: &'static str,
}

/// What is sent in each state. `nobody@` is the recipient that policy refuses.
pub const PROBES: [Probe; 17] = [
    Probe { name: "HELO", line: "HELO client.example" },
    Probe { name: "EHLO", line: "EHLO client.example" },
    Probe { name: "MAIL", line: "MAIL FROM:<sender@example.net>" },
    Probe { name: "RCPT, accepted", line: "RCPT TO:<ann@example.org>" },
    Probe { name: "RCPT, refused", line: "RCPT TO:<nobody@example.org>" },
    Probe { name: "DATA", line: "DATA" },
    Probe { name: "RSET", line: "RSET" },
    Probe { name: "NOOP", line: "NOOP" },
    Probe { name: "VRFY", line: "VRFY ann" },
    Probe { name: "EXPN", line: "EXPN staff" },
    Probe { name: "HELP", line: "HELP" },
    Probe { name: "QUIT", line: "QUIT" },
    Probe { name: "STARTTLS", line: "STARTTLS" },
    Probe { name: "AUTH", line: "AUTH PLAIN" },
    Probe { name: "BDAT", line: "BDAT 0 LAST" },
    Probe { name: "unknown", line: "FROB" },
    Probe { name: "empty line", line: "" },
];

/// The states in which commands are read, with the lines that lead there.
pub const COMMAND_STATES: [(State, &[&str]); 5] = [
    (State::Connected, &[]),
    (State::Idle, &["EHLO client.example"]),
    (State::Mail, &["EHLO client.example", "MAIL FROM:<sender@example.net>"]),
    (
        State::Refused,
        &["EHLO client.example", "MAIL FROM:<sender@example.net>", "RCPT TO:<nobody@example.org>"],
    ),
    (
        State::Recipients,
        &["EHLO client.example", "MAIL FROM:<sender@example.net>", "RCPT TO:<ann@example.org>"],
    ),
];

/// Reply code and next state.
pub type Cell = (u16, State);

/// One row per probe, one column per state of [`COMMAND_STATES`].
pub const TABLE: [[Cell; COMMAND_STATES.len()]; PROBES.len()] = [
    // Columns: connected, idle, MAIL given, all recipients refused, recipients given.
    [(250, Idle), (250, Idle), (250, Idle), (250, Idle), (250, Idle)],
    [(250, Idle), (250, Idle), (250, Idle), (250, Idle), (250, Idle)],
    [(503, Connected), (250, Mail), (503, Mail), (503, Refused), (503, Recipients)],
    [(503, Connected), (503, Idle), (250, Recipients), (250, Recipients), (250, Recipients)],
    [(503, Connected), (503, Idle), (550, Refused), (550, Refused), (550, Recipients)],
    [(503, Connected), (503, Idle), (503, Mail), (554, Refused), (354, Text)],
    [(250, Connected), (250, Idle), (250, Idle), (250, Idle), (250, Idle)],
    [(250, Connected), (250, Idle), (250, Mail), (250, Refused), (250, Recipients)],
    [(252, Connected), (252, Idle), (252, Mail), (252, Refused), (252, Recipients)],
    [(502, Connected), (502, Idle), (502, Mail), (502, Refused), (502, Recipients)],
    [(214, Connected), (214, Idle), (214, Mail), (214, Refused), (214, Recipients)],
    [(221, Closed), (221, Closed), (221, Closed), (221, Closed), (221, Closed)],
    [(502, Connected), (502, Idle), (502, Mail), (502, Refused), (502, Recipients)],
    [(502, Connected), (502, Idle), (502, Mail), (502, Refused), (502, Recipients)],
    [(502, Connected), (502, Idle), (502, Mail), (502, Refused), (502, Recipients)],
    [(500, Connected), (500, Idle), (500, Mail), (500, Refused), (500, Recipients)],
    [(500, Connected), (500, Idle), (500, Mail), (500, Refused), (500, Recipients)],
];
