//! The targets mailrace is held to by itself, on a tiny scale: each gives its figures, and counts agree.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use mailrace_bench::cpu;
use mailrace_bench::error::{Error, Result};
use mailrace_bench::mailrace::{Durability, Mailrace, MailraceOptions};
use mailrace_bench::report::Verdict;
use mailrace_bench::targets::age::{self, Age};
use mailrace_bench::targets::crowd::{self, Crowd};
use mailrace_bench::targets::flood::{self, Flood};
use mailrace_bench::targets::idle::{self, Idle};
use mailrace_bench::targets::shards::{self, Shards};
use mailrace_bench::targets::{self, Findings, How, Part, TargetsOptions};
use mailrace_bench::units::CoreList;
use mailrace_bench::workspace::Afterwards;

/// How long a run is measured.
const SHORT: Duration = Duration::from_millis(150);

/// The server of the same build as this test.
fn mailrace() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let directory = Path::new(env!("CARGO_BIN_EXE_mailrace-bench")).parent().expect("a directory");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "mailrace", "--bin", "mailrace"]);
        build.args(directory.ends_with("release").then_some("--release"));
        assert!(build.status().expect("cargo").success());
        directory.join("mailrace")
    });
    built.clone()
}

/// What `measure` finds with a fresh directory, in which it leaves nothing; one at a time, since all use one core.
///
/// On a machine so busy that a run answers nothing, or too little to count, it is tried once more with a longer one.
fn findings(measure: impl Fn(&TargetsOptions) -> Result<Findings>) -> Findings {
    static MACHINE: Mutex<()> = Mutex::new(());
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let found = findings_of(SHORT, &measure);
    let has_all = found.parts.iter().all(|(_, part)| part.measured.is_some());
    if has_all { found } else { findings_of(Duration::from_secs(3), &measure) }
}

fn findings_of(duration: Duration, measure: impl Fn(&TargetsOptions) -> Result<Findings>) -> Findings {
    let directory = tempfile::tempdir().expect("a directory");
    let options = options_in(directory.path(), duration);
    let found = measure(&options).expect("findings");
    assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 0);
    for page in &found.pages {
        assert_eq!(page.check(), Ok(()));
    }
    found
}

fn options_in(directory: &Path, duration: Duration) -> TargetsOptions {
    TargetsOptions {
        mailrace: mailrace(),
        arguments: Vec::new(),
        parent_dir: directory.to_owned(),
        afterwards: Afterwards::Delete,
        server_cores: CoreList(vec![0]),
        load_cores: CoreList(vec![0]),
        rounds: 1,
        duration,
        reused_count: 1,
        new_count: 1,
    }
}

/// The figures of a row; each has one.
fn figures(found: &Findings, how: How) -> Vec<f64> {
    let of_row = found.parts.iter().filter(|(other, _)| *other == how);
    let value = |part: &Part| part.measured.map(|figure| figure.value);
    of_row.map(|(_, part)| value(part).unwrap_or_else(|| panic!("{}: {}", part.name, part.words))).collect()
}

#[test]
fn a_crowd_costs_something_in_both_loops() {
    let found = findings(|options| crowd::measure(options, Crowd { few: 2, many: 8 }, &mut |_| ()));
    let ratios = figures(&found, How::CrowdCpu);
    assert_eq!(ratios.len(), 2);
    assert!(ratios.iter().all(|ratio| (0.01..100.0).contains(ratio)), "{ratios:?}");
}

#[test]
fn idle_connections_have_a_slope_and_all_are_answered() {
    // More than a system gives a process by default, and none has so many as the last.
    let sizes = Idle { few: 100, many: 900, most: 1 << 40 };
    let found = findings(|options| idle::measure(options, sizes, &mut |_| ()));
    let slope = figures(&found, How::IdleMemory);
    assert!((0.1..100.0).contains(&slope[0]), "{slope:?}");
    assert_eq!(figures(&found, How::IdleBurst), [1.0]);
    let burst = &found.parts.iter().find(|(how, _)| *how == How::IdleBurst).expect("a figure").1;
    assert!(burst.words.contains("900 at once; 1,099,511,627,776 connections need"), "{}", burst.words);
}

#[test]
fn crowds_beyond_the_descriptor_limit_are_not_measured() {
    let many = 1 << 40;
    let idle = Idle { few: 1, many, most: many };
    let idle = findings_of(SHORT, |options| idle::measure(options, idle, &mut |_| ()));
    let crowd = findings_of(SHORT, |options| crowd::measure(options, Crowd { few: 1, many }, &mut |_| ()));
    assert_eq!((idle.parts.len(), crowd.parts.len()), (2, 1));
    for (_, part) in idle.parts.iter().chain(&crowd.parts) {
        assert_eq!(part.verdict, Some(Verdict::NotMeasured));
        assert!(part.words.contains("raise it (ulimit -Hn"), "{}", part.words);
    }
}

