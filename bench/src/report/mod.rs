//! A report for people: words, tables and charts of any benchmark, as JSON, as Markdown and as one HTML page.
//!
//! ```text
//! a benchmark's result -> Page -> JSON      kept, and joined with others later
//!                              -> markdown  a terminal, a README
//!                              -> html      one file with its style and charts in it: no script, no other file
//! ```
//! Nothing here knows any particular benchmark: each converts its own result. Rendering is total and repeatable:
//! the same page gives the same octets, and what cannot be drawn is left out and said to be. Every text of a page
//! may be hostile; it is escaped where it is written out.

mod axis;
mod bars;
mod element;
mod figure;
mod html;
mod lines;
mod markdown;
mod svg;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::{self, Host};

pub use figure::Figure;
pub(crate) use figure::with_unit;
pub use html::html;
pub use markdown::markdown;

/// The report of one run of one benchmark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// What was measured, in a few words.
    pub title: String,
    /// The machine, without its name: processor, cores, memory, kernel.
    pub host: String,
    /// When the measurement began, UTC.
    pub date: String,
    /// The command that measured it.
    pub command: String,
    /// How it was measured and what to know before believing it, a paragraph each.
    pub notes: Vec<String>,
    /// The figures.
    pub sections: Vec<Section>,
}

/// One topic of a page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// Its name.
    pub heading: String,
    /// What stands in it, in a sentence or two; may be empty.
    pub words: String,
    /// Its figures, if they are to be read one by one.
    pub table: Option<Table>,
    /// Its figures as pictures.
    pub charts: Vec<Chart>,
}

/// Rows of cells under a heading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The heading, units included, as in `time to 250, p50 (µs)`.
    pub columns: Vec<String>,
    /// Each fills the heading.
    pub rows: Vec<Vec<Cell>>,
}

/// One cell of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// A number, with the ends it varied between; its unit stands in the heading.
    Figure(Figure),
    /// Whether a bound was kept.
    Verdict {
        /// How it came out.
        verdict: Verdict,
    },
    /// Words.
    Text(String),
}

/// How a figure stands to its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The bound was kept.
    Pass,
    /// The bound was missed.
    Miss,
    /// There is no figure yet.
    NotMeasured,
}

/// A picture of figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chart {
    /// A bar for each thing compared.
    Bars(Bars),
    /// One figure against another.
    Lines(Lines),
}

/// Bars side by side, such as servers by processor time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bars {
    /// What the picture shows.
    pub title: String,
    /// What the bars' lengths mean.
    pub axis: Axis,
    /// The things compared, from top to bottom.
    pub categories: Vec<String>,
    /// A colour each. One alone needs no name.
    pub series: Vec<BarSeries>,
    /// Headings over stretches of the categories, from top to bottom; may be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<BarGroup>,
}

/// What a stretch of categories has in common; it ends where the next begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarGroup {
    /// Its heading.
    pub heading: String,
    /// The index of its first category.
    pub first: usize,
}

/// The bars of one colour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BarSeries {
    /// Its name in the legend.
    pub name: String,
    /// A figure for each category; a category takes only the room of the bars it has.
    pub values: Vec<Option<Figure>>,
}

/// Curves through points, such as latency against offered rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lines {
    /// What the picture shows.
    pub title: String,
    /// The quantity that was set.
    pub x: Axis,
    /// The quantity that was measured.
    pub y: Axis,
    /// The curves.
    pub series: Vec<LineSeries>,
}

/// One curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineSeries {
    /// Its name in the legend.
    pub name: String,
    /// Joined in this order.
    pub points: Vec<Point>,
}

/// One measured place of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// What was set.
    pub x: f64,
    /// What was measured, with the ends it varied between.
    pub y: Figure,
}

/// One direction of a chart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// The quantity, such as `time to 250, p99`.
    pub label: String,
    /// Its unit, or nothing. `µs` and `B` are shown as ms, s, KiB, MiB where that reads better.
    pub unit: String,
    /// How values become lengths.
    pub scale: Scale,
}

/// How values become lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// In proportion, from 0 on.
    Linear,
    /// Equal factors are equal lengths. Values of 0 and below have no place on it.
    Logarithmic,
}

impl Page {
    /// A page about this machine and the command this program was started with, both as they were when it began.
    pub fn here(title: impl Into<String>) -> Self {
        let start = host::at_start();
        Self {
            title: title.into(),
            host: host_in_words(&start.host),
            date: start.date.clone(),
            command: command_of(std::env::args()),
            notes: Vec::new(),
            sections: Vec::new(),
        }
    }

