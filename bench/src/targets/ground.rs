//! Where mailrace is measured against itself: a fresh server for each run, driven, stopped, and its count compared.

use super::TargetsOptions;
use crate::error::Result;
use crate::load::report::LoadReport;
use crate::load::script::MailShape;
use crate::load::session::Pipelining;
use crate::load::{self, Amount, LoadOptions, Refinements};
use crate::mailrace::{Durability, Mailrace, MailraceOptions, Totals};
use crate::report::{Cell, Page, Section, Table};
use crate::stats::{Spread, thousands};
use crate::units::CoreList;
use crate::workspace::Workspace;

/// Octets of a message.
pub(super) const SIZE: usize = 4 << 10;

/// The options of all runs, and where their data goes.
pub(super) struct Ground<'a> {
    pub(super) options: &'a TargetsOptions,
    pub(super) workspace: Workspace,
}

/// One run of load against a server of its own.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) load: LoadReport,
    totals: Totals,
}

impl<'a> Ground<'a> {
    /// A workspace in the directory of all targets.
    pub(super) fn new(options: &'a TargetsOptions) -> Result<Self> {
        Ok(Self { options, workspace: Workspace::new(&options.parent_dir, options.afterwards)? })
    }

    /// Starts a mailrace on `cores` that syncs before it answers, has it driven and stops it.
    pub(super) fn serve<T>(
        &mut self,
        cores: &CoreList,
        drive: impl FnOnce(&Mailrace) -> Result<T>,
    ) -> Result<(T, Totals)> {
        let server = MailraceOptions {
            binary: self.options.mailrace.clone(),
            cores: cores.clone(),
            durability: Durability::Sync,
            data_dir: self.workspace.fresh(),
            arguments: self.options.arguments.clone(),
        };
        let mailrace = Mailrace::start(&server)?;
        let driven = drive(&mailrace)?;
        let totals = mailrace.stop(&server)?;
        self.workspace.put_aside(&server.data_dir)?;
        Ok((driven, totals))
    }

    /// Measures one run of `connection_count` kept connections against a server on `cores`.
    pub(super) fn run(
        &mut self,
        cores: &CoreList,
        connection_count: usize,
        refinements: &Refinements,
    ) -> Result<Run> {
        let options = self.options;
        let drive = |mailrace: &Mailrace| {
            load::run_refined(&load_options(options, mailrace, connection_count), refinements)
        };
        self.serve(cores, drive).map(|(load, totals)| Run { load, totals })
    }
}

/// A run over kept connections that pipeline when the server says so.
pub(super) fn load_options(
    options: &TargetsOptions,
    mailrace: &Mailrace,
    connection_count: usize,
) -> LoadOptions {
    LoadOptions {
        target: mailrace.address(),
        cores: options.load_cores.0.clone(),
        connection_count,
        messages_per_connection: None,
        pipelining: Pipelining::Announced,
        mail: MailShape::of_size(SIZE),
        amount: Amount::For { warm_up: options.warm_up(), duration: options.duration },
        server_pid: Some(mailrace.pid()),
    }
}

impl Run {
    pub(super) fn new(load: LoadReport, totals: Totals) -> Self {
        Self { load, totals }
    }

    /// Whether the server's count of messages is the load's count of 250s.
    pub(super) fn counts_agree(&self) -> bool {
        self.totals.messages == self.load.messages_overall.accepted
    }

    /// The server's processor time per message in µs; nothing when messages were miscounted or none was answered.
    pub(super) fn cpu_us(&self) -> Option<f64> {
        let server = self.load.server.filter(|_| self.counts_agree())?;
        Some(server.cpu_us_per_message).filter(|time| *time > 0.0)
    }
}

/// `figure` of the second run of each round by that of the first; nothing unless every round has both.
pub(super) fn ratios<T>(rounds: &[(T, T)], figure: impl Fn(&T) -> Option<f64>) -> Option<Spread> {
    let ratio = |(first, second): &(T, T)| Some(figure(second)? / figure(first)?);
    let ratios: Option<Vec<f64>> = rounds.iter().map(ratio).collect();
    ratios.filter(|ratios| !ratios.is_empty()).map(Spread::of)
}

/// Rounds of two runs each, and what the first and the second are.
pub(super) type Rounds<'a> = ([String; 2], &'a [(Run, Run)]);

/// A page of runs, a line for each kind of them.
pub(super) fn page(title: &str, words: String, kinds: &[Rounds<'_>]) -> Page {
    let mut table = Table::new(&[
        "run",
        "messages/s",
        "p50 (µs)",
        "p99 (µs)",
        "server CPU (µs/message)",
        "server cores busy",
        "load CPU (µs/message)",
        "syncs/message",
    ]);
    for ([first, second], rounds) in kinds {
        table.row(row(first, rounds.iter().map(|round| &round.0)));
        table.row(row(second, rounds.iter().map(|round| &round.1)));
    }
    let heading = "The runs".into();
    let section = Section { heading, words, table: Some(table), charts: Vec::new() };
    Page { sections: vec![section], ..Page::here(title) }
}

/// The line of one kind of run.
pub(super) fn row<'a>(kind: &str, runs: impl Iterator<Item = &'a Run> + Clone) -> Vec<Cell> {
    let spread = |figure: fn(&Run) -> f64| Spread::of(runs.clone().map(figure));
    vec![
        kind.into(),
        spread(|run| run.load.rate).into(),
        spread(|run| run.load.time_to_250_us.p50).into(),
        spread(|run| run.load.time_to_250_us.p99).into(),
        spread(|run| run.load.server.map_or(0.0, |server| server.cpu_us_per_message)).into(),
        spread(|run| run.load.server.map_or(0.0, |server| server.cores_busy)).into(),
        spread(|run| run.load.load.cpu_us_per_message).into(),
        spread(|run| run.totals.syncs as f64 / run.totals.messages.max(1) as f64).into(),
    ]
}

/// A count with commas.
pub(super) fn count(number: usize) -> String {
    thousands(&number.to_string())
}

/// A rate in words.
pub(super) fn per_second(rate: f64) -> String {
    format!("{}/s", thousands(&format!("{rate:.0}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_each_round_and_miss_none() {
        let rounds = [(Some(2.0), Some(3.0)), (Some(1.0), Some(1.0))];
        assert_eq!(ratios(&rounds, |figure| *figure), Some(Spread::of([1.5, 1.0])));
        assert_eq!(ratios(&[rounds[0], (Some(1.0), None)], |figure| *figure), None);
        assert_eq!(ratios(&[], |figure: &Option<f64>| *figure), None);
    }
}
