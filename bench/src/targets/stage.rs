//! Where the targets of one group are measured: servers on one core, the load on its own, a fresh directory each.
//!
//! What receives, writes and syncs shares one core, whatever else there is: that is what the targets were set for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::TargetsOptions;
use super::outcome::Part;
use crate::ceiling::bare::{BareKind, BareSink};
use crate::ceiling::shape::Shape;
use crate::error::Result;
use crate::load::gathering::Opening;
use crate::load::report::LoadReport;
use crate::load::script::MailShape;
use crate::load::{self, Amount, LoadOptions, Refinements};
use crate::mailrace::{Durability, Mailrace, MailraceOptions, Totals};
use crate::stats::{Spread, thousands};
use crate::units::CoreList;
use crate::workspace::Workspace;

/// The place of one group's measurements.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    options: &'a TargetsOptions,
    core: CoreList,
    workspace: Workspace,
}

/// One run of mailrace.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// What the load saw.
    pub(super) load: LoadReport,
    /// What the server says it did, warm-up included.
    pub(super) totals: Totals,
}

impl Run {
    /// Whether its figures are worth anything: messages were answered, none was lost, and both sides counted alike.
    pub(super) fn counts(&self) -> bool {
        let overall = self.load.messages_overall;
        self.load.messages.accepted > 0 && overall.lost == 0 && self.totals.messages == overall.accepted
    }

    /// What a percentile of its times leaves out, in words; nothing when every message got its 250.
    fn undone(&self) -> Option<String> {
        let load = &self.load;
        let (refused, lost) = (load.messages_overall.refused, load.messages_overall.lost);
        (refused + lost + load.unsent > 0).then(|| {
            let count = |count: u64| thousands(&count.to_string());
            format!("{} refused, {} lost, {} never sent", count(refused), count(lost), count(load.unsent))
        })
    }

    /// The server's processor time per message, where the run counts.
    pub(super) fn cpu_us(&self) -> Option<f64> {
        cpu_us(&self.load).filter(|_| self.counts())
    }
}

impl<'a> Stage<'a> {
    /// A place with no data yet.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub(super) fn new(options: &'a TargetsOptions) -> Result<Self> {
        Self::on(options, CoreList(options.server_cores.0.iter().copied().take(1).collect()))
    }

    /// The same with servers on `core`, or on as many as it names.
    ///
    /// # Errors
    /// As [`Stage::new`].
    pub(super) fn on(options: &'a TargetsOptions, core: CoreList) -> Result<Self> {
        let workspace = Workspace::new(&options.parent_dir, options.afterwards)?;
        Ok(Self { options, core, workspace })
    }

    /// What all targets are measured with.
    pub(super) fn options(&self) -> &'a TargetsOptions {
        self.options
    }

    /// Where data goes.
    pub(super) fn workspace(&mut self) -> &mut Workspace {
        &mut self.workspace
    }

    /// The one core of the servers.
    pub(super) fn core(&self) -> &CoreList {
        &self.core
    }

    /// A file beside the directories of the runs.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.workspace.root().join(name)
    }

    /// In a directory of its own, which is put aside afterwards.
    ///
    /// # Errors
    /// Those of `work`, and when the directory cannot be made or written out.
    pub(super) fn in_directory<T>(&mut self, work: impl FnOnce(&Self, &Path) -> Result<T>) -> Result<T> {
        let directory = self.workspace.fresh_made()?;
        let outcome = work(self, &directory)?;
        self.workspace.put_aside(&directory)?;
        Ok(outcome)
    }

    /// Starts mailrace with `arguments` behind those of the options, lets `drive` have it, and stops it.
    ///
    /// # Errors
    /// When it cannot be run or stopped, and those of `drive`, as the server's own when nothing got through to it.
    pub(super) fn with_mailrace<T>(
        &mut self,
        durability: Durability,
        arguments: &[&str],
        drive: impl FnOnce(&Self, &Mailrace) -> Result<T>,
    ) -> Result<(T, Totals)> {
        let own = self.options.arguments.iter().cloned();
        let server = MailraceOptions {
            binary: self.options.mailrace.clone(),
            cores: self.core.clone(),
            durability,
            data_dir: self.workspace.fresh(),
            arguments: own.chain(arguments.iter().map(ToString::to_string)).collect(),
        };
        let mailrace = Mailrace::start(&server)?;
        let outcome = match drive(self, &mailrace) {
            Ok(outcome) => outcome,
            Err(error) => return Err(mailrace.blamed(&server, error)),
        };
        let totals = mailrace.stop(&server)?;
        self.workspace.put_aside(&server.data_dir)?;
        Ok((outcome, totals))
    }

    /// One run of mailrace under a closed loop of `shape`.
    ///
    /// # Errors
    /// When it cannot be run, driven or stopped.
    pub(super) fn run_mailrace(&mut self, durability: Durability, shape: &Shape) -> Result<Run> {
        let (load, totals) = self.with_mailrace(durability, &[], |stage, mailrace| {
            stage.drive(shape, mailrace.address(), mailrace.pid(), &Refinements::default())
        })?;
        Ok(Run { load, totals })
    }

    /// One run of the bare monoio sink under a closed loop of `shape`.
    ///
    /// # Errors
    /// When it cannot be run or driven.
    pub(super) fn run_bare(&self, shape: &Shape) -> Result<LoadReport> {
        let sink = BareSink::start(BareKind::Monoio, &self.core.0, shape.connections)?;
        let load = self.drive(shape, sink.address(), sink.pid(), &Refinements::default())?;
        sink.stop()?;
        Ok(load)
    }

    /// Drives the server of process `pid`; the run begins when all connections are greeted.
    ///
    /// # Errors
    /// As a run of load.
    pub(super) fn drive(
        &self,
        shape: &Shape,
        target: SocketAddr,
        pid: u32,
        refinements: &Refinements,
    ) -> Result<LoadReport> {
        self.drive_telling(shape, target, pid, refinements, &mut || ())
    }

    /// The same; `begins` is called when the warm-up does.
    ///
    /// # Errors
    /// As a run of load.
    pub(super) fn drive_telling(
        &self,
        shape: &Shape,
        target: SocketAddr,
        pid: u32,
        refinements: &Refinements,
        begins: &mut dyn FnMut(),
    ) -> Result<LoadReport> {
        let opening = Opening::Gathered { idle: Duration::ZERO };
        let refinements = Refinements { opening, ..refinements.clone() };
        load::run_gathered(&self.load(shape, target, pid, self.options.duration), &refinements, begins)
    }

    /// A load of `shape`, measured for `duration`.
    pub(super) fn load(
        &self,
        shape: &Shape,
        target: SocketAddr,
        pid: u32,
        duration: Duration,
    ) -> LoadOptions {
        LoadOptions {
            target,
            cores: self.options.load_cores.0.clone(),
            connection_count: shape.connections,
            messages_per_connection: None,
            pipelining: shape.pipelining(),
            mail: MailShape::of_size(shape.size),
            amount: Amount::For { warm_up: self.options.warm_up(), duration },
            server_pid: Some(pid),
        }
    }
}

