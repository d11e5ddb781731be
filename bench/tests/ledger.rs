//! The ledger of a load against a real mailrace's log: clean after a run, and not after any kind of harm.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use mailrace_bench::load::content::{Content, Corpus};
use mailrace_bench::load::pace::{Arrivals, Pace};
use mailrace_bench::load::script::MailShape;
use mailrace_bench::load::session::Pipelining;
use mailrace_bench::load::{self, Amount, LoadOptions, Refinements};
use mailrace_bench::mailrace::{Durability, Mailrace, MailraceOptions};
use mailrace_bench::units::CoreList;
use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_mailrace-bench");

/// The server of the same build as this test.
fn mailrace() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = Path::new(BENCH).parent().expect("a directory");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "mailrace", "--bin", "mailrace"]);
        build.args(directory.ends_with("release").then_some("--release"));
        assert!(build.status().expect("cargo").success());
        directory.join("mailrace")
    })
}

/// The corpus of the last ledger: what stands in a file, and how it goes over the wire.
const TEXTS: [[&str; 2]; 2] = [["A: b\r\n\r\n.x\r\n", "A: b\r\n\r\n..x\r\n"], ["\r\n.\r\n", "\r\n..\r\n"]];

/// Delivers a message of the last ledger once more.
fn deliver_again(server: SocketAddr, ledger: &Path) {
    let text = std::fs::read_to_string(ledger).expect("a ledger");
    let id = text.split('\t').next().expect("an id");
    let number: usize = id.rsplit('-').next().and_then(|n| n.parse().ok()).expect("a number");
    let [_, wire] = TEXTS[number % TEXTS.len()];
    let mut socket = TcpStream::connect(server).expect("a connection");
    let envelope = "HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<b@load.example>\r\nDATA\r\n";
    let dialogue = format!("{envelope}{wire}X-Mailrace-Bench-Id: {id}\r\n.\r\nQUIT\r\n");
    socket.write_all(dialogue.as_bytes()).expect("somebody who listens");
    let mut replies = String::new();
    socket.read_to_string(&mut replies).expect("replies");
    assert!(replies.contains(" stored "), "{replies}");
}

/// Sends 150 messages in each of several manners to a mailrace of its own, with a ledger each;
/// with `delivers_again`, one of them twice.
fn send(directory: &Path, delivers_again: bool) -> (Vec<PathBuf>, PathBuf) {
    let options = MailraceOptions {
        binary: mailrace().to_owned(),
        cores: CoreList(vec![0]),
        durability: Durability::Os,
        data_dir: directory.join("log"),
        arguments: Vec::new(),
    };
    let server = Mailrace::start(&options).expect("a server");
    let texts = TEXTS.map(|[plain, _]| plain.as_bytes().to_vec()).to_vec();
    let corpus = Corpus { source: "x".into(), texts };
    let open = Pace::Open { rate: 3000.0, arrivals: Arrivals::Poisson };
    let refinements = [
        Refinements::default(),
        Refinements { pace: open, ..Refinements::default() },
        Refinements { content: Content::Corpus(corpus), ..Refinements::default() },
    ];
    let mut ledgers = Vec::new();
    for (index, refinements) in refinements.into_iter().enumerate() {
        let ledger = directory.join(format!("ledger-{index}"));
        let load = LoadOptions {
            target: server.address(),
            cores: vec![0, 0],
            connection_count: 6,
            messages_per_connection: (index == 1).then_some(2),
            pipelining: if index == 2 { Pipelining::Never } else { Pipelining::Announced },
            mail: MailShape::of_size(2000),
            amount: Amount::Count(150),
            server_pid: None,
        };
        let refinements = Refinements { ledger: Some(ledger.clone()), ..refinements };
        let report = load::run_refined(&load, &refinements).expect("a run");
        assert_eq!(report.messages.accepted, 150);
        ledgers.push(ledger);
    }
    if delivers_again {
        deliver_again(server.address(), &ledgers[2]);
    }
    server.stop(&options).expect("totals");
    (ledgers, options.data_dir)
}

