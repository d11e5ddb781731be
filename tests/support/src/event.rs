//! Reads the server's events back: one line on stderr, `mailrace: name key=value ...`.

use std::fmt;
use std::net::SocketAddr;

/// One event as the server printed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLine {
    /// What happened.
    pub name: String,
    /// Its facts, in the order printed, quotes and escapes removed.
    pub fields: Vec<(String, String)>,
    /// The line itself.
    pub line: String,
}

impl EventLine {
    /// Takes a line apart; `None` when it is no event.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("mailrace: ")?;
        let (name, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let is_name =
            |text: &str| text.bytes().all(|octet| octet.is_ascii_lowercase() || b"-_".contains(&octet));
        if name.is_empty() || !is_name(name) {
            return None;
        }
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let (key, behind) = rest.split_once('=')?;
            let (value, behind) = split_value(behind)?;
            fields.push((key.to_owned(), value));
            rest = behind;
        }
        Some(Self { name: name.to_owned(), fields, line: line.to_owned() })
    }

    /// The first value under `key`.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Every socket address in the event, in the order printed.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let parts = self.fields.iter().flat_map(|(_, value)| value.split(','));
        parts.filter_map(|part| part.trim().parse().ok()).collect()
    }
}

impl fmt::Display for EventLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.fmt(f)
    }
}

/// The value at the start of `text`, and what stands behind it and the blank.
fn split_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, behind) = text.split_once(' ').unwrap_or((text, ""));
        return Some((value.to_owned(), behind));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let behind = &quoted[at + 1..];
                return Some((value, behind.strip_prefix(' ').unwrap_or(behind)));
            }
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_keep_their_blanks_and_quotes() {
        let event =
            EventLine::parse(r#"mailrace: log-failed file="a \"b\".segment" addr=127.0.0.1:25,[::1]:25"#)
                .expect("an event");
        assert_eq!(event.name, "log-failed");
        assert_eq!(event.value("file"), Some("a \"b\".segment"));
        assert_eq!(event.addresses().len(), 2);
    }

    #[test]
    fn other_lines_are_no_events() {
        assert_eq!(EventLine::parse("thread 'main' panicked"), None);
        assert_eq!(EventLine::parse("mailrace: /tmp/x: is locked"), None);
    }
}
