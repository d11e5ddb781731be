//! What is written for operators held against the program: the README's table of options with their defaults, keys
//! and variables, manual pages, exit codes, the page of fixed limits, and the page of events with their fields.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use mailrace::cli::options::{self, ServeOption, ValueKind};
use mailrace::cli::settings::{Origin, Sources};
use mailrace::cli::{command, manual};
use mailrace::observe::{CommitCounters, EventName, ShardCounters};

const README: &str = include_str!("../README.md");
const EVENTS: &str = include_str!("../docs/events.md");
const LIMITS: &str = include_str!("../docs/limits.md");

/// The rows of the table under the heading for `serve`, split into their cells.
fn rows() -> Vec<Vec<String>> {
    let section = README.split("## Options of `mailrace serve`").nth(1).expect("the README has the table");
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = |row: &str| row.replace("\\|", "\u{0}").split('|').map(clean).collect::<Vec<_>>();
    section.lines().filter(|line| line.starts_with("| `--")).map(cells).collect()
}

fn clean(cell: &str) -> String {
    cell.replace('\u{0}', "|").trim().trim_matches('`').to_owned()
}

#[test]
fn the_readme_names_every_option_of_serve_with_its_default() {
    let rows = rows();
    let mut named: Vec<String> = Vec::new();
    for option in options::table(&command()) {
        let flag = format!("--{}", option.name);
        let row = rows.iter().find(|row| row[1].split(' ').next() == Some(&flag));
        let row = row.unwrap_or_else(|| panic!("the README has no row for {flag}"));
        match (option.kind, option.defaults.first()) {
            (ValueKind::Switch, _) => assert_eq!(row[2], "off", "the default of {flag} in the README"),
            (_, Some(default)) => assert_eq!(row[2], *default, "the default of {flag} in the README"),
            (_, None) => {
                let words = option.default_words();
                assert!(words.is_none_or(|words| row[2] == words), "the default of {flag} in the README");
            }
        }
        named.push(flag);
    }
    for row in rows {
        let flag = row[1].split(' ').next().unwrap_or_default().to_owned();
        assert!(named.contains(&flag), "the README has {flag}, the program has not");
    }
}

/// A value that the option takes and that is not its default, as a command line has it.
fn sample(option: &ServeOption) -> &'static str {
    let default = |value: &str| option.defaults.iter().any(|default| default == value);
    match (option.kind, option.value_name.as_str()) {
        (ValueKind::Switch, _) => "true",
        (ValueKind::Count, _) => "7",
        (_, "ADDR:PORT") => "127.0.0.1:0",
        (_, "DOMAIN" | "NAME") => "mx.example.org",
        (_, "FILE" | "DIR") => "some/where",
        (_, "CHAR") => "+",
        (_, name) => {
            let tried = ["1MiB", "7MiB", "7s", "100ms", "1", "epoll", "os", "keep", "none", "json", "text"];
            let takes = |value: &&str| Sources::new(words(option, value), []).effective().is_ok();
            let found = tried.into_iter().filter(|value| !default(value)).find(takes);
            found.unwrap_or_else(|| panic!("no sample for --{}, which takes {name}", option.name))
        }
    }
}

fn words(option: &ServeOption, value: &str) -> Vec<OsString> {
    ["mailrace", "serve", &format!("--{}={value}", option.name)].map(OsString::from).to_vec()
}

