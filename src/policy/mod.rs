//! What is allowed: facts in, a verdict with a reason out.
//!
//! Level 1: may name `message` and use `idna` and `hashbrown`; sees no socket, clock or file, and no protocol. The reasons are
//! [`Refusal`]s; `smtp` has the one table that turns them into reply codes and words.

pub mod limits;
pub mod recipients;

pub use limits::Limits;
pub use recipients::{RecipientCounts, Recipients, RecipientsError};

/// What policy says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go ahead.
    Accept,
    /// Not so, and why.
    Refuse(Refusal),
}

/// Why a recipient or a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The recipient's domain is not one this gateway takes mail for.
    RelayDenied,
    /// The domain is ours, the mailbox is not known.
    UnknownRecipient,
    /// The transaction already has as many recipients as it may.
    TooManyRecipients,
    /// The message is larger than the limit, as announced by SIZE= or as it came.
    MessageTooLarge,
    /// The message holds a CR or LF that is not part of a CR LF.
    BareLineEnd,
}

impl Refusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::RelayDenied,
        Self::UnknownRecipient,
        Self::TooManyRecipients,
        Self::MessageTooLarge,
        Self::BareLineEnd,
    ];

    /// The word for it in counters and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RelayDenied => "relay_denied",
            Self::UnknownRecipient => "unknown_recipient",
            Self::TooManyRecipients => "too_many_recipients",
            Self::MessageTooLarge => "message_too_large",
            Self::BareLineEnd => "bare_line_end",
        }
    }
}
