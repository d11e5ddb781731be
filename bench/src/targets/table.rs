//! The targets as data: what each demands, and which of this folder's files measures it.
//!
//! A target stands here in the words it was set in. What would change a bound changes this file and nothing else.

use clap::ValueEnum;
use serde::Serialize;

use super::age::{self, Age};
use super::crowd::{self, Crowd};
use super::flood::{self, Flood};
use super::idle::{self, Idle};
use super::shards::{self, Shards};
use super::{Findings, TargetsOptions, calls, ceiling, floor, half_rate, mailin, smtp_source};
use crate::error::Result;

/// One target as it was set.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Target {
    /// The shape of the load.
    pub what: &'static str,
    /// What must be kept.
    pub bound: &'static str,
    /// What is aimed at; may be empty.
    pub goal: &'static str,
    /// What stands beside it in the same run.
    pub compared_with: &'static str,
    /// How it is measured, and its name on the command line.
    pub how: How,
}

/// How a target is measured: one a row, named as `--rows` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the table's words say what each is")]
pub enum How {
    PipelinedSync,
    PipelinedDiscard,
    LockstepSync,
    SmtpSinkReused,
    SmtpSinkNew,
    Postfix,
    LargeShare,
    LargeCpu,
    OneConnection,
    HalfRate,
    CallsPipelined,
    CallsLockstep,
    Syncs,
    CrowdCpu,
    IdleMemory,
    IdleBurst,
    TwoShards,
    FloodRate,
    FloodTimes,
    Age,
}

/// Targets that are measured together, in the order of measuring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Servers driven by Postfix's smtp-source.
    SmtpSource,
    /// Bare sinks and synced writes.
    Ceiling,
    /// Large mail beside mailin-embedded.
    Mailin,
    /// One connection above the floor of the disk.
    Floor,
    /// Latency at half of the highest rate.
    HalfRate,
    /// System calls and syncs, counted from outside.
    Calls,
    /// Ten thousand connections.
    Crowd,
    /// Connections that say nothing, and then all at once.
    Idle,
    /// Two shards against one.
    Shards,
    /// A flood of connections beside good ones.
    Flood,
    /// Logs of many segments.
    Age,
}

impl How {
    /// What it is measured together with.
    pub fn group(self) -> Group {
        match self {
            Self::SmtpSinkReused | Self::SmtpSinkNew | Self::Postfix => Group::SmtpSource,
            Self::PipelinedSync | Self::PipelinedDiscard | Self::LockstepSync | Self::LargeShare => {
                Group::Ceiling
            }
            Self::LargeCpu => Group::Mailin,
            Self::OneConnection => Group::Floor,
            Self::HalfRate => Group::HalfRate,
            Self::CallsPipelined | Self::CallsLockstep | Self::Syncs => Group::Calls,
            Self::CrowdCpu => Group::Crowd,
            Self::IdleMemory | Self::IdleBurst => Group::Idle,
            Self::TwoShards => Group::Shards,
            Self::FloodRate | Self::FloodTimes => Group::Flood,
            Self::Age => Group::Age,
        }
    }

    /// Its row in the table, counted from 1.
    pub fn number(self) -> usize {
        TARGETS.iter().position(|target| target.how == self).map_or(0, |index| index + 1)
    }
}

impl Group {
    /// All, in the order of measuring.
    pub const ALL: [Self; 11] = [
        Self::SmtpSource,
        Self::Ceiling,
        Self::Mailin,
        Self::Floor,
        Self::HalfRate,
        Self::Calls,
        Self::Crowd,
        Self::Idle,
        Self::Shards,
        Self::Flood,
        Self::Age,
    ];

