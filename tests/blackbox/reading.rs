//! `mailrace log` beside a running server: what it shows, when, and that it leaves the directory alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use mailrace_support::conversation::Conversation;
use mailrace_support::process::Server;
use mailrace_support::program::{PROGRAM_DEADLINE, finish, run, wait};
use rustix::process::geteuid;

use crate::{MAILRACE, directory, log, log_of, setup};

/// A user who owns nothing.
const NOBODY: u32 = 65534;
/// Each command with the exit code that says that there is nothing to read.
const EVERY_COMMAND: [(&str, &[&str], i32); 8] = [
    ("cat", &[], 66),
    ("ls", &[], 66),
    ("get", &["0@4096"], 66),
    ("tail", &[], 66),
    ("tail", &["-f"], 66),
    ("find", &[], 66),
    ("stat", &[], 66),
    ("verify", &[], 2),
];

fn send(server: &Server, texts: &[&[u8]]) -> Vec<String> {
    let mut client = Conversation::hello(server.address()).expect("a connection");
    let replies =
        texts.iter().map(|text| client.mail("a@example.org", "b@example.net", text).expect("a reply"));
    replies.map(|reply| reply.receipt().unwrap_or_else(|| panic!("no receipt in {reply:?}"))).collect()
}

#[test]
fn a_message_can_be_read_as_soon_as_its_250_was_sent() {
    let directory = directory();
    let server = setup(&directory).start();
    let mut client = Conversation::hello(server.address()).expect("a connection");
    for turn in 0..50 {
        let text = format!("Subject: turn {turn}\r\n\r\n").into_bytes();
        let reply = client.mail("a@example.org", "b@example.net", &text).expect("a reply");
        let receipt = reply.receipt().expect("stored");
        assert_eq!(log_of(&server).get(&receipt), text);
    }
    assert_eq!(log_of(&server).cat().len(), 50);
}

#[test]
fn jsonl_holds_what_is_known_of_a_message() {
    let directory = directory();
    let server = setup(&directory).start();
    let mut client = Conversation::hello(server.address()).expect("a connection");
    client
        .send(b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<\"c d\"@example.net>\r\nDATA\r\n")
        .expect("sent");
    for code in [250, 250, 250, 354] {
        client.expect(code).expect("as wanted");
    }
    client.send(b"\x00\xff text\r\n.\r\n").expect("sent");
    let receipt = client.reply().expect("a reply").receipt().expect("stored");
    let [stored] = &log_of(&server).cat()[..] else { panic!("not one message") };
    assert_eq!(stored.receipt(), receipt);
    assert_eq!(stored.message, b"\x00\xff text\r\n");
    assert_eq!(stored.fields["peer"], client.local_address().to_string());
    assert_eq!(stored.fields["helo"], "client.example");
    assert_eq!((stored.reverse_path(), stored.fields["size"].as_u64()), ("", Some(9)));
    assert_eq!(stored.forward_paths(), ["b@example.net", "\"c d\"@example.net"]);
    let year = stored.fields["received_at"].as_str().expect("a time").get(..4).expect("a year").to_owned();
    assert!((2024..2200).contains(&year.parse::<u32>().expect("digits")), "{year}");
}

#[test]
fn mboxrd_and_summary_show_every_message() {
    let directory = directory();
    let server = setup(&directory).start();
    let receipts =
        send(&server, &[b"Subject: one\r\n\r\nFrom here\r\n>From there\r\n", b"Subject: two\r\n\r\n"]);
    let log = log_of(&server);
    let mbox = log.run("cat", &["--format", "mboxrd"]).expect_success();
    let mbox = String::from_utf8(mbox).expect("text");
    assert_eq!(mbox.lines().filter(|line| line.starts_with("From ")).count(), 2, "{mbox}");
    assert!(mbox.contains("\n>From here") && mbox.contains("\n>>From there"), "{mbox}");
    let summary = log.run("cat", &["--format", "summary"]).text();
    for receipt in &receipts {
        let offset = receipt.strip_prefix("0@").expect("partition 0");
        assert!(summary.contains(offset), "{offset} is not in\n{summary}");
    }
    assert!(!log.run("ls", &[]).expect_success().is_empty());
    log.assert_intact();
}

#[test]
fn a_receipt_of_nothing_is_an_error_in_words() {
    let directory = directory();
    let server = setup(&directory).start();
    let [receipt] = &send(&server, &[b"Subject: one\r\n\r\n"])[..] else { panic!("not one receipt") };
    let lsn: u64 = receipt.strip_prefix("0@").expect("partition 0").parse().expect("a number");
    for wrong in [format!("0@{}", lsn + 8), "0@0".to_owned(), "1@4096".to_owned(), "4096".to_owned()] {
        let finished = log_of(&server).run("get", &[&wrong]);
        assert!(finished.code() != 0 && finished.stdout.is_empty(), "{wrong}");
        assert!(finished.stderr.contains(&wrong), "{wrong}: {}", finished.stderr);
    }
}

