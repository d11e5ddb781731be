//! The host's limits: no descriptors, no space, a write that fails, thousands of connections.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mailrace_support::conversation::{Conversation, Reply};
use mailrace_support::peer::{not_run, report};
use mailrace_support::process::{Server, Setup};
use mailrace_support::program::run;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{directory, log, log_of, setup};

/// Idle connections that must not hinder a new one.
const IDLE_CONNECTIONS: usize = 3000;
/// How often a refused message is offered again while a test waits for room; each try is a round trip.
const RETRY_DEADLINE: Duration = Duration::from_secs(30);

fn send(server: &Server, text: &[u8]) -> Reply {
    let mut client = Conversation::hello(server.address()).expect("a connection");
    client.mail("a@example.org", "b@example.net", text).expect("a reply")
}

/// Raises this process's limit of descriptors as far as it may go.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("raising a soft limit is always allowed");
    limit.maximum.map_or(usize::MAX, |maximum| usize::try_from(maximum).unwrap_or(usize::MAX))
}

#[test]
fn thousands_of_idle_connections_hinder_nobody() {
    let count = IDLE_CONNECTIONS.min(descriptors().saturating_sub(500));
    report("note", "idle connections", "held", &count.to_string());
    let directory = directory();
    let server = setup(&directory).start();
    let mut idle: Vec<Conversation> =
        (0..count).map(|_| Conversation::connect(server.address()).expect("a connection")).collect();
    idle.iter_mut().for_each(|client| assert!(client.reply().is_ok_and(|reply| reply.code == 220)));
    send(&server, b"text\r\n").receipt().expect("stored");
    for client in &mut idle {
        assert!(client.command("NOOP").is_ok_and(|reply| reply.code == 250));
    }
    assert!(server.terminate().0.success());
    for client in &mut idle {
        assert!(client.reply().is_ok_and(|reply| reply.code == 421));
    }
}

#[test]
fn one_connection_too_many_is_told_so() {
    let directory = directory();
    let server = setup(&directory).arguments(["--max-connections", "2"]).start();
    let mut two = [(); 2].map(|()| Conversation::hello(server.address()).expect("a connection"));
    let mut third = Conversation::connect(server.address()).expect("a connection");
    let reply = third.reply().expect("a reply");
    assert!(reply.is("421 4.3.2"), "{reply:?}");
    assert!(third.closed());
    assert_eq!(two[0].command("QUIT").expect("a reply").code, 221);
    let [first, second] = two;
    assert!(first.closed());
    // The place is free once the server has seen the end; until then it may refuse.
    eventually("a free place", || Conversation::hello(server.address()).ok());
    drop(second);
}

#[test]
fn a_silent_connection_is_ended_with_421() {
    let directory = directory();
    let server = setup(&directory).arguments(["--idle-timeout", "1s"]).start();
    let mut client = Conversation::hello(server.address()).expect("a connection");
    let reply = client.reply().expect("a reply");
    assert!(reply.is("421 4.4.2"), "{reply:?}");
    assert!(client.closed());
}

#[test]
fn a_lack_of_descriptors_neither_spins_nor_kills() {
    const LIMIT: usize = 64;
    let directory = directory();
    let setup = setup(&directory).arguments(["--max-connections", "100000", "--cores", "1"]);
    let server = setup.within(["prlimit", &format!("--nofile={LIMIT}:{LIMIT}")]).start();
    // Force what the server avoids by itself: fewer descriptors than it was promised.
    let lowered = lower(&server, "nofile", open_descriptors(&server) + 8);
    assert!(lowered, "prlimit failed");
    let mut held: Vec<Conversation> =
        (0..40).filter_map(|_| Conversation::connect(server.address()).ok()).collect();
    let greeted: Vec<Option<Reply>> = held.iter_mut().take(4).map(|client| client.reply().ok()).collect();
    assert!(greeted.iter().all(|reply| reply.as_ref().is_some_and(|reply| reply.code == 220)), "{greeted:?}");
    let before = processor_time(&server);
    let began = Instant::now();
    let last = held.last_mut().expect("connected by the kernel").reply();
    assert!(
        last.as_ref().is_ok_and(|reply| reply.is("421 4.3.2")),
        "answered with the spare descriptor: {last:?}"
    );
    let used = processor_time(&server).saturating_sub(before);
    assert!(
        used <= began.elapsed() / 2 + Duration::from_millis(200),
        "spins: {used:?} in {:?}",
        began.elapsed()
    );
    drop(held);
    eventually("an answer after descriptors came free", || {
        let mut client = Conversation::hello(server.address()).ok()?;
        client.mail("a@example.org", "b@example.net", b"text\r\n").ok()?.receipt()
    });
}

fn open_descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.id())).expect("the server is ours").count()
}

fn lower(server: &Server, resource: &str, value: usize) -> bool {
    let arguments = [format!("--pid={}", server.id()), format!("--{resource}={value}:{value}")];
    run("prlimit", arguments).status.success()
}

/// User and system time so far, from fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
fn processor_time(server: &Server) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.id())).expect("the server is ours");
    let behind_name = stat.rsplit_once(')').expect("the name is in brackets").1;
    let ticks =
        behind_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Asks again until there is an answer; each try is a whole conversation with the server.
fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + RETRY_DEADLINE;
    while Instant::now() < until {
        if let Some(value) = attempt() {
            return value;
        }
        std::thread::yield_now();
    }
    panic!("{what} never came");
}

#[test]
fn a_write_that_fails_is_final() {
    let directory = directory();
    let server = setup(&directory).start();
    let receipt = send(&server, b"before\r\n").receipt().expect("stored");
    let mut waiting = Conversation::hello(server.address()).expect("a connection");
    // From now on every write to a file fails with EFBIG.
    assert!(lower(&server, "fsize", 0), "prlimit failed");
    let reply = waiting.mail("a@example.org", "b@example.net", b"after\r\n").expect("a reply");
    assert!(reply.is("451 4.3.0"), "{reply:?}");
    let event = server.event("log-failed");
    assert!(event.line.contains(server.data_dir().to_str().expect("a plain name")), "{event}");
    assert!(event.value("error").is_some_and(|error| !error.is_empty()), "{event}");
    // Room again, but a log that has failed stays failed: the kernel may have thrown pages away.
    let arguments = [format!("--pid={}", server.id()), "--fsize=unlimited:unlimited".to_owned()];
    let raised = run("prlimit", arguments).status.success();
    let refused =
        Conversation::connect(server.address()).and_then(|mut client| client.reply()).expect("a reply");
    assert!(refused.is("421 4.3.0"), "limit raised again: {raised}; {refused:?}");
    let data_dir = server.data_dir().to_owned();
    let (status, printed) = server.terminate();
    assert_eq!(status.code(), Some(74), "{printed}");
    let [stored] = &log(&data_dir).cat()[..] else { panic!("not one message") };
    assert_eq!((stored.receipt(), stored.message.as_slice()), (receipt, &b"before\r\n"[..]));
    let server = setup_again(&directory);
    send(&server, b"a new start\r\n").receipt().expect("stored");
    log_of(&server).assert_intact();
}

fn setup_again(directory: &tempfile::TempDir) -> Server {
    setup(directory).start()
}

/// A server whose data directory is on a small file system that only it sees; gone when it ends.
fn on_small_disk(directory: &tempfile::TempDir, size: &str) -> Option<Setup> {
    let mount_point = directory.path().join("disk");
    fs::create_dir(&mount_point).expect("a mount point");
    let mount_point = mount_point.to_str().expect("a plain name");
    let mount = format!("mount -t tmpfs -o size={size},mode=0700 tmpfs {mount_point}");
    let possible = run("unshare", ["--mount", "sh", "-c", &mount]);
    if !possible.status.success() {
        not_run("full disk", "a small file system cannot be mounted here (root is needed)");
        return None;
    }
    let setup = Setup::new(crate::MAILRACE, &PathBuf::from(mount_point).join("data"));
    let script = format!("{mount} && exec \"$@\"");
    Some(
        setup.arguments(["--segment-size", "1MiB"]).within(["unshare", "--mount", "sh", "-c", &script, "sh"]),
    )
}

/// The server's directory as the server sees it.
fn seen_by(server: &Server) -> PathBuf {
    let data_dir = server.data_dir().strip_prefix("/").expect("an absolute path");
    PathBuf::from(format!("/proc/{}/root", server.id())).join(data_dir)
}

#[test]
fn a_full_disk_is_answered_452_and_heals_by_itself() {
    let directory = directory();
    let Some(setup) = on_small_disk(&directory, "8m") else { return };
    let server = setup.start();
    let data_dir = seen_by(&server);
    let filler = data_dir.parent().expect("the disk").join("filler");
    let text = b"0123456789abcdef\r\n".repeat(5000);
    let mut stored = vec![send(&server, &text).receipt().expect("stored")];
    fill(&filler);
    let mut client = Conversation::hello(server.address()).expect("a connection");
    // What was prepared ahead may still be used up.
    let refused = loop {
        let reply = client.mail("a@example.org", "b@example.net", &text).expect("a reply");
        match reply.receipt() {
            Some(receipt) => stored.push(receipt),
            None => break reply,
        }
        assert!(stored.len() < 200, "a full disk stores for ever");
    };
    assert!(refused.is("452 4.3.1"), "{refused:?}");
    let _ = server.event("no-space");
    fs::remove_file(&filler).expect("the filler is ours");
    stored.push(eventually("room", || {
        client.mail("a@example.org", "b@example.net", &text).expect("the session lives on").receipt()
    }));
    let log = log(&data_dir);
    let kept = log.cat();
    assert_eq!(kept.iter().map(|stored| stored.receipt()).collect::<Vec<_>>(), stored);
    assert!(kept.iter().all(|stored| stored.message == text));
    log.assert_intact();
}

/// Writes a file until there is no room left.
fn fill(path: &PathBuf) {
    use std::io::Write;
    let mut file = fs::File::create(path).expect("a file");
    for size in [1 << 20, 4096] {
        let octets = vec![1; size];
        while file.write_all(&octets).is_ok() {}
    }
}
