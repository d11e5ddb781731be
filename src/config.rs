//! Everything `serve` can be told, composed of the layers' own options; made once and impossible to hold invalid.
//!
//! [`Config::checked`] is the only way to one: it checks what a single option cannot see (a sink on a public
//! address, cores this process may not use) and says what to do about it. Clocks and sockets are not touched; the
//! recipient list and the process's allowed cores are read here.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::commit::Gather;
use crate::handoff::QueueLimits;
use crate::policy::{Limits, Recipients, RecipientsError};
use crate::smtp::BareLf;

/// When a message counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Durability {
    /// After an fdatasync that covers it succeeded.
    Sync,
    /// After it was written to the page cache: survives the program, not the machine.
    Os,
    /// Never: it is thrown away, and the reply says so.
    Discard,
}

/// Which of the event loop's drivers to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DriverChoice {
    /// io_uring, or epoll where the kernel refuses it.
    Auto,
    /// io_uring or nothing.
    #[value(name = "io_uring")]
    IoUring,
    /// epoll.
    Epoll,
}

/// Bounds of the queue between shards and the commit thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// Messages waiting to be written, of all shards.
    pub messages_max: usize,
    /// Octets of them.
    pub octets_max: usize,
    /// Messages of one shard that were submitted and whose senders have no answer yet.
    pub in_flight_max: usize,
}

/// Bounds of one batch, which shares one write and one sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Messages in it.
    pub messages_max: usize,
    /// Octets in it; a larger message makes a batch by itself.
    pub octets_max: usize,
    /// How long to wait for more after the first message came.
    pub gather: Gather,
}

/// Bounds of the connections of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections, of all shards; one more is answered 421 4.3.2.
    pub connections_max: usize,
    /// How long a client may say nothing, or leave our replies unread.
    pub idle_timeout: Duration,
    /// Messages of one connection whose outcome is not known yet before we stop reading from it.
    pub pipelined_max: usize,
    /// How long running transactions may take to finish when the server is told to stop.
    pub drain_timeout: Duration,
}

/// Who may be written to, as given on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecipientSettings {
    /// Take any recipient, on a public address too.
    pub accept_any: bool,
    /// Domains mail is taken for; none means any.
    pub domains: Vec<String>,
    /// A file with one mailbox a line.
    pub list: Option<PathBuf>,
    /// What parts `user` from `tag` in `user+tag`, which is then taken where `user` is listed.
    pub subaddress: Option<u8>,
}

/// All settings of `serve`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; never empty.
    pub listen: Vec<SocketAddr>,
    /// The directory of the log.
    pub data_dir: PathBuf,
    /// The name in the greeting.
    pub hostname: String,
    /// The cores to pin a shard to, by the kernel's numbers; never empty.
    pub cores: Vec<usize>,
    /// Who may be written to.
    pub recipients: Recipients,
    /// Any recipient was asked for, on a public address too.
    pub accept_any: bool,
    /// What one session may ask.
    pub limits: Limits,
    /// What to do with a message that holds a lone CR or LF.
    pub bare_lf: BareLf,
    /// Bounds of the connections.
    pub connections: ConnectionLimits,
    /// Bounds of the queue to the commit thread.
    pub queue: QueueBounds,
    /// Bounds of one batch.
    pub batch: BatchLimits,
    /// When a message counts as stored.
    pub durability: Durability,
    /// Octets of one segment file.
    pub segment_size: u64,
    /// Which driver runs the event loops.
    pub driver: DriverChoice,
}

