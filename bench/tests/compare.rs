//! The comparison on a tiny scale, with the two servers that are always there: same code, whole report.

use std::path::Path;
use std::process::Command;

use mailrace_bench::report::{Chart, Page, html, markdown};
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
    let (directory, written) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another"));
    let output = Command::new(BENCH)
        .args(["compare", "--no-fetch", "--json", "-", "--server-cores", "0", "--load-cores", "0"])
        .args(["--peers", "mailrace-sync,sink", "--shapes", "reused,recipients,idle", "--rounds", "1"])
        .args(["--connections", "4", "--duration", "150ms", "--warm-up", "50ms", "--idle-connections", "8"])
        .arg("--mailrace")
        .arg(build_mailrace())
        .arg("--data-dir")
        .arg(directory.path())
        .arg("--html")
        .arg(written.path().join("compare.html"))
        .arg("--markdown")
        .arg(written.path().join("compare.md"))
        .output()
        .expect("the command");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the page is") && said.contains("% done"), "{said}");
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
    let page: Page = serde_json::from_value(report["page"].clone()).expect("a page");
    page.check().expect("a page whose tables fit");
    let read = |name: &str| std::fs::read_to_string(written.path().join(name)).expect("a file");
    assert_eq!(read("compare.html"), html(&page.title, std::slice::from_ref(&page)));
    assert_eq!(read("compare.md"), markdown(&page));
    let rates = page
        .sections
        .iter()
        .flat_map(|section| &section.table)
        .find(|table| table.columns[3] == "times sink");
    let ratio = &rates.expect("the table of a shape").rows[1][3];
    assert_eq!(ratio.words(), "1.00", "the null server by itself");
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

/// A project without servers, but for what `listed` says of them.
fn project(listed: &str) -> tempfile::TempDir {
    let project = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(project.path().join("scripts")).expect("a directory");
    std::fs::write(project.path().join("scripts/peers-compare"), "").expect("a script");
    std::fs::create_dir_all(project.path().join("target/peers")).expect("a directory");
    std::fs::write(project.path().join("target/peers/compare.tsv"), listed).expect("a list");
    project
}

#[test]
fn who_is_missing_stands_in_every_table_with_the_reason() {
    const REASON: &str = "it is <script>alert(1)</script> | `not` here";
    let project = project(&format!("postfix\t-\t{REASON}\n"));
    let output = Command::new(BENCH)
        .args([
            "compare",
            "--no-fetch",
            "--mailrace",
            "/bin/true",
            "--server-cores",
            "0",
            "--load-cores",
            "0",
        ])
        .args(["--peers", "mailrace-sync,sink,exim,postfix", "--shapes", "reused,idle", "--rounds", "1"])
        .args(["--curves", "recipients", "--curve-peers", "mailrace-sync,sink,exim,postfix"])
        .args(["--connections", "2", "--duration", "60ms", "--warm-up", "20ms", "--idle-connections", "2"])
        .args(["--json", "compare.json", "--html", "compare.html", "--markdown", "compare.md"])
        .current_dir(project.path())
        .output()
        .expect("the command");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("exim: NOT MEASURED: scripts/peers-compare has not fetched it"), "{said}");
    let page = Page::read(&project.path().join("compare.json")).expect("a page");
    let tables: Vec<_> = page.sections.iter().filter_map(|section| section.table.as_ref()).collect();
    assert_eq!(tables.len(), 6, "glance, shape, work, servers, curves at a glance, curve");
    for table in &tables {
        for name in ["mailrace-sync", "sink", "exim", "postfix"] {
            assert!(table.rows.iter().any(|row| row[0].words() == name), "{name} in {table:?}");
        }
    }
    for reason in [REASON, "has not fetched it", "/bin/true: it ended instead of serving"] {
        let tells =
            |row: &Vec<mailrace_bench::report::Cell>| row.iter().any(|cell| cell.words().contains(reason));
        let told = tables.iter().filter(|table| table.rows.iter().any(tells)).count();
        assert_eq!(told, 4, "all tables but the two at a glance tell: {reason}");
    }
    let read = |name: &str| std::fs::read_to_string(project.path().join(name)).expect("a file");
    assert!(!read("compare.html").contains("<script") && !read("compare.md").contains("<script"));
    assert!(read("compare.html").contains("not measured"), "bars say so");
    let again = ["report", "compare.json", "--title", &page.title, "--html", "again.html"];
    let output = Command::new(BENCH).args(again).current_dir(project.path()).output().expect("the command");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(read("again.html"), read("compare.html"), "a saved result gives the same page");
}

#[test]
fn curves_have_a_point_for_each_place_and_tell_what_was_refused() {
    let project = project("");
    let output = Command::new(BENCH)
        .args(["curves", "--no-fetch", "--server-cores", "0", "--load-cores", "0", "--rounds", "2"])
        .args(["--peers", "mailrace-discard,sink", "--curves", "rate,size,recipients", "--connections", "4"])
        .args(["--duration", "60ms", "--warm-up", "20ms", "--serve=--max-message-size", "--serve=100KiB"])
        .args(["--json", "curves.json", "--html", "curves.html"])
        .arg("--mailrace")
        .arg(build_mailrace())
        .current_dir(project.path())
        .output()
        .expect("the command");
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read(project.path().join("curves.json")).expect("the result");
    let report: Value = serde_json::from_slice(&text).expect("JSON");
    let curve = |peer: usize, curve: usize| report["peers"][peer]["curves"][curve]["points"].as_array();
    for peer in [0, 1] {
        // A rate that is still kept up with has more behind it.
        assert!((8..=14).contains(&curve(peer, 0).expect("points").len()), "{report}");
        assert_eq!((curve(peer, 1).map(Vec::len), curve(peer, 2).map(Vec::len)), (Some(7), Some(5)));
    }
    for point in curve(1, 0).expect("points").iter().chain(curve(1, 2).expect("points")) {
        assert_eq!(point["runs"].as_array().map(Vec::len), Some(2), "{point}");
        assert_eq!(point["failed"], Value::Null);
    }
    let offered = |point: &Value| point["offered_rate"].as_f64().expect("a rate");
    let rates: Vec<f64> = curve(0, 0).expect("points").iter().map(offered).collect();
    assert!(rates.is_sorted(), "{rates:?}");
    let page = Page::read(&project.path().join("curves.json")).expect("a page");
    let sizes = page.sections.iter().find(|section| section.heading == "Throughput against message size");
    let rows = &sizes.and_then(|section| section.table.as_ref()).expect("a table").rows;
    for row in rows.iter().filter(|row| row[0].words() == "mailrace-discard") {
        let (size, notes) = (row[2].words(), row[10].words());
        let is_refused = ["256 KiB", "1 MiB", "4 MiB"].contains(&size.as_str());
        // A slow machine may answer nothing in so short a window; what is too large is never answered with 250.
        assert!(
            !is_refused || notes.contains("no message was answered in the window of 2 of 2 runs"),
            "{notes}"
        );
        assert!(is_refused || !notes.contains("failed"), "{size}: {notes}");
    }
    let is_of_lines = |chart: &Chart| matches!(chart, Chart::Lines(lines) if lines.series.len() <= 2);
    let charts = page.sections.iter().flat_map(|section| &section.charts);
    assert_eq!((charts.clone().count(), charts.filter(|chart| is_of_lines(chart)).count()), (8, 8));
    assert_eq!(std::fs::read_dir(project.path().join("target/bench-data")).expect("it").count(), 0);
}
