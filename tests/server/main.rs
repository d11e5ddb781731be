//! The whole intake over real sockets, in this process. `scripts/test` runs it once with each I/O driver, which
//! `MAILRACE_TEST_DRIVER` names.

mod in_process;
mod reload;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use in_process::{SHORT, TestServer};
use mailrace::commit::Gather;
use mailrace::config::{Config, Durability};
use mailrace::log::{DirStorage, Entry, Reader};
use mailrace::message::ForwardPath;
use mailrace::policy::{Recipients, Verdict};
use mailrace::server::{Server, StartError};
use mailrace_support::client::{Client, PATIENCE};

/// Receipt and text of every message in the log.
fn stored_messages(server: &TestServer) -> BTreeMap<String, String> {
    let storage = DirStorage::open(server.dir.path()).expect("a data directory");
    let mut reader = Reader::open(storage).expect("a readable log");
    let mut messages = BTreeMap::new();
    while let Some(entry) = reader.next_entry().expect("readable files") {
        let Entry::Record(record) = entry else { panic!("damage: {entry:?}") };
        let text = String::from_utf8(record.body.to_vec()).expect("the tests send text");
        messages.insert(record.receipt.to_string(), text);
    }
    messages
}

fn receipt(reply: &str) -> String {
    reply.strip_prefix("250 2.0.0 stored ").unwrap_or_else(|| panic!("no receipt: {reply:?}")).to_owned()
}

