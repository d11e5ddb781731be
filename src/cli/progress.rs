//! A bar on standard error that tells how far long work on a log has come.
//!
//! It appears when the work has taken a while, where [`Screen`](super::screen::Screen) says that a person sees it, and leaves nothing
//! behind. Progress is measured in positions of the log, so nothing is counted for it.

use std::ops::Range;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::message::Lsn;

/// Work that is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);
const TEMPLATE: &str = "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";

/// How far the work has come.
pub(super) struct Progress {
    what: &'static str,
    extent: Range<Lsn>,
    state: State,
}

enum State {
    Hidden,
    Patient(Instant),
    Shown(ProgressBar),
}

impl Progress {
    /// Work that goes over a stretch of a log and is called `what`; never seen unless `shows`.
    pub(super) fn over(extent: Range<Lsn>, what: &'static str, shows: bool) -> Self {
        let state = if shows { State::Patient(Instant::now()) } else { State::Hidden };
        Self { what, extent, state }
    }

    /// The work has come to a position.
    pub(super) fn reach(&mut self, lsn: Lsn) {
        let done = lsn.0.saturating_sub(self.extent.start.0);
        match &self.state {
            State::Shown(bar) => bar.set_position(done),
            State::Patient(since) if since.elapsed() >= PATIENCE => {
                let bar = ProgressBar::new(self.extent.end.0.saturating_sub(self.extent.start.0));
                bar.set_style(ProgressStyle::with_template(TEMPLATE).expect("the template is right"));
                bar.set_message(self.what);
                bar.set_position(done);
                bar.reset_eta();
                self.state = State::Shown(bar);
            }
            State::Hidden | State::Patient(_) => {}
        }
    }

    /// Does something that prints, with the bar out of the way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.state {
            State::Shown(bar) => bar.suspend(print),
            State::Hidden | State::Patient(_) => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let State::Shown(bar) = &self.state {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_bar_is_right() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn short_work_shows_no_bar() {
        let mut progress = Progress::over(Lsn(0)..Lsn(100), "reading", true);
        progress.reach(Lsn(50));
        assert!(matches!(progress.state, State::Patient(_)));
        let mut hidden = Progress::over(Lsn(0)..Lsn(100), "reading", false);
        hidden.reach(Lsn(50));
        assert!(matches!(hidden.state, State::Hidden));
    }
}
