//! The one table of what `serve` can be told, read off its command line: key in a file, name in the environment, flag.
//!
//! [`super::serve::ServeArguments`] is where an option is written down; everything else (keys, variables, help, the
//! manual, completions, the README's table) follows from it. No value is parsed here.

use std::any::TypeId;
use std::ffi::OsStr;

use clap::{Arg, ArgAction, Command};

/// What the name of a variable begins with.
pub const ENVIRONMENT_PREFIX: &str = "MAILRACE_";

/// The option that names the file; it cannot stand in one.
pub const CONFIG: &str = "config";

/// How similar two names must be (0 to 1, Jaro) for one to be offered for the other; clap's own bound.
const SIMILARITY: f64 = 0.7;

/// What kind of value an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// On or off.
    Switch,
    /// A whole number without a unit.
    Count,
    /// Anything else; in a file it stands in quotes.
    Text,
}

/// One option of `serve`.
#[derive(Debug, Clone)]
pub struct ServeOption {
    /// Its long name without dashes, which is its key in a file too.
    pub name: String,
    /// The group it stands under in `--help`, if any.
    pub heading: Option<String>,
    /// What `--help` says about it.
    pub help: String,
    /// What it takes.
    pub kind: ValueKind,
    /// What its value is called: `SIZE`.
    pub value_name: String,
    /// Whether it may be given several times, as a list.
    pub repeatable: bool,
    /// What holds when nobody says otherwise; empty where that is no value.
    pub defaults: Vec<String>,
    pub(super) id: String,
}

impl ServeOption {
    fn of(argument: &Arg) -> Option<Self> {
        let name = argument.get_long()?.to_owned();
        let value_name = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
        let value_name = value_name.unwrap_or_else(|| name.to_uppercase());
        let kind = match value_name.as_str() {
            _ if argument.get_value_parser().type_id() == TypeId::of::<bool>() => ValueKind::Switch,
            "N" => ValueKind::Count,
            _ => ValueKind::Text,
        };
        let defaults = argument.get_default_values().iter();
        Some(Self {
            heading: argument.get_help_heading().map(str::to_owned),
            help: argument.get_help().map(ToString::to_string).unwrap_or_default(),
            kind,
            value_name,
            repeatable: matches!(argument.get_action(), ArgAction::Append),
            defaults: defaults.map(|value| value.to_string_lossy().into_owned()).collect(),
            id: argument.get_id().to_string(),
            name,
        })
    }

    /// Its name in the environment: `MAILRACE_MAX_CONNECTIONS`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// What holds by itself where that is no value but words, taken from the end of its help: `[default: any]`.
    #[must_use]
    pub fn default_words(&self) -> Option<&str> {
        self.help.split_once("[default: ").and_then(|(_, rest)| rest.strip_suffix(']'))
    }

    /// Whether it may stand in a file.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.name != CONFIG
    }
}

/// Every option of `serve`, in the order of its help. `command` is the whole command line, as [`super::command`]
/// gives it.
///
/// # Panics
/// When it has no `serve`.
#[must_use]
pub fn table(command: &Command) -> Vec<ServeOption> {
    let serve = command.find_subcommand("serve").expect("serve is a subcommand");
    let options = serve.get_arguments().filter(|argument| !is_about_the_program(argument));
    options.filter_map(ServeOption::of).collect()
}

fn is_about_the_program(argument: &Arg) -> bool {
    matches!(
        argument.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    )
}

/// Lets a switch be turned off where a weaker source turned it on: `--accept-any=false`.
pub(super) fn with_values(argument: Arg) -> Arg {
    match argument.get_action() {
        ArgAction::SetTrue => argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .value_name("true|false")
            .default_value("false")
            .default_missing_value("true")
            .hide_default_value(true)
            .hide_possible_values(true),
        _ => argument,
    }
}

/// The name among `names` that is most like `name`, when one is like it.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let rated = names.map(|known| (strsim::jaro(name, known), known));
    let best = rated.max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(similarity, _)| *similarity > SIMILARITY).map(|(_, known)| known)
}

/// The words that give an option a value on a command line.
pub(super) fn flag(name: &str, value: &OsStr) -> std::ffi::OsString {
    let mut flag = std::ffi::OsString::from(format!("--{name}="));
    flag.push(value);
    flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_names_follow_from_the_command_line() {
        let table = table(&super::super::command());
        let of = |name: &str| {
            table.iter().find(|option| option.name == name).unwrap_or_else(|| panic!("no option {name}"))
        };
        assert_eq!(of("accept-any").kind, ValueKind::Switch);
        assert_eq!(of("max-connections").kind, ValueKind::Count);
        assert_eq!(of("max-message-size").kind, ValueKind::Text);
        assert_eq!(of("max-message-size").variable(), "MAILRACE_MAX_MESSAGE_SIZE");
        assert_eq!(of("domain").default_words(), Some("any"));
        assert_eq!(of("durability").defaults, ["sync"]);
        assert!(of("listen").repeatable && !of("hostname").repeatable);
        assert!(!of(CONFIG).is_key() && of("listen").is_key());
    }

    #[test]
    fn every_option_stands_in_a_group_of_the_help() {
        for option in table(&super::super::command()).iter().filter(|option| option.is_key()) {
            assert!(option.heading.is_some(), "--{} has no help_heading", option.name);
        }
    }

    #[test]
    fn the_nearest_name_is_offered_and_a_strange_one_gets_none() {
        let names = ["listen", "max-connections", "max-recipients"];
        let nearest = |name| nearest(name, names.into_iter());
        assert_eq!(nearest("max_connections"), Some("max-connections"));
        assert_eq!(nearest("max-conections"), Some("max-connections"));
        assert_eq!(nearest("lisen"), Some("listen"));
        assert_eq!(nearest("zzz"), None);
    }
}
