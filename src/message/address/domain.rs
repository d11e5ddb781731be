//! Domains: names and address literals (RFC 5321 sections 4.1.2 and 4.1.3).

use std::net::Ipv6Addr;

use super::{AddressError, DOMAIN_LEN_MAX};

/// RFC 1035 section 2.3.4.
const LABEL_LEN_MAX: usize = 63;

/// The octets of the domain that begins `text`.
pub(super) fn len(text: &[u8]) -> Result<usize, AddressError> {
    let len = match text {
        [b'[', ..] => literal_len(text)?,
        _ => name_len(text)?,
    };
    match len {
        ..=DOMAIN_LEN_MAX => Ok(len),
        _ => Err(AddressError { reason: "domain longer than 255 octets" }),
    }
}

/// Domain = sub-domain *("." sub-domain); sub-domain = Let-dig [Ldh-str] / U-label
fn name_len(text: &[u8]) -> Result<usize, AddressError> {
    let mut len = 0;
    loop {
        let label = text[len..].iter().take_while(|octet| is_label_octet(**octet)).count();
        match &text[len..len + label] {
            [] => return Err(AddressError { reason: "a domain needs letters or digits around each dot" }),
            [b'-', ..] | [.., b'-'] => {
                return Err(AddressError { reason: "a domain label begins or ends with a hyphen" });
            }
            label if label.is_ascii() && label.len() > LABEL_LEN_MAX => {
                return Err(AddressError { reason: "a domain label longer than 63 octets" });
            }
            _ => len += label,
        }
        match text.get(len) {
            Some(b'.') => len += 1,
            _ => return Ok(len),
        }
    }
}

const fn is_label_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'-' || octet >= 0x80
}

/// address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"
fn literal_len(text: &[u8]) -> Result<usize, AddressError> {
    const MALFORMED: AddressError = AddressError { reason: "malformed address literal" };
    let end = text.iter().position(|octet| *octet == b']').ok_or(MALFORMED)?;
    let content = &text[1..end];
    let is_good = match content.iter().position(|octet| *octet == b':') {
        None => is_ipv4(content),
        Some(colon) if content[..colon].eq_ignore_ascii_case(b"IPv6") => is_ipv6(&content[colon + 1..]),
        Some(colon) => is_tag(&content[..colon]) && is_general_content(&content[colon + 1..]),
    };
    if is_good { Ok(end + 1) } else { Err(MALFORMED) }
}

/// Snum 3("." Snum); a Snum may have leading zeros.
fn is_ipv4(text: &[u8]) -> bool {
    let is_snum = |part: &[u8]| {
        (1..=3).contains(&part.len())
            && part.iter().all(u8::is_ascii_digit)
            && part.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')) <= 255
    };
    text.split(|octet| *octet == b'.').count() == 4 && text.split(|octet| *octet == b'.').all(is_snum)
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Standardized-tag = Ldh-str
fn is_tag(text: &[u8]) -> bool {
    text.last().is_some_and(u8::is_ascii_alphanumeric)
        && text.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
}

/// 1*dcontent; dcontent = %d33-90 / %d94-126
fn is_general_content(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|octet| matches!(octet, b'!'..=b'Z' | b'^'..=b'~'))
}
