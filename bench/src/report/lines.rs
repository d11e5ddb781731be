//! Curves through measured points.

use super::axis::Ruler;
use super::element::{Element, coordinate, element};
use super::figure::with_unit;
use super::svg::{self, COLOURS, Width, drawing, line, marker, width_of, words};
use super::{Cell, LineSeries, Lines, Point, Table};

/// Room above the drawing for the name of its upward axis, below it for the other's numbers and name.
const TOP: f64 = 28.0;
const BOTTOM: f64 = 40.0;
/// Room at the right end, for half of the last number.
const RIGHT: f64 = 22.0;

impl Lines {
    /// One row a point.
    pub(super) fn table(&self) -> Table {
        let rows = self.series.iter().flat_map(|series| {
            let row = |point: &Point| {
                let x = with_unit(point.x, &self.x.unit);
                vec![Cell::from(series.name.as_str()), Cell::from(x), Cell::Figure(point.y)]
            };
            series.points.iter().map(row)
        });
        let x = self.x.words_beside_ticks();
        Table { columns: vec![String::new(), x, self.y.words()], rows: rows.collect() }
    }

    pub(super) fn legend(&self) -> Option<Element> {
        let names = self.series.iter().enumerate().map(|(index, series)| (index, series.name.as_str()));
        (self.series.len() > 1).then(|| svg::legend(names, true))
    }

    /// Points that cannot be drawn.
    pub(super) fn left_out(&self) -> usize {
        let plan = Plan::new(self, Width::Wide);
        let points = self.series.iter().flat_map(|series| &series.points);
        points.filter(|point| !plan.takes(point)).count()
    }

    pub(super) fn svg(&self, width: Width) -> Element {
        let plan = Plan::new(self, width);
        let curves =
            self.series.iter().enumerate().flat_map(|(index, series)| plan.curve(self, index, series));
        drawing(width, plan.bottom + BOTTOM, &self.title).children(plan.scales(self)).children(curves)
    }
}

/// Where the drawing lies.
struct Plan {
    x: Ruler,
    y: Ruler,
    width: Width,
    left: f64,
    right: f64,
    bottom: f64,
}

impl Plan {
    fn new(lines: &Lines, width: Width) -> Self {
        let points = || lines.series.iter().flat_map(|series| &series.points);
        let x = Ruler::over(&lines.x, points().map(|point| point.x));
        let y = Ruler::over(&lines.y, points().flat_map(|p| [p.y.low(), p.y.value, p.y.high()]));
        let numbers = y.ticks().iter().map(|(_, text)| width_of(text)).fold(0.0, f64::max);
        let height = if width == Width::Wide { 250.0 } else { 220.0 };
        Self { x, y, width, left: numbers + 15.0, right: width.pixels() - RIGHT, bottom: TOP + height }
    }

    fn takes(&self, point: &Point) -> bool {
        self.x.takes(point.x) && self.y.takes(point.y.value)
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let along = self.left + (self.right - self.left) * self.x.place(x);
        // A low end of 0 has no place on an axis of factors: its whisker reaches to the ground.
        let up = if self.y.takes(y) { self.y.place(y) } else { 0.0 };
        (along, self.bottom - (self.bottom - TOP) * up)
    }

    fn curve(&self, lines: &Lines, index: usize, series: &LineSeries) -> Vec<Element> {
        let points: Vec<&Point> = series.points.iter().filter(|point| self.takes(point)).collect();
        let places = points.iter().map(|point| self.at(point.x, point.y.value));
        let path = places.map(|(x, y)| format!("{},{}", coordinate(x), coordinate(y)));
        let path = path.collect::<Vec<_>>().join(" ");
        let class = format!("curve c{} d{}", index % COLOURS, svg::shape_of(index));
        let mut drawn = vec![element("polyline").class(class).attribute("points", path)];
        for point in points {
            let (low, high) = (self.at(point.x, point.y.low()), self.at(point.x, point.y.high()));
            if low.1 - high.1 > 1.0 {
                let caps = [low, high].map(|(x, y)| ((x - 4.0, y), (x + 4.0, y)));
                let class = format!("range c{}", index % COLOURS);
                drawn.extend([(low, high), caps[0], caps[1]].map(|(from, to)| line(&class, from, to)));
            }
            let (x, y) = (with_unit(point.x, &lines.x.unit), point.y.words());
            let says = format!("{}: {} at {} {x}", series.name, y, lines.x.label);
            drawn.push(marker(index, self.at(point.x, point.y.value)).child(element("title").text(says)));
        }
        drawn
    }

    fn scales(&self, lines: &Lines) -> Vec<Element> {
        let mut drawn = vec![words("start", (2.0, 13.0), lines.y.words_beside_ticks()).class("axis")];
        let mut free_below = f64::INFINITY;
        for (place, text) in self.y.ticks() {
            let y = self.bottom - (self.bottom - TOP) * place;
            drawn.push(line("grid", (self.left, y), (self.right, y)));
            if y + 7.0 <= free_below {
                drawn.push(words("end", (self.left - 9.0, y + 4.0), text).class("tick"));
                free_below = y - 7.0;
            }
        }
        let mut free_from = f64::NEG_INFINITY;
        for (place, text) in self.x.ticks() {
            let x = self.left + (self.right - self.left) * place;
            let half = width_of(&text) / 2.0;
            let centre = x.min(self.width.pixels() - half);
            if centre - half >= free_from {
                drawn.push(line("grid", (x, TOP), (x, self.bottom)));
                drawn.push(words("middle", (centre, self.bottom + 16.0), text).class("tick"));
                free_from = centre + half + 8.0;
            }
        }
        drawn.push(line("base", (self.left, self.bottom), (self.right, self.bottom)));
        drawn
            .push(words("end", (self.right, self.bottom + 34.0), lines.x.words_beside_ticks()).class("axis"));
        drawn
    }
}
