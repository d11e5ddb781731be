//! Horizontal bars: names are read without turning one's head, and there may be many of them.

use super::axis::Ruler;
use super::element::{Element, element};
use super::figure::{Figure, number, with_unit};
use super::svg::{self, LETTER, Width, bar, drawing, line, width_of, words};
use super::{Axis, Bars, Cell, Table};

/// Height of a bar, of the room to the next one, and of a line of text.
const BAR: f64 = 16.0;
const BAR_PITCH: f64 = 19.0;
const TEXT_LINE: f64 = 15.0;
/// Room between categories, above the first and below the last.
const GAP: f64 = 10.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 40.0;
/// Room a heading over some categories takes.
const HEADING: f64 = 24.0;
/// What stands where a category has no figure.
const NO_FIGURE: &str = "not measured";

impl Bars {
    /// One row a category; one column of figures where colours only tell the categories apart.
    pub(super) fn table(&self) -> Table {
        let name = |name: &str| match name.is_empty() {
            true => self.axis.words(),
            false => format!("{name}: {}", self.axis.words()),
        };
        let figures = |index: usize| self.series.iter().map(move |s| s.values.get(index).copied().flatten());
        let is_single = (0..self.categories.len()).all(|index| figures(index).flatten().count() <= 1);
        let names: Vec<String> = match is_single {
            true => vec![self.axis.words()],
            false => self.series.iter().map(|series| name(&series.name)).collect(),
        };
        let cell = |figure: Option<Figure>| figure.map_or_else(|| Cell::from(NO_FIGURE), Cell::Figure);
        let rows = self.categories.iter().enumerate().map(|(index, category)| {
            let cells: Vec<Cell> = match is_single {
                true => vec![cell(figures(index).flatten().next())],
                false => figures(index).map(cell).collect(),
            };
            std::iter::once(Cell::from(category.as_str())).chain(cells).collect()
        });
        Table { columns: std::iter::once(String::new()).chain(names).collect(), rows: rows.collect() }
    }

    pub(super) fn legend(&self) -> Option<Element> {
        let names = self.series.iter().enumerate().map(|(index, series)| (index, series.name.as_str()));
        (self.series.len() > 1).then(|| svg::legend(names, false))
    }

    /// Values that cannot be drawn.
    pub(super) fn left_out(&self) -> usize {
        let ruler = self.ruler();
        let values = self.series.iter().flat_map(|series| series.values.iter().flatten());
        values.filter(|figure| !ruler.takes(figure.value)).count()
    }

    pub(super) fn svg(&self, width: Width) -> Element {
        let plan = Plan::new(self, width);
        let mut y = TOP;
        let mut drawn = Vec::new();
        for (index, category) in self.categories.iter().enumerate() {
            for group in self.groups.iter().filter(|group| group.first == index) {
                drawn.extend(plan.heading(&group.heading, y));
                y += HEADING;
            }
            let (lines, bars) = (plan.label(category), self.bars_of(index, &plan.ruler));
            let bars_height = bars.len().max(1) as f64 * BAR_PITCH;
            let text_height = lines.len() as f64 * TEXT_LINE;
            let bars_top = match width {
                Width::Narrow => y + text_height + 3.0,
                Width::Wide => y + ((text_height - bars_height) / 2.0).max(0.0),
            };
            let text_top = match width {
                Width::Narrow => y,
                Width::Wide => y + ((bars_height - text_height) / 2.0).max(0.0) - 1.0,
            };
            drawn.extend(plan.label_lines(lines, text_top));
            for (row, (colour, figure)) in bars.iter().enumerate() {
                drawn.extend(plan.bar(&self.axis, *colour, figure, bars_top + row as f64 * BAR_PITCH));
            }
            if bars.is_empty() {
                let at = (plan.left + 6.0, bars_top + BAR / 2.0 + 4.5);
                drawn.push(words("start", at, self.words_without_bar(index)).class("tick"));
            }
            y = (bars_top + bars_height).max(text_top + text_height) + GAP;
        }
        let bottom = y - GAP / 2.0;
        drawing(width, bottom + BOTTOM, &self.title).children(plan.scale(self, bottom)).children(drawn)
    }

    /// A figure that has no place on the axis, or that there is none.
    fn words_without_bar(&self, category: usize) -> String {
        let figures = self.series.iter().filter_map(|series| series.values.get(category).copied().flatten());
        let words: Vec<String> = figures.map(|figure| value_words(&self.axis, figure.value)).collect();
        if words.is_empty() { NO_FIGURE.into() } else { words.join(", ") }
    }

    fn ruler(&self) -> Ruler {
        let figures = self.series.iter().flat_map(|series| series.values.iter().flatten());
        Ruler::over(&self.axis, figures.flat_map(|figure| [figure.low(), figure.value, figure.high()]))
    }

