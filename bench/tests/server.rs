//! The benchmarks that start a mailrace, on a tiny scale: they run, their counts agree, their JSON parses.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_mailrace-bench");

/// The server of the same build as this test.
fn mailrace() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = Path::new(BENCH).parent().expect("a directory");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "mailrace", "--bin", "mailrace"]);
        build.args(directory.ends_with("release").then_some("--release"));
        assert!(build.status().expect("cargo").success());
        directory.join("mailrace")
    })
}

fn bench(subcommand: &str, data_dir: &Path, arguments: &[&str]) -> Output {
    Command::new(BENCH)
        .arg(subcommand)
        .args(["--json", "-", "--server-cores", "0", "--load-cores", "0"])
        .arg("--mailrace")
        .arg(mailrace())
        .arg("--data-dir")
        .arg(data_dir)
        .args(arguments)
        .output()
        .expect("the command")
}

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn quick_measures_each_mode_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = [
        "--rounds",
        "2",
        "--connections",
        "1,20",
        "--duration",
        "60ms",
        "--warm-up",
        "20ms",
        "--size",
        "1KiB",
    ];
    let output = bench("quick", directory.path(), &arguments);
    let report = json(&output);
    let cells = report["cells"].as_array().expect("cells");
    let modes: Vec<&str> = cells.iter().filter_map(|cell| cell["durability"].as_str()).collect();
    assert_eq!(modes, ["sync", "sync", "os", "os", "discard", "discard"]);
    for cell in cells {
        let runs = cell["runs"].as_array().expect("runs");
        assert_eq!(runs.len(), 2);
        for run in runs {
            assert_eq!(run["counts_agree"], true, "{run}");
            assert_eq!(run["load"]["failures"], serde_json::json!({}), "{run}");
            let syncs = run["totals"]["syncs"].as_u64().expect("syncs");
            assert_eq!(cell["durability"] == "sync", syncs > 0, "{run}");
        }
    }
    assert_eq!(report["floors"].as_array().map(Vec::len), Some(2));
    assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 0);
}

#[test]
fn smtp_source_compares_both_servers() {
    let directory = tempfile::tempdir().expect("a directory");
    let counts = ["--rounds", "1", "--sessions", "5", "--reused-count", "50", "--new-count", "20"];
    let output = bench("smtp-source", directory.path(), &counts);
    if String::from_utf8_lossy(&output.stderr).contains("was not found: scripts/peers") {
        eprintln!("SKIPPED: Postfix's smtp-source or smtp-sink is not here; scripts/peers gets them");
        return;
    }
    let report = json(&output);
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row["counts_agree"] == true), "{report}");
    assert_eq!(report["targets"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_program_that_is_no_server_is_named_with_what_it_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new(BENCH)
        .args([
            "quick",
            "--mailrace",
            "/bin/sh",
            "--rounds",
            "1",
            "--duration",
            "10ms",
            "--server-cores",
            "0",
        ])
        .arg("--data-dir")
        .arg(directory.path())
        .output()
        .expect("the command");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("/bin/sh: it ended instead of serving; it said:"), "{said}");
}
