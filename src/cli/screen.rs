//! Where a command's result goes, what a person is told besides, and whether colours help them.
//!
//! Colours appear on a terminal only, and not where `NO_COLOR` is set or `TERM` is `dumb`. Octets of a message are
//! never coloured, and never altered.

use std::fmt;
use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};

use crate::log::Damage;

/// What a receipt is printed in.
pub(super) const RECEIPT: Style = AnsiColor::Cyan.on_default();
/// What stands beside the thing looked for.
pub(super) const ASIDE: Style = Style::new().dimmed();
/// Headings.
pub(super) const HEADING: Style = Style::new().bold();
/// What is as it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What is not.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Where a command prints.
pub struct Screen<'a> {
    /// Its result.
    pub output: &'a mut dyn Write,
    /// What a person should know.
    pub messages: &'a mut dyn Write,
    /// Whether the result is coloured.
    pub output_colours: Colours,
    /// Whether what a person should know is coloured.
    pub message_colours: Colours,
    /// Whether a bar may tell how far long work has come: the result goes elsewhere than to the terminal with the
    /// bar.
    pub shows_progress: bool,
    /// As `shows_progress`, for a command that prints little before its end.
    pub shows_quiet_progress: bool,
}

impl fmt::Debug for Screen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("output_colours", &self.output_colours).finish_non_exhaustive()
    }
}

impl<'a> Screen<'a> {
    /// Prints to these two as if neither were a terminal.
    pub fn plain(output: &'a mut dyn Write, messages: &'a mut dyn Write) -> Self {
        Self {
            output,
            messages,
            output_colours: Colours(false),
            message_colours: Colours(false),
            shows_progress: false,
            shows_quiet_progress: false,
        }
    }

    /// Prints to standard output and standard error, given locked.
    pub fn standard(
        output: &'a mut std::io::StdoutLock<'_>,
        messages: &'a mut std::io::StderrLock<'_>,
    ) -> Self {
        let (on_terminal, told_on_terminal) = (output.is_terminal(), messages.is_terminal());
        let wanted =
            colours_are_wanted(|name| std::env::var_os(name).map(|value| value.into_encoded_bytes()));
        Self {
            output_colours: Colours(on_terminal && wanted),
            message_colours: Colours(told_on_terminal && wanted),
            shows_progress: told_on_terminal && !on_terminal,
            shows_quiet_progress: told_on_terminal,
            ..Self::plain(output, messages)
        }
    }
}

/// Names a place that was stepped over. That nobody reads it is no reason to end: the exit code tells as well.
pub(super) fn tell_damage(messages: &mut dyn Write, colours: Colours, damage: &Damage) {
    let _ = writeln!(messages, "mailrace: {}: {damage}", colours.paint(BAD, "damage stepped over"));
}

/// What the environment says: <https://no-color.org>, and a terminal that knows no codes.
fn colours_are_wanted(variable: impl Fn(&str) -> Option<Vec<u8>>) -> bool {
    let forbidden = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    !forbidden && variable("TERM").is_none_or(|terminal| terminal != b"dumb")
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colours(pub bool);

impl Colours {
    /// A text in a style, or as it is.
    pub(super) fn paint<T: fmt::Display>(self, style: Style, text: T) -> Painted<T> {
        Painted { style: self.0.then_some(style), text }
    }
}

/// A text that prints with its colours around it.
pub(super) struct Painted<T> {
    style: Option<Style>,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.style {
            Some(style) => {
                style.fmt(f)?;
                self.text.fmt(f)?;
                write!(f, "{style:#}")
            }
            None => self.text.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_can_forbid_colours() {
        let wanted = |set: &'static [(&str, &str)]| {
            colours_are_wanted(|name| {
                set.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_bytes().to_vec())
            })
        };
        assert!(wanted(&[]));
        assert!(wanted(&[("NO_COLOR", ""), ("TERM", "xterm")]));
        assert!(!wanted(&[("NO_COLOR", "1")]));
        assert!(!wanted(&[("TERM", "dumb")]));
    }

    #[test]
    fn a_painted_text_is_the_text_between_its_codes() {
        assert_eq!(Colours(true).paint(RECEIPT, "0@1").to_string(), "\u{1b}[36m0@1\u{1b}[0m");
        assert_eq!(Colours(false).paint(RECEIPT, "0@1").to_string(), "0@1");
    }
}
