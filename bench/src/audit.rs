//! A ledger held against a mailrace log: whether every message that was answered 250 is there, once, as it was sent.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mailrace::log::{DirStorage, Entry, ReadError, Reader};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::ledger::{self, Hash};
use crate::table::Table;

/// Messages of each kind that are named one by one.
const EXAMPLES_MAX: usize = 10;
/// How long a server that is just starting may take until its log can be read.
const START_TIME: Duration = Duration::from_secs(2);
const START_CHECK: Duration = Duration::from_millis(50);

/// What an audit found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuditReport {
    /// The ledgers.
    pub ledgers: Vec<PathBuf>,
    /// The log.
    pub data_dir: PathBuf,
    /// Messages in the ledgers: each was answered 250.
    pub acknowledged: u64,
    /// Lines whose message another line has named already: a ledger was given twice, or pieced together.
    pub repeated_lines: u64,
    /// Ledgers whose last line was cut off and left out.
    pub cut_lines: u64,
    /// Those that stand in the log once, as they were sent.
    pub intact: u64,
    /// Acknowledged and not in the log.
    pub lost: Findings,
    /// Acknowledged, and in the log with another text.
    pub altered: Findings,
    /// Acknowledged, and in the log more than once.
    pub doubled: Findings,
    /// With an id of a load, but not in the ledgers: their 250 did not arrive, or they are of another load.
    pub unacknowledged: u64,
    /// Messages without the id of a load.
    pub foreign: u64,
    /// Places of the log that could not be read.
    pub damaged_places: u64,
}

/// Messages something is wrong with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// How many.
    pub count: u64,
    /// The first of them: id, and the reply that acknowledged it.
    pub examples: Vec<(String, String)>,
}

/// A message of the ledgers, and what the log has of it.
struct Entered {
    hash: Hash,
    reply: String,
    found: u64,
    altered: u64,
}

/// Reads `ledgers` and the log in `data_dir`.
///
/// # Errors
/// When a ledger or the log cannot be read, or there is no log.
pub fn run(ledgers: &[PathBuf], data_dir: &Path) -> Result<AuditReport> {
    let mut report =
        AuditReport { ledgers: ledgers.to_vec(), data_dir: data_dir.to_owned(), ..AuditReport::default() };
    let mut entered = HashMap::new();
    for path in ledgers {
        let ledger = ledger::read(path)?;
        report.cut_lines += u64::from(ledger.is_cut);
        for line in ledger.lines {
            let entry = Entered { hash: line.hash, reply: line.reply, found: 0, altered: 0 };
            report.repeated_lines += u64::from(entered.insert(line.id, entry).is_some());
        }
    }
    walk(data_dir, &mut entered, &mut report)?;
    report.conclude(&entered);
    Ok(report)
}

fn walk(data_dir: &Path, entered: &mut HashMap<String, Entered>, report: &mut AuditReport) -> Result<()> {
    let mut reader = open(data_dir)?;
    while let Some(entry) = reader.next_entry().map_err(|e| read_error(data_dir, &e))? {
        let Entry::Record(record) = entry else {
            report.damaged_places += 1;
            continue;
        };
        let Some(id) = ledger::id_of(&record.body) else {
            report.foreign += 1;
            continue;
        };
        match entered.get_mut(id) {
            Some(message) => {
                message.found += 1;
                message.altered += u64::from(ledger::hash(&record.body) != message.hash);
            }
            None => report.unacknowledged += 1,
        }
    }
    Ok(())
}

fn open(data_dir: &Path) -> Result<Reader<DirStorage>> {
    let attempt = || format!("read the log in {}", data_dir.display());
    let storage = DirStorage::open(data_dir).map_err(|e| Error::system(attempt(), e))?;
    let began = std::time::Instant::now();
    loop {
        match Reader::open(storage.clone()) {
            Err(ReadError::NoPosition) if began.elapsed() < START_TIME => std::thread::sleep(START_CHECK),
            Err(error) => return Err(read_error(data_dir, &error)),
            Ok(reader) if reader.finds_log() => return Ok(reader),
            Ok(_) => {
                let what = "there is none: name the directory given to serve with --data-dir";
                return Err(Error::system(
                    attempt(),
                    std::io::Error::new(std::io::ErrorKind::NotFound, what),
                ));
            }
        }
    }
}

fn read_error(data_dir: &Path, error: &ReadError) -> Error {
    let attempt = format!("read the log in {}", data_dir.display());
    Error::system(attempt, std::io::Error::other(error.to_string()))
}

impl AuditReport {
    fn conclude(&mut self, entered: &HashMap<String, Entered>) {
        let mut messages: Vec<(&String, &Entered)> = entered.iter().collect();
        messages.sort_unstable_by_key(|(id, _)| *id);
        self.acknowledged = messages.len() as u64;
        for (id, message) in messages {
            let mut is_intact = true;
            let kinds = [
                (message.found == 0, &mut self.lost),
                (message.altered > 0, &mut self.altered),
                (message.found > 1, &mut self.doubled),
            ];
            for (_, findings) in kinds.into_iter().filter(|(applies, _)| *applies) {
                is_intact = false;
                findings.add(id, &message.reply);
            }
            self.intact += u64::from(is_intact);
        }
    }

    /// Whether every acknowledged message is in the log, once, as it was sent.
    pub fn is_clean(&self) -> bool {
        self.intact == self.acknowledged
    }

    /// A table for a person, and the first messages of each kind that something is wrong with.
    pub fn summary(&self) -> String {
        let mut table = Table::new(&["messages", "number"]);
        for (name, count) in [
            ("acknowledged with 250", self.acknowledged),
            ("in the log once, as sent", self.intact),
            ("lost: not in the log", self.lost.count),
            ("altered: in the log with another text", self.altered.count),
            ("doubled: in the log more than once", self.doubled.count),
            ("in the log, not in the ledger", self.unacknowledged),
            ("in the log, of no load", self.foreign),
            ("damaged places in the log", self.damaged_places),
            ("lines of the ledger that name a message again", self.repeated_lines),
            ("last lines of a ledger that were cut off, left out", self.cut_lines),
        ] {
            table.row(vec![name.into(), count.to_string()]);
        }
        let mut text = table.to_string();
        for (name, findings) in [("lost", &self.lost), ("altered", &self.altered), ("doubled", &self.doubled)]
        {
            for (id, reply) in &findings.examples {
                text += &format!("{name}: {id}, acknowledged with {reply}\n");
            }
        }
        text + if self.is_clean() { "clean\n" } else { "NOT CLEAN\n" }
    }
}

impl Findings {
    fn add(&mut self, id: &str, reply: &str) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push((id.to_owned(), reply.to_owned()));
        }
    }
}
