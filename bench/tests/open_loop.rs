//! The open loop against a sink that stalls, delays, refuses and resets: nothing is hidden, everything is counted.

use std::time::Duration;

use mailrace_bench::load::content::{Content, Corpus, SizeShare};
use mailrace_bench::load::highest_rate::{self, Goal};
use mailrace_bench::load::pace::{Arrivals, Pace, Schedule};
use mailrace_bench::load::report::LoadReport;
use mailrace_bench::load::script::MailShape;
use mailrace_bench::load::session::{Pipelining, Stage};
use mailrace_bench::load::{self, Amount, LoadOptions, Refinements};
use mailrace_bench::sink::Sink;
use mailrace_bench::sink::fault::{Delay, Faults, Refusal, Reset, Stall};

fn sink(faults: Faults) -> Sink {
    Sink::start_faulty("127.0.0.1:0".parse().expect("an address"), None, faults).expect("a sink")
}

fn options(sink: &Sink) -> LoadOptions {
    LoadOptions {
        target: sink.address(),
        cores: Vec::new(),
        connection_count: 8,
        messages_per_connection: None,
        pipelining: Pipelining::Announced,
        mail: MailShape::of_size(1024),
        amount: Amount::Count(200),
        server_pid: None,
    }
}

fn open(rate: f64, arrivals: Arrivals) -> Refinements {
    Refinements { pace: Pace::Open { rate, arrivals }, ..Refinements::default() }
}

fn run(options: &LoadOptions, refinements: &Refinements) -> LoadReport {
    load::run_refined(options, refinements).expect("a run")
}

#[test]
fn a_stall_is_charged_to_every_message_that_came_due_in_it() {
    let (length, every) = (Duration::from_millis(100), Duration::from_millis(400));
    let sink = sink(Faults { stall: Some(Stall { length, every }), ..Faults::default() });
    // Two connections: in a stall nearly all of its messages wait in the schedule.
    let (warm_up, duration) = (Duration::from_millis(100), every * 4);
    let amount = Amount::For { warm_up, duration };
    let rate = 500.0;
    let options = LoadOptions { amount, connection_count: 2, ..options(&sink) };
    let report = run(&options, &open(rate, Arrivals::Constant));
    let count = (rate * duration.as_secs_f64()) as u64;
    assert_eq!((report.messages.accepted, report.messages.total(), report.unsent), (count, count, 0));
    assert_eq!(report.messages_overall.accepted, sink.accepted_count());
    // One in 100 of an interval's 200 messages waits longer: those that came due in the first 4 ms of the stall.
    let computed_us = (length.as_secs_f64() - 0.01 * every.as_secs_f64()) * 1e6;
    let p99 = report.time_to_250_us.p99;
    assert!(p99 > computed_us * 0.95, "computed {computed_us}, reported {p99}");
    // Of the 50 messages that come due in a stall, at most two have a connection to be written to: the others wait in the
    // schedule for its end, and that is what a closed loop does not show. Whatever else this machine does comes on top.
    let (messages, interval_us) = (length.as_secs_f64() * rate, 1e6 / rate);
    let waits_us =
        (2..messages as u32).map(|index| length.as_secs_f64() * 1e6 - f64::from(index) * interval_us);
    let hidden_us = waits_us.sum::<f64>() / (every.as_secs_f64() * rate);
    let told_us = report.time_to_250_us.mean - report.text_to_250_us.mean;
    assert!(told_us > hidden_us * 0.9, "computed {hidden_us}, reported {told_us}");
}

#[test]
fn a_rate_of_which_nothing_can_be_said_does_not_hold() {
    let sink = sink(Faults::default());
    let (warm_up, duration) = (Duration::ZERO, Duration::from_millis(20));
    let options = LoadOptions { amount: Amount::For { warm_up, duration }, ..options(&sink) };
    // One message in 20 s is due: in none of these windows.
    let goal = Goal::new(Duration::from_millis(500), 0.05);
    let found = highest_rate::find(&options, &Refinements::default(), Arrivals::Constant, goal, &mut |_| ());
    let found = found.expect("a search");
    assert_eq!((found.rate, found.too_high, found.trials.len()), (None, None, 1));
    let why = found.last_flaw().expect("a reason");
    assert!(why.contains("only 0 messages came due") && why.contains("raise --duration"), "{why}");
}

#[test]
fn every_scheduled_message_is_sent_once_in_every_manner() {
    for pipelining in [Pipelining::Always, Pipelining::Never] {
        for messages_per_connection in [None, Some(1), Some(3)] {
            for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
                let sink = sink(Faults::default());
                let options = LoadOptions { pipelining, messages_per_connection, ..options(&sink) };
                let report = run(&options, &open(5000.0, arrivals));
                assert_eq!((report.messages.accepted, sink.accepted_count()), (200, 200));
                assert_eq!((report.time_to_250_us.count, report.failures.len()), (200, 0));
                if messages_per_connection == Some(1) {
                    assert_eq!(report.connections_opened, 200);
                }
            }
        }
    }
}

