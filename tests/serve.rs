//! `mailrace serve` as a process: events, exit codes, signals, and limits of the system that it meets.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use common::{ServerProcess, field};
use mailrace_support::client::Client;
use rustix::process::{Resource, Rlimit, Signal, prlimit};

fn mailrace(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mailrace")).args(arguments).output().expect("the program runs")
}

fn limit(server: &ServerProcess, resource: Resource, current: u64) -> Rlimit {
    let old = prlimit(Some(server.pid()), resource, Rlimit { current: Some(current), maximum: None });
    old.expect("one may limit one's children")
}

/// The number of descriptors the server has open.
fn open_descriptors(server: &ServerProcess) -> u64 {
    let folder = format!("/proc/{}/fd", server.child.id());
    std::fs::read_dir(folder).expect("procfs").count() as u64
}

#[test]
fn the_ready_event_names_how_the_server_runs() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data_dir = dir.path().join("data");
    for (driver, durability) in [("io_uring", "sync"), ("epoll", "os"), ("epoll", "discard")] {
        let server = ServerProcess::start(
            &data_dir,
            &["--driver", driver, "--durability", durability, "--cores", "1"],
        );
        assert_eq!(field(&server.ready, "driver"), driver);
        assert_eq!(field(&server.ready, "durability"), durability);
        assert_eq!(field(&server.ready, "data_dir"), data_dir.to_str().expect("UTF-8"));
        assert_eq!(field(&server.ready, "cores").split(',').count(), 1);
        Client::ready(server.address).say("QUIT", "221");
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0));
    }
    let mode = |path: &std::path::Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&data_dir), 0o700);
    for entry in std::fs::read_dir(&data_dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        assert!(path.is_dir() || mode(&path) == 0o600, "{}", path.display());
    }
}

#[test]
fn either_signal_drains_and_the_totals_are_printed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = ServerProcess::start(dir.path(), &[]);
        let mut client = Client::ready(server.address);
        client.begin_message();
        server.signal(signal);
        server.event("draining");
        client.send(b"text\r\n.\r\n");
        client.expect("250 2.0.0 stored");
        client.expect("421");
        client.expect_end();
        let stopped = server.event("stopped");
        assert_eq!(field(&stopped, "messages"), "1");
        assert_eq!(field(&stopped, "octets"), "6");
        assert_eq!(field(&stopped, "syncs"), "1");
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut server = ServerProcess::start(dir.path(), &["--drain-timeout", "1h"]);
    let mut client = Client::ready(server.address);
    client.begin_message();
    server.signal(Signal::TERM);
    server.event("draining");
    server.signal(Signal::TERM);
    let status = server.wait();
    assert!(status.code() == Some(143) || status.signal() == Some(15), "{status}");
    client.expect_end();
}

#[test]
fn running_out_of_descriptors_neither_spins_nor_kills() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for driver in ["io_uring", "epoll"] {
        let server = ServerProcess::start(&dir.path().join(driver), &["--driver", driver, "--cores", "1"]);
        let mut early = Client::ready(server.address);
        let old = limit(&server, Resource::Nofile, open_descriptors(&server) + 2);
        let mut clients: Vec<Client> = (0..2).map(|_| Client::ready(server.address)).collect();
        for _ in 0..5 {
            let mut late = Client::connect(server.address);
            late.expect("421 4.3.2");
            late.expect_end();
        }
        early.send_message("descriptors are short and mail goes on");
        clients[0].say("QUIT", "221");
        clients[0].expect_end();
        limit(&server, Resource::Nofile, old.current.expect("there was a limit"));
        Client::ready(server.address).say("NOOP", "250");
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn a_log_that_fails_refuses_mail_and_new_connections_and_ends_with_an_error() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for driver in ["io_uring", "epoll"] {
        let mut server = ServerProcess::start(&dir.path().join(driver), &["--driver", driver]);
        let mut client = Client::ready(server.address);
        client.send_message("stored");
        // From now on a write fails with EFBIG, and would be answered by SIGXFSZ.
        limit(&server, Resource::Fsize, 0);
        assert!(client.send_message("not stored").starts_with("451 4.3.0"));
        let event = server.event("log-failed");
        assert!(event.contains(".segment") || event.contains("position"), "it names the file: {event}");
        assert!(client.send_message("nor is this").starts_with("451 4.3.0"));
        let mut late = Client::connect(server.address);
        late.expect("421 4.3.0");
        late.expect_end();
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(74));
    }
}

#[test]
fn a_start_that_fails_says_why_and_what_to_do() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let running = ServerProcess::start(&dir.path().join("running"), &[]);
    let taken = running.address.to_string();
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    std::fs::write(path("file"), "in the way").expect("a writable directory");
    let cases: [(&[&str], i32, &[&str]); 9] = [
        (&["--listen", &taken, "--data-dir", &path("a")], 69, &[&taken, "--listen"]),
        (&["--listen", "192.0.2.1:0", "--accept-any", "--data-dir", &path("b")], 69, &["192.0.2.1:0"]),
        (&["--listen", "127.0.0.1:0", "--data-dir", &path("running")], 75, &["running", "--data-dir"]),
        (&["--listen", "127.0.0.1:0", "--data-dir", &path("file")], 73, &["file", "--data-dir"]),
        (&["--listen", "0.0.0.0:0"], 64, &["--domain", "--recipients", "--accept-any"]),
        (&["--listen", "127.0.0.1:0", "--recipients", &path("nobody")], 66, &["nobody"]),
        (&["--idle-timeout", "300"], 64, &["300s"]),
        (&["--no-such-flag"], 64, &["--no-such-flag"]),
        (&["--cores", "4096"], 64, &["--cores"]),
    ];
    for (arguments, code, words) in cases {
        let output = mailrace(&[&["serve"], arguments].concat());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{arguments:?}: {word} is not in {stderr}");
        }
    }
}
