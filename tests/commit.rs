//! The commit step and its thread on a disk that fails: in which order things happen, and what a failure means.
//!
//! The first message of an idle log is the one to look at: in a busy one an answer that comes too early hides behind
//! the sync of the batch before it.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mailrace::commit::{
    Acknowledge, Batch, Commit, CommitOptions, Ending, Gather, Refused, Sink, commit, spawn, step,
};
use mailrace::handoff::{BatchBounds, Inbox, QueueLimits, ShardPort, Wait, channel};
use mailrace::log::{Entry, Lookup, Reader, Storage, Visibility, Writer, WriterOptions, prepare};
use mailrace::message::envelope::MailParameters;
use mailrace::message::{
    Body, EnvelopeBuilder, Greeting, Message, Outcome, Partition, Receipt, StorageRefusal, Timestamp,
};
use mailrace::observe::CommitCounters;
use mailrace_support::disk::{Crash, Disk};
use mailrace_support::faulty_storage::{FaultyStorage, clear_interlude, set_interlude};

const BOUNDS: BatchBounds = BatchBounds { count: 100, bytes: 1 << 20, iovecs: 1000 };
const LIMITS: QueueLimits = QueueLimits { count_max: 1000, bytes_max: 1 << 24, in_flight_max: 1000 };
const SEGMENT_SIZE: u64 = 64 * 1024;

fn message(text: &str) -> Message {
    let peer = "192.0.2.1:4025".parse().expect("an address");
    let session = EnvelopeBuilder::new(peer, None, Greeting::Ehlo, b"client.example");
    let mut envelope = session.transaction(b"a@example.org", MailParameters::default());
    envelope.forward_path(b"b@example.net");
    Message { envelope: envelope.finish(), body: Body::from(text.as_bytes()) }
}

fn open(storage: &FaultyStorage, acknowledge: Acknowledge) -> Sink<FaultyStorage> {
    let visibility = match acknowledge {
        Acknowledge::AfterSync => Visibility::Durable,
        Acknowledge::AfterWrite => Visibility::Written,
    };
    let options =
        WriterOptions { segment_size: SEGMENT_SIZE, partition: Partition(0), visibility, id_seed: 1 };
    let (writer, _) = Writer::open(storage.clone(), options, Timestamp(0)).expect("a log");
    Sink::Log { writer: Box::new(writer), acknowledge }
}

/// A log, its queue with one shard, and the time.
struct Intake {
    storage: FaultyStorage,
    inbox: Inbox,
    port: Rc<RefCell<ShardPort>>,
    sink: Sink<FaultyStorage>,
    batch: Batch,
    now: Timestamp,
}

impl Intake {
    fn new(acknowledge: Acknowledge) -> Self {
        let storage = FaultyStorage::new(1);
        let sink = open(&storage, acknowledge);
        Self::with(storage, sink)
    }

    fn with(storage: FaultyStorage, sink: Sink<FaultyStorage>) -> Self {
        let (inbox, mut ports) = channel(1, LIMITS).expect("descriptors");
        let port = Rc::new(RefCell::new(ports.remove(0)));
        Self { storage, inbox, port, sink, batch: Batch::default(), now: Timestamp(0) }
    }

    fn submit(&self, text: &str) {
        self.port.borrow_mut().submit(message(text)).expect("room in the queue");
    }

    fn step(&mut self) -> Option<Commit> {
        let Self { inbox, sink, batch, now, .. } = self;
        step(inbox, sink, batch, BOUNDS, Wait::Poll, *now).1
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let mut port = self.port.borrow_mut();
        std::iter::from_fn(|| port.next_outcome()).map(|(_, outcome)| outcome).collect()
    }

    /// Submits one message, commits, and gives what became of it.
    fn store(&mut self, text: &str) -> Outcome {
        self.submit(text);
        self.step().expect("a batch");
        let outcomes = self.outcomes();
        assert_eq!(outcomes.len(), 1);
        outcomes[0]
    }

    fn texts(&self) -> Vec<String> {
        texts(&self.storage)
    }
}

/// Everything a reader in another process is shown; damage fails the test.
fn texts(storage: &FaultyStorage) -> Vec<String> {
    let mut reader = Reader::open(storage.reader()).expect("a readable log");
    let mut texts = Vec::new();
    while let Some(entry) = reader.next_entry().expect("a readable log") {
        match entry {
            Entry::Record(record) => {
                texts.push(String::from_utf8(record.body.to_vec()).expect("as it was sent"))
            }
            Entry::Damage(damage) => panic!("{damage}"),
        }
    }
    texts
}

