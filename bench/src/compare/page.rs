//! A comparison as a page: all servers at a glance, a table and charts for each shape, what each server is.

use super::catalogue::Start;
use super::counting::{self, Counts, PACE};
use super::doubt::{doubts, in_a_cell, lacking};
use super::keeping::Line;
use super::report::{CompareReport, PeerFigures, Run, spread};
use super::shape::Shape;
use crate::ceiling::share::Shares;
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
        page.sections.push(self.ceiling_section());
        page.sections.push(self.work_section());
        page.sections.push(self.server_section());
        page.sections.extend(self.curves.iter().flat_map(|curves| curves.sections()));
        page
    }

    /// What stands on a terminal: all servers at a glance, how they were measured, and who is missing.
    pub fn brief(&self) -> Page {
        let mut page = self.page();
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
        columns.extend(["system calls/message", "syncs/message"].map(String::from));
        let has_idle = self.shapes.contains(&Shape::Idle);
        columns.extend(has_idle.then(|| "KiB/idle connection".to_owned()));
        columns.push("notes".into());
        let mut table = Table { columns, rows: Vec::new() };
        for figures in &self.peers {
            let marks = self.marks(figures);
            let star = if marks.is_empty() { "" } else { " *" };
            let name = format!("{}{star}", figures.peer.name);
            let mut row = vec![Cell::from(name), Cell::from(figures.peer.keeps)];
            row.extend(shapes.iter().map(|shape| median_cell(figures.of(*shape, rate))));
            if let Some(first) = first {
                row.push(median_cell(figures.of(first, Run::cpu)));
                row.push(median_cell(figures.of(first, p99)));
            }
            row.push(median_cell(figures.counted(|counts| counts.syscalls)));
            row.push(median_cell(figures.counted(Counts::syncs)));
            row.extend(has_idle.then(|| median_cell(figures.idle())));
            row.push(marks.into());
            table.row(row);
        }
        let words = "Medians. A star: see the notes behind the figures. The page has the ends they varied between, the \
                     notes in full, and the reasons for what is missing.";
        Section { heading: "At a glance".into(), words: words.into(), table: Some(table), charts: Vec::new() }
    }

    /// What is in doubt about a server, in a few words for each shape.
    fn marks(&self, figures: &PeerFigures) -> String {
        if figures.missing.is_some() {
            return "could not be had".into();
        }
        let of = |shape: Shape| (shape.short(), figures.doubts_of(shape, self.rounds, &self.load_cores));
        let marks = in_a_cell(self.loaded_shapes().map(of));
        let further = (!figures.notes.is_empty()).then(|| "see what a message costs".to_owned());
        std::iter::once(marks).filter(|marks| !marks.is_empty()).chain(further).collect::<Vec<_>>().join("; ")
    }

    fn shape_section(&self, shape: Shape) -> Section {
        let words = format!(
            "“Times {NULL_SERVER}” is the rate by that of {NULL_SERVER} in the same rounds: this program's own null \
             server, which reads with epoll, keeps nothing and looks only for the end of the data. The ceiling that \
             binds mailrace, and mailrace's share of it, are of the same rounds, as is the bare sink on monoio that CPU \
             is held against. CPU is the server's, all its processes; the load's own stands beside it. A star at a \
             name in the charts: its notes in the table say what to know before believing it."
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
            "binding ceiling",
            "which allows (messages/s)",
            "share of it",
            "CPU (ms/1,000)",
            "CPU, times bare sink",
            "CPU, times bare sink + disk loop",
            "cores",
            "p50 (ms)",
            "p99 (ms)",
            "load CPU (ms/1,000)",
            "notes",
        ]);
        let null = self.peers.iter().find(|figures| figures.peer.name == NULL_SERVER);
        for figures in &self.peers {
            let cell = |figure: FigureOf| figure_cell(figures.of(shape, figure));
            let notes = figures.doubts_of(shape, self.rounds, &self.load_cores);
            let notes = notes.into_iter().map(|doubt| doubt.words);
            let notes = figures.missing.iter().cloned().chain(notes).collect::<Vec<_>>();
            let [binding, allowed, share, cpu_to_core] = self.share_cells(figures, shape);
            let cpu_to_bare = self.ceilings.cpu_to_bare(shape, figures.runs_of(shape));
            table.row(vec![
                figures.peer.name.into(),
                figures.peer.keeps.into(),
                cell(rate),
                figure_cell(null.and_then(|null| figures.rate_to(null, shape))),
                cell(|run| Some(run.load.megabytes_per_s)),
                binding,
                allowed,
                share,
                cell(Run::cpu),
                figure_cell(cpu_to_bare.filter(|_| figures.missing.is_none())),
                cpu_to_core,
                median_cell(figures.of(shape, |run| run.cpu().map(|_| run.cores_busy))),
                cell(|run| time(run, run.load.time_to_250_us.p50 / 1e3)),
                cell(p99),
                median_cell(figures.of(shape, |run| Some(run.load.load.cpu_us_per_message))),
                notes.join("; ").into(),
            ]);
        }
        table
    }

    /// Which ceiling binds, what it allows, the share of it, and CPU by that of bare sink and disk loop: mailrace's alone,
    /// and the last only where it syncs.
    fn share_cells(&self, figures: &PeerFigures, shape: Shape) -> [Cell; 4] {
        let Start::Mailrace(durability) = figures.peer.start else { return [(); 4].map(|()| "–".into()) };
        let runs = figures.runs_of(shape);
        let shares = self.ceilings.shares(durability, shape, self.connections, runs);
        match shares.filter(|_| figures.missing.is_none()) {
            None => [(); 4].map(|()| NOT_MEASURED.into()),
            Some(Shares { bound, bound_messages_per_s, rate_to_bound, cpu_to_core, .. }) => [
                bound.name().into(),
                bound_messages_per_s.into(),
                rate_to_bound.into(),
                cpu_to_core.map_or_else(|| "–".into(), Cell::from),
            ],
        }
    }

    /// What this machine gives at most.
    fn ceiling_section(&self) -> Section {
        let mut table = Table::new(&[
            "shape",
            "bare monoio sink (messages/s)",
            "its CPU (ms/1,000)",
            "synced writes allow (messages/s)",
            "notes",
        ]);
        for shape in self.loaded_shapes() {
            let runs = self.ceilings.bare(shape);
            let short = lacking(runs.len(), self.rounds, &[]);
            let doubts = short.into_iter().chain(doubts(runs, &self.load_cores));
            table.row(vec![
                shape.title().into(),
                figure_cell(spread(runs, rate)),
                figure_cell(spread(runs, Run::cpu)),
                figure_cell(self.ceilings.disk_rate(shape, self.connections)),
                doubts.map(|doubt| doubt.words).collect::<Vec<_>>().join("; ").into(),
            ]);
        }
        let mut words = "Taken once a round, on the servers' cores. The bare sink answers from a list and looks only for \
                         the end of the data. Synced writes allow what the best of three methods makes durable when each \
                         sync covers one message of every connection. A core that must do both allows one over the \
                         processor time of both; the lowest of the three binds a mode that syncs, the bare sink any \
                         other."
            .to_owned();
        if let Some(most) = self.ceilings.sequential_mb_per_s() {
            words += &format!(" In sequence and synced, the most is {} MB/s.", most.words(0));
        }
        if self.server_cores.0.len() > 1 {
            words += " The bare sink uses one core, whatever the servers have: compare CPU only.";
        }
        for note in &self.ceilings.notes {
            words += &format!(" {note}.");
        }
        let heading = "The ceilings of this machine, in the same rounds".into();
        Section { heading, words, table: Some(table), charts: Vec::new() }
    }

    /// What a message costs a server, seen from outside.
    fn work_section(&self) -> Section {
        let words = format!(
            "Counted by perf at {} messages/s of 4 KiB over {} reused sessions in lockstep, background work included: far \
             below what any server can do, so each does the same work for a message as it would alone. Files synced are \
             those an ext4 synced, whatever asked for it: a call, a synchronous write or an io_uring. Memory is what {} idle connections after \
             EHLO add to the first 20.",
            PACE.rate,
            PACE.sessions,
            thousands(&self.idle_connections.to_string()),
        );
        let mut table = Table::new(&[
            "server",
            "before its 250",
            "system calls/message",
            "fsync and fdatasync calls/message",
            "files synced/message",
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
                figure_cell(figures.counted(|counts| counts.sync_syscalls)),
                figure_cell(figures.counted(|counts| counts.ext4_syncs)),
                figure_cell(figures.counted(|counts| counts.uring_operations)),
                figure_cell(figures.idle()),
                notes.join("; ").into(),
            ]);
        }
        let mut charts = vec![self.chart(
            "System calls for a message: less is better",
            Axis::linear("system calls", "per message"),
            |figures| figures.counted(|counts| counts.syscalls),
            |_| false,
        )];
        if self.shapes.contains(&Shape::Idle) {
            let axis = Axis::linear("user memory", "KiB/connection");
            let title = "Memory of an idle connection: less is better";
            charts.push(self.chart(title, axis, PeerFigures::idle, |_| false));
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
        let is_marked =
            |figures: &PeerFigures| !figures.doubts_of(shape, self.rounds, &self.load_cores).is_empty();
        self.chart(title, axis, |figures| figures.of(shape, figure), is_marked)
    }

    /// A bar for each server, and a star at the names of those that are marked.
    fn chart(
        &self,
        title: &str,
        axis: Axis,
        figure: impl Fn(&PeerFigures) -> Option<Spread>,
        is_marked: impl Fn(&PeerFigures) -> bool,
    ) -> Chart {
        let line = Line::up(self.peers.iter().map(|figures| (&figures.peer, figures)));
        Chart::Bars(Bars {
            title: title.into(),
            axis,
            categories: line.categories(is_marked),
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
