//! `mailrace man`: manual pages, made from the same table of options as the help.
//!
//! The pages of `serve` and `check` end with what no option says: the file, the environment, signals, exit codes.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::exit;
use super::options::{self, ServeOption};
use super::serve::refused;

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArguments {
    /// Whose page to print, as in: man log cat [default: mailrace itself]
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    command: Vec<String>,
    /// Write the pages of all commands into this directory instead; read one with man DIR/mailrace-serve.1
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The exit codes of `serve` and `check`, as the README has them.
pub const EXIT_STATUS: &[(u8, &str)] = &[
    (0, "drained after a signal; for check: the settings can be used"),
    (exit::USAGE, "wrong arguments"),
    (exit::DATA_ERROR, "a log format that this version cannot read"),
    (exit::NO_INPUT, "a file that is not there"),
    (exit::UNAVAILABLE, "an address that cannot be had"),
    (exit::SOFTWARE, "a fault of mailrace's own"),
    (exit::OS_ERROR, "the system refused something"),
    (exit::CANNOT_CREATE, "the data directory cannot be made"),
    (exit::IO_ERROR, "the log failed"),
    (exit::TEMPORARY, "another server uses the data directory"),
    (exit::NO_PERMISSION, "no permission"),
    (exit::CONFIG, "a file of settings, a variable, a list or a log that cannot be used"),
];

const FILE: &[&str] = &[
    "--config names a file in TOML. Each option stands in it by its long name, without dashes before it: a number by \
     itself, everything else in quotes, a switch as true or false, and an option that may be repeated as a list.",
    "A weaker source's list is replaced, not added to. The environment is stronger than the file, and a flag is \
     stronger than both. An unknown key or a value that cannot be used is named with line and column, and nothing is \
     started.",
];

const ENVIRONMENT: &str = "Variables in place of options. A list is written with commas, a switch as true or false; \
                           an empty variable says nothing.";

const SIGNALS: &str = "SIGTERM and SIGINT drain: no new connections, running transactions finish within \
                       --drain-timeout, everything accepted is synced and answered. A second signal ends the process \
                       at once.";

pub(super) fn run(arguments: &ManArguments) -> ExitCode {
    match &arguments.out {
        Some(directory) => match write_all(directory) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                refused(&format!("cannot write to {}: {error}", directory.display()), exit::CANNOT_CREATE)
            }
        },
        None => match page(&arguments.command) {
            Some(page) => super::print(&page),
            None => {
                let command = arguments.command.join(" ");
                let advice = "mailrace --help lists the commands";
                refused(&format!("there is no command '{command}'; {advice}"), exit::USAGE)
            }
        },
    }
}

/// The page of a command in roff; `None` when there is no such command.
#[must_use]
pub fn page(path: &[String]) -> Option<Vec<u8>> {
    let whole = built();
    let command = path.iter().try_fold(&whole, |command, name| command.find_subcommand(name))?;
    let mut page = Vec::new();
    // A vector takes everything.
    render(command, &mut page).ok()?;
    Some(page)
}

fn write_all(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let whole = built();
    let mut waiting = vec![&whole];
    while let Some(command) = waiting.pop() {
        waiting.extend(command.get_subcommands());
        let mut page = Vec::new();
        render(command, &mut page)?;
        fs::write(directory.join(Man::new(command.clone()).get_filename()), page)?;
    }
    Ok(())
}

/// The command line with every command knowing its full name.
fn built() -> Command {
    let mut command = super::command().disable_help_subcommand(true);
    command.build();
    command
}

fn render(command: &Command, page: &mut dyn Write) -> io::Result<()> {
    let source = concat!("mailrace ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).manual("mailrace").source(source);
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    if matches!(command.get_name(), "serve" | "check") {
        settings_sections().to_writer(page)?;
    }
    Ok(())
}

fn settings_sections() -> Roff {
    let table = options::table(&super::command());
    let mut roff = Roff::new();
    roff.control("SH", ["FILE"]);
    for paragraph in FILE {
        roff.control("PP", []);
        roff.text([roman(*paragraph)]);
    }
    roff.control("SH", ["ENVIRONMENT"]);
    roff.text([roman(ENVIRONMENT)]);
    for option in &table {
        variable(option, &mut roff);
    }
    roff.control("SH", ["SIGNALS"]);
    roff.text([roman(SIGNALS)]);
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_STATUS {
        roff.control("TP", []);
        roff.text([bold(code.to_string())]);
        roff.text([roman(*meaning)]);
    }
    roff
}

fn variable(option: &ServeOption, roff: &mut Roff) {
    roff.control("TP", []);
    roff.text([bold(option.variable())]);
    roff.text([roman(format!("--{}", option.name))]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_no_other_has() {
        for path in [&[][..], &["serve"], &["check"], &["log"], &["log", "cat"], &["man"]] {
            let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
            let page = page(&path).unwrap_or_else(|| panic!("{path:?}"));
            let name = std::iter::once("mailrace").chain(path.iter().map(String::as_str)).collect::<Vec<_>>();
            let page = String::from_utf8(page).expect("roff is text");
            assert!(page.contains(&name.join("\\-")) || page.contains(&name.join("-")), "{page}");
        }
        assert!(page(&["serv".to_owned()]).is_none());
    }
}
