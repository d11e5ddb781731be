//! The real clients that `scripts/peers` set up, and the report of which of them a run has used.
//!
//! A test that lacks its peer says so in the report and passes; `scripts/test` prints the report, and fails on a
//! skip where nothing may be skipped.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One client, ready to run.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name in the manifest.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The program, or the folder.
    pub path: PathBuf,
}

impl Peer {
    /// Looks `name` up in the manifest of the project at `project`; reports that it runs, or why not.
    #[must_use]
    pub fn find(project: &str, name: &str) -> Option<Self> {
        let manifest = Path::new(project).join("target/peers/manifest.tsv");
        match look_up(&fs::read_to_string(manifest).unwrap_or_default(), name) {
            Ok(peer) => {
                report("peer", name, "run", &peer.version);
                Some(peer)
            }
            Err(reason) => {
                report("peer", name, "skipped", &reason);
                eprintln!("SKIPPED {name}: {reason}");
                None
            }
        }
    }
}

fn look_up(manifest: &str, name: &str) -> Result<Peer, String> {
    let row = manifest.lines().map(|row| row.split('\t').collect::<Vec<_>>()).find(|row| row[0] == name);
    match row.as_deref() {
        Some([_, "-", _, reason]) => Err((*reason).to_owned()),
        Some([_, version, path, ..]) => {
            Ok(Peer { name: name.to_owned(), version: (*version).to_owned(), path: path.into() })
        }
        _ => Err("scripts/peers has not set it up".to_owned()),
    }
}

/// Adds a line to the report that `MAILRACE_TEST_REPORT` names: kind, name, status, words; none named, none kept.
///
/// # Panics
/// When the report cannot be written.
pub fn report(kind: &str, name: &str, status: &str, words: &str) {
    let Some(path) = std::env::var_os("MAILRACE_TEST_REPORT") else { return };
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the report can be opened");
    // One write per line, so that lines of tests that run at once do not mix.
    let driver = std::env::var("MAILRACE_TEST_DRIVER").unwrap_or_default();
    let line = format!("{kind}\t{name}\t{status}\t{words}\t{driver}\n");
    file.write_all(line.as_bytes()).expect("the report can be written");
}

/// Reports a part that was not run here, and why.
pub fn not_run(name: &str, reason: &str) {
    report("part", name, "NOT RUN", reason);
    eprintln!("NOT RUN {name}: {reason}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_peer_gives_its_reason() {
        let manifest = "curl\t7.88\t/usr/bin/curl\t-\nswaks\t-\t-\tno package\n";
        assert_eq!(look_up(manifest, "curl").expect("it is there").version, "7.88");
        assert_eq!(look_up(manifest, "swaks").expect_err("it is missing"), "no package");
        assert!(look_up(manifest, "msmtp").is_err());
    }
}
