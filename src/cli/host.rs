//! What the kernel allows against what the settings need: descriptors are raised and connections lowered to fit, and
//! a setting of the kernel that is too low is told before the server is ready.
//!
//! Reads `RLIMIT_NOFILE` (getrlimit(2)) and the files of proc(5) under `/proc/sys/net`; the verdict itself is free of
//! both. Gives `serve` and `check` a [`Config`] that can be kept, and `serve` the events.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, is_loopback};
use crate::observe::{Event, EventName};
use crate::shard::BACKLOG;

/// Descriptors of the process that are not connections: the log's files, the standard three, and some to spare.
const DESCRIPTORS_RESERVED: u64 = 32;
/// Descriptors of one shard: its ring, its doorbell, their duplicates.
const DESCRIPTORS_PER_SHARD: u64 = 8;
/// Descriptors of one listener of one shard: the socket, the one that is polled, the spare one.
const DESCRIPTORS_PER_LISTENER: u64 = 3;

/// The limit of descriptors holds fewer connections than were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortage {
    /// Descriptors this process may have.
    descriptors: u64,
    /// Descriptors that `--max-connections` and all else would take.
    wanted: u64,
}

/// Settings of the kernel that bear on taking in mail; `None` where this kernel or container does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct KernelSettings {
    /// `net.core.somaxconn`: the most connections that wait in the queue of one listening socket (listen(2)).
    somaxconn: Option<u64>,
    /// `net.ipv4.tcp_migrate_req`: 1 hands the queue of a socket that is closed to others on the same port.
    tcp_migrate_req: Option<u64>,
}

impl KernelSettings {
    /// Those of the network namespace of this process.
    pub(super) fn read() -> Self {
        let number =
            |name: &str| std::fs::read_to_string(format!("/proc/sys/net/{name}")).ok()?.trim().parse().ok();
        Self { somaxconn: number("core/somaxconn"), tcp_migrate_req: number("ipv4/tcp_migrate_req") }
    }
}

/// Raises the soft limit of descriptors to the hard one and lowers `--max-connections` to what fits.
pub(super) fn fit_connections_to_descriptors(config: &mut Config) -> Option<Shortage> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }?;
    fit(config, descriptors)
}

fn fit(config: &mut Config, descriptors: u64) -> Option<Shortage> {
    let (shards, listeners) = (config.cores.len() as u64, config.listen.len() as u64);
    let reserved =
        DESCRIPTORS_RESERVED + shards * (DESCRIPTORS_PER_SHARD + listeners * DESCRIPTORS_PER_LISTENER);
    let room = descriptors.saturating_sub(reserved).max(1);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let asked = config.connections.connections_max;
    config.connections.connections_max = asked.min(room);
    (asked > room).then(|| Shortage { descriptors, wanted: reserved.saturating_add(asked as u64) })
}

/// An event for each thing that is too low for `config`.
pub(super) fn warnings(config: &Config, shortage: Option<Shortage>, kernel: &KernelSettings) -> Vec<Event> {
    let mut warnings = Vec::new();
    if let Some(Shortage { descriptors, wanted }) = shortage {
        let effect = format!("at most {} connections at a time", config.connections.connections_max);
        let action = format!(
            "raise the hard limit (LimitNOFILE={wanted} in a systemd unit, or ulimit -Hn), or lower --max-connections"
        );
        warnings.push(warning("RLIMIT_NOFILE", descriptors, wanted, &effect, &action));
    }
    let backlog = u64::from(BACKLOG.unsigned_abs());
    if let Some(value) = kernel.somaxconn.filter(|value| *value < backlog) {
        let effect =
            "a burst of new connections overflows the queue, and those clients wait a second or more";
        let action = format!("sysctl -w net.core.somaxconn={backlog}");
        warnings.push(warning("net.core.somaxconn", value, backlog, effect, &action));
    }
    let public = config.listen.iter().any(|address| !is_loopback(address));
    if kernel.tcp_migrate_req == Some(0) && public && config.cores.len() > 1 {
        let effect = "connections that arrive while the server stops may be reset instead of being told 421";
        let action = "sysctl -w net.ipv4.tcp_migrate_req=1";
        warnings.push(warning("net.ipv4.tcp_migrate_req", 0, 1, effect, action));
    }
    warnings
}

fn warning(setting: &str, value: u64, wanted: u64, effect: &str, action: &str) -> Event {
    Event::new(EventName::KernelSetting)
        .field("setting", setting)
        .field("value", value)
        .field("wanted", wanted)
        .field("effect", effect)
        .field("action", action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(listen: &str, cores: usize) -> Config {
        let listen = listen.parse().expect("an address");
        let mut config = Config::with_defaults(listen, Path::new("log")).expect("the defaults hold");
        config.cores = (0..cores).collect();
        config
    }

    fn told(config: &Config, kernel: KernelSettings) -> Vec<String> {
        warnings(config, None, &kernel).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn connections_are_lowered_to_the_descriptors_there_are_and_the_shortage_is_told() {
        let mut config = config("127.0.0.1:25", 2);
        config.connections.connections_max = 100;
        // 32 for the process, 2 x (8 + 3) for the shards, 100 connections.
        assert_eq!(fit(&mut config, 154), None);
        assert_eq!(config.connections.connections_max, 100);
        let shortage = fit(&mut config, 153);
        assert_eq!(shortage, Some(Shortage { descriptors: 153, wanted: 154 }));
        assert_eq!(config.connections.connections_max, 99);
        let event = warnings(&config, shortage, &KernelSettings::default()).remove(0).to_string();
        for words in ["RLIMIT_NOFILE value=153 wanted=154", "at most 99 connections", "LimitNOFILE=154"] {
            assert!(event.contains(words), "{words}: {event}");
        }
        assert!(fit(&mut config, 0).is_some());
        assert_eq!(config.connections.connections_max, 1, "a server that takes nobody is none");
    }

    #[test]
    fn a_short_queue_for_new_connections_is_told() {
        let setting = |value| KernelSettings { somaxconn: Some(value), tcp_migrate_req: None };
        let config = config("127.0.0.1:25", 1);
        assert_eq!(told(&config, setting(4096)), Vec::<String>::new());
        let events = told(&config, setting(128));
        assert!(events[0].contains("net.core.somaxconn value=128 wanted=4096"), "{events:?}");
    }

    #[test]
    fn a_queue_that_dies_with_its_socket_is_told_where_it_matters() {
        let setting = |value| KernelSettings { somaxconn: None, tcp_migrate_req: Some(value) };
        let events = told(&config("127.0.0.1:25", 2), setting(0));
        assert_eq!(events, Vec::<String>::new(), "nobody else can connect");
        assert_eq!(
            told(&config("127.0.0.1:25", 1), setting(0)),
            Vec::<String>::new(),
            "there is no other socket"
        );
        let mut public = config("127.0.0.1:25", 2);
        public.listen = vec!["192.0.2.1:25".parse().expect("an address")];
        assert_eq!(told(&public, setting(1)), Vec::<String>::new());
        let events = told(&public, setting(0));
        assert!(events[0].contains("sysctl -w net.ipv4.tcp_migrate_req=1"), "{events:?}");
    }
}
