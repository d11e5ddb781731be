//! One connection: a dialogue and its socket, from the greeting to the close.
//!
//! The heart is [`Connection::converse`]: advance, send what is ready, wait for what comes next. A connection that
//! waits holds no receive buffer; one that has submitted all it got waits for its doorbell only, and looks at its
//! socket again when it has its answer. Whatever ends it, a panic included, gives back its place and its
//! descriptor and harms no other.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, Bytes};

use super::deadline::{Fate, WaitsFor, Watch};
use super::dialogue::{Dialogue, Next};
use super::listener::Pass;
use super::net::{Direction, Stream};
use super::{Phase, State};
use crate::observe::{Event, EventName};
use crate::policy::Refusal;
use crate::smtp::{Reply, Session, reply};

/// Octets thrown away at most before a connection is closed that was told so while it was sending.
const DISCARD_MAX: usize = 256 * 1024;

/// One connection.
pub(super) struct Connection {
    shard: Rc<State>,
    watch: Rc<Watch>,
    dialogue: Dialogue,
    peer: SocketAddr,
    /// Received and not parsed yet.
    input: Bytes,
    /// The last read found nothing more in the socket.
    drained: bool,
    /// The client sends no more.
    ended: bool,
    /// It is us who end the session; the client may not expect it.
    dismissed: bool,
    _pass: Pass,
}

impl Connection {
    pub(super) fn new(
        shard: &Rc<State>,
        socket: TcpStream,
        peer: SocketAddr,
        local: Option<SocketAddr>,
        pass: Pass,
    ) -> io::Result<Self> {
        let watch = shard.deadlines.borrow_mut().insert(Stream::new(socket)?);
        shard.open.set(shard.open.get() + 1);
        let session = Session::new(Arc::clone(&shard.session.borrow()), peer, local);
        Ok(Self {
            shard: Rc::clone(shard),
            watch,
            dialogue: Dialogue::new(session, shard.limits.pipelined_max),
            peer,
            input: Bytes::new(),
            drained: true,
            ended: false,
            dismissed: false,
            _pass: pass,
        })
    }

    /// Runs to its end. A panic outside the session, which has a guard of its own, ends this connection only.
    pub(super) async fn run(mut self) {
        let ended = {
            let mut conversation = pin!(self.converse());
            poll_fn(|context| {
                catch_unwind(AssertUnwindSafe(|| conversation.as_mut().poll(context)))
                    .map_or_else(|_| Poll::Ready(Err(())), |poll| poll.map(Ok))
            })
            .await
        };
        match ended {
            Ok(Ok(())) => self.part(),
            // The client is gone, which is its right.
            Ok(Err(_)) => {}
            Err(()) => {
                self.note_panic();
                let _ = self.watch.stream.send(reply::INTERNAL_ERROR.as_bytes());
                self.part();
            }
        }
    }

    async fn converse(&mut self) -> io::Result<()> {
        loop {
            let next = self.advance();
            self.flush().await?;
            match next {
                Next::Flush => {}
                Next::Read => self.read().await?,
                Next::WaitTicket if self.may_read_on() => self.read_on()?,
                Next::WaitTicket | Next::WaitRoom => self.news().await,
                Next::Close => return Ok(()),
            }
        }
    }

    /// Parses what there is. A session that panics is not asked again: its client gets 421.
    fn advance(&mut self) -> Next {
        if let Some(reply) = self.dismissal() {
            self.dismiss(reply);
        }
        let Self { dialogue, input, shard, .. } = self;
        dialogue.renew(&shard.session.borrow());
        let advanced =
            catch_unwind(AssertUnwindSafe(|| dialogue.advance(input, &mut shard.tickets.borrow_mut())));
        advanced.unwrap_or_else(|_| {
            self.note_panic();
            self.dismiss(reply::INTERNAL_ERROR);
            Next::Flush
        })
    }

    /// Why this session must end though its client has not ended it.
    fn dismissal(&self) -> Option<Reply> {
        match (self.watch.fate(), self.shard.phase.get()) {
            (Some(Fate::TimedOut), _) => Some(reply::IDLE_TIMEOUT),
            (Some(Fate::ShuttingDown), _) | (None, Phase::Cut) => Some(reply::SHUTTING_DOWN),
            (None, Phase::Draining) if self.dialogue.is_idle() => Some(reply::SHUTTING_DOWN),
            (None, Phase::Running | Phase::Draining) => None,
        }
    }

    fn dismiss(&mut self, reply: Reply) {
        self.dismissed = true;
        self.dialogue.close_with(reply);
    }

