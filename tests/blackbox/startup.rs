//! Starting: the ready event, what is made on disk, and every reason to refuse, with its exit code.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mailrace_support::conversation::Conversation;
use mailrace_support::process::Setup;
use mailrace_support::program::run;

use crate::{MAILRACE, directory, log_of, setup};

#[test]
fn the_ready_event_tells_how_the_server_runs() {
    let directory = directory();
    let server = setup(&directory).start();
    let ready = server.ready();
    assert!(server.address().port() != 0 && server.address().ip().is_loopback(), "{ready}");
    assert_eq!(ready.value("data_dir").map(Path::new), Some(server.data_dir()), "{ready}");
    assert!(matches!(ready.value("driver"), Some("io_uring" | "epoll")), "{ready}");
    assert_eq!(ready.value("durability"), Some("sync"), "{ready}");
    let cores = ready.value("cores").expect("the cores").split(',').count();
    assert_eq!(cores, std::thread::available_parallelism().expect("a number").get(), "{ready}");
    assert_eq!(ready.value("pid"), Some(server.id().to_string().as_str()), "{ready}");
}

#[test]
fn a_low_limit_of_descriptors_is_told_before_the_ready_event() {
    let directory = directory();
    let setup = setup(&directory).arguments(["--max-connections", "1000", "--cores", "1"]);
    let server = setup.within(["prlimit", "--nofile=100:100"]).start();
    // 32 descriptors for the process, 11 for the one core and its address.
    assert_eq!(server.ready().value("max_connections"), Some("57"), "{}", server.ready());
    let printed = server.printed();
    let (told, _) = printed.split_once("mailrace: ready").expect("it is ready");
    assert!(told.contains("kernel-setting setting=RLIMIT_NOFILE value=100 wanted=1043 "), "{printed}");
}

#[test]
fn each_durability_mode_is_named_and_answers_as_it_promises() {
    for (mode, receipt) in [("sync", true), ("os", true), ("discard", false)] {
        let directory = directory();
        let server = setup(&directory).arguments(["--durability", mode]).start();
        assert_eq!(server.ready().value("durability"), Some(mode));
        let mut client = Conversation::hello(server.address()).expect("a connection");
        let reply = client.mail("a@example.org", "b@example.net", b"text\r\n").expect("a reply");
        match receipt {
            true => assert_eq!(log_of(&server).get(&reply.receipt().expect("stored")), b"text\r\n"),
            false => assert!(reply.is("250 2.0.0 discarded"), "{reply:?}"),
        }
        assert!(server.terminate().0.success());
    }
}

#[test]
fn what_is_stored_is_for_its_owner_alone_whatever_the_umask() {
    for umask in ["000", "022", "277", "777"] {
        let directory = directory();
        let data_dir = directory.path().join("data");
        let setup = Setup::new(MAILRACE, &data_dir).arguments(["--segment-size", "64KiB"]);
        let server = setup.within(["sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"]).start();
        let mut client = Conversation::hello(server.address()).expect("a connection");
        let text = b"0123456789abcdef\r\n".repeat(1000);
        for _ in 0..20 {
            client.mail("a@example.org", "b@example.net", &text).expect("a reply").receipt().expect("stored");
        }
        assert!(server.terminate().0.success());
        assert_modes(&data_dir);
    }
}