#[test]
fn a_timed_open_loop_measures_exactly_what_its_schedule_holds() {
    let sink = sink(Faults::default());
    let (warm_up, duration) = (Duration::from_millis(50), Duration::from_millis(200));
    let options = LoadOptions { amount: Amount::For { warm_up, duration }, ..options(&sink) };
    let report = run(&options, &Refinements { seed: 5, ..open(2000.0, Arrivals::Poisson) });
    let times = Schedule::new(2000.0, Arrivals::Poisson, 5, (0, 1)).ending(Some(250_000_000));
    let due = times.filter(|at| *at >= 50_000_000).count() as u64;
    assert_eq!((report.messages.accepted, report.unsent), (due, 0));
}

#[test]
fn delays_refusals_and_resets_are_counted_alike_on_both_sides() {
    let (from, to) = (Duration::from_millis(1), Duration::from_millis(4));
    let refusal = |stage, code| Refusal { stage, code, per_mille: 100 };
    let faults = Faults {
        seed: 3,
        delay: Some(Delay { from, to }),
        refusals: vec![refusal(Stage::Mail, 451), refusal(Stage::Recipient, 450), refusal(Stage::Body, 554)],
        resets: vec![Reset { stage: Stage::Body, per_mille: 50 }],
        stall: None,
    };
    for refinements in [Refinements::default(), open(4000.0, Arrivals::Constant)] {
        let sink = sink(faults.clone());
        let report = run(&options(&sink), &refinements);
        assert_eq!((report.messages.total(), report.messages.accepted), (200, sink.accepted_count()));
        assert_eq!(report.messages.lost, sink.reset_count());
        let drawn = report.refusals.iter().filter(|refusal| refusal.code != 503);
        assert_eq!(drawn.map(|refusal| refusal.count).sum::<u64>(), sink.refusal_count());
        let kinds: Vec<(&str, u16)> = report.refusals.iter().map(|r| (r.stage, r.code)).collect();
        for kind in [("MAIL", 451), ("RCPT", 450), ("end of data", 554)] {
            assert!(kinds.contains(&kind), "{kinds:?}");
        }
        assert!(report.messages.lost > 0 && report.text_to_250_us.min >= 1000.0, "{report:?}");
    }
}

#[test]
fn sizes_corpora_and_source_addresses_are_sent_as_asked() {
    let sink = sink(Faults::default());
    let sizes = [1024, 65_536].map(|size| SizeShare { size, weight: 1 }).to_vec();
    let sources = vec!["127.0.0.2".parse().expect("one"), "127.0.0.3".parse().expect("another")];
    let refinements = Refinements { content: Content::Sizes(sizes), sources, ..Refinements::default() };
    let report = run(&options(&sink), &refinements);
    let mean = report.megabytes_per_s * 1e6 / report.rate;
    assert!((20_000.0..47_000.0).contains(&mean), "{mean}");
    let corpus = Corpus { source: "x".into(), texts: vec![b".a\r\n.\r\n".to_vec(), b"b\r\n".to_vec()] };
    let refinements = Refinements { content: Content::Corpus(corpus), ..Refinements::default() };
    let report = run(&options(&sink), &refinements);
    assert_eq!((report.messages.accepted, sink.accepted_count()), (200, 400));
    assert!((report.megabytes_per_s * 1e6 / report.rate - 5.0).abs() < 0.01, "{report:?}");
}

#[test]
fn a_search_never_goes_beyond_what_a_slow_server_can_do() {
    // Each of 8 connections takes at least 10 ms a message: no more than 800 a second can hold.
    let delay = Duration::from_millis(10);
    let sink = sink(Faults { delay: Some(Delay { from: delay, to: delay }), ..Faults::default() });
    let (warm_up, duration) = (Duration::from_millis(20), Duration::from_millis(300));
    let options = LoadOptions { amount: Amount::For { warm_up, duration }, ..options(&sink) };
    let goal = Goal::new(Duration::from_millis(30), 400.0);
    let found = highest_rate::find(&options, &Refinements::default(), Arrivals::Constant, goal, &mut |_| ());
    let found = found.expect("a search");
    let too_high = found.too_high.expect("a rate that is too high");
    assert!(found.rate.is_none_or(|rate| rate < too_high) && too_high < 2000.0, "{:?}", found.rate);
    let at_limit = found.trials.iter().filter(|trial| trial.offered_rate == too_high);
    assert_eq!(found.load_binds, at_limit.clone().any(|trial| trial.load_binds));
    assert!(at_limit.count() == 2, "a rate that fails is tried once more");
    let sent: u64 = found.trials.iter().map(|trial| trial.report.messages_overall.accepted).sum();
    assert_eq!(sent, sink.accepted_count());
}
