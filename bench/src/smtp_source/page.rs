//! The result as a page: a table, a chart of what each server costs, the verdicts.

use super::{Connections, Contender, Row, SmtpSourceReport};
use crate::mailrace::Totals;
use crate::report::{Axis, BarSeries, Bars, Cell, Chart, Figure, Page, Section, Table, Verdict};
use crate::stats::{Spread, thousands};

impl SmtpSourceReport {
    /// mailrace's processor time per message by another's, round by round; nothing when messages were miscounted or a
    /// round is missing.
    pub fn cpu_ratio(&self, other: Contender, connections: Connections) -> Option<Spread> {
        let runs = |contender| {
            let is_it = |row: &&Row| row.contender == contender && row.connections == connections;
            let row = self.rows.iter().find(is_it).filter(|row| row.counts_agree)?;
            Some(row.runs.iter().map(|run| run.server_cpu_s / run.messages as f64))
        };
        let (ours, theirs) = (runs(Contender::Mailrace)?, runs(other)?);
        let ratios: Vec<f64> = ours.zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        if ratios.len() < self.floors.len() {
            return None;
        }
        ratios.iter().all(|ratio| ratio.is_finite() && *ratio > 0.0).then(|| Spread::of(ratios))
    }

    /// Why there is nothing of Postfix, or not all of it.
    pub fn postfix_missing(&self) -> Option<&str> {
        self.postfix_missing.as_deref()
    }

    /// The tables and charts, for a terminal or a reader.
    pub fn page(&self) -> Page {
        let mut page = Page::here("mailrace beside smtp-sink, both driven by smtp-source");
        page.notes.push(format!(
            "smtp-source, {} sessions, {} octets a message, one round trip a command; servers on cores {}, load on \
             cores {}; mailrace {}; median of {} interleaved rounds (min–max). smtp-sink keeps nothing.",
            self.sessions,
            thousands(&self.size.to_string()),
            self.server_cores,
            self.load_cores,
            self.driver,
            self.floors.len(),
        ));
        if !self.arguments.is_empty() {
            page.notes.push(format!("Further arguments of serve: {}.", self.arguments.join(" ")));
        }
        page.notes.extend(self.postfix_missing().map(|reason| format!("Postfix: NOT MEASURED: {reason}")));
        for row in self.rows.iter().filter(|row| !row.counts_agree) {
            let (server, connections) = (row.contender.name(), row.connections.name());
            page.notes.push(format!(
                "{server}, {connections} connections: it did not count the messages that were sent."
            ));
        }
        let section = |heading: &str, words: &str, table, charts| Section {
            heading: heading.into(),
            words: words.into(),
            table: Some(table),
            charts,
        };
        let below = "mailrace's processor time per message is to be below smtp-sink's.";
        let floor = "Write and sync of 4 KiB records on blocks already written, nothing else.";
        page.sections = vec![
            section("By server and connections", "", self.row_table(), self.charts()),
            section("The target", below, self.target_table(), Vec::new()),
            section("The floor", floor, self.floor_table(), Vec::new()),
        ];
        page
    }

    fn row_table(&self) -> Table {
        let mut table =
            Table::new(&["server", "connections", "messages/s", "server CPU (µs/message)", "syncs/message"]);
        for row in &self.rows {
            table.row(vec![
                self.name_of(row.contender).into(),
                row.connections.name().into(),
                row.rate.into(),
                row.server_cpu_us.into(),
                row.syncs_per_message().map_or_else(|| "not counted".into(), Cell::from),
            ]);
        }
        table
    }

    fn target_table(&self) -> Table {
        let mut table = Table::new(&["connections", "times smtp-sink's CPU per message", "verdict"]);
        for target in &self.targets {
            let verdict = if target.is_met { Verdict::Pass } else { Verdict::Miss };
            table.row(vec![
                target.connections.name().into(),
                Cell::Figure(target.ratio.into()),
                Cell::Verdict { verdict },
            ]);
        }
        table
    }

    fn floor_table(&self) -> Table {
        let mut table = Table::new(&["records/sync", "records/s"]);
        for (index, records) in [1, 64].into_iter().enumerate() {
            let rows = self.floors.iter().filter_map(|floor| floor.get(index));
            let rate = Spread::of(rows.map(|floor| floor.records_per_s));
            table.row(vec![records.to_string().into(), rate.into()]);
        }
        table
    }

    fn charts(&self) -> Vec<Chart> {
        let chart = |title: &str, axis: Axis, figure: fn(&Row) -> Spread| {
            let contenders = self.contenders();
            let bars = |connections| {
                contenders.iter().map(move |contender| self.bar(*contender, connections, figure)).collect()
            };
            let series = [Connections::Reused, Connections::New].map(|connections| BarSeries {
                name: format!("connections {}", connections.name()),
                values: bars(connections),
            });
            let categories = contenders.iter().map(|contender| self.name_of(*contender)).collect();
            let (title, series) = (title.into(), series.to_vec());
            Chart::Bars(Bars { title, axis, categories, series, groups: Vec::new() })
        };
        vec![
            chart("Server CPU a message: less is better", Axis::linear("server CPU", "µs/message"), |row| {
                row.server_cpu_us
            }),
            chart("Throughput: more is better", Axis::linear("throughput", "messages/s"), |row| row.rate),
        ]
    }

    /// Those that have rows.
    fn contenders(&self) -> Vec<Contender> {
        let mut contenders: Vec<Contender> = self.rows.iter().map(|row| row.contender).collect();
        contenders.dedup();
        contenders
    }

    fn bar(
        &self,
        contender: Contender,
        connections: Connections,
        figure: fn(&Row) -> Spread,
    ) -> Option<Figure> {
        let row = self.rows.iter().find(|row| row.contender == contender && row.connections == connections);
        row.map(|row| figure(row).into())
    }

    fn name_of(&self, contender: Contender) -> String {
        match contender {
            Contender::Mailrace => format!("mailrace, {}", self.durability.name()),
            Contender::SmtpSink => "smtp-sink, keeps nothing".into(),
            Contender::Postfix => "Postfix, syncs and holds".into(),
        }
    }
}

impl Row {
    /// Synchronous writes per message by the server's own count; nothing where it does not tell.
    pub(super) fn syncs_per_message(&self) -> Option<Spread> {
        let per_message = |totals: Totals| totals.syncs as f64 / totals.messages as f64;
        let counted = self.runs.iter().map(|run| run.totals.filter(|totals| totals.messages > 0));
        let syncs: Option<Vec<f64>> = counted.map(|totals| totals.map(per_message)).collect();
        syncs.filter(|syncs| !syncs.is_empty()).map(Spread::of)
    }
}
