//! The mailrace server as a child process: its options, its ready event, its totals.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::group::Group;
use crate::process::ServerProcess;
use crate::units::CoreList;

/// What mailrace does before it answers 250.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Writes and syncs.
    Sync,
    /// Writes to the page cache.
    Os,
    /// Keeps nothing.
    Discard,
}

impl Durability {
    /// As `--durability` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Os => "os",
            Self::Discard => "discard",
        }
    }
}

/// How to start a mailrace.
#[derive(Clone, Debug)]
pub struct MailraceOptions {
    /// The program.
    pub binary: PathBuf,
    /// The cores its whole process is confined to, one shard on each.
    pub cores: CoreList,
    /// Its `--durability`.
    pub durability: Durability,
    /// A directory of its own, not there yet.
    pub data_dir: PathBuf,
    /// Further arguments of `serve`.
    pub arguments: Vec<String>,
}

/// A running mailrace.
#[derive(Debug)]
pub struct Mailrace {
    process: ServerProcess,
    address: SocketAddr,
    driver: String,
}

/// What a mailrace says it has done, once it has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Messages stored or discarded.
    pub messages: u64,
    /// Synchronous writes of message data.
    pub syncs: u64,
    /// Batches written.
    pub batches: u64,
}

impl Mailrace {
    /// Starts it on a free port and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be run or does not get ready.
    pub fn start(options: &MailraceOptions) -> Result<Self> {
        Self::start_in(None, options)
    }

