//! Settings from a file, the environment and the command line, in rising order of strength, each known by its place.
//!
//! [`Sources`] holds where settings may stand; [`Sources::effective`] reads the file and gives what holds, and may be
//! called again at any time. Whatever the source, every value goes through the parser of its option, by way of a
//! command line made of all of them. A stronger source replaces a list whole.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, FromArgMatches};

use super::options::{self, CONFIG, ENVIRONMENT_PREFIX, ServeOption, ValueKind};
use super::serve::ServeArguments;
use super::settings_error::{Problem, SettingsError};
use super::settings_file;
use crate::config::Config;

/// The longest configuration file that is read, in octets: beyond it lies a mistake such as `/dev/zero`.
pub const CONFIG_FILE_MAX: u64 = 1 << 20;

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The configuration file, at this line.
    File(PathBuf, usize),
    /// This variable.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// One option with what it is set to.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The option.
    pub option: ServeOption,
    /// Its value, or several of a list; written as on a command line. Empty where the default is no value.
    pub values: Vec<OsString>,
    /// Who said so.
    pub origin: Origin,
}

impl Setting {
    fn by_default(option: &ServeOption) -> Self {
        let values = option.defaults.iter().map(OsString::from).collect();
        Self { option: option.clone(), values, origin: Origin::Default }
    }

    /// The words of a command line that say the same. A switch that is off is not said, so that it contradicts
    /// nothing.
    fn words(&self) -> impl Iterator<Item = OsString> {
        let off = |value: &OsStr| self.option.kind == ValueKind::Switch && value == "false";
        let said = self.origin != Origin::Default;
        let values = self.values.iter().filter(move |value| said && !off(value));
        values.map(|value| options::flag(&self.option.name, value))
    }
}

/// Where settings may stand: a command line and an environment; both may name a file.
#[derive(Debug, Clone)]
pub struct Sources {
    arguments: Vec<OsString>,
    /// Switches the command line turns off.
    off: Vec<String>,
    environment: Vec<(String, OsString)>,
}

/// What holds, and why.
#[derive(Debug)]
pub struct Effective {
    /// The settings as the command line alone would have given them.
    pub arguments: ServeArguments,
    /// Every option, in the order of the help.
    pub settings: Vec<Setting>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Variables that look like ours and are not, each with the name that was perhaps meant.
    pub unknown_variables: Vec<(String, Option<String>)>,
}

impl Sources {
    /// The sources of this process. `arguments` is the whole command line, from the program's name on.
    #[must_use]
    pub fn of_process(arguments: Vec<OsString>) -> Self {
        Self::new(arguments, std::env::vars_os())
    }