    /// Reads a page saved as JSON, by itself or as the `page` of a result.
    ///
    /// # Errors
    /// When the file cannot be read, holds no page, or one whose tables do not fit their headings.
    pub fn read(path: &Path) -> Result<Self> {
        let attempt = || format!("read a page from {}", path.display());
        let invalid = |reason: String| {
            Error::system(attempt(), std::io::Error::new(std::io::ErrorKind::InvalidData, reason))
        };
        let text = std::fs::read(path).map_err(|e| Error::system(attempt(), e))?;
        let mut json: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| Error::system(attempt(), std::io::Error::from(e)))?;
        if let Some(page) = json.get_mut("page") {
            json = page.take();
        }
        let page: Self = serde_json::from_value(json)
            .map_err(|e| invalid(format!("{e}; write it with a benchmark's --json")))?;
        page.check().map_err(invalid)?;
        Ok(page)
    }

    /// Whether every row fills its table and every series of bars its categories.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> std::result::Result<(), String> {
        for section in &self.sections {
            let rows = section.table.iter().flat_map(|table| &table.rows);
            let width = section.table.as_ref().map_or(0, |table| table.columns.len());
            if let Some((index, row)) = rows.enumerate().find(|(_, row)| row.len() != width) {
                let (heading, number, cells) = (&section.heading, index + 1, row.len());
                return Err(format!("{heading}: row {number} has {cells} cells under {width} headings"));
            }
            for chart in &section.charts {
                chart.check()?;
            }
        }
        Ok(())
    }
}

impl Chart {
    /// What the picture shows.
    pub fn title(&self) -> &str {
        match self {
            Self::Bars(bars) => &bars.title,
            Self::Lines(lines) => &lines.title,
        }
    }

    /// The figures it is drawn from.
    pub fn table(&self) -> Table {
        match self {
            Self::Bars(bars) => bars.table(),
            Self::Lines(lines) => lines.table(),
        }
    }

    fn check(&self) -> std::result::Result<(), String> {
        let Self::Bars(bars) = self else { return Ok(()) };
        let count = bars.categories.len();
        if let Some(group) = bars.groups.iter().find(|group| group.first >= count) {
            let (title, heading) = (&bars.title, &group.heading);
            return Err(format!("{title}: {heading} begins behind the last of {count} bars"));
        }
        match bars.series.iter().find(|series| series.values.len() != count) {
            None => Ok(()),
            Some(series) => {
                let (title, name, values) = (&bars.title, &series.name, series.values.len());
                Err(format!("{title}: {name} has {values} values for {count} bars"))
            }
        }
    }
}

impl Table {
    /// A table with this heading and no rows.
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When it has more or fewer cells than the heading.
    pub fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.columns.len(), "a row must fill its table");
        self.rows.push(cells);
    }
}

impl Cell {
    /// The cell in words, the same in every rendering.
    pub fn words(&self) -> String {
        match self {
            Self::Figure(figure) => figure.words(),
            Self::Verdict { verdict } => verdict.words().to_owned(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

impl Verdict {
    /// As a table shows it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Miss => "MISS",
            Self::NotMeasured => "NOT MEASURED",
        }
    }
}

impl Axis {
    /// An axis in proportion.
    pub fn linear(label: &str, unit: &str) -> Self {
        Self { label: label.into(), unit: unit.into(), scale: Scale::Linear }
    }

    /// An axis of factors.
    pub fn logarithmic(label: &str, unit: &str) -> Self {
        Self { label: label.into(), unit: unit.into(), scale: Scale::Logarithmic }
    }

    /// Label, and the unit where the numbers beside the axis do not carry their own.
    fn words_beside_ticks(&self) -> String {
        if self.has_unit_in_ticks() { self.label.clone() } else { self.words() }
    }

    /// Whether each number beside the axis carries its own unit.
    fn has_unit_in_ticks(&self) -> bool {
        matches!(self.unit.as_str(), "µs" | "us" | "B")
    }

    /// Label and unit.
    fn words(&self) -> String {
        if self.unit.is_empty() { self.label.clone() } else { format!("{} ({})", self.label, self.unit) }
    }
}

/// A machine without its name, which is nobody's business.
fn host_in_words(host: &Host) -> String {
    let Host { processor, core_count, memory_mib, kernel, load_average, .. } = host;
    let gib = (*memory_mib as f64 / 1024.0).round();
    let cores = if *core_count == 1 { "core" } else { "cores" };
    format!(
        "{processor}, {core_count} {cores}, {gib} GiB, Linux {kernel}; load average before {load_average}"
    )
}

/// A command line as a shell would take it, its program without directories.
fn command_of(mut arguments: impl Iterator<Item = String>) -> String {
    let program = arguments.next().unwrap_or_default();
    let name = Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    let quoted = |word: String| match !word.is_empty() && word.chars().all(is_plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    name.into_iter().chain(arguments).map(quoted).collect::<Vec<_>>().join(" ")
}

/// Whether `c` is a control character, or turns the order of the text around it: no reader sees it.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_typed_again() {
        let words = ["/opt/mailrace-bench", "quick", "--json", "a b's.json", ""].map(String::from);
        assert_eq!(command_of(words.into_iter()), r"mailrace-bench quick --json 'a b'\''s.json' ''");
    }
}
