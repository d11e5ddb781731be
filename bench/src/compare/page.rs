//! A comparison as a page: all servers at a glance, a table and charts for each shape, what each server is.

use super::counting::{self, Counts, PACE};
use super::keeping::Line;
use super::report::{CompareReport, PeerFigures, Run, doubts, spread};
use super::shape::Shape;
use crate::report::{Axis, Bars, Cell, Chart, Page, Section, Table};
use crate::stats::{Spread, thousands};

/// What stands in a cell without a figure.
pub(super) const NOT_MEASURED: &str = "NOT MEASURED";
/// The server rates are held against: this program's own, on epoll, which keeps nothing.
const NULL_SERVER: &str = "sink";

/// A figure of one run, as charts and tables take it.
type FigureOf = fn(&Run) -> Option<f64>;

impl CompareReport {
    /// The tables and charts, for a terminal or a reader.
    pub fn page(&self) -> Page {
        let mut page = Page::here("mailrace beside other SMTP servers");
        page.notes = self.notes();
        page.sections.push(self.glance());
        page.sections.extend(self.loaded_shapes().map(|shape| self.shape_section(shape)));
        page.sections.push(self.work_section());
        page.sections.push(self.server_section());
        page.sections.extend(self.curves.iter().flat_map(|curves| curves.sections()));
        page
    }

