//! The load against the null sink and against servers that misbehave: whatever is sent is counted, once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use mailrace_bench::error::Error;
use mailrace_bench::load::listen_queue::ListenQueue;
use mailrace_bench::load::report::LoadReport;
use mailrace_bench::load::script::MailShape;
use mailrace_bench::load::session::{Pipelining, Stage};
use mailrace_bench::load::{self, Amount, LoadOptions, Refinements};
use mailrace_bench::sink::Sink;
use mailrace_bench::sink::fault::{Faults, Refusal};

fn options(target: SocketAddr) -> LoadOptions {
    LoadOptions {
        target,
        cores: Vec::new(),
        connection_count: 7,
        messages_per_connection: None,
        pipelining: Pipelining::Announced,
        mail: MailShape::of_size(4096),
        amount: Amount::Count(500),
        server_pid: None,
    }
}

fn sink() -> Sink {
    Sink::start("127.0.0.1:0".parse().expect("an address"), None).expect("a sink")
}

fn assert_all_accepted(report: &LoadReport, sink: &Sink, count: u64) {
    assert_eq!((report.messages.accepted, report.messages.total()), (count, count));
    assert_eq!(sink.accepted_count(), count);
    assert_eq!(report.time_to_250_us.count, count);
    assert_eq!(report.failures.len(), 0, "{:?}", report.failures);
}

#[test]
fn every_manner_of_sending_counts_what_the_sink_counts() {
    for pipelining in [Pipelining::Always, Pipelining::Announced, Pipelining::Never] {
        for messages_per_connection in [None, Some(1), Some(3)] {
            let sink = sink();
            let options = LoadOptions { pipelining, messages_per_connection, ..options(sink.address()) };
            let report = load::run(&options).expect("a run");
            assert_all_accepted(&report, &sink, 500);
            if messages_per_connection == Some(1) {
                // Each thread's share of connections may be opened once more at the end, to find nothing left.
                assert!((500..=507).contains(&report.connections_opened), "{}", report.connections_opened);
            }
        }
    }
}

#[test]
fn several_threads_several_recipients_and_large_texts_add_up() {
    let sink = sink();
    let mut options = LoadOptions { cores: vec![0, 0, 0], ..options(sink.address()) };
    options.mail.recipient_count = 5;
    options.mail.size = 3 << 20;
    options.amount = Amount::Count(40);
    let report = load::run(&options).expect("a run");
    assert_all_accepted(&report, &sink, 40);
}

#[test]
fn a_timed_run_counts_only_its_window_but_knows_the_whole() {
    let sink = sink();
    let (warm_up, duration) = (Duration::from_millis(50), Duration::from_millis(100));
    let amount = Amount::For { warm_up, duration };
    let server_pid = Some(std::process::id());
    let report = load::run(&LoadOptions { amount, server_pid, ..options(sink.address()) }).expect("a run");
    assert_eq!(report.messages_overall.accepted, sink.accepted_count());
    assert!(report.messages.accepted > 0 && report.messages.accepted < report.messages_overall.accepted);
    // It begins and ends with the first turn of the loop at or after its times.
    assert!(report.window_s > 0.0 && report.server.is_some());
}

/// Says each of `sayings` to one connection after another, reading something before each but the first.
fn server(connections: usize, sayings: &'static [&'static str]) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let thread = std::thread::spawn(move || {
        for _ in 0..connections {
            let (mut socket, _) = listener.accept().expect("a connection");
            for (index, saying) in sayings.iter().enumerate() {
                if index > 0 {
                    let _ = socket.read(&mut [0; 9000]).expect("something said");
                }
                socket.write_all(saying.as_bytes()).expect("somebody who listens");
            }
        }
    });
    (address, thread)
}

#[test]
fn refusals_are_counted_by_reply_code() {
    let (address, server) = server(
        1,
        &[
            "220 x\r\n",
            "250 x\r\n",
            "250 a\r\n250 b\r\n354 c\r\n",
            "452 full\r\n250 a\r\n550 b\r\n503 c\r\n",
            "221 d\r\n",
        ],
    );
    let pipelining = Pipelining::Always;
    let amount = Amount::Count(2);
    let report = load::run(&LoadOptions { pipelining, amount, connection_count: 1, ..options(address) });
    let report = report.expect("a run");
    server.join().expect("the server's script");
    assert_eq!((report.messages.accepted, report.messages.refused), (0, 2));
    let failures: Vec<(&str, u64)> = report.failures.iter().map(|(f, n)| (f.as_str(), *n)).collect();
    assert_eq!(failures, [("452 to end of data", 1), ("503 to DATA", 1), ("550 to RCPT", 1)]);
}

