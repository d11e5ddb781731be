//! The ceilings on a tiny scale: every part runs, counts agree, shares are what the figures say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use mailrace_bench::report::{Page, html, markdown};
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

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn rows<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("{name} is no list in {value}"))
}

#[test]
fn ceilings_are_measured_with_mailrace_beside_them_and_nothing_stays_behind() {
    let (directory, written) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another"));
    let output = Command::new(BENCH)
        .args(["ceiling", "--json", "-", "--server-cores", "0", "--load-cores", "0", "--rounds", "2"])
        .args(["--shapes", "1KiBx9,1KiBx9:lockstep", "--duration", "80ms", "--warm-up", "20ms"])
        .args(["--with-mailrace", "--modes", "sync,discard", "--mailrace"])
        .arg(mailrace())
        .arg("--data-dir")
        .arg(directory.path())
        .arg("--html")
        .arg(written.path().join("ceiling.html"))
        .arg("--markdown")
        .arg(written.path().join("ceiling.md"))
        .output()
        .expect("the command");
    let report = json(&output);
    assert_eq!(rows(&report, "bare").len(), 4);
    for cell in rows(&report, "bare") {
        assert_eq!(rows(cell, "runs").len(), 2);
        assert!(cell["figures"]["messages_per_s"]["min"].as_f64() > Some(0.0), "{cell}");
        assert!(rows(cell, "runs").iter().all(|run| run["failures"] == serde_json::json!({})), "{cell}");
    }
    // A file system without direct I/O has one method less.
    assert!([10, 15].contains(&rows(&report, "disk").len()), "{}", report["disk"]);
    assert_eq!(report["sequential"]["records_per_sync"], 4096);
    assert_eq!(rows(&report, "memory").len(), 2);
    let cells = rows(&report["mailrace"], "cells");
    assert_eq!(cells.len(), 4);
    for cell in cells {
        assert_eq!(cell["counts_agree"], true, "{cell}");
        let is_sync = cell["durability"] == "sync";
        assert_eq!(cell["shares"]["rate_to_disk"].is_object(), is_sync, "{cell}");
        assert_eq!(cell["messages_per_sync"]["min"].as_f64() > Some(0.0), is_sync, "{cell}");
        a_loop_followed_at_the_batch_that_was_met(cell, is_sync);
    }
    let heading = "Disk at the batch sizes mailrace met";
    let met = report["page"]["sections"].as_array().expect("sections");
    let met = met.iter().find(|section| section["heading"] == heading).expect("the section");
    assert_eq!(rows(&met["table"], "rows").len(), 2, "a row a shape, of the mode that syncs: {met}");
    let page: Page = serde_json::from_value(report["page"].clone()).expect("a page");
    page.check().expect("a page whose tables fit");
    let read = |name: &str| std::fs::read_to_string(written.path().join(name)).expect("a file");
    assert_eq!(read("ceiling.html"), html(&page.title, std::slice::from_ref(&page)));
    assert_eq!(read("ceiling.md"), markdown(&page));
    let rows_of = |index: usize| page.sections[index].table.as_ref().map(|table| table.rows.len());
    assert_eq!(
        (rows_of(0), rows_of(1), rows_of(2)),
        (Some(4), Some(4), Some(4)),
        "shares, bare sinks, mailrace"
    );
    assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 0);
}

/// Behind each run of a mode that syncs, as many records a sync as the server's own counts say.
fn a_loop_followed_at_the_batch_that_was_met(cell: &Value, is_sync: bool) {
    if !is_sync {
        assert_eq!(cell["met"], Value::Null);
        return;
    }
    let size = cell["shape"]["size"].as_f64().expect("a size");
    for (round, totals) in rows(&cell["met"], "rounds").iter().zip(rows(cell, "totals")) {
        let count = |name: &str| totals[name].as_f64().expect("a count");
        let records = (count("messages") / count("syncs") * size / 4096.0).round().max(1.0);
        assert_eq!(round["records_per_sync"].as_f64(), Some(records), "{cell}");
        let loops = rows(round, "loops");
        assert!([2, 3].contains(&loops.len()), "{round}");
        assert!(loops.iter().all(|floor| floor["records_per_sync"] == round["records_per_sync"]), "{round}");
    }
    assert!(cell["met"]["share"]["min"].as_f64() > Some(0.0), "{cell}");
}

#[test]
fn a_shape_that_is_none_is_refused_in_words() {
    let output = Command::new(BENCH).args(["ceiling", "--shapes", "4KiB"]).output().expect("the command");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`4KiB` is no shape: write it like 4KiBx64"), "{said}");
}

#[test]
fn more_instructions_than_recorded_fail_and_no_others() {
    let directory = tempfile::tempdir().expect("a directory");
    let record = directory.path().join("record.json");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(BENCH);
        command.args(["ceiling", "instructions", "--work", "parser", "--repetitions", "50", "--record"]);
        let output = command.arg(&record).args(arguments).output().expect("the command");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), printed)
    };
    let (code, printed) = run(&["--update"]);
    assert_eq!(code, Some(0), "{printed}");
    if printed.starts_with("NOT RUN") {
        eprintln!("SKIPPED: {printed}");
        return;
    }
    let (code, printed) = run(&[]);
    assert!(code == Some(0) && printed.contains("parser: ") && printed.contains(": ok"), "{printed}");
    let mut counts: Value = serde_json::from_slice(&std::fs::read(&record).expect("a record")).expect("JSON");
    let half = counts["instructions"]["parser"].as_f64().expect("a count") / 2.0;
    counts["instructions"]["parser"] = half.into();
    std::fs::write(&record, counts.to_string()).expect("a record with half the count");
    let (code, printed) = run(&[]);
    assert!(code == Some(1) && printed.contains("FAILED: more than recorded"), "{printed}");
}

#[test]
fn without_valgrind_nothing_is_counted_and_that_is_said() {
    let mut command = Command::new(BENCH);
    let output = command.args(["ceiling", "instructions"]).env("PATH", "/nonexistent").output();
    let output = output.expect("the command");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.starts_with("NOT RUN: valgrind is not here"), "{printed}");
}
