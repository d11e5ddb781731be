//! What is written for operators held against the program: the README's table of options with their defaults, and
//! the page of events with their fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::CommandFactory;
use mailrace::cli::Cli;
use mailrace::observe::{CommitCounters, EventName, ShardCounters};

const README: &str = include_str!("../README.md");
const EVENTS: &str = include_str!("../docs/events.md");

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
    let cli = Cli::command();
    let serve = cli.find_subcommand("serve").expect("there is a serve command");
    let rows = rows();
    let mut named: Vec<String> = Vec::new();
    for argument in serve.get_arguments().filter(|argument| argument.get_id() != "help") {
        let flag = format!("--{}", argument.get_long().expect("every option has a long name"));
        let row = rows.iter().find(|row| row[1].split(' ').next() == Some(&flag));
        let row = row.unwrap_or_else(|| panic!("the README has no row for {flag}"));
        let default = argument.get_default_values().first().and_then(|value| value.to_str());
        if let Some(default) = default.filter(|_| argument.get_action().takes_values()) {
            assert_eq!(row[2], default, "the default of {flag} in the README");
        }
        named.push(flag);
    }
    for row in rows {
        let flag = row[1].split(' ').next().unwrap_or_default().to_owned();
        assert!(named.contains(&flag), "the README has {flag}, the program has not");
    }
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