#[test]
fn a_directory_that_is_not_there_is_an_error_of_every_command() {
    let directory = directory();
    let log = log(directory.path());
    for (subcommand, arguments, code) in EVERY_COMMAND {
        let finished = crate::log(&log.data_dir.join("nowhere")).run(subcommand, arguments);
        assert_eq!(finished.code(), code, "{subcommand}: {}", finished.stderr);
        assert!(finished.stderr.contains("nowhere"), "{subcommand}: {}", finished.stderr);
    }
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0, "a reader made something");
}

#[test]
fn a_directory_that_holds_no_log_is_an_error_of_every_command() {
    let directory = directory();
    fs::write(directory.path().join("notes.segment"), b"none of ours").expect("written");
    for (subcommand, arguments, code) in EVERY_COMMAND {
        let finished = log(directory.path()).run(subcommand, arguments);
        assert_eq!((finished.code(), finished.text().as_str()), (code, ""), "{subcommand}");
        let path = directory.path().to_str().expect("a plain name");
        for said in [path, "lock", "position", "segment"] {
            assert!(finished.stderr.contains(said), "{subcommand}: {}", finished.stderr);
        }
    }
}

#[test]
fn a_log_that_may_not_be_read_is_an_error_of_every_command() {
    let directory = directory();
    let server = setup(&directory).start();
    send(&server, &[b"Subject: one\r\n\r\n"]);
    let data_dir = server.data_dir().to_owned();
    assert!(server.terminate().0.success());
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    };
    // Root may read everything, so another user must be the one who may not, with a program within its reach.
    let program = directory.path().join("mailrace");
    // Copied by a process of its own: a file that is still open for writing somewhere cannot be run.
    run("cp", [Path::new(MAILRACE), &program]).expect_success();
    mode(directory.path(), 0o755);
    let segments: Vec<PathBuf> = files(&data_dir)
        .into_keys()
        .map(PathBuf::from)
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    let all = || files(&data_dir).into_keys().map(PathBuf::from).chain([data_dir.clone()]);
    for refused in [&data_dir, &data_dir.join("lock"), &data_dir.join("position"), &segments[0]] {
        all().for_each(|path| mode(&path, 0o755));
        mode(refused, 0);
        for (subcommand, arguments, code) in EVERY_COMMAND {
            let mut command = Command::new(&program);
            command.args(["log", subcommand, "--data-dir"]).arg(&data_dir).args(arguments);
            if geteuid().is_root() {
                command.uid(NOBODY);
            }
            let finished = finish(command, b"");
            let expected = if subcommand == "verify" { code } else { 77 };
            let case = format!("{subcommand}, {}: {}", refused.display(), finished.stderr);
            assert_eq!((finished.code(), finished.text().as_str()), (expected, ""), "{case}");
            assert!(finished.stderr.contains("ermission"), "{case}");
            let path = data_dir.to_str().expect("a plain name");
            assert!(finished.stderr.contains(path), "{case}");
        }
        mode(&data_dir, 0o755);
    }
}

#[test]
fn a_log_without_messages_is_a_log() {
    let directory = directory();
    let server = setup(&directory).start();
    let data_dir = server.data_dir().to_owned();
    let check = |left: &str| {
        for subcommand in ["cat", "ls", "tail", "find", "stat", "verify"] {
            let finished = log(&data_dir).run(subcommand, &[]);
            assert_eq!((finished.code(), finished.stderr.as_str()), (0, ""), "{subcommand} {left}");
        }
    };
    check("beside a server");
    assert!(server.terminate().0.success());
    check("after it");
    fs::remove_file(data_dir.join("position")).expect("removed");
    check("without a position file");
    fs::remove_file(data_dir.join("lock")).expect("removed");
    check("with segments alone");
}

