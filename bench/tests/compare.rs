//! The comparison on a tiny scale, with the two servers that are always there: same code, whole report.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_mailrace-bench");

fn build_mailrace() -> std::path::PathBuf {
    let directory = Path::new(BENCH).parent().expect("a directory");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "mailrace", "--bin", "mailrace"]);
    build.args(directory.ends_with("release").then_some("--release"));
    assert!(build.status().expect("cargo").success());
    directory.join("mailrace")
}

#[test]
fn two_servers_meet_each_shape_and_each_figure_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new(BENCH)
        .args(["compare", "--no-fetch", "--json", "-", "--server-cores", "0", "--load-cores", "0"])
        .args(["--peers", "mailrace-sync,sink", "--shapes", "reused,recipients,idle", "--rounds", "1"])
        .args(["--connections", "4", "--duration", "150ms", "--warm-up", "50ms", "--idle-connections", "8"])
        .arg("--mailrace")
        .arg(build_mailrace())
        .arg("--data-dir")
        .arg(directory.path())
        .output()
        .expect("the command");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    let peers = report["peers"].as_array().expect("peers");
    assert_eq!(peers.len(), 2, "{report}");
    for peer in peers {
        assert_eq!(peer["missing"], Value::Null);
        assert_eq!(peer["idle_kib"].as_array().map(Vec::len), Some(1), "{peer}");
        let runs = peer["runs"].as_object().expect("runs");
        assert_eq!(runs.len(), 2, "{peer}");
        for run in runs.values().map(|runs| &runs[0]) {
            assert_eq!(run["load"]["failures"], serde_json::json!({}), "{run}");
            assert!(run["load"]["messages"]["accepted"].as_u64() > Some(0), "{run}");
            assert!(run["cores_busy"].as_f64() > Some(0.0), "{run}");
            assert_eq!(run["load"]["input"]["minds_listen_queue"], true, "{run}");
        }
        let notes = peer["notes"].as_array().expect("notes");
        let is_counted = peer["counts"].as_array().is_some_and(|counts| counts.len() == 1);
        // Where perf may not count, the reason is told.
        assert!(is_counted && notes.is_empty() || !is_counted && notes.len() == 1, "{peer}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 0);
}

#[test]
fn without_control_groups_the_processes_are_followed_and_the_report_says_why() {
    // In a mount namespace of its own, where the groups are nowhere mounted.
    let hidden = |command: &str| {
        let mut unshare = Command::new("unshare");
        let script = "umount --lazy --all --types cgroup2 && exec \"$@\"";
        unshare.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh", command]);
        unshare
    };
    if !hidden("true").status().is_ok_and(|status| status.success()) {
        eprintln!("NOT RUN: no mount namespace can be made without root");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let output = hidden(BENCH)
        .args(["compare", "--no-fetch", "--json", "-", "--server-cores", "0", "--load-cores", "0"])
        .args(["--peers", "sink", "--shapes", "reused", "--rounds", "1", "--connections", "4"])
        .args(["--duration", "150ms", "--warm-up", "50ms", "--mailrace", "/bin/true", "--data-dir"])
        .arg(directory.path())
        .output()
        .expect("the command");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(report["no_groups"], "no version 2 of control groups is mounted here");
    let run = &report["peers"][0]["runs"]["4 KiB, connections reused, lockstep"][0];
    assert!(run["cores_busy"].as_f64() > Some(0.0), "{report}");
}

#[test]
fn a_server_that_was_not_fetched_is_listed_with_the_reason() {
    let project = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(project.path().join("scripts")).expect("a directory");
    std::fs::write(project.path().join("scripts/peers-compare"), "").expect("a script");
    let output = Command::new(BENCH)
        .args(["compare", "--no-fetch", "--peers", "exim", "--quick", "--mailrace", "/bin/true"])
        .current_dir(project.path())
        .output()
        .expect("the command");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("exim: NOT MEASURED: scripts/peers-compare has not fetched it"), "{said}");
}