fn assert_modes(path: &Path) {
    let facts = fs::metadata(path).expect("its facts");
    let mode = facts.permissions().mode() & 0o7777;
    assert_eq!(mode, if facts.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    if facts.is_dir() {
        fs::read_dir(path)
            .expect("readable")
            .for_each(|entry| assert_modes(&entry.expect("an entry").path()));
    }
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let directory = directory();
    let first = setup(&directory).start();
    let second = setup(&directory).refused();
    assert_eq!(second.code(), 75, "{}", second.stderr);
    let path = first.data_dir().to_str().expect("a plain name");
    assert!(second.stderr.contains(path), "{}", second.stderr);
    let mut client = Conversation::hello(first.address()).expect("the first is unharmed");
    client.mail("a@example.org", "b@example.net", b"text\r\n").expect("a reply").receipt().expect("stored");
}

#[test]
fn an_address_in_use_is_refused_by_name() {
    let (one, two) = (directory(), directory());
    let first = setup(&one).start();
    let address = first.address().to_string();
    let second = Setup::bare(MAILRACE, &two.path().join("data")).arguments(["--listen", &address]).refused();
    assert_eq!(second.code(), 69, "{}", second.stderr);
    assert!(second.stderr.contains(&address) && second.stderr.contains("--listen"), "{}", second.stderr);
    assert!(!two.path().join("data").exists(), "a start that is refused leaves nothing behind");
}

#[test]
fn an_address_of_another_host_is_refused_by_name() {
    let directory = directory();
    let setup = Setup::bare(MAILRACE, &directory.path().join("data"));
    let finished = setup.arguments(["--listen", "192.0.2.1:0", "--accept-any"]).refused();
    assert_eq!(finished.code(), 69, "{}", finished.stderr);
    assert!(finished.stderr.contains("192.0.2.1:0"), "{}", finished.stderr);
}

#[test]
fn wrong_arguments_are_refused_with_64_and_in_words() {
    let table: &[(&[&str], &str)] = &[
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--max-message-size", "25"], "25MiB"),
        (&["--segment-size", "1000000"], "MiB"),
        (&["--idle-timeout", "300"], "300s"),
        (&["--commit-delay", "5"], "--commit-delay"),
        (&["--commit-delay", "2s"], "at most 1s"),
        (&["--listen", "127.0.0.1"], "127.0.0.1"),
        (&["--listen", "0.0.0.0:0"], "--accept-any"),
        (&["--listen", "[::]:0"], "--accept-any"),
        (&["--durability", "perhaps"], "perhaps"),
        (&["--driver", "kqueue"], "kqueue"),
        (&["--bare-lf", "guess"], "guess"),
        (&["--cores", "0"], "cores"),
        (&["--cores", "4095-4095"], "4095"),
        (&["--cores", "4096"], "--cores"),
        (&["--max-connections", "0"], "--max-connections"),
        (&["--max-connections", "many"], "'many' for '--max-connections <N>': it is not a whole number"),
        (&["--queue-messages", "1000000"], "at most"),
        (&["--max-command-line", "1MiB"], "64KiB"),
    ];
    let directory = directory();
    let data_dir = directory.path().join("data");
    for (arguments, words) in table {
        let finished = Setup::bare(MAILRACE, &data_dir).arguments(*arguments).refused();
        assert_eq!(finished.code(), 64, "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(words), "{arguments:?}: {}", finished.stderr);
        assert!(!data_dir.exists(), "{arguments:?} made the data directory");
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_refused_by_name() {
    let directory = directory();
    let file = directory.path().join("file");
    fs::write(&file, b"").expect("a file");
    let finished = Setup::new(MAILRACE, &file.join("data")).refused();
    assert_eq!(finished.code(), 73, "{}", finished.stderr);
    assert!(finished.stderr.contains(file.to_str().expect("a plain name")), "{}", finished.stderr);
}

#[test]
fn a_recipient_list_that_is_not_there_is_refused_by_name() {
    let directory = directory();
    let finished = setup(&directory).arguments(["--recipients", "/nonexistent/list"]).refused();
    assert_eq!(finished.code(), 66, "{}", finished.stderr);
    assert!(finished.stderr.contains("/nonexistent/list"), "{}", finished.stderr);
}

#[test]
fn a_recipient_list_that_is_no_list_is_refused_by_name() {
    let directory = directory();
    let list = directory.path().join("list");
    fs::write(&list, b"jones@example.org\nm\xfcller@example.org\n").expect("a file");
    for path in [&list, directory.path()] {
        let path = path.to_str().expect("a plain name");
        let finished = setup(&directory).arguments(["--recipients", path]).refused();
        assert_eq!(finished.code(), 78, "{}", finished.stderr);
        assert!(finished.stderr.contains(path), "{}", finished.stderr);
    }
}

#[test]
fn recipients_outside_the_domains_and_the_list_are_refused() {
    let directory = directory();
    let list = directory.path().join("list");
    fs::write(&list, "\u{feff}jones@example.org\ngreen@example.org\n").expect("a file");
    let list = list.to_str().expect("a plain name");
    let server = setup(&directory).arguments(["--recipients", list, "--domain", "example.org"]).start();
    let mut client = Conversation::hello(server.address()).expect("a connection");
    // The dialogue of the old texts: no angle brackets, a blank behind the colon.
    for (line, answer) in [
        ("MAIL FROM: sender@example.org", "250 2.1.0"),
        ("RCPT TO: jones@example.org", "250 2.1.5"),
        ("RCPT TO: brown@example.org", "550 5.1.1"),
        ("RCPT TO: green@example.org", "250 2.1.5"),
        ("RCPT TO:<jones@elsewhere.example>", "550 5.7.1"),
        ("DATA", "354"),
    ] {
        let reply = client.command(line).expect("a reply");
        assert!(reply.is(answer), "{line}: {reply:?}");
    }
    client.send(b"Blah blah\r\n.\r\n").expect("sent");
    client.reply().expect("a reply").receipt().expect("stored");
    let [stored] = &log_of(&server).cat()[..] else { panic!("not one message") };
    assert_eq!(stored.forward_paths(), ["jones@example.org", "green@example.org"]);
}

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["log", "cat", "--help"]] {
        let finished = run(MAILRACE, arguments);
        assert!(
            finished.code() == 0 && !finished.stdout.is_empty() && finished.stderr.is_empty(),
            "{arguments:?}"
        );
    }
}
