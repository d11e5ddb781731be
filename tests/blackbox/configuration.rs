//! Settings from a file, the environment and flags, as the program has them; what it says to those who ask first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mailrace_support::process::Setup;
use mailrace_support::program::{Finished, finish, run};
use tempfile::TempDir;

use crate::{MAILRACE, directory, setup};

fn file(directory: &TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("mailrace.toml");
    fs::write(&path, text).expect("a file");
    path
}

fn check(path: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Finished {
    let mut command = Command::new(MAILRACE);
    command.arg("check").arg("--config").arg(path).args(arguments).envs(environment.iter().copied());
    finish(command, b"")
}

/// A line of the listing with its blanks made one.
fn line(listing: &str, key: &str) -> String {
    let line = listing.lines().find(|line| line.starts_with(&format!("{key} = ")));
    let line = line.unwrap_or_else(|| panic!("no {key} in\n{listing}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn check_prints_what_holds_and_where_it_comes_from() {
    let directory = directory();
    let path = file(
        &directory,
        "max-connections = 10\nmax-pipelined = 11\nmax-recipients = 12\nlisten = ['127.0.0.1:1', '127.0.0.1:2']\n",
    );
    let environment = [("MAILRACE_MAX_PIPELINED", "21"), ("MAILRACE_MAX_RECIPIENTS", "22")];
    let finished = check(&path, &["--max-recipients", "32", "--listen", "127.0.0.1:3"], &environment);
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let text = finished.text();
    let place = path.display();
    assert_eq!(line(&text, "max-connections"), format!("max-connections = 10 # {place}:1"));
    assert_eq!(line(&text, "max-pipelined"), "max-pipelined = 21 # environment MAILRACE_MAX_PIPELINED");
    assert_eq!(line(&text, "max-recipients"), "max-recipients = 32 # flag");
    assert_eq!(line(&text, "listen"), "listen = [\"127.0.0.1:3\"] # flag", "a list is replaced whole");
    assert_eq!(line(&text, "durability"), "durability = \"sync\" # default");
    assert!(!directory.path().join("mailrace-data").exists(), "check makes nothing");
}

#[test]
fn all_that_is_wrong_is_named_with_its_place_and_nothing_starts() {
    let directory = directory();
    let path = file(
        &directory,
        "max-conections = 1\nidle-timeout = \"60\"\nsegment-size = 1000\nbare-lf = 'guess'\n",
    );
    let place = path.display();
    let data_dir = directory.path().join("data");
    let config = path.to_str().expect("a plain name");
    let environment = ["env", "MAILRACE_DRIVER=kqueue", "MAILRACE_CORES=0"];
    let serve =
        Setup::bare(MAILRACE, &data_dir).within(environment).arguments(["--config", config]).refused();
    let check = check(&path, &[], &[("MAILRACE_DRIVER", "kqueue"), ("MAILRACE_CORES", "0")]);
    assert_eq!(serve.stderr, check.stderr);
    assert_eq!((serve.code(), check.code()), (78, 78), "{}", serve.stderr);
    assert!(!data_dir.exists() && check.stdout.is_empty());
    let lines: Vec<&str> = serve.stderr.lines().collect();
    let told = [
        format!("{place}:1:1: there is no key 'max-conections'; the nearest is 'max-connections'"),
        format!("{place}:2:16: idle-timeout: '60' has no unit; write it as in 300s"),
        format!("{place}:3:16: segment-size: '1000' has no unit; write it as in 25MiB"),
        format!("{place}:4:11: bare-lf: 'guess' is none of reject, keep"),
        "environment MAILRACE_CORES: 0 cores can serve nobody".to_owned(),
        "environment MAILRACE_DRIVER: 'kqueue' is none of auto, io_uring, epoll".to_owned(),
    ];
    assert_eq!(lines.len(), told.len(), "{}", serve.stderr);
    for (line, words) in lines.iter().zip(told) {
        assert!(line.starts_with(&format!("mailrace: {words}")), "{line}\nis not\n{words}");
    }
}

#[test]
fn settings_that_do_not_fit_together_are_named_by_their_places() {
    let directory = directory();
    let path = file(&directory, "max-message-size = '300MiB'\naccept-any = true\n");
    let place = path.display();
    let finished = check(&path, &[], &[]);
    assert_eq!(finished.code(), 78, "{}", finished.stderr);
    assert!(finished.stderr.contains(&format!("max-message-size: {place}:1")), "{}", finished.stderr);
    let small = ["--max-message-size", "1MiB"];
    let finished = check(&path, &small, &[("MAILRACE_DOMAIN", "example.org, example.net")]);
    assert_eq!(finished.code(), 78, "{}", finished.stderr);
    let words = format!("domain (environment MAILRACE_DOMAIN) and accept-any ({place}:2) exclude each other");
    assert!(finished.stderr.contains(&words), "{}", finished.stderr);
    // What a weaker source turned on can be turned off.
    let off = [&small[..], &["--accept-any=false"]].concat();
    let finished = check(&path, &off, &[("MAILRACE_DOMAIN", "example.org, example.net")]);
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let domains = "domain = [\"example.org\", \"example.net\"] # environment MAILRACE_DOMAIN";
    assert_eq!(line(&finished.text(), "domain"), domains);
    assert_eq!(line(&finished.text(), "accept-any"), "accept-any = false # flag");
}

#[test]
fn check_reads_the_lists_and_refuses_files_that_are_none() {
    let directory = directory();
    let list = directory.path().join("list");
    fs::write(&list, "jones@example.org\nnot a mailbox\n").expect("a file");
    let path = file(&directory, &format!("recipients = '{}'\n", list.display()));
    let finished = check(&path, &[], &[]);
    assert_eq!(finished.code(), 78, "{}", finished.stderr);
    assert!(finished.stderr.contains(&format!("{}:2", list.display())), "{}", finished.stderr);
    for (path, code) in
        [(Path::new("/nonexistent/file"), 66), (directory.path(), 78), (Path::new("/dev/zero"), 78)]
    {
        let finished = check(path, &[], &[]);
        assert_eq!(finished.code(), code, "{}", finished.stderr);
        assert!(finished.stderr.contains(path.to_str().expect("a plain name")), "{}", finished.stderr);
    }
    fs::write(&path, b"# M\xfcller\n").expect("a file");
    let finished = check(&path, &[], &[]);
    assert_eq!(finished.code(), 78, "{}", finished.stderr);
    assert!(
        finished.stderr.contains(&format!("{}:1:4: this is not UTF-8", path.display())),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_variable_that_is_no_setting_is_noted_and_harms_nothing() {
    let directory = directory();
    let path = file(&directory, "");
    let finished = check(&path, &[], &[("MAILRACE_MAX_CONECTIONS", "7"), ("MAILRACE_DURABILITY", "")]);
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let words = "MAILRACE_MAX_CONECTIONS is no setting; the nearest is MAILRACE_MAX_CONNECTIONS";
    assert!(finished.stderr.contains(words), "{}", finished.stderr);
    assert_eq!(line(&finished.text(), "durability"), "durability = \"sync\" # default");
}

#[test]
fn the_server_runs_as_file_and_environment_say() {
    let directory = directory();
    let path = file(&directory, "max-connections = 7\ndurability = 'os'\n");
    let config = path.to_str().expect("a plain name");
    let server = setup(&directory)
        .arguments(["--config", config])
        .within(["env", "MAILRACE_DURABILITY=discard"])
        .start();
    let ready = server.ready();
    assert_eq!(ready.value("max_connections"), Some("7"), "{ready}");
    assert_eq!(ready.value("durability"), Some("discard"), "{ready}");
    let (status, printed) = server.terminate();
    assert!(status.success());
    assert!(printed.lines().all(|line| line.starts_with("mailrace: ")), "no words for a person: {printed}");
}

#[test]
fn without_arguments_it_says_in_a_screen_what_it_can_do() {
    let finished = run(MAILRACE, [""; 0]);
    assert_eq!((finished.code(), finished.stderr.as_str()), (0, ""));
    let text = finished.text();
    assert!((10..=24).contains(&text.lines().count()), "{text}");
    assert!(text.contains("mailrace serve") && text.contains("mailrace log cat"), "{text}");
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let directory = directory();
    let out = directory.path().join("man").join("man1");
    run(MAILRACE, ["man", "--out", out.to_str().expect("a plain name")]).expect_success();
    for name in ["mailrace", "mailrace-serve", "mailrace-check", "mailrace-log", "mailrace-log-cat"] {
        let page = fs::read_to_string(out.join(format!("{name}.1")))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}:\n{page}");
    }
    let printed = run(MAILRACE, ["man", "serve"]).expect_success();
    assert_eq!(printed, fs::read(out.join("mailrace-serve.1")).expect("the page"));
    let finished = run(MAILRACE, ["man", "serv"]);
    assert_eq!(finished.code(), 64, "{}", finished.stderr);
}

#[test]
fn completions_are_scripts_that_the_shell_takes() {
    let script = run(MAILRACE, ["completions", "bash"]).expect_success();
    let mut bash = Command::new("bash");
    bash.arg("-c").arg("set -e; source /dev/stdin; complete -p mailrace");
    let finished = finish(bash, &script);
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let script = String::from_utf8(script).expect("a script is text");
    assert!(script.contains("--max-connections") && script.contains("--config"));
}
