//! kill -9 under load, again and again on the same log: every 250 that a client was given is kept.
//!
//! The seed of a run is printed and can be given as `MAILRACE_TEST_SEED`; it decides after how many answers, and how
//! long after the last of them, the server is killed. What the threads of server and clients do at that moment is
//! up to the machine.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mailrace_support::load::{self, Ledger, audit};
use mailrace_support::peer::report;
use mailrace_support::process::{Server, Setup};
use mailrace_support::readback::Log;
use mailrace_support::rng::Rng;

const MAILRACE: &str = env!("CARGO_BIN_EXE_mailrace");
const ROUNDS: u64 = 20;
const CONNECTIONS: u64 = 6;
/// Message numbers of one round; far more than a round can send.
const ROUND_NUMBERS: u64 = 1 << 32;
/// Receipts of each round that are asked for one by one, beside the whole log.
const SINGLE_RECEIPTS: usize = 3;

fn seed() -> u64 {
    let given = std::env::var("MAILRACE_TEST_SEED").ok().map(|seed| seed.parse().expect("a number"));
    given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        u64::from(now.subsec_nanos()) ^ u64::from(std::process::id()) << 32
    })
}

fn setup(data_dir: &Path) -> Setup {
    // Small segments, so that some rounds end while one is sealed and the next begun.
    Setup::new(MAILRACE, data_dir).arguments(["--segment-size", "2MiB"])
}

fn log(data_dir: &Path) -> Log<'_> {
    Log { binary: MAILRACE, data_dir }
}

/// Loads the server and kills it at a moment that `rng` chooses; gives how many messages were under way or done.
fn kill_under_load(server: Server, round: u64, rng: &mut Rng, ledger: &Arc<Ledger>) -> u64 {
    let clients = load::start(server.address(), CONNECTIONS, round * ROUND_NUMBERS, ledger);
    ledger.wait_for(ledger.len() + rng.between(1, 150));
    // Not a wait for anything: the moment itself is the test, between two answers as often as at one.
    let moment = Instant::now() + Duration::from_micros(rng.below(3000) as u64);
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
    server.kill();
    clients.into_iter().map(|client| client.join().expect("a client does not panic")).sum()
}

#[test]
fn every_250_outlives_kill_9() {
    let seed = seed();
    println!("MAILRACE_TEST_SEED={seed}");
    let mut rng = Rng::new(seed);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let ledger = Arc::new(Ledger::default());
    let mut begun = 0;
    for round in 0..ROUNDS {
        let known = ledger.len();
        begun += kill_under_load(setup(&data_dir).start(), round, &mut rng, &ledger);
        let promised = ledger.promised();
        // The torn log as it lies there, then after recovery beside a running server.
        let torn = audit(log(&data_dir), &promised);
        let server = setup(&data_dir).start();
        let recovered = audit(log(&data_dir), &promised);
        println!("round {round}: {} answered, {} stored", promised.len(), recovered.stored);
        assert!(torn.is_clean(), "round {round}, seed {seed}, before recovery: {torn:?}");
        assert!(recovered.is_clean(), "round {round}, seed {seed}: {recovered:?}\n{}", server.printed());
        log(&data_dir).assert_intact();
        for (message, receipt) in promised.iter().skip(known).rev().take(SINGLE_RECEIPTS) {
            assert!(log(&data_dir).get(receipt) == message.text(), "round {round}, seed {seed}: {receipt}");
        }
        server.kill();
    }
    let words =
        format!("seed {seed}: {ROUNDS} rounds, {} of {begun} messages answered, all kept", ledger.len());
    report("note", "kill -9", "kept", &words);
}

/// The same audit on a log that has lost its end: it must say so, or it says nothing above.
#[test]
fn the_audit_notices_a_log_that_lost_its_last_message() {
    let seed = seed();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let ledger = Arc::new(Ledger::default());
    kill_under_load(setup(&data_dir).start(), 0, &mut Rng::new(seed), &ledger);
    let promised = ledger.promised();
    let (_, last) = promised.iter().max_by_key(|(_, receipt)| lsn(receipt)).expect("something was answered");
    cut(&data_dir, lsn(last));
    let audit = audit(log(&data_dir), &promised);
    assert_eq!(audit.lost.iter().map(|(_, receipt)| receipt).collect::<Vec<_>>(), [last], "seed {seed}");
}

fn lsn(receipt: &str) -> u64 {
    receipt.strip_prefix("0@").expect("partition 0").parse().expect("a number")
}

/// Ends the log where the record at `lsn` begins, and takes the position file away, which would tell the loss.
fn cut(data_dir: &Path, lsn: u64) {
    fs::remove_file(data_dir.join("position")).expect("the position file");
    let (base, path) = segments(data_dir).into_iter().rfind(|(base, _)| *base <= lsn).expect("its segment");
    let file = OpenOptions::new().write(true).open(path).expect("writable");
    file.set_len(lsn - base).expect("cut");
}

/// The segments with their base positions, oldest first.
fn segments(data_dir: &Path) -> Vec<(u64, PathBuf)> {
    let files = fs::read_dir(data_dir).expect("readable").map(|entry| entry.expect("an entry").path());
    let mut all: Vec<(u64, PathBuf)> = files
        .filter_map(|path| {
            let base = path.file_name()?.to_str()?.strip_suffix(".segment")?.parse().ok()?;
            Some((base, path))
        })
        .collect();
    all.sort();
    all
}
