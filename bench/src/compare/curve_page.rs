//! Curves as sections of a page: a table and charts each, a line for each server.

use super::curve_report::{CurvePoint, CurvesReport, PeerCurves};
use super::curves::{Curve, is_borne};
use super::doubt::{doubts, in_a_cell};
use super::page::{NOT_MEASURED, figure_cell};
use super::report::{Run, spread};
use crate::report::{Axis, Cell, Chart, LineSeries, Lines, Page, Point, Section, Table, with_unit};
use crate::stats::{Spread, thousands};

/// A figure of one run, as charts and tables take it.
type FigureOf = fn(&Run) -> Option<f64>;

impl CurvesReport {
    /// A page of the curves alone.
    pub fn page(&self) -> Page {
        let mut page = Page::here("SMTP servers along rate, size, connections and recipients");
        page.notes.push(format!(
            "Servers on cores {}, load on cores {}; {} s a run after {} s, median of {} interleaved rounds (min–max).",
            self.server_cores, self.load_cores, self.duration_s, self.warm_up_s, self.rounds,
        ));
        if !self.mailrace_arguments.is_empty() {
            page.notes.push(format!("Further arguments of serve: {}.", self.mailrace_arguments.join(" ")));
        }
        page.sections = self.sections();
        page
    }

    /// What stands on a terminal: the servers at a glance, and who is missing.
    pub fn brief(&self) -> Page {
        let mut page = self.page();
        page.sections.truncate(1);
        let missing = self.peers.iter().filter_map(|peer| Some((peer.peer.name, peer.missing.as_ref()?)));
        page.notes.extend(missing.map(|(name, reason)| format!("{name}: {NOT_MEASURED}: {reason}")));
        page
    }

    /// The best of each curve, one row a server.
    fn glance(&self) -> Section {
        let mut columns = vec!["server", "before its 250"];
        columns.extend(self.curves.iter().flat_map(|curve| best_columns(*curve)));
        columns.push("notes");
        let mut table = Table::new(&columns);
        for peer in &self.peers {
            let mut row = vec![Cell::from(peer.peer.name), Cell::from(peer.peer.keeps)];
            row.extend(self.curves.iter().flat_map(|curve| best(peer, *curve)));
            row.push(self.marks(peer).into());
            table.row(row);
        }
        let words = "A rate is kept up with when at least 97 % of what came due in the window was answered within it, in \
                     every round. Medians. The tables of the curves tell the notes in full.";
        let heading = "Along curves, at a glance".into();
        Section { heading, words: words.into(), table: Some(table), charts: Vec::new() }
    }

    /// What is in doubt, in a few words for each curve.
    fn marks(&self, peer: &PeerCurves) -> String {
        if peer.missing.is_some() {
            return "could not be had".into();
        }
        let of_curve = |figures: &super::curve_report::CurveFigures| {
            let points = figures.points.iter().flat_map(|point| doubts(&point.runs, &self.load_cores));
            (figures.curve.name(), points.collect())
        };
        in_a_cell(peer.curves.iter().map(of_curve))
    }

    /// The best of all, and a section a curve.
    pub(super) fn sections(&self) -> Vec<Section> {
        let curves = self.curves.iter().map(|curve| self.section(*curve));
        std::iter::once(self.glance()).chain(curves).collect()
    }

    fn section(&self, curve: Curve) -> Section {
        let connections = thousands(&self.connections.to_string());
        let (heading, words) = match curve {
            Curve::Rate => (
                "Latency against offered rate",
                format!(
                    "Open loop: 4 KiB messages come due at random (Poisson) at a fixed mean rate over {connections} kept \
                     connections, and each is timed from the moment it came due, so that a stall counts for all \
                     that waited. Rates are parts of what the server took in a closed loop, up to 1.2 times \
                     that and further while it still keeps up: past its knee, where the wait grows for as long as the \
                     run lasts."
                ),
            ),
            Curve::Size => (
                "Throughput against message size",
                format!(
                    "Closed loop, {connections} kept connections, fewer for large messages so that at most 16 MiB are in \
                     flight, yet no fewer than 4."
                ),
            ),
            Curve::Connections => (
                "Throughput and CPU against connections",
                "Closed loop, 4 KiB, connections kept, a message in flight on each.".into(),
            ),
            Curve::Recipients => (
                "CPU against recipients",
                format!(
                    "Closed loop, 4 KiB, {connections} kept connections, more recipients for each message."
                ),
            ),
        };
        let words = format!("{words} Pipelined where the server announces it. {APPLES}");
        Section { heading: heading.into(), words, table: Some(self.table(curve)), charts: self.charts(curve) }
    }

