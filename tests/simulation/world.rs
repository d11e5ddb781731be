//! Everything but the commit thread: shards with their connections, clients, a reader in another process.
//!
//! The driver of a connection here does what `shard/connection.rs` does with a socket: advance, send what is ready,
//! wait for what [`Next`] says. It hears its doorbell and nothing else, so a ring that is forgotten shows as a client
//! that waits for ever.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use mailrace::handoff::{Doorbell, ShardPort};
use mailrace::observe::ShardCounters;
use mailrace::policy::{Limits, Recipients, Refusal, Verdict};
use mailrace::shard::dialogue::{Dialogue, Next};
use mailrace::shard::tickets::Tickets;
use mailrace::smtp::{BareLf, Session, SessionOptions};
use mailrace::wire::recv_buffer::RecvBuffer;
use mailrace_support::faulty_storage::FaultyStorage;
use mailrace_support::rng::Rng;

use crate::client::{Client, Told};
use crate::ledger::Ledger;
use crate::mail::MESSAGE_SIZE_MAX;
use crate::plan::Plan;
use crate::reading::LogReader;
use crate::tally::Tally;

/// All but the commit thread.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) plan: Rc<Plan>,
    pub(crate) ledger: Ledger,
    pub(crate) tally: Tally,
    pub(crate) storage: FaultyStorage,
    pub(crate) shards: Vec<Shard>,
    reader: Option<LogReader>,
    session: Arc<SessionOptions>,
    connections_made: usize,
    /// Prints what happens.
    pub(crate) verbose: bool,
}

/// One shard.
pub(crate) struct Shard {
    doorbell: Arc<Doorbell>,
    tickets: Tickets,
    recv_buffer: RecvBuffer,
    connections: Vec<Connection>,
}

struct Connection {
    dialogue: Dialogue,
    input: Bytes,
    next: Next,
    client: Client,
}

impl World {
    pub(crate) fn new(rng: Rng, plan: Rc<Plan>, storage: FaultyStorage, verbose: bool) -> Self {
        let limits = Limits { message_size_max: MESSAGE_SIZE_MAX, ..Limits::default() };
        let recipients = Recipients::from_fn(Arc::new(|path| match path {
            mailrace::message::ForwardPath::Mailbox(mailbox) if mailbox.local_part() == b"nobody" => {
                Verdict::Refuse(Refusal::UnknownRecipient)
            }
            _ => Verdict::Accept,
        }));
        let bare_lf = if plan.keeps_bare_line_ends { BareLf::Keep } else { BareLf::Reject };
        Self {
            rng,
            ledger: Ledger::default(),
            tally: Tally::default(),
            storage,
            shards: Vec::new(),
            reader: None,
            session: Arc::new(SessionOptions::new("server.example", limits, recipients, bare_lf)),
            connections_made: 0,
            plan,
            verbose,
        }
    }

    /// A new life begins, with these ports.
    pub(crate) fn begin_life(&mut self, storage: FaultyStorage, ports: Vec<ShardPort>) {
        self.storage = storage;
        self.reader = None;
        self.ledger.failed_at = None;
        let shard = |port: ShardPort| Shard {
            doorbell: Arc::clone(port.doorbell()),
            tickets: Tickets::new(port, Arc::new(ShardCounters::default())),
            recv_buffer: RecvBuffer::new(),
            connections: Vec::new(),
        };
        self.shards = ports.into_iter().map(shard).collect();
    }

    /// Without a sync before 250, octets that were answered already may be among those whose writing back failed:
    /// the kernel may drop them at any time.
    fn note_failed_write_back(&mut self) -> bool {
        let failed = !self.plan.sync && self.storage.disk().sync_failures > 0;
        if failed {
            self.ledger.forgive_losses();
        }
        failed
    }

    /// The server is gone: its sockets close. Replies that had left it may still arrive.
    pub(crate) fn end_life(&mut self) {
        self.reader = None;
        for mut shard in std::mem::take(&mut self.shards) {
            for connection in &mut shard.connections {
                if self.rng.chance(700) {
                    self.read_replies(connection, false);
                }
                self.tally.cut_off += u64::from(!connection.client.is_done());
            }
        }
    }

