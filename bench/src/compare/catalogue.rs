//! Who is compared: what each server does with a message, how it is configured, and whether it can be had here.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::mailrace::{self, Durability};

use super::server::Hall;

/// A server that can be compared.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Peer {
    /// Its name, as `--peers` takes it.
    pub name: &'static str,
    /// What becomes of a message before its 250.
    pub keeps: &'static str,
    /// What was set otherwise than it comes.
    pub configuration: &'static str,
    /// How it is started.
    #[serde(skip)]
    pub start: Start,
}

/// How a server is started.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// As mailrace, with this `--durability`.
    Mailrace(Durability),
    /// As this program's own sink.
    Sink,
    /// By `bench/peers/FOLDER/serve PORT DIR` with KEEP in its environment; `scripts/peers-compare` lists it by
    /// the folder's name.
    Script {
        /// Its folder.
        folder: &'static str,
        /// What it is told to do with messages; most do only one thing.
        keep: &'static str,
    },
}

const fn script(
    name: &'static str,
    folder: &'static str,
    keep: &'static str,
    keeps: &'static str,
    configuration: &'static str,
) -> Peer {
    Peer { name, keeps, configuration, start: Start::Script { folder, keep } }
}

const fn mailrace(name: &'static str, durability: Durability, keeps: &'static str) -> Peer {
    Peer { name, keeps, configuration: "defaults", start: Start::Mailrace(durability) }
}

/// Every server, in the order of the report.
pub const PEERS: [Peer; 14] = [
    mailrace("mailrace-sync", Durability::Sync, "log + fdatasync"),
    mailrace("mailrace-os", Durability::Os, "log, page cache"),
    mailrace("mailrace-discard", Durability::Discard, "nothing"),
    Peer { name: "sink", keeps: "nothing", configuration: "our null server", start: Start::Sink },
    script("smtp-sink", "smtp-sink", "", "nothing", "backlog 1024, 1024 sessions"),
    script("smtp-server", "smtp-server", "", "nothing", "no TLS, AUTH, name lookup; greets after 100 ms"),
    script("aiosmtpd", "aiosmtpd", "", "nothing", "asyncio's own loop, backlog 1024"),
    script("mailin", "mailin", "", "nothing", "256 threads, no TLS"),
    script("haraka-discard", "haraka", "discard", "nothing", "one process, one plugin"),
    script("haraka-file", "haraka", "file", "a file each", "one process, one plugin"),
    script("haraka-fsync", "haraka", "fsync", "a file each + fsync", "one process, one plugin"),
    script(
        "opensmtpd",
        "opensmtpd",
        "",
        "files in its queue",
        "delivery paused; client names from a file; no limit of messages a session",
    ),
    script(
        "exim",
        "exim",
        "",
        "files in its spool + fsync",
        "queue_only; no TLS or lookup; no limit of connections or of messages on one",
    ),
    script(
        "postfix",
        "postfix",
        "",
        "a file each + fsync",
        "all held; no TLS or client limit; 250 processes",
    ),
];

/// The version of a server: of mailrace what the program to be measured says of itself.
///
/// # Errors
/// Says why it cannot be had.
pub fn version(peer: &Peer, hall: &Hall<'_>) -> std::result::Result<String, String> {
    match peer.start {
        Start::Script { folder, .. } => hall.found.version(folder),
        Start::Mailrace(_) => mailrace::version(hall.mailrace).map_err(|error| error.to_string()),
        // This very program.
        Start::Sink => Ok(env!("CARGO_PKG_VERSION").into()),
    }
}

/// What `scripts/peers-compare` found, and where the project is.
#[derive(Debug)]
pub struct Found {
    root: PathBuf,
    /// Folder, version or reason.
    rows: Vec<(String, std::result::Result<String, String>)>,
}

/// The project's directory: the one this runs in, or the nearest above it that has the script.
///
/// # Errors
/// When there is none.
pub fn project_root() -> Result<PathBuf> {
    let here = std::env::current_dir().map_err(|e| Error::system("find the current directory", e))?;
    let root = here.ancestors().find(|directory| directory.join(SCRIPT).is_file());
    root.map(Path::to_owned).ok_or_else(|| Error::Missing {
        program: SCRIPT.into(),
        remedy: "run compare inside the project's directory".into(),
    })
}

/// What sets the servers up, below the project's directory.
pub const SCRIPT: &str = "scripts/peers-compare";

impl Found {
    /// Reads what the script left under `root`; nothing when it has not run.
    pub fn read(root: &Path) -> Self {
        let text = std::fs::read_to_string(root.join("target/peers/compare.tsv")).unwrap_or_default();
        Self { root: root.to_owned(), rows: text.lines().filter_map(row).collect() }
    }

    /// The version of the server in `folder`, or why there is none.
    pub fn version(&self, folder: &str) -> std::result::Result<String, String> {
        let row = self.rows.iter().find(|(name, _)| name == folder);
        row.map_or_else(|| Err(format!("{SCRIPT} has not fetched it")), |(_, found)| found.clone())
    }

    /// The script that serves `folder`'s server.
    pub fn serve_script(&self, folder: &str) -> PathBuf {
        self.root.join("bench/peers").join(folder).join("serve")
    }

    /// Where the servers are unpacked.
    pub fn peers_dir(&self) -> PathBuf {
        self.root.join("target/peers")
    }
}

fn row(line: &str) -> Option<(String, std::result::Result<String, String>)> {
    let [name, version, reason] = line.split('\t').collect::<Vec<_>>()[..] else { return None };
    let found = if version == "-" { Err(reason.to_owned()) } else { Ok(version.to_owned()) };
    Some((name.to_owned(), found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_cannot_be_had_has_a_reason() {
        let rows: Vec<_> =
            ["exim\t4.96\t-", "postfix\t-\tno root", "odd"].into_iter().filter_map(row).collect();
        let found = Found { root: PathBuf::new(), rows };
        assert_eq!(found.version("exim"), Ok("4.96".into()));
        assert_eq!(found.version("postfix"), Err("no root".into()));
        assert!(found.version("haraka").is_err_and(|reason| reason.contains("has not fetched it")));
    }
}
