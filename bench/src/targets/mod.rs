//! The performance targets the project has set itself, and how the code stands to them today.
//!
//! ```text
//! table    the targets as data, and which file measures each        -> Group::measure
//! outcome  figures against bounds                                    -> Part, Outcome
//! others   one file for each group of targets measured together      -> Findings
//! stage    servers on one core and their load, for those files; runs shows what they did
//! ```
//! Each row of the table is kept as it was set. A row that was not asked for, that no benchmark measures or that this
//! machine cannot measure says so and why: a figure taken under other conditions than the row's would be no answer.
//! A mailrace that fails, hangs or lets nothing through has missed the rows it did that in.
//!
//! The data of all groups stays until the last is over: file systems slow down near recently deleted files.

pub mod age;
mod calls;
mod ceiling;
pub mod crowd;
pub mod flood;
mod floor;
mod half_rate;
pub mod idle;
mod lines;
mod mailin;
mod outcome;
mod own;
mod runs;
pub mod shards;
mod smtp_source;
mod stage;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::report::{Cell, Page, Section, Table, Verdict};
use crate::units::CoreList;
use crate::workspace::{Afterwards, Workspace};
pub use outcome::{Limit, Outcome, Part};
#[cfg(test)]
pub(crate) use runs::sample_load;
pub use table::{Group, How, TARGETS, Target};

/// What is measured with, and where.
#[derive(Clone, Debug)]
pub struct TargetsOptions {
    /// mailrace's program.
    pub mailrace: PathBuf,
    /// Further arguments of its `serve`.
    pub arguments: Vec<String>,
    /// Where data goes, in new directories.
    pub parent_dir: PathBuf,
    /// What becomes of it.
    pub afterwards: Afterwards,
    /// The servers' cores.
    pub server_cores: CoreList,
    /// The load's cores.
    pub load_cores: CoreList,
    /// How often each figure is measured.
    pub rounds: usize,
    /// How long a run is measured, where it is not a number of messages.
    pub duration: Duration,
    /// Messages of a run of smtp-source over reused connections.
    pub reused_count: u64,
    /// Messages of a run of smtp-source with a new connection for each.
    pub new_count: u64,
}

impl TargetsOptions {
    /// How long a server runs before it is measured.
    pub fn warm_up(&self) -> Duration {
        self.duration / 4
    }
}

/// What the measurement of one group of targets gave.
#[derive(Debug, Default)]
pub struct Findings {
    /// The figures, each with the row it belongs to.
    pub parts: Vec<(How, Part)>,
    /// The runs they come from: their inputs, their tables, what was taken beside them.
    pub pages: Vec<Page>,
}

impl Findings {
    /// None, for the same reason.
    pub fn open(rows: &[How], reason: &str) -> Self {
        let parts = rows.iter().map(|how| (*how, Part::open("", reason.into())));
        Self { parts: parts.collect(), pages: Vec::new() }
    }

    /// None, for the measurement ended with `error`: a miss where that is the doing of `mailrace`, the program measured.
    pub fn failed(rows: &[How], error: &Error, mailrace: &Path) -> Self {
        let words = error.to_string();
        let is_its_own = matches!(error, Error::Server { program, .. } if program == mailrace);
        if !is_its_own {
            return Self::open(rows, &words);
        }
        let parts = rows.iter().map(|how| (*how, Part::missed("", words.clone())));
        Self { parts: parts.collect(), pages: Vec::new() }
    }

    /// A further figure of a row.
    pub fn add(&mut self, how: How, part: Part) {
        self.parts.push((how, part));
    }
}

/// All targets.
#[derive(Clone, Debug, Serialize)]
pub struct TargetsReport {
    /// One entry a target.
    pub outcomes: Vec<Outcome>,
    /// The runs the figures come from.
    pub runs: Vec<Page>,
}

/// Measures `rows`, group by group; what fails is told in its rows.
///
/// # Errors
/// When no directory can be made for the data.
pub fn run(options: &TargetsOptions, rows: &[How], progress: &mut dyn FnMut(&str)) -> Result<TargetsReport> {
    let whole = Workspace::new(&options.parent_dir, options.afterwards)?;
    let (parent_dir, afterwards) = (whole.root().to_owned(), options.afterwards.of_part());
    let options = &TargetsOptions { parent_dir, afterwards, ..options.clone() };
    let mut findings = Findings::default();
    for group in Group::ALL {
        let asked: Vec<How> = rows.iter().copied().filter(|how| how.group() == group).collect();
        if asked.is_empty() {
            continue;
        }
        let found = group.measure(options, &asked, &mut |what| progress(&format!("{group:?}: {what}")));
        let found = found.unwrap_or_else(|error| Findings::failed(&asked, &error, &options.mailrace));
        findings.parts.extend(found.parts);
        findings.pages.extend(found.pages);
    }
    Ok(TargetsReport::new(rows, &findings.parts, findings.pages))
}

impl TargetsReport {
    /// Puts figures to their rows; rows that were not asked for say so, whatever was found beside others.
    fn new(rows: &[How], parts: &[(How, Part)], runs: Vec<Page>) -> Self {
        let outcome = |target: Target| {
            let of_row = parts.iter().filter(|(how, _)| *how == target.how);
            let mut parts: Vec<Part> = of_row.map(|(_, part)| part.clone()).collect();
            if !rows.contains(&target.how) {
                parts = vec![Part::open("", "not asked for".into())];
            } else if parts.is_empty() {
                parts = vec![Part::open("", "its measurement gave no figure".into())];
            }
            Outcome::of(target, parts)
        };
        Self { outcomes: TARGETS.into_iter().map(outcome).collect(), runs }
    }

