//! The comparison on a tiny scale, with the two servers that are always there: same code, whole report.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use mailrace_bench::report::{Cell, Chart, Page, html, markdown};
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
        // Where perf may not count, the reason is told; on no ext4, that files synced are not counted.
        let is_of_counting = |note: &Value| note.as_str().is_some_and(|note| note.contains("not counted"));
        assert!(is_counted && notes.iter().all(is_of_counting) || !is_counted && notes.len() == 1, "{peer}");
    }
    shares_are_of_the_ceilings_of_the_same_round(&report);
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

/// mailrace has a share of what binds it, each server its processor time beside the bare sink's; by the JSON's own runs.
fn shares_are_of_the_ceilings_of_the_same_round(report: &Value) {
    let shape = "4 KiB, connections reused, lockstep";
    let ceilings = &report["ceilings"];
    let bare = &ceilings["bare"][shape][0];
    if bare.is_null() {
        // A kernel that refuses io_uring has no bare sink: that is told.
        assert!(ceilings["notes"].to_string().contains("bare sink"), "{ceilings}");
        return;
    }
    assert_eq!(ceilings["disk"][0]["round"], 1, "{ceilings}");
    let page: Page = serde_json::from_value(report["page"].clone()).expect("a page");
    let section = page.sections.iter().find(|section| section.heading == shape).expect("the shape");
    let table = section.table.as_ref().expect("its table");
    let at = |name: &str| table.columns.iter().position(|column| column == name).expect("a column");
    for (row, peer) in table.rows.iter().zip(report["peers"].as_array().expect("peers")) {
        let cpu = |run: &Value| run["cpu_ms_per_1000"].as_f64();
        let (own, of_bare) = (cpu(&peer["runs"][shape][0]), cpu(bare));
        let Cell::Figure(ratio) = &row[at("CPU, times bare sink")] else { panic!("{row:?}") };
        let expected = own.zip(of_bare).map(|(own, of_bare)| own / of_bare).expect("both");
        assert!((ratio.value - expected).abs() < 1e-6 * expected, "{ratio:?} {expected}");
        let (bound, share) = (row[at("binding ceiling")].words(), &row[at("share of it")]);
        match row[0].words().as_str() {
            "sink" => assert_eq!((bound.as_str(), share.words().as_str()), ("–", "–")),
            _ => assert!(["network", "disk", "core"].contains(&bound.as_str()), "{row:?}"),
        }
    }
    let heading = "The ceilings of this machine, in the same rounds";
    let section = page.sections.iter().find(|section| section.heading == heading).expect("the ceilings");
    assert_eq!(section.table.as_ref().map(|table| table.rows.len()), Some(2), "{section:?}");
}

#[test]
fn a_round_that_failed_stands_in_the_shape_and_at_a_glance() {
    let project = project("");
    // Two starts a round, for the counts and for the shapes: those of the second round fail.
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != --version ] || exec '{0}' --version\necho >>starts\n\
         [ \"$(wc -l <starts)\" -le 2 ] || {{ echo out of luck >&2; exit 1; }}\nexec '{0}' \"$@\"\n",
        build_mailrace().display()
    );
    program(&project.path().join("flaky"), &script);
    let output = compare_in(project.path())
        .args(["--mailrace", "./flaky", "--peers", "mailrace-discard", "--shapes", "reused", "--rounds", "2"])
        .args(["--json", "compare.json", "--html", "compare.html"])
        .output()
        .expect("the command");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("1 of 2 rounds: reused") && said.contains("| mailrace-discard \\* |"), "{said}");
    assert!(said.contains("The same load for all"), "the notes on the method are told too: {said}");
    let page = Page::read(&project.path().join("compare.json")).expect("a page");
    let section = page.sections.iter().find(|s| s.heading.contains("reused")).expect("the shape");
    let row = &section.table.as_ref().expect("a table").rows[0];
    let notes = row.last().expect("notes").words();
    assert!(notes.contains("1 of 2 rounds; round 2: ") && notes.contains("out of luck"), "{notes}");
    assert!(matches!(row[2], Cell::Figure(_)), "the first round's figure stands: {row:?}");
    let Chart::Bars(bars) = &section.charts[0] else { panic!("bars") };
    assert_eq!(bars.categories, ["mailrace-discard *"]);
}

#[test]
fn what_perf_says_is_the_reason_that_nothing_was_counted() {
    let project = project("");
    program(
        &project.path().join("perf"),
        "#!/bin/sh\necho 'event syntax error: no such luck' >&2\nexit 129\n",
    );
    let path = std::env::var("PATH").expect("a PATH");
    let output = compare_in(project.path())
        .env("PATH", format!("{}:{path}", project.path().display()))
        .args(["--mailrace", "/bin/true", "--peers", "sink", "--shapes", "reused", "--rounds", "1"])
        .args(["--json", "-"])
        .output()
        .expect("the command");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let notes = report["peers"][0]["notes"].to_string();
    assert!(notes.contains("event syntax error: no such luck"), "{notes}");
}

