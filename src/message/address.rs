//! Mail addresses as RFC 5321 section 4.1.2 writes them; borrowed from the command line they stand in.
//!
//! Pure: octets in, a value or a reason out. Nothing is folded or normalised: what was sent is what is kept.

/// placeholder
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mailbox<'a> {
    /// As sent, quotes included.
    pub local_part: &'a [u8],
    /// Behind the `@`.
    pub domain: Domain<'a>,
}

/// placeholder
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain<'a> {
    /// A domain name, U-labels allowed with SMTPUTF8.
    Name(&'a [u8]),
    /// An address literal with its brackets.
    Literal(&'a [u8]),
}

/// Where notices of failure go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReversePath<'a> {
    /// `<>`
    Null,
    /// `<mailbox>`
    Mailbox(Mailbox<'a>),
}

/// One recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardPath<'a> {
    /// `<postmaster>` without a domain (RFC 5321 section 4.5.1).
    Postmaster(&'a [u8]),
    /// `<mailbox>`
    Mailbox(Mailbox<'a>),
}

/// Why a path is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressError {
    /// In words for the client.
    pub reason: &'static str,
}
