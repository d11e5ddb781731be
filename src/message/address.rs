//! Mail addresses as RFC 5321 section 4.1.2 and RFC 6531 section 3.3 write them, borrowed from the command line
//! they stand in.
//!
//! Pure: octets in, a value or a reason out. Nothing is folded or normalised: what was sent is what is kept. The
//! grammar is always that of RFC 6531; whoever may not send it is found out by [`Mailbox::is_ascii`].
//!
//! ```text
//! argument = *SP path [SP parameters]
//! path     = "<" [source-route ":"] mailbox ">" / mailbox     the second is the classic form of old texts
//! mailbox  = (dot-string / quoted-string) "@" (name / "[" literal "]")
//! ```

mod domain;
mod local_part;

/// RFC 5321 section 4.5.3.1.1: octets of a local part, quotes included.
pub const LOCAL_PART_LEN_MAX: usize = 64;

/// RFC 5321 section 4.5.3.1.2: octets of a domain.
pub const DOMAIN_LEN_MAX: usize = 255;

/// RFC 5321 section 4.5.3.1.3: octets of a path with its brackets and source route.
pub const PATH_LEN_MAX: usize = 256;

/// `local-part@domain`, as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mailbox<'a> {
    text: &'a [u8],
    at: usize,
}

/// What stands behind the `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain<'a> {
    /// A domain name; its labels may be U-labels.
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
    /// `<postmaster>` without a domain (RFC 5321 section 4.1.1.3), in the letters that were sent.
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

impl<'a> Mailbox<'a> {
    /// Reads a text that is nothing but a mailbox.
    ///
    /// # Errors
    /// [`AddressError`] when it is none, or when something stands behind it.
    pub fn parse(text: &'a [u8]) -> Result<Self, AddressError> {
        match split_mailbox(text)? {
            (mailbox, []) => Ok(mailbox),
            _ => Err(AddressError { reason: "something stands behind the address" }),
        }
    }

    /// Splits a text that begins with a mailbox into that and what follows.
    ///
    /// # Errors
    /// [`AddressError`] when it begins with none.
    pub fn split(text: &'a [u8]) -> Result<(Self, &'a [u8]), AddressError> {
        split_mailbox(text)
    }

    /// `local-part@domain`.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// What stands before the `@`, quotes included.
    #[must_use]
    pub fn local_part(&self) -> &'a [u8] {
        &self.text[..self.at]
    }

    /// What the local part means: the octets without quotes and backslashes.
    pub fn local_part_unquoted(&self) -> impl Iterator<Item = u8> + 'a {
        local_part::unquoted(self.local_part())
    }

    /// What stands behind the `@`.
    #[must_use]
    pub fn domain(&self) -> Domain<'a> {
        match &self.text[self.at + 1..] {
            literal @ [b'[', ..] => Domain::Literal(literal),
            name => Domain::Name(name),
        }
    }

    /// False when RFC 6531 is needed to carry it.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }
}

impl<'a> Domain<'a> {
    /// The domain as sent, a literal with its brackets.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        match self {
            Self::Name(text) | Self::Literal(text) => text,
        }
    }
}

impl<'a> ReversePath<'a> {
    /// Splits what follows `MAIL FROM:` into the path and the rest, which is empty or begins with a space.
    ///
    /// # Errors
    /// [`AddressError`] with the reason.
    pub fn parse(argument: &'a [u8]) -> Result<(Self, &'a [u8]), AddressError> {
        let argument = skip_spaces(argument);
        if let Some(rest) = argument.strip_prefix(b"<>") {
            return end_of_path(Self::Null, rest);
        }
        let (path, rest) = split_path(argument)?;
        match path {
            ForwardPath::Mailbox(mailbox) => end_of_path(Self::Mailbox(mailbox), rest),
            ForwardPath::Postmaster(_) => Err(AddressError { reason: "no @ and domain" }),
        }
    }

    /// `local-part@domain`; no octets for the null reverse-path.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        match self {
            Self::Null => b"",
            Self::Mailbox(mailbox) => mailbox.text(),
        }
    }
}

impl<'a> ForwardPath<'a> {
    /// Splits what follows `RCPT TO:` into the path and the rest, which is empty or begins with a space.
    ///
    /// # Errors
    /// [`AddressError`] with the reason.
    pub fn parse(argument: &'a [u8]) -> Result<(Self, &'a [u8]), AddressError> {
        let (path, rest) = split_path(skip_spaces(argument))?;
        end_of_path(path, rest)
    }

