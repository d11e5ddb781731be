//! How far a benchmark is: work done, work planned, and the time that is probably left.
//!
//! The planned time of each step is its weight; the time left follows from what the steps so far have really taken.

use std::time::{Duration, Instant};

/// The steps of a benchmark.
#[derive(Debug)]
pub struct Steps {
    planned: Duration,
    /// Planned time of the steps that are done.
    done: Duration,
    /// Planned time of the step that runs.
    running: Duration,
    began: Instant,
}

impl Steps {
    /// Steps of `planned` time in all, beginning now.
    pub fn new(planned: Duration) -> Self {
        Self { planned, done: Duration::ZERO, running: Duration::ZERO, began: Instant::now() }
    }

    /// Ends the step that runs and begins `what`, planned to take `time`: the line to show.
    pub fn begin(&mut self, time: Duration, what: &str) -> String {
        self.done += std::mem::replace(&mut self.running, time);
        format!("{}: {what}", self.words(self.began.elapsed()))
    }

    fn words(&self, elapsed: Duration) -> String {
        let ahead = self.planned.saturating_sub(self.done);
        // The first steps tell little: what was planned counts beside them like as much time spent.
        let pace = (elapsed + PRIOR).div_duration_f64(self.done + PRIOR);
        let minutes = (ahead.mul_f64(pace).as_secs_f64() / 60.0).ceil().max(1.0);
        let percent = 100.0 * self.done.div_duration_f64(self.planned.max(Duration::from_millis(1)));
        format!("{:.0} % done, {minutes} min left", percent.min(99.0).floor())
    }
}

/// Planned time that is taken for true until steps have shown what they take.
const PRIOR: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_what_steps_have_taken() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let mut steps = Steps::new(minutes(10));
        assert_eq!(steps.words(Duration::ZERO), "0 % done, 10 min left");
        assert!(steps.begin(minutes(5), "one").ends_with("left: one"));
        assert!(steps.begin(minutes(5), "two").ends_with("left: two"));
        assert_eq!(steps.words(minutes(5)), "50 % done, 5 min left");
        assert_eq!(steps.words(minutes(15)), "50 % done, 15 min left");
        // Steps that were not planned for do not make it more than the whole.
        steps.begin(minutes(5), "three");
        steps.begin(minutes(5), "four");
        assert_eq!(steps.words(minutes(20)), "99 % done, 1 min left");
    }
}