/// What stands between the settings given and a [`Config`].
#[derive(Debug)]
pub enum ConfigError {
    /// A listening address that others can reach, and nothing said about recipients.
    OpenSink(SocketAddr),
    /// Cores that this process may not use.
    Cores {
        /// Those asked for that are not allowed; empty when too many were asked for.
        refused: Vec<usize>,
        /// Those that are.
        allowed: Vec<usize>,
    },
    /// A host name that is not one.
    Hostname(String),
    /// A limit that cannot be kept.
    Limit {
        /// The option.
        option: &'static str,
        /// What it must be.
        must: String,
    },
    /// A domain that is not one.
    Domain(RecipientsError),
    /// The recipient list cannot be read.
    ListUnreadable(PathBuf, std::io::Error),
    /// A line of it is not a mailbox.
    ListLine(PathBuf, RecipientsError),
    /// A new setting does not agree with one that a running server cannot change.
    Running(Box<ConfigError>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenSink(address) => write!(
                f,
                "{address} can be reached from other machines, and any recipient would be accepted there: say for \
                 whom mail is taken with --domain or --recipients, or ask for it with --accept-any"
            ),
            Self::Cores { refused, allowed } if refused.is_empty() => {
                write!(
                    f,
                    "--cores asks for more cores than the {} this process may use ({allowed:?})",
                    allowed.len()
                )
            }
            Self::Cores { refused, allowed } => {
                write!(f, "--cores names {refused:?}, but this process may use only {allowed:?}")
            }
            Self::Hostname(name) => write!(
                f,
                "--hostname '{name}' is not a host name: letters, digits, '-' and '.', at most 255 octets"
            ),
            Self::Limit { option, must } => write!(f, "{option} must be {must}"),
            Self::Domain(error) => write!(f, "--domain '{}': {}", error.text, error.reason),
            Self::ListUnreadable(path, error) => {
                write!(f, "--recipients {}: {error}", path.display())
            }
            Self::ListLine(path, error) => {
                let line = error.line.map_or_else(String::new, |line| format!("{line}:"));
                write!(f, "{}:{line} '{}': {}", path.display(), error.text, error.reason)
            }
            Self::Running(error) => {
                write!(f, "{error} (the server that runs is meant; only a restart changes that)")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// Which cores get a shard, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cores {
    /// Every core this process is allowed to run on.
    All,
    /// The first so many of them.
    Count(usize),
    /// These, by the kernel's numbers, ascending and each once.
    List(Vec<usize>),
}

impl Config {
    /// Settings for tests and embedders: everything at its default, any recipient, on `listen` and `data_dir`.
    ///
    /// # Errors
    /// [`ConfigError`] as [`Config::checked`] gives it.
    pub fn with_defaults(listen: SocketAddr, data_dir: &Path) -> Result<Self, ConfigError> {
        Self {
            listen: vec![listen],
            data_dir: data_dir.to_owned(),
            hostname: system_hostname(),
            cores: allowed_cores(),
            recipients: Recipients::any(),
            accept_any: false,
            limits: Limits::default(),
            bare_lf: BareLf::default(),
            connections: ConnectionLimits::default(),
            queue: QueueBounds::default(),
            batch: BatchLimits::default(),
            durability: Durability::Sync,
            segment_size: SEGMENT_SIZE,
            driver: DriverChoice::Auto,
        }
        .checked()
    }

    /// Checks what one setting alone cannot see.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first setting that cannot be used.
    pub fn checked(self) -> Result<Self, ConfigError> {
        let limit = |option, must: String| Err(ConfigError::Limit { option, must });
        if !is_hostname(&self.hostname) {
            return Err(ConfigError::Hostname(self.hostname));
        }
        if self.segment_size < SEGMENT_SIZE_MIN || self.segment_size > SEGMENT_SIZE_MAX {
            return limit("--segment-size", "between 64KiB and 64GiB".to_owned());
        }
        if self.limits.message_size_max == 0 || self.limits.message_size_max > MESSAGE_SIZE_MAX {
            return limit("--max-message-size", "between 1B and 2GiB".to_owned());
        }
        if self.queue.octets_max < self.limits.message_size_max {
            return limit(
                "--queue-bytes",
                format!("at least --max-message-size ({}B)", self.limits.message_size_max),
            );
        }
        let counts = [
            ("--max-recipients", self.limits.recipients_max),
            ("--max-connections", self.connections.connections_max),
            ("--max-pipelined", self.connections.pipelined_max),
            ("--queue-messages", self.queue.messages_max),
            ("--max-in-flight", self.queue.in_flight_max),
            ("--max-batch-messages", self.batch.messages_max),
        ];
        if let Some((option, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return limit(option, "at least 1".to_owned());
        }
        let bounded = [
            ("--queue-messages", self.queue.messages_max, QueueLimits::COUNT_MAX),
            ("--queue-bytes", self.queue.octets_max, QueueLimits::BYTES_MAX),
            ("--max-in-flight", self.queue.in_flight_max, QueueLimits::IN_FLIGHT_MAX),
        ];
        if let Some((option, _, most)) = bounded.iter().find(|(_, value, most)| value > most) {
            return limit(option, format!("at most {most}"));
        }
        if matches!(self.batch.gather, Gather::For(time) if time > COMMIT_DELAY_MAX) {
            return limit("--commit-delay", "at most 1s: every sender waits for it".to_owned());
        }
        if !COMMAND_LINE_BOUNDS.contains(&self.limits.command_line_max) {
            return limit("--max-command-line", "between 512B and 64KiB".to_owned());
        }
        if self.connections.idle_timeout.is_zero() {
            return limit("--idle-timeout", "more than 0s".to_owned());
        }
        Ok(self)
    }
}

/// The default of `--segment-size`, in octets.
pub const SEGMENT_SIZE: u64 = 64 << 20;
const SEGMENT_SIZE_MIN: u64 = 64 << 10;
const SEGMENT_SIZE_MAX: u64 = 64 << 30;
const MESSAGE_SIZE_MAX: usize = 2 << 30;
/// The longest `--commit-delay`: the drain waits for it too.
const COMMIT_DELAY_MAX: Duration = Duration::from_secs(1);

/// RFC 5321 section 4.5.3.1.4 asks for 512; an unfinished line must fit in a receive chunk with room to spare.
const COMMAND_LINE_BOUNDS: std::ops::RangeInclusive<usize> = 512..=64 << 10;

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 100_000,
            // RFC 5321 section 4.5.3.2.7: a server waits at least five minutes for the next command.
            idle_timeout: Duration::from_secs(300),
            pipelined_max: 64,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self { messages_max: 65_536, octets_max: 256 << 20, in_flight_max: 16_384 }
    }
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { messages_max: 4_096, octets_max: 32 << 20, gather: Gather::WhenItPays }
    }
}

