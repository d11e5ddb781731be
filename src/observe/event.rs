//! Events: one line on stderr for what an operator should know, as `mailrace: name key=value ...`.
//!
//! A value that holds blanks, quotes, `=` or control octets is put in double quotes and escaped as Rust escapes a
//! string, so a line is always one line and always splits the same way. Events are never logged twice: whoever
//! handles an error emits it, whoever passes it up does not.

use std::fmt;
use std::io::Write;

/// Every event there is. `docs/events.md` says of each when it comes, with which fields, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventName {
    /// Octets of a torn batch were cut off or stepped over.
    RecoveryCut,
    /// Octets that were durable cannot be read.
    RecoveryDamage,
    /// A limit or setting of the kernel is below what the server needs.
    KernelSetting,
    /// Mail is accepted.
    Ready,
    /// A batch was refused for lack of space.
    NoSpace,
    /// The first batch after that was stored.
    SpaceAgain,
    /// Nothing is acknowledged any more.
    LogFailed,
    /// New settings are in force.
    Reloaded,
    /// New settings cannot be used; the old ones stay.
    ReloadFailed,
    /// A fault of ours in one session.
    SessionPanicked,
    /// A fault of ours in a shard; the process ends.
    ShardPanicked,
    /// A signal asked for the end.
    Draining,
    /// A second signal does not wait for it.
    StoppingAtOnce,
    /// A shard had ended with an error.
    ShardFailed,
    /// The end, with the totals.
    Stopped,
}

impl EventName {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::RecoveryCut,
        Self::RecoveryDamage,
        Self::KernelSetting,
        Self::Ready,
        Self::NoSpace,
        Self::SpaceAgain,
        Self::LogFailed,
        Self::Reloaded,
        Self::ReloadFailed,
        Self::SessionPanicked,
        Self::ShardPanicked,
        Self::Draining,
        Self::StoppingAtOnce,
        Self::ShardFailed,
        Self::Stopped,
    ];

    /// The word on the line: lower case with `-` between words, the same for ever.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RecoveryCut => "recovery-cut",
            Self::RecoveryDamage => "recovery-damage",
            Self::KernelSetting => "kernel-setting",
            Self::Ready => "ready",
            Self::NoSpace => "no-space",
            Self::SpaceAgain => "space-again",
            Self::LogFailed => "log-failed",
            Self::Reloaded => "reloaded",
            Self::ReloadFailed => "reload-failed",
            Self::SessionPanicked => "session-panicked",
            Self::ShardPanicked => "shard-panicked",
            Self::Draining => "draining",
            Self::StoppingAtOnce => "stopping-at-once",
            Self::ShardFailed => "shard-failed",
            Self::Stopped => "stopped",
        }
    }
}

/// One event, built field by field and then emitted.
///
/// ```
/// use mailrace::observe::{Event, EventName};
/// let event = Event::new(EventName::Ready).field("listen", "127.0.0.1:2525").field("driver", "io_uring");
/// assert_eq!(event.to_string(), "mailrace: ready listen=127.0.0.1:2525 driver=io_uring");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an event that is not emitted tells nobody"]
pub struct Event {
    name: EventName,
    fields: Vec<(&'static str, String)>,
}

impl Event {
    /// An event without fields.
    pub fn new(name: EventName) -> Self {
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
        write!(f, "mailrace: {}", self.name.name())?;
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
        let event =
            Event::new(EventName::LogFailed).field("error", "no\nmailrace: ready x=1").field("empty", "");
        assert_eq!(event.to_string(), r#"mailrace: log-failed error="no\nmailrace: ready x=1" empty="""#);
    }
}