    /// What stands on a terminal: all servers at a glance, and who is missing.
    pub fn brief(&self) -> Page {
        let mut page = Page { notes: Vec::new(), ..self.page() };
        page.sections.truncate(1);
        let missing =
            self.peers.iter().filter_map(|figures| Some((figures.peer.name, figures.missing.as_ref()?)));
        page.notes.extend(missing.map(|(name, reason)| format!("{name}: {NOT_MEASURED}: {reason}")));
        page
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            format!(
                "The same load for all, {} connections (16 for 1 MiB), each with one message in flight; servers on cores \
                 {}, load on cores {}; {} s a run after {} s, median of {} interleaved rounds (min–max).",
                thousands(&self.connections.to_string()),
                self.server_cores,
                self.load_cores,
                self.duration_s,
                self.warm_up_s,
                self.rounds,
            ),
            "Servers do different work for their 250, and what each does stands beside its name: one that keeps nothing \
             is no rival of one that has the message on disk. Charts put together those that do as much. No delivery \
             runs beside the measurement."
                .into(),
        ];
        notes.push(self.following());
        if !self.mailrace_arguments.is_empty() {
            notes.push(format!(
                "Further arguments of mailrace's serve: {}.",
                self.mailrace_arguments.join(" ")
            ));
        }
        notes
    }

    /// Which way processor time and system calls were taken.
    fn following(&self) -> String {
        match &self.no_groups {
            None => {
                "Processor time and system calls are those of a control group of each server's own.".into()
            }
            Some(reason) => format!(
                "Processor time and system calls are those of each server's tree of processes, which misses sessions \
                 that end unseen, since {reason}."
            ),
        }
    }

    fn loaded_shapes(&self) -> impl Iterator<Item = Shape> {
        self.shapes.iter().copied().filter(|shape| *shape != Shape::Idle)
    }

    /// One row a server, medians only.
    fn glance(&self) -> Section {
        let shapes: Vec<Shape> = self.loaded_shapes().collect();
        let mut columns = vec!["server".to_owned(), "before its 250".to_owned()];
        columns.extend(shapes.iter().map(|shape| format!("messages/s: {}", shape.short())));
        let first = shapes.first().copied();
        if let Some(first) = first {
            columns.push(format!("CPU (ms/1,000): {}", first.short()));
            columns.push(format!("p99 (ms): {}", first.short()));
        }
        columns.extend(["system calls/message", "syncs/message", "KiB/idle connection"].map(String::from));
        let mut table = Table { columns, rows: Vec::new() };
        for figures in &self.peers {
            let mut row = vec![Cell::from(figures.peer.name), Cell::from(figures.peer.keeps)];
            row.extend(shapes.iter().map(|shape| median_cell(figures.of(*shape, rate))));
            if let Some(first) = first {
                row.push(median_cell(figures.of(first, Run::cpu)));
                row.push(median_cell(figures.of(first, p99)));
            }
            row.push(median_cell(figures.counted(|counts| counts.syscalls)));
            row.push(median_cell(figures.counted(Counts::syncs)));
            row.push(median_cell(figures.idle()));
            table.row(row);
        }
        let words =
            "Medians. The page has the ends they varied between, and the reasons for what is missing.";
        Section { heading: "At a glance".into(), words: words.into(), table: Some(table), charts: Vec::new() }
    }

    fn shape_section(&self, shape: Shape) -> Section {
        let words = format!(
            "“Times {NULL_SERVER}” is the rate by that of {NULL_SERVER} in the same rounds: this program's own null \
             server, which reads with epoll, keeps nothing and looks only for the end of the data. It is no ceiling of \
             the machine: mailrace-bench ceiling measures those. CPU is the server's, all its processes; the load's \
             own stands beside it."
        );
        let charts = vec![
            self.bars(shape, "Throughput: more is better", Axis::linear("throughput", "messages/s"), rate),
            self.bars(
                shape,
                "Server CPU: less is better",
                Axis::linear("CPU", "ms/1,000 messages"),
                Run::cpu,
            ),
            self.bars(shape, "Time to 250, median: less is better", latency("p50"), |run| {
                time(run, run.load.time_to_250_us.p50)
            }),
            self.bars(shape, "Time to 250, p99: less is better", latency("p99"), |run| {
                time(run, run.load.time_to_250_us.p99)
            }),
        ];
        Section { heading: shape.title().into(), words, table: Some(self.shape_table(shape)), charts }
    }

    fn shape_table(&self, shape: Shape) -> Table {
        let mut table = Table::new(&[
            "server",
            "before its 250",
            "messages/s",
            "times sink",
            "MB/s",
            "CPU (ms/1,000)",
            "cores",
            "p50 (ms)",
            "p99 (ms)",
            "load CPU (ms/1,000)",
            "notes",
        ]);
        let null = self.peers.iter().find(|figures| figures.peer.name == NULL_SERVER);
        for figures in &self.peers {
            let cell = |figure: FigureOf| figure_cell(figures.of(shape, figure));
            let notes = doubts(figures.runs_of(shape), &self.load_cores);
            let notes = figures.missing.iter().cloned().chain(notes).collect::<Vec<_>>();
            table.row(vec![
                figures.peer.name.into(),
                figures.peer.keeps.into(),
                cell(rate),
                figure_cell(null.and_then(|null| figures.rate_to(null, shape))),
                cell(|run| Some(run.load.megabytes_per_s)),
                cell(Run::cpu),
                median_cell(figures.of(shape, |run| run.cpu().map(|_| run.cores_busy))),
                cell(|run| time(run, run.load.time_to_250_us.p50 / 1e3)),
                cell(p99),
                median_cell(figures.of(shape, |run| Some(run.load.load.cpu_us_per_message))),
                notes.join("; ").into(),
            ]);
        }
        table
    }

    /// What a message costs a server, seen from outside.
    fn work_section(&self) -> Section {
        let words = format!(
            "Counted by perf at {} messages/s of 4 KiB over {} reused sessions in lockstep, background work included: far \
             below what any server can do, so each does the same work for a message as it would alone. Syncs are those \
             the kernel saw, by system call, synchronous write or io_uring. Memory is what {} idle connections after \
             EHLO add to the first 20.",
            PACE.rate,
            PACE.sessions,
            thousands(&self.idle_connections.to_string()),
        );
        let mut table = Table::new(&[
            "server",
            "before its 250",
            "system calls/message",
            "syncs/message",
            "io_uring operations/message",
            "KiB/idle connection",
            "notes",
        ]);
        for figures in &self.peers {
            let notes = figures.missing.iter().chain(&figures.notes).cloned().collect::<Vec<_>>();
            table.row(vec![
                figures.peer.name.into(),
                figures.peer.keeps.into(),
                figure_cell(figures.counted(|counts| counts.syscalls)),
                figure_cell(figures.counted(Counts::syncs)),
                figure_cell(figures.counted(|counts| counts.uring_operations)),
                figure_cell(figures.idle()),
                notes.join("; ").into(),
            ]);
        }
        let mut charts = vec![self.chart(
            "System calls for a message: less is better",
            Axis::linear("system calls", "per message"),
            |figures| figures.counted(|counts| counts.syscalls),
        )];
        if self.shapes.contains(&Shape::Idle) {
            let axis = Axis::linear("user memory", "KiB/connection");
            charts.push(self.chart("Memory of an idle connection: less is better", axis, PeerFigures::idle));
        }
        let heading = "What a message and a connection cost".into();
        Section { heading, words, table: Some(table), charts }
    }

    fn server_section(&self) -> Section {
        let mut table = Table::new(&["server", "version", "configuration", "before its 250"]);
        for figures in &self.peers {
            let version = match &figures.missing {
                Some(reason) => format!("{NOT_MEASURED}: {reason}"),
                None => figures.version.clone(),
            };
            let peer = &figures.peer;
            table.row(vec![peer.name.into(), version.into(), peer.configuration.into(), peer.keeps.into()]);
        }
        let words = "Their whole configuration stands in bench/peers, a folder for each.".into();
        Section { heading: "The servers".into(), words, table: Some(table), charts: Vec::new() }
    }

    fn bars(&self, shape: Shape, title: &str, axis: Axis, figure: FigureOf) -> Chart {
        self.chart(title, axis, |figures| figures.of(shape, figure))
    }

    fn chart(&self, title: &str, axis: Axis, figure: impl Fn(&PeerFigures) -> Option<Spread>) -> Chart {
        let line = Line::up(self.peers.iter().map(|figures| (&figures.peer, figures)));
        Chart::Bars(Bars {
            title: title.into(),
            axis,
            categories: line.categories(),
            series: line.series(|figures| figure(figures).map(Spread::into)),
            groups: line.groups(),
        })
    }
}

