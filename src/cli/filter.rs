//! Which messages `log find` is asked for: conditions on the envelope, the size and the header section.
//!
//! All conditions given must hold, one that is given twice both times. Letter case makes no difference; only that of
//! ASCII is folded in addresses. Nothing here needs the text behind the header section.

use std::str::FromStr;

use clap::Args;

use super::units;
use crate::log::Head;
use crate::message::Receipt;

/// Conditions; without any, every message is meant.
#[derive(Debug, Default, Args)]
pub struct FilterArguments {
    /// From or to this address: user@example.org, a domain (example.org), or either with * and ? in it.
    #[arg(long, value_name = "PATTERN")]
    pub address: Vec<AddressPattern>,
    /// From this address; <> is the null reverse-path of bounces.
    #[arg(long, value_name = "PATTERN")]
    pub sender: Vec<AddressPattern>,
    /// To this address.
    #[arg(long, value_name = "PATTERN")]
    pub recipient: Vec<AddressPattern>,
    /// From this client, as in 192.0.2.7 or 2001:db8:*.
    #[arg(long, value_name = "IP")]
    pub peer: Vec<Glob>,
    /// With this header field: Subject:~text for one that holds the text, Subject:text for one that is the text,
    /// Subject for any. Encoded words are decoded.
    #[arg(long, value_name = "FIELD")]
    pub header: Vec<HeaderCondition>,
    /// Of this size or larger, as in 1MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub min_size: Option<u64>,
    /// Of this size or smaller.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub max_size: Option<u64>,
    /// The message with this receipt.
    #[arg(long, value_name = "RECEIPT", conflicts_with_all = ["from", "until"])]
    pub receipt: Option<Receipt>,
}

impl FilterArguments {
    /// Whether a message is meant.
    pub(super) fn matches(&self, head: &Head) -> bool {
        let sender = head.envelope.reverse_path();
        let to = |pattern: &AddressPattern| head.envelope.forward_paths().any(|path| pattern.matches(path));
        let peer = || head.envelope.peer().ip().to_string();
        self.receipt.is_none_or(|receipt| receipt == head.receipt)
            && self.min_size.is_none_or(|size| head.body_len >= size)
            && self.max_size.is_none_or(|size| head.body_len <= size)
            && self.sender.iter().all(|pattern| pattern.matches(sender))
            && self.recipient.iter().all(to)
            && self.address.iter().all(|pattern| pattern.matches(sender) || to(pattern))
            && self.peer.iter().all(|glob| glob.matches(peer().as_bytes()))
            && self.header.iter().all(|condition| condition.matches(&head.header_section))
    }
}

/// A pattern in which `*` stands for any octets and `?` for one. Brackets stand for themselves, as address literals
/// need them, which is why it is none of the shell's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<u8>);

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => {
                Err("an empty pattern matches nothing; leave the option out to match everything".to_owned())
            }
            _ => Ok(Self(text.as_bytes().to_vec())),
        }
    }
}

impl Glob {
    /// Whether all of `text` follows the pattern. Takes at most the product of both lengths.
    fn matches(&self, text: &[u8]) -> bool {
        let (mut at, mut text_at) = (0, 0);
        // Behind the last star, and where in the text what it stands for ends.
        let mut star = None;
        while text_at < text.len() {
            match self.0.get(at) {
                Some(b'*') => {
                    at += 1;
                    star = Some((at, text_at));
                }
                Some(octet) if *octet == b'?' || octet.eq_ignore_ascii_case(&text[text_at]) => {
                    (at, text_at) = (at + 1, text_at + 1);
                }
                _ => {
                    let Some((behind, end)) = star else { return false };
                    (at, text_at) = (behind, end + 1);
                    star = Some((behind, text_at));
                }
            }
        }
        self.0[at..].iter().all(|octet| *octet == b'*')
    }
}

/// Which paths are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressPattern {
    /// The whole path follows a pattern.
    Path(Glob),
    /// What stands behind its `@` does.
    Domain(Glob),
    /// The null reverse-path.
    Null,
}

impl FromStr for AddressPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('<').and_then(|text| text.strip_suffix('>')) {
            Some("") => Ok(Self::Null),
            Some(path) => path.parse().map(Self::Path),
            None => match text.strip_prefix('@') {
                Some(domain) => domain.parse().map(Self::Domain),
                None if text.contains('@') => text.parse().map(Self::Path),
                None => text.parse().map(Self::Domain),
            },
        }
    }
}

impl AddressPattern {
    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Path(glob) => glob.matches(path),
            Self::Domain(glob) => domain(path).is_some_and(|domain| glob.matches(domain)),
            Self::Null => path.is_empty(),
        }
    }
}

/// What stands behind the last `@` of a path, if there is one: a quoted local part may hold others.
pub(super) fn domain(path: &[u8]) -> Option<&[u8]> {
    path.iter().rposition(|octet| *octet == b'@').map(|at| &path[at + 1..])
}

/// A condition on one field of the header section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderCondition {
    name: String,
    value: ValueCondition,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ValueCondition {
    Any,
    /// In lower case.
    Is(String),
    /// In lower case.
    Holds(String),
}

impl FromStr for HeaderCondition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once(':') {
            None => (text, ValueCondition::Any),
            Some((name, value)) => match value.strip_prefix('~') {
                Some(part) => (name, ValueCondition::Holds(part.trim().to_lowercase())),
                None => (name, ValueCondition::Is(value.trim().to_lowercase())),
            },
        };
        // RFC 5322 section 2.2: printable ASCII without the colon.
        if name.is_empty() || !name.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(format!(
                "'{text}' begins with no name of a header field; write it as in Subject:~text"
            ));
        }
        Ok(Self { name: name.to_owned(), value })
    }
}