#[test]
fn the_host_is_described_as_it_was_before_the_run() {
    // A load average of our own, in a mount namespace of its own.
    let project = project("");
    let average = project.path().join("loadavg");
    std::fs::write(&average, "0.07 0.00 0.00 1/100 1\n").expect("a load average");
    let script = "mount --bind \"$1\" /proc/loadavg && shift && exec \"$@\"";
    let inside = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(&average);
        unshare.arg(command);
        unshare
    };
    if !inside("true").status().is_ok_and(|status| status.success()) {
        eprintln!("NOT RUN: no mount namespace can be made without root");
        return;
    }
    let mut command = inside(BENCH);
    let arguments = ["compare", "--no-fetch", "--server-cores", "0", "--load-cores", "0", "--peers", "sink"];
    command.args(arguments).args(["--shapes", "reused", "--rounds", "1", "--duration", "60ms"]);
    command.args(["--warm-up", "20ms", "--connections", "2", "--mailrace", "/bin/true", "--json", "-"]);
    command.current_dir(project.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a line of progress");
    assert!(line.contains("round 1"), "{line}");
    // In place, as the file is what is mounted; what the benchmark does from now on is its own work.
    std::fs::write(&average, "97.5 0.00 0.00 1/100 1\n").expect("another load average");
    std::io::copy(&mut stderr, &mut std::io::sink()).expect("the rest");
    let output = child.wait_with_output().expect("the command");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!(report["host"]["load_average"], 0.07);
    let host = report["page"]["host"].to_string();
    assert!(host.contains("load average before 0.07"), "{host}");
}

#[test]
fn nothing_is_measured_when_the_result_cannot_be_written() {
    let project = project("");
    for (option, file) in [("--json", "no/x.json"), ("--html", "no/x.html"), ("--markdown", "scripts")] {
        let output = compare_in(project.path())
            .args(["--mailrace", "/bin/true", "--peers", "sink", "--shapes", "reused", "--rounds", "1"])
            .args(["--json", "kept.json", "--html", "kept.html"].iter().filter(|_| option == "--markdown"))
            .args([option, file])
            .output()
            .expect("the command");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains(&format!("cannot write {file}")) && !said.contains("round 1"), "{said}");
        assert!(!project.path().join("kept.json").exists(), "nothing is left behind by having looked");
    }
}

#[test]
fn a_reader_that_goes_away_costs_no_result() {
    let project = project("");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = compare_in(project.path())
        .args(["--mailrace", "/bin/true", "--peers", "exim", "--shapes", "idle", "--rounds", "1"])
        .args(["--json", "compare.json", "--html", "compare.html", "--markdown", "compare.md"])
        .stdout(writer)
        .output()
        .expect("the command");
    assert!(output.status.success(), "{output:?}");
    for name in ["compare.json", "compare.html", "compare.md"] {
        assert!(project.path().join(name).metadata().is_ok_and(|file| file.len() > 100), "{name}");
    }
}

#[test]
fn what_would_measure_nothing_is_refused_in_words() {
    let refused = |arguments: &[&str], words: &str| {
        let output = Command::new(BENCH).args(arguments).output().expect("the command");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    for command in ["compare", "curves", "ceiling", "smtp-source"] {
        refused(&[command, "--rounds", "0"], "at least 1");
    }
    for command in ["compare", "curves"] {
        refused(&[command, "--connections", "0"], "at least 1");
    }
    refused(&["compare", "--idle-connections", "0"], "at least 1");
    refused(&["smtp-source", "--sessions", "0"], "at least 1");
    for command in ["compare", "curves", "ceiling"] {
        refused(&[command, "--duration", "0s"], "longer than none");
    }
}

/// A small comparison in this project, without its servers and shapes.
fn compare_in(project: &Path) -> Command {
    let mut command = Command::new(BENCH);
    command.args(["compare", "--no-fetch", "--no-curves", "--server-cores", "0", "--load-cores", "0"]);
    command.args(["--connections", "2", "--duration", "60ms", "--warm-up", "20ms"]).current_dir(project);
    command
}

/// Makes a program of a script.
fn program(path: &Path, script: &str) {
    std::fs::write(path, script).expect("a script");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("a program");
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
    assert_eq!(tables.len(), 7, "glance, shape, ceilings, work, servers, curves at a glance, curve");
    for table in tables.iter().filter(|table| table.columns[0] == "server") {
        for name in ["mailrace-sync", "sink", "exim", "postfix"] {
            assert!(
                table.rows.iter().any(|row| row[0].words().trim_end_matches(" *") == name),
                "{name} in {table:?}"
            );
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
