//! The client's side of one SMTP connection, without I/O: reply lines in, what to write next out.
//!
//! ```text
//! lockstep    220 EHLO | 250 MAIL | 250 RCPT | 250 DATA | 354 text | 250 MAIL | ...      four round trips
//! pipelined   220 EHLO | 250 MAIL RCPT DATA | 354 text MAIL RCPT DATA | 354 text QUIT    one round trip
//! ```
//! DATA stands last in its group (RFC 2920 section 3.1), so the text waits for the 354 in both.

use super::reply::ReplyLine;
use super::supply::Supply;

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

/// How every session of a run behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// When to pipeline.
    pub pipelining: Pipelining,
    /// Recipients per message.
    pub recipient_count: u32,
    /// Messages after which a connection is ended by QUIT; `None` keeps it for the whole run.
    pub messages_per_connection: Option<u32>,
}

/// What can be written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name spells out the octets")]
pub enum Piece {
    Hello,
    /// MAIL, every RCPT, DATA.
    Envelope,
    Mail,
    Recipient,
    Data,
    /// The text and its end.
    Body,
    BodyThenEnvelope,
    BodyThenQuit,
    /// The end of data alone, for a 354 that came though no recipient was accepted (RFC 2920 section 3.1).
    NoText,
    Reset,
    ResetThenEnvelope,
    Quit,
}

impl Piece {
    /// How many there are.
    pub const COUNT: usize = 12;
    /// All of them, each at its own number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Hello,
        Self::Envelope,
        Self::Mail,
        Self::Recipient,
        Self::Data,
        Self::Body,
        Self::BodyThenEnvelope,
        Self::BodyThenQuit,
        Self::NoText,
        Self::Reset,
        Self::ResetThenEnvelope,
        Self::Quit,
    ];

    /// Whether a message's text begins with this write.
    pub fn starts_with_body(self) -> bool {
        matches!(self, Self::Body | Self::BodyThenEnvelope | Self::BodyThenQuit)
    }

    fn first_stage(self) -> Stage {
        match self {
            Self::Hello => Stage::Hello,
            Self::Envelope | Self::Mail => Stage::Mail,
            Self::Recipient => Stage::Recipient,
            Self::Data => Stage::Data,
            Self::Body | Self::BodyThenEnvelope | Self::BodyThenQuit | Self::NoText => Stage::Body,
            Self::Reset | Self::ResetThenEnvelope => Stage::Reset,
            Self::Quit => Stage::Quit,
        }
    }

    fn holds_envelope(self) -> bool {
        matches!(self, Self::Envelope | Self::BodyThenEnvelope | Self::ResetThenEnvelope)
    }
}

/// What the reply that is due answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the commands of RFC 5321")]
pub enum Stage {
    Greeting,
    Hello,
    Mail,
    Recipient,
    Data,
    /// The end of data.
    Body,
    Reset,
    Quit,
}

impl Stage {
    /// The word a failure is reported under.
    pub fn name(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Hello => "EHLO",
            Self::Mail => "MAIL",
            Self::Recipient => "RCPT",
            Self::Data => "DATA",
            Self::Body => "end of data",
            Self::Reset => "RSET",
            Self::Quit => "QUIT",
        }
    }

    fn expects(self, code: u16) -> bool {
        match self {
            Self::Greeting => code == 220,
            Self::Hello | Self::Mail | Self::Body | Self::Reset => code == 250,
            Self::Recipient => code == 250 || code == 251,
            Self::Data => code == 354,
            Self::Quit => code == 221,
        }
    }
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
    /// Set by the reply that decides a message.
    pub verdict: Option<Verdict>,
    /// What to do now.
    pub next: Next,
}

/// One connection's dialogue.
#[derive(Debug)]
pub struct Session {
    manner: Manner,
    pipelines: bool,
    /// The write whose replies are due.
    sent: Piece,
    stage: Stage,
    messages_left: u32,
    /// Messages claimed from the supply and not yet decided: 2 while a body and the next envelope are under way.
    undecided_count: u32,
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
            undecided_count: 0,
            transaction: Transaction::default(),
        }
    }

    /// What the next reply answers.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Messages claimed from the supply that no reply has decided yet.
    pub fn undecided_count(&self) -> u32 {
        self.undecided_count
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
        if let Next::Send(piece) = next {
            self.sent = piece;
            self.stage = piece.first_stage();
        }
        Step { refusal, verdict, next }
    }

    fn advance(&mut self, is_good: bool, supply: &mut Supply) -> (Option<Verdict>, Next) {
        match self.stage {
            Stage::Greeting if is_good => (None, Next::Send(Piece::Hello)),
            Stage::Hello if is_good => (None, self.begin_message(supply)),
            Stage::Greeting | Stage::Hello => (None, Next::GiveUp),
            Stage::Mail => self.after_mail(is_good, supply),
            Stage::Recipient => self.after_recipient(is_good, supply),
            Stage::Data => self.after_data(is_good, supply),
            Stage::Body => self.after_body(is_good, supply),
            Stage::Reset if self.sent.holds_envelope() => {
                self.stage = Stage::Mail;
                (None, Next::Wait)
            }
            Stage::Reset => (None, Next::Send(Piece::Mail)),
            Stage::Quit => (None, Next::Close),
        }
    }

    fn begin_message(&mut self, supply: &mut Supply) -> Next {
        match (self.claim(supply), self.pipelines) {
            (false, _) => Next::Send(Piece::Quit),
            (true, true) => Next::Send(Piece::Envelope),
            (true, false) => Next::Send(Piece::Mail),
        }
    }

    fn after_mail(&mut self, is_good: bool, supply: &mut Supply) -> (Option<Verdict>, Next) {
        self.transaction = Transaction { is_mail_refused: !is_good, ..Transaction::default() };
        if self.sent.holds_envelope() {
            self.stage = Stage::Recipient;
            return (None, Next::Wait);
        }
        if is_good { (None, Next::Send(Piece::Recipient)) } else { self.refuse(supply) }
    }

    fn after_recipient(&mut self, is_good: bool, supply: &mut Supply) -> (Option<Verdict>, Next) {
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

    fn after_data(&mut self, is_good: bool, supply: &mut Supply) -> (Option<Verdict>, Next) {
        if !is_good {
            return self.refuse(supply);
        }
        if !self.has_recipient() {
            return (None, Next::Send(Piece::NoText));
        }
        let piece = if !self.pipelines {
            Piece::Body
        } else if self.claim(supply) {
            Piece::BodyThenEnvelope
        } else {
            Piece::BodyThenQuit
        };
        (None, Next::Send(piece))
    }

    fn after_body(&mut self, is_good: bool, supply: &mut Supply) -> (Option<Verdict>, Next) {
        self.undecided_count -= 1;
        let is_accepted = is_good && self.sent != Piece::NoText;
        let verdict = Some(if is_accepted { Verdict::Accepted } else { Verdict::Refused });
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
    fn refuse(&mut self, supply: &mut Supply) -> (Option<Verdict>, Next) {
        self.undecided_count -= 1;
        let next = match (self.claim(supply), self.pipelines) {
            (false, _) => Piece::Quit,
            (true, true) => Piece::ResetThenEnvelope,
            (true, false) => Piece::Reset,
        };
        (Some(Verdict::Refused), Next::Send(next))
    }

    fn claim(&mut self, supply: &mut Supply) -> bool {
        let is_claimed = self.messages_left > 0 && supply.claim();
        if is_claimed {
            self.undecided_count += 1;
            if self.manner.messages_per_connection.is_some() {
                self.messages_left -= 1;
            }
        }
        is_claimed
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