    /// Measures `rows`, which are all of this group; a row of it may be answered though it was not asked for.
    ///
    /// # Errors
    /// When nothing could be measured; then it is the reason for each of the rows.
    pub(super) fn measure(
        self,
        options: &TargetsOptions,
        rows: &[How],
        progress: &mut dyn FnMut(&str),
    ) -> Result<Findings> {
        match self {
            Self::SmtpSource => smtp_source::measure(options, rows, progress),
            Self::Ceiling => ceiling::measure(options, rows, progress),
            Self::Mailin => mailin::measure(options, progress),
            Self::Floor => floor::measure(options, progress),
            Self::HalfRate => half_rate::measure(options, progress),
            Self::Calls => calls::measure(options, rows, progress),
            Self::Crowd => crowd::measure(options, Crowd::AS_SET, progress),
            Self::Idle => idle::measure(options, Idle::AS_SET, progress),
            Self::Shards => shards::measure(options, Shards::AS_SET, progress),
            Self::Flood => flood::measure(options, Flood::AS_SET, progress),
            Self::Age => age::measure(options, Age::AS_SET, progress),
        }
    }
}

const fn target(
    how: How,
    what: &'static str,
    bound: &'static str,
    goal: &'static str,
    compared_with: &'static str,
) -> Target {
    Target { what, bound, goal, compared_with, how }
}

