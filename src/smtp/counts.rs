//! What happened in a session, as plain numbers that its driver may take away.

use crate::policy::Refusal;

/// Why a command was not carried out though no policy forbids it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Not a command.
    Unrecognized,
    /// A command we know and do not offer.
    NotImplemented,
    /// Its arguments do not parse.
    Syntax,
    /// A parameter of MAIL or RCPT we did not announce.
    Parameter,
    /// Not now.
    Sequence,
    /// The line was ended by LF, or held a CR by itself.
    BareLineEnd,
    /// The line was longer than the limit.
    LineTooLong,
    /// A TLS hello or an HTTP request.
    ForeignProtocol,
}

impl Fault {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Unrecognized,
        Self::NotImplemented,
        Self::Syntax,
        Self::Parameter,
        Self::Sequence,
        Self::BareLineEnd,
        Self::LineTooLong,
        Self::ForeignProtocol,
    ];

    /// The word for it in counters and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unrecognized => "unrecognized",
            Self::NotImplemented => "not_implemented",
            Self::Syntax => "syntax",
            Self::Parameter => "parameter",
            Self::Sequence => "sequence",
            Self::BareLineEnd => "command_bare_line_end",
            Self::LineTooLong => "line_too_long",
            Self::ForeignProtocol => "foreign_protocol",
        }
    }
}

/// Counts since the session began or since they were last taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionCounts {
    /// Command lines, good and bad.
    pub commands: u64,
    /// Recipients answered 250.
    pub recipients_accepted: u64,
    /// Messages handed over by [`crate::smtp::Step::Submit`].
    pub messages_submitted: u64,
    /// Recipients and messages refused, by `Refusal as usize`.
    pub refused: [u64; Refusal::ALL.len()],
    /// Commands not carried out, by `Fault as usize`.
    pub faults: [u64; Fault::ALL.len()],
    /// Sessions ended for too many of them: 0 or 1.
    pub bad_commands_exceeded: u64,
}