/// Makes [`Recipients`] of what was asked for, for servers listening on `listen`.
///
/// # Errors
/// [`ConfigError::OpenSink`] when anybody could be written to from elsewhere without having asked for it; else what
/// is wrong with a domain or the list.
pub fn recipients(settings: &RecipientSettings, listen: &[SocketAddr]) -> Result<Recipients, ConfigError> {
    if settings.domains.is_empty() && settings.list.is_none() {
        return match listen.iter().find(|address| !is_loopback(address)) {
            Some(address) if !settings.accept_any => Err(ConfigError::OpenSink(*address)),
            _ => Ok(Recipients::any()),
        };
    }
    let domains = || settings.domains.iter().map(String::as_str);
    let Some(path) = &settings.list else {
        return Recipients::listed(domains(), None).map_err(ConfigError::Domain);
    };
    let error_in_list = |error: RecipientsError| ConfigError::ListLine(path.clone(), error);
    let text =
        std::fs::read_to_string(path).map_err(|error| ConfigError::ListUnreadable(path.clone(), error))?;
    // Some editors begin a file with a byte order mark.
    let list = text.strip_prefix('\u{feff}').unwrap_or(&text);
    // The domains by themselves first, so that an error is known for theirs.
    Recipients::listed(domains(), None).map_err(ConfigError::Domain)?;
    let recipients = Recipients::listed(domains(), Some(list)).map_err(error_in_list)?;
    Ok(recipients.with_subaddress(settings.subaddress))
}