    /// Sources of which variables that are not ours are left out. A variable that is empty says nothing.
    #[must_use]
    pub fn new(
        arguments: Vec<OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let table = options::table(&super::command());
        let switches = table.iter().filter(|option| option.kind == ValueKind::Switch);
        let switches: Vec<&str> = switches.map(|option| option.name.as_str()).collect();
        let turned_off = |word: &OsString| {
            let name = word.to_str()?.strip_prefix("--")?.strip_suffix("=false")?;
            switches.contains(&name).then(|| name.to_owned())
        };
        let off = arguments.iter().filter_map(turned_off).collect();
        let arguments = arguments.iter().filter(|word| turned_off(word).is_none()).cloned().collect();
        let ours = environment.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(ENVIRONMENT_PREFIX))?;
            (!value.is_empty()).then_some((name, value))
        });
        Self { arguments, off, environment: ours.collect() }
    }

    /// The settings of `serve`, checked as a whole; reads the file and the recipients anew.
    ///
    /// # Errors
    /// [`SettingsError`] with all that stands in the way and where.
    pub fn config(&self) -> Result<Config, SettingsError> {
        self.effective()?.config()
    }

    /// What holds now; reads the file anew.
    ///
    /// # Errors
    /// [`SettingsError`] for a command line, file or variable that cannot be used.
    pub fn effective(&self) -> Result<Effective, SettingsError> {
        let mut command = super::command();
        let table = options::table(&command);
        let matches = command.try_get_matches_from_mut(&self.arguments).map_err(SettingsError::Arguments)?;
        let flags = matches.subcommand().map_or(&matches, |(_, flags)| flags);
        let by_flag: Vec<Setting> = table.iter().filter_map(|option| self.by_flag(option, flags)).collect();
        let by_variable: Vec<Setting> = table.iter().filter_map(|option| self.by_variable(option)).collect();
        let path =
            of(CONFIG, &by_flag).or(of(CONFIG, &by_variable)).and_then(|setting| setting.values.first());
        let file = path.map(PathBuf::from);
        let mut problems = Vec::new();
        let by_file = match &file {
            Some(path) => by_file(path, &table, &mut command, &mut problems)?,
            None => Vec::new(),
        };
        problems.extend(by_variable.iter().filter_map(|setting| refused_variable(setting, &mut command)));
        if !problems.is_empty() {
            return Err(SettingsError::Problems(problems));
        }
        let strongest = |option: &ServeOption| {
            let found =
                [&by_flag, &by_variable, &by_file].into_iter().find_map(|source| of(&option.name, source));
            found.cloned().unwrap_or_else(|| Setting::by_default(option))
        };
        let settings: Vec<Setting> = table.iter().map(strongest).collect();
        let arguments = together(&settings, &mut command)?;
        Ok(Effective { arguments, settings, file, unknown_variables: self.unknown_variables(&table) })
    }

    fn by_flag(&self, option: &ServeOption, flags: &ArgMatches) -> Option<Setting> {
        let values = match flags.value_source(&option.id) {
            Some(ValueSource::CommandLine) => flags.get_raw(&option.id)?.map(OsStr::to_owned).collect(),
            _ if self.off.contains(&option.name) => vec!["false".into()],
            _ => return None,
        };
        Some(Setting { option: option.clone(), values, origin: Origin::Flag })
    }

    fn by_variable(&self, option: &ServeOption) -> Option<Setting> {
        let name = option.variable();
        let (_, value) = self.environment.iter().find(|(known, _)| *known == name)?;
        let values = match value.to_str() {
            Some(list) if option.repeatable => list.split(',').map(|one| one.trim().into()).collect(),
            _ => vec![value.clone()],
        };
        Some(Setting { option: option.clone(), values, origin: Origin::Environment(name) })
    }

    fn unknown_variables(&self, table: &[ServeOption]) -> Vec<(String, Option<String>)> {
        let known: Vec<String> = table.iter().map(ServeOption::variable).collect();
        let names = self.environment.iter().map(|(name, _)| name).filter(|name| !known.contains(name));
        let nearest =
            |name: &str| options::nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
        names.map(|name| (name.clone(), nearest(name))).collect()
    }
}

impl Effective {
    /// These settings checked as a whole; reads the recipients.
    ///
    /// # Errors
    /// [`SettingsError::Config`], which tells where the settings it is about stand.
    pub fn config(&self) -> Result<Config, SettingsError> {
        self.arguments.config().map_err(|error| {
            let text = error.to_string();
            let about = self.settings.iter().filter(|setting| mentions(&text, &setting.option.name));
            let elsewhere = about.filter(|setting| !matches!(setting.origin, Origin::Default | Origin::Flag));
            let places = elsewhere.map(|setting| format!("{}: {}", setting.option.name, setting.origin));
            SettingsError::Config { error, places: places.collect() }
        })
    }
}

/// Whether the words of an error name this option.
fn mentions(text: &str, name: &str) -> bool {
    let flag = format!("--{name}");
    text.match_indices(&flag).any(|(at, _)| {
        let next = text[at + flag.len()..].chars().next();
        !next.is_some_and(|next| next == '-' || next.is_ascii_alphanumeric())
    })
}

fn of<'a>(name: &str, source: &'a [Setting]) -> Option<&'a Setting> {
    source.iter().find(|setting| setting.option.name == name)
}

