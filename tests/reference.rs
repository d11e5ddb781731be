//! The README's table of options held against the program: every option stands there with its default.

use clap::CommandFactory;
use mailrace::cli::Cli;

const README: &str = include_str!("../README.md");

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
