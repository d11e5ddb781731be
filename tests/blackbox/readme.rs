//! The README's quick start, run as it is written: what a new user types first must work.

use std::fs;
use std::path::Path;

use mailrace_support::peer::Peer;
use mailrace_support::process::Setup;
use mailrace_support::program::run;

use crate::{MAILRACE, PROJECT, directory};

/// The shell commands of the README's section of this name, block by block.
fn commands(section: &str) -> Vec<String> {
    let readme = fs::read_to_string(Path::new(PROJECT).join("README.md")).expect("the README");
    let section = readme.split("\n## ").find_map(|part| part.strip_prefix(section)).expect("the section");
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().expect("an end").to_owned()).collect()
}

#[test]
fn the_quick_start_takes_a_message_and_reads_it_back() {
    if Peer::find(PROJECT, "curl").is_none() {
        return;
    }
    let [serve, send_and_read, test] = &commands("Quick start")[..] else { panic!("three blocks") };
    assert_eq!((serve.trim(), test.trim()), ("cargo run --release -- serve", "scripts/test"));
    let directory = directory();
    let data_dir = directory.path().join("mailrace-data");
    // As with nothing configured, but on a free port and in a directory of our own.
    let server = Setup::bare(MAILRACE, &data_dir).arguments(["--listen", "127.0.0.1:0"]).start();
    let script = send_and_read
        .replace("127.0.0.1:2525", &server.address().to_string())
        .replace("cargo run --release --", MAILRACE)
        .replace("./mailrace-data", data_dir.to_str().expect("a plain name"));
    let printed = run("sh", ["-ec", &script]).expect_success();
    let printed = String::from_utf8_lossy(&printed);
    assert!(printed.contains("0@4096") && printed.contains("<alice@example.org>"), "{printed}");
    assert!(printed.contains("<bob@example.net>"), "{printed}");
}
