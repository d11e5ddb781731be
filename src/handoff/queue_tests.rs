//! What the queue promises: order, bounds, and no ring that gets lost.

use std::net::SocketAddr;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::message::{Body, EnvelopeBuilder, Greeting, Lsn, Partition, Receipt};

const LIMITS: QueueLimits = QueueLimits { count_max: 4, bytes_max: 1 << 20, in_flight_max: 8 };
const BOUNDS: BatchBounds = BatchBounds { count: 64, bytes: 1 << 20, iovecs: 1024 };

fn message(text: &str) -> Message {
    let peer = SocketAddr::from(([127, 0, 0, 1], 4025));
    let envelope = EnvelopeBuilder::new(peer, None, Greeting::Ehlo, b"c.example").finish();
    Message { envelope, body: Body::from(text.as_bytes()) }
}

fn stored(ticket: Ticket) -> Outcome {
    Outcome::Stored(Receipt { partition: Partition(0), lsn: Lsn(ticket.0 * 8) })
}

fn pair(limits: QueueLimits) -> (Inbox, ShardPort) {
    let (inbox, mut ports) = channel(1, limits).expect("descriptors");
    (inbox, ports.pop().expect("one port"))
}

fn take(inbox: &mut Inbox, bounds: BatchBounds) -> Vec<Submission> {
    let mut taken = Vec::new();
    inbox.take(&mut taken, bounds, Wait::Poll);
    taken
}

fn texts(taken: &[Submission]) -> Vec<String> {
    taken.iter().map(|one| String::from_utf8(one.message.body.to_vec()).expect("text")).collect()
}

/// Sleeps until the bell is rung; a ring that got lost shows as a failure, not as a hang.
fn hear(bell: &Doorbell) {
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    let rung = poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&patience)).expect("poll");
    assert_eq!(rung, 1, "the doorbell was not rung");
    assert!(bell.silence());
}

