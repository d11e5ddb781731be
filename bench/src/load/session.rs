//! The client's side of one SMTP connection, without I/O: reply lines in, what to write next out.
//!
//! ```text
//! lockstep    220 EHLO | 250 MAIL | 250 RCPT | 250 DATA | 354 text | 250 MAIL | ...      four round trips
//! pipelined   220 EHLO | 250 MAIL RCPT DATA | 354 text MAIL RCPT DATA | 354 text QUIT    one round trip
//! ```
//! DATA stands last in its group (RFC 2920 section 3.1), so the text waits for the 354 in both.
//!
//! A visit is `220 EHLO | 250 QUIT | 221`.
//!
//! A session that has no message to send, and may get one later, is idle until [`Session::start`].

use super::reply::ReplyLine;
use super::supply::{Claim, Supply};

pub use super::piece::{Piece, Stage};

/// When to write commands without waiting for the replies to those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pipelining {
    /// Whatever the server announces.
    Always,
    /// When the server's EHLO reply announces PIPELINING.
    Announced,
    /// Never: each command waits for its reply.
    Never,
}

/// What a connection is opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Errand {
    /// Messages.
    #[default]
    Mail,
    /// EHLO and QUIT. The visit takes the place of a message, and its 221 that of the 250.
    Visit,
}

/// How every session of a run behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// When to pipeline.
    pub pipelining: Pipelining,
    /// Recipients per message.
    pub recipient_count: u32,
    /// Messages after which a connection is ended by QUIT; `None` keeps it for the whole run.
    pub messages_per_connection: Option<u32>,
    /// What its connections are opened for.
    pub errand: Errand,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The end of data was answered 250.
    Accepted,
    /// A reply before or after the text said no.
    Refused,
}

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: more replies are due.
    Wait,
    /// Write this.
    Send(Piece),
    /// Nothing until there is a message to send; then [`Session::start`].
    Rest,
    /// Close: the session has ended as it should.
    Close,
    /// Close: the server does not want to talk (a refused greeting or EHLO, or a 421).
    GiveUp,
}

/// What one reply line leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The reply, when it is not the one hoped for.
    pub refusal: Option<(Stage, u16)>,
    /// Set by the reply that decides a message, with the message.
    pub verdict: Option<(Verdict, Claim)>,
    /// What to do now.
    pub next: Next,
}

/// What a reply decides, and what to do now.
type Decision = (Option<(Verdict, Claim)>, Next);

/// One connection's dialogue.
#[derive(Debug)]
pub struct Session {
    manner: Manner,
    pipelines: bool,
    /// The write whose replies are due.
    sent: Piece,
    stage: Stage,
    messages_left: u32,
    /// The message that is decided next.
    current: Option<Claim>,
    /// The one whose envelope is under way behind the text of `current`.
    following: Option<Claim>,
    transaction: Transaction,
}

/// What the replies have said of the message whose envelope was sent last.
#[derive(Debug, Default)]
struct Transaction {
    recipients_answered: u32,
    recipients_accepted: u32,
    /// Only MAIL can be told off here; a refused DATA or text decides by itself.
    is_mail_refused: bool,
}

impl Session {
    /// A session that waits for the greeting.
    pub fn new(manner: Manner) -> Self {
        Self {
            manner,
            pipelines: manner.pipelining == Pipelining::Always,
            sent: Piece::Hello,
            stage: Stage::Greeting,
            messages_left: manner.messages_per_connection.unwrap_or(u32::MAX),
            current: None,
            following: None,
            transaction: Transaction::default(),
        }
    }

    /// What the next reply answers.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Has the session send `claim` as soon as it has been greeted.
    pub fn prepare(&mut self, claim: Claim) {
        self.messages_left -= u32::from(self.manner.messages_per_connection.is_some());
        self.current = Some(claim);
    }

    /// The message that is decided next: the one whose text is written next, or was written last.
    pub fn current(&self) -> Option<Claim> {
        self.current
    }

    /// Whether the session waits for a message.
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// Lets an idle session go on: with a message when one is due, with QUIT when none will ever come.
    pub fn start(&mut self, supply: &mut Supply) -> Next {
        let next = self.begin_message(supply);
        self.note(next);
        next
    }

    /// At the end of a connection, what had begun and no reply has decided.
    pub fn lost(&self) -> Option<Claim> {
        self.current.filter(|_| !self.is_unbegun())
    }

    /// At the end of a connection, what another may still send: nothing but its envelope was ever under way.
    pub fn unsent(&self) -> Option<Claim> {
        if self.is_unbegun() { self.current } else { self.following }
    }

    fn is_unbegun(&self) -> bool {
        matches!(self.stage, Stage::Greeting | Stage::Hello)
    }

    /// Takes one line of a reply; new messages are claimed from `supply`.
    pub fn take(&mut self, line: ReplyLine<'_>, supply: &mut Supply) -> Step {
        if self.stage == Stage::Hello && announces_pipelining(line.text) {
            self.pipelines |= self.manner.pipelining == Pipelining::Announced;
        }
        if !line.is_last {
            return Step { refusal: None, verdict: None, next: Next::Wait };
        }
        let is_good = self.stage.expects(line.code);
        let refusal = (!is_good).then_some((self.stage, line.code));
        if line.code == 421 {
            return Step { refusal, verdict: None, next: Next::GiveUp };
        }
        let (verdict, next) = self.advance(is_good, supply);
        self.note(next);
        Step { refusal, verdict, next }
    }