fn stored(outcome: Outcome) -> Receipt {
    match outcome {
        Outcome::Stored(receipt) => receipt,
        other => panic!("stored, not {other:?}"),
    }
}

fn record_is_durable(disk: &Disk, receipt: Receipt, text: &str) -> bool {
    let len = (text.len() + 96) as u64;
    disk.is_log_durable(receipt.lsn.0..receipt.lsn.0 + len)
}

#[test]
fn the_first_outcome_of_an_idle_log_is_seen_only_after_its_sync_and_its_publication() {
    let mut intake = Intake::new(Acknowledge::AfterSync);
    intake.submit("first\r\n");
    let (port, storage) = (Rc::clone(&intake.port), intake.storage.clone());
    let looks = Rc::new(RefCell::new(0));
    let looks_inside = Rc::clone(&looks);
    // Another process and the shard look at every moment between two calls on the storage.
    set_interlude(move || {
        *looks_inside.borrow_mut() += 1;
        if let Some((_, outcome)) = port.borrow_mut().next_outcome() {
            assert!(
                record_is_durable(&storage.disk(), stored(outcome), "first\r\n"),
                "answered before the sync"
            );
            assert_eq!(texts(&storage), ["first\r\n"], "answered before readers may see it");
        }
        if texts(&storage).len() == 1 {
            let first_record = 4096;
            assert!(storage.disk().is_log_durable(first_record..first_record + 100), "shown before the sync");
        }
    });
    intake.step().expect("a batch");
    clear_interlude();
    assert!(*looks.borrow() >= 6, "a write, a sync, a publication: {}", looks.borrow());
    let receipt = stored(intake.outcomes()[0]);
    assert!(record_is_durable(&intake.storage.disk(), receipt, "first\r\n"));
    assert_eq!(intake.texts(), ["first\r\n"]);
}

