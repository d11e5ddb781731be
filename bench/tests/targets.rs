//! The targets on a tiny scale: rows that are asked for have figures, each with a verdict, and no others have one.

use std::path::Path;
use std::process::{Command, Output};

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

/// Runs in `directory`, which is no project.
fn targets(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(BENCH);
    command.args(["targets", "--server-cores", "0", "--load-cores", "0", "--mailrace"]).arg(build_mailrace());
    command.args(arguments).current_dir(directory).output().expect("the command")
}

/// The only file of that name below `directory`.
fn recorded(directory: &Path, name: &str) -> Value {
    let only = |directory: &Path| {
        let mut entries = std::fs::read_dir(directory).expect("a directory");
        entries.next().expect("one entry").expect("an entry").path()
    };
    let path = only(&only(&directory.join("bench/record"))).join(name);
    serde_json::from_slice(&std::fs::read(path).expect("a record")).expect("JSON")
}

fn parts(record: &Value, row: usize) -> &Vec<Value> {
    record["outcomes"][row - 1]["parts"].as_array().unwrap_or_else(|| panic!("row {row} of {record}"))
}

#[test]
fn rows_asked_for_have_figures_with_their_verdicts_and_the_runs_stand_below() {
    let directory = tempfile::tempdir().expect("a directory");
    let smoke = ["--rounds", "1", "--duration", "300ms", "--rows", "1,13,half-rate", "--record-some"];
    let output = targets(directory.path(), &smoke);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
    let record = recorded(directory.path(), "targets.json");
    let names: Vec<&str> = parts(&record, 1).iter().filter_map(|part| part["name"].as_str()).collect();
    assert!(names.starts_with(&["64 connections"]) && names.contains(&"512 connections"), "{names:?}");
    for part in parts(&record, 1).iter().chain(parts(&record, 13)).chain(parts(&record, 10)) {
        // A machine that does something else may answer nothing in so short a time; then that is told.
        assert!(part["measured"].is_object() || part["verdict"].is_string(), "{part}");
        assert_ne!(part["words"], "", "{part}");
    }
    assert_ne!(record["outcomes"][0]["verdict"], "not-measured", "{record}");
    let missed = record["outcomes"].as_array().expect("rows").iter().any(|row| row["verdict"] == "miss");
    assert_eq!(output.status.code(), Some(i32::from(missed)));
    assert_eq!(parts(&record, 2)[0]["words"], "not asked for");
    let runs: Vec<&str> =
        record["runs"].as_array().expect("runs").iter().filter_map(|r| r["title"].as_str()).collect();
    assert_eq!(runs, ["Beside the bare sink", "At half of the highest rate", "Counted from outside"]);
    let table = &record["runs"][0]["sections"][0]["table"]["rows"];
    let first = |row: &Value| row[0].as_str().map(str::to_owned);
    let names: Vec<String> = table.as_array().expect("rows").iter().filter_map(first).collect();
    let of = |shape: &str| [format!("{shape}, bare monoio sink"), format!("{shape}, mailrace sync")];
    assert_eq!(names, [of("4KiBx64"), of("4KiBx512")].concat());
    let left = std::fs::read_dir(directory.path().join("target/bench-data")).expect("the data's directory");
    assert_eq!(left.count(), 0);
}

#[test]
fn peers_that_are_not_here_leave_their_rows_open_and_nothing_is_recorded() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = targets(directory.path(), &["--rounds", "1", "--duration", "40ms", "--rows", "large-cpu"]);
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    assert!(said.contains("scripts/peers-compare was not found"), "{said}");
    assert!(said.contains("0 passed, 0 missed, 20 not measured"), "{said}");
    assert!(told.contains("not recorded, for not every row was asked for"), "{told}");
    assert!(!directory.path().join("bench").exists());
}

#[test]
fn what_would_keep_the_result_from_being_written_is_found_out_before_anything_is_measured() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("written");
    let file = file.to_str().expect("a name");
    for arguments in [["--record-some", "--record", file], ["--rounds=1", "--json", "/nowhere/x.json"]] {
        let mut command = Command::new(BENCH);
        command.args(["targets", "--mailrace", "/bin/false", "--rows", "age"]).args(arguments);
        let output = command.current_dir(directory.path()).output().expect("the command");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains(arguments[2]) && !said.contains("Age:"), "{said}");
    }
}

#[test]
fn a_record_and_the_json_asked_for_hold_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = ["--rows", "age", "--rounds", "1", "--duration", "4ms", "--record-some", "--json", "-"];
    let mut command = Command::new(BENCH);
    command.args(["targets", "--mailrace", "/bin/sh"]).args(arguments);
    let output = command.current_dir(directory.path()).output().expect("the command");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let printed: Value = serde_json::from_slice(&output.stdout).expect("nothing but JSON");
    assert_eq!(printed, recorded(directory.path(), "targets.json"));
}

#[test]
fn counts_and_times_of_nothing_are_refused() {
    for (command, argument) in [
        ("targets", "--rounds=0"),
        ("targets", "--duration=0s"),
        ("targets", "--new-count=0"),
        ("targets", "--reused-count=0"),
        ("quick", "--rounds=0"),
        ("quick", "--duration=0ms"),
        ("quick", "--connections=1,0"),
    ] {
        let output = Command::new(BENCH).args([command, argument]).output().expect("the command");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command} {argument}: {said}");
        let name = argument.split('=').next().expect("a name");
        assert!(said.contains(name), "{command} {argument}: {said}");
    }
}

#[test]
fn a_row_that_is_none_is_refused_with_the_names_there_are() {
    let output = Command::new(BENCH).args(["targets", "--rows", "21"]).output().expect("the command");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no number from 1 to 20") && said.contains("half-rate"), "{said}");
}
