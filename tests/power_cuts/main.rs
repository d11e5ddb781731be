//! Power cuts under load, again and again on the same log: every 250 that a client was given is kept.
//!
//! The log is on an ext4 of its own whose power is cut by FS_IOC_SHUTDOWN: what was not synced at that moment never
//! reaches the device. These tests mount file systems, so they are run only when asked for
//! (`cargo test --test power_cuts -- --ignored`, as root), as `scripts/test` does. `MAILRACE_TEST_SEED` runs a
//! printed seed again.

mod volume;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mailrace_support::conversation::Conversation;
use mailrace_support::load::{self, Audit, Ledger, MessageId, audit};
use mailrace_support::peer::{not_run, report};
use mailrace_support::process::Setup;
use mailrace_support::readback::Log;
use mailrace_support::rng::Rng;
use tempfile::TempDir;
use volume::Volume;

const MAILRACE: &str = env!("CARGO_BIN_EXE_mailrace");
const ROUNDS: u64 = 20;
const TWIN_ROUNDS: u64 = 3;
const CONNECTIONS: u64 = 6;
/// Message numbers of one round; far more than a round can send.
const ROUND_NUMBERS: u64 = 1 << 32;

fn seed() -> u64 {
    let given = std::env::var("MAILRACE_TEST_SEED").ok().map(|seed| seed.parse().expect("a number"));
    given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        u64::from(now.subsec_nanos()) ^ u64::from(std::process::id()) << 32
    })
}

/// A file system to cut the power of, and the data directory on it; reported as not run where there is none.
fn volume(part: &str, journal: bool) -> Option<(TempDir, Volume, PathBuf)> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    match Volume::create(directory.path(), journal) {
        Ok(volume) => {
            let data_dir = volume.path().join("data");
            Some((directory, volume, data_dir))
        }
        Err(reason) => {
            not_run(part, &reason);
            None
        }
    }
}

fn setup(data_dir: &Path) -> Setup {
    Setup::new(MAILRACE, data_dir).arguments(["--segment-size", "2MiB"])
}

fn log(data_dir: &Path) -> Log<'_> {
    Log { binary: MAILRACE, data_dir }
}

fn cut_again_and_again(part: &str, journal: bool) {
    let Some((_directory, mut volume, data_dir)) = volume(part, journal) else { return };
    let seed = seed();
    println!("MAILRACE_TEST_SEED={seed}");
    let mut rng = Rng::new(seed);
    let ledger = Arc::new(Ledger::default());
    for round in 0..ROUNDS {
        cut_under_load(&volume, &data_dir, round, &mut rng, &ledger);
        volume.power_on();
        let server = setup(&data_dir).start();
        let audit = audit(log(&data_dir), &ledger.promised());
        println!("round {round}: {} answered, {} stored", ledger.len(), audit.stored);
        assert!(audit.is_clean(), "round {round}, seed {seed}: {audit:?}\n{}", server.printed());
        log(&data_dir).assert_intact();
        server.kill();
    }
    report(
        "note",
        part,
        "kept",
        &format!("seed {seed}: {ROUNDS} cuts, {} messages answered, all kept", ledger.len()),
    );
}

/// Loads a server and cuts the power of its disk at a moment that `rng` chooses.
fn cut_under_load(volume: &Volume, data_dir: &Path, round: u64, rng: &mut Rng, ledger: &Arc<Ledger>) {
    let server = setup(data_dir).start();
    let switch = volume.switch();
    let clients = load::start(server.address(), CONNECTIONS, round * ROUND_NUMBERS, ledger);
    ledger.wait_for(ledger.len() + rng.between(1, 100));
    // Not a wait for anything: the moment itself is the test, between two answers as often as at one.
    let moment = Instant::now() + Duration::from_micros(rng.below(3000) as u64);
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
    switch.cut();
    server.kill();
    for client in clients {
        client.join().expect("a client does not panic");
    }
}

#[test]
#[ignore = "mounts file systems; scripts/test runs it as root"]
fn every_250_outlives_a_power_cut_without_a_journal() {
    cut_again_and_again("power cuts, ext4", false);
}

#[test]
#[ignore = "mounts file systems; scripts/test runs it as root"]
fn every_250_outlives_a_power_cut_with_a_journal() {
    cut_again_and_again("power cuts, ext4 with a journal", true);
}

/// A quiet disk, a few messages, and the power is gone: no sync of something else can have saved them.
fn cut_behind_the_first_answers(part: &str, durability: &str) -> Option<Audit> {
    let (_directory, mut volume, data_dir) = volume(part, true)?;
    let server = setup(&data_dir).arguments(["--durability", durability]).start();
    let switch = volume.switch();
    let mut client = Conversation::hello(server.address()).expect("a connection");
    volume.sync();
    let ledger = Ledger::default();
    for number in 0..3 {
        let reply = load::send(&mut client, MessageId(number), false).expect("a reply");
        ledger.enter(MessageId(number), reply.receipt().expect("stored"));
    }
    switch.cut();
    server.kill();
    volume.power_on();
    let server = setup(&data_dir).arguments(["--durability", durability]).start();
    let audit = audit(log(&data_dir), &ledger.promised());
    println!("{durability}: {audit:?}\n{}", server.printed());
    Some(audit)
}

#[test]
#[ignore = "mounts file systems; scripts/test runs it as root"]
fn the_first_answers_on_a_quiet_disk_are_kept() {
    for _ in 0..TWIN_ROUNDS {
        let Some(audit) = cut_behind_the_first_answers("power cuts, quiet disk", "sync") else { return };
        assert!(audit.is_clean() && audit.stored == 3, "{audit:?}");
    }
}

/// The same without the sync: were nothing lost here, nothing above would mean anything.
#[test]
#[ignore = "mounts file systems; scripts/test runs it as root"]
fn without_the_sync_a_power_cut_is_seen_to_lose_mail() {
    let mut lost = 0;
    for _ in 0..TWIN_ROUNDS {
        let Some(audit) = cut_behind_the_first_answers("power cuts, twin", "os") else { return };
        assert!(audit.wrong.is_empty(), "lost is expected, wrong is not: {audit:?}");
        lost += audit.lost.len();
    }
    assert!(lost > 0, "a power cut lost nothing that was never synced");
    report(
        "note",
        "power cuts, twin",
        "lost",
        &format!("{lost} unsynced messages were lost, as they must be"),
    );
}
