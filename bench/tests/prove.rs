//! The proof of the load by its command: it says what it compared, and its exit code is its verdict.

use std::process::{Command, Output};

use serde_json::Value;

fn prove(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailrace-bench"));
    command.arg("prove").args(arguments).args(["--load-cores", "0", "--rounds", "1", "--json", "-"]);
    command.output().expect("the command")
}

fn checks(output: &Output) -> Vec<Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    let checks = report["checks"].as_array().expect("checks").clone();
    let holds = checks.iter().all(|check| check["holds"] == true);
    assert_eq!(output.status.code(), Some(i32::from(!holds)), "{said}");
    checks
}

fn figure(check: &Value, which: &str) -> f64 {
    check[which][0].as_f64().expect("a figure")
}

#[test]
fn a_stall_is_found_in_the_p99_and_every_message_is_counted() {
    let output = prove(&[
        "--parts",
        "stall",
        "--stall",
        "50ms",
        "--every",
        "250ms",
        "--duration",
        "1s",
        "--rate",
        "400/s",
    ]);
    let checks = checks(&output);
    // One in 100 of the 100 messages between two stalls waits longer than all but the first 2.5 ms of a stall.
    let (computed, reported) = (figure(&checks[0], "expected"), figure(&checks[0], "reported"));
    assert!(computed > 40.0, "{checks:?}");
    // What else this machine does comes on top.
    assert!(reported > computed * 0.95, "{checks:?}");
    assert_eq!((&checks[1]["holds"], figure(&checks[1], "expected")), (&true.into(), 599.0), "{checks:?}");
}

#[test]
fn smtp_source_and_the_load_get_the_same_from_a_sink_that_is_the_limit() {
    let arguments = ["--parts", "rate", "--count", "60", "--sessions", "4", "--delay", "20ms-40ms"];
    let output = prove(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(69) && said.contains("smtp-source was not found") {
        assert!(std::env::var_os("CI").is_none(), "smtp-source is missing, and CI is set: {said}");
        return;
    }
    let checks = checks(&output);
    for pair in checks.chunks(2) {
        let (theirs, ours) = (figure(&pair[0], "expected"), figure(&pair[0], "reported"));
        // 4 sessions, 20 to 40 ms each: nobody can be faster than 200 a second, and a busy machine is slower.
        assert!((1.0..200.0).contains(&theirs) && (1.0..200.0).contains(&ours), "{checks:?}");
        assert_eq!((&pair[1]["holds"], figure(&pair[1], "reported")), (&true.into(), 60.0), "{checks:?}");
    }
}
