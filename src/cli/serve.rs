//! `mailrace serve`: arguments to a [`Config`], signals to a drain or a reload, the server's end to an exit code.
//!
//! The ready line, everything that happens and the totals at the end go to stderr as events; stdout stays empty.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::host::{self, Shortage};
use super::settings::Sources;
use super::settings_error::SettingsError;
use super::{exit, units, welcome};
use crate::commit::Gather;
use crate::config::{
    self, BatchLimits, Config, ConfigError, ConnectionLimits, Cores, DriverChoice, Durability, QueueBounds,
    RecipientSettings,
};
use crate::observe::{Event, EventName};
use crate::policy::Limits;
use crate::server::{Drain, Reload, Server};
use crate::smtp::BareLf;

/// The options of `mailrace serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArguments {
    /// File of settings, in TOML: each other option by its long name
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on; repeat it for several. An IPv6 wildcard takes IPv4 as well
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:2525", value_parser = listen_address, help_heading = "Network")]
    listen: Vec<SocketAddr>,
    /// Directory of the log; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "./mailrace-data", help_heading = "Log")]
    data_dir: PathBuf,
    /// Name to greet with [default: this machine's]
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    hostname: Option<String>,
    /// Domain to take mail for; repeat it for several. *.example.org is every subdomain [default: any]
    #[arg(long, value_name = "DOMAIN", conflicts_with = "accept_any", help_heading = "Recipients")]
    domain: Vec<String>,
    /// File of the mailboxes to take mail for, one a line [default: any]
    #[arg(long, value_name = "FILE", conflicts_with = "accept_any", help_heading = "Recipients")]
    recipients: Option<PathBuf>,
    /// What parts user from tag in user+tag, which is then taken where user is listed [default: off]
    #[arg(long, value_name = "CHAR", value_parser = subaddress_delimiter, help_heading = "Recipients")]
    subaddress: Option<u8>,
    /// Take mail for any recipient on addresses that other machines can reach
    #[arg(long, help_heading = "Recipients")]
    accept_any: bool,
    /// Cores to pin one shard each to: all, a count, or a list such as 0,2-5 (3-3 for core 3 alone)
    #[arg(long, value_name = "LIST|N|all", default_value = "all", value_parser = units::cores, help_heading = "Tuning")]
    cores: Cores,
    /// Largest message text, dots unstuffed
    #[arg(long, value_name = "SIZE", default_value = "25MiB", value_parser = size_in_memory, help_heading = "Limits")]
    max_message_size: usize,
    /// Recipients in one transaction; one more is answered 452
    #[arg(long, value_name = "N", default_value_t = Limits::default().recipients_max, help_heading = "Limits")]
    max_recipients: usize,
    /// Octets of a command line, CR LF included
    #[arg(long, value_name = "SIZE", default_value = "2048B", value_parser = size_in_memory, help_heading = "Limits")]
    max_command_line: usize,
    /// Refused commands in one session before it is ended with 421
    #[arg(long, value_name = "N", default_value_t = Limits::default().bad_commands_max, help_heading = "Limits")]
    max_bad_commands: u32,
    /// Open connections, of all cores; one more is answered 421. Lowered to what the descriptor limit allows
    #[arg(long, value_name = "N", default_value_t = ConnectionLimits::default().connections_max, help_heading = "Limits")]
    max_connections: usize,
    /// Messages of one connection that wait to be stored before we stop reading from it
    #[arg(long, value_name = "N", default_value_t = ConnectionLimits::default().pipelined_max, help_heading = "Limits")]
    max_pipelined: usize,
    /// How long a client may say nothing, or leave our replies unread, before it gets 421
    #[arg(long, value_name = "TIME", default_value = "300s", value_parser = units::duration, help_heading = "Limits")]
    idle_timeout: Duration,
    /// How long running transactions may take to finish after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::duration, help_heading = "Limits")]
    drain_timeout: Duration,
    /// Size of one segment file; a larger message gets a segment of its own
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = units::size, help_heading = "Log")]
    segment_size: u64,
    /// When to answer 250: after an fdatasync, after a write to the page cache, or at once, keeping nothing
    #[arg(long, value_enum, default_value_t = Durability::Sync, help_heading = "Log")]
    durability: Durability,
    /// How long a batch waits for more messages before it is written; auto: 500us while that saves syncs
    #[arg(long, value_name = "TIME|auto", default_value = "auto", value_parser = units::gather, help_heading = "Tuning")]
    commit_delay: Gather,
    /// Messages in one batch, which shares one write and one sync
    #[arg(long, value_name = "N", default_value_t = BatchLimits::default().messages_max, help_heading = "Tuning")]
    max_batch_messages: usize,
    /// Octets in one batch, give or take one message
    #[arg(long, value_name = "SIZE", default_value = "32MiB", value_parser = size_in_memory, help_heading = "Tuning")]
    max_batch_bytes: usize,
    /// Messages waiting to be written, of all cores; then no more is read until there is room
    #[arg(long, value_name = "N", default_value_t = QueueBounds::default().messages_max, help_heading = "Limits")]
    queue_messages: usize,
    /// Octets of messages waiting to be written, of all cores
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size_in_memory, help_heading = "Limits")]
    queue_bytes: usize,
    /// Messages of one core that are handed over and not yet answered
    #[arg(long, value_name = "N", default_value_t = QueueBounds::default().in_flight_max, help_heading = "Limits")]
    max_in_flight: usize,
    /// What to do with a message that holds a CR or LF by itself
    #[arg(long, value_enum, default_value_t = BareLfChoice::Reject, help_heading = "Limits")]
    bare_lf: BareLfChoice,
    /// Driver of the event loops
    #[arg(long, value_enum, default_value_t = DriverChoice::Auto, help_heading = "Tuning")]
    driver: DriverChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum BareLfChoice {
    /// Refuse it with 550 5.6.0 after its end
    Reject,
    /// Store it as it came
    Keep,
}

