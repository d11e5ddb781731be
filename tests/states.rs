//! Every state with every command: the session against the table, and the table against its printed form.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use mailrace::policy::{Limits, Recipients};
use mailrace::smtp::states::{COMMAND_STATES, PROBES, State, TABLE};
use mailrace::smtp::{BareLf, ReplyBuffer, Session, SessionOptions, Step};

struct Player {
    session: Session,
    replies: ReplyBuffer,
    closed: bool,
}

impl Player {
    fn new() -> Self {
        let recipients = Recipients::listed([], Some("ann@example.org")).expect("a good list");
        let options =
            Arc::new(SessionOptions::new("mx.example.org", Limits::default(), recipients, BareLf::Reject));
        let peer = "192.0.2.9:4025".parse().expect("an address");
        Self { session: Session::new(options, peer, None), replies: ReplyBuffer::new(), closed: false }
    }

    /// Sends one line and gives the code of its reply.
    fn code(&mut self, line: &str) -> u16 {
        let mut input = Bytes::from(format!("{line}\r\n"));
        let step = self.session.step(&mut input, &mut self.replies);
        self.closed = matches!(step, Step::Close);
        let reply = self.replies.take();
        let text = std::str::from_utf8(&reply).expect("a reply in ASCII");
        text.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// Where the session stands, found out from outside: by what it says to DATA, RCPT and MAIL.
    fn state(mut self) -> State {
        if self.closed {
            return State::Closed;
        }
        match self.code("DATA") {
            0 => State::Text,
            354 => State::Recipients,
            554 => State::Refused,
            _ if self.code("RCPT TO:<ann@example.org>") == 250 => State::Mail,
            _ if self.code("MAIL FROM:<a@b>") == 250 => State::Idle,
            _ => State::Connected,
        }
    }
}

#[test]
fn every_command_in_every_state_has_the_reply_and_the_next_state_of_the_table() {
    for (probe, row) in PROBES.iter().zip(TABLE) {
        for ((state, path), expected) in COMMAND_STATES.iter().zip(row) {
            let mut player = Player::new();
            for line in *path {
                player.code(line);
            }
            let code = player.code(probe.line);
            assert_eq!((code, player.state()), expected, "{} in {state:?}", probe.name);
        }
    }
}

#[test]
fn the_table_in_the_documentation_is_the_one_that_is_tested() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/smtp.md");
    let document = fs::read_to_string(&path).expect("docs/smtp.md");
    let printed = printed_table();
    assert!(document.contains(&printed), "docs/smtp.md must hold this table:\n{printed}");
}

fn printed_table() -> String {
    let heads: Vec<String> = COMMAND_STATES.iter().map(|(state, _)| state.to_string()).collect();
    let mut printed = format!("| | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for (probe, row) in PROBES.iter().zip(TABLE) {
        let cells = COMMAND_STATES.iter().zip(row).map(|((state, _), (code, next))| match next == *state {
            true => code.to_string(),
            false => format!("{code}, then {next}"),
        });
        printed += &format!("| {} | {} |\n", probe.name, cells.collect::<Vec<_>>().join(" | "));
    }
    printed
}
