//! The result as a page: a table of the cells, the floor, and what each number of connections gives.

use super::{Cell, FLOOR_RECORDS, QuickReport, Run};
use crate::floor::Floor;
use crate::mailrace::Durability;
use crate::report::{Axis, Chart, LineSeries, Lines, Page, Point, Section, Table};
use crate::stats::{Spread, thousands};

impl QuickReport {
    /// How far the first cell's median time to 250 lies above the floor of one record, round by round, in µs;
    /// nothing when messages were miscounted, or none was answered in a round.
    pub fn p50_above_floor_us(&self) -> Option<Spread> {
        let cell = self.cells.first().filter(|cell| cell.runs.iter().all(Run::counts))?;
        let floors = self.floors.iter().filter_map(|floor| floor.first()).map(|floor| floor.sync_us.p50);
        let times = cell.runs.iter().map(|run| run.load.time_to_250_us.p50);
        Some(Spread::of(times.zip(floors).map(|(time, floor)| time - floor)))
    }

    /// The tables and charts, for a terminal or a reader.
    pub fn page(&self) -> Page {
        let mut page = Page::here(format!("mailrace quick, {} octets a message", octets(self.size)));
        page.notes.push(format!(
            "mailrace {}, cores {}; load on cores {}, pipelining {:?}, connections kept, {} s a run, median of {} \
             (min–max).",
            self.driver,
            self.server_cores,
            self.load_cores,
            self.pipelining,
            self.duration_s,
            self.floors.len(),
        ));
        if !self.arguments.is_empty() {
            page.notes.push(format!("Further arguments of serve: {}.", self.arguments.join(" ")));
        }
        page.notes.extend(self.doubts());
        page.sections.push(Section {
            heading: "By mode and number of connections".into(),
            words: "sync answers 250 after an fdatasync, os after a write to the page cache, discard keeps \
                    nothing."
                .into(),
            table: Some(self.cell_table()),
            charts: self.charts(),
        });
        page.sections.push(Section {
            heading: "The floor".into(),
            words: "Write and sync of 4 KiB records on blocks already written, nothing else, in the same directory \
                    and the same minutes."
                .into(),
            table: Some(self.floor_table()),
            charts: Vec::new(),
        });
        page
    }

    fn cell_table(&self) -> Table {
        let mut table = Table::new(&[
            "mode",
            "connections",
            "messages/s",
            "p50 (µs)",
            "p99 (µs)",
            "server CPU (µs/message)",
            "server cores busy",
            "load CPU (µs/message)",
            "syncs/message",
        ]);
        for cell in &self.cells {
            table.row(vec![
                cell.durability.name().into(),
                octets(cell.connections).into(),
                cell.rate.into(),
                cell.p50_us.into(),
                cell.p99_us.into(),
                cell.server_cpu_us.into(),
                cell.server_busy.into(),
                cell.load_cpu_us.into(),
                cell.syncs_per_message.into(),
            ]);
        }
        table
    }

    fn floor_table(&self) -> Table {
        let mut table =
            Table::new(&["records/sync", "records/s", "syncs/s", "p50 (µs)", "p99 (µs)", "CPU (µs/record)"]);
        for (index, records) in FLOOR_RECORDS.into_iter().enumerate() {
            let spread = |figure: &dyn Fn(&Floor) -> f64| self.floor(index, figure).into();
            table.row(vec![
                records.to_string().into(),
                spread(&|floor| floor.records_per_s),
                spread(&|floor| floor.records_per_s / records as f64),
                spread(&|floor| floor.sync_us.p50),
                spread(&|floor| floor.sync_us.p99),
                spread(&|floor| floor.cpu_us_per_record),
            ]);
        }
        table
    }

    /// One figure of one loop of the floor, over the rounds.
    fn floor(&self, index: usize, figure: &dyn Fn(&Floor) -> f64) -> Spread {
        Spread::of(self.floors.iter().filter_map(|floor| floor.get(index)).map(figure))
    }

    fn charts(&self) -> Vec<Chart> {
        let chart = |title: &str, y: Axis, figure: fn(&Cell) -> Spread| {
            let x = Axis::logarithmic("connections", "");
            Chart::Lines(Lines { title: title.into(), x, y, series: self.series(figure) })
        };
        vec![
            chart("Throughput by connections", Axis::linear("throughput", "messages/s"), |cell| cell.rate),
            chart("Time to 250, median", Axis::logarithmic("time to 250, p50", "µs"), |cell| cell.p50_us),
            chart("Time to 250, 99th percentile", Axis::logarithmic("time to 250, p99", "µs"), |cell| {
                cell.p99_us
            }),
            chart("Server CPU a message", Axis::linear("server CPU", "µs/message"), |cell| {
                cell.server_cpu_us
            }),
        ]
    }

    /// A curve for each mode, over the numbers of connections.
    fn series(&self, figure: fn(&Cell) -> Spread) -> Vec<LineSeries> {
        let mut modes: Vec<Durability> = self.cells.iter().map(|cell| cell.durability).collect();
        modes.dedup();
        let curve = |mode: Durability| {
            let cells = self.cells.iter().filter(|cell| cell.durability == mode);
            let point = |cell: &Cell| Point { x: cell.connections as f64, y: figure(cell).into() };
            let mut points: Vec<Point> = cells.map(point).collect();
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            LineSeries { name: mode.name().into(), points }
        };
        modes.into_iter().map(curve).collect()
    }

    /// What a reader must know before trusting a cell.
    fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        for cell in &self.cells {
            let name = format!("{} over {} connections", cell.durability.name(), cell.connections);
            for run in &cell.runs {
                if run.load.messages.accepted == 0 {
                    doubts.push(format!(
                        "{name}: no message was answered in the window; its times are no times."
                    ));
                }
                if !run.counts_agree {
                    let (stored, answered) = (run.totals.messages, run.load.messages_overall.accepted);
                    doubts.push(format!("{name}: the server counts {stored} messages, the load {answered}."));
                }
                let failures = run.load.failures.iter();
                doubts.extend(failures.map(|(failure, n)| format!("{name}: failed {n} times: {failure}.")));
            }
            if cell.load_cpu_us.median > cell.server_cpu_us.median {
                doubts.push(format!("{name}: the load costs more than the server."));
            }
        }
        doubts
    }
}

impl Run {
    /// Whether its figures are worth anything: messages were answered, none was lost, and both sides counted alike.
    fn counts(&self) -> bool {
        self.counts_agree && self.load.messages.accepted > 0 && self.load.messages_overall.lost == 0
    }
}

fn octets(count: usize) -> String {
    thousands(&count.to_string())
}
