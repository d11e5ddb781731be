//! How a target came out: one figure or several, each with a verdict of its own.
//!
//! A target is kept when every figure of it is, missed when one is, and otherwise not measured: a figure that is
//! missing is never a pass.

use serde::Serialize;

use super::table::Target;
use crate::report::{Figure, Verdict};
use crate::stats::Spread;

/// One figure of a target, such as that of 64 connections.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// Which one; empty when it is the only one.
    pub name: String,
    /// Whether its bound was kept; nothing for a figure that is only shown.
    pub verdict: Option<Verdict>,
    /// Whether what is aimed at was reached; nothing without an aim.
    pub reaches_goal: Option<bool>,
    /// What was measured, with its ends over the rounds, unless it was not.
    pub measured: Option<Figure>,
    /// The figure's unit, why there is none, or why it does not count.
    pub words: String,
}

/// Where a figure must lie: its median decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Not above it.
    AtMost(f64),
    /// Below it.
    Below(f64),
    /// Not below it.
    AtLeast(f64),
}

/// How one target came out.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The target.
    pub target: Target,
    /// Whether its bound was kept.
    pub verdict: Verdict,
    /// Its figures.
    pub parts: Vec<Part>,
}

impl Limit {
    fn is_kept_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::Below(limit) => value < limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl Part {
    /// A figure held against its bound. `measured` is nothing when the counts of messages did not agree, one was lost or
    /// none was answered: then no figure counts, and that is a miss.
    pub fn held(name: impl Into<String>, measured: Option<Spread>, limit: Limit, unit: &str) -> Self {
        let Some(spread) = measured else {
            return Self::missed(
                name,
                "messages were miscounted or lost, or none was answered: no figure counts",
            );
        };
        let verdict = if limit.is_kept_by(spread.median) { Verdict::Pass } else { Verdict::Miss };
        Self { verdict: Some(verdict), ..Self::shown(name, spread, unit) }
    }

    /// A figure without a bound.
    pub fn shown(name: impl Into<String>, measured: Spread, unit: &str) -> Self {
        Self {
            name: name.into(),
            verdict: None,
            reaches_goal: None,
            measured: Some(measured.into()),
            words: unit.into(),
        }
    }

    /// A miss without a figure, and why.
    pub fn missed(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { verdict: Some(Verdict::Miss), ..Self::open(name, reason.into()) }
    }

    /// What could not be measured, and why.
    pub fn open(name: impl Into<String>, reason: String) -> Self {
        let verdict = Some(Verdict::NotMeasured);
        Self { name: name.into(), verdict, reaches_goal: None, measured: None, words: reason }
    }

    /// The same held against what is aimed at, too; nothing to reach without a figure.
    #[must_use]
    pub fn aiming_at(self, goal: Limit) -> Self {
        let reaches_goal = self.measured.map(|figure| goal.is_kept_by(figure.value));
        Self { reaches_goal, ..self }
    }

    /// Unit or reason, and what became of the goal.
    pub fn words_with_goal(&self) -> String {
        match self.reaches_goal {
            None => self.words.clone(),
            Some(true) => format!("{}; goal reached", self.words),
            Some(false) => format!("{}; goal not reached", self.words),
        }
    }
}

impl Outcome {
    /// Of the figures found for a target.
    pub fn of(target: Target, parts: Vec<Part>) -> Self {
        let has = |verdict| parts.iter().any(|part| part.verdict == Some(verdict));
        let verdict = match (has(Verdict::Miss), has(Verdict::NotMeasured), has(Verdict::Pass)) {
            (true, _, _) => Verdict::Miss,
            (false, false, true) => Verdict::Pass,
            _ => Verdict::NotMeasured,
        };
        Self { target, verdict, parts }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::TARGETS;
    use super::*;

    fn part(value: f64, limit: Limit) -> Part {
        Part::held("", Some(Spread::of([value])), limit, "")
    }

    #[test]
    fn a_bound_is_kept_by_the_median_and_only_by_one() {
        let verdict = |measured| Part::held("", measured, Limit::AtMost(0.7), "").verdict;
        assert_eq!(verdict(Some(Spread::of([0.1, 0.7, 9.0]))), Some(Verdict::Pass));
        assert_eq!(verdict(Some(Spread::of([0.71]))), Some(Verdict::Miss));
        assert_eq!(verdict(None), Some(Verdict::Miss));
        let at_one = [Limit::AtMost(1.0), Limit::Below(1.0), Limit::AtLeast(1.0)];
        let verdicts = |value| at_one.map(|limit| part(value, limit).verdict == Some(Verdict::Pass));
        assert_eq!(verdicts(0.9), [true, true, false]);
        assert_eq!(verdicts(1.0), [true, false, true]);
        assert_eq!(verdicts(1.1), [false, false, true]);
    }

    #[test]
    fn a_goal_is_told_of_only_where_there_is_a_figure() {
        let words = |value| part(value, Limit::AtMost(2.0)).aiming_at(Limit::AtMost(1.0)).words_with_goal();
        assert_eq!([words(1.0), words(1.5)], ["; goal reached", "; goal not reached"]);
        assert_eq!(Part::open("", "why".into()).aiming_at(Limit::AtMost(1.0)).words_with_goal(), "why");
    }

    #[test]
    fn a_row_passes_only_when_each_figure_of_it_does() {
        let (pass, miss) = (part(1.0, Limit::AtMost(1.0)), part(2.0, Limit::AtMost(1.0)));
        let (open, shown) = (Part::open("", "why".into()), Part::shown("", Spread::of([9.0]), ""));
        let verdict = |parts: &[&Part]| {
            Outcome::of(TARGETS[0], parts.iter().map(|part| (*part).clone()).collect()).verdict
        };
        assert_eq!(verdict(&[&pass, &pass, &shown]), Verdict::Pass);
        assert_eq!(verdict(&[&pass, &miss]), Verdict::Miss);
        assert_eq!(verdict(&[&open, &miss]), Verdict::Miss);
        assert_eq!(verdict(&[&pass, &open]), Verdict::NotMeasured);
        assert_eq!([verdict(&[&shown]), verdict(&[])], [Verdict::NotMeasured; 2]);
    }
}
