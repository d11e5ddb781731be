//! `mailrace check`: the settings `serve` would have and where each comes from, or what is wrong with them.
//!
//! What it prints is itself a configuration file that says the same. Nothing is listened on and nothing is made; the
//! file of recipients is read. Exit 0 when `serve` would take the settings.

use std::fmt::Write;
use std::process::ExitCode;

use super::host::fit_connections_to_descriptors;
use super::options::ValueKind;
use super::serve::refused;
use super::settings::{Effective, Origin, Setting, Sources};
use crate::config::Config;

/// The column that origins are lined up at, where the settings before them are no longer.
const ORIGIN_COLUMN: usize = 44;

/// Prints the effective settings of `sources`; returns the exit code.
#[must_use]
pub fn run(sources: &Sources) -> ExitCode {
    let checked =
        sources.effective().and_then(|effective| effective.config().map(|config| (effective, config)));
    let (effective, mut config) = match checked {
        Ok(checked) => checked,
        Err(error) => return refused(&error, error.exit_code()),
    };
    let printed = super::print(listing(&effective, &config).as_bytes());
    for (name, nearest) in &effective.unknown_variables {
        let nearest = nearest.as_ref().map(|name| format!("; the nearest is {name}")).unwrap_or_default();
        eprintln!("mailrace: note: environment {name} is no setting{nearest}");
    }
    let asked = config.connections.connections_max;
    fit_connections_to_descriptors(&mut config);
    if config.connections.connections_max < asked {
        eprintln!(
            "mailrace: note: --max-connections {asked} would be lowered to {} by the limit of descriptors; raise \
             the hard one (ulimit -Hn, LimitNOFILE=) for more",
            config.connections.connections_max
        );
    }
    printed
}

/// All settings as a file, group by group, each with its origin as a comment.
fn listing(effective: &Effective, config: &Config) -> String {
    let mut text = match &effective.file {
        Some(path) => format!("# Settings of mailrace serve, with the file {}.\n", path.display()),
        None => "# Settings of mailrace serve, without a file; --config names one.\n".to_owned(),
    };
    let keys: Vec<&Setting> = effective.settings.iter().filter(|setting| setting.option.is_key()).collect();
    let mut headings: Vec<&Option<String>> = Vec::new();
    for setting in &keys {
        if !headings.contains(&&setting.option.heading) {
            headings.push(&setting.option.heading);
        }
    }
    let lines: Vec<_> = keys.iter().map(|setting| (*setting, line(setting, config))).collect();
    let width =
        lines.iter().map(|(_, line)| line.chars().count()).filter(|width| *width <= ORIGIN_COLUMN).max();
    let width = width.unwrap_or_default();
    for heading in headings {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n# {}", heading.as_deref().unwrap_or("Others"));
        for (setting, line) in lines.iter().filter(|(setting, _)| setting.option.heading == *heading) {
            let _ = writeln!(text, "{line:width$}  # {}", setting.origin);
        }
    }
    text
}

/// A setting as a line of the file; a comment where the default is no value.
fn line(setting: &Setting, config: &Config) -> String {
    let option = &setting.option;
    let name = &option.name;
    let values: Vec<String> =
        setting.values.iter().map(|value| written(&value.to_string_lossy(), option.kind)).collect();
    match (&values[..], option.default_words()) {
        ([], _) if name == "hostname" => format!("{name} = {}", quoted(&config.hostname)),
        ([], words) if setting.origin == Origin::Default => {
            format!("# {name}: {}", words.unwrap_or("not set"))
        }
        ([value], _) if !option.repeatable => format!("{name} = {value}"),
        (values, _) => format!("{name} = [{}]", values.join(", ")),
    }
}

fn written(value: &str, kind: ValueKind) -> String {
    match kind {
        ValueKind::Switch | ValueKind::Count => value.to_owned(),
        ValueKind::Text => quoted(value),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn effective(arguments: &[&str]) -> Effective {
        let arguments = ["mailrace", "check"].iter().chain(arguments).map(OsString::from).collect();
        Sources::new(arguments, []).effective().expect("settings that hold")
    }

    #[test]
    fn the_listing_is_a_file_that_says_the_same() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("mailrace.toml");
        let said = effective(&[
            "--listen=127.0.0.1:0",
            "--listen=[::1]:0",
            "--domain=example.org",
            "--data-dir=a \"strange\\ \u{7}name",
            "--durability=os",
            "--max-connections=7",
            "--hostname=mx.example.org",
        ]);
        let config = said.config().expect("settings that hold");
        std::fs::write(&path, listing(&said, &config)).expect("a file");
        let read = effective(&["--config", path.to_str().expect("a plain name")]);
        let again = read.config().expect("the listing holds");
        // Recipients hold sets, whose order is nobody's.
        let shown = |config: &Config| {
            let Config { listen, data_dir, hostname, limits, connections, queue, batch, .. } = config;
            format!("{listen:?} {data_dir:?} {hostname} {limits:?} {connections:?} {queue:?} {batch:?}")
        };
        assert_eq!(shown(&again), shown(&config));
        assert_eq!(again.durability, config.durability);
        assert!(!again.recipients.takes_any());
        for setting in read.settings.iter().filter(|setting| !setting.values.is_empty()) {
            let flag = setting.option.name == super::super::options::CONFIG;
            assert!(flag || matches!(setting.origin, Origin::File(..)), "{setting:?}");
        }
    }

    #[test]
    fn each_setting_tells_where_it_comes_from() {
        let effective = effective(&["--max-connections=7", "--listen=127.0.0.1:0"]);
        let text = listing(&effective, &effective.config().expect("settings that hold"));
        let line = |name: &str| {
            let line =
                text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("max-connections"), "max-connections = 7 # flag");
        assert_eq!(line("listen"), "listen = [\"127.0.0.1:0\"] # flag");
        assert_eq!(line("durability"), "durability = \"sync\" # default");
        assert_eq!(line("accept-any"), "accept-any = false # default");
        assert_eq!(line("# domain"), "# domain: any # default");
    }
}