impl PeerFigures {
    /// One figure of one shape; nothing where it is missing.
    fn of(&self, shape: Shape, figure: FigureOf) -> Option<Spread> {
        spread(self.runs_of(shape), figure).filter(|_| self.missing.is_none())
    }

    fn counted(&self, figure: fn(&Counts) -> Option<f64>) -> Option<Spread> {
        counting::spread(&self.counts, figure).filter(|_| self.missing.is_none())
    }

    fn idle(&self) -> Option<Spread> {
        let kib = (!self.idle_kib.is_empty()).then(|| Spread::of(self.idle_kib.iter().copied()));
        kib.filter(|_| self.missing.is_none())
    }
}

fn rate(run: &Run) -> Option<f64> {
    Some(run.load.rate)
}

fn p99(run: &Run) -> Option<f64> {
    time(run, run.load.time_to_250_us.p99 / 1e3)
}

/// A time, unless no message was answered in the window: there is none then.
fn time(run: &Run, time: f64) -> Option<f64> {
    (run.load.time_to_250_us.count > 0).then_some(time)
}

fn latency(words: &str) -> Axis {
    Axis::logarithmic(&format!("time to 250, {words}"), "µs")
}

/// A figure with its ends, or that there is none.
pub(super) fn figure_cell(spread: Option<Spread>) -> Cell {
    spread.map_or_else(|| Cell::from(NOT_MEASURED), Cell::from)
}

/// A figure without its ends, or that there is none.
fn median_cell(spread: Option<Spread>) -> Cell {
    spread.map_or_else(|| Cell::from(NOT_MEASURED), |spread| Cell::Figure(spread.median.into()))
}
