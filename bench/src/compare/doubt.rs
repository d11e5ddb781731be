//! What a reader must know before trusting some runs: in full for their table, in a word for a glance.

use std::collections::BTreeMap;

use super::report::{Run, spread};
use crate::stats::thousands;
use crate::units::CoreList;

/// A load that keeps so much of each of its cores busy may be what was measured.
const LOAD_FULL: f64 = 0.95;

/// One reason for doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// In a few words, the same for all of its kind.
    pub(super) mark: String,
    /// With its figures.
    pub(super) words: String,
}

impl Doubt {
    fn new(mark: &str, words: String) -> Self {
        Self { mark: mark.into(), words }
    }
}

/// Of some runs: failures by cause, connections that waited, and whether the load was the limit.
pub(super) fn doubts(runs: &[Run], load_cores: &CoreList) -> Vec<Doubt> {
    let mut failures = BTreeMap::<&str, u64>::new();
    for (failure, count) in runs.iter().flat_map(|run| &run.load.failures) {
        *failures.entry(failure).or_default() += count;
    }
    let failed = |(failure, count): (&str, u64)| {
        Doubt::new("failures", format!("failed {} times: {failure}", thousands(&count.to_string())))
    };
    let mut doubts: Vec<Doubt> = failures.into_iter().map(failed).collect();
    let silent = runs.iter().filter(|run| run.load.time_to_250_us.count == 0).count();
    if silent > 0 {
        let words = format!("no message was answered in the window of {silent} of {} runs", runs.len());
        doubts.push(Doubt::new("no answers in a round", words));
    }
    let held: u64 = runs.iter().map(|run| run.load.connections_held).sum();
    if held > 0 {
        let held = thousands(&held.to_string());
        let words = format!("its listen queue was full: {held} connections were opened later");
        doubts.push(Doubt::new("connections held back", words));
    }
    let busy = spread(runs, |run| Some(run.load.load.cores_busy));
    if busy.is_some_and(|busy| busy.median > LOAD_FULL * load_cores.0.len() as f64) {
        let words = "the load's cores were full: the load may be the limit".into();
        doubts.push(Doubt::new("the load may be the limit", words));
    }
    doubts
}

/// Of fewer runs than rounds: how many there are, and why not more.
pub(super) fn lacking(runs: usize, rounds: usize, reasons: &[String]) -> Option<Doubt> {
    let words = || std::iter::once(format!("{runs} of {rounds} rounds")).chain(reasons.iter().cloned());
    let is_short = runs < rounds || !reasons.is_empty();
    is_short
        .then(|| Doubt::new(&format!("{runs} of {rounds} rounds"), words().collect::<Vec<_>>().join("; ")))
}

/// The marks of several tables in one cell, each with the names it holds for.
pub(super) fn in_a_cell<'a>(doubts: impl Iterator<Item = (&'a str, Vec<Doubt>)>) -> String {
    let mut marks: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, doubt) in doubts.flat_map(|(name, doubts)| doubts.into_iter().map(move |d| (name, d))) {
        match marks.iter_mut().find(|(mark, _)| *mark == doubt.mark) {
            Some((_, names)) if names.last() == Some(&name) => {}
            Some((_, names)) => names.push(name),
            None => marks.push((doubt.mark, vec![name])),
        }
    }
    let words = marks.into_iter().map(|(mark, names)| format!("{mark}: {}", names.join(", ")));
    words.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_failed_is_told_with_its_reason() {
        assert_eq!(lacking(3, 3, &[]), None);
        let doubt = lacking(2, 3, &["round 2: it hung".into()]).expect("a doubt");
        assert_eq!(doubt.mark, "2 of 3 rounds");
        assert_eq!(doubt.words, "2 of 3 rounds; round 2: it hung");
    }

    #[test]
    fn a_mark_stands_once_with_all_it_holds_for() {
        let full = || Doubt::new("full", "full to the brim".into());
        let lost = || Doubt::new("failures", "failed twice".into());
        let doubts = [("new", vec![full(), lost(), lost()]), ("reused", vec![]), ("64 KiB", vec![full()])];
        assert_eq!(in_a_cell(doubts.into_iter()), "full: new, 64 KiB; failures: new");
    }
}
