//! A run's inputs and figures, as JSON for machines and a few lines for people.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use serde::Serialize;

use super::content::{Content, SizeShare};
use super::gathering::Opening;
use super::pace::{Arrivals, Pace};
use super::session::{Errand, Pipelining};
use super::tally::{Failure, Messages, Tally};
use super::{Amount, LoadOptions, ProcessUse, Refinements};
use crate::host::Host;

/// Every input and every figure of one run.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// What was asked for.
    pub input: Input,
    /// Where.
    pub host: Host,
    /// The measured window in seconds.
    pub window_s: f64,
    /// Seconds until all connections were greeted; `null` unless the run waited for that.
    pub gathered_s: Option<f64>,
    /// Messages of the window: decided in it in a closed loop, due in it in an open loop.
    pub messages: Messages,
    /// Messages that were due in the window and never sent: the server was slower than the schedule.
    pub unsent: u64,
    /// Messages decided in the whole run, warm-up and ending included.
    pub messages_overall: Messages,
    /// 250s per second in the window.
    pub rate: f64,
    /// Octets of accepted messages' text per second in the window, in 10^6.
    pub megabytes_per_s: f64,
    /// To the 250 of each message: from the start of the write of its text in a closed loop, from its scheduled time
    /// in an open loop.
    pub time_to_250_us: Times,
    /// From the start of the write of its text in any loop.
    pub text_to_250_us: Times,
    /// From connect(2) to an open connection, in the whole run.
    pub connect_us: Times,
    /// From connect(2) to the end of the greeting, in the whole run.
    pub greeting_us: Times,
    /// Connections opened in the whole run.
    pub connections_opened: u64,
    /// Those that were opened later than wanted, for lack of room in the server's listen queue; 0 unless that was
    /// minded.
    pub connections_held: u64,
    /// What failed in the whole run, by cause.
    pub failures: BTreeMap<String, u64>,
    /// The replies among them, by stage and reply code.
    pub refusals: Vec<Refusals>,
    /// The whole distributions.
    pub histograms: Histograms,
    /// What the load itself used in the window.
    pub load: Use,
    /// What the server used in the window, when it was watched.
    pub server: Option<Use>,
}

/// Replies of one kind that were not the ones hoped for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields name themselves")]
pub struct Refusals {
    pub stage: &'static str,
    pub code: u16,
    pub count: u64,
}

/// Distributions of nanoseconds in the HdrHistogram V2 format, compressed, in base64.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "named like the times they are the whole of")]
pub struct Histograms {
    pub time_to_250_ns: String,
    pub text_to_250_ns: String,
    pub connect_ns: String,
    pub greeting_ns: String,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Input {
    /// `closed` or `open`.
    #[serde(rename = "loop")]
    kind: &'static str,
    /// Messages a second that came due; `null` in a closed loop.
    pub offered_rate: Option<f64>,
    arrivals: Option<Arrivals>,
    seed: u64,
    target: String,
    cores: Vec<usize>,
    connections: usize,
    /// `null` when connections are kept.
    messages_per_connection: Option<u32>,
    pipelining: Pipelining,
    recipients: u32,
    /// `null` when `sizes` or `corpus` says what was sent.
    size: Option<usize>,
    sizes: Option<Vec<SizeShare>>,
    corpus: Option<PathBuf>,
    corpus_messages: Option<usize>,
    sources: Vec<IpAddr>,
    minds_listen_queue: bool,
    ledger: Option<PathBuf>,
    helo: String,
    reverse_path: String,
    forward_path: String,
    warm_up_s: Option<f64>,
    duration_s: Option<f64>,
    count: Option<u64>,
    server_pid: Option<u32>,
    /// `mail`, or `visit` where a visit stands for a message and its 221 for the 250.
    pub errand: Errand,
    /// Seconds that all connections were silent before the run began; `null` unless it waited for them.
    idle_s: Option<f64>,
}

/// Processor time used in the window.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Use {
    /// Microseconds per accepted message.
    pub cpu_us_per_message: f64,
    /// Cores kept busy, on average.
    pub cores_busy: f64,
}

/// A distribution of times, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the percentiles name themselves")]
pub struct Times {
    pub count: u64,
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// What the load's threads used.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// The measured window.
    pub window: Duration,
    /// Processor time of all threads within it.
    pub cpu: Duration,
    /// Threads.
    pub threads: usize,
    /// Time until all connections were greeted, where the run waited for that.
    pub gathered_in: Option<Duration>,
}

