//! The dialogue with a session and a queue as production has them; the test plays client and commit thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::*;
use crate::handoff::{BatchBounds, Inbox, QueueLimits, Submission, Wait, channel};
use crate::message::{Lsn, Outcome, Partition, Receipt, StorageRefusal};
use crate::observe::ShardCounters;
use crate::policy::{Limits, Recipients};
use crate::smtp::{BareLf, SessionOptions, reply};

const MESSAGE: &str = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\ntext\r\n.\r\n";
const ACCEPTED: [&str; 3] = ["250 2.1.0", "250 2.1.5", "354"];

struct Client {
    dialogue: Dialogue,
    input: Bytes,
}

fn options(limits: Limits, recipients: Recipients) -> Arc<SessionOptions> {
    Arc::new(SessionOptions::new("server.example", limits, recipients, BareLf::Reject))
}

impl Client {
    fn new() -> Self {
        let options = options(Limits::default(), Recipients::any());
        let peer = SocketAddr::from(([127, 0, 0, 1], 4025));
        let dialogue = Dialogue::new(Session::new(options, peer, None), 4);
        let mut client = Self { dialogue, input: Bytes::new() };
        assert_eq!(client.replies().len(), 1);
        client
    }

    fn say(&mut self, text: &str, tickets: &mut Tickets) -> Next {
        self.input = Bytes::from([&self.input[..], text.as_bytes()].concat());
        self.advance(tickets)
    }

    fn advance(&mut self, tickets: &mut Tickets) -> Next {
        self.dialogue.advance(&mut self.input, tickets)
    }