/// Holds the cores asked for against those this process may use.
///
/// # Errors
/// [`ConfigError::Cores`] with both, when they do not fit.
pub fn cores(asked: &Cores, allowed: &[usize]) -> Result<Vec<usize>, ConfigError> {
    let error = |refused| Err(ConfigError::Cores { refused, allowed: allowed.to_vec() });
    match asked {
        Cores::All => Ok(allowed.to_vec()),
        Cores::Count(count) if *count <= allowed.len() => Ok(allowed[..*count].to_vec()),
        Cores::Count(_) => error(Vec::new()),
        Cores::List(list) => {
            let refused: Vec<usize> = list.iter().filter(|core| !allowed.contains(core)).copied().collect();
            if refused.is_empty() { Ok(list.clone()) } else { error(refused) }
        }
    }
}

/// The cores this process may run on (sched_getaffinity(2)); core 0 when the kernel does not say.
#[must_use]
pub fn allowed_cores() -> Vec<usize> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let mut cores: Vec<usize> = cores.into_iter().map(|core| core.id).collect();
    cores.sort_unstable();
    if cores.is_empty() { vec![0] } else { cores }
}

/// The name of this machine, or `localhost` when it has none that may stand in a greeting.
#[must_use]
pub fn system_hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if is_hostname(&name) { name } else { "localhost".to_owned() }
}

/// True for a name as RFC 5321 section 4.1.2 writes a Domain.
fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        let inside = label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
        inside && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 255 && name.split('.').all(label)
}

/// True for an address that no other machine reaches; an IPv4 one written as IPv6 too.
pub(crate) fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_sink_on_a_public_address_must_be_asked_for() {
        let nobody = RecipientSettings::default();
        for loopback in ["127.0.0.1:25", "127.8.0.1:25", "[::1]:25", "[::ffff:127.0.0.1]:25"] {
            assert!(recipients(&nobody, &[address(loopback)]).is_ok(), "{loopback}");
        }
        for public in ["0.0.0.0:25", "[::]:25", "192.0.2.1:25"] {
            let listen = [address("127.0.0.1:25"), address(public)];
            let error = recipients(&nobody, &listen).expect_err(public);
            assert!(
                error.to_string().contains(public) && error.to_string().contains("--accept-any"),
                "{error}"
            );
            let asked = RecipientSettings { accept_any: true, ..nobody.clone() };
            assert!(recipients(&asked, &listen).is_ok());
            let domain = RecipientSettings { domains: vec!["example.org".to_owned()], ..nobody.clone() };
            assert!(recipients(&domain, &listen).is_ok());
        }
    }

    #[test]
    fn cores_are_held_against_those_allowed() {
        let allowed = [1, 3, 5];
        assert_eq!(cores(&Cores::All, &allowed).expect("all"), allowed);
        assert_eq!(cores(&Cores::Count(2), &allowed).expect("two"), [1, 3]);
        assert_eq!(cores(&Cores::List(vec![3, 5]), &allowed).expect("a list"), [3, 5]);
        assert!(cores(&Cores::Count(4), &allowed).expect_err("too many").to_string().contains("[1, 3, 5]"));
        assert!(cores(&Cores::List(vec![0, 3]), &allowed).expect_err("not ours").to_string().contains("[0]"));
    }

    #[test]
    fn a_setting_that_cannot_be_kept_is_named_with_its_option() {
        let config =
            Config::with_defaults(address("127.0.0.1:0"), Path::new("d")).expect("the defaults hold");
        type Change = fn(&mut Config);
        let broken: [(&str, Change); 6] = [
            ("--hostname", |config| config.hostname = "a b".to_owned()),
            ("--segment-size", |config| config.segment_size = 1),
            ("--max-message-size", |config| config.limits.message_size_max = 0),
            ("--queue-bytes", |config| config.queue.octets_max = 1),
            ("--max-in-flight", |config| config.queue.in_flight_max = 0),
            ("--idle-timeout", |config| config.connections.idle_timeout = Duration::ZERO),
        ];
        for (option, change) in broken {
            let mut config = config.clone();
            change(&mut config);
            let error = config.checked().expect_err(option);
            assert!(error.to_string().contains(option), "{error}");
        }
    }
}
