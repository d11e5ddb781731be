//! A sink whose delay is the limit: whoever drives it in the same manner gets the same rate.
//!
//! Each session waits for every reply (smtp-source knows no other manner), and the sink answers each end of data late
//! by a time that is long against all that either load does for a message: smtp-source takes some 0.3 ms of processor
//! time for one with a connection of its own, on which the others wait. Rounds are interleaved. smtp-source tells
//! no rate, so its messages are divided by the time its process took; the load's rate is its own.
//!
//! The times are drawn between two bounds, the same ones for both. With one time for all, the sessions of the load
//! stay in step and wait for one another at each reply, those of smtp-source, which takes twice the processor time,
//! drift apart: with a new connection for each message, 20 sessions and 10 ms, that made it 3 to 12 % faster.

use std::path::Path;
use std::time::Instant;

use super::{ANY_PORT, Check, ProveOptions, RATE_TOLERANCE, seconds};
use crate::error::{Error, Result};
use crate::load::script::MailShape;
use crate::load::session::Pipelining;
use crate::load::{self, Amount, LoadOptions};
use crate::sink::Sink;
use crate::sink::fault::{Delay, Faults};
use crate::smtp_source::{self, Connections, SourceRun};

const SIZE: usize = 4096;

pub(super) fn prove(options: &ProveOptions, progress: &mut dyn FnMut(&str)) -> Result<Vec<Check>> {
    let remedy = "scripts/peers unpacks it under target/peers, or name it with its option".into();
    let program = options.smtp_source.as_deref();
    let program = program.ok_or(Error::Missing { program: "smtp-source".into(), remedy })?;
    let mut checks = Vec::new();
    for connections in [Connections::Reused, Connections::New] {
        let (mut rates, mut counts) = (Vec::new(), Vec::new());
        for round in 0..options.rounds {
            let kind = connections.name();
            progress(&format!("round {} of {}: rates, {kind} connections", round + 1, options.rounds));
            let theirs = drive_with_smtp_source(options, program, connections)?;
            let (ours, accepted, counted) = drive_with_load(options, connections)?;
            rates.push((theirs, ours));
            counts.push((counted, accepted));
        }
        let name = format!("rate, {} connections, beside smtp-source", connections.name());
        checks.push(Check::new(name, "/s", RATE_TOLERANCE, rates));
        let name = format!("messages the late sink has accepted, {} connections", connections.name());
        checks.push(Check::new(name, "", 0.0, counts));
    }
    Ok(checks)
}

fn late_sink(options: &ProveOptions) -> Result<Sink> {
    let [from, to] = options.delay_s.map(seconds);
    let faults = Faults { delay: Some(Delay { from, to }), ..Faults::default() };
    Sink::start_faulty(ANY_PORT, Some(options.sink_core), faults)
}

fn drive_with_smtp_source(options: &ProveOptions, program: &Path, connections: Connections) -> Result<f64> {
    let sink = late_sink(options)?;
    let run = SourceRun {
        program,
        cores: &options.load_cores.0,
        sessions: options.sessions,
        size: SIZE,
        messages: options.count,
        connections,
    };
    let began = Instant::now();
    smtp_source::drive(&run, sink.address())?;
    let elapsed = began.elapsed();
    if sink.accepted_count() == options.count {
        return Ok(options.count as f64 / elapsed.as_secs_f64());
    }
    let reason = format!("of {} messages {} arrived", options.count, sink.accepted_count());
    Err(Error::Server { program: program.into(), reason, said: String::new() })
}

/// The load's rate, what it says was accepted, and what the sink says.
fn drive_with_load(options: &ProveOptions, connections: Connections) -> Result<(f64, f64, f64)> {
    let sink = late_sink(options)?;
    let report = load::run(&LoadOptions {
        target: sink.address(),
        cores: options.load_cores.0.clone(),
        connection_count: options.sessions,
        messages_per_connection: (connections == Connections::New).then_some(1),
        pipelining: Pipelining::Never,
        mail: MailShape::of_size(SIZE),
        amount: Amount::Count(options.count),
        server_pid: None,
    })?;
    Ok((report.rate, report.messages_overall.accepted as f64, sink.accepted_count() as f64))
}