#[test]
fn a_batch_is_one_write_and_one_sync_and_every_message_has_a_receipt_of_its_own() {
    let mut intake = Intake::new(Acknowledge::AfterSync);
    intake.store("before\r\n");
    let before = {
        let disk = intake.storage.disk();
        (disk.writes, disk.syncs)
    };
    let sent: Vec<String> = (0..20).map(|number| format!("message {number}\r\n")).collect();
    sent.iter().for_each(|text| intake.submit(text));
    let committed = intake.step().expect("a batch");
    assert_eq!((committed.messages, committed.synced), (20, true));
    let disk = intake.storage.disk();
    // One more small write: the position file.
    assert_eq!((disk.writes - before.0, disk.syncs - before.1), (2, 1));
    drop(disk);
    let reader = Reader::open(intake.storage.reader()).expect("a readable log");
    for (text, outcome) in sent.iter().zip(intake.outcomes()) {
        match reader.get(stored(outcome)).expect("a readable log") {
            Lookup::Found(record) => assert_eq!(record.body, text.as_bytes()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn more_than_a_batch_holds_is_left_for_the_next() {
    let mut intake = Intake::new(Acknowledge::AfterSync);
    (0..BOUNDS.count + 1).for_each(|_| intake.submit("x\r\n"));
    assert_eq!(intake.step().expect("a batch").messages, BOUNDS.count as u64);
    assert_eq!(intake.step().expect("the rest").messages, 1);
    assert!(intake.step().is_none());
}

#[test]
fn a_failed_sync_is_final_and_never_tried_again() {
    let mut intake = Intake::new(Acknowledge::AfterSync);
    stored(intake.store("safe\r\n"));
    intake.storage.disk().faults.sync_error = 1000;
    intake.submit("lost\r\n");
    let committed = intake.step().expect("a batch");
    assert!(matches!(committed.refused, Some(Refused::LogFailed(_))), "{committed:?}");
    assert_eq!(intake.outcomes(), [Outcome::Refused(StorageRefusal::LogFailed)]);
    // The disk works again; nobody asks it.
    intake.storage.disk().faults.sync_error = 0;
    let before = intake.storage.disk().calls;
    assert_eq!(intake.store("too late\r\n"), Outcome::Refused(StorageRefusal::LogFailed));
    let disk = intake.storage.disk();
    assert_eq!((disk.calls, disk.sync_failures), (before, 1));
    drop(disk);
    assert_eq!(intake.texts(), ["safe\r\n"]);
}

#[test]
fn a_failed_write_is_final() {
    let mut intake = Intake::new(Acknowledge::AfterSync);
    intake.storage.disk().faults.write_error = 1000;
    assert_eq!(intake.store("lost\r\n"), Outcome::Refused(StorageRefusal::LogFailed));
    intake.storage.disk().faults.write_error = 0;
    assert_eq!(intake.store("too late\r\n"), Outcome::Refused(StorageRefusal::LogFailed));
}

#[test]
fn lack_of_space_reported_by_the_sync_is_final() {
    let mut intake = Intake::new(Acknowledge::AfterSync);
    intake.storage.disk().faults.sync_no_space = 1000;
    assert_eq!(intake.store("lost\r\n"), Outcome::Refused(StorageRefusal::LogFailed));
    intake.storage.disk().faults.sync_no_space = 0;
    assert_eq!(intake.store("too late\r\n"), Outcome::Refused(StorageRefusal::LogFailed));
}

#[test]
fn lack_of_space_refuses_a_batch_and_heals_by_itself() {
    let mut intake = Intake::new(Acknowledge::AfterSync);
    let large = "x".repeat(20_000) + "\r\n";
    stored(intake.store("before\r\n"));
    intake.storage.disk().pages_max = 4;
    assert_eq!(intake.store(&large), Outcome::Refused(StorageRefusal::NoSpace));
    assert_eq!(intake.store(&large), Outcome::Refused(StorageRefusal::NoSpace));
    assert_eq!(intake.texts(), ["before\r\n"], "nothing of a refused batch is shown");
    intake.storage.disk().pages_max = usize::MAX;
    intake.now = Timestamp(1_000_000);
    stored(intake.store(&large));
    assert_eq!(intake.texts(), ["before\r\n", &large]);
}

#[test]
fn after_write_answers_without_a_sync_and_readers_see_it() {
    let mut intake = Intake::new(Acknowledge::AfterWrite);
    let syncs = intake.storage.disk().syncs;
    let receipt = stored(intake.store("written\r\n"));
    assert_eq!(intake.storage.disk().syncs, syncs);
    assert!(!record_is_durable(&intake.storage.disk(), receipt, "written\r\n"));
    assert_eq!(intake.texts(), ["written\r\n"]);
    // The process is killed; the page cache is not.
    let storage = intake.storage.restarted(Crash::Kill);
    drop(open(&storage, Acknowledge::AfterWrite));
    assert_eq!(texts(&storage), ["written\r\n"]);
}

#[test]
fn discard_answers_and_keeps_nothing() {
    let storage = FaultyStorage::new(1);
    let mut intake = Intake::with(storage, Sink::Discard);
    assert_eq!(intake.store("gone\r\n"), Outcome::Discarded);
    assert_eq!(intake.texts(), Vec::<String>::new());
}

#[test]
fn nothing_queued_touches_nothing() {
    let mut intake = Intake::new(Acknowledge::AfterSync);
    let calls = intake.storage.disk().calls;
    assert!(intake.step().is_none());
    let committed = commit(&mut intake.inbox, &mut intake.sink, &mut intake.batch, Timestamp(0));
    assert_eq!(committed.messages, 0);
    assert_eq!(intake.storage.disk().calls, calls);
}

fn run(
    storage: &FaultyStorage,
    gather: Gather,
    sent: &[String],
) -> (Vec<Outcome>, Ending, Arc<CommitCounters>) {
    let sink = open(storage, Acknowledge::AfterSync);
    let (inbox, mut ports) = channel(1, LIMITS).expect("descriptors");
    let mut port = ports.remove(0);
    let counters = Arc::new(CommitCounters::default());
    let options = CommitOptions { bounds: BOUNDS, gather, data_dir: PathBuf::new() };
    let thread = spawn(inbox, sink, Some(storage.clone()), options, Arc::clone(&counters)).expect("a thread");
    let mut outcomes = Vec::new();
    for text in sent {
        port.submit(message(text)).expect("room in the queue");
        // One at a time, so that no batch hides another.
        while outcomes.len() < 1 + sent.iter().position(|other| other == text).expect("its own place") {
            match port.next_outcome() {
                Some((_, outcome)) => outcomes.push(outcome),
                None => std::thread::yield_now(),
            }
        }
    }
    drop(port);
    (outcomes, thread.join(), counters)
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("message {number} {}\r\n", "x".repeat(5000))).collect()
}

#[test]
fn the_thread_stores_across_prepared_segments_and_seals_when_the_ports_are_gone() {
    // One message at a time: whether batches wait makes no difference to what is stored.
    for gather in [Gather::For(Duration::ZERO), Gather::WhenItPays] {
        stores_across_prepared_segments(gather);
    }
}

fn stores_across_prepared_segments(gather: Gather) {
    let storage = FaultyStorage::new(1);
    let sent = numbered(100);
    let (outcomes, ending, counters) = run(&storage, gather, &sent);
    assert!(matches!(ending, Ending::Sealed), "{ending:?}");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stored(_))), "{outcomes:?}");
    assert_eq!(texts(&storage), sent);
    assert_eq!((counters.batches.value(), counters.syncs.value()), (100, 100));
    assert_eq!(counters.messages_stored.value(), 100);
    let left = storage.disk().list("");
    assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
    assert!(left.iter().filter(|name| name.ends_with(".segment")).count() > 5, "{left:?}");
}