    fn note(&mut self, next: Next) {
        match next {
            Next::Send(piece) => {
                self.sent = piece;
                self.stage = piece.first_stage();
            }
            Next::Rest => self.stage = Stage::Idle,
            Next::Wait | Next::Close | Next::GiveUp => {}
        }
    }

    fn advance(&mut self, is_good: bool, supply: &mut Supply) -> Decision {
        match self.stage {
            Stage::Greeting if is_good => (None, Next::Send(Piece::Hello)),
            Stage::Hello if is_good => (None, self.begin_message(supply)),
            Stage::Greeting | Stage::Hello | Stage::Idle => (None, Next::GiveUp),
            Stage::Mail => self.after_mail(is_good, supply),
            Stage::Recipient => self.after_recipient(is_good, supply),
            Stage::Data => self.after_data(is_good, supply),
            Stage::Body => self.after_body(is_good, supply),
            Stage::Reset if self.sent.holds_envelope() => {
                self.stage = Stage::Mail;
                (None, Next::Wait)
            }
            Stage::Reset => (None, self.begin_message(supply)),
            Stage::Quit => (self.end_visit(is_good), Next::Close),
        }
    }

    fn begin_message(&mut self, supply: &mut Supply) -> Next {
        if self.current.is_none() {
            self.current = self.claim(supply);
        }
        match (self.current, self.pipelines) {
            (Some(_), _) if self.manner.errand == Errand::Visit => Next::Send(Piece::Quit),
            (None, _) if self.is_done(supply) => Next::Send(Piece::Quit),
            (None, _) => Next::Rest,
            (Some(_), true) => Next::Send(Piece::Envelope),
            (Some(_), false) => Next::Send(Piece::Mail),
        }
    }

    /// Whether no further message can come to this session.
    fn is_done(&self, supply: &Supply) -> bool {
        self.messages_left == 0 || !supply.has_more()
    }

    fn after_mail(&mut self, is_good: bool, supply: &mut Supply) -> Decision {
        self.transaction = Transaction { is_mail_refused: !is_good, ..Transaction::default() };
        if self.sent.holds_envelope() {
            self.stage = Stage::Recipient;
            return (None, Next::Wait);
        }
        if is_good { (None, Next::Send(Piece::Recipient)) } else { self.refuse(supply) }
    }

    fn after_recipient(&mut self, is_good: bool, supply: &mut Supply) -> Decision {
        self.transaction.recipients_answered += 1;
        self.transaction.recipients_accepted += u32::from(is_good);
        let is_last = self.transaction.recipients_answered == self.manner.recipient_count;
        match (is_last, self.sent.holds_envelope()) {
            (false, true) => (None, Next::Wait),
            (true, true) => {
                self.stage = Stage::Data;
                (None, Next::Wait)
            }
            (false, false) => (None, Next::Send(Piece::Recipient)),
            (true, false) if self.has_recipient() => (None, Next::Send(Piece::Data)),
            (true, false) => self.refuse(supply),
        }
    }

    fn after_data(&mut self, is_good: bool, supply: &mut Supply) -> Decision {
        if !is_good {
            return self.refuse(supply);
        }
        if !self.has_recipient() {
            return (None, Next::Send(Piece::NoText));
        }
        if self.pipelines {
            self.following = self.claim(supply);
        }
        let piece = match self.following {
            Some(_) => Piece::BodyThenEnvelope,
            None if self.pipelines && self.is_done(supply) => Piece::BodyThenQuit,
            None => Piece::Body,
        };
        (None, Next::Send(piece))
    }

    fn after_body(&mut self, is_good: bool, supply: &mut Supply) -> Decision {
        let is_accepted = is_good && self.sent != Piece::NoText;
        let verdict = self.decide(if is_accepted { Verdict::Accepted } else { Verdict::Refused });
        match self.sent {
            Piece::BodyThenEnvelope => {
                self.stage = Stage::Mail;
                (verdict, Next::Wait)
            }
            Piece::BodyThenQuit => {
                self.stage = Stage::Quit;
                (verdict, Next::Wait)
            }
            _ => (verdict, self.begin_message(supply)),
        }
    }

    /// The message failed before its text; RSET drops what the server may still hold of it.
    fn refuse(&mut self, supply: &mut Supply) -> Decision {
        let verdict = self.decide(Verdict::Refused);
        self.current = self.claim(supply);
        let next = match self.current {
            Some(_) if self.pipelines => Piece::ResetThenEnvelope,
            None if self.is_done(supply) => Piece::Quit,
            _ => Piece::Reset,
        };
        (verdict, Next::Send(next))
    }

    fn end_visit(&mut self, is_good: bool) -> Option<(Verdict, Claim)> {
        let is_visit = self.manner.errand == Errand::Visit;
        let verdict = if is_good { Verdict::Accepted } else { Verdict::Refused };
        is_visit.then(|| self.decide(verdict)).flatten()
    }

    /// Ends the message under way; the one behind it is the next.
    fn decide(&mut self, verdict: Verdict) -> Option<(Verdict, Claim)> {
        let decided = std::mem::replace(&mut self.current, self.following.take());
        decided.map(|claim| (verdict, claim))
    }

    fn claim(&mut self, supply: &mut Supply) -> Option<Claim> {
        let claim = (self.messages_left > 0).then(|| supply.claim()).flatten()?;
        self.messages_left -= u32::from(self.manner.messages_per_connection.is_some());
        Some(claim)
    }

    fn has_recipient(&self) -> bool {
        !self.transaction.is_mail_refused && self.transaction.recipients_accepted > 0
    }
}

fn announces_pipelining(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"PIPELINING")
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