#[test]
fn cat_ends_quietly_when_its_pipe_closes() {
    let directory = directory();
    let server = setup(&directory).start();
    let text = b"0123456789abcdef\r\n".repeat(20_000);
    send(&server, &[&text[..]; 3]);
    let mut command = Command::new(MAILRACE);
    command.args(["log", "cat", "--data-dir"]).arg(server.data_dir());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut start = [0; 100];
    child.stdout.take().expect("a pipe").read_exact(&mut start).expect("it prints more than a pipe holds");
    let status = wait(&mut child, PROGRAM_DEADLINE).expect("it ends");
    let mut stderr = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

/// Runs a command whose output nobody reads, or, with `full`, whose output takes nothing. Gives its exit code and
/// what it said on standard error.
fn unread(subcommand: &str, data_dir: &Path, full: bool) -> (Option<i32>, String) {
    let mut command = Command::new(MAILRACE);
    command.args(["log", subcommand, "--data-dir"]).arg(data_dir).stdin(Stdio::null());
    if full {
        let full = fs::File::options().write(true).open("/dev/full").expect("it is always there");
        command.stdout(full);
    } else {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command.stdout(writer);
    }
    let output = command.output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn verify_keeps_its_verdict_when_nobody_reads_it() {
    let directory = directory();
    let server = setup(&directory).start();
    send(&server, &[b"Subject: one\r\n\r\nneedle one\r\n", b"Subject: two\r\n\r\nneedle two\r\n"]);
    let data_dir = server.data_dir().to_owned();
    assert!(server.terminate().0.success());
    assert_eq!(unread("verify", &data_dir, false), (Some(0), String::new()));
    let (code, said) = unread("verify", &data_dir, true);
    assert_eq!((code, said.contains("cannot write the output")), (Some(2), true), "{said}");
    damage(&data_dir, b"needle one");
    assert_eq!(unread("verify", &data_dir, false), (Some(1), String::new()));
    // Of cat it was the messages that were wanted.
    assert_eq!(unread("cat", &data_dir, false).0, Some(0));
}

#[test]
fn reading_changes_nothing_in_the_directory() {
    let directory = directory();
    let server = setup(&directory).start();
    let receipts = send(&server, &[b"Subject: one\r\n\r\n"]);
    let data_dir = server.data_dir().to_owned();
    let read_all = || {
        log(&data_dir).cat();
        log(&data_dir).get(&receipts[0]);
        log(&data_dir).assert_intact();
        for subcommand in ["ls", "tail", "find", "stat"] {
            log(&data_dir).run(subcommand, &[]).expect_success();
        }
    };
    let running = files(&data_dir);
    read_all();
    assert_eq!(files(&data_dir), running, "beside a running server");
    server.kill();
    let torn = files(&data_dir);
    read_all();
    assert_eq!(files(&data_dir), torn, "after a crash");
}

/// Every file with its length and the time of its last change, but for what a server makes ready in the background.
fn files(directory: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let entry = entry.expect("an entry");
        let facts = entry.metadata().expect("its facts");
        if facts.is_dir() {
            all.extend(files(&entry.path()));
        }
        let path = entry.path().to_str().expect("a plain name").to_owned();
        if path.ends_with(".tmp") {
            continue;
        }
        all.insert(path, (facts.len(), facts.modified().expect("a time")));
    }
    all
}

#[test]
fn damage_is_stepped_over_and_named_and_never_shown() {
    let directory = directory();
    let server = setup(&directory).start();
    let texts: Vec<Vec<u8>> =
        (0..3).map(|at| format!("Subject: {at}\r\n\r\nneedle {at}\r\n").into_bytes()).collect();
    let receipts = send(&server, &texts.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let data_dir = server.data_dir().to_owned();
    assert!(server.terminate().0.success());
    damage(&data_dir, b"needle 1");
    let finished = log(&data_dir).run("cat", &[]);
    assert_eq!(finished.code(), 1, "{}", finished.stderr);
    let shown: Vec<Vec<u8>> = finished.text().lines().map(|line| crate::read(line).message).collect();
    assert_eq!(shown, [texts[0].clone(), texts[2].clone()]);
    assert!(!finished.stderr.is_empty(), "nothing said about what was stepped over");
    let verified = log(&data_dir).run("verify", &[]);
    assert_eq!(verified.code(), 1);
    let said = verified.text() + &verified.stderr;
    let lsn = receipts[1].strip_prefix("0@").expect("partition 0");
    assert!(said.contains(".segment") && said.contains(lsn), "{said}");
    assert_ne!(log(&data_dir).run("get", &[&receipts[1]]).code(), 0);
    assert_eq!(log(&data_dir).get(&receipts[2]), texts[2]);
}

/// Turns one bit where `needle` stands in a segment.
pub(crate) fn damage(data_dir: &Path, needle: &[u8]) {
    for path in files(data_dir).into_keys().filter(|path| path.ends_with(".segment")) {
        let mut octets = fs::read(&path).expect("readable");
        if let Some(at) = octets.windows(needle.len()).position(|window| window == needle) {
            octets[at] ^= 1;
            fs::write(&path, octets).expect("writable");
            return;
        }
    }
    panic!("no segment holds the text");
}
