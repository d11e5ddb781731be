//! The configuration file: TOML text to values by key, each with the place it stands at.
//!
//! Only shapes are judged here (is there such a key, is a list allowed); what a value means is for the option's own
//! parser. All that is wrong is collected, so that one look at the file mends it. No file is read here.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::options::{self, ServeOption, ValueKind};

/// A place in a file; both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

/// What is wrong at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it begins.
    pub position: Position,
    /// In words: what is wrong and what to write instead.
    pub message: String,
}

/// A key of the file with its values: one, or those of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, which is the name of an option.
    pub name: String,
    /// Where the key stands.
    pub position: Position,
    /// What it is set to, written as on a command line.
    pub values: Vec<Value>,
}

/// One value of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// As on a command line.
    pub text: String,
    /// Where it stands.
    pub position: Position,
    /// Whether it stood there without quotes, as a number.
    pub is_number: bool,
}

/// Reads the text of a file: its entries in the order of the text, and all that is wrong with it.
#[must_use]
pub fn parse(text: &str, options: &[ServeOption]) -> (Vec<Entry>, Vec<Fault>) {
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => return (Vec::new(), vec![syntax_fault(text, &error)]),
    };
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    for (key, value) in table.get_ref() {
        let position = position(text, key.span().start);
        match entry(text, key.get_ref(), position, value, options) {
            Ok(entry) => entries.push(entry),
            Err(fault) => faults.push(fault),
        }
    }
    entries.sort_by_key(|entry: &Entry| entry.position);
    faults.sort_by_key(|fault| fault.position);
    (entries, faults)
}

/// The place of an octet of the text.
pub(super) fn position(text: &str, octet: usize) -> Position {
    let before = text.get(..octet).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before[line_start..].chars().filter(|c| *c != '\u{feff}').count() + 1;
    Position { line: before.matches('\n').count() + 1, column }
}

fn entry(
    text: &str,
    key: &str,
    position: Position,
    value: &Spanned<DeValue<'_>>,
    options: &[ServeOption],
) -> Result<Entry, Fault> {
    let known = options.iter().filter(|option| option.is_key());
    let Some(option) = known.clone().find(|option| option.name == key) else {
        let names = known.map(|option| option.name.as_str());
        return Err(Fault { position, message: unknown_key(key, value.get_ref(), names) });
    };
    let one = |value: &Spanned<DeValue<'_>>| one_value(text, option, value);
    let values = match value.get_ref() {
        DeValue::Array(list) if option.repeatable => {
            each(text, option, list, &value.span())?.map(one).collect::<Result<_, _>>()?
        }
        _ => vec![one(value)?],
    };
    Ok(Entry { name: key.to_owned(), position, values })
}

/// The members of a list; one without any would silently mean the default.
fn each<'a>(
    text: &str,
    option: &ServeOption,
    list: &'a DeArray<'a>,
    span: &Range<usize>,
) -> Result<impl Iterator<Item = &'a Spanned<DeValue<'a>>>, Fault> {
    match list.is_empty() {
        true => Err(Fault {
            position: position(text, span.start),
            message: format!("{}: the list is empty; leave the key out for the default", option.name),
        }),
        false => Ok(list.iter()),
    }
}

fn unknown_key<'a>(key: &str, value: &DeValue<'_>, names: impl Iterator<Item = &'a str>) -> String {
    if key == options::CONFIG {
        return "config cannot stand in a file: one file holds everything".to_owned();
    }
    let section = value.is_table()
        || value.as_array().is_some_and(|list| list.iter().any(|one| one.get_ref().is_table()));
    match options::nearest(key, names) {
        _ if section => format!("there are no sections: write what stands below [{key}] at the top"),
        Some(nearest) => format!("there is no key '{key}'; the nearest is '{nearest}'"),
        None => format!("there is no key '{key}'; mailrace serve --help lists the options, each a key"),
    }
}

fn one_value(text: &str, option: &ServeOption, value: &Spanned<DeValue<'_>>) -> Result<Value, Fault> {
    let position = position(text, value.span().start);
    let name = &option.name;
    let wrong = |message: String| Err(Fault { position, message: format!("{name}: {message}") });
    let written = |text: String, is_number| Ok(Value { text, position, is_number });
    match (value.get_ref(), option.kind) {
        (DeValue::Boolean(on), ValueKind::Switch) => written(on.to_string(), false),
        (_, ValueKind::Switch) => wrong("a switch is true or false, without quotes".to_owned()),
        (DeValue::String(text), _) => written(text.clone().into_owned(), false),
        (DeValue::Integer(number), _) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => written(number.to_string(), true),
            Err(_) => wrong(format!("{number} is too large")),
        },
        (DeValue::Array(_), _) => wrong("takes one value, not a list".to_owned()),
        (other, ValueKind::Count) => wrong(format!("takes a whole number, not a {}", other.type_str())),
        (other, _) => wrong(format!("takes {} in quotes, not a {}", option.value_name, other.type_str())),
    }
}