impl HeaderCondition {
    fn matches(&self, header_section: &[u8]) -> bool {
        let named = |field: &&[u8]| name(field).eq_ignore_ascii_case(self.name.as_bytes());
        fields(header_section).filter(named).any(|field| match &self.value {
            ValueCondition::Any => true,
            ValueCondition::Is(wanted) => value(field).to_lowercase() == *wanted,
            ValueCondition::Holds(wanted) => value(field).to_lowercase().contains(wanted),
        })
    }
}

/// The header fields, each with the lines it is folded over (RFC 5322 section 2.2.3).
fn fields(header_section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = header_section;
    std::iter::from_fn(move || {
        let is_fold = |octets: &[u8]| matches!(octets, [b' ' | b'\t', ..]);
        let mut end = 0;
        loop {
            end = memchr::memchr(b'\n', &rest[end..]).map_or(rest.len(), |at| end + at + 1);
            if !is_fold(&rest[end..]) {
                break;
            }
        }
        let field;
        (field, rest) = rest.split_at(end);
        (!field.is_empty()).then_some(field)
    })
}

/// The name of a field; no octets where there is none. Blanks before the colon are of the obsolete syntax.
fn name(field: &[u8]) -> &[u8] {
    let end = memchr::memchr(b':', field).unwrap_or(0);
    field[..end].trim_ascii_end()
}

/// The value of a field as a person reads it: a blank for each fold, encoded words decoded (RFC 2047).
fn value(field: &[u8]) -> String {
    let decoded = memchr::memmem::find(field, b"=?").and_then(|_| mailparse::parse_header(field).ok());
    if let Some((header, _)) = decoded {
        return header.get_value().trim().to_owned();
    }
    let value = memchr::memchr(b':', field).map_or(&b""[..], |at| &field[at + 1..]);
    let lines = value.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    String::from_utf8_lossy(&lines.collect::<Vec<_>>().join(&b' ')).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path_matches(pattern: &str, path: &str) -> bool {
        pattern.parse::<AddressPattern>().expect(pattern).matches(path.as_bytes())
    }

    #[test]
    fn a_pattern_is_an_address_or_a_domain() {
        for (pattern, path, matches) in [
            ("bob@example.org", "Bob@EXAMPLE.org", true),
            ("bob@example.org", "xbob@example.org", false),
            ("example.org", "bob@example.org", true),
            ("@example.org", "bob@example.org", true),
            ("example.org", "bob@mail.example.org", false),
            ("*.example.org", "bob@mail.example.org", true),
            ("*.example.org", "bob@example.org", false),
            ("b?b@*", "bob@example.org", true),
            ("*+tag@*", "bob+tag@example.org", true),
            ("[192.0.2.1]", "bob@[192.0.2.1]", true),
            ("example.org", "\"a@other.example\"@example.org", true),
            ("*", "postmaster", false),
            ("<postmaster>", "Postmaster", true),
            ("<>", "", true),
            ("<>", "bob@example.org", false),
            ("*", "", false),
            ("<bob@example.org>", "bob@example.org", true),
        ] {
            assert_eq!(path_matches(pattern, path), matches, "{pattern} {path}");
        }
        assert!("".parse::<AddressPattern>().is_err());
        assert!("@".parse::<AddressPattern>().is_err());
    }

    const SECTION: &[u8] = b"Subject: A long\r\n  and folded =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nX-Empty:\r\n\
        list-id : <x.example>\r\nNo colon here\r\nSubject: second\r\n\r\n";

    fn header_matches(condition: &str) -> bool {
        condition.parse::<HeaderCondition>().expect(condition).matches(SECTION)
    }

    #[test]
    fn a_header_field_is_found_by_name_value_or_part() {
        for condition in [
            "subject",
            "Subject:~FOLDED",
            "Subject:~long and folded",
            "Subject:~GRÜ",
            "Subject:~grüße",
            "Subject:second",
            "Subject: second ",
            "X-Empty",
            "X-Empty:",
            "List-Id:<x.example>",
        ] {
            assert!(header_matches(condition), "{condition}");
        }
        for condition in ["Subjec", "Subject:sec", "X-Empty:~x", "From", "No", "list-id:~second"] {
            assert!(!header_matches(condition), "{condition}");
        }
        for condition in ["", ":x", "Two words:x", "Gr\u{fc}n"] {
            assert!(condition.parse::<HeaderCondition>().is_err(), "{condition}");
        }
    }

    #[test]
    fn every_octet_of_a_header_section_is_in_one_field() {
        for section in [SECTION, b"", b"\r\n", b" fold first\r\nA: b", b"A: b\n\tc\nD:", b"\n\n"] {
            assert_eq!(fields(section).flatten().copied().collect::<Vec<u8>>(), section);
        }
    }

    /// The pattern's meaning, written down as it is told.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| naive(rest, &text[at..])),
            ([b'?', rest @ ..], [_, text @ ..]) => naive(rest, text),
            ([octet, rest @ ..], [other, text @ ..]) if octet.eq_ignore_ascii_case(other) => {
                naive(rest, text)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_glob_means_what_its_definition_says(
            pattern in proptest::collection::vec(proptest::sample::select(&b"*?aB"[..]), 1..8),
            text in proptest::collection::vec(proptest::sample::select(&b"aAb"[..]), 0..8),
        ) {
            prop_assert_eq!(Glob(pattern.clone()).matches(&text), naive(&pattern, &text));
        }

        #[test]
        fn any_octets_are_searched_without_a_panic(
            section in proptest::collection::vec(proptest::sample::select(&b"a:=?q \t\r\n\xFF"[..]), 0..60),
        ) {
            for condition in ["a", "a:a", "a:~?="] {
                let _ = condition.parse::<HeaderCondition>().expect("right").matches(&section);
            }
        }
    }
}