/// The server's processor time per message, all its threads; nothing when it was not seen to use any.
pub(super) fn cpu_us(load: &LoadReport) -> Option<f64> {
    load.server.map(|used| used.cpu_us_per_message).filter(|us| *us > 0.0)
}

/// A percentile held against its bound: a miss, whatever it is, when a message of the runs behind it got no 250.
pub(super) fn held_percentile<'a>(
    runs: impl IntoIterator<Item = &'a Run>,
    part: impl FnOnce() -> Part,
    name: &str,
) -> Part {
    let undone: Vec<String> = runs.into_iter().filter_map(Run::undone).collect();
    match undone.first() {
        Some(first) => {
            let others = if undone.len() > 1 { ", and others in further runs" } else { "" };
            Part::missed(name, format!("messages got no 250, which no percentile shows: {first}{others}"))
        }
        None => part(),
    }
}

/// Ratios taken within each round; nothing when a figure of any round is missing.
pub(super) fn ratios(rounds: impl IntoIterator<Item = (Option<f64>, Option<f64>)>) -> Option<Spread> {
    let ratio = |(a, b): (Option<f64>, Option<f64>)| Some(a? / b?).filter(|ratio| ratio.is_finite());
    let ratios: Option<Vec<f64>> = rounds.into_iter().map(ratio).collect();
    ratios.filter(|ratios| !ratios.is_empty()).map(Spread::of)
}

#[cfg(test)]
mod tests {
    use super::super::runs::sample_load;
    use super::*;
    use crate::report::Verdict;

    fn run(change: impl FnOnce(&mut LoadReport)) -> Run {
        let mut load = sample_load(100);
        change(&mut load);
        Run { load, totals: Totals { messages: 100, syncs: 1, batches: 1 } }
    }

    #[test]
    fn a_run_that_lost_a_message_does_not_count() {
        assert!(run(|_| ()).counts());
        assert!(!run(|load| load.messages_overall.lost = 1).counts());
        assert!(!run(|load| load.messages_overall.accepted = 99).counts());
    }

    #[test]
    fn a_percentile_of_runs_in_which_a_message_got_no_250_is_a_miss_with_the_counts() {
        let pass = || Part::open("", "held".into());
        let whole = run(|_| ());
        assert_eq!(held_percentile([&whole, &whole], pass, "p99").words, "held");
        let refused = run(|load| load.messages_overall.refused = 1);
        let lost = run(|load| load.messages_overall.lost = 2000);
        let unsent = run(|load| load.unsent = 3);
        for (flawed, words) in [
            (refused, "1 refused, 0 lost, 0 never sent"),
            (lost, "0 refused, 2,000 lost, 0 never sent"),
            (unsent, "0 refused, 0 lost, 3 never sent"),
        ] {
            let part = held_percentile([&whole, &flawed], pass, "p99");
            assert_eq!((part.verdict, part.name.as_str()), (Some(Verdict::Miss), "p99"));
            assert!(part.words.ends_with(words), "{}", part.words);
        }
    }

    #[test]
    fn a_ratio_is_taken_in_its_round_and_none_may_be_missing() {
        let spread = ratios([(Some(1.0), Some(2.0)), (Some(9.0), Some(3.0)), (Some(4.0), Some(4.0))]);
        assert_eq!(spread, Some(Spread { median: 1.0, min: 0.5, max: 3.0 }));
        assert_eq!(ratios([(Some(1.0), Some(2.0)), (None, Some(2.0))]), None);
        assert_eq!(ratios([(Some(1.0), Some(0.0))]), None);
        assert_eq!(ratios([]), None);
    }
}