    /// One thing happens somewhere.
    pub(crate) fn stir(&mut self) {
        if self.shards.is_empty() || self.storage.disk().crashed().is_some() {
            return;
        }
        let at = self.rng.below(self.shards.len());
        match self.rng.below(20) {
            0 | 1 => self.connect(at),
            2 if self.rng.chance(100) => self.disconnect(at),
            2 if self.rng.chance(100) => self.renew(),
            3 | 4 => self.look(),
            5..=9 => drop(self.hear_doorbell(at)),
            _ => self.serve_one(at),
        }
    }

    /// One round over everything that can go on; false when nothing could.
    pub(crate) fn round(&mut self) -> bool {
        let mut went_on = false;
        for at in 0..self.shards.len() {
            went_on |= self.hear_doorbell(at);
            for index in (0..self.shards[at].connections.len()).rev() {
                went_on |= self.serve(at, index);
            }
        }
        went_on
    }

    /// Nobody waits for anything: every client has said all and got all its answers.
    ///
    /// # Panics
    /// When somebody waits.
    pub(crate) fn assert_all_done(&self) {
        for shard in &self.shards {
            assert_eq!(shard.tickets.pending_count(), 0, "messages without an outcome");
            for connection in &shard.connections {
                assert!(connection.client.is_done(), "a client that waits for ever: {:?}", connection.client);
            }
        }
    }

    fn connect(&mut self, at: usize) {
        let open: usize = self.shards.iter().map(|shard| shard.connections.len()).sum();
        if open >= self.plan.connections_max || self.connections_made >= self.plan.connections_total {
            return;
        }
        self.connections_made += 1;
        let before = self.ledger.next_index();
        let client = Client::random(&mut self.rng, &mut self.ledger, &mut self.tally.transactions_dropped);
        self.tally.messages_sent += (self.ledger.next_index() - before) as u64;
        let peer = "192.0.2.1:4025".parse().expect("an address");
        let session = Session::new(Arc::clone(&self.session), peer, None);
        let dialogue = Dialogue::new(session, self.plan.pipelined_max);
        let connection = Connection { dialogue, input: Bytes::new(), next: Next::Flush, client };
        self.shards[at].connections.push(connection);
        let index = self.shards[at].connections.len() - 1;
        self.advance(at, index);
    }

    fn disconnect(&mut self, at: usize) {
        let count = self.shards[at].connections.len();
        if count > 0 {
            let index = self.rng.below(count);
            self.shards[at].connections.swap_remove(index);
            self.tally.cut_off += 1;
        }
    }

    /// The same settings anew, as a reload brings them: no session may stumble over it.
    fn renew(&mut self) {
        self.session = Arc::new(SessionOptions::clone(&self.session));
        self.tally.reloads += 1;
    }

    fn hear_doorbell(&mut self, at: usize) -> bool {
        let shard = &mut self.shards[at];
        if !shard.doorbell.silence() {
            return false;
        }
        shard.tickets.settle();
        // Those who have news go on at once, as woken tasks do, or some time later.
        if self.rng.chance(700) {
            for index in (0..self.shards[at].connections.len()).rev() {
                self.serve(at, index);
            }
        }
        true
    }

    fn serve_one(&mut self, at: usize) {
        let count = self.shards[at].connections.len();
        if count > 0 {
            let index = self.rng.below(count);
            self.serve(at, index);
        }
    }

    /// Moves octets of one connection both ways and lets its dialogue go on; false when there was nothing to do.
    fn serve(&mut self, at: usize, index: usize) -> bool {
        let shard = &mut self.shards[at];
        let connection = &mut shard.connections[index];
        connection.client.send();
        let context = Context::from_waker(Waker::noop());
        let goes_on = match connection.next {
            Next::Read => self.receive(at, index),
            Next::WaitTicket | Next::WaitRoom
                if connection.dialogue.answers().poll_news(&context).is_ready() =>
            {
                true
            }
            Next::WaitTicket if may_read_on(connection) && self.rng.chance(500) => self.receive(at, index),
            Next::WaitTicket | Next::WaitRoom => false,
            Next::Flush | Next::Close => true,
        };
        if goes_on {
            self.advance(at, index);
        }
        goes_on
    }

