//! The I/O driver: the one asked for runs, and where the kernel refuses io_uring, epoll does the same work.

use std::path::PathBuf;

use mailrace_support::conversation::Conversation;
use mailrace_support::peer::Peer;
use mailrace_support::process::{Server, Setup};

use crate::{MAILRACE, PROJECT, directory, log_of};

fn setup(directory: &tempfile::TempDir, driver: &str) -> Setup {
    Setup::bare(MAILRACE, &directory.path().join("data")).arguments([
        "--listen",
        "127.0.0.1:0",
        "--segment-size",
        "4MiB",
        "--driver",
        driver,
    ])
}

/// Starts a program with io_uring refused to it alone.
fn without_io_uring(setup: Setup) -> Option<Setup> {
    let python = Peer::find(PROJECT, "smtplib")?.path;
    Some(setup.within([python, PathBuf::from(PROJECT).join("tests/blackbox/clients/refuse_io_uring.py")]))
}

fn assert_works(server: &Server) {
    let mut client = Conversation::hello(server.address()).expect("a connection");
    let reply = client.mail("a@example.org", "b@example.net", b"text\r\n").expect("a reply");
    assert_eq!(log_of(server).get(&reply.receipt().expect("stored")), b"text\r\n");
}

#[test]
fn the_driver_that_is_asked_for_runs() {
    // The one that this run is about; a host that refuses io_uring runs none that is about io_uring.
    let asked = std::env::var("MAILRACE_TEST_DRIVER").ok();
    for driver in
        ["io_uring", "epoll"].iter().filter(|driver| asked.as_deref().is_none_or(|it| it == **driver))
    {
        let directory = directory();
        let server = setup(&directory, driver).start();
        assert_eq!(server.ready().value("driver"), Some(*driver));
        assert_works(&server);
    }
}

#[test]
fn epoll_takes_over_where_the_kernel_refuses_io_uring() {
    let directory = directory();
    let Some(setup) = without_io_uring(setup(&directory, "auto")) else { return };
    let server = setup.start();
    assert_eq!(server.ready().value("driver"), Some("epoll"));
    assert_works(&server);
    assert!(server.terminate().0.success());
}

#[test]
fn io_uring_or_nothing_is_refused_where_the_kernel_refuses_it() {
    let directory = directory();
    let Some(setup) = without_io_uring(setup(&directory, "io_uring")) else { return };
    let finished = setup.refused();
    assert!(finished.code() >= 64, "{}", finished.stderr);
    assert!(finished.stderr.contains("io_uring"), "{}", finished.stderr);
}