/// The targets, in the order they were set.
pub const TARGETS: [Target; 20] = [
    target(
        How::PipelinedSync,
        "4 KiB, 64 and 512 connections, pipelined, sync, one core receiving, writing and syncing",
        "CPU per message at most 1.7 times the bare monoio sink's",
        "1.5 times; 100,000/s where the disk floor allows",
        "ceiling",
    ),
    target(
        How::PipelinedDiscard,
        "4 KiB, 64 and 512 connections, pipelined, discard (through the queue)",
        "CPU per message at most 1.35 times the bare monoio sink's",
        "1.2 times",
        "ceiling",
    ),
    target(
        How::LockstepSync,
        "4 KiB lockstep, 64 and 1,000 connections, sync",
        "CPU per message at most 1.35 times the bare monoio sink's",
        "1.25 times; 40,000/s",
        "ceiling",
    ),
    target(
        How::SmtpSinkReused,
        "smtp-source, 100 sessions, 4 KiB, sync, connections reused",
        "CPU per message at most 0.7 of smtp-sink's, which keeps nothing",
        "",
        "smtp-sink",
    ),
    target(
        How::SmtpSinkNew,
        "smtp-source, 100 sessions, 4 KiB, sync, a new connection for each message",
        "CPU per message at most 0.7 of smtp-sink's, which keeps nothing",
        "",
        "smtp-sink",
    ),
    target(
        How::Postfix,
        "smtp-source, 100 sessions, 4 KiB, sync",
        "CPU per message at most 1/30 of Postfix's reused, 1/15 new",
        "",
        "Postfix",
    ),
    target(
        How::LargeShare,
        "64 KiB and 1 MiB, sync",
        "at least 0.85 of what binds: bare sink or sequential synced bandwidth by the best method; nothing \
         written twice when bandwidth binds",
        "",
        "ceiling",
    ),
    target(
        How::LargeCpu,
        "64 KiB and 1 MiB, sync",
        "CPU per MiB below mailin-embedded's, which keeps nothing",
        "",
        "mailin-embedded",
    ),
    target(
        How::OneConnection,
        "one connection, 4 KiB, lockstep, sync",
        "p50 time to 250 at most the floor of one 4 KiB write + sync plus 60 µs",
        "",
        "floor",
    ),
    target(
        How::HalfRate,
        "half of the highest rate, open loop",
        "p99 time to 250 at most 3 times the p99 of a bare write + sync of the mean batch size met; p99.9 shown",
        "",
        "ceiling",
    ),
    target(
        How::CallsPipelined,
        "system calls per message (perf raw_syscalls, fixed offered rate, --commit-delay 0): 64 connections pipelined",
        "at most 2",
        "",
        "compare",
    ),
    target(
        How::CallsLockstep,
        "system calls per message (perf raw_syscalls, fixed offered rate, --commit-delay 0): 1,000 connections lockstep",
        "at most 6",
        "",
        "compare",
    ),
    target(
        How::Syncs,
        "syncs per message (fixed offered rate, --commit-delay 0) at 64 connections",
        "at most 1/16",
        "",
        "compare",
    ),
    target(How::CrowdCpu, "CPU per message at 10,000 connections", "at most 1.5 of that at 64", "", "own"),
    target(
        How::IdleMemory,
        "idle connection",
        "slope of RSS between 5,000 and 15,000 at most 2 KiB each",
        "",
        "own",
    ),
    target(
        How::IdleBurst,
        "idle connections, all sending at once",
        "a burst from all is answered; 100,000 where descriptors allow",
        "",
        "own",
    ),
    target(
        How::TwoShards,
        "2 shards against 1, at the same offered rate",
        "CPU per message at most 1.15; every shared cache line listed in the docs",
        "",
        "own",
    ),
    target(
        How::FloodRate,
        "a connection flood at a fixed rate (connect, EHLO, QUIT) while 1,000 good sessions run open loop at half of \
         their maximum",
        "the good ones keep their rate",
        "",
        "own",
    ),
    target(How::FloodTimes, "the same flood", "the good ones keep their p99 within 3 times", "", "own"),
    target(
        How::Age,
        "age of the log",
        "append, start-up and get cost the same with 1 and with 2,000 segments",
        "",
        "own",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_measuring_has_its_row_in_the_order_of_the_names() {
        let of_names: Vec<usize> = How::value_variants().iter().map(|how| how.number()).collect();
        assert_eq!(of_names, (1..=TARGETS.len()).collect::<Vec<_>>());
    }

    #[test]
    fn the_rows_demand_what_they_were_set_to_demand() {
        const SET: [[&str; 3]; 20] = [
            [
                "64 and 512 connections, pipelined, sync, one core",
                "at most 1.7 times the bare",
                "1.5 times; 100,000/s",
            ],
            ["64 and 512 connections, pipelined, discard", "at most 1.35 times the bare", "1.2 times"],
            [
                "lockstep, 64 and 1,000 connections, sync",
                "at most 1.35 times the bare",
                "1.25 times; 40,000/s",
            ],
            ["100 sessions, 4 KiB, sync, connections reused", "at most 0.7 of smtp-sink's", ""],
            ["100 sessions, 4 KiB, sync, a new connection", "at most 0.7 of smtp-sink's", ""],
            ["100 sessions, 4 KiB, sync", "1/30 of Postfix's reused, 1/15 new", ""],
            ["64 KiB and 1 MiB, sync", "at least 0.85 of what binds", ""],
            ["64 KiB and 1 MiB, sync", "CPU per MiB below mailin-embedded's", ""],
            ["one connection", "one 4 KiB write + sync plus 60 µs", ""],
            ["half of the highest rate, open loop", "at most 3 times the p99 of a bare write + sync", ""],
            ["64 connections pipelined", "at most 2", ""],
            ["1,000 connections lockstep", "at most 6", ""],
            ["at 64 connections", "at most 1/16", ""],
            ["CPU per message at 10,000 connections", "at most 1.5 of that at 64", ""],
            ["idle connection", "between 5,000 and 15,000 at most 2 KiB each", ""],
            ["all sending at once", "a burst from all is answered; 100,000", ""],
            ["2 shards against 1", "at most 1.15", ""],
            ["1,000 good sessions run open loop at half of their maximum", "keep their rate", ""],
            ["the same flood", "p99 within 3 times", ""],
            ["age of the log", "with 1 and with 2,000 segments", ""],
        ];
        for (target, [what, bound, goal]) in TARGETS.iter().zip(SET) {
            assert!(target.what.contains(what) && target.bound.contains(bound), "{target:?}");
            assert_eq!(target.goal.is_empty(), goal.is_empty(), "{target:?}");
            assert!(target.goal.contains(goal), "{target:?}");
        }
    }

    #[test]
    fn every_group_is_measured_and_only_once() {
        for target in TARGETS {
            let group = target.how.group();
            assert_eq!(Group::ALL.iter().filter(|other| **other == group).count(), 1, "{group:?}");
        }
        let is_used = |group: &Group| TARGETS.iter().any(|target| target.how.group() == *group);
        assert!(Group::ALL.iter().all(is_used));
    }
}