#[test]
fn a_message_that_was_answered_250_stands_in_the_log_under_its_receipt() {
    let server = TestServer::start(|_| {});
    let mut client = Client::ready(server.address());
    let reply = client.send_message("Subject: one\r\n\r\n..dots\r\nend");
    let messages = stored_messages(&server);
    assert_eq!(messages[&receipt(&reply)], "Subject: one\r\n\r\n.dots\r\nend\r\n");
    client.say("QUIT", "221");
    client.expect_end();
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn pipelined_messages_are_answered_in_order_and_share_syncs() {
    const COUNT: usize = 500;
    let server = TestServer::start(|_| {});
    let mut client = Client::ready(server.address());
    let batch: String = (0..COUNT).map(|number| Client::pipelined(&format!("message {number}"))).collect();
    client.send(format!("{batch}QUIT\r\n").as_bytes());
    let mut receipts = Vec::new();
    for _ in 0..COUNT {
        client.expect("250 2.1.0");
        client.expect("250 2.1.5");
        client.expect("354");
        receipts.push(receipt(&client.reply()));
    }
    client.expect("221");
    client.expect_end();
    let messages = stored_messages(&server);
    for (number, receipt) in receipts.iter().enumerate() {
        assert_eq!(messages[receipt], format!("message {number}\r\n"));
    }
    let syncs = server.server.commit_counters().syncs.value();
    assert!(syncs < COUNT as u64, "{syncs} syncs for {COUNT} messages");
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn a_large_message_comes_through_unaltered() {
    let server = TestServer::start(|_| {});
    let mut client = Client::ready(server.address());
    let line = "x".repeat(998);
    let text: String = (0..6000).map(|number| format!("{number} {line}\r\n")).collect();
    let reply = client.send_message(text.trim_end());
    assert_eq!(stored_messages(&server)[&receipt(&reply)], text);
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn a_full_queue_holds_senders_back_and_loses_none() {
    let server = TestServer::start(|config| {
        config.queue.messages_max = 1;
        config.queue.in_flight_max = 2;
        config.durability = Durability::Os;
    });
    let address = server.address();
    let senders: Vec<_> = (0..20)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = Client::ready(address);
                client.send(Client::pipelined("text").repeat(20).as_bytes());
                for _ in 0..20 {
                    for prefix in ["250", "250", "354", "250 2.0.0 stored"] {
                        client.expect(prefix);
                    }
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().expect("all answers came"));
    assert_eq!(stored_messages(&server).len(), 400);
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn discarded_mail_says_so_and_leaves_no_trace() {
    let server = TestServer::start(|config| config.durability = Durability::Discard);
    let reply = Client::ready(server.address()).send_message("gone");
    assert_eq!(reply, "250 2.0.0 discarded");
    let left = std::fs::read_dir(server.dir.path()).expect("a directory").count();
    assert_eq!(left, 0);
    assert_eq!(server.stop().exit_code, 0);
}

fn panics_at_trap(path: &ForwardPath<'_>) -> Verdict {
    match path {
        ForwardPath::Mailbox(mailbox) if mailbox.local_part() == b"trap" => panic!("the trap was touched"),
        _ => Verdict::Accept,
    }
}

#[test]
fn a_session_that_panics_gets_421_and_harms_nobody() {
    let server = TestServer::start(|config| {
        config.recipients = Recipients::from_fn(Arc::new(panics_at_trap));
    });
    let mut bystander = Client::ready(server.address());
    bystander.begin_message();
    for _ in 0..3 {
        let mut client = Client::ready(server.address());
        client.send_message("stored before the panic");
        client.say("MAIL FROM:<a@example.org>", "250");
        client.say("RCPT TO:<trap@example.org>", "421 4.3.0");
        client.expect_end();
    }
    bystander.send(b"still here\r\n.\r\n");
    bystander.expect("250 2.0.0 stored");
    assert_eq!(server.count("panics"), 3);
    assert_eq!(stored_messages(&server).len(), 4);
    drop(bystander);
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn a_panic_behind_a_message_that_waits_does_not_take_its_250() {
    let server = TestServer::start(|config| {
        config.recipients = Recipients::from_fn(Arc::new(panics_at_trap));
    });
    let mut client = Client::ready(server.address());
    let message = Client::pipelined("text");
    client.send(format!("{message}MAIL FROM:<>\r\nRCPT TO:<trap@example.org>\r\nNOOP\r\n").as_bytes());
    for prefix in ["250", "250", "354", "250 2.0.0 stored", "250 2.1.0", "421 4.3.0"] {
        client.expect(prefix);
    }
    client.expect_end();
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn one_connection_too_many_is_told_so_and_the_others_live_on() {
    let server = TestServer::start(|config| config.connections.connections_max = 2);
    let mut first = Client::ready(server.address());
    let mut second = Client::ready(server.address());
    let mut third = Client::connect(server.address());
    third.expect("421 4.3.2");
    third.expect_end();
    first.say("QUIT", "221");
    first.expect_end();
    server.wait_for_count("connections_closed", 2);
    let mut fourth = Client::ready(server.address());
    fourth.say("NOOP", "250");
    second.say("NOOP", "250");
    assert_eq!(server.count("connections_refused"), 1);
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn a_silent_client_is_told_so_in_every_state() {
    let server = TestServer::start(|config| config.connections.idle_timeout = SHORT);
    let begun = Instant::now();
    let mut greeted = Client::connect(server.address());
    let mut unfinished = Client::ready(server.address());
    unfinished.send(b"NOO");
    let mut in_data = Client::ready(server.address());
    in_data.begin_message();
    in_data.send(b"half a line");
    greeted.expect("220");
    for mut client in [greeted, unfinished, in_data] {
        client.expect("421 4.4.2");
        client.expect_end();
    }
    assert!(begun.elapsed() >= SHORT, "not before its time");
    assert_eq!(server.count("timeouts"), 3);
    assert_eq!(stored_messages(&server).len(), 0);
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    let server = TestServer::start(|config| config.connections.idle_timeout = SHORT);
    let mut client = Client::ready(server.address());
    let commands = b"NOOP\r\n".repeat(10_000);
    let begun = Instant::now();
    // The server stops reading when its replies find no room, so this ends with an error when it closes.
    while client.try_send(&commands).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the server takes commands for ever");
    }
    server.wait_for_count("connections_closed", 1);
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn a_client_that_leaves_before_its_answer_harms_nothing() {
    let server = TestServer::start(|_| {});
    for _ in 0..50 {
        let mut client = Client::ready(server.address());
        client.send(Client::pipelined("nobody waits for this").repeat(5).as_bytes());
    }
    let reply = Client::ready(server.address()).send_message("somebody waits for this");
    let messages = stored_messages(&server);
    assert_eq!(messages[&receipt(&reply)], "somebody waits for this\r\n");
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn a_client_that_only_ends_its_sending_side_gets_all_answers() {
    let server = TestServer::start(|_| {});
    let mut client = Client::connect(server.address());
    client.send(format!("EHLO c.example\r\n{}", Client::pipelined("text").repeat(3)).as_bytes());
    client.finish_sending();
    client.expect("220");
    client.expect("250");
    for _ in 0..3 {
        for prefix in ["250", "250", "354", "250 2.0.0 stored"] {
            client.expect(prefix);
        }
    }
    client.expect_end();
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn a_drain_lets_transactions_finish_and_ends_idle_sessions() {
    // Shards stop listening each at its own moment; with one there is one.
    let server = TestServer::start(|config| config.cores.truncate(1));
    let address = server.address();
    let mut idle = Client::ready(address);
    let mut busy = Client::ready(address);
    busy.begin_message();
    server.server.drain_handle().start();
    idle.expect("421 4.3.2");
    idle.expect_end();
    assert!(Client::try_connect(address).is_err(), "nobody listens any more");
    busy.send(b"the last one\r\n.\r\n");
    let receipt = receipt(&busy.reply());
    busy.expect("421 4.3.2");
    busy.expect_end();
    let messages = stored_messages(&server);
    assert_eq!(messages[&receipt], "the last one\r\n");
    let stopped = server.stop();
    assert_eq!(stopped.exit_code, 0);
    let event = stopped.event.to_string();
    for (key, value) in [("connections", "2"), ("messages_accepted", "1"), ("syncs", "1"), ("panics", "0")] {
        assert!(event.split(' ').any(|field| field == format!("{key}={value}")), "{key} in {event}");
    }
}

#[test]
fn a_drain_does_not_wait_for_ever() {
    let server = TestServer::start(|config| config.connections.drain_timeout = SHORT);
    let mut stuck = Client::ready(server.address());
    stuck.begin_message();
    stuck.send(b"this never ends\r\n");
    server.server.drain_handle().start();
    stuck.expect("421 4.3.2");
    stuck.expect_end();
    assert_eq!(stored_messages(&server).len(), 0);
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let first = TestServer::start(|_| {});
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config::with_defaults(listen, first.dir.path()).expect("the defaults hold");
    let error = Server::start(config).expect_err("the directory is in use");
    assert_eq!(error.exit_code(), 75);
    let words = error.to_string();
    assert!(
        words.contains(&first.dir.path().display().to_string()) && words.contains("--data-dir"),
        "{words}"
    );
    Client::ready(first.address()).send_message("the first one still stores");
    assert_eq!(first.stop().exit_code, 0);
}

#[test]
fn an_address_that_is_taken_is_refused_though_it_could_be_shared() {
    let first = TestServer::start(|_| {});
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = Config::with_defaults(first.address(), dir.path()).expect("the defaults hold");
    let error = Server::start(config).expect_err("the address is in use");
    assert!(matches!(&error, StartError::Bind(_)), "{error}");
    assert_eq!(error.exit_code(), 69);
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    assert_eq!(first.stop().exit_code, 0);
}

#[test]
fn a_dual_stack_listener_takes_both_families_and_records_ipv4_as_such() {
    let server = TestServer::start(|config| {
        config.listen = vec!["[::]:0".parse().expect("an address")];
    });
    let port = server.address().port();
    let over_ipv4 = SocketAddr::from(([127, 0, 0, 1], port));
    let over_ipv6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
    let mut peers = Vec::new();
    for address in [over_ipv4, over_ipv6] {
        let mut client = Client::ready(address);
        client.send_message("text");
        peers.push((client.local_addr(), Some(address)));
    }
    let storage = DirStorage::open(server.dir.path()).expect("a data directory");
    let mut reader = Reader::open(storage).expect("a readable log");
    for peer in peers {
        let Some(Entry::Record(record)) = reader.next_entry().expect("readable files") else {
            panic!("two messages were stored")
        };
        assert_eq!((record.envelope.peer(), record.envelope.local()), peer);
    }
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn thousands_of_connections_of_one_host_are_served() {
    const COUNT: usize = 3000;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).expect("up to the hard limit");
    let server = TestServer::start(|_| {});
    let mut clients: Vec<Client> = (0..COUNT).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        client.expect("220");
    }
    clients[COUNT / 2].say("EHLO c.example", "250");
    clients[COUNT / 2].send_message("in the crowd");
    drop(clients);
    server.wait_for_count("connections_closed", COUNT as u64);
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn waiting_for_more_messages_does_not_lose_the_first() {
    let server = TestServer::start(|config| config.batch.gather = Gather::For(Duration::from_millis(5)));
    let reply = Client::ready(server.address()).send_message("waits a little");
    assert_eq!(stored_messages(&server)[&receipt(&reply)], "waits a little\r\n");
    assert_eq!(server.stop().exit_code, 0);
}