impl ServeArguments {
    /// The settings these arguments ask for.
    ///
    /// # Errors
    /// [`ConfigError`] for the first that cannot be used.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let recipients = RecipientSettings {
            accept_any: self.accept_any,
            domains: self.domain.clone(),
            list: self.recipients.clone(),
            subaddress: self.subaddress,
        };
        Config {
            listen: self.listen.clone(),
            data_dir: self.data_dir.clone(),
            hostname: self.hostname.clone().unwrap_or_else(config::system_hostname),
            cores: config::cores(&self.cores, &config::allowed_cores())?,
            recipients: config::recipients(&recipients, &self.listen)?,
            accept_any: self.accept_any,
            limits: Limits {
                message_size_max: self.max_message_size,
                recipients_max: self.max_recipients,
                bad_commands_max: self.max_bad_commands,
                command_line_max: self.max_command_line,
            },
            bare_lf: match self.bare_lf {
                BareLfChoice::Reject => BareLf::Reject,
                BareLfChoice::Keep => BareLf::Keep,
            },
            connections: ConnectionLimits {
                connections_max: self.max_connections,
                idle_timeout: self.idle_timeout,
                pipelined_max: self.max_pipelined,
                drain_timeout: self.drain_timeout,
            },
            queue: QueueBounds {
                messages_max: self.queue_messages,
                octets_max: self.queue_bytes,
                in_flight_max: self.max_in_flight,
            },
            batch: BatchLimits {
                messages_max: self.max_batch_messages,
                octets_max: self.max_batch_bytes,
                gather: self.commit_delay,
            },
            durability: self.durability,
            segment_size: self.segment_size,
            driver: self.driver,
        }
        .checked()
    }
}

/// Serves until a signal or a failure ends it; returns the exit code.
#[must_use]
pub fn run(sources: &Sources) -> ExitCode {
    // From the start on: neither a long list nor recovery of a large log may make the process deaf.
    let life = Arc::new(Mutex::new(Life::Starting { reload: false }));
    if let Err(error) = catch_signals(Arc::clone(&life), sources.clone()) {
        return refused(&format!("signals cannot be caught: {error}"), exit::OS_ERROR);
    }
    let (config, shortage) = match settings(sources) {
        Ok(settings) => settings,
        Err(error) => return refused(&error, error.exit_code()),
    };
    let warnings = host::warnings(&config, shortage, &host::KernelSettings::read());
    let server = match Server::start(config) {
        Ok(server) => server,
        Err(error) => return refused(&error, error.exit_code()),
    };
    // Before the event: whoever has read it may send a signal and expect a drain.
    begin(&life, &server, sources);
    warnings.iter().for_each(Event::emit);
    server.ready_event().emit();
    welcome::greet(&server);
    let stopped = server.wait();
    stopped.event.emit();
    ExitCode::from(stopped.exit_code)
}

/// What `sources` ask for now, and what the descriptor limit took of it. Asked again at each reload: the settings'
/// file and the recipient list are read anew.
fn settings(sources: &Sources) -> Result<(Config, Option<Shortage>), SettingsError> {
    let mut config = sources.config()?;
    let shortage = host::fit_connections_to_descriptors(&mut config);
    Ok((config, shortage))
}

/// What a signal meets.
enum Life {
    /// No server yet; `reload`: SIGHUP came, perhaps after the settings were read.
    Starting { reload: bool },
    /// A server, and it was not told to end.
    Running { drain: Drain, reload: Box<Reload> },
    /// It was.
    Draining,
}

/// From now on signals meet the running server.
fn begin(life: &Mutex<Life>, server: &Server, sources: &Sources) {
    let mut life = life.lock().unwrap_or_else(PoisonError::into_inner);
    let mut handle = Box::new(server.reload_handle());
    if matches!(*life, Life::Starting { reload: true }) {
        reload(&mut handle, sources);
    }
    *life = Life::Running { drain: server.drain_handle(), reload: handle };
}