#[test]
fn a_connection_closed_in_the_middle_loses_one_message_and_sends_the_next_on_another() {
    let (address, server) = server(2, &["220 x\r\n", "250 x\r\n", "250 a\r\n250 b\r\n354 c\r\n", ""]);
    let amount = Amount::Count(2);
    let pipelining = Pipelining::Always;
    let report = load::run(&LoadOptions { pipelining, amount, connection_count: 1, ..options(address) });
    let report = report.expect("a run");
    server.join().expect("the server's script");
    assert_eq!((report.messages.lost, report.messages.total()), (2, 2));
}

#[test]
fn a_server_that_is_no_smtp_server_ends_the_run_with_an_error_or_counts() {
    let closed =
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port nobody listens on");
    let duration = Duration::from_millis(120);
    let amount = Amount::For { warm_up: Duration::ZERO, duration };
    let report = load::run(&LoadOptions { amount, ..options(closed) }).expect("a run");
    assert_eq!(report.messages.total(), 0);
    assert!(report.failures.keys().any(|failure| failure.starts_with("connect: ")), "{:?}", report.failures);
}

#[test]
fn a_core_that_does_not_exist_is_an_error() {
    let error = load::run(&LoadOptions { cores: vec![1000], ..options(sink().address()) });
    assert!(matches!(error, Err(Error::System { .. })), "{error:?}");
}

#[test]
fn the_command_writes_json_with_every_input_and_figure() {
    let sink = sink();
    let output = Command::new(env!("CARGO_BIN_EXE_mailrace-bench"))
        .args(["load", &sink.address().to_string(), "--connections", "3", "--count", "50", "--size", "1KiB"])
        .args(["--reuse", "4", "--pipelining", "never", "--json", "-"])
        .output()
        .expect("the command");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("nothing but JSON");
    assert_eq!(json["messages"]["accepted"], 50);
    assert_eq!(json["input"]["messages_per_connection"], 4);
    assert_eq!(json["input"]["pipelining"], "never");
    for figure in
        ["/rate", "/time_to_250_us/p99", "/connect_us/p50", "/load/cpu_us_per_message", "/host/core_count"]
    {
        assert!(json.pointer(figure).is_some_and(serde_json::Value::is_number), "{figure}");
    }
    assert_eq!(sink.accepted_count(), 50);
}

#[test]
fn the_histograms_in_the_json_are_those_of_its_figures() {
    let sink = sink();
    let output = Command::new(env!("CARGO_BIN_EXE_mailrace-bench"))
        .args(["load", &sink.address().to_string(), "--count", "700", "--reuse", "3", "--json", "-"])
        .output()
        .expect("the command");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("nothing but JSON");
    for (histogram, times) in [
        ("time_to_250_ns", "time_to_250_us"),
        ("text_to_250_ns", "text_to_250_us"),
        ("connect_ns", "connect_us"),
        ("greeting_ns", "greeting_us"),
    ] {
        let encoded = json["histograms"][histogram].as_str().expect("base64");
        let octets = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
        let decoded: Histogram<u64> = Deserializer::new().deserialize(&mut &octets[..]).expect("a histogram");
        let times = &json[times];
        assert_eq!(Some(decoded.len()), times["count"].as_u64(), "{histogram}");
        let p99_us = decoded.value_at_quantile(0.99) as f64 / 1e3;
        assert_eq!(Some(p99_us), times["p99"].as_f64(), "{histogram}");
        assert_eq!(Some(decoded.max() as f64 / 1e3), times["max"].as_f64(), "{histogram}");
    }
    assert_eq!(json["time_to_250_us"]["count"], 700);
}

#[test]
fn a_message_that_is_never_answered_is_told_of() {
    // The connection is kept open until the load has cut it: nothing but the missing reply ends it.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let target = listener.local_addr().expect("its address");
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        for saying in ["220 x\r\n", "250 x\r\n", "250 a\r\n250 b\r\n354 c\r\n"] {
            socket.write_all(saying.as_bytes()).expect("somebody who listens");
            assert!(socket.read(&mut [0; 9000]).expect("something said") > 0);
        }
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let amount = Amount::For { warm_up: Duration::ZERO, duration: Duration::from_millis(50) };
    let pipelining = Pipelining::Always;
    let report = load::run(&LoadOptions { pipelining, amount, connection_count: 1, ..options(target) });
    let report = report.expect("a run");
    server.join().expect("the server's script");
    assert_eq!((report.messages.total(), report.messages_overall.lost), (0, 1));
    let failures: Vec<(&str, u64)> = report.failures.iter().map(|(f, n)| (f.as_str(), *n)).collect();
    assert_eq!(failures, [("no reply to end of data within 10 s of the end of the window", 1)]);
    let summary = report.summary();
    assert!(summary.contains("1 lost in the whole run") && summary.contains("no reply to end"), "{summary}");
}

