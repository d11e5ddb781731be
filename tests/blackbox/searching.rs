//! `mailrace log tail`, `find`, `stat` and the ranges of all readers, beside a running server and without one.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mailrace_support::conversation::Conversation;
use mailrace_support::process::{Server, Setup};
use mailrace_support::program::{PROGRAM_DEADLINE, run, wait};
use mailrace_support::readback::Log;
use serde_json::Value;
use tempfile::TempDir;

use crate::{MAILRACE, directory, log, log_of, setup};

/// A server whose segments are soon full.
fn small_segments(directory: &TempDir) -> Setup {
    Setup::new(MAILRACE, &directory.path().join("data")).arguments(["--segment-size", "1MiB"])
}

/// Sends messages as (reverse-path, forward-path, text), and gives their receipts.
fn send(server: &Server, messages: &[(&str, &str, &[u8])]) -> Vec<String> {
    let mut client = Conversation::hello(server.address()).expect("a connection");
    let stored = messages.iter().map(|(from, to, text)| client.mail(from, to, text).expect("a reply"));
    stored.map(|reply| reply.receipt().unwrap_or_else(|| panic!("no receipt in {reply:?}"))).collect()
}

fn send_many(server: &Server, count: usize) -> Vec<String> {
    let text = b"Subject: one of many\r\n\r\n0123456789\r\n".repeat(300);
    send(server, &vec![("a@example.org", "b@example.net", &text[..]); count])
}