#[test]
fn the_thread_ends_with_the_log_and_what_comes_later_is_refused() {
    let storage = FaultyStorage::new(1);
    drop(open(&storage, Acknowledge::AfterSync));
    let probe = storage.clone();
    let mut seen = 0;
    let sent = numbered(3);
    let sink = open(&storage, Acknowledge::AfterSync);
    let (inbox, mut ports) = channel(1, LIMITS).expect("descriptors");
    let counters = Arc::new(CommitCounters::default());
    let options =
        CommitOptions { bounds: BOUNDS, gather: Gather::For(Duration::ZERO), data_dir: PathBuf::new() };
    probe.disk().faults.sync_error = 1000;
    let thread = spawn(inbox, sink, None, options, Arc::clone(&counters)).expect("a thread");
    for text in &sent {
        ports[0].submit(message(text)).expect("room in the queue");
    }
    while seen < sent.len() {
        match ports[0].next_outcome() {
            Some((_, outcome)) => {
                assert_eq!(outcome, Outcome::Refused(StorageRefusal::LogFailed));
                seen += 1;
            }
            None => std::thread::yield_now(),
        }
    }
    let ending = thread.join();
    assert!(matches!(ending, Ending::Failed(..)), "though the port is still there");
    assert!(
        probe.is_locked().expect("a lock file"),
        "clients are still turned away: no other server may begin"
    );
    drop(ending);
    assert!(!probe.is_locked().expect("a lock file"));
    assert_eq!(probe.disk().sync_failures, 1);
    ports[0].submit(message("late\r\n")).expect("a port without a thread still takes messages");
    assert_eq!(
        ports[0].next_outcome().map(|(_, outcome)| outcome),
        Some(Outcome::Refused(StorageRefusal::LogFailed))
    );
}

#[test]
fn a_commit_delay_gathers_what_comes_within_it() {
    let storage = FaultyStorage::new(1);
    let sink = open(&storage, Acknowledge::AfterSync);
    let (inbox, mut ports) = channel(1, LIMITS).expect("descriptors");
    let counters = Arc::new(CommitCounters::default());
    // As long as it takes: the batch is full before that.
    let options = CommitOptions {
        bounds: BOUNDS,
        gather: Gather::For(Duration::from_secs(3600)),
        data_dir: PathBuf::new(),
    };
    let thread = spawn(inbox, sink, None, options, Arc::clone(&counters)).expect("a thread");
    for _ in 0..BOUNDS.count {
        ports[0].submit(message("x\r\n")).expect("room in the queue");
    }
    drop(ports);
    assert!(matches!(thread.join(), Ending::Sealed));
    assert_eq!((counters.batches.value(), counters.messages_stored.value()), (1, BOUNDS.count as u64));
}

#[test]
fn a_prepared_segment_that_is_not_used_leaves_no_file() {
    let storage = FaultyStorage::new(1);
    let Sink::Log { mut writer, .. } = open(&storage, Acknowledge::AfterSync) else { unreachable!("a log") };
    for _ in 0..3 {
        writer.offer(prepare(&storage, SEGMENT_SIZE).expect("prepared"));
    }
    writer.close().expect("closed");
    let left = storage.disk().list("");
    assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
}
