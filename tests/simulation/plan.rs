//! What one seed is about: how the server is set up, what goes wrong and when it ends.

use mailrace::handoff::{BatchBounds, QueueLimits};
use mailrace_support::disk::{Crash, Faults};
use mailrace_support::rng::Rng;

/// The set-up of a seed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) shards: usize,
    /// Connections at a time.
    pub(crate) connections_max: usize,
    /// Connections over the whole seed.
    pub(crate) connections_total: usize,
    pub(crate) pipelined_max: usize,
    /// 250 after a sync; else after the write.
    pub(crate) sync: bool,
    pub(crate) keeps_bare_line_ends: bool,
    pub(crate) segment_size: u64,
    pub(crate) queue: QueueLimits,
    pub(crate) bounds: BatchBounds,
    pub(crate) lives: Vec<Life>,
}

/// One life of the server.
#[derive(Debug)]
pub(crate) struct Life {
    /// Events before it ends.
    pub(crate) events: usize,
    pub(crate) end: End,
    pub(crate) faults: Faults,
    /// Space runs out and comes back.
    pub(crate) scarce: bool,
    /// While it starts, the server dies in this call.
    pub(crate) start_crash: Option<(u64, Crash)>,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything is answered, the ports are dropped, the log is sealed.
    Clean,
    /// Between two events.
    Crash(Crash),
    /// In the middle of a call on the storage.
    CrashInCall(Crash),
}

impl Plan {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let shards = rng.between(1, 3);
        let sync = rng.chance(850);
        Self {
            shards,
            connections_max: rng.between(1, 6),
            connections_total: rng.between(2, 16),
            pipelined_max: rng.between(1, 6),
            sync,
            keeps_bare_line_ends: rng.chance(300),
            segment_size: *rng.pick(&[16 * 1024, 24 * 1024, 64 * 1024]),
            queue: QueueLimits {
                count_max: rng.between(1, 8),
                bytes_max: *rng.pick(&[1000, 20_000, 100_000]),
                in_flight_max: rng.between(1, 8),
            },
            bounds: BatchBounds {
                count: rng.between(1, 8),
                bytes: *rng.pick(&[1000, 20_000, 100_000]),
                iovecs: *rng.pick(&[8, 64, 1024]),
            },
            lives: (0..rng.between(1, 4)).map(|_| Life::random(rng)).collect(),
        }
    }
}

impl Life {
    fn random(rng: &mut Rng) -> Self {
        let crash = |rng: &mut Rng| if rng.chance(700) { Crash::PowerCut } else { Crash::Kill };
        let end = match rng.below(4) {
            0 => End::Clean,
            1 => End::Crash(crash(rng)),
            _ => End::CrashInCall(crash(rng)),
        };
        let start_crash = rng.chance(200).then(|| (rng.below(25) as u64, crash(rng)));
        Self { events: rng.between(20, 300), end, faults: faults(rng), scarce: rng.chance(200), start_crash }
    }
}

fn faults(rng: &mut Rng) -> Faults {
    let mut faults = Faults {
        write_short: *rng.pick(&[0, 0, 100, 500]),
        read_short: *rng.pick(&[0, 0, 300]),
        write_back: *rng.pick(&[0, 100, 500]),
        delay_max: *rng.pick(&[0, 1000, 100_000]),
        ..Faults::default()
    };
    match rng.below(12) {
        0 => faults.sync_error = *rng.pick(&[20, 100]),
        1 => faults.sync_no_space = *rng.pick(&[20, 100]),
        2 => faults.write_error = *rng.pick(&[10, 50]),
        3 => faults.name_error = 100,
        4 => faults.read_error = 50,
        _ => {}
    }
    faults
}
