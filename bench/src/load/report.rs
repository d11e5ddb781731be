//! A run's inputs and figures, as JSON for machines and a few lines for people.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::session::Pipelining;
use super::tally::{Messages, Tally};
use super::{Amount, LoadOptions, ProcessUse};
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
    /// Messages decided in the window.
    pub messages: Messages,
    /// Messages decided in the whole run, warm-up and ending included.
    pub messages_overall: Messages,
    /// Accepted messages per second in the window.
    pub rate: f64,
    /// Octets of accepted messages' text per second in the window, in 10^6.
    pub megabytes_per_s: f64,
    /// From the start of the write of a text to its 250.
    pub time_to_250_us: Times,
    /// From connect(2) to an open connection, in the whole run.
    pub connect_us: Times,
    /// From connect(2) to the end of the greeting, in the whole run.
    pub greeting_us: Times,
    /// Connections opened in the whole run.
    pub connections_opened: u64,
    /// What failed in the whole run, by cause.
    pub failures: BTreeMap<String, u64>,
    /// What the load itself used in the window.
    pub load: Use,
    /// What the server used in the window, when it was watched.
    pub server: Option<Use>,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Input {
    target: String,
    cores: Vec<usize>,
    connections: usize,
    /// `null` when connections are kept.
    messages_per_connection: Option<u32>,
    pipelining: Pipelining,
    recipients: u32,
    size: usize,
    helo: String,
    reverse_path: String,
    forward_path: String,
    warm_up_s: Option<f64>,
    duration_s: Option<f64>,
    count: Option<u64>,
    server_pid: Option<u32>,
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
}

impl LoadReport {
    /// Puts a run's counts together with what was asked for.
    pub fn new(options: &LoadOptions, tally: &Tally, spent: Spent, server: Option<ProcessUse>) -> Self {
        let window_s = spent.window.as_secs_f64();
        let rate = ratio(tally.messages.accepted as f64, window_s);
        let usage = |cpu_s: f64, elapsed_s: f64| {
            let cores_busy = ratio(cpu_s, elapsed_s);
            Use { cpu_us_per_message: ratio(cores_busy, rate) * 1e6, cores_busy }
        };
        Self {
            input: Input::new(options),
            host: Host::this(),
            window_s,
            messages: tally.messages,
            messages_overall: tally.messages_overall,
            rate,
            megabytes_per_s: rate * options.mail.size as f64 / 1e6,
            time_to_250_us: Times::of(&tally.time_to_250),
            connect_us: Times::of(&tally.connect),
            greeting_us: Times::of(&tally.greeting),
            connections_opened: tally.connections_opened,
            failures: tally.failures.iter().map(|(f, count)| (f.to_string(), *count)).collect(),
            load: usage(spent.cpu.as_secs_f64(), window_s),
            server: server.map(|used| usage(used.cpu_s, used.elapsed_s)),
        }
    }

    /// A few lines for a person.
    pub fn summary(&self) -> String {
        let t = &self.time_to_250_us;
        let mut text = format!(
            "{:.0} messages/s, {:.1} MB/s: {} accepted, {} refused, {} lost in {:.2} s over {} connections\n\
             time to 250 in us: p50 {:.0}, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}\n\
             load: {:.2} us of CPU per message, {:.2} cores busy\n",
            self.rate,
            self.megabytes_per_s,
            self.messages.accepted,
            self.messages.refused,
            self.messages.lost,
            self.window_s,
            self.input.connections,
            t.p50,
            t.p90,
            t.p99,
            t.p999,
            t.max,
            self.load.cpu_us_per_message,
            self.load.cores_busy,
        );
        if let Some(server) = self.server {
            text += &format!(
                "server: {:.2} us of CPU per message, {:.2} cores busy\n",
                server.cpu_us_per_message, server.cores_busy
            );
        }
        for (failure, count) in &self.failures {
            text += &format!("failed {count} times: {failure}\n");
        }
        text
    }
}

impl Input {
    fn new(options: &LoadOptions) -> Self {
        let (warm_up, duration, count) = match options.amount {
            Amount::For { warm_up, duration } => (Some(warm_up), Some(duration), None),
            Amount::Count(count) => (None, None, Some(count)),
        };
        Self {
            target: options.target.to_string(),
            cores: options.cores.clone(),
            connections: options.connection_count,
            messages_per_connection: options.messages_per_connection,
            pipelining: options.pipelining,
            recipients: options.mail.recipient_count,
            size: options.mail.size,
            helo: options.mail.helo.clone(),
            reverse_path: options.mail.reverse_path.clone(),
            forward_path: options.mail.forward_path.clone(),
            warm_up_s: warm_up.map(|d| d.as_secs_f64()),
            duration_s: duration.map(|d| d.as_secs_f64()),
            count,
            server_pid: options.server_pid,
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

/// `a / b`, or 0 where there is nothing to divide by: JSON has no infinity.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}
