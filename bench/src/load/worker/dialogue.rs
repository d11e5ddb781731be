//! What a worker does when a connection has become ready: replies in, the next write out.

use super::{Ending, Worker};
use crate::load::connection::Connection;
use crate::load::session::{Next, Stage};
use crate::load::tally::Failure;
use crate::poll::Readiness;

impl Worker<'_> {
    pub(super) fn handle(&mut self, ready: Readiness, buffer: &mut [u8]) {
        let slot = usize::try_from(ready.token).expect("tokens are slot numbers");
        let Some(mut connection) = self.slots[slot].take() else { return };
        match self.serve(slot, &mut connection, ready, buffer) {
            Ok(()) => self.slots[slot] = Some(connection),
            Err(ending) => self.end(slot, &connection, ending),
        }
    }

    /// Moves one connection as far as it goes, or to its end.
    fn serve(
        &mut self,
        slot: usize,
        connection: &mut Connection,
        ready: Readiness,
        buffer: &mut [u8],
    ) -> Result<(), Ending> {
        if !connection.is_open {
            self.note_open(connection, ready)?;
        }
        if ready.writable && connection.has_unsent() {
            connection.flush(self.script).map_err(Ending::broken)?;
        }
        if !ready.readable {
            return Ok(());
        }
        loop {
            match connection.receive(buffer).map_err(Ending::broken)? {
                None => return Ok(()),
                Some(0) => return Err(Ending::Failed(Failure::Closed(connection.session.stage()))),
                Some(count) => {
                    self.take_replies(slot, connection, &buffer[..count])?;
                    // A short read has emptied the socket, and edge-triggered readiness tells of what comes next.
                    if count < buffer.len() && !ready.ended {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The first readiness of a connection ends the attempt to open it.
    fn note_open(&mut self, connection: &mut Connection, ready: Readiness) -> Result<(), Ending> {
        if let Some(error) = ready.ended.then(|| connection.connect_error()).flatten() {
            return Err(Ending::Failed(Failure::connect(error)));
        }
        connection.is_open = true;
        self.account.tally.connections_opened += 1;
        self.account.tally.connect.saturating_record(self.now() - connection.opened_at);
        Ok(())
    }

    fn take_replies(
        &mut self,
        slot: usize,
        connection: &mut Connection,
        mut input: &[u8],
    ) -> Result<(), Ending> {
        let now = self.now();
        self.supply.advance(now);
        loop {
            let line = connection.replies.next(&mut input).map_err(|_| Ending::Failed(Failure::Malformed))?;
            let Some(line) = line else { return Ok(()) };
            if connection.session.stage() == Stage::Greeting && line.is_last {
                self.account.tally.greeting.saturating_record(now - connection.opened_at);
            }
            let step = connection.session.take(line, &mut self.supply);
            if let Some((stage, code)) = step.refusal {
                self.account.tally.fail(Failure::Reply(stage, code));
            }
            if let Some(decided) = step.verdict {
                self.decided_at = now;
                self.account.decided(decided, now, &connection.text, self.script, line.text);
            }
            self.act(slot, connection, step.next, now)?;
        }
    }

    /// Does what a session wants done.
    pub(super) fn act(
        &mut self,
        slot: usize,
        connection: &mut Connection,
        next: Next,
        now: u64,
    ) -> Result<(), Ending> {
        match next {
            Next::Wait => Ok(()),
            Next::Rest => {
                self.idle.push_back(slot);
                self.note_rest();
                Ok(())
            }
            Next::Send(piece) => {
                if piece.starts_with_body() {
                    self.choose_text(connection, now);
                }
                connection.send(piece, self.script).map_err(Ending::broken)
            }
            Next::Close => Err(Ending::AsAgreed),
            Next::GiveUp => Err(Ending::GivenUp),
        }
    }

    fn choose_text(&self, connection: &mut Connection, now: u64) {
        let claim = connection.session.current().expect("a text belongs to a message");
        let (index, count) = self.options.place;
        let number = claim.number * count as u64 + index as u64;
        connection.text.at = now;
        connection.text.index = self.script.text_index(number);
        self.account.sign(&mut connection.text, number);
    }
}
