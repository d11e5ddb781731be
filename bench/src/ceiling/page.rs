//! The ceilings as a page: bare sinks, disk, memory, and mailrace's share of what binds it.

use super::bare::BareKind;
use super::cells::{Figures, MailraceCell};
use super::report::{CandidateReport, CeilingReport};
use super::shape::Shape;
use crate::floor::RECORD_LEN;
use crate::mailrace::Durability;
use crate::report::{
    Axis, BarSeries, Bars, Cell, Chart, Figure, LineSeries, Lines, Page, Point, Section, Table,
};
use crate::stats::{Spread, thousands};

impl CeilingReport {
    /// The tables and charts, for a terminal or a reader.
    pub fn page(&self) -> Page {
        let mut page = Page::here("The ceilings of this machine");
        page.notes.push(format!(
            "Servers on cores {}, load on cores {}; connections kept, {} s a run after {} s, median of {} interleaved \
             rounds (min–max).",
            self.server_cores, self.load_cores, self.duration_s, self.warm_up_s, self.rounds,
        ));
        page.notes.push(
            "A shape is size and connections, pipelined in one round trip a message, or with :lockstep in four.".into(),
        );
        page.notes.extend(self.doubts());
        if let Some(candidate) = &self.mailrace {
            page.sections.push(candidate.share_section());
        }
        page.sections.push(self.bare_section());
        page.sections.extend(self.mailrace.as_ref().map(CandidateReport::section));
        page.sections.push(self.disk_section());
        page.sections.extend(self.mailrace.as_ref().and_then(CandidateReport::met_section));
        page.sections.push(self.memory_section());
        page
    }

    fn bare_section(&self) -> Section {
        let mut table = Table::new(&SERVER_COLUMNS);
        for cell in &self.bare {
            table.row(server_row(cell.shape, format!("bare {}", cell.kind.name()), &cell.figures));
        }
        let mut shapes: Vec<Shape> = self.bare.iter().map(|cell| cell.shape).collect();
        shapes.dedup();
        let chart = |title: &str, axis: Axis, figure: fn(&Figures) -> Spread| {
            let of = |kind: BareKind| {
                let value = |shape: &Shape| {
                    let cell = self.bare.iter().find(|cell| cell.kind == kind && cell.shape == *shape);
                    cell.and_then(|cell| measured(&cell.figures, figure(&cell.figures))).map(Figure::from)
                };
                BarSeries {
                    name: format!("bare {}", kind.name()),
                    values: shapes.iter().map(value).collect(),
                }
            };
            bars(title, axis, &shapes, BareKind::ALL.map(of).to_vec())
        };
        Section {
            heading: "Bare sinks: the ceiling of the receive path".into(),
            words: "Canned replies, a search for the end of data, nothing else: one on monoio, as mailrace is, one on \
                    io_uring itself with multishot operations and a ring of buffers."
                .into(),
            charts: vec![
                chart("Throughput: more is better", Axis::linear("throughput", "messages/s"), |figures| {
                    figures.messages_per_s
                }),
                chart("Server CPU: less is better", Axis::linear("server CPU", "µs"), |figures| {
                    figures.server_cpu_us
                }),
            ],
            table: Some(table),
        }
    }

    fn disk_section(&self) -> Section {
        let mut table = Table::new(&[
            "method",
            "records/sync",
            "records/s",
            "MB/s",
            "sync p50 (µs)",
            "sync p99 (µs)",
            "CPU (µs/record)",
        ]);
        for cell in &self.disk {
            table.row(vec![
                cell.method.name().into(),
                thousands(&cell.records_per_sync.to_string()).into(),
                cell.records_per_s.into(),
                cell.megabytes_per_s.into(),
                cell.p50_us.into(),
                cell.p99_us.into(),
                cell.cpu_us_per_record.into(),
            ]);
        }
        let mut words = format!(
            "Records of {} octets into blocks already written, synced before the next batch.",
            thousands(&RECORD_LEN.to_string())
        );
        if let Some(best) = &self.sequential {
            let (rate, method) = (best.megabytes_per_s.words(0), best.method.name());
            words += &format!(" In sequence and synced, the most is {rate} MB/s, by {method}.");
        }
        let heading = "Disk: the ceiling of what is made durable".into();
        Section { heading, words, table: Some(table), charts: self.disk_charts() }
    }

