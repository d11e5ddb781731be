//! The values that cross threads: a mail message with its envelope, and the numbers that name its place.
//!
//! Level 0: may use `bytes`, `memchr` and the CRC crate; sees no socket, clock or file. `smtp` builds an
//! [`Envelope`] and a [`Body`] from what a client says, `commit` hands both to `log` unchanged, and a reader
//! gets the same two values back. Copies: the envelope is copied once, into one small block, when MAIL and
//! RCPT are accepted; that block goes to disk as it is. The body's octets stay in the chunks they were received
//! in, except slices under [`body::JOIN_MAX`] octets, which are joined by copying.

pub mod address;
pub mod body;
pub mod envelope;
pub mod outcome;
pub mod position;

pub use address::{AddressError, Domain, ForwardPath, Mailbox, ReversePath};
pub use body::{Body, BodyBuilder};
pub use envelope::{Envelope, EnvelopeBuilder, Greeting};
pub use outcome::{Outcome, StorageRefusal};
pub use position::{Lsn, Partition, Receipt, Ticket, Timestamp};

/// One complete mail message: who sent it to whom, and its text.
///
/// It exists only after the end of data was seen; before that there is a transaction in `smtp`.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who sent it, to whom, from where.
    pub envelope: Envelope,
    /// The text between DATA and its end, dots unstuffed.
    pub body: Body,
}

impl Message {
    /// The octets this message takes in memory and in the log, without fixed headers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.envelope.block().len() + self.body.len()
    }

    /// True when neither envelope nor body holds an octet; such a message is never made by a session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