    fn table(&self, curve: Curve) -> Table {
        let mut table = Table::new(&[
            "server",
            "before its 250",
            x_axis(curve).0,
            "connections",
            "messages/s",
            "MB/s",
            "CPU (ms/1,000)",
            "p50 (ms)",
            "p99 (ms)",
            "p99.9 (ms)",
            "notes",
        ]);
        for peer in &self.peers {
            let figures = peer.along(curve).filter(|_| peer.missing.is_none());
            let points = figures.map_or(&[][..], |figures| &figures.points);
            for point in points {
                table.row(self.row(peer, curve, point));
            }
            let notes = figures.map(|figures| figures.notes.join("; ")).filter(|notes| !notes.is_empty());
            let reason = peer.missing.clone().or(notes);
            if points.is_empty() || reason.is_some() {
                let figure = if points.is_empty() { NOT_MEASURED } else { "" };
                let mut row = vec![peer.peer.name.into(), peer.peer.keeps.into(), Cell::from(figure)];
                row.resize(table.columns.len() - 1, Cell::from(figure));
                row.push(reason.unwrap_or_default().into());
                table.row(row);
            }
        }
        table
    }

    fn row(&self, peer: &PeerCurves, curve: Curve, point: &CurvePoint) -> Vec<Cell> {
        let cell = |figure: FigureOf| figure_cell(spread(&point.runs, figure));
        let (_, unit) = x_axis(curve);
        vec![
            peer.peer.name.into(),
            peer.peer.keeps.into(),
            with_unit(x_of(curve, point), unit).into(),
            thousands(&point.place.connections.to_string()).into(),
            cell(rate),
            cell(|run| Some(run.load.megabytes_per_s)),
            cell(Run::cpu),
            cell(|run| time(run, run.load.time_to_250_us.p50 / 1e3)),
            cell(|run| time(run, run.load.time_to_250_us.p99 / 1e3)),
            cell(|run| time(run, run.load.time_to_250_us.p999 / 1e3)),
            self.notes(point).join("; ").into(),
        ]
    }

    fn notes(&self, point: &CurvePoint) -> Vec<String> {
        let mut notes: Vec<String> = point.failed.iter().cloned().collect();
        notes.extend(doubts(&point.runs, &self.load_cores).into_iter().map(|doubt| doubt.words));
        let unsent: u64 = point.runs.iter().map(|run| run.load.unsent).sum();
        if unsent > 0 {
            let count = thousands(&unsent.to_string());
            notes.push(format!("{count} messages came due and were never sent; the times leave them out"));
        }
        let greeted = point.runs.iter().map(|run| run.load.greeting_us.count).min();
        if let Some(greeted) = greeted.filter(|greeted| *greeted < point.place.connections as u64) {
            notes.push(format!("{greeted} of its connections were greeted, the others waited"));
        }
        notes
    }

    fn charts(&self, curve: Curve) -> Vec<Chart> {
        let (label, unit) = x_axis(curve);
        let chart = |title: &str, y: Axis, figure: FigureOf| {
            let x = Axis::logarithmic(label, unit);
            Chart::Lines(Lines { title: title.into(), x, y, series: self.series(curve, figure) })
        };
        let latency = |words: &str| Axis::logarithmic(&format!("time to 250, {words}"), "µs");
        let throughput = || Axis::logarithmic("throughput", "messages/s");
        let cpu = || Axis::logarithmic("server CPU", "ms/1,000 messages");
        match curve {
            Curve::Rate => vec![
                chart("Time to 250, median", latency("p50"), |r| time(r, r.load.time_to_250_us.p50)),
                chart("Time to 250, p99", latency("p99"), |r| time(r, r.load.time_to_250_us.p99)),
                chart("Time to 250, p99.9", latency("p99.9"), |r| time(r, r.load.time_to_250_us.p999)),
            ],
            Curve::Size => vec![
                chart("Messages by size", throughput(), rate),
                chart("Octets by size", Axis::logarithmic("throughput", "MB/s"), |run| {
                    Some(run.load.megabytes_per_s)
                }),
                chart("Server CPU by size", cpu(), Run::cpu),
            ],
            Curve::Connections => vec![
                chart("Throughput by connections", throughput(), rate),
                chart("Server CPU by connections", cpu(), Run::cpu),
                chart("Time to 250, p99", latency("p99"), |r| time(r, r.load.time_to_250_us.p99)),
            ],
            Curve::Recipients => vec![
                chart("Server CPU by recipients", cpu(), Run::cpu),
                chart("Throughput by recipients", throughput(), rate),
            ],
        }
    }