    fn disk_charts(&self) -> Vec<Chart> {
        let chart = |title: &str, y: Axis, figure: fn(&super::disk::DiskCell) -> Spread| {
            let mut methods: Vec<&str> = self.disk.iter().map(|cell| cell.method.name()).collect();
            methods.dedup();
            let curve = |method: &str| {
                let cells = self.disk.iter().filter(|cell| cell.method.name() == method);
                let point = |cell| Point { x: records(cell), y: figure(cell).into() };
                LineSeries { name: method.into(), points: cells.map(point).collect() }
            };
            let x = Axis::logarithmic("records of one sync", "");
            let series = methods.into_iter().map(curve).collect();
            Chart::Lines(Lines { title: title.into(), x, y, series })
        };
        vec![
            chart("Durable records", Axis::logarithmic("throughput", "records/s"), |cell| cell.records_per_s),
            chart("Time of a write and its sync, median", Axis::logarithmic("time, p50", "µs"), |cell| {
                cell.p50_us
            }),
        ]
    }

    fn memory_section(&self) -> Section {
        let mut table = Table::new(&["octets of one copy", "GB/s"]);
        for copy in &self.memory {
            table.row(vec![thousands(&copy.len.to_string()).into(), copy.gigabytes_per_s.into()]);
        }
        let words = "In the first cache, and out of all.".into();
        Section { heading: "Memory copies".into(), words, table: Some(table), charts: Vec::new() }
    }
}

fn records(cell: &super::disk::DiskCell) -> f64 {
    cell.records_per_sync as f64
}

impl CandidateReport {
    fn section(&self) -> Section {
        let mut table = Table::new(&SERVER_COLUMNS);
        for cell in &self.cells {
            let name = format!("mailrace {}", cell.durability.name());
            table.row(server_row(cell.shape, name, &cell.figures));
        }
        Section {
            heading: "mailrace in the same rounds".into(),
            words: format!("I/O driver: {}.", self.driver),
            table: Some(table),
            charts: Vec::new(),
        }
    }

    /// Nothing where no mode syncs.
    fn met_section(&self) -> Option<Section> {
        let mut table = Table::new(&[
            "shape",
            "mode",
            "messages/sync",
            "records/sync of the loop",
            "loop, best method (MB/s)",
            "mailrace (MB/s)",
            "mailrace's part of it",
        ]);
        for (cell, met) in self.cells.iter().filter_map(|cell| Some((cell, cell.met.as_ref()?))) {
            table.row(vec![
                cell.shape.to_string().into(),
                cell.durability.name().into(),
                cell.messages_per_sync.into(),
                met.records_per_sync.into(),
                met.megabytes_per_s.into(),
                cell.figures.megabytes_per_s.into(),
                cell_of(measured(&cell.figures, met.share)),
            ]);
        }
        let words = "Behind each run of mailrace a loop writes and syncs, of 4 KiB records, as much at a time as mailrace's \
                     mean batch of that run held of text.";
        let heading = "Disk at the batch sizes mailrace met".into();
        (!table.rows.is_empty()).then(|| Section {
            heading,
            words: words.into(),
            table: Some(table),
            charts: Vec::new(),
        })
    }

