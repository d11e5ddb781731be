//! The words of a dialogue: what is written at once, and what a reply answers.

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

    pub(super) fn first_stage(self) -> Stage {
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

    pub(super) fn holds_envelope(self) -> bool {
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
    /// No reply is due.
    Idle,
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
            Self::Idle => "nothing",
        }
    }

    pub(super) fn expects(self, code: u16) -> bool {
        match self {
            Self::Greeting => code == 220,
            Self::Hello | Self::Mail | Self::Body | Self::Reset => code == 250,
            Self::Recipient => code == 250 || code == 251,
            Self::Data => code == 354,
            Self::Quit => code == 221,
            Self::Idle => false,
        }
    }
}