    fn bars_of(&self, category: usize, ruler: &Ruler) -> Vec<(usize, Figure)> {
        let value = |(colour, series): (usize, &super::BarSeries)| {
            let figure = series.values.get(category).copied().flatten()?;
            ruler.takes(figure.value).then_some((colour, figure))
        };
        self.series.iter().enumerate().filter_map(value).collect()
    }
}

/// Where the bars begin and how far they may reach.
struct Plan {
    ruler: Ruler,
    width: Width,
    left: f64,
    right: f64,
    letters_max: usize,
}

impl Plan {
    fn new(bars: &Bars, width: Width) -> Self {
        let figures = bars.series.iter().flat_map(|series| series.values.iter().flatten());
        let value_width =
            figures.map(|figure| width_of(&value_words(&bars.axis, figure.value))).fold(20.0, f64::max)
                + 10.0;
        let names = bars.categories.iter().map(|name| width_of(name)).fold(0.0, f64::max);
        let left = match width {
            Width::Wide => names.clamp(40.0, 190.0) + 12.0,
            Width::Narrow => 8.0,
        };
        let letters = match width {
            Width::Wide => (left - 10.0) / LETTER,
            Width::Narrow => (width.pixels() - 10.0) / LETTER,
        };
        let right = width.pixels() - value_width.max(28.0);
        Self { ruler: bars.ruler(), width, left, right, letters_max: letters as usize }
    }

    fn x(&self, value: f64) -> f64 {
        self.left + (self.right - self.left) * self.ruler.place(value)
    }

    fn label(&self, category: &str) -> Vec<String> {
        svg::wrapped(category, self.letters_max)
    }

    /// The heading of a group, on paper of its own so that no line of the scale runs through it.
    fn heading(&self, heading: &str, top: f64) -> Vec<Element> {
        let lines = svg::wrapped(heading, ((self.width.pixels() - 10.0) / LETTER) as usize);
        let text = lines.into_iter().next().unwrap_or_default();
        let size = ((width_of(&text) + 8.0).min(self.width.pixels() - 2.0), TOP + HEADING - 5.0);
        let paper = element("rect").class("paper").at("x", 0.0).at("y", top - TOP);
        let paper = paper.at("width", size.0).at("height", size.1);
        vec![paper, words("start", (2.0, top + 15.0), text).class("group")]
    }

    fn label_lines(&self, lines: Vec<String>, top: f64) -> Vec<Element> {
        let (anchor, x) = match self.width {
            Width::Wide => ("end", self.left - 8.0),
            Width::Narrow => ("start", self.left + 4.0),
        };
        let line =
            |(index, text)| words(anchor, (x, top + 13.0 + index as f64 * TEXT_LINE), text).class("category");
        lines.into_iter().enumerate().map(line).collect()
    }

    /// The bar, the whisker between its ends, and its value behind both.
    fn bar(&self, axis: &Axis, colour: usize, figure: &Figure, top: f64) -> Vec<Element> {
        let (from, to) = (self.left, self.x(figure.value));
        let middle = top + BAR / 2.0;
        let mut drawn = vec![
            bar(colour, (from.min(to), top), ((to - from).abs().max(1.0), BAR))
                .child(element("title").text(figure.words())),
        ];
        let (low, high) = (self.x(figure.low()), self.x(figure.high()));
        if high - low > 1.0 {
            for (start, end) in [
                ((low, middle), (high, middle)),
                ((low, middle - 4.0), (low, middle + 4.0)),
                ((high, middle - 4.0), (high, middle + 4.0)),
            ] {
                drawn.push(line("halo", start, end));
                drawn.push(line("whisker", start, end));
            }
        }
        drawn.push(
            words("start", (to.max(high) + 6.0, middle + 4.5), value_words(axis, figure.value))
                .class("value"),
        );
        drawn
    }

    /// Lines and numbers of the axis, behind the bars.
    fn scale(&self, bars: &Bars, bottom: f64) -> Vec<Element> {
        let mut drawn = Vec::new();
        let mut free_from = f64::NEG_INFINITY;
        for (place, text) in self.ruler.ticks() {
            let x = self.left + (self.right - self.left) * place;
            drawn.push(line("grid", (x, 2.0), (x, bottom)));
            let half = width_of(&text) / 2.0;
            // The first number would reach over the edge of a phone.
            let centre = x.clamp(half, self.width.pixels() - half);
            if centre - half >= free_from {
                drawn.push(words("middle", (centre, bottom + 15.0), text).class("tick"));
                free_from = centre + half + 8.0;
            }
        }
        drawn.push(line("base", (self.left, 2.0), (self.left, bottom)));
        drawn.push(words("end", (self.right, bottom + 33.0), bars.axis.words_beside_ticks()).class("axis"));
        drawn
    }
}

/// A value as the ticks below it are written: with its unit where they carry theirs.
fn value_words(axis: &Axis, value: f64) -> String {
    if axis.has_unit_in_ticks() { with_unit(value, &axis.unit) } else { number(value) }
}