    /// Sends what is ready, all of it.
    async fn flush(&mut self) -> io::Result<()> {
        let Some(mut rest) = self.send_ready()? else { return Ok(()) };
        self.wait(WaitsFor::Output);
        while !rest.is_empty() {
            self.watch.stream.writable().await?;
            match self.watch.stream.send(&rest) {
                Ok(count) => rest.advance(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.wait(WaitsFor::Output);
        }
        self.wait(WaitsFor::Us);
        Ok(())
    }

    /// Sends what is ready as far as that goes without waiting, and gives the rest.
    fn send_ready(&mut self) -> io::Result<Option<bytes::BytesMut>> {
        let mut outbox = self.dialogue.answers().outbox().borrow_mut();
        if outbox.ready().is_empty() {
            return Ok(None);
        }
        match self.watch.stream.send(outbox.ready()) {
            Ok(count) => Ok(outbox.sent(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(outbox.sent(0)),
            Err(error) => Err(error),
        }
    }

    /// Waits for input, or for the end of the wait by a deadline or a drain.
    async fn read(&mut self) -> io::Result<()> {
        if self.ended {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if !self.input.is_empty() {
            // An unfinished line must not keep a whole receive chunk for as long as the client pleases.
            self.input = Bytes::copy_from_slice(&self.input);
        }
        while self.dismissal().is_none() {
            let idle = self.dialogue.is_idle();
            self.wait(if idle { WaitsFor::Command } else { WaitsFor::Transaction });
            let readable = self.watch.stream.readable().await;
            self.wait(WaitsFor::Us);
            readable?;
            if self.watch.fate().is_some() || self.receive()? {
                break;
            }
        }
        Ok(())
    }

    /// Takes what has come meanwhile, without waiting.
    fn read_on(&mut self) -> io::Result<()> {
        self.receive().map(drop)
    }

    /// The dialogue could go on with more input while it waits for a ticket, and there may be some.
    fn may_read_on(&self) -> bool {
        let line_at_most = self.input.len() <= self.dialogue.command_line_max();
        !self.drained && !self.ended && line_at_most && self.dialogue.wants_input()
    }

    /// Reads once behind the unfinished line there may be; false when there was nothing to read.
    fn receive(&mut self) -> io::Result<bool> {
        let stream = &self.watch.stream;
        let received = self.shard.recv_buffer.borrow_mut().receive(&self.input, |space| stream.recv(space));
        match received {
            Ok(received) => {
                self.drained = received.drained;
                self.ended = received.count == 0;
                self.input = received.octets;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.drained = true;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for an answer, or for room in the queue.
    async fn news(&mut self) {
        let answers = self.dialogue.answers();
        poll_fn(|context| answers.poll_news(context)).await;
    }

    fn wait(&self, waits_for: WaitsFor) {
        self.shard.deadlines.borrow().wait(&self.watch, waits_for);
    }

    fn note_panic(&self) {
        self.shard.counters.panics.add(1);
        Event::new(EventName::SessionPanicked).field("peer", self.peer).emit();
    }

    /// Closes so that the client sees our last reply: octets left unread would turn the close into a reset, which
    /// may overtake it.
    fn part(&mut self) {
        if !self.dismissed && self.drained && self.input.is_empty() {
            return;
        }
        let stream = &self.watch.stream;
        stream.shutdown(Direction::Send);
        let mut discarded = 0;
        while discarded < DISCARD_MAX {
            let mut buffer = self.shard.recv_buffer.borrow_mut();
            match buffer.receive(&[], |space| stream.recv(space)) {
                Ok(received) if received.count > 0 => discarded += received.count,
                _ => return,
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let counts = self.dialogue.take_counts();
        let counters = &self.shard.counters;
        counters.connections_closed.add(1);
        let refused = |refusal: Refusal| counts.refused[refusal as usize];
        counters.recipients_refused.add(
            refused(Refusal::RelayDenied)
                + refused(Refusal::UnknownRecipient)
                + refused(Refusal::TooManyRecipients),
        );
        counters.messages_refused.add(refused(Refusal::MessageTooLarge) + refused(Refusal::BareLineEnd));
        counters.commands_refused.add(counts.faults.iter().sum());
        self.shard.deadlines.borrow_mut().remove(&self.watch);
        self.shard.open.set(self.shard.open.get() - 1);
        if self.shard.phase.get() != Phase::Running {
            // The last one out ends the shard.
            self.shard.doorbell.ring();
        }
    }
}