#[test]
fn each_option_is_a_flag_a_key_and_a_variable_and_the_stronger_one_holds() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("mailrace.toml");
    let bare = || ["mailrace", "serve"].map(OsString::from).to_vec();
    for option in options::table(&command()).iter().filter(|option| option.is_key()) {
        let value = sample(option);
        let quotes = if option.kind == ValueKind::Text { "\"" } else { "" };
        fs::write(&path, format!("\n{} = {quotes}{value}{quotes}\n", option.name)).expect("a file");
        let config = ("MAILRACE_CONFIG".into(), path.clone().into());
        let variable = (option.variable().into(), value.into());
        let by_file = Sources::new(bare(), [config.clone()]);
        let by_variable = Sources::new(bare(), [config.clone(), variable.clone()]);
        let by_flag = Sources::new(words(option, value), [config, variable]);
        for (sources, origin) in [
            (by_file, Origin::File(path.clone(), 2)),
            (by_variable, Origin::Environment(option.variable())),
            (by_flag, Origin::Flag),
        ] {
            let effective = sources.effective().unwrap_or_else(|error| panic!("{}: {error}", option.name));
            let mut settings = effective.settings.iter();
            let found = settings.find(|setting| setting.option.name == option.name).expect("every option");
            assert_eq!((&found.values[..], &found.origin), (&[value.into()][..], &origin), "{}", option.name);
        }
    }
}

#[test]
fn the_manual_page_of_serve_has_every_option_with_default_and_variable() {
    let page = String::from_utf8(manual::page(&["serve".to_owned()]).expect("a page")).expect("roff is text");
    let page = page.replace('\\', "");
    for option in options::table(&command()) {
        for words in [format!("--{}", option.name), option.variable()] {
            assert!(page.contains(&format!("fB{words}f")), "no {words} on the page:\n{page}");
        }
        if option.kind != ValueKind::Switch && !option.defaults.is_empty() {
            let line = page.lines().find(|line| line.starts_with(&format!("fB--{}f", option.name)));
            let default = format!("[default: {}]", option.defaults.join(","));
            assert!(line.is_some_and(|line| line.ends_with(&default)), "{}: {line:?}", option.name);
        }
    }
}

#[test]
fn the_readme_has_the_exit_codes_of_the_manual_page() {
    let table = README.split("Exit codes are those").nth(1).expect("the README has the codes");
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let codes = rows.flat_map(|(codes, _)| codes.split(", ")).filter_map(|code| code.parse::<u8>().ok());
    let known = manual::EXIT_STATUS.iter().map(|(code, _)| *code).filter(|code| *code != 0);
    assert_eq!(codes.collect::<BTreeSet<_>>(), known.collect());
}

/// Constants that bound something, by file and name, with what they are set to.
fn bounds(folder: &Path, root: &Path, into: &mut BTreeMap<(String, String), String>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            bounds(&path, root, into);
            continue;
        }
        let file = path.strip_prefix(root).expect("below the root").display().to_string();
        if file.ends_with("tests.rs") || file.ends_with("fixture.rs") {
            continue;
        }
        let source = fs::read_to_string(&path).expect("source is text");
        for line in source.split("#[cfg(test)]").next().unwrap_or_default().lines() {
            let Some((name, rest)) = line.split_once("const ").and_then(|(_, rest)| rest.split_once(": "))
            else {
                continue;
            };
            let endings =
                ["_MAX", "_MIN", "_BOUNDS", "_INTERVAL", "_REST", "_ENTRIES", "BACKLOG", "CHUNK_LEN"];
            if let Some((_, value)) =
                rest.split_once(" = ").filter(|_| endings.iter().any(|end| name.ends_with(end)))
            {
                let value = value.trim_end_matches(';').replace('_', "");
                into.insert((file.clone(), name.to_owned()), value);
            }
        }
    }
}

/// A value of the source in its smallest unit (octets, microseconds, one); `None` for what is not plain enough.
fn value_of(source: &str) -> Option<f64> {
    let times = [("fromsecs", 1e6), ("frommillis", 1e3), ("frommicros", 1.0)];
    if let Some(call) = source.strip_prefix("Duration::") {
        let (unit, rest) = call.split_once('(')?;
        let factor = times.iter().find(|(name, _)| unit.replace('_', "") == *name)?.1;
        return Some(rest.strip_suffix(')')?.parse::<f64>().ok()? * factor);
    }
    if let Some((number, places)) = source.split_once(" << ") {
        return Some(number.parse::<f64>().ok()? * f64::from(places.parse::<i32>().ok()?).exp2());
    }
    source.split(" * ").map(|factor| factor.parse::<f64>().ok()).product()
}

