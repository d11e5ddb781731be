//! When messages are started: as soon as a connection is free (closed loop), or at times fixed beforehand (open).
//!
//! In an open loop a message exists from its scheduled time on, whether or not a connection is free for it. Its
//! time is counted from there, so a server that stalls is charged for every message that came due meanwhile, and
//! not only for those that were under way.

use fastrand::Rng;

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

/// How the times of an open loop's messages lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// At equal intervals.
    Constant,
    /// At random with the same mean, each independent of the others, as from many senders who do not know of one
    /// another.
    Poisson,
}

/// What starts a message.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Pace {
    /// The end of the one before on the same connection.
    #[default]
    Closed,
    /// The clock.
    Open {
        /// Messages a second, over all threads; above 0.
        rate: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
}

/// The times of one thread's messages, in nanoseconds of the run's clock.
#[derive(Clone, Debug)]
pub struct Schedule {
    next: f64,
    /// Mean nanoseconds between two messages of this thread.
    interval: f64,
    arrivals: Arrivals,
    rng: Rng,
    /// Nothing comes due from here on.
    until: Option<u64>,
}

impl Schedule {
    /// The part of thread `index` of `count` in `rate` messages a second, up to `until`.
    ///
    /// Constant arrivals of all threads interleave; Poisson ones are as many independent processes, whose sum is
    /// again one.
    pub fn new(rate: f64, arrivals: Arrivals, seed: u64, (index, count): (usize, usize)) -> Self {
        let interval = SECOND * count as f64 / rate;
        let mut rng = Rng::with_seed(seed.wrapping_add(index as u64));
        let next = match arrivals {
            Arrivals::Constant => SECOND * (index + 1) as f64 / rate,
            Arrivals::Poisson => interval * exponential(&mut rng),
        };
        Self { next, interval, arrivals, rng, until: None }
    }

    /// The same, ending at `until`.
    pub fn ending(self, until: Option<u64>) -> Self {
        Self { until, ..self }
    }

    /// The same, with its zero at `at`.
    pub fn starting(self, at: u64) -> Self {
        Self { next: self.next + at as f64, until: self.until.map(|until| until.saturating_add(at)), ..self }
    }

    /// The time of the next message; `None` when there is none.
    pub fn peek(&self) -> Option<u64> {
        let at = self.next as u64;
        self.until.is_none_or(|until| at < until).then_some(at)
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let at = self.peek()?;
        self.next += match self.arrivals {
            Arrivals::Constant => self.interval,
            Arrivals::Poisson => self.interval * exponential(&mut self.rng),
        };
        Some(at)
    }
}

/// An interval of a Poisson process with mean 1.
fn exponential(rng: &mut Rng) -> f64 {
    // f64() is below 1, so the logarithm is finite.
    -(1.0 - rng.f64()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_schedules_of_all_threads_interleave_to_the_whole_rate() {
        let mut times: Vec<u64> = (0..3)
            .flat_map(|index| {
                Schedule::new(1000.0, Arrivals::Constant, 0, (index, 3)).ending(Some(1_000_000_001))
            })
            .collect();
        times.sort_unstable();
        assert_eq!(times.len(), 1000);
        assert!(times.windows(2).all(|pair| (999_999..=1_000_001).contains(&(pair[1] - pair[0]))));
    }

    #[test]
    fn poisson_schedules_have_the_mean_and_spread_of_their_kind_and_follow_their_seed() {
        let schedule = |seed| Schedule::new(10_000.0, Arrivals::Poisson, seed, (0, 1));
        let times: Vec<u64> = schedule(1).ending(Some(10_000_000_000)).collect();
        assert!((98_500..101_500).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Standard deviation and mean of an exponential distribution are the same.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{mean} {variance}");
        assert!(schedule(1).take(100).eq(schedule(1).take(100)));
        assert!(!schedule(1).take(100).eq(schedule(2).take(100)));
    }
}