/// SIGHUP reloads. The first other signal drains; the second ends the process at once, with the signal's usual exit
/// code. So does the first while the server starts: nothing has been accepted yet, and the next start recovers what
/// this one left.
fn on_signal(signal: i32, life: &mut Life, sources: &Sources) {
    let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
    match life {
        Life::Starting { reload } if signal == SIGHUP => *reload = true,
        Life::Running { reload: handle, .. } if signal == SIGHUP => reload(handle, sources),
        // Who is about to end needs no settings.
        Life::Draining if signal == SIGHUP => {}
        Life::Running { drain, .. } => {
            Event::new(EventName::Draining).field("signal", name).emit();
            drain.start();
            *life = Life::Draining;
        }
        Life::Starting { .. } | Life::Draining => {
            Event::new(EventName::StoppingAtOnce).field("signal", name).emit();
            // What was answered 250 is on disk already; what was not, its sender keeps.
            std::process::exit(128 + signal);
        }
    }
}

/// Reads the settings anew and puts them in force. With settings that cannot be used everything stays as it is.
fn reload(server: &mut Reload, sources: &Sources) {
    let failed = |error: &dyn std::fmt::Display| {
        Event::new(EventName::ReloadFailed)
            .field("error", error)
            .field("action", "mend that and send SIGHUP again; until then the settings before stay in force")
            .emit();
    };
    match settings(sources).map(|(config, _)| server.apply(&config)) {
        Ok(Ok(event)) => event.emit(),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

/// Starts the thread that hears signals.
fn catch_signals(life: Arc<Mutex<Life>>, sources: Sources) -> std::io::Result<()> {
    // A write past RLIMIT_FSIZE must fail like any other write, not kill the process with mail in its memory.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let hear = move || {
        for signal in signals.forever() {
            on_signal(signal, &mut life.lock().unwrap_or_else(PoisonError::into_inner), &sources);
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(hear).map(drop)
}

pub(super) fn refused(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("mailrace: {error}");
    ExitCode::from(code)
}

pub(super) fn config_exit_code(error: &ConfigError) -> u8 {
    match error {
        ConfigError::ListUnreadable(_, error) if error.kind() == ErrorKind::PermissionDenied => {
            exit::NO_PERMISSION
        }
        ConfigError::ListUnreadable(_, error)
            if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::IsADirectory) =>
        {
            exit::CONFIG
        }
        ConfigError::ListUnreadable(..) => exit::NO_INPUT,
        ConfigError::ListLine(..) => exit::CONFIG,
        _ => exit::USAGE,
    }
}

fn subaddress_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        // What may stand in a local part without quotes (RFC 5322 section 3.2.3), and is no part of a word.
        [delimiter] if b"!#$%&'*+-/=?^_`{|}~".contains(delimiter) => Ok(*delimiter),
        _ => Err(format!("'{text}' is not one character that may part user and tag; the usual one is +")),
    }
}

fn size_in_memory(text: &str) -> Result<usize, String> {
    usize::try_from(units::size(text)?).map_err(|_| format!("'{text}' is larger than this machine's memory"))
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("'{text}' is not an address with a port; write it as in 127.0.0.1:2525 or [::1]:2525")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn parse(arguments: &[&str]) -> Result<Config, String> {
        let arguments = ["mailrace", "serve"].iter().chain(arguments);
        let cli = super::super::Cli::try_parse_from(arguments).map_err(|error| error.to_string())?;
        match cli.command {
            super::super::Command::Serve(serve) => serve.config().map_err(|error| error.to_string()),
            _ => Err("not serve".to_owned()),
        }
    }

    #[test]
    fn nothing_configured_is_the_defaults_of_the_layers() {
        let config = parse(&[]).expect("the defaults hold");
        assert_eq!(config.listen, ["127.0.0.1:2525".parse().expect("an address")]);
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.connections, ConnectionLimits::default());
        assert_eq!(config.queue, QueueBounds::default());
        assert_eq!(config.batch, BatchLimits::default());
        assert_eq!(config.segment_size, config::SEGMENT_SIZE);
        assert_eq!(config.durability, Durability::Sync);
        assert_eq!(config.cores, config::allowed_cores());
    }

    #[test]
    fn bad_values_are_refused_in_words() {
        let table: [(&[&str], &str); 9] = [
            (&["--max-message-size", "25"], "25MiB"),
            (&["--idle-timeout", "300"], "300s"),
            (&["--listen", "localhost"], "[::1]:2525"),
            (&["--listen", "0.0.0.0:25"], "--accept-any"),
            (&["--cores", "0"], "0 cores"),
            (&["--accept-any", "--domain", "example.org"], "--domain"),
            (&["--recipients", "/nonexistent/list"], "/nonexistent/list"),
            (&["--subaddress", "+"], "--recipients"),
            (&["--recipients", "list", "--subaddress", "ab"], "the usual one is +"),
        ];
        for (arguments, words) in table {
            let error = parse(arguments).expect_err(words);
            assert!(error.contains(words), "{arguments:?}: {error}");
        }
    }
}