    /// Whether no bound that was measured was missed.
    pub fn is_met(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.verdict != Verdict::Miss)
    }

    /// The table, and behind it the runs its figures come from.
    pub fn page(&self) -> Page {
        let count = |verdict| self.outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
        let (passed, missed) = (count(Verdict::Pass), count(Verdict::Miss));
        let mut page = Page::here("mailrace's performance targets");
        page.sections.push(Section {
            heading: "Targets".into(),
            words: format!(
                "{passed} passed, {missed} missed, {} not measured. Medians over the rounds (min–max), ratios taken \
                 within each round. The tables below are of the runs these figures come from.",
                count(Verdict::NotMeasured)
            ),
            table: Some(self.table()),
            charts: Vec::new(),
        });
        for run in &self.runs {
            page.notes.extend(run.notes.iter().map(|note| format!("{}: {note}", run.title)));
            page.sections.extend(run.sections.iter().map(|section| Section {
                heading: format!("{}: {}", run.title, section.heading),
                charts: Vec::new(),
                ..section.clone()
            }));
        }
        page
    }

    /// A line a target; where it has several figures, each on a line of its own below it.
    fn table(&self) -> Table {
        let columns =
            ["row", "what", "verdict", "measured", "unit, or why not", "bound", "goal", "compared with"];
        let mut table = Table::new(&columns);
        for Outcome { target, verdict, parts } in &self.outcomes {
            let line = |words: Cell, measured: Cell, of: Cell| {
                vec![
                    target.how.number().to_string().into(),
                    words,
                    Cell::Verdict { verdict: *verdict },
                    measured,
                    of,
                    target.bound.into(),
                    target.goal.into(),
                    target.compared_with.into(),
                ]
            };
            match &parts[..] {
                [only] if only.name.is_empty() => {
                    table.row(line(target.what.into(), figure_of(only), only.words_with_goal().into()));
                }
                several => {
                    table.row(line(target.what.into(), "".into(), "".into()));
                    several.iter().for_each(|part| table.row(line_of(part)));
                }
            }
        }
        table
    }
}

fn figure_of(part: &Part) -> Cell {
    part.measured.map_or_else(|| "".into(), Cell::Figure)
}

/// The line of one figure among several.
fn line_of(part: &Part) -> Vec<Cell> {
    let verdict = part.verdict.map_or_else(|| "".into(), |verdict| Cell::Verdict { verdict });
    let name = format!("– {}", part.name);
    let nothing = || Cell::from("");
    vec![
        nothing(),
        name.into(),
        verdict,
        figure_of(part),
        part.words_with_goal().into(),
        nothing(),
        nothing(),
        nothing(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Spread;

    #[test]
    fn every_target_is_in_the_table_and_each_of_several_figures_below_it() {
        let rows = TARGETS.map(|target| target.how);
        let held = |name: &str, value| {
            Part::held(name, Some(Spread::of([value])), Limit::AtMost(1.7), "times the bare sink's")
        };
        let parts = [
            (How::PipelinedSync, held("64 connections", 1.6)),
            (How::PipelinedSync, held("512 connections", 1.8)),
        ];
        let page = TargetsReport::new(&rows, &parts, Vec::new()).page();
        assert_eq!(page.check(), Ok(()));
        let table = page.sections[0].table.as_ref().expect("a table");
        assert_eq!(table.rows.len(), TARGETS.len() + 2);
        let words = |index: usize| table.rows[index].iter().map(Cell::words).collect::<Vec<_>>();
        assert_eq!(words(0)[..4], ["1", TARGETS[0].what, "MISS", ""]);
        assert_eq!(words(1)[..5], ["", "– 64 connections", "pass", "1.60", "times the bare sink's"]);
        assert_eq!(words(2)[..4], ["", "– 512 connections", "MISS", "1.80"]);
        assert_eq!(words(3)[4], "its measurement gave no figure");
    }

    #[test]
    fn what_mailrace_fails_by_is_a_miss_and_what_the_machine_lacks_is_not() {
        let verdict = |error: &Error| {
            let found = Findings::failed(&[How::Age], error, Path::new("/mailrace"));
            let report = TargetsReport::new(&[How::Age], &found.parts, found.pages);
            assert!(report.outcomes[19].parts[0].words.contains("why"), "{report:?}");
            (report.outcomes[19].verdict, report.is_met())
        };
        let server = |program: &str| Error::Server {
            program: program.into(),
            reason: "why".into(),
            said: String::new(),
        };
        assert_eq!(verdict(&server("/mailrace")), (Verdict::Miss, false));
        assert_eq!(verdict(&server("/mailin")), (Verdict::NotMeasured, true));
        let missing = Error::Missing { program: "perf".into(), remedy: "why".into() };
        assert_eq!(verdict(&missing), (Verdict::NotMeasured, true));
        let system = Error::system("why", std::io::ErrorKind::NotFound);
        assert_eq!(verdict(&system), (Verdict::NotMeasured, true));
    }

    #[test]
    fn rows_that_were_not_asked_for_have_no_verdict() {
        let parts = [(How::Syncs, Part::held("", None, Limit::AtMost(1.0), ""))];
        let report = TargetsReport::new(&[How::Age], &parts, Vec::new());
        assert!(report.is_met());
        assert!(report.outcomes.iter().all(|outcome| outcome.verdict == Verdict::NotMeasured));
        assert_eq!(report.outcomes[12].parts[0].words, "not asked for");
    }
}