/// What TOML's own parser says, with the usual reason where it shows: a value with letters and no quotes.
fn syntax_fault(text: &str, error: &toml::de::Error) -> Fault {
    let position = position(text, error.span().map_or(0, |span| span.start));
    let line = text.lines().nth(position.line - 1).unwrap_or_default();
    let message = match value_of(line) {
        Some((key, "")) => format!("{key} has no value"),
        Some((key, value)) if is_bare(value) => {
            format!("a value with letters stands in quotes: {key} = \"{value}\"")
        }
        _ => format!("this is not TOML: {}", error.message().trim().replace('\n', "; ")),
    };
    Fault { position, message }
}

/// The two sides of a line such as `segment-size = 64MiB`.
fn value_of(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    Some((key.trim(), value.split('#').next().unwrap_or_default().trim()))
}

/// Whether a value is a text that lacks its quotes.
fn is_bare(value: &str) -> bool {
    let plain = !value.contains(['"', '\'', '[', ']', '{', '}', '=', '\\']);
    plain && value != "true" && value != "false" && value.parse::<f64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> (Vec<Entry>, Vec<Fault>) {
        super::parse(text, &options::table(&super::super::command()))
    }

    fn texts(entry: &Entry) -> Vec<&str> {
        entry.values.iter().map(|value| value.text.as_str()).collect()
    }

    #[test]
    fn values_are_read_as_a_command_line_has_them_and_in_the_order_of_the_file() {
        let (entries, faults) = parse(
            "\u{feff}# who\nmax-connections = 1_000\naccept-any = true\nlisten = ['127.0.0.1:25', \"[::1]:25\"]\n\
             domain = 'example.org'\ncores = 2\n",
        );
        assert_eq!(faults, []);
        let read: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), texts(entry))).collect();
        assert_eq!(
            read,
            [
                ("max-connections", vec!["1000"]),
                ("accept-any", vec!["true"]),
                ("listen", vec!["127.0.0.1:25", "[::1]:25"]),
                ("domain", vec!["example.org"]),
                ("cores", vec!["2"]),
            ]
        );
        assert_eq!(entries[2].position, Position { line: 4, column: 1 });
        assert_eq!(entries[2].values[1].position, Position { line: 4, column: 27 });
    }

    #[test]
    fn each_fault_is_named_with_its_place() {
        let table = [
            ("\nmax-conections = 1", (2, 1), "the nearest is 'max-connections'"),
            ("max_connections = 1", (1, 1), "the nearest is 'max-connections'"),
            ("zzz = 1", (1, 1), "--help lists"),
            ("[serve]\nlisten = '127.0.0.1:25'", (1, 2), "at the top"),
            ("config = 'other'", (1, 1), "one file"),
            ("accept-any = 'true'", (1, 14), "without quotes"),
            ("accept-any = 1", (1, 14), "true or false"),
            ("max-connections = true", (1, 19), "a whole number, not a boolean"),
            ("max-connections = 1.5", (1, 19), "a whole number, not a float"),
            ("max-connections = 99999999999999999999", (1, 19), "too large"),
            ("idle-timeout = 2020-01-01", (1, 16), "TIME in quotes, not a datetime"),
            ("hostname = ['a', 'b']", (1, 12), "one value, not a list"),
            ("domain = []", (1, 10), "is empty"),
            ("domain = ['a', 7.5]", (1, 16), "DOMAIN in quotes, not a float"),
            ("segment-size = 64MiB", (1, 16), "segment-size = \"64MiB\""),
            ("durability = sync # fast", (1, 14), "durability = \"sync\""),
            ("listen = \n", (1, 10), "listen has no value"),
            ("listen = [\"127.0.0.1:25\"\n", (1, 25), "not TOML"),
            ("cores = 1\ncores = 2", (2, 1), "duplicate"),
        ];
        for (text, (line, column), words) in table {
            let (_, faults) = parse(text);
            let [fault] = &faults[..] else { panic!("{text}: {faults:?}") };
            assert!(fault.message.contains(words), "{text}: {}", fault.message);
            assert_eq!(fault.position, Position { line, column }, "{text}: {}", fault.message);
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let (entries, faults) = parse("zzz = 1\ncores = 'all'\naccept-any = 'no'\n");
        assert_eq!((entries.len(), faults.len()), (1, 2));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_at_a_place_that_exists(text in "([a-z\\-]{1,8} ?[=\\[\\]\"']{0,2} ?[0-9a-zA-Zü\u{feff}\"'.\n\r#{},]{0,6}){0,6}") {
            let (_, faults) = parse(&text);
            for fault in faults {
                let lines = text.split('\n').count();
                prop_assert!((1..=lines).contains(&fault.position.line) && fault.position.column >= 1);
            }
        }
    }
}
