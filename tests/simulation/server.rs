//! The commit thread's side: opening the log, the commit step, segments made ahead, the end.

use mailrace::commit::{Acknowledge, Batch, Refused, Sink, step};
use mailrace::handoff::{BatchBounds, Inbox, Taken, Wait};
use mailrace::log::{PreparedSegment, RecoveryReport, Visibility, Writer, WriterOptions, prepare};
use mailrace::message::{Partition, Timestamp};
use mailrace_support::faulty_storage::{FaultyFile, FaultyStorage};

use crate::plan::Plan;

/// What the commit thread owns.
pub(crate) struct Committer {
    /// None after the log has failed: the thread has ended.
    running: Option<(Inbox, Sink<FaultyStorage>)>,
    batch: Batch,
    bounds: BatchBounds,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stepped {
    Nothing,
    Committed {
        messages: u64,
    },
    NoSpace,
    /// The log failed; a 250 may still be on its way for what stands before here.
    Failed {
        end: u64,
    },
}

/// Opens the log as a starting server does.
pub(crate) fn open_log(
    storage: &FaultyStorage,
    plan: &Plan,
    id_seed: u64,
    now: Timestamp,
) -> Result<(Sink<FaultyStorage>, RecoveryReport), String> {
    let (visibility, acknowledge) = match plan.sync {
        true => (Visibility::Durable, Acknowledge::AfterSync),
        false => (Visibility::Written, Acknowledge::AfterWrite),
    };
    let options =
        WriterOptions { segment_size: plan.segment_size, partition: Partition(0), visibility, id_seed };
    let (writer, report) = Writer::open(storage.clone(), options, now).map_err(|error| error.to_string())?;
    Ok((Sink::Log { writer: Box::new(writer), acknowledge }, report))
}

impl Committer {
    pub(crate) fn new(inbox: Inbox, sink: Sink<FaultyStorage>, bounds: BatchBounds) -> Self {
        Self { running: Some((inbox, sink)), batch: Batch::default(), bounds }
    }

    pub(crate) fn step(&mut self, now: Timestamp) -> Stepped {
        let Some((inbox, sink)) = &mut self.running else { return Stepped::Nothing };
        let (taken, committed) = step(inbox, sink, &mut self.batch, self.bounds, Wait::Poll, now);
        let Some(committed) = committed else {
            assert_ne!(taken, Taken::Some);
            return Stepped::Nothing;
        };
        match committed.refused {
            None => Stepped::Committed { messages: committed.messages },
            Some(Refused::NoSpace(_)) => Stepped::NoSpace,
            Some(Refused::LogFailed(_)) => {
                let end = acknowledged_end(sink);
                // As the thread does: it ends, and its inbox with it.
                self.running = None;
                Stepped::Failed { end }
            }
        }
    }

    /// What the helper thread does, at some moment of its own; true when a segment was handed over.
    pub(crate) fn prepare_segment(&mut self, storage: &FaultyStorage) -> bool {
        let Some((_, Sink::Log { writer, .. })) = &mut self.running else { return false };
        if !writer.wants_segment() {
            return false;
        }
        let prepared: Option<PreparedSegment<FaultyFile>> = prepare(storage, writer.segment_size()).ok();
        let made = prepared.is_some();
        if let Some(prepared) = prepared {
            writer.offer(prepared);
        }
        made
    }

    /// All ports are gone: the rest is committed and the log sealed. An error is a log that failed at the end.
    pub(crate) fn end(mut self, now: Timestamp) -> Result<(), String> {
        while self.step(now) != Stepped::Nothing {}
        match self.running {
            Some((_, Sink::Log { writer, .. })) => writer.close().map_err(|error| error.to_string()),
            _ => Err("the log failed".to_owned()),
        }
    }
}

fn acknowledged_end(sink: &Sink<FaultyStorage>) -> u64 {
    match sink {
        Sink::Log { writer, acknowledge: Acknowledge::AfterSync } => writer.positions().durable.0,
        Sink::Log { writer, acknowledge: Acknowledge::AfterWrite } => writer.positions().written.0,
        Sink::Discard => unreachable!("the simulation stores"),
    }
}
