//! Runs that begin with all connections greeted, and visits that bring no mail.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use mailrace_bench::error::Error;
use mailrace_bench::load::gathering::Opening;
use mailrace_bench::load::pace::{Arrivals, Pace};
use mailrace_bench::load::script::MailShape;
use mailrace_bench::load::session::{Errand, Pipelining};
use mailrace_bench::load::{self, Amount, LoadOptions, Refinements};
use mailrace_bench::sink::Sink;

/// More than one thread opens at once.
const CROWD: usize = 700;

fn sink() -> Sink {
    Sink::start("127.0.0.1:0".parse().expect("an address"), None).expect("a sink")
}

fn options(sink: &Sink, connection_count: usize) -> LoadOptions {
    LoadOptions {
        target: sink.address(),
        cores: vec![0, 0],
        connection_count,
        messages_per_connection: None,
        pipelining: Pipelining::Announced,
        mail: MailShape::of_size(1024),
        amount: Amount::Count(connection_count as u64),
        server_pid: Some(std::process::id()),
    }
}

fn gathered() -> Refinements {
    Refinements { opening: Opening::Gathered { idle: Duration::from_millis(20) }, ..Refinements::default() }
}

#[test]
fn a_burst_from_a_gathered_crowd_has_one_message_of_each() {
    let sink = sink();
    let options = LoadOptions { messages_per_connection: Some(1), ..options(&sink, CROWD) };
    let mut accepted_before = None;
    let report = load::run_gathered(&options, &gathered(), &mut || {
        accepted_before = Some(sink.accepted_count());
    });
    let report = report.expect("a run");
    assert_eq!(accepted_before, Some(0), "nothing is sent before all are greeted");
    let crowd = CROWD as u64;
    assert_eq!((report.greeting_us.count, report.connections_opened), (crowd, crowd));
    assert_eq!((report.messages.accepted, sink.accepted_count()), (crowd, crowd));
    assert!(report.gathered_s.is_some() && report.failures.is_empty(), "{:?}", report.failures);
}

#[test]
fn windows_and_schedules_begin_with_the_run() {
    let (warm_up, duration) = (Duration::from_millis(50), Duration::from_millis(200));
    for pace in [Pace::Closed, Pace::Open { rate: 2000.0, arrivals: Arrivals::Constant }] {
        let sink = sink();
        let amount = Amount::For { warm_up, duration };
        let options = LoadOptions { amount, ..options(&sink, 40) };
        let report = load::run_refined(&options, &Refinements { pace, ..gathered() }).expect("a run");
        assert_eq!(report.messages_overall.accepted, sink.accepted_count());
        assert!(report.window_s > 0.0 && report.server.is_some(), "{report:?}");
        match pace {
            Pace::Closed => assert!(report.messages.accepted > 0),
            Pace::Open { .. } => assert_eq!((report.messages.accepted, report.unsent), (400, 0)),
        }
        assert_eq!(report.connections_opened, 40);
    }
}

#[test]
fn a_thread_that_cannot_run_ends_a_gathering() {
    let options = LoadOptions { cores: vec![0, 1000], ..options(&sink(), 20) };
    let error = load::run_refined(&options, &gathered());
    assert!(matches!(error, Err(Error::System { .. })), "{error:?}");
}

#[test]
fn visits_are_counted_and_bring_no_mail() {
    for pace in [Pace::Closed, Pace::Open { rate: 3000.0, arrivals: Arrivals::Poisson }] {
        let sink = sink();
        let options = LoadOptions { amount: Amount::Count(300), ..options(&sink, 10) };
        let visits = Refinements { pace, errand: Errand::Visit, ..Refinements::default() };
        let report = load::run_refined(&options, &visits).expect("a run");
        assert_eq!((report.messages.accepted, report.messages.total()), (300, 300));
        assert_eq!((sink.accepted_count(), report.failures.len()), (0, 0), "{:?}", report.failures);
        assert!(report.connections_opened >= 300 && report.megabytes_per_s == 0.0, "{report:?}");
        assert!(report.summary().contains("visits/s"), "{}", report.summary());
        assert!(report.text_to_250_us.min >= report.connect_us.min, "timed from connect: {report:?}");
    }
}

#[test]
fn a_connection_that_is_closed_in_the_silence_is_opened_again_before_the_run() {
    // Two connections are greeted, one of which is then closed; the third takes its place.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let server = std::thread::spawn(move || {
        let greet = || {
            let (mut socket, _) = listener.accept().expect("a connection");
            socket.write_all(b"220 x\r\n").expect("written");
            assert!(socket.read(&mut [0; 100]).expect("EHLO") > 0);
            socket
        };
        // Only the second EHLO is answered at first, so the run cannot begin before the close.
        let (mut first, mut second) = (greet(), greet());
        second.write_all(b"250 x\r\n").expect("written");
        drop(second);
        let mut third = greet();
        for socket in [&mut first, &mut third] {
            socket.write_all(b"250 x\r\n").expect("written");
        }
        for socket in [&mut first, &mut third] {
            for reply in [&b"250 a\r\n250 b\r\n354 c\r\n"[..], b"250 d\r\n221 e\r\n"] {
                assert!(socket.read(&mut [0; 9000]).expect("a message") > 0);
                socket.write_all(reply).expect("written");
            }
        }
    });
    let options = LoadOptions {
        target: address,
        cores: Vec::new(),
        messages_per_connection: Some(1),
        pipelining: Pipelining::Always,
        ..options(&sink(), 2)
    };
    let report = load::run_refined(&options, &gathered()).expect("a run");
    server.join().expect("the server's script");
    assert_eq!((report.messages.accepted, report.connections_opened), (2, 3));
    let failures: Vec<&str> = report.failures.keys().map(String::as_str).collect();
    assert_eq!(failures, ["closed before the reply to nothing"]);
}
