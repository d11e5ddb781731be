//! Slow twins of the scanners and grammars: written to be seen right at a glance, on whole texts, octet by octet.
//!
//! They share no code and no idea with what they are held against; a property or a fuzz target that finds the two
//! in disagreement has found a bug in one of them.

use std::net::Ipv6Addr;

/// One command line as it should be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NaiveLine {
    /// Ended by CR LF, no other CR or LF in it; given without its end.
    Whole(Vec<u8>),
    /// A CR or LF by itself.
    Bare,
    /// Over the limit.
    TooLong,
}

/// All lines of `stream`, and the octets behind the last LF.
#[must_use]
pub fn lines(stream: &[u8], len_max: usize) -> (Vec<NaiveLine>, Vec<u8>) {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    for octet in stream {
        line.push(*octet);
        if *octet == b'\n' {
            lines.push(classify(&line, len_max));
            line.clear();
        }
    }
    (lines, line)
}

fn classify(line: &[u8], len_max: usize) -> NaiveLine {
    if line.len() > len_max {
        return NaiveLine::TooLong;
    }
    match line.strip_suffix(b"\r\n") {
        Some(text) if !text.contains(&b'\r') => NaiveLine::Whole(text.to_vec()),
        _ => NaiveLine::Bare,
    }
}

/// The text of a message as it should be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NaiveText {
    /// Dots unstuffed.
    pub text: Vec<u8>,
    /// A CR or LF by itself stands in what was sent.
    pub bare_line_end: bool,
    /// What stands behind the end of the data.
    pub rest: Vec<u8>,
}

/// Reads `stream` from the start of the text to the end of the data; `None` when there is no end.
#[must_use]
pub fn text(stream: &[u8]) -> Option<NaiveText> {
    // The text begins as if behind a CR LF: put one there, so that the end of an empty text is found too.
    let sent = [b"\r\n", stream].concat();
    let end = (0..sent.len()).find(|at| sent[*at..].starts_with(b"\r\n.\r\n"))?;
    let rest = sent[end + 5..].to_vec();
    let raw = &sent[..end + 2];
    let mut text = Vec::new();
    for (at, octet) in raw.iter().enumerate() {
        let is_stuffed_dot = *octet == b'.' && raw[..at].ends_with(b"\r\n");
        if !is_stuffed_dot && at >= 2 {
            text.push(*octet);
        }
    }
    Some(NaiveText { text, bare_line_end: holds_bare_line_end(raw), rest })
}

/// A CR not followed by LF, or an LF not behind a CR.
#[must_use]
pub fn holds_bare_line_end(raw: &[u8]) -> bool {
    (0..raw.len()).any(|at| match raw[at] {
        b'\r' => raw.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || raw[at - 1] != b'\r',
        _ => false,
    })
}

/// The text as a client sends it: dots stuffed, and the end behind it. A text without CR LF at its end gets one,
/// since there is no way to send it without.
#[must_use]
pub fn stuffed(text: &[u8]) -> Vec<u8> {
    let mut sent = Vec::new();
    for (at, octet) in text.iter().enumerate() {
        if *octet == b'.' && (at == 0 || text[..at].ends_with(b"\r\n")) {
            sent.push(b'.');
        }
        sent.push(*octet);
    }
    if !text.is_empty() && !text.ends_with(b"\r\n") {
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b".\r\n");
    sent
}

/// RFC 5321 section 4.1.2 with RFC 6531, by trying every `@`.
#[must_use]
pub fn is_mailbox(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    if text.chars().any(|c| !c.is_ascii() && (c.is_control() || c.is_whitespace())) {
        return false;
    }
    text.match_indices('@').any(|(at, _)| is_local_part(&text[..at]) && is_domain(&text[at + 1..]))
}

fn is_local_part(text: &str) -> bool {
    let is_atom = |atom: &str| {
        let specials = "!#$%&'*+-/=?^_`{|}~";
        !atom.is_empty()
            && atom.chars().all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || specials.contains(c))
    };
    text.len() <= 64 && (text.split('.').all(is_atom) || is_quoted_string(text))
}

fn is_quoted_string(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    // Take away the quoted pairs; what is left may hold neither a quote nor a backslash nor a control.
    let mut left = String::new();
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        if c == '\\' {
            match characters.next() {
                Some(' '..='~') => continue,
                _ => return false,
            }
        }
        left.push(c);
    }
    !left.contains('"') && !left.chars().any(|c| c.is_ascii_control())
}

fn is_domain(text: &str) -> bool {
    if text.len() > 255 {
        return false;
    }
    if let Some(literal) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return is_literal(literal);
    }
    text.split('.').all(|label| {
        !label.is_empty()
            && (label.len() <= 63 || !label.is_ascii())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || c == '-')
    })
}

fn is_literal(text: &str) -> bool {
    let is_snum = |part: &str| {
        part.len() <= 3
            && part.chars().all(|c| c.is_ascii_digit())
            && part.parse::<u16>().is_ok_and(|n| n < 256)
    };
    match text.split_once(':') {
        None => text.split('.').count() == 4 && text.split('.').all(is_snum),
        Some((tag, address)) if tag.eq_ignore_ascii_case("ipv6") => address.parse::<Ipv6Addr>().is_ok(),
        Some((tag, content)) => {
            !tag.is_empty()
                && !tag.ends_with('-')
                && tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !content.is_empty()
                && content.chars().all(|c| c.is_ascii_graphic() && !"[\\]".contains(c))
        }
    }
}