    /// The same in `group`, where there is one.
    ///
    /// # Errors
    /// As [`Mailrace::start`].
    pub fn start_in(group: Option<&Group>, options: &MailraceOptions) -> Result<Self> {
        let mut command = Command::new(&options.binary);
        command.arg("serve").args(["--listen", "127.0.0.1:0", "--hostname", "mx.bench.example"]);
        command.args(["--durability", options.durability.name(), "--cores", &list_of_cores(&options.cores)]);
        command.arg("--data-dir").arg(&options.data_dir).args(&options.arguments);
        let mut process = ServerProcess::start_in(group, command, &options.cores.0)?;
        let ready = process.wait_for(|line| Event::parse(line).filter(|event| event.name == "ready"))?;
        let address =
            ready.fields.get("listen").and_then(|addresses| addresses.split(',').next()?.parse().ok());
        let Some(address) = address else {
            return Err(process.error("its ready event names no address"));
        };
        let driver = ready.fields.get("driver").cloned().unwrap_or_default();
        Ok(Self { process, address, driver })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its I/O driver, as its ready event names it.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Octets it has caused to be written to disk so far, by proc(5); `None` where the system does not tell.
    ///
    /// A page counts when it becomes dirty, or when it is written past the page cache.
    pub fn written_octets(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/io", self.pid())).ok()?;
        text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
    }

    /// Stops it and takes its totals.
    ///
    /// # Errors
    /// When it does not stop, fails, or does not give its totals.
    pub fn stop(self, options: &MailraceOptions) -> Result<Totals> {
        let (status, lines) = self.process.stop()?;
        let failed = |reason: String| Error::Server {
            program: options.binary.clone(),
            reason,
            said: lines.join("\n"),
        };
        if !status.success() {
            return Err(failed(format!("it failed: {status}")));
        }
        let stopped = lines.iter().rev().find_map(|line| Event::parse(line).filter(|e| e.name == "stopped"));
        stopped
            .and_then(|event| Totals::of(&event))
            .ok_or_else(|| failed("its last words hold no totals".into()))
    }
}

impl Mailrace {
    /// The error of a load that this server was driven by, as the server's own where it may be to blame: it let nothing
    /// through, or a program that drove it gave up. What becomes of it when it is stopped is in the reason.
    pub fn blamed(self, options: &MailraceOptions, error: Error) -> Error {
        if matches!(error, Error::System { .. } | Error::Missing { .. }) {
            return error;
        }
        let (end, said) = match self.stop(options) {
            Err(Error::Server { reason, said, .. }) => (format!("; {reason}"), said),
            Ok(_) | Err(_) => (String::new(), String::new()),
        };
        Error::Server { program: options.binary.clone(), reason: format!("{error}{end}"), said }
    }
}

impl Totals {
    fn of(event: &Event) -> Option<Self> {
        let number = |key: &str| event.fields.get(key)?.parse().ok();
        Some(Self {
            messages: number("messages_accepted")?,
            syncs: number("syncs")?,
            batches: number("batches")?,
        })
    }
}

/// The version `binary` gives as its own: behind the name, or its whole first line where that is no mailrace.
///
/// # Errors
/// When it cannot be run, or says nothing.
pub fn version(binary: &Path) -> Result<String> {
    let attempt = || format!("ask {} for its version", binary.display());
    let output = Command::new(binary).arg("--version").output().map_err(|e| Error::system(attempt(), e))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().next().unwrap_or_default().trim();
    match line.strip_prefix("mailrace ").unwrap_or(line) {
        "" => {
            Err(Error::system(attempt(), std::io::Error::other(format!("it says none ({})", output.status))))
        }
        version => Ok(version.to_owned()),
    }
}

/// The program next to this one, which is where cargo puts both.
///
/// # Errors
/// When it is not there.
pub fn binary_beside_this_one() -> Result<PathBuf> {
    let this = std::env::current_exe().map_err(|e| Error::system("find this program", e))?;
    let beside = this.parent().unwrap_or(Path::new(".")).join("mailrace");
    if beside.is_file() {
        return Ok(beside);
    }
    let remedy = format!("no {}: cargo build --release --workspace", beside.display());
    Err(Error::Missing { program: "mailrace".into(), remedy })
}

/// A list even when it is one core: `3` alone would ask for three cores, `3-3` is core 3.
fn list_of_cores(cores: &CoreList) -> String {
    let parts: Vec<String> = cores.0.iter().map(|core| format!("{core}-{core}")).collect();
    parts.join(",")
}

/// A line of standard error, `mailrace: name key=value ...`.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    name: String,
    fields: BTreeMap<String, String>,
}

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let (name, mut rest) =
            line.strip_prefix("mailrace: ").map(|l| l.split_once(' ').unwrap_or((l, "")))?;
        let mut fields = BTreeMap::new();
        while let Some((key, behind)) = rest.split_once('=') {
            let (value, next) = match behind.strip_prefix('"') {
                // Values with escapes in them are of no interest here: they are taken as they stand.
                Some(quoted) => quoted.split_once("\" ").unwrap_or((quoted.trim_end_matches('"'), "")),
                None => behind.split_once(' ').unwrap_or((behind, "")),
            };
            fields.insert(key.trim_start().to_owned(), value.to_owned());
            rest = next;
        }
        Some(Self { name: name.to_owned(), fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_with_quoted_values() {
        let line = r#"mailrace: stopped messages_accepted=12 reason="was asked to" syncs=3 batches=4"#;
        let event = Event::parse(line).expect("an event");
        assert_eq!((event.name.as_str(), event.fields["reason"].as_str()), ("stopped", "was asked to"));
        assert_eq!(Totals::of(&event), Some(Totals { messages: 12, syncs: 3, batches: 4 }));
        assert_eq!(Event::parse("something else"), None);
        assert_eq!(Event::parse("mailrace: draining").map(|e| e.name).as_deref(), Some("draining"));
    }

    #[test]
    fn a_version_is_what_the_program_says() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let program = |name: &str, script: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a program");
            path
        };
        let said = |name, script| version(&program(name, script)).map_err(|error| error.to_string());
        assert_eq!(said("a", "echo mailrace 9.8.7-of-mine"), Ok("9.8.7-of-mine".into()));
        assert_eq!(said("b", "echo something else 1"), Ok("something else 1".into()));
        assert!(said("c", "exit 3").is_err_and(|reason| reason.contains("it says none (exit status: 3)")));
        assert!(version(Path::new("/nowhere/mailrace")).is_err());
    }

    #[test]
    fn one_core_is_named_as_a_list() {
        assert_eq!(list_of_cores(&CoreList(vec![3])), "3-3");
        assert_eq!(list_of_cores(&CoreList(vec![0, 2])), "0-0,2-2");
    }
}