#[test]
fn a_second_shard_is_held_against_one() {
    let found = findings(|options| shards::measure(options, Shards { connections: 8 }, &mut |_| ()));
    if cpu::allowed_cores().expect("allowed cores").len() < 2 {
        assert_eq!(found.parts[0].1.verdict, Some(Verdict::NotMeasured));
        return;
    }
    let ratios = figures(&found, How::TwoShards);
    assert!((0.01..100.0).contains(&ratios[0]), "{ratios:?}");
    // The other half of the target: what the docs of this project list.
    assert_eq!(ratios.len(), 2);
    assert!(found.parts[1].1.words.contains("Shared cache lines"), "{}", found.parts[1].1.words);
}

#[test]
fn data_stays_until_the_last_group_is_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = TargetsOptions {
        mailrace: "/bin/sh".into(),
        ..options_in(directory.path(), Duration::from_millis(4))
    };
    let count = |path: &Path| std::fs::read_dir(path).map_or(0, Iterator::count);
    let mut seen = Vec::new();
    let report = targets::run(&options, &[How::OneConnection, How::Age], &mut |what| {
        let whole = std::fs::read_dir(directory.path()).expect("the directory").next();
        let whole = whole.expect("a workspace").expect("an entry").path();
        seen.push((what.split(':').next().unwrap_or_default().to_owned(), count(&whole)));
    });
    let report = report.expect("a report");
    // The floor was measured in the first group's directory, which the second finds still there.
    assert_eq!(
        (seen.first(), seen.last()),
        (Some(&("Floor".into(), 1)), Some(&("Age".into(), 2))),
        "{seen:?}"
    );
    assert_eq!(count(directory.path()), 0);
    assert!(!report.is_met(), "a program that serves nothing has missed");
}

#[test]
fn a_mailrace_that_fails_under_the_load_is_told_of_as_having_failed() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("mailrace");
    let text = "#!/bin/sh\ntrap 'echo out of luck >&2; exit 3' TERM\n\
                echo 'mailrace: ready listen=127.0.0.1:1 driver=none' >&2\nwhile :; do sleep 0.01; done\n";
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("executable");
    let server = MailraceOptions {
        binary: script.clone(),
        cores: CoreList(cpu::allowed_cores().expect("allowed cores")),
        durability: Durability::Discard,
        data_dir: directory.path().join("data"),
        arguments: Vec::new(),
    };
    let start = || Mailrace::start(&server).expect("a server");
    let gave_up =
        Error::Server { program: "smtp-source".into(), reason: "it hung".into(), said: String::new() };
    let blamed = start().blamed(&server, gave_up);
    let Error::Server { program, reason, said } = blamed else { panic!("{blamed}") };
    assert_eq!((program, reason.as_str()), (script, "smtp-source: it hung; it failed: exit status: 3"));
    assert!(said.ends_with("out of luck"), "{said}");
    let of_this_machine = Error::system("find a free port", std::io::ErrorKind::Other);
    assert!(matches!(start().blamed(&server, of_this_machine), Error::System { .. }));
}

#[test]
fn good_senders_are_measured_beside_a_flood() {
    let sizes = Flood { sessions: 4, rate: 20.0, visitors: 20 };
    let found = findings(|options| flood::measure(options, sizes, &mut |_| ()));
    let (rates, times) = (figures(&found, How::FloodRate), figures(&found, How::FloodTimes));
    assert!((0.01..100.0).contains(&rates[0]) && times[0] > 0.0, "{rates:?} {times:?}");
}

#[test]
fn a_flood_that_cannot_be_made_is_none() {
    let sizes = Flood { sessions: 2, rate: 1000.0, visitors: 0 };
    let found = findings_of(SHORT, |options| flood::measure(options, sizes, &mut |_| ()));
    for (_, part) in &found.parts {
        assert_eq!(part.verdict, Some(Verdict::NotMeasured));
        assert!(part.words.contains("reached only 0/s of 1,000/s visits"), "{}", part.words);
    }
}

#[test]
fn an_old_log_is_started_read_and_appended_to() {
    let sizes = Age { segments: 12, starts: 2, connections: 4 };
    let found = findings(|options| age::measure(options, sizes, &mut |_| ()));
    let ratios = figures(&found, How::Age);
    assert_eq!(ratios.len(), 5);
    assert!(ratios.iter().all(|ratio| *ratio > 0.0), "{ratios:?}");
    let words = &found.parts[0].1.words;
    assert!(words.contains("against 1 segment") || words.contains("against 2 segments"), "{words}");
}
