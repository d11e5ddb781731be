//! Events: one line on stderr for what an operator should know, as `mailrace: name key=value ...`.
//!
//! A value that holds blanks, quotes, `=` or control octets is put in double quotes and escaped as Rust escapes a
//! string, so a line is always one line and always splits the same way. Events are never logged twice: whoever
//! handles an error emits it, whoever passes it up does not.

use std::fmt;
use std::io::Write;

/// One event, built field by field and then emitted.
///
/// ```
/// use mailrace::observe::Event;
/// let event = Event::new("ready").field("listen", "127.0.0.1:2525").field("driver", "io_uring");
/// assert_eq!(event.to_string(), "mailrace: ready listen=127.0.0.1:2525 driver=io_uring");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an event that is not emitted tells nobody"]
pub struct Event {
    name: &'static str,
    fields: Vec<(&'static str, String)>,
}

impl Event {
    /// An event without fields; names are lower case with `-` between words and stay as they are for ever.
    pub fn new(name: &'static str) -> Self {
        Self { name, fields: Vec::new() }
    }

    /// Adds a field behind those there are.
    pub fn field(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.fields.push((key, value.to_string()));
        self
    }

    /// Adds several fields behind those there are.
    pub fn fields(mut self, fields: impl IntoIterator<Item = (&'static str, u64)>) -> Self {
        self.fields.extend(fields.into_iter().map(|(key, value)| (key, value.to_string())));
        self
    }

    /// Writes the line to stderr in one call; a closed stderr is not an error.
    pub fn emit(&self) {
        let line = format!("{self}\n");
        // A server must not die because nobody listens to it.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mailrace: {}", self.name)?;
        self.fields.iter().try_for_each(|(key, value)| match needs_quotes(value) {
            true => write!(f, " {key}={value:?}"),
            false => write!(f, " {key}={value}"),
        })
    }
}

fn needs_quotes(value: &str) -> bool {
    value.is_empty()
        || value.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_forge_a_second_field_or_line() {
        let event = Event::new("log-failed").field("error", "no\nmailrace: ready x=1").field("empty", "");
        assert_eq!(event.to_string(), r#"mailrace: log-failed error="no\nmailrace: ready x=1" empty="""#);
    }
}