/// A value of the page, in the same unit.
fn value_on_page(cell: &str) -> Option<f64> {
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let factor = match unit {
        "" | "us" => 1.0,
        "KiB" => f64::from(1 << 10),
        "MiB" => f64::from(1 << 20),
        "GiB" => f64::from(1 << 30),
        "TiB" => 40_f64.exp2(),
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(number.replace(',', "").parse::<f64>().ok()? * factor)
}

#[test]
fn the_page_of_limits_names_every_fixed_bound_with_its_value() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut known = BTreeMap::new();
    bounds(&source, &source, &mut known);
    let rows = LIMITS.lines().filter(|line| line.starts_with("| ") && line.contains("` in `"));
    let mut named = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let (name, file) = cells[2].split_once("` in `").expect("a name and a file");
        let key = (file.trim_matches('`').to_owned(), name.trim_matches('`').to_owned());
        let value = known.get(&key).unwrap_or_else(|| panic!("the source has no {key:?}"));
        if let (Some(value), Some(written)) = (value_of(value), value_on_page(cells[1])) {
            assert!((value - written).abs() < 1e-9, "{key:?} is {value}, not {written}");
        }
        named.insert(key);
    }
    assert_eq!(known.into_keys().collect::<BTreeSet<_>>(), named, "of the source, and of docs/limits.md");
}

/// The sections of the page of events by the name they are about.
fn event_sections() -> BTreeMap<&'static str, &'static str> {
    let sections = EVENTS.split("\n### ").skip(1);
    let named = sections.map(|section| section.split('\n').next().unwrap_or_default().trim_matches('`'));
    named.zip(EVENTS.split("\n### ").skip(1)).collect()
}

/// The words in backticks in a text.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The keys of every event in the source that has some: variant and keys, of the chain from `Event::new` on.
fn emitted(folder: &Path, into: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            emitted(&path, into);
            continue;
        }
        let source = fs::read_to_string(&path).expect("source is text");
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        for chain in source.split("Event::new(EventName::").skip(1) {
            let (variant, rest) = chain.split_once(')').expect("a call ends");
            let chain = rest.split([';', '}']).next().unwrap_or_default();
            let keys = chain.split(".field(\"").skip(1).filter_map(|field| field.split('"').next());
            into.entry(variant.to_owned()).or_default().extend(keys.map(str::to_owned));
        }
    }
}

#[test]
fn the_page_of_events_names_every_event_and_no_other() {
    let known: BTreeSet<&str> = EventName::ALL.iter().map(|name| name.name()).collect();
    assert_eq!(known.len(), EventName::ALL.len(), "a name is used twice");
    assert_eq!(event_sections().into_keys().collect::<BTreeSet<_>>(), known);
    let mut emitted_events = BTreeMap::new();
    emitted(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut emitted_events);
    let variants: BTreeSet<String> = EventName::ALL.iter().map(|name| format!("{name:?}")).collect();
    assert_eq!(emitted_events.into_keys().collect::<BTreeSet<_>>(), variants, "emitted, and listed");
}

#[test]
fn the_page_of_events_names_the_fields_of_each_event() {
    let sections = event_sections();
    let mut emitted_events = BTreeMap::new();
    emitted(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut emitted_events);
    for name in EventName::ALL.iter().filter(|name| **name != EventName::Stopped) {
        let section = sections[name.name()];
        let fields = section.split("\nFields:").nth(1).expect("every event says which fields it has");
        let fields = quoted(fields.split("\n\n").next().unwrap_or_default());
        assert_eq!(emitted_events[&format!("{name:?}")], fields, "{}", name.name());
    }
    let (shards, commit) = (ShardCounters::default(), CommitCounters::default());
    let totals = shards.values().chain(commit.values()).map(|(name, _)| name.to_owned());
    let rows = sections["stopped"].lines().filter(|line| line.starts_with("| `"));
    assert_eq!(rows.flat_map(quoted).collect::<BTreeSet<_>>(), totals.collect());
}
