//! Local parts: dot-strings and quoted strings.

use super::AddressError;

/// The octets of the local part that begins `text`.
pub(super) fn len(text: &[u8]) -> Result<usize, AddressError> {
    match text {
        [] => Err(AddressError { reason: "no address" }),
        [b'"', ..] => quoted_string_len(text),
        _ => dot_string_len(text),
    }
}

/// What the local part means: quotes and the backslashes of quoted pairs taken away.
pub(super) fn unquoted<'a>(local_part: &'a [u8]) -> impl Iterator<Item = u8> + 'a {
    let inside = local_part.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let mut octets = inside.unwrap_or(local_part).iter();
    std::iter::from_fn(move || match octets.next() {
        // A dot-string holds no backslash.
        Some(b'\\') => octets.next().copied(),
        octet => octet.copied(),
    })
}

/// Dot-string = Atom *("." Atom)
fn dot_string_len(text: &[u8]) -> Result<usize, AddressError> {
    let mut len = 0;
    loop {
        let atom = text[len..].iter().take_while(|octet| is_atext(**octet)).count();
        if atom == 0 {
            return Err(AddressError { reason: "a local part needs letters or digits around each dot" });
        }
        len += atom;
        match text.get(len) {
            Some(b'.') => len += 1,
            _ => return Ok(len),
        }
    }
}

/// Quoted-string = DQUOTE *QcontentSMTP DQUOTE, where QcontentSMTP is a printable octet or a backslash and one.
fn quoted_string_len(text: &[u8]) -> Result<usize, AddressError> {
    let mut position = 1;
    loop {
        match text.get(position) {
            Some(b'"') => return Ok(position + 1),
            Some(b'\\') => {
                // quoted-pairSMTP = %d92 %d32-126
                if !matches!(text.get(position + 1), Some(b' '..=b'~')) {
                    return Err(AddressError { reason: "a backslash with nothing printable behind it" });
                }
                position += 2;
            }
            Some(b' '..=b'~' | 0x80..) => position += 1,
            Some(_) => return Err(AddressError { reason: "a control octet in a quoted local part" }),
            None => return Err(AddressError { reason: "the quoted local part does not end" }),
        }
    }
}

/// RFC 5322 section 3.2.3, with UTF8-non-ascii as RFC 6531 section 3.3 adds it.
const fn is_atext(octet: u8) -> bool {
    matches!(octet,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | 0x80..
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'/'
        | b'=' | b'?' | b'^' | b'_' | b'`' | b'{' | b'|' | b'}' | b'~')
}
