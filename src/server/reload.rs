//! New settings for a running server: those that sessions go by change at once, those that are built into it wait for
//! a restart and are named.
//!
//! No session is dropped, and a transaction under way ends by the settings it began with.

use std::net::SocketAddr;

use super::session_options;
use crate::config::{BatchLimits, Config, ConfigError, ConnectionLimits, QueueBounds, is_loopback};
use crate::observe::{Event, EventName};
use crate::policy::{Limits, RecipientCounts};
use crate::shard::ShardRenewal;

/// Gives a running server new settings; may be sent to any thread.
#[derive(Debug)]
pub struct Reload {
    /// What is in force.
    running: Config,
    shards: Vec<ShardRenewal>,
}

impl Reload {
    pub(super) fn new(running: Config, shards: Vec<ShardRenewal>) -> Self {
        Self { running, shards }
    }

    /// What is in force.
    #[must_use]
    pub fn running(&self) -> &Config {
        &self.running
    }

    /// Puts of `wanted` in force what a running server can change: recipients, the limits of a session, what is done
    /// with bare line ends, and the name in the greeting. Sessions of every shard go by it when this returns, from
    /// their next MAIL on.
    ///
    /// Gives the event that says so, with the options that need a restart.
    ///
    /// # Errors
    /// [`ConfigError`] when it does not agree with what cannot be changed. Everything stays as it was then.
    pub fn apply(&mut self, wanted: &Config) -> Result<Event, ConfigError> {
        let renewed = renewed(&self.running, wanted)?;
        let session = session_options(&renewed);
        self.shards.iter().for_each(|shard| shard.start(session.clone()));
        let late = self.shards.iter().filter(|shard| !shard.wait()).count();
        self.running = renewed;
        Ok(reloaded(&self.running, &needs_restart(&self.running, wanted), late))
    }
}

/// The running settings with those of `wanted` that can change.
fn renewed(running: &Config, wanted: &Config) -> Result<Config, ConfigError> {
    let renewed = Config {
        hostname: wanted.hostname.clone(),
        recipients: wanted.recipients.clone(),
        accept_any: wanted.accept_any,
        limits: wanted.limits.clone(),
        bare_lf: wanted.bare_lf,
        ..running.clone()
    };
    // `wanted` may have meant to listen elsewhere.
    if renewed.recipients.takes_any()
        && !renewed.accept_any
        && !running.recipients.takes_any()
        && let Some(address) = renewed.listen.iter().find(|address: &&SocketAddr| !is_loopback(address))
    {
        return Err(ConfigError::Running(Box::new(ConfigError::OpenSink(*address))));
    }
    renewed.checked().map_err(|error| ConfigError::Running(Box::new(error)))
}

/// The options whose new value a running server cannot take.
fn needs_restart(running: &Config, wanted: &Config) -> Vec<&'static str> {
    // Taken apart without `..`: a new setting must be put on one of the two sides.
    let Config {
        listen,
        data_dir,
        hostname: _,
        cores,
        recipients: _,
        accept_any: _,
        limits: _,
        bare_lf: _,
        connections,
        queue,
        batch,
        durability,
        segment_size,
        driver,
    } = running;
    let ConnectionLimits { connections_max, idle_timeout, pipelined_max, drain_timeout } = *connections;
    let QueueBounds { messages_max, octets_max, in_flight_max } = *queue;
    let BatchLimits { messages_max: batch_messages_max, octets_max: batch_octets_max, gather } = *batch;
    [
        ("--listen", *listen != wanted.listen),
        ("--data-dir", *data_dir != wanted.data_dir),
        ("--cores", *cores != wanted.cores),
        ("--max-connections", connections_max != wanted.connections.connections_max),
        ("--max-pipelined", pipelined_max != wanted.connections.pipelined_max),
        ("--idle-timeout", idle_timeout != wanted.connections.idle_timeout),
        ("--drain-timeout", drain_timeout != wanted.connections.drain_timeout),
        ("--segment-size", *segment_size != wanted.segment_size),
        ("--durability", *durability != wanted.durability),
        ("--commit-delay", gather != wanted.batch.gather),
        ("--max-batch-messages", batch_messages_max != wanted.batch.messages_max),
        ("--max-batch-bytes", batch_octets_max != wanted.batch.octets_max),
        ("--queue-messages", messages_max != wanted.queue.messages_max),
        ("--queue-bytes", octets_max != wanted.queue.octets_max),
        ("--max-in-flight", in_flight_max != wanted.queue.in_flight_max),
        ("--driver", *driver != wanted.driver),
    ]
    .into_iter()
    .filter_map(|(option, differs)| differs.then_some(option))
    .collect()
}

fn reloaded(config: &Config, needs_restart: &[&str], late: usize) -> Event {
    let counts = config.recipients.counts();
    let count =
        |of: fn(RecipientCounts) -> usize| counts.map_or("any".to_owned(), |counts| of(counts).to_string());
    let Limits { message_size_max, recipients_max, bad_commands_max, command_line_max } = config.limits;
    let needs_restart = if needs_restart.is_empty() { "none".to_owned() } else { needs_restart.join(",") };
    Event::new(EventName::Reloaded)
        .field("domains", count(|counts| counts.domains))
        .field("mailboxes", count(|counts| counts.mailboxes))
        .field("max_message_size", message_size_max)
        .field("max_recipients", recipients_max)
        .field("max_bad_commands", bad_commands_max)
        .field("max_command_line", command_line_max)
        .field("needs_restart", needs_restart)
        .field("late_shards", late)
}