/// The receipts a summary shows, in its order.
fn receipts(summary: &str) -> Vec<String> {
    summary.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

fn found(log: Log<'_>, arguments: &[&str]) -> Vec<String> {
    let finished = log.run("find", arguments);
    assert_eq!((finished.code(), finished.stderr.as_str()), (0, ""), "{arguments:?}");
    receipts(&finished.text())
}

const MESSAGES: [(&str, &str, &[u8]); 5] = [
    ("alice@example.org", "bob@example.net", b"Subject: Invoice 17\r\nX-Tag: red\r\n\r\none\r\n"),
    ("", "alice@example.org", b"Subject: Undelivered mail\r\n\r\nSubject: Invoice in the text\r\n"),
    ("carol@mail.example.org", "BOB@Example.NET", b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nthree\r\n"),
    ("dave@other.example", "\"x@y\"@example.net", b"no header section here\r\n"),
    ("dave@other.example", "erin@example.com", b"Subject: a folded\r\n invoice\r\n\r\nfive\r\n"),
];

#[test]
fn find_goes_by_addresses_sizes_headers_and_receipts() {
    let directory = directory();
    let server = setup(&directory).start();
    let mut given = send(&server, &MESSAGES);
    let long = b"Subject: long\r\n\r\n0123456789\r\n".repeat(20_000);
    given.extend(send(&server, &[("long@example.com", "erin@example.com", &long[..])]));
    let log = log_of(&server);
    for (arguments, wanted) in [
        (&[][..], &[0, 1, 2, 3, 4, 5][..]),
        (&["--address", "alice@example.org"], &[0, 1]),
        (&["--sender", "example.org"], &[0]),
        (&["--sender", "*example.org"], &[0, 2]),
        (&["--sender", "<>"], &[1]),
        (&["--recipient", "bob@example.net"], &[0, 2]),
        (&["--recipient", "example.net"], &[0, 2, 3]),
        (&["--sender", "dave@*", "--recipient", "*.com"], &[4]),
        (&["--peer", "127.0.0.*"], &[0, 1, 2, 3, 4, 5]),
        (&["--peer", "192.0.2.1"], &[]),
        (&["--header", "Subject:~invoice"], &[0, 4]),
        (&["--header", "subject:a folded invoice"], &[4]),
        (&["--header", "Subject:~grüße"], &[2]),
        (&["--header", "X-Tag", "--header", "Subject:~17"], &[0]),
        (&["--min-size", "100kB"], &[5]),
        (&["--max-size", "100kB", "--sender", "*@*.example"], &[3, 4]),
        (&["--limit", "2"], &[0, 1]),
        (&["--limit", "0"], &[]),
        (&["--from", "2020-01-01", "--until", "-1d"], &[]),
        (&["--from", "-1d", "--sender", "<>"], &[1]),
    ] {
        let wanted: Vec<&String> = wanted.iter().map(|index: &usize| &given[*index]).collect();
        assert_eq!(found(log, arguments).iter().collect::<Vec<_>>(), wanted, "{arguments:?}");
    }
    assert_eq!(found(log, &["--receipt", &given[3]]), [given[3].as_str()]);
    assert_eq!(found(log, &["--from", &given[1], "--until", &given[3]]), given[1..3]);
    let whole = log.run("find", &["--format", "jsonl", "--min-size", "100kB"]).text();
    assert_eq!(crate::read(whole.trim_end()).message, long);
}

#[test]
fn a_condition_that_is_none_is_refused_in_words() {
    let directory = directory();
    for (arguments, said) in [
        (["--sender", ""], "empty pattern"),
        (["--header", ":~x"], "Subject:~text"),
        (["--min-size", "100"], "no unit"),
        (["--from", "yesterday"], "2026-11-24"),
        (["--until", "0@x"], "receipt"),
        (["--receipt", "17"], "receipt"),
        (["--limit", "-1"], "-1"),
    ] {
        let finished = log(directory.path()).run("find", &arguments);
        assert_eq!((finished.code(), finished.text().as_str()), (64, ""), "{arguments:?}");
        assert!(finished.stderr.contains(said), "{arguments:?}: {}", finished.stderr);
    }
}

#[test]
fn cat_and_tail_read_the_range_they_are_given() {
    let directory = directory();
    let server = setup(&directory).start();
    let given = send_many(&server, 30);
    let log = log_of(&server);
    let shown = |subcommand: &str, arguments: &[&str]| {
        let arguments = [&["--format", "summary"], arguments].concat();
        let finished = log.run(subcommand, &arguments);
        assert_eq!((finished.code(), finished.stderr.as_str()), (0, ""), "{arguments:?}");
        receipts(&finished.text())
    };
    assert_eq!(shown("cat", &["--from", &given[7]]), given[7..]);
    assert_eq!(shown("cat", &["--until", &given[7]]), given[..7]);
    assert_eq!(shown("cat", &["--from", &given[7], "--until", &given[9]]), given[7..9]);
    assert_eq!(shown("cat", &["--from", &given[7], "--limit", "3"]), given[7..10]);
    assert_eq!(shown("cat", &["--from", &given[7][2..]]), given[7..]);
    assert_eq!(shown("cat", &["--from", "1@0"]), [""; 0]);
    assert_eq!(shown("tail", &[]), given[20..]);
    assert_eq!(shown("tail", &["-n", "3"]), given[27..]);
    assert_eq!(shown("tail", &["-n", "0"]), [""; 0]);
    assert_eq!(shown("tail", &["-n", "99"]), given);
    assert_eq!(shown("tail", &["--from", &given[7], "--limit", "3"]), given[7..10]);
    let first = log.run("cat", &["--limit", "1"]).text();
    let time = crate::read(first.trim_end()).fields["received_at"].as_str().expect("a time").to_owned();
    assert_eq!(shown("cat", &["--from", &time]), given);
    assert_eq!(shown("cat", &["--until", &time]), [""; 0]);
}

/// `log tail` whose output is read line by line.
fn tail(data_dir: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(MAILRACE);
    command.args(["log", "tail", "--data-dir"]).arg(data_dir).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

#[test]
fn tail_follows_over_segments_and_restarts_and_shows_each_message_once() {
    let directory = directory();
    let small = small_segments(&directory);
    let server = small.start();
    let data_dir = server.data_dir().to_owned();
    let mut given = send_many(&server, 150);
    let mut child = tail(&data_dir, &["-f", "--from", "0", "--limit", "450"]);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || receipts(&lines.next().expect("a line").expect("text")).remove(0);
    let mut seen: Vec<String> = (0..given.len()).map(|_| next()).collect();
    // What comes now is seen because it comes.
    given.extend(send_many(&server, 1));
    seen.push(next());
    given.extend(send_many(&server, 149));
    server.kill();
    let server = small.start();
    given.extend(send_many(&server, 100));
    assert!(server.terminate().0.success());
    let server = small.start();
    given.extend(send_many(&server, 50));
    seen.extend((seen.len()..given.len()).map(|_| next()));
    assert_eq!(seen, given);
    let segments = fs::read_dir(&data_dir).expect("readable").filter(|entry| {
        entry.as_ref().expect("an entry").path().extension().is_some_and(|extension| extension == "segment")
    });
    assert!(segments.count() > 4);
    let status = wait(&mut child, PROGRAM_DEADLINE).expect("it ends by itself");
    let mut stderr = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn tail_ends_quietly_when_nobody_reads_it_though_nothing_comes() {
    let directory = directory();
    let server = setup(&directory).start();
    send_many(&server, 1);
    let mut child = tail(server.data_dir(), &["-f"]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("text");
    let status = wait(&mut child, PROGRAM_DEADLINE).expect("it ends");
    assert_eq!(status.code(), Some(0));
}

fn stat(log: Log<'_>, arguments: &[&str]) -> Value {
    let finished = log.run("stat", &[&["--format", "json"], arguments].concat());
    assert_eq!((finished.code(), finished.stderr.as_str()), (0, ""), "{arguments:?}");
    serde_json::from_str(&finished.text()).expect("JSON")
}

#[test]
fn stat_counts_what_cat_shows_with_and_without_reading_it() {
    let directory = directory();
    let server = small_segments(&directory).start();
    let data_dir = server.data_dir().to_owned();
    assert_eq!(stat(log(&data_dir), &[])["messages"], 0);
    let mut given = send_many(&server, 250);
    given.extend(send(&server, &MESSAGES));
    let check = || {
        let all = log(&data_dir).cat();
        let ranges: [&[&str]; 6] = [
            &[],
            &["--from", &given[100]],
            &["--until", &given[100]],
            &["--from", &given[30], "--until", &given[220]],
            &["--from", "-1d"],
            &["--limit", "17"],
        ];
        for range in ranges {
            let shown = log(&data_dir).run("cat", &[&["--format", "summary"], range].concat()).text();
            let (footers, scanned) =
                (stat(log(&data_dir), range), stat(log(&data_dir), &[range, &["--scan"]].concat()));
            for counted in [&footers, &scanned] {
                assert_eq!(counted["messages"], shown.lines().count(), "{range:?}");
            }
            assert_eq!(footers["first"], scanned["first"], "{range:?}");
            assert_eq!(footers["last"], scanned["last"], "{range:?}");
        }
        let scanned = stat(log(&data_dir), &["--scan"]);
        let scan = &scanned["scan"];
        assert_eq!(scan["octets"], all.iter().map(|stored| stored.message.len()).sum::<usize>());
        assert_eq!(scan["largest"], all.iter().map(|stored| stored.message.len()).max().unwrap_or(0));
        assert_eq!(scan["recipients"], given.len());
        assert_eq!(scan["sender_domains"]["top"][0]["domain"], "example.org");
        assert_eq!(scan["sender_domains"]["top"][0]["count"], 251);
        assert_eq!(scan["days"].as_array().map_or(0, Vec::len), 1);
        let text = log(&data_dir).run("stat", &["--scan", "--top", "1"]).text();
        for part in ["255", "example.org", "(others)", "up to 4.00 KiB"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    };
    check();
    server.kill();
    check();
}

#[test]
fn the_headers_of_a_message_are_had_though_its_text_is_damaged() {
    let directory = directory();
    let server = setup(&directory).start();
    let text = &b"Subject: whole\r\n\r\nneedle\r\n"[..];
    let given = send(&server, &[("a@example.org", "b@example.net", text); 2]);
    let data_dir = server.data_dir().to_owned();
    assert!(server.terminate().0.success());
    crate::reading::damage(&data_dir, b"needle");
    let log = log(&data_dir);
    assert_eq!(log.run("get", &[&given[0], "--headers"]).expect_success(), b"Subject: whole\r\n\r\n");
    assert_eq!(log.run("get", &[&given[0]]).code(), 65);
    assert_eq!(log.get(&given[1]), text);
    assert_eq!(found(log, &["--header", "Subject:whole"]), given);
    let whole = log.run("find", &["--format", "jsonl"]);
    assert_eq!((whole.code(), whole.text().lines().count()), (1, 1));
    assert!(whole.stderr.contains("damage stepped over"), "{}", whole.stderr);
}

#[test]
fn colours_appear_on_a_terminal_only_and_not_against_the_users_will() {
    let directory = directory();
    let server = setup(&directory).start();
    send_many(&server, 1);
    let data_dir = server.data_dir().to_str().expect("a plain name").to_owned();
    let on_a_terminal = |before: &str, subcommand: &str| {
        let command = format!("{before} {MAILRACE} log {subcommand} --data-dir {data_dir}");
        run("script", ["-qec", &command, "/dev/null"]).text()
    };
    for subcommand in ["tail", "find", "ls", "verify", "stat --scan"] {
        let coloured = on_a_terminal("env -u NO_COLOR TERM=xterm", subcommand);
        assert!(coloured.contains("\u{1b}["), "{subcommand}: {coloured}");
        for before in ["env NO_COLOR=1 TERM=xterm", "env -u NO_COLOR TERM=dumb"] {
            let plain = on_a_terminal(before, subcommand);
            assert!(!plain.contains('\u{1b}') && !plain.is_empty(), "{subcommand}: {plain}");
        }
        let words: Vec<&str> = subcommand.split(' ').collect();
        let piped = log_of(&server).run(words[0], &words[1..]).text();
        assert!(!piped.contains('\u{1b}') && !piped.is_empty(), "{subcommand}: {piped}");
    }
}
