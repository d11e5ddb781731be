//! The runs behind the figures, as one table: what a reader explains a miss by.

use std::collections::BTreeMap;

use crate::load::report::LoadReport;
use crate::report::{Page, Section, Table};
use crate::stats::{Spread, thousands};

/// One server under one load, over all rounds.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Such as `4KiBx64, mailrace sync`.
    pub(super) name: String,
    /// One entry a round.
    pub(super) loads: Vec<LoadReport>,
}

impl Seen {
    /// Under a name, over all rounds.
    pub(super) fn new(name: impl Into<String>, loads: impl IntoIterator<Item = LoadReport>) -> Self {
        Self { name: name.into(), loads: loads.into_iter().collect() }
    }

    fn spread(&self, figure: fn(&LoadReport) -> f64) -> Spread {
        Spread::of(self.loads.iter().map(figure))
    }

    /// Why its figures may not be the server's own.
    fn doubts(&self) -> Vec<String> {
        let mut failures = BTreeMap::<&str, u64>::new();
        for (failure, count) in self.loads.iter().flat_map(|load| &load.failures) {
            *failures.entry(failure).or_default() += count;
        }
        let name = &self.name;
        let failed = failures.iter().map(|(failure, count)| {
            format!("{name}: failed {} times: {failure}.", thousands(&count.to_string()))
        });
        let mut doubts: Vec<String> = failed.collect();
        let (load, server) = (self.spread(|run| run.load.cpu_us_per_message), self.spread(server_cpu_us));
        let is_open = self.loads.iter().any(LoadReport::is_open_loop);
        if load.median > server.median && !is_open {
            doubts.push(format!("{name}: the load costs more than the server, so its rate is the load's."));
        }
        doubts
    }
}

fn server_cpu_us(run: &LoadReport) -> f64 {
    run.server.map_or(0.0, |server| server.cpu_us_per_message)
}

/// A page of a group's runs; `words` say how they were made.
pub(super) fn page(title: &str, words: String, seen: &[Seen]) -> Page {
    let mut page = Page::here(title);
    page.notes = seen.iter().flat_map(Seen::doubts).collect();
    let heading = "the runs".into();
    page.sections.push(Section { heading, words, table: Some(table(seen)), charts: Vec::new() });
    page
}

fn table(seen: &[Seen]) -> Table {
    let mut table = Table::new(&[
        "run",
        "messages/s",
        "MB/s",
        "p50 (µs)",
        "p99 (µs)",
        "p99.9 (µs)",
        "server CPU (µs/message)",
        "server cores busy",
        "load CPU (µs/message)",
    ]);
    for seen in seen {
        table.row(vec![
            seen.name.as_str().into(),
            seen.spread(|run| run.rate).into(),
            seen.spread(|run| run.megabytes_per_s).into(),
            seen.spread(|run| run.time_to_250_us.p50).into(),
            seen.spread(|run| run.time_to_250_us.p99).into(),
            seen.spread(|run| run.time_to_250_us.p999).into(),
            seen.spread(server_cpu_us).into(),
            seen.spread(|run| run.server.map_or(0.0, |server| server.cores_busy)).into(),
            seen.spread(|run| run.load.cpu_us_per_message).into(),
        ]);
    }
    table
}

/// A run of `accepted` messages in a second, for tests of what is made of runs.
#[cfg(test)]
pub(crate) fn sample_load(accepted: u64) -> LoadReport {
    use std::time::Duration;

    use crate::load::report::Spent;
    use crate::load::script::MailShape;
    use crate::load::session::Pipelining;
    use crate::load::tally::{Messages, Tally};
    use crate::load::{Amount, LoadOptions, ProcessUse, Refinements};

    let options = LoadOptions {
        target: ([127, 0, 0, 1], 25).into(),
        cores: Vec::new(),
        connection_count: 1,
        messages_per_connection: None,
        pipelining: Pipelining::Always,
        mail: MailShape::of_size(4 << 10),
        amount: Amount::Count(accepted),
        server_pid: None,
    };
    let messages = Messages { accepted, ..Messages::default() };
    let tally = Tally { messages, messages_overall: messages, completed: accepted, ..Tally::default() };
    let spent = Spent {
        window: Duration::from_secs(1),
        cpu: Duration::from_millis(1),
        threads: 1,
        gathered_in: None,
    };
    let server = ProcessUse { cpu_s: 0.5, elapsed_s: 1.0 };
    LoadReport::new(&options, &Refinements::default(), &tally, spent, Some(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_stands_in_the_table_with_its_doubts_beside_it() {
        let mut load = sample_load(100);
        load.failures.insert("450 at RCPT".into(), 3);
        load.load.cpu_us_per_message = 1e9;
        let page = page("t", "w".into(), &[Seen::new("one", [load.clone(), load])]);
        assert_eq!(page.check(), Ok(()));
        let table = page.sections[0].table.as_ref().expect("a table");
        assert_eq!(
            table.rows[0][..2].iter().map(crate::report::Cell::words).collect::<Vec<_>>(),
            ["one", "100"]
        );
        assert_eq!(page.notes[0], "one: failed 6 times: 450 at RCPT.");
        assert!(page.notes[1].contains("the load costs more"), "{:?}", page.notes);
    }
}
