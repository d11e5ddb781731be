//! Ending: what a signal does to each kind of connection, and that nothing answered is lost.

use std::net::TcpStream;

use mailrace_support::conversation::Conversation;
use mailrace_support::process::Server;
use rustix::process::Signal;

use crate::{directory, log, log_of, setup};

/// A connection in each state that a signal may meet.
struct Connections {
    silent: Conversation,
    greeted: Conversation,
    receiving: Conversation,
}

impl Connections {
    fn open(server: &Server) -> Self {
        let mut silent = Conversation::connect(server.address()).expect("a connection");
        silent.expect(220).expect("a greeting");
        let greeted = Conversation::hello(server.address()).expect("a connection");
        let mut receiving = Conversation::hello(server.address()).expect("a connection");
        receiving.begin("a@example.org", "b@example.net").expect("354");
        receiving.send(b"the first half\r\n").expect("sent");
        Self { silent, greeted, receiving }
    }
}

fn drains(signal: Signal) {
    let directory = directory();
    let server = setup(&directory).start();
    let Connections { mut silent, mut greeted, mut receiving } = Connections::open(&server);
    server.signal(signal);
    for idle in [&mut silent, &mut greeted] {
        let reply = idle.reply().expect("a reply");
        assert!(reply.is("421 4.3.2"), "{reply:?}");
    }
    assert!(silent.closed() && greeted.closed());
    // Another core may hear of the end a moment later: it greets, and then says the same.
    if let Ok(mut late) = Conversation::connect(server.address()) {
        let told = late.reply().and_then(|first| if first.code == 220 { late.reply() } else { Ok(first) });
        assert!(told.as_ref().map_or(true, |reply| reply.code == 421), "{told:?}");
    }
    receiving.send(b"the second half\r\n.\r\n").expect("sent");
    let receipt = receiving.reply().expect("a reply").receipt().expect("stored");
    let data_dir = server.data_dir().to_owned();
    let (status, printed) = server.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
    let stopped = printed.lines().find(|line| line.starts_with("mailrace: stopped ")).expect("the totals");
    for total in ["messages_accepted=1", "messages_stored=1", "octets_stored=33", "batches=1", "syncs=1"] {
        assert!(stopped.split(' ').any(|field| field == total), "{total}: {stopped}");
    }
    assert_eq!(log(&data_dir).get(&receipt), b"the first half\r\nthe second half\r\n");
    log(&data_dir).assert_intact();
}

#[test]
fn sigterm_lets_running_transactions_finish_and_ends_the_rest() {
    drains(Signal::TERM);
}

#[test]
fn sigint_does_the_same() {
    drains(Signal::INT);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let directory = directory();
    let server = setup(&directory).start();
    let mut client = Conversation::hello(server.address()).expect("a connection");
    let reply = client.mail("a@example.org", "b@example.net", b"text\r\n").expect("a reply");
    let receipt = reply.receipt().expect("stored");
    let connections = Connections::open(&server);
    server.signal(Signal::TERM);
    let _ = server.event("draining");
    server.signal(Signal::TERM);
    let data_dir = server.data_dir().to_owned();
    let (status, printed) = server.ended();
    assert_eq!(status.code(), Some(128 + 15), "{printed}");
    assert!(connections.receiving.closed());
    assert_eq!(log(&data_dir).get(&receipt), b"text\r\n", "what was answered is there");
    let server = setup(&directory).start();
    assert_eq!(log_of(&server).cat().len(), 1, "what was not answered is not");
}

#[test]
fn a_transaction_that_never_finishes_does_not_hold_the_server_up() {
    let directory = directory();
    let server = setup(&directory).arguments(["--drain-timeout", "200ms"]).start();
    let Connections { mut receiving, .. } = Connections::open(&server);
    server.signal(Signal::TERM);
    let (status, printed) = server.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
    let reply = receiving.reply();
    assert!(reply.as_ref().map_or(true, |reply| reply.code == 421), "{reply:?}");
}

#[test]
fn a_signal_right_behind_the_ready_event_drains() {
    for _ in 0..20 {
        let directory = directory();
        let (status, printed) = setup(&directory).start().terminate();
        assert_eq!(status.code(), Some(0), "{printed}");
    }
}

#[test]
fn a_stopped_server_no_longer_listens() {
    // An address that no other test has: on a common one somebody else may be given the port at once.
    let [a, b] = (std::process::id() as u16).to_be_bytes();
    let own = format!("127.250.{a}.{b}");
    let directory = directory();
    let server = setup(&directory).arguments(["--listen", &format!("{own}:0")]).start();
    let listening = server.ready().value("listen").expect("the addresses").to_owned();
    let address = listening.split(',').find(|address| address.starts_with(&own)).expect("our own");
    assert!(TcpStream::connect(address).is_ok());
    assert!(server.terminate().0.success());
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_log_is_carried_on_where_it_ended() {
    let directory = directory();
    let mut receipts = Vec::new();
    for turn in 0..4 {
        let server = setup(&directory).start();
        let mut client = Conversation::hello(server.address()).expect("a connection");
        for _ in 0..3 {
            let text = format!("turn {turn}\r\n").into_bytes();
            let reply = client.mail("a@example.org", "b@example.net", &text).expect("a reply");
            receipts.push((reply.receipt().expect("stored"), text));
        }
        match turn % 2 {
            0 => assert!(server.terminate().0.success()),
            _ => server.kill(),
        }
    }
    let server = setup(&directory).start();
    let stored = log_of(&server).cat().into_iter().map(|stored| (stored.receipt(), stored.message));
    assert_eq!(stored.collect::<Vec<_>>(), receipts);
    log_of(&server).assert_intact();
}