fn audit(ledgers: &[PathBuf], data_dir: &Path) -> (Option<i32>, Value) {
    let output = audit_with(ledgers, data_dir, &["--json", "-"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (output.status.code(), json)
}

fn audit_with(ledgers: &[PathBuf], data_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(BENCH);
    command.arg("audit").args(ledgers).arg("--data-dir").arg(data_dir).args(arguments);
    command.output().expect("the command")
}

#[test]
fn an_audit_is_clean_after_a_run_and_names_what_is_lost_or_altered() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ledgers, data_dir) = send(directory.path(), false);
    let (code, report) = audit(&ledgers, &data_dir);
    assert_eq!((code, &report["acknowledged"], &report["intact"]), (Some(0), &450.into(), &450.into()));
    assert_eq!((&report["foreign"], &report["unacknowledged"]), (&0.into(), &0.into()));

    // One ledger alone: the messages of the others are in the log without it.
    let (code, report) = audit(&ledgers[..1], &data_dir);
    assert_eq!((code, &report["intact"], &report["unacknowledged"]), (Some(0), &150.into(), &300.into()));

    let text = std::fs::read_to_string(&ledgers[0]).expect("a ledger");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // An entry whose message never was, and one whose text was another.
    lines.push(lines[0].replace(&lines[0][..4], "ffff").replacen("-00000000", "-99999999", 1));
    let hash_at = lines[1].find('\t').expect("a tab") + 1;
    let other = if lines[1][hash_at..].starts_with('0') { "1" } else { "0" };
    lines[1].replace_range(hash_at..=hash_at, other);
    std::fs::write(&ledgers[0], lines.join("\n") + "\n").expect("a changed ledger");
    let (code, report) = audit(&ledgers, &data_dir);
    assert_eq!(
        (code, &report["lost"]["count"], &report["altered"]["count"]),
        (Some(1), &1.into(), &1.into())
    );
    assert_eq!((&report["intact"], &report["doubled"]["count"]), (&449.into(), &0.into()));
    let output = audit_with(&ledgers, &data_dir, &[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("NOT CLEAN") && said.contains("250 2.0.0 stored 0@"), "{said}");
}

#[test]
fn a_directory_without_a_log_is_no_clean_audit() {
    let directory = tempfile::tempdir().expect("a directory");
    let ledger = directory.path().join("ledger");
    let line = format!("0000000000000007-000000000001\t{}\t250 stored\n", "00".repeat(32));
    std::fs::write(&ledger, line).expect("a ledger");
    let output = audit_with(&[ledger], directory.path(), &[]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("name the directory"), "{output:?}");
}

#[test]
fn an_empty_ledger_is_no_clean_audit() {
    let directory = tempfile::tempdir().expect("a directory");
    let ledger = directory.path().join("ledger");
    std::fs::write(&ledger, "").expect("an empty ledger");
    let output = audit_with(&[ledger], directory.path(), &[]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("holds no line"), "{output:?}");
}

#[test]
fn lines_that_name_a_message_again_and_lines_cut_off_are_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ledgers, data_dir) = send(directory.path(), false);
    let text = std::fs::read_to_string(&ledgers[0]).expect("a ledger");
    let first = text.lines().next().expect("a line");
    std::fs::write(&ledgers[0], format!("{text}{first}\n{}", &first[..9])).expect("a changed ledger");
    let (code, report) = audit(&ledgers, &data_dir);
    assert_eq!((code, &report["acknowledged"]), (Some(0), &450.into()));
    assert_eq!((&report["repeated_lines"], &report["cut_lines"]), (&1.into(), &1.into()));
}

#[test]
fn a_message_that_is_in_the_log_twice_is_doubled_and_not_altered() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ledgers, data_dir) = send(directory.path(), true);
    let (code, report) = audit(&ledgers, &data_dir);
    assert_eq!(
        (code, &report["doubled"]["count"], &report["altered"]["count"]),
        (Some(1), &1.into(), &0.into())
    );
    assert_eq!((&report["intact"], &report["lost"]["count"]), (&449.into(), &0.into()));
}