#[test]
fn messages_are_taken_in_the_order_of_submission() {
    let (mut inbox, mut port) = pair(LIMITS);
    for text in ["one", "two", "three"] {
        port.submit(message(text)).expect("room");
    }
    let taken = take(&mut inbox, BOUNDS);
    assert_eq!(texts(&taken), ["one", "two", "three"]);
    assert_eq!(taken.iter().map(|one| one.ticket.0).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_full_queue_gives_the_message_back_and_rings_when_there_is_room() {
    let (mut inbox, mut port) = pair(LIMITS);
    for _ in 0..LIMITS.count_max {
        port.submit(message("fills")).expect("room");
    }
    let QueueFull(back) = port.submit(message("comes back")).expect_err("the queue is full");
    assert_eq!(back.body.to_vec(), b"comes back");
    assert!(!port.doorbell().silence(), "nothing has changed yet");
    take(&mut inbox, BatchBounds { count: 1, ..BOUNDS });
    assert!(port.doorbell().silence(), "there is room");
    port.submit(back).expect("room");
    take(&mut inbox, BOUNDS);
    assert!(!port.doorbell().silence(), "nobody waits for room any more");
}

#[test]
fn octets_bound_the_queue_but_a_lone_message_passes() {
    let (mut inbox, mut port) = pair(QueueLimits { bytes_max: 100, ..LIMITS });
    let long = "x".repeat(1000);
    port.submit(message(&long)).expect("it is alone");
    port.submit(message("short")).expect_err("no octet is left");
    take(&mut inbox, BOUNDS);
    port.submit(message("short")).expect("room");
    port.submit(message(&long)).expect_err("it is not alone");
}

#[test]
fn unread_outcomes_bound_what_a_shard_has_in_flight() {
    let (mut inbox, mut port) = pair(QueueLimits { in_flight_max: 2, ..LIMITS });
    for round in 0..5 {
        port.submit(message("one")).expect("room");
        port.submit(message("two")).expect("room");
        port.submit(message("three")).expect_err("two outcomes are unread");
        for one in take(&mut inbox, BOUNDS) {
            inbox.finish(one.shard, one.ticket, stored(one.ticket));
        }
        inbox.publish();
        assert!(port.doorbell().silence());
        port.submit(message("three")).expect_err("two outcomes are still unread");
        assert!(port.doorbell().silence(), "they can be read now, so it rings once more");
        assert_eq!(port.next_outcome(), Some((Ticket(2 * round + 1), stored(Ticket(2 * round + 1)))));
        assert_eq!(port.next_outcome(), Some((Ticket(2 * round + 2), stored(Ticket(2 * round + 2)))));
        assert_eq!(port.next_outcome(), None);
    }
}

#[test]
fn an_outcome_is_seen_only_once_it_is_published() {
    let (mut inbox, mut port) = pair(LIMITS);
    let ticket = port.submit(message("one")).expect("room");
    assert_eq!(port.next_outcome(), None);
    take(&mut inbox, BOUNDS);
    inbox.finish(0, ticket, stored(ticket));
    assert_eq!(port.next_outcome(), None);
    assert!(!port.doorbell().silence());
    inbox.publish();
    assert!(port.doorbell().silence());
    assert_eq!(port.finished(), ticket);
    assert_eq!(port.next_outcome(), Some((ticket, stored(ticket))));
}

#[test]
fn a_batch_keeps_to_its_bounds_and_loses_nothing() {
    for bounds in [
        BatchBounds { count: 2, ..BOUNDS },
        BatchBounds { bytes: 2 * message("00").len(), ..BOUNDS },
        BatchBounds { iovecs: 2 * (IOVECS_PER_MESSAGE + 1), ..BOUNDS },
    ] {
        let (mut inbox, mut port) = pair(QueueLimits { count_max: 16, in_flight_max: 16, ..LIMITS });
        for number in 0..5 {
            port.submit(message(&format!("{number:02}"))).expect("room");
        }
        let batches: Vec<_> = std::iter::repeat_with(|| texts(&take(&mut inbox, bounds))).take(4).collect();
        assert_eq!(batches, [vec!["00", "01"], vec!["02", "03"], vec!["04"], vec![]], "{bounds:?}");
    }
}

#[test]
fn a_message_beyond_every_bound_is_a_batch_of_its_own() {
    let (mut inbox, mut port) = pair(LIMITS);
    port.submit(message("one")).expect("room");
    port.submit(message("two")).expect("room");
    let bounds = BatchBounds { count: 1, bytes: 1, iovecs: 1 };
    assert_eq!(texts(&take(&mut inbox, bounds)), ["one"]);
    assert_eq!(texts(&take(&mut inbox, bounds)), ["two"]);
}

#[test]
fn the_inbox_closes_when_all_ports_are_gone_and_the_queue_is_empty() {
    let (mut inbox, mut port) = pair(LIMITS);
    port.submit(message("last")).expect("room");
    drop(port);
    let mut taken = Vec::new();
    assert_eq!(inbox.take(&mut taken, BOUNDS, Wait::Block), Taken::Some);
    inbox.finish(0, Ticket(1), stored(Ticket(1)));
    inbox.publish();
    assert_eq!(inbox.take(&mut taken, BOUNDS, Wait::Block), Taken::Closed);
}

#[test]
fn waiting_ends_at_its_deadline() {
    let (mut inbox, _port) = pair(LIMITS);
    let deadline = Instant::now();
    assert_eq!(inbox.take(&mut Vec::new(), BOUNDS, Wait::Until(deadline)), Taken::Empty);
    assert_eq!(inbox.take(&mut Vec::new(), BOUNDS, Wait::Poll), Taken::Empty);
}

#[test]
fn without_a_commit_thread_everything_unfinished_is_refused_and_nothing_is_acknowledged() {
    let (mut inbox, mut port) = pair(LIMITS);
    for _ in 0..3 {
        port.submit(message("waits")).expect("room");
    }
    take(&mut inbox, BOUNDS);
    inbox.finish(0, Ticket(1), stored(Ticket(1)));
    inbox.publish();
    inbox.finish(0, Ticket(2), stored(Ticket(2)));
    drop(inbox);
    assert!(port.doorbell().silence());
    let refused = Outcome::Refused(StorageRefusal::LogFailed);
    assert_eq!(port.next_outcome(), Some((Ticket(1), stored(Ticket(1)))));
    assert_eq!(port.next_outcome(), Some((Ticket(2), refused)), "it was finished but never published");
    assert_eq!(port.next_outcome(), Some((Ticket(3), refused)));
    port.submit(message("late")).expect("taken, and refused at once");
    assert!(port.doorbell().silence(), "a late message rings for itself");
    assert_eq!(port.next_outcome(), Some((Ticket(4), refused)));
}

#[test]
fn a_queue_that_was_full_when_the_commit_thread_went_refuses_at_once() {
    let (inbox, mut port) = pair(LIMITS);
    for _ in 0..LIMITS.count_max {
        port.submit(message("fills")).expect("room");
    }
    let QueueFull(parked) = port.submit(message("parked")).expect_err("the queue is full");
    drop(inbox);
    assert!(port.doorbell().silence(), "who waits for room is told");
    port.submit(parked).expect("taken, and refused at once");
    let refused = Outcome::Refused(StorageRefusal::LogFailed);
    for number in 1..=LIMITS.count_max as u64 + 1 {
        assert_eq!(port.next_outcome(), Some((Ticket(number), refused)));
    }
}

#[test]
#[should_panic(expected = "in the order of its tickets")]
fn finishing_out_of_order_is_a_defect() {
    let (mut inbox, mut port) = pair(LIMITS);
    port.submit(message("one")).expect("room");
    inbox.finish(0, Ticket(2), stored(Ticket(2)));
}

/// Submits `count` messages, asleep whenever there is no room, and checks that each outcome is its own.
fn run_shard(mut port: ShardPort, count: u64) {
    let mut answered = 0;
    let mut submitted = 0;
    while answered < count {
        while submitted < count {
            if port.submit(message(&(submitted + 1).to_string())).is_err() {
                break;
            }
            submitted += 1;
        }
        while let Some((ticket, outcome)) = port.next_outcome() {
            answered += 1;
            assert_eq!((ticket, outcome), (Ticket(answered), stored(Ticket(answered))));
        }
        if answered < count {
            hear(port.doorbell());
        }
    }
}

#[test]
fn no_wake_up_is_lost_between_two_shards_and_the_commit_thread() {
    const COUNT: u64 = 20_000;
    let limits = QueueLimits { count_max: 3, bytes_max: 400, in_flight_max: 5 };
    let (mut inbox, ports) = channel(2, limits).expect("descriptors");
    let shards: Vec<_> =
        ports.into_iter().map(|port| thread::spawn(move || run_shard(port, COUNT))).collect();
    let mut batch = Vec::new();
    while inbox.take(&mut batch, BatchBounds { count: 2, ..BOUNDS }, Wait::Block) == Taken::Some {
        for one in batch.drain(..) {
            assert_eq!(one.message.body.to_vec(), one.ticket.0.to_string().as_bytes());
            inbox.finish(one.shard, one.ticket, stored(one.ticket));
        }
        inbox.publish();
    }
    for shard in shards {
        shard.join().expect("a shard that got all its answers");
    }
}