    /// Takes a piece of what the client has sent.
    fn receive(&mut self, at: usize, index: usize) -> bool {
        let Shard { recv_buffer, connections, .. } = &mut self.shards[at];
        let Connection { input, client, .. } = &mut connections[index];
        if client.uplink.is_empty() {
            return false;
        }
        let piece = match self.rng.below(4) {
            0 => self.rng.between(1, 5),
            1 => self.rng.between(1, 2000),
            _ => usize::MAX,
        };
        let ledger = &mut self.ledger;
        let received = recv_buffer.receive(input, |space| {
            let len = space.len().min(piece);
            Ok::<_, std::convert::Infallible>(client.deliver(&mut space[..len], ledger))
        });
        let Ok(received) = received;
        *input = received.octets;
        true
    }

    /// Parses, sends what is ready, and notes what the connection waits for.
    fn advance(&mut self, at: usize, index: usize) {
        let Shard { tickets, connections, .. } = &mut self.shards[at];
        let connection = &mut connections[index];
        connection.dialogue.renew(&self.session);
        loop {
            let next = connection.dialogue.advance(&mut connection.input, tickets);
            let mut outbox = connection.dialogue.answers().outbox().borrow_mut();
            let ready = outbox.ready().len();
            connection.client.downlink.extend_from_slice(outbox.ready());
            outbox.sent(ready);
            drop(outbox);
            connection.next = next;
            if next != Next::Flush {
                break;
            }
        }
        let mut connection = self.shards[at].connections.swap_remove(index);
        self.read_replies(&mut connection, true);
        if connection.next == Next::Close {
            assert!(connection.client.is_done(), "closed without being asked: {:?}", connection.client);
            return;
        }
        self.shards[at].connections.push(connection);
        // Keep every other connection at its place: callers walk backwards.
        let last = self.shards[at].connections.len() - 1;
        self.shards[at].connections.swap(index, last);
    }

    fn read_replies(&mut self, connection: &mut Connection, alive: bool) {
        for told in connection.client.read(&mut self.ledger, self.plan.keeps_bare_line_ends) {
            match told {
                Told::Stored { index, receipt } => {
                    self.tally.stored += 1;
                    if alive {
                        self.check_stored(index, receipt);
                    }
                }
                Told::NoSpace => self.tally.refused_no_space += 1,
                Told::LogFailed => {
                    self.tally.refused_log_failed += 1;
                    assert!(self.ledger.failed_at.is_some() || !alive, "451 though the log has not failed");
                }
                Told::RefusedForWhatItIs => self.tally.refused_by_session += 1,
            }
        }
    }

    /// What must hold at the moment a client reads its 250.
    fn check_stored(&mut self, index: usize, receipt: mailrace::message::Receipt) {
        let len = self.ledger.message(index).text.len() as u64 + 96;
        if self.plan.sync {
            let positions = receipt.lsn.0..receipt.lsn.0 + len;
            assert!(
                self.storage.disk().is_log_durable(positions),
                "message {index}: 250 for {receipt} while a power cut could still take it"
            );
        }
        if !self.note_failed_write_back() && self.rng.chance(300) {
            crate::reading::assert_found(self, index, receipt);
        }
    }

    /// A reader in another process looks at the log.
    fn look(&mut self) {
        self.tally.looks_of_readers += 1;
        self.note_failed_write_back();
        if self.reader.is_none() || self.rng.chance(200) {
            self.reader = LogReader::open(&self.storage);
        }
        if let Some(mut reader) = self.reader.take() {
            reader.look(self);
            self.reader = Some(reader);
        }
    }

    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("  {}", what());
        }
    }
}

/// As `shard/connection.rs` decides.
fn may_read_on(connection: &Connection) -> bool {
    connection.input.len() <= connection.dialogue.command_line_max() && connection.dialogue.wants_input()
}

/// The world, as both the main loop and the interludes of the storage hold it.
pub(crate) type Shared = Rc<RefCell<World>>;
