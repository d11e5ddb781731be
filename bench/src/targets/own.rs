//! What the targets that mailrace is held to by itself have in common: rounds of two runs, and figures of the second by
//! the first.

use std::time::Duration;

use super::runs::Seen;
use super::stage::{self, Run, Stage};
use crate::ceiling::shape::Shape;
use crate::error::Result;
use crate::load::Refinements;
use crate::load::gathering::Opening;
use crate::load::pace::{Arrivals, Pace};
use crate::mailrace::Durability;
use crate::stats::{Spread, thousands};

/// Pipelined messages of 4 KiB over so many kept connections.
pub(super) fn shape(connections: usize) -> Shape {
    Shape { size: 4 << 10, connections, lockstep: false }
}

/// A closed loop that begins with all connections greeted.
pub(super) fn closed() -> Refinements {
    Refinements { opening: Opening::Gathered { idle: Duration::ZERO }, ..Refinements::default() }
}

/// An open loop of `rate` messages a second that begins with all connections greeted.
pub(super) fn open(rate: f64) -> Refinements {
    Refinements { pace: Pace::Open { rate, arrivals: Arrivals::Constant }, ..closed() }
}

/// One run against a mailrace of its own that syncs before it answers.
pub(super) fn run(stage: &mut Stage<'_>, connections: usize, refinements: &Refinements) -> Result<Run> {
    let (load, totals) = stage.with_mailrace(Durability::Sync, &[], |stage, mailrace| {
        stage.drive(&shape(connections), mailrace.address(), mailrace.pid(), refinements)
    })?;
    Ok(Run { load, totals })
}

/// `figure` of the second of each round by that of the first; nothing unless every round has both.
pub(super) fn ratios<T>(rounds: &[(T, T)], figure: impl Fn(&T) -> Option<f64>) -> Option<Spread> {
    stage::ratios(rounds.iter().map(|(first, second)| (figure(second), figure(first))))
}

/// Both kinds of run, under their names.
pub(super) fn seen(names: [String; 2], rounds: &[(Run, Run)]) -> [Seen; 2] {
    let [first, second] = names;
    [
        Seen::new(first, rounds.iter().map(|round| round.0.load.clone())),
        Seen::new(second, rounds.iter().map(|round| round.1.load.clone())),
    ]
}

/// A count with commas.
pub(super) fn count(number: usize) -> String {
    thousands(&number.to_string())
}

/// A rate in words.
pub(super) fn per_second(rate: f64) -> String {
    format!("{}/s", thousands(&format!("{rate:.0}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_a_round_is_held_against_the_first() {
        let rounds = [(Some(2.0), Some(3.0)), (Some(1.0), Some(1.0))];
        assert_eq!(ratios(&rounds, |figure| *figure), Some(Spread::of([1.5, 1.0])));
        assert_eq!(ratios(&[rounds[0], (Some(1.0), None)], |figure| *figure), None);
    }
}