    /// `local-part@domain`, or `postmaster` as sent.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        match self {
            Self::Postmaster(text) => text,
            Self::Mailbox(mailbox) => mailbox.text(),
        }
    }
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|octet| **octet == b' ').count();
    &text[spaces..]
}

fn end_of_path<P>(path: P, rest: &[u8]) -> Result<(P, &[u8]), AddressError> {
    match rest {
        [] | [b' ', ..] => Ok((path, rest)),
        _ => Err(AddressError { reason: "something stands right behind the address" }),
    }
}

/// A path with or without angle brackets, and what follows it.
fn split_path(text: &[u8]) -> Result<(ForwardPath<'_>, &[u8]), AddressError> {
    let Some(inside) = text.strip_prefix(b"<") else {
        return within_path_len(text, split_recipient(text)?, 2);
    };
    let (path, rest) = split_recipient(skip_source_route(inside)?)?;
    match rest {
        [b'>', rest @ ..] => within_path_len(text, (path, rest), 0),
        [] => Err(AddressError { reason: "the angle bracket is not closed" }),
        _ => Err(AddressError { reason: "an octet that does not belong in an address" }),
    }
}

/// Holds the path at the front of `text`, which ends where the rest begins, against the limit.
fn within_path_len<'a>(
    text: &[u8],
    (path, rest): (ForwardPath<'a>, &'a [u8]),
    missing_brackets: usize,
) -> Result<(ForwardPath<'a>, &'a [u8]), AddressError> {
    match text.len() - rest.len() + missing_brackets {
        ..=PATH_LEN_MAX => Ok((path, rest)),
        _ => Err(AddressError { reason: "longer than 256 octets" }),
    }
}

/// RFC 5321 section 4.1.2 and appendix C: `@a.example,@b.example:` in front of the mailbox must be accepted and
/// should be ignored.
fn skip_source_route(mut text: &[u8]) -> Result<&[u8], AddressError> {
    const MALFORMED: AddressError = AddressError { reason: "malformed source route" };
    if !text.starts_with(b"@") {
        return Ok(text);
    }
    loop {
        text = text.strip_prefix(b"@").ok_or(MALFORMED)?;
        text = &text[domain::len(text)?..];
        match text {
            [b',', rest @ ..] => text = rest,
            [b':', rest @ ..] => return Ok(rest),
            _ => return Err(MALFORMED),
        }
    }
}

fn split_recipient(text: &[u8]) -> Result<(ForwardPath<'_>, &[u8]), AddressError> {
    const POSTMASTER: usize = b"postmaster".len();
    if let Some((word, rest)) = text.split_at_checked(POSTMASTER)
        && word.eq_ignore_ascii_case(b"postmaster")
        && matches!(rest, [] | [b' ' | b'>', ..])
    {
        return Ok((ForwardPath::Postmaster(word), rest));
    }
    split_mailbox(text).map(|(mailbox, rest)| (ForwardPath::Mailbox(mailbox), rest))
}

fn split_mailbox(text: &[u8]) -> Result<(Mailbox<'_>, &[u8]), AddressError> {
    let at = local_part::len(text)?;
    if at > LOCAL_PART_LEN_MAX {
        return Err(AddressError { reason: "local part longer than 64 octets" });
    }
    if text.get(at) != Some(&b'@') {
        return Err(AddressError { reason: "no @ behind the local part" });
    }
    let len = at + 1 + domain::len(&text[at + 1..])?;
    let (text, rest) = text.split_at(len);
    if !text.is_ascii() {
        check_utf8(text)?;
    }
    Ok((Mailbox { text, at }, rest))
}

/// RFC 6531 section 3.3 adds UTF8-non-ascii; controls and blanks beyond ASCII are as unwelcome as those in it.
fn check_utf8(text: &[u8]) -> Result<(), AddressError> {
    let text = std::str::from_utf8(text).map_err(|_| AddressError { reason: "not UTF-8" })?;
    match text.chars().any(|c| !c.is_ascii() && (c.is_control() || c.is_whitespace())) {
        true => Err(AddressError { reason: "a control or blank that is not ASCII" }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