impl LoadReport {
    /// Puts a run's counts together with what was asked for.
    pub fn new(
        options: &LoadOptions,
        refinements: &Refinements,
        tally: &Tally,
        spent: Spent,
        server: Option<ProcessUse>,
    ) -> Self {
        let window_s = spent.window.as_secs_f64();
        let rate = ratio(tally.completed as f64, window_s);
        let usage = |cpu_s: f64, elapsed_s: f64| {
            let cores_busy = ratio(cpu_s, elapsed_s);
            Use { cpu_us_per_message: ratio(cores_busy, rate) * 1e6, cores_busy }
        };
        Self {
            input: Input::new(options, refinements),
            host: Host::this(),
            window_s,
            gathered_s: spent.gathered_in.map(|time| time.as_secs_f64()),
            messages: tally.messages,
            unsent: tally.unsent,
            messages_overall: tally.messages_overall,
            rate,
            megabytes_per_s: match refinements.errand {
                Errand::Mail => ratio(tally.completed_octets as f64, window_s) / 1e6,
                Errand::Visit => 0.0,
            },
            time_to_250_us: Times::of(&tally.time_to_250),
            text_to_250_us: Times::of(&tally.text_to_250),
            connect_us: Times::of(&tally.connect),
            greeting_us: Times::of(&tally.greeting),
            connections_opened: tally.connections_opened,
            connections_held: tally.connections_held,
            failures: tally.failures.iter().map(|(f, count)| (f.to_string(), *count)).collect(),
            refusals: refusals(tally),
            histograms: Histograms::of(tally),
            load: usage(spent.cpu.as_secs_f64(), window_s),
            server: server.map(|used| usage(used.cpu_s, used.elapsed_s)),
        }
    }

    /// A few lines for a person.
    pub fn summary(&self) -> String {
        let (thing, things) = self.things();
        let mut text = format!(
            "{}\n{:.0} {}/s, {:.1} MB/s: {} accepted, {} refused in {:.2} s over {} connections; {} lost in the whole run\n",
            self.input.pace_in_words(),
            self.rate,
            things,
            self.megabytes_per_s,
            self.messages.accepted,
            self.messages.refused,
            self.window_s,
            self.input.connections,
            self.messages_overall.lost,
        );
        if self.messages.accepted > 0 {
            text += &self.times_in_words();
        } else {
            text += &format!("no {thing} was accepted, so there are no times\n");
        }
        if let Some(seconds) = self.gathered_s {
            text += &format!("all connections were greeted after {seconds:.2} s, before the first message\n");
        }
        if self.unsent > 0 {
            text += &format!("never sent, though due: {} {things}; the times leave them out\n", self.unsent);
        }
        if self.connections_held > 0 {
            text += &format!(
                "waited for room in the server's listen queue: {} connections\n",
                self.connections_held
            );
        }
        if let Some(server) = self.server {
            text += &format!(
                "server: {:.2} us of CPU per {thing}, {:.2} cores busy\n",
                server.cpu_us_per_message, server.cores_busy
            );
        }
        for (failure, count) in &self.failures {
            text += &format!("failed {count} times: {failure}\n");
        }
        text
    }

    /// What was sent, one and many.
    fn things(&self) -> (&'static str, &'static str) {
        match self.input.errand {
            Errand::Mail => ("message", "messages"),
            Errand::Visit => ("visit", "visits"),
        }
    }

    fn times_in_words(&self) -> String {
        let t = &self.time_to_250_us;
        let (begin, end) = match self.input.errand {
            Errand::Mail => ("the write of the text", "250"),
            Errand::Visit => ("connect(2)", "221"),
        };
        let from = if self.is_open_loop() { "the scheduled time" } else { begin };
        let mut text = format!(
            "time to {end} in us, from {from}: p50 {:.0}, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}
",
            t.p50, t.p90, t.p99, t.p999, t.max
        );
        text += &format!(
            "load: {:.2} us of CPU per {}, {:.2} cores busy
",
            self.load.cpu_us_per_message,
            self.things().0,
            self.load.cores_busy,
        );
        if self.is_open_loop() {
            let t = &self.text_to_250_us;
            text += &format!(
                "the same from {begin}, as a closed loop has it: p50 {:.0}, p99 {:.0}, max {:.0}
",
                t.p50, t.p99, t.max
            );
        }
        text
    }

