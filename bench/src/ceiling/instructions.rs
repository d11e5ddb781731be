//! Instructions per piece of work, counted by valgrind's callgrind: a guard that no noise of the machine disturbs.
//!
//! This program runs itself under callgrind, once with N repetitions and once with 3 N; half the difference over N
//! is what one costs, start-up excluded. Counts hold for one profile and compiler. Callgrind shows programs a
//! processor without AVX-512, so code that chooses at run time takes its AVX2 or SSE path there: the count guards
//! against more work, not for the speed of the widest path.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::micro::{COMMAND_LINES, EncodeWork, SessionWork, parse_commands};
use crate::error::{Error, Result};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// Eight command lines split and taken apart.
    Parser,
    /// One message of 4 KiB from MAIL to its end of data.
    Session,
    /// A batch of eight messages of 4 KiB into records.
    Encode,
}

impl Work {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Parser, Self::Session, Self::Encode];

    /// As the command line and the record have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parser => "parser",
            Self::Session => "session",
            Self::Encode => "encode",
        }
    }

    /// Does it `count` times: what runs under callgrind.
    pub fn repeat(self, count: u64) {
        let (mut session, mut encode) = (SessionWork::new(), EncodeWork::new(8));
        for _ in 0..count {
            match self {
                Self::Parser => _ = black_box(parse_commands(black_box(COMMAND_LINES))),
                Self::Session => _ = black_box(session.receive()),
                Self::Encode => _ = black_box(encode.append()),
            }
        }
    }
}

/// Counts by name, with what they hold for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `release` or `dev`.
    pub profile: String,
    /// The compiler found when it was taken, as it names itself.
    pub compiler: String,
    /// The widest of the processor's vector instructions that callgrind knows: code chooses its path by them.
    pub vectors: String,
    /// Instructions per piece of work.
    pub instructions: BTreeMap<String, f64>,
}

/// Whether callgrind can be run here.
pub fn is_callgrind_here() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

impl Record {
    /// Counts each of `works` with this very program.
    ///
    /// # Errors
    /// When valgrind cannot be run, or does not say what it counted.
    pub fn count(works: &[Work], repetitions: u64) -> Result<Self> {
        let mut instructions = BTreeMap::new();
        for work in works {
            let few = instructions_of(*work, repetitions)?;
            let many = instructions_of(*work, 3 * repetitions)?;
            let each = many.saturating_sub(few) as f64 / (2 * repetitions) as f64;
            instructions.insert(work.name().to_owned(), each.round());
        }
        let compiler = Command::new("rustc").arg("--version").output();
        let compiler =
            compiler.map_or_else(|_| String::new(), |o| String::from_utf8_lossy(&o.stdout).trim().into());
        let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
        Ok(Self { profile: profile.into(), compiler, vectors: vectors().into(), instructions })
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When the file cannot be read or is no record.
    pub fn read(path: &Path) -> Result<Self> {
        let attempt = || format!("read the record {}", path.display());
        let text = std::fs::read(path).map_err(|e| Error::system(attempt(), e))?;
        serde_json::from_slice(&text).map_err(|e| Error::system(attempt(), std::io::Error::from(e)))
    }

    /// Holds these counts against `recorded`: a line for each, and whether all stay within `tolerance` (a part of 1).
    /// Counts of another compiler differ by themselves and may be off by five times as much.
    ///
    /// # Errors
    /// With the reason, when the two cannot be compared.
    pub fn against(&self, recorded: &Self, tolerance: f64) -> std::result::Result<(String, bool), String> {
        for (what, theirs, ours) in
            [("profile", &recorded.profile, &self.profile), ("vectors", &recorded.vectors, &self.vectors)]
        {
            if theirs != ours {
                return Err(format!("the record is of {what} {theirs}, this program of {ours}"));
            }
        }
        let (mut text, mut tolerance) = (String::new(), tolerance);
        if self.compiler != recorded.compiler {
            tolerance *= OTHER_COMPILER;
            text += &format!(
                "recorded with {}, now {}: {:.0} % are allowed\n",
                recorded.compiler,
                self.compiler,
                tolerance * 1e2
            );
        }
        let mut is_good = true;
        for (name, now) in &self.instructions {
            let before = recorded.instructions.get(name).copied().unwrap_or(0.0);
            let change = if before > 0.0 { now / before - 1.0 } else { f64::INFINITY };
            let verdict = match change {
                c if c > tolerance => "FAILED: more than recorded",
                c if c < -tolerance => "better than recorded: record it again with --update",
                _ => "ok",
            };
            is_good &= change <= tolerance;
            text += &format!(
                "{name}: {now:.0} instructions, recorded {before:.0}, {:+.1} %: {verdict}\n",
                change * 1e2
            );
        }
        Ok((text, is_good))
    }
}

/// What another compiler makes of the same code may differ by so many times the tolerance.
const OTHER_COMPILER: f64 = 5.0;

fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") { "x86_64 with AVX2" } else { "x86_64 without AVX2" }
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH
}

fn instructions_of(work: Work, repetitions: u64) -> Result<u64> {
    let attempt = || format!("count the instructions of {} with callgrind", work.name());
    let this = std::env::current_exe().map_err(|e| Error::system("find this program", e))?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(&this);
    command.args(["ceiling", "work", work.name(), &repetitions.to_string()]);
    let output = command.output().map_err(|e| Error::system(attempt(), e))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match (output.status.success(), collected(&said)) {
        (true, Some(count)) => Ok(count),
        _ => Err(Error::Server { program: "valgrind".into(), reason: format!("cannot {}", attempt()), said }),
    }
}

/// The number behind `Collected :`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?.1;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(profile: &str, parser: f64) -> Record {
        let instructions = BTreeMap::from([("parser".to_owned(), parser)]);
        Record { profile: profile.into(), compiler: "rustc 1".into(), vectors: "x".into(), instructions }
    }

    #[test]
    fn only_more_than_the_tolerance_fails() {
        let recorded = record("dev", 1000.0);
        let holds = |now: &Record| now.against(&recorded, 0.02).map(|(_, holds)| holds);
        for (now, is_good) in [(1019.0, true), (1021.0, false), (500.0, true)] {
            assert_eq!(holds(&record("dev", now)), Ok(is_good), "{now}");
        }
        let unknown = Record { instructions: BTreeMap::new(), ..recorded.clone() };
        assert_eq!(recorded.against(&unknown, 0.02).map(|(_, holds)| holds), Ok(false));
    }

    #[test]
    fn counts_of_another_kind_are_not_compared_and_those_of_another_compiler_loosely() {
        let recorded = record("dev", 1000.0);
        assert!(record("release", 1000.0).against(&recorded, 0.02).is_err());
        let elsewhere = Record { vectors: "y".into(), ..recorded.clone() };
        assert!(elsewhere.against(&recorded, 0.02).is_err());
        for (count, is_good) in [(1099.0, true), (1101.0, false)] {
            let newer = Record { compiler: "rustc 2".into(), ..record("dev", count) };
            assert_eq!(newer.against(&recorded, 0.02).map(|(_, holds)| holds), Ok(is_good));
        }
    }

    #[test]
    fn the_count_is_found_in_what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 1234567\n==7==\n==7== I   refs:  1,234,567\n";
        assert_eq!(collected(said), Some(1_234_567));
        assert_eq!(collected("valgrind: no such tool"), None);
    }
}
