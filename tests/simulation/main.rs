//! The whole intake in one thread and virtual time: clients, shards, queue, commit step, writer, recovery, readers.
//!
//! The code under test is what `serve` runs: `Session`, `Dialogue`, `Tickets`, the queue and its doorbells,
//! `commit::step`, `Writer` and its recovery, `Reader`. Only sockets, clock and disk are simulated. One seed decides
//! everything: what clients send and in which pieces, when a disk write tears, when the power goes.
//!
//! ```text
//!  clients --pieces--> Dialogue --> queue --> commit::step --> Writer --> FaultyStorage
//!     ^                                                          |            ^   between any two calls the
//!     +---- replies <-- outbox <-- doorbell <-- watermark <------+            |   others go on: clients, shards,
//!                                                        Reader (another process) readers
//! ```
//!
//! What must hold is written in `ledger.rs`. `MAILRACE_SEEDS=n` runs more or fewer seeds, `MAILRACE_SEED_FIRST=n`
//! begins elsewhere, `MAILRACE_SEED=n` runs one and tells what happened.

mod client;
mod ledger;
mod mail;
mod plan;
mod reading;
mod run;
mod server;
mod tally;
mod world;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tally::Tally;

const SEEDS_DEFAULT: u64 = 10_000;

#[test]
fn what_was_answered_is_kept_whatever_happens() {
    if let Some(seed) = number("MAILRACE_SEED") {
        let tally = run::run(seed, true);
        report(&format!("simulation: seed {seed} ran: {tally}\n"));
        return;
    }
    let first = number("MAILRACE_SEED_FIRST").unwrap_or(0);
    let count = number("MAILRACE_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let began = Instant::now();
    let (tally, failures) = run_all(first, count);
    let seconds = began.elapsed().as_secs_f32();
    for seed in &failures {
        report(&format!("simulation: FAILED; again: MAILRACE_SEED={seed} cargo test --test simulation\n"));
    }
    assert!(failures.is_empty(), "seeds that failed: {failures:?}");
    report(&format!("simulation: {count} seeds from {first} ran in {seconds:.1} s: {tally}\n"));
    if count >= SEEDS_DEFAULT {
        tally.assert_that_everything_happened();
    }
}

/// Runs seeds on all cores until one fails.
fn run_all(first: u64, count: u64) -> (Tally, Vec<u64>) {
    let next = AtomicU64::new(first);
    let failed = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let work = || {
        let (mut tally, mut failures) = (Tally::default(), Vec::new());
        while !failed.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= first + count {
                break;
            }
            match catch_unwind(AssertUnwindSafe(|| run::run(seed, false))) {
                Ok(of_seed) => tally.add(&of_seed),
                Err(_) => {
                    failed.store(true, Relaxed);
                    failures.push(seed);
                }
            }
        }
        (tally, failures)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let (mut tally, mut failures) = (Tally::default(), Vec::new());
        for worker in workers {
            let (of_worker, its_failures) = worker.join().expect("seeds are caught one by one");
            tally.add(&of_worker);
            failures.extend(its_failures);
        }
        (tally, failures)
    })
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Past the test harness, which shows nothing of a test that passes.
fn report(line: &str) {
    let _ = std::io::stderr().write_all(line.as_bytes());
}
