//! Before a run that begins with all connections greeted: opens them, a limited number at once, and holds them silent.

use super::Worker;
use crate::load::account::Window;
use crate::load::connection::Connection;
use crate::load::gathering::{Beginning, Gathering};

/// Connections of one thread that may be on their way to a greeting at once: far fewer than a server's backlog.
const OPENING_MAX: usize = 256;

/// Whether a run waits for its connections, and where it is.
#[derive(Debug)]
pub(super) enum Start<'a> {
    /// It does not.
    AtOnce,
    /// It still does.
    Gathering(Gather<'a>),
    /// It did.
    Gathered,
}

/// Where a thread stands before the beginning.
#[derive(Debug)]
pub(super) struct Gather<'a> {
    gathering: &'a Gathering,
    /// When the run measures, counted from its beginning.
    window: Window,
    /// Connections that are greeted and silent.
    greeted_count: usize,
    greeted_max: usize,
    reported_count: usize,
}

impl Gather<'_> {
    fn begins_at(&self) -> Option<u64> {
        match self.gathering.beginning() {
            Beginning::At(at) => Some(at),
            Beginning::Unknown | Beginning::Never => None,
        }
    }
}

impl<'a> Worker<'a> {
    /// Has nothing sent, and nothing measured, before `gathering` says when the run begins.
    pub fn gathering_at(mut self, gathering: &'a Gathering) -> Self {
        self.supply = self.supply.held();
        self.account.measure_in(Window::NEVER);
        let window = std::mem::replace(&mut self.options.window, Window::NEVER);
        self.start = Start::Gathering(Gather {
            gathering,
            window,
            greeted_count: 0,
            greeted_max: 0,
            reported_count: 0,
        });
        self
    }

    /// A session has become idle.
    pub(super) fn note_rest(&mut self) {
        if let Start::Gathering(gather) = &mut self.start {
            gather.greeted_count += 1;
        }
    }

    /// A connection has ended, perhaps one that was idle.
    pub(super) fn note_end(&mut self, connection: &Connection) {
        if let (Start::Gathering(gather), true) = (&mut self.start, connection.session.is_idle()) {
            gather.greeted_count -= 1;
        }
    }

    /// Whether as many connections are being opened as may be at once.
    pub(super) fn is_opening_enough(&self) -> bool {
        matches!(&self.start, Start::Gathering(gather) if self.open_count >= gather.greeted_count + OPENING_MAX)
    }

    /// When the run begins, where that is known and still to come.
    pub(super) fn begins_at(&self) -> Option<u64> {
        match &self.start {
            Start::Gathering(gather) => gather.begins_at(),
            Start::AtOnce | Start::Gathered => None,
        }
    }

    /// Whether another thread has ended before the run began.
    pub(super) fn is_forsaken(&self) -> bool {
        matches!(&self.start, Start::Gathering(gather) if gather.gathering.beginning() == Beginning::Never)
    }

    /// Once a turn: says how many are greeted, and lets the run begin when it is time.
    pub(super) fn gather(&mut self, now: u64) {
        let Start::Gathering(gather) = &mut self.start else { return };
        gather.gathering.report(gather.reported_count, gather.greeted_count);
        gather.reported_count = gather.greeted_count;
        if gather.greeted_count > gather.greeted_max || gather.greeted_count == self.slots.len() {
            gather.greeted_max = gather.greeted_count;
            self.decided_at = now;
        }
        if let Some(at) = gather.begins_at().filter(|at| *at <= now) {
            let window = gather.window.starting(at);
            self.options.window = window;
            self.account.measure_in(window);
            self.supply.begin(at);
            self.start = Start::Gathered;
        }
    }
}
