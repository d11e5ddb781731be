//! Reads messages back with `mailrace log`, as a user of the log would.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::program::{Finished, run};

/// One object of `mailrace log cat --format jsonl`.
#[derive(Debug, Clone)]
pub struct Stored {
    /// All that the object holds.
    pub fields: Value,
    /// The message, decoded.
    pub message: Vec<u8>,
}

impl Stored {
    /// Takes one line apart.
    ///
    /// # Panics
    /// When it is no object or its message is not base64.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let fields: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let encoded = fields["message_base64"].as_str().unwrap_or_else(|| panic!("no message in {fields}"));
        let message = STANDARD.decode(encoded).unwrap_or_else(|error| panic!("{error}: {encoded}"));
        Self { fields, message }
    }

    /// The receipt that the client was given; partition 0 is the only one.
    #[must_use]
    pub fn receipt(&self) -> String {
        format!("0@{}", self.fields["offset"])
    }

    /// Where it came from.
    #[must_use]
    pub fn reverse_path(&self) -> &str {
        self.fields["reverse_path"].as_str().unwrap_or_else(|| panic!("no reverse-path in {}", self.fields))
    }

    /// Where it goes.
    #[must_use]
    pub fn forward_paths(&self) -> Vec<&str> {
        let paths = self.fields["forward_paths"].as_array().map(Vec::as_slice).unwrap_or_default();
        paths.iter().filter_map(Value::as_str).collect()
    }
}

/// The log of one data directory, read with one binary.
#[derive(Debug, Clone, Copy)]
pub struct Log<'a> {
    /// The program `mailrace`.
    pub binary: &'a str,
    /// The data directory.
    pub data_dir: &'a Path,
}

impl Log<'_> {
    /// Runs `mailrace log SUBCOMMAND --data-dir DIR ARGUMENTS...` to its end.
    #[must_use]
    pub fn run(&self, subcommand: &str, arguments: &[&str]) -> Finished {
        let data_dir = self.data_dir.to_str().expect("test directories have plain names");
        run(self.binary, ["log", subcommand, "--data-dir", data_dir].iter().chain(arguments))
    }

    /// The message that `receipt` names, as `log get` prints it.
    ///
    /// # Panics
    /// When it is not there.
    pub fn get(&self, receipt: &str) -> Vec<u8> {
        self.run("get", &[receipt]).expect_success()
    }

    /// Every message, in the order of the log.
    ///
    /// # Panics
    /// When `log cat` fails.
    pub fn cat(&self) -> Vec<Stored> {
        let mut all = Vec::new();
        self.each(|stored| all.push(stored));
        all
    }

    /// Gives every message to `visit`, holding one at a time.
    ///
    /// # Panics
    /// When `log cat` fails.
    pub fn each(&self, mut visit: impl FnMut(Stored)) {
        let mut command = Command::new(self.binary);
        command.args(["log", "cat", "--format", "jsonl", "--data-dir"]).arg(self.data_dir);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        for line in stdout.lines() {
            visit(Stored::parse(&line.expect("jsonl is UTF-8")));
        }
        let status = child.wait().expect("the child is ours");
        assert!(status.success(), "log cat: {status}");
    }

    /// Asserts that `log verify` finds the log intact.
    ///
    /// # Panics
    /// When it does not.
    pub fn assert_intact(&self) {
        let verified = self.run("verify", &[]);
        assert!(verified.status.success(), "log verify: {}{}", verified.text(), verified.stderr);
    }
}