    /// Whether the load was at its own end: it kept its cores full, so a faster server might not have had more of it.
    pub fn load_binds(&self) -> bool {
        const FULL: f64 = 0.95;
        let cores: BTreeSet<usize> = self.input.cores.iter().copied().collect();
        let threads = cores.len().min(self.input.connections).max(1);
        self.load.cores_busy >= FULL * threads as f64
    }

    /// Whether messages came at times of their own.
    pub fn is_open_loop(&self) -> bool {
        self.input.offered_rate.is_some()
    }
}

impl Input {
    fn pace_in_words(&self) -> String {
        match (self.offered_rate, self.arrivals) {
            (Some(rate), Some(arrivals)) => {
                format!(
                    "open loop, {} arrivals, {rate:.1} messages/s offered:",
                    format!("{arrivals:?}").to_lowercase()
                )
            }
            _ => "closed loop:".into(),
        }
    }

    fn new(options: &LoadOptions, refinements: &Refinements) -> Self {
        let (kind, offered_rate, arrivals) = match refinements.pace {
            Pace::Closed => ("closed", None, None),
            Pace::Open { rate, arrivals } => ("open", Some(rate), Some(arrivals)),
        };
        let (size, sizes, corpus) = match &refinements.content {
            Content::OneSize => (Some(options.mail.size), None, None),
            Content::Sizes(shares) => (None, Some(shares.clone()), None),
            Content::Corpus(corpus) => (None, None, Some(corpus)),
        };
        let (warm_up, duration, count) = match options.amount {
            Amount::For { warm_up, duration } => (Some(warm_up), Some(duration), None),
            Amount::Count(count) => (None, None, Some(count)),
        };
        Self {
            kind,
            offered_rate,
            arrivals,
            seed: refinements.seed,
            target: options.target.to_string(),
            cores: options.cores.clone(),
            connections: options.connection_count,
            messages_per_connection: options.messages_per_connection,
            pipelining: options.pipelining,
            recipients: options.mail.recipient_count,
            size,
            sizes,
            corpus: corpus.map(|corpus| corpus.source.clone()),
            corpus_messages: corpus.map(|corpus| corpus.texts.len()),
            sources: refinements.sources.clone(),
            minds_listen_queue: refinements.minds_listen_queue,
            ledger: refinements.ledger.clone(),
            helo: options.mail.helo.clone(),
            reverse_path: options.mail.reverse_path.clone(),
            forward_path: options.mail.forward_path.clone(),
            warm_up_s: warm_up.map(|d| d.as_secs_f64()),
            duration_s: duration.map(|d| d.as_secs_f64()),
            count,
            server_pid: options.server_pid,
            errand: refinements.errand,
            idle_s: match refinements.opening {
                Opening::AtOnce => None,
                Opening::Gathered { idle } => Some(idle.as_secs_f64()),
            },
        }
    }
}

impl Times {
    /// The distribution of a histogram of nanoseconds.
    pub fn of(nanoseconds: &Histogram<u64>) -> Self {
        if nanoseconds.is_empty() {
            return Self::default();
        }
        let us = |ns: u64| ns as f64 / 1e3;
        Self {
            count: nanoseconds.len(),
            min: us(nanoseconds.min()),
            mean: nanoseconds.mean() / 1e3,
            p50: us(nanoseconds.value_at_quantile(0.5)),
            p90: us(nanoseconds.value_at_quantile(0.9)),
            p99: us(nanoseconds.value_at_quantile(0.99)),
            p999: us(nanoseconds.value_at_quantile(0.999)),
            max: us(nanoseconds.max()),
        }
    }
}

impl Histograms {
    fn of(tally: &Tally) -> Self {
        Self {
            time_to_250_ns: encoded(&tally.time_to_250),
            text_to_250_ns: encoded(&tally.text_to_250),
            connect_ns: encoded(&tally.connect),
            greeting_ns: encoded(&tally.greeting),
        }
    }
}

fn encoded(histogram: &Histogram<u64>) -> String {
    let mut octets = Vec::new();
    let written = V2DeflateSerializer::new().serialize(histogram, &mut octets);
    written.expect("a histogram of these bounds can be written to memory");
    base64::engine::general_purpose::STANDARD.encode(octets)
}

fn refusals(tally: &Tally) -> Vec<Refusals> {
    let replies = tally.failures.iter().filter_map(|(failure, count)| match failure {
        Failure::Reply(stage, code) => Some(Refusals { stage: stage.name(), code: *code, count: *count }),
        _ => None,
    });
    replies.collect()
}

/// `a / b`, or 0 where there is nothing to divide by: JSON has no infinity.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}