#[test]
fn a_short_listen_queue_is_never_overrun() {
    const BACKLOG: i32 = 2;
    const CONNECTIONS: usize = 12;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a port");
    socket.listen(BACKLOG).expect("a listener");
    let listener = TcpListener::from(socket);
    let target = listener.local_addr().expect("its address");
    let mut queue = ListenQueue::of(target).expect("a queue");
    let server = std::thread::spawn(move || {
        let mut sessions = Vec::new();
        for number in 0..CONNECTIONS {
            // Nobody is accepted before the queue is as full as it gets: the load must stop by itself.
            let expected = (CONNECTIONS - number).min(BACKLOG as usize) as u32;
            let deadline = Instant::now() + Duration::from_secs(60);
            let filling = std::iter::repeat_with(|| queue.filling().expect("told"))
                .find(|filling| filling.waiting >= expected || Instant::now() > deadline)
                .expect("endless");
            assert_eq!(filling.waiting, expected, "connection {number}");
            sessions.push(listener.accept().expect("a connection").0);
        }
        // One session takes the only message, the others are closed before they are greeted.
        for saying in ["220 x\r\n", "250 x\r\n", "250 a\r\n250 b\r\n354 c\r\n"] {
            sessions[0].write_all(saying.as_bytes()).expect("somebody who listens");
            let _ = sessions[0].read(&mut [0; 9000]).expect("something said");
        }
        sessions[0].write_all(b"250 d\r\n221 e\r\n").expect("somebody who listens");
    });
    let (connection_count, pipelining) = (CONNECTIONS, Pipelining::Always);
    let options = LoadOptions { connection_count, pipelining, amount: Amount::Count(1), ..options(target) };
    let refinements = Refinements { minds_listen_queue: true, ..Refinements::default() };
    let report = load::run_refined(&options, &refinements).expect("a run");
    server.join().expect("every connection found room");
    assert_eq!((report.messages.accepted, report.connections_opened), (1, CONNECTIONS as u64));
    assert!(report.connections_held > 0);
}

#[test]
fn a_listen_queue_that_cannot_be_seen_is_an_error() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let refinements = Refinements { minds_listen_queue: true, ..Refinements::default() };
    let error = load::run_refined(&options(nobody), &refinements).expect_err("nobody listens");
    assert!(error.to_string().contains("listen queue of 127.0.0.1:"), "{error}");
}

#[test]
fn what_cannot_work_is_named_before_the_run() {
    let sink = sink();
    let here = sink.address().to_string();
    let closed =
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port nobody listens on");
    let closed = closed.to_string();
    let cases: [(&[&str], i32, &str); 10] = [
        (&[&closed, "--count", "1"], 69, "cannot connect to"),
        (&["localhost", "--count", "1"], 69, "write HOST:PORT"),
        (&[&here, "--count", "1", "--source", "::1"], 69, "from ::1"),
        (&[&here, "--count", "1", "--json", "/nowhere/x"], 69, "/nowhere/x"),
        (&[&here, "--count", "0"], 2, "--count"),
        (&[&here, "--size", "1B"], 2, "two octets"),
        (&[&here, "--duration", "0s"], 2, "longer than none"),
        (&[&here, "--connections", "0"], 2, "--connections"),
        (&[&here, "--find-max", "--p99", "0ms"], 2, "longer than none"),
        (&[&here, "--from", "a>\r\nRSET"], 2, "without angle brackets"),
    ];
    for (arguments, code, words) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailrace-bench"));
        let output = command.arg("load").args(arguments).output().expect("the command");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(sink.accepted_count(), 0);
}

#[test]
fn a_run_in_which_nothing_is_accepted_is_no_success() {
    let refusals = vec![Refusal { stage: Stage::Greeting, code: 554, per_mille: 1000 }];
    let faults = Faults { refusals, ..Faults::default() };
    let sink = Sink::start_faulty("127.0.0.1:0".parse().expect("an address"), None, faults).expect("a sink");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailrace-bench"));
    command.args(["load", &sink.address().to_string(), "--connections", "1", "--warm-up", "0s"]);
    let output = command.args(["--duration", "200ms"]).output().expect("the command");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no message was accepted") && said.contains("554 to greeting"), "{said}");
}
