//! Addresses as they are compared: local parts without regard to case and by what they mean (`"a"@b` is `a@b`),
//! domains as A-labels in lower case.

use crate::message::address::DOMAIN_LEN_MAX;
use crate::message::{Domain, Mailbox};

/// Appends the mailbox as it is compared, and says where its `@` stands; `None` when the domain cannot be one.
pub(super) fn fold_mailbox(mailbox: &Mailbox<'_>, key: &mut Vec<u8>) -> Option<usize> {
    key.extend(mailbox.local_part_unquoted());
    match mailbox.local_part().is_ascii() {
        true => key.make_ascii_lowercase(),
        false => *key = String::from_utf8_lossy(key).to_lowercase().into_bytes(),
    }
    let at = key.len();
    key.push(b'@');
    fold_domain(&mailbox.domain(), key).then_some(at)
}

/// Appends the domain as it is compared: ASCII in lower case, U-labels as A-labels (RFC 5891 section 5).
pub(super) fn fold_domain(domain: &Domain<'_>, key: &mut Vec<u8>) -> bool {
    let text = domain.text();
    if text.is_ascii() {
        key.extend(text.iter().map(u8::to_ascii_lowercase));
        return true;
    }
    let ascii = std::str::from_utf8(text).ok().and_then(|text| idna::domain_to_ascii(text).ok());
    match ascii {
        Some(ascii) if ascii.len() <= DOMAIN_LEN_MAX => {
            key.extend_from_slice(ascii.as_bytes());
            true
        }
        _ => false,
    }
}
