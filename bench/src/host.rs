//! The machine a figure was taken on, and its limits.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::stats::thousands;

/// What identifies a host in a report.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// The host's name.
    pub name: String,
    /// Kernel release.
    pub kernel: String,
    /// The processor as it names itself.
    pub processor: String,
    /// Cores the system has online.
    pub core_count: usize,
    /// Main memory in MiB.
    pub memory_mib: u64,
    /// Threads that ran or wanted to, averaged over the minute before: what else went on.
    pub load_average: f64,
}

/// The machine as this program found it.
#[derive(Clone, Debug)]
pub struct Start {
    /// With the load average of the minute before: later ones are the program's own work.
    pub host: Host,
    /// When that was, UTC.
    pub date: String,
}

/// What was there when this program began: [`crate::cli::run`] asks first of all, and whoever asks later hears the same.
pub fn at_start() -> &'static Start {
    static START: OnceLock<Start> = OnceLock::new();
    START.get_or_init(|| Start {
        host: Host::this(),
        date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
    })
}

impl Host {
    /// This machine; what it does not tell stays empty or 0.
    pub fn this() -> Self {
        let uname = rustix::system::uname();
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let memory_kib = field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|value| value.split(' ').next()?.parse::<u64>().ok())
            .unwrap_or(0);
        Self {
            name: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            core_count: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory_kib >> 10,
            load_average: read("/proc/loadavg").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// The value behind the first `name : value` line.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|n| n.trim() == name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Why `count` connections cannot be held, by a load and a server as processes of their own, and what to do; nothing
/// when they can.
pub fn descriptors_lacking(count: u64) -> Option<String> {
    let hard = getrlimit(Resource::Nofile).maximum?;
    let needed = count + DESCRIPTORS_BESIDE;
    (hard < needed).then(|| {
        format!(
            "{} connections need {} descriptors a process, and the hard limit is {}: raise it (ulimit -Hn {needed})",
            in_words(count),
            in_words(needed),
            in_words(hard),
        )
    })
}

fn in_words(count: u64) -> String {
    thousands(&count.to_string())
}

/// Descriptors a process has beside its connections, with room to spare.
const DESCRIPTORS_BESIDE: u64 = 500;

/// Sees to it that `count` descriptors can be open at once.
///
/// # Errors
/// When the hard limit is lower.
pub fn raise_descriptor_limit(count: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < count) {
        let maximum = limit.maximum.unwrap_or(0);
        let attempt = format!("open {count} descriptors, {maximum} being the hard limit");
        return Err(Error::system(attempt, rustix::io::Errno::MFILE));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum: limit.maximum })
        .map_err(|e| Error::system(format!("raise the descriptor limit to {count}"), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_beyond_the_descriptor_limit_are_lacking_and_the_remedy_is_named() {
        let reason = descriptors_lacking(u64::MAX / 2);
        assert!(reason.is_none_or(|reason| reason.contains("ulimit -Hn 9223372036854776307")));
        assert_eq!(descriptors_lacking(1), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 207\nmodel name\t: A CPU: fast\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A CPU: fast"));
        assert_eq!(field(text, "name"), None);
    }
}