    /// A curve for each server that has any point.
    fn series(&self, curve: Curve, figure: FigureOf) -> Vec<LineSeries> {
        let of = |peer: &PeerCurves| {
            let points = &peer.along(curve)?.points;
            let point = |point: &CurvePoint| {
                let y = spread(&point.runs, figure)?;
                Some(Point { x: x_of(curve, point), y: Spread::into(y) })
            };
            let points: Vec<Point> = points.iter().filter_map(point).collect();
            let name = format!("{}: {}", peer.peer.name, peer.peer.keeps);
            (!points.is_empty()).then_some(LineSeries { name, points })
        };
        self.peers.iter().filter(|peer| peer.missing.is_none()).filter_map(of).collect()
    }
}

/// The place of a curve where `merit` is greatest, the last of equals; nothing where no place has any.
fn best_point(peer: &PeerCurves, curve: Curve, merit: impl Fn(&[Run]) -> Option<f64>) -> Option<&CurvePoint> {
    let figures = peer.along(curve).filter(|_| peer.missing.is_none())?;
    let points = figures.points.iter().filter(|point| !point.runs.is_empty());
    let merits = points.filter_map(|point| Some((point, merit(&point.runs)?)));
    merits.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(point, _)| point)
}

/// The headings over [`best`].
fn best_columns(curve: Curve) -> [&'static str; 2] {
    match curve {
        Curve::Rate => ["highest rate kept up with (messages/s)", "p99 there (ms)"],
        Curve::Size => ["most MB/s", "at a size of"],
        Curve::Connections => ["most messages/s", "at connections"],
        Curve::Recipients => ["CPU (ms/1,000), 1 recipient", "with the most"],
    }
}

/// What a curve comes to, in two cells.
fn best(peer: &PeerCurves, curve: Curve) -> [Cell; 2] {
    let median = |runs: &[Run], figure: FigureOf| spread(runs, figure).map(|spread| spread.median);
    let cell =
        |value: Option<f64>| value.map_or_else(|| NOT_MEASURED.into(), |value| Cell::Figure(value.into()));
    let greatest = |figure: FigureOf| {
        let point = best_point(peer, curve, |runs| median(runs, figure));
        let place = point.map(|point| with_unit(x_of(curve, point), x_axis(curve).1));
        let value = point.and_then(|point| median(&point.runs, figure));
        [cell(value), place.map_or_else(|| NOT_MEASURED.into(), Cell::from)]
    };
    match curve {
        Curve::Rate => {
            let point = best_point(peer, curve, |runs| runs.iter().all(is_borne).then_some(1.0));
            let p99 = |run: &Run| time(run, run.load.time_to_250_us.p99 / 1e3);
            let p99 = point.and_then(|point| median(&point.runs, p99));
            [cell(point.and_then(|point| point.place.offered_rate)), cell(p99)]
        }
        Curve::Size => greatest(|run| Some(run.load.megabytes_per_s)),
        Curve::Connections => greatest(rate),
        Curve::Recipients => {
            let figures = peer.along(curve).filter(|_| peer.missing.is_none());
            let ends = [figures.and_then(|f| f.points.first()), figures.and_then(|f| f.points.last())];
            ends.map(|point| cell(point.and_then(|point| median(&point.runs, Run::cpu))))
        }
    }
}

/// A reminder where servers that do different work stand in one picture.
const APPLES: &str = "What each server does with a message before its 250 stands beside its name.";

/// The quantity that is varied, and its unit.
fn x_axis(curve: Curve) -> (&'static str, &'static str) {
    match curve {
        Curve::Rate => ("offered (messages/s)", ""),
        Curve::Size => ("size", "B"),
        Curve::Connections => ("connections at once", ""),
        Curve::Recipients => ("recipients", ""),
    }
}

fn x_of(curve: Curve, point: &CurvePoint) -> f64 {
    match curve {
        Curve::Rate => point.place.offered_rate.unwrap_or(0.0),
        Curve::Size => point.place.size as f64,
        Curve::Connections => point.place.connections as f64,
        Curve::Recipients => f64::from(point.place.recipients),
    }
}

fn rate(run: &Run) -> Option<f64> {
    Some(run.load.rate)
}

/// A time, unless no message was answered in the window: there is none then.
fn time(run: &Run, time: f64) -> Option<f64> {
    (run.load.time_to_250_us.count > 0).then_some(time)
}