    fn share_section(&self) -> Section {
        let mut table = Table::new(&[
            "shape",
            "mode",
            "messages/sync",
            "binding",
            "which allows (messages/s)",
            "mailrace's share of it",
            "rate / network",
            "rate / disk",
            "rate / core",
            "CPU, times bare monoio",
            "CPU, times bare monoio + disk loop",
        ]);
        for cell in &self.cells {
            table.row(share_row(cell));
        }
        let of_bound = Axis::linear("share of the ceiling that binds; 1 is the ceiling", "");
        let cpu = Axis::linear("times the bare monoio sink's CPU; 1 is the ceiling", "");
        Section {
            heading: "mailrace's share of the ceiling that binds".into(),
            words: "Each round's messages/s over three ceilings of the same round. network: the bare monoio sink's rate. \
                    disk: the best synced loop when each sync covers one message of every connection. core: one over \
                    the processor time of bare sink and cheapest synced loop together. The lowest binds; a mode \
                    that syncs nothing has the network alone."
                .into(),
            table: Some(table),
            charts: vec![
                self.chart("Share of the binding ceiling: more is better", of_bound, |cell| {
                    cell.shares.rate_to_bound
                }),
                self.chart("CPU a message beside a bare sink: less is better", cpu, |cell| {
                    cell.shares.cpu_to_network
                }),
            ],
        }
    }

    fn chart(&self, title: &str, axis: Axis, figure: fn(&MailraceCell) -> Spread) -> Chart {
        let mut shapes: Vec<Shape> = self.cells.iter().map(|cell| cell.shape).collect();
        shapes.dedup();
        let of = |mode: Durability| {
            let value = |shape: &Shape| {
                let cell = self.cells.iter().find(|cell| cell.durability == mode && cell.shape == *shape);
                cell.and_then(|cell| share(cell, figure(cell))).map(Figure::from)
            };
            BarSeries {
                name: format!("mailrace {}", mode.name()),
                values: shapes.iter().map(value).collect(),
            }
        };
        let mut modes: Vec<Durability> = Vec::new();
        for cell in &self.cells {
            if !modes.contains(&cell.durability) {
                modes.push(cell.durability);
            }
        }
        bars(title, axis, &shapes, modes.into_iter().map(of).collect())
    }
}

fn bars(title: &str, axis: Axis, shapes: &[Shape], series: Vec<BarSeries>) -> Chart {
    let categories = shapes.iter().map(ToString::to_string).collect();
    Chart::Bars(Bars { title: title.into(), axis, categories, series, groups: Vec::new() })
}

/// A figure per message, unless in some round no message was answered.
fn measured(figures: &Figures, figure: Spread) -> Option<Spread> {
    (figures.messages_per_s.min > 0.0).then_some(figure)
}

/// A share, unless in some round there was nothing to take it of.
fn share(cell: &MailraceCell, share: Spread) -> Option<Spread> {
    measured(&cell.figures, share).filter(|_| cell.shares.bound_messages_per_s.min > 0.0)
}

fn cell_of(figure: Option<Spread>) -> Cell {
    figure.map_or_else(|| Cell::from("NOT MEASURED"), Cell::from)
}

fn share_row(cell: &MailraceCell) -> Vec<Cell> {
    let shares = &cell.shares;
    let figure = |spread: Spread| cell_of(share(cell, spread));
    let where_it_applies = |spread: Option<Spread>| spread.map_or_else(|| Cell::from("–"), figure);
    vec![
        cell.shape.to_string().into(),
        cell.durability.name().into(),
        cell.messages_per_sync.into(),
        shares.bound.name().into(),
        shares.bound_messages_per_s.into(),
        figure(shares.rate_to_bound),
        figure(shares.rate_to_network),
        where_it_applies(shares.rate_to_disk),
        where_it_applies(shares.rate_to_core),
        figure(shares.cpu_to_network),
        where_it_applies(shares.cpu_to_core),
    ]
}

const SERVER_COLUMNS: [&str; 9] = [
    "shape",
    "server",
    "messages/s",
    "MB/s",
    "p50 (µs)",
    "p99 (µs)",
    "server CPU (µs/message)",
    "server cores",
    "load CPU (µs/message)",
];

fn server_row(shape: Shape, server: String, figures: &Figures) -> Vec<Cell> {
    vec![
        shape.to_string().into(),
        server.into(),
        figures.messages_per_s.into(),
        figures.megabytes_per_s.into(),
        cell_of(measured(figures, figures.p50_us)),
        cell_of(measured(figures, figures.p99_us)),
        cell_of(measured(figures, figures.server_cpu_us)),
        Cell::Figure(figures.server_busy.median.into()),
        Cell::Figure(figures.load_cpu_us.median.into()),
    ]
}