/// What the file says. What is wrong with it goes to `problems`.
fn by_file(
    path: &Path,
    table: &[ServeOption],
    command: &mut Command,
    problems: &mut Vec<Problem>,
) -> Result<Vec<Setting>, SettingsError> {
    let unreadable = |error| SettingsError::Unreadable(path.to_owned(), error);
    let mut octets = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(CONFIG_FILE_MAX + 1).read_to_end(&mut octets).map_err(unreadable)?;
    if octets.len() as u64 > CONFIG_FILE_MAX {
        let reason = format!("longer than {CONFIG_FILE_MAX} octets, so hardly a configuration");
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, reason)));
    }
    let problem = |position, message| Problem::in_file(path, position, message);
    let text = match std::str::from_utf8(&octets) {
        Ok(text) => text,
        Err(error) => {
            let valid = String::from_utf8_lossy(&octets[..error.valid_up_to()]).into_owned();
            let position = settings_file::position(&valid, valid.len());
            problems.push(problem(position, "this is not UTF-8".to_owned()));
            return Ok(Vec::new());
        }
    };
    let (entries, faults) = settings_file::parse(text, table);
    problems.extend(faults.into_iter().map(|fault| problem(fault.position, fault.message)));
    let mut settings = Vec::new();
    for entry in entries {
        let Some(option) = table.iter().find(|option| option.name == entry.name) else { continue };
        for value in &entry.values {
            if let Some(reason) = refusal(option, OsStr::new(&value.text), command) {
                let quotes =
                    if value.is_number && option.kind == ValueKind::Text { ", in quotes" } else { "" };
                problems.push(problem(value.position, format!("{}: {reason}{quotes}", option.name)));
            }
        }
        let values = entry.values.into_iter().map(|value| value.text.into()).collect();
        let origin = Origin::File(path.to_owned(), entry.position.line);
        settings.push(Setting { option: option.clone(), values, origin });
    }
    Ok(settings)
}

fn refused_variable(setting: &Setting, command: &mut Command) -> Option<Problem> {
    let mut values = setting.values.iter();
    let reason = values.find_map(|value| refusal(&setting.option, value, command))?;
    Some(Problem::in_variable(setting.option.variable(), reason))
}

/// Why an option does not take this value, asked of its own parser.
fn refusal(option: &ServeOption, value: &OsStr, command: &mut Command) -> Option<String> {
    let words = ["mailrace".into(), "serve".into(), options::flag(&option.name, value)];
    let error = command.try_get_matches_from_mut(words).err()?;
    let shown = value.to_string_lossy();
    match error.kind() {
        // Whatever their type, whole numbers are refused in the words of Rust's own parser.
        ErrorKind::ValueValidation if option.kind == ValueKind::Count && shown.parse::<u128>().is_err() => {
            Some(format!("'{shown}' is not a whole number"))
        }
        ErrorKind::ValueValidation => match std::error::Error::source(&error) {
            Some(reason) => Some(reason.to_string()),
            None => Some(format!("'{shown}' cannot be used")),
        },
        ErrorKind::InvalidValue if value.is_empty() => Some("the value is empty".to_owned()),
        ErrorKind::InvalidValue => match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(valid)) if !valid.is_empty() => {
                Some(format!("'{shown}' is none of {}", valid.join(", ")))
            }
            _ => Some(format!("'{shown}' cannot be used")),
        },
        ErrorKind::InvalidUtf8 => Some(format!("'{shown}' is not UTF-8")),
        // A rule about several options: it is held against all of them together.
        _ => None,
    }
}

/// Parses all settings as one command line.
fn together(settings: &[Setting], command: &mut Command) -> Result<ServeArguments, SettingsError> {
    let words = settings.iter().flat_map(Setting::words);
    let words = ["mailrace", "serve"].into_iter().map(OsString::from).chain(words);
    let contradiction = |error: clap::Error| contradiction(error, settings);
    let matches = command.try_get_matches_from_mut(words).map_err(contradiction)?;
    let serve = matches.subcommand_matches("serve").unwrap_or(&matches);
    ServeArguments::from_arg_matches(serve).map_err(contradiction)
}

/// Two settings that exclude each other, by name and place; anything else as it was said.
fn contradiction(error: clap::Error, settings: &[Setting]) -> SettingsError {
    let mut names: Vec<&str> = Vec::new();
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        match error.get(kind) {
            Some(ContextValue::String(name)) => names.push(name),
            Some(ContextValue::Strings(more)) => names.extend(more.iter().map(String::as_str)),
            _ => {}
        }
    }
    let involved = |setting: &&Setting| names.iter().any(|text| mentions(text, &setting.option.name));
    let involved: Vec<String> = settings
        .iter()
        .filter(involved)
        .map(|setting| format!("{} ({})", setting.option.name, setting.origin))
        .collect();
    match (error.kind(), involved.len()) {
        (ErrorKind::ArgumentConflict, 2..) => SettingsError::Contradiction(involved),
        _ => SettingsError::Arguments(error),
    }
}