    /// What may be sent now, as lines.
    fn replies(&mut self) -> Vec<String> {
        let mut outbox = self.dialogue.answers().outbox().borrow_mut();
        let text = String::from_utf8(outbox.ready().to_vec()).expect("replies are ASCII");
        let len = text.len();
        assert!(outbox.sent(len).is_none());
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn expect<const N: usize>(&mut self, prefixes: [&str; N]) {
        let replies = self.replies();
        let fits = replies.len() == N
            && replies.iter().zip(prefixes).all(|(reply, prefix)| reply.starts_with(prefix));
        assert!(fits, "expected {prefixes:?}, got {replies:?}");
    }

    fn has_news(&self) -> bool {
        self.dialogue.answers().poll_news(&Context::from_waker(Waker::noop())).is_ready()
    }
}

fn shard(limits: QueueLimits) -> (Inbox, Tickets) {
    let (inbox, mut ports) = channel(1, limits).expect("descriptors");
    (inbox, Tickets::new(ports.pop().expect("one port"), Arc::new(ShardCounters::default())))
}

const WIDE: QueueLimits = QueueLimits { count_max: 64, bytes_max: 1 << 20, in_flight_max: 64 };

fn take(inbox: &mut Inbox) -> Vec<Submission> {
    let mut taken = Vec::new();
    inbox.take(&mut taken, BatchBounds { count: 64, bytes: 1 << 20, iovecs: 1024 }, Wait::Poll);
    taken
}

/// Takes what is queued and stores it, the message of ticket t at position 8 t.
fn store_all(inbox: &mut Inbox) -> usize {
    let taken = take(inbox);
    for one in &taken {
        let receipt = Receipt { partition: Partition(0), lsn: Lsn(one.ticket.0 * 8) };
        inbox.finish(one.shard, one.ticket, Outcome::Stored(receipt));
    }
    inbox.publish();
    taken.len()
}

#[test]
fn no_250_is_ready_before_its_message_is_stored_and_published() {
    let (mut inbox, mut tickets) = shard(WIDE);
    let mut client = Client::new();
    client.say("EHLO c.example\r\n", &mut tickets);
    client.replies();
    assert_eq!(client.say(MESSAGE, &mut tickets), Next::WaitTicket);
    client.expect(ACCEPTED);
    tickets.settle();
    client.expect([]);
    let taken = take(&mut inbox);
    tickets.settle();
    client.expect([]);
    inbox.finish(0, taken[0].ticket, Outcome::Discarded);
    tickets.settle();
    client.expect([]);
    assert!(!client.has_news());
    inbox.publish();
    client.expect([]);
    tickets.settle();
    assert!(client.has_news());
    client.expect(["250 2.0.0 discarded"]);
    assert_eq!(client.advance(&mut tickets), Next::Read);
}

#[test]
fn pipelined_messages_share_a_batch_and_are_answered_in_order() {
    let (mut inbox, mut tickets) = shard(WIDE);
    let mut client = Client::new();
    let next = client.say(&format!("EHLO c.example\r\n{}NOOP\r\nQUIT\r\n", MESSAGE.repeat(3)), &mut tickets);
    assert_eq!(next, Next::WaitTicket);
    let before = client.replies();
    assert!(before.last().is_some_and(|line| line.starts_with("354")), "{before:?}");
    assert_eq!(store_all(&mut inbox), 3);
    tickets.settle();
    let [mail, rcpt, data] = ACCEPTED;
    client.expect([
        "250 2.0.0 stored 0@8",
        mail,
        rcpt,
        data,
        "250 2.0.0 stored 0@16",
        mail,
        rcpt,
        data,
        "250 2.0.0 stored 0@24",
        "250 2.0.0 ok",
        "221",
    ]);
    assert_eq!(client.advance(&mut tickets), Next::Close);
}

#[test]
fn each_connection_gets_its_own_answers_out_of_one_queue() {
    let (mut inbox, mut tickets) = shard(WIDE);
    let mut clients = [Client::new(), Client::new()];
    for client in &mut clients {
        client.say("EHLO c.example\r\n", &mut tickets);
        client.replies();
    }
    for index in [0, 1, 1, 0] {
        clients[index].say(MESSAGE, &mut tickets);
        // What is ready goes out; what stands behind an open slot does not.
        clients[index].replies();
    }
    for (one, outcome) in take(&mut inbox).iter().zip([
        Outcome::Discarded,
        Outcome::Refused(StorageRefusal::NoSpace),
        Outcome::Refused(StorageRefusal::LogFailed),
        Outcome::Discarded,
    ]) {
        inbox.finish(one.shard, one.ticket, outcome);
    }
    inbox.publish();
    tickets.settle();
    let [mail, rcpt, data] = ACCEPTED;
    clients[0].expect(["250 2.0.0 discarded", mail, rcpt, data, "250 2.0.0 discarded"]);
    clients[1].expect(["452 4.3.1", mail, rcpt, data, "451 4.3.0"]);
}

#[test]
fn a_client_that_pipelines_too_much_is_read_no_further_until_it_is_answered() {
    let (mut inbox, mut tickets) = shard(WIDE);
    let mut client = Client::new();
    client.say("EHLO c.example\r\n", &mut tickets);
    assert_eq!(client.say(&MESSAGE.repeat(6), &mut tickets), Next::WaitTicket);
    assert!(!client.dialogue.wants_input());
    assert_eq!(client.input.len(), 2 * MESSAGE.len(), "two messages stay where they are");
    assert_eq!(store_all(&mut inbox), 4);
    tickets.settle();
    assert_eq!(client.advance(&mut tickets), Next::WaitTicket);
    assert!(client.input.is_empty());
    assert_eq!(store_all(&mut inbox), 2);
    tickets.settle();
    assert_eq!(client.advance(&mut tickets), Next::Read);
    assert_eq!(client.replies().iter().filter(|line| line.starts_with("250 2.0.0 stored")).count(), 6);
}

#[test]
fn a_full_queue_parks_the_connection_and_lets_it_go_on_in_its_turn() {
    let (mut inbox, mut tickets) = shard(QueueLimits { count_max: 1, ..WIDE });
    let mut clients = [Client::new(), Client::new(), Client::new(), Client::new()];
    for client in &mut clients {
        client.say("EHLO c.example\r\n", &mut tickets);
        client.replies();
    }
    assert_eq!(clients[0].say(MESSAGE, &mut tickets), Next::WaitTicket);
    for waiting in &mut clients[1..] {
        assert_eq!(waiting.say(MESSAGE, &mut tickets), Next::WaitRoom);
        assert!(!waiting.dialogue.wants_input());
    }
    assert_eq!(tickets.pending_count(), 4);
    // Two are still waiting when the third finds no room again: their order must outlast that.
    for (index, lsn) in [(0, 8), (1, 16), (2, 24), (3, 32)] {
        assert_eq!(store_all(&mut inbox), 1);
        tickets.settle();
        let stored = format!("250 2.0.0 stored 0@{lsn}");
        let [mail, rcpt, data] = ACCEPTED;
        clients[index].expect([mail, rcpt, data, &stored]);
        assert!(clients[index].has_news());
        assert_eq!(clients[index].advance(&mut tickets), Next::Read);
        if let Some(following) = clients.get(index + 1) {
            assert!(following.has_news() && !following.dialogue.answers().is_parked());
        }
    }
    assert_eq!(tickets.pending_count(), 0);
}

#[test]
fn a_dismissal_stands_behind_the_answers_that_are_due() {
    let (mut inbox, mut tickets) = shard(WIDE);
    let mut client = Client::new();
    client.say(&format!("EHLO c.example\r\n{MESSAGE}"), &mut tickets);
    client.replies();
    client.dialogue.close_with(reply::SHUTTING_DOWN);
    client.dialogue.close_with(reply::IDLE_TIMEOUT);
    assert_eq!(client.say("NOOP\r\n", &mut tickets), Next::WaitTicket);
    client.expect([]);
    store_all(&mut inbox);
    tickets.settle();
    assert_eq!(client.advance(&mut tickets), Next::Close);
    client.expect(["250 2.0.0 stored", "421 4.3.2"]);
}

#[test]
fn a_connection_that_is_gone_takes_nobody_elses_answer() {
    let (mut inbox, mut tickets) = shard(QueueLimits { count_max: 2, ..WIDE });
    let mut gone = Client::new();
    let mut stays = Client::new();
    gone.say(&format!("EHLO c.example\r\n{MESSAGE}"), &mut tickets);
    stays.say(&format!("EHLO c.example\r\n{MESSAGE}"), &mut tickets);
    stays.replies();
    assert_eq!(gone.say(MESSAGE, &mut tickets), Next::WaitRoom);
    drop(gone);
    assert_eq!(store_all(&mut inbox), 2);
    tickets.settle();
    stays.expect(["250 2.0.0 stored 0@16"]);
    assert_eq!(store_all(&mut inbox), 1);
    tickets.settle();
    assert_eq!(tickets.pending_count(), 0);
}

#[test]
fn nobody_overtakes_a_parked_message_though_there_is_room_by_now() {
    let (mut inbox, mut tickets) = shard(QueueLimits { count_max: 1, ..WIDE });
    let mut clients = [Client::new(), Client::new(), Client::new()];
    for client in &mut clients {
        client.say("EHLO c.example\r\n", &mut tickets);
        client.replies();
    }
    clients[0].say(MESSAGE, &mut tickets);
    assert_eq!(clients[1].say(MESSAGE, &mut tickets), Next::WaitRoom);
    assert_eq!(store_all(&mut inbox), 1);
    assert_eq!(clients[2].say(MESSAGE, &mut tickets), Next::WaitRoom);
    tickets.settle();
    assert!(!clients[1].dialogue.answers().is_parked());
    assert!(clients[2].dialogue.answers().is_parked());
}

/// Takes mail for Ann alone, and three octets of it.
fn narrower() -> Arc<SessionOptions> {
    let limits = Limits { message_size_max: 3, command_line_max: 512, ..Limits::default() };
    options(limits, Recipients::listed([], Some("ann@example.org")).expect("a good list"))
}

#[test]
fn a_transaction_keeps_the_settings_it_began_with_and_the_next_one_has_the_new_ones() {
    let (mut inbox, mut tickets) = shard(WIDE);
    let mut client = Client::new();
    client.say("EHLO c.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n", &mut tickets);
    client.replies();
    let narrower = narrower();
    client.dialogue.renew(&narrower);
    client.say("RCPT TO:<c@example.org>\r\nDATA\r\n", &mut tickets);
    client.expect(["250 2.1.5", "354"]);
    client.dialogue.renew(&narrower);
    // The old transaction's end and the new one in one piece, as a pipelining client sends them.
    let next =
        "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<ann@example.org>\r\nRSET\r\n";
    client.say(&format!("over three octets\r\n.\r\n{next}"), &mut tickets);
    assert_eq!(store_all(&mut inbox), 1);
    tickets.settle();
    client.expect(["250 2.0.0 stored", "250 2.1.0", "550 5.1.1", "250 2.1.5", "250 2.0.0"]);
    client.say("MAIL FROM:<a@example.org> SIZE=4\r\nEHLO c.example\r\n", &mut tickets);
    let replies = client.replies();
    assert!(replies[0].starts_with("552 5.3.4") && replies.contains(&"250-SIZE 3".to_owned()), "{replies:?}");
}

#[test]
fn a_session_without_a_transaction_lets_go_of_old_settings_at_once() {
    let (_inbox, mut tickets) = shard(WIDE);
    let mut client = Client::new();
    let narrower = narrower();
    client.dialogue.renew(&narrower);
    let newest = options(Limits::default(), Recipients::any());
    client.say("EHLO c.example\r\n", &mut tickets);
    client.dialogue.renew(&newest);
    assert_eq!(Arc::strong_count(&narrower), 1, "nobody holds them any more");
    assert_eq!(Arc::strong_count(&newest), 2);
}

#[test]
fn an_unfinished_line_is_held_against_the_new_limit() {
    let (_inbox, mut tickets) = shard(WIDE);
    let mut client = Client::new();
    client.say(&format!("NOOP {}", "x".repeat(600)), &mut tickets);
    client.dialogue.renew(&narrower());
    client.say("\r\nNOOP\r\n", &mut tickets);
    client.expect(["500 5.5.2", "250 2.0.0"]);
}
