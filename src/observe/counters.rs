//! Counters with one writer each, readable from any thread.
//!
//! [`ShardCounters`] belongs to one shard, [`CommitCounters`] to one commit thread; each struct fills cache lines
//! of its own, so that two threads counting never share one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that one thread raises and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`. Only the owning thread may call this: a second writer would lose counts, nothing worse.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// Raises the counter to `value` if it is below. Only the owning thread may call this.
    pub fn raise_to(&self, value: u64) {
        self.0.store(self.0.load(Relaxed).max(value), Relaxed);
    }

    /// The value now, or a few nanoseconds ago.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Declares a struct of counters with [`Counter`] fields, and how to walk them by name.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct $name {
            $($(#[$field_doc])* pub $field: Counter,)+
        }

        impl $name {
            /// Every counter's name and value.
            pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field.value()),)+].into_iter()
            }
        }
    };
}

counters! {
    /// What one shard has done since it started.
    ShardCounters {
        /// Connections accepted, those that were then turned away included.
        connections,
        /// Connections answered 421 because there were too many, or the log had failed, or the server was draining.
        connections_refused,
        /// Connections that are over.
        connections_closed,
        /// Messages handed to the commit thread.
        messages_submitted,
        /// Messages answered 250.
        messages_accepted,
        /// Messages refused, for whatever reason: before their text by its declared size, or behind it.
        messages_refused,
        /// Octets of message text answered 250.
        octets_accepted,
        /// Recipients refused.
        recipients_refused,
        /// Commands that were malformed, unknown or misplaced.
        commands_refused,
        /// Sessions that panicked and were answered 421.
        panics,
        /// Failed calls of accept(2).
        accept_errors,
        /// Sessions ended by a deadline.
        timeouts,
    }
}

counters! {
    /// What one commit thread has done since it started.
    CommitCounters {
        /// Batches written.
        batches,
        /// Synchronous writes of message data that succeeded.
        syncs,
        /// Messages stored, or discarded where that was asked for.
        messages_stored,
        /// Octets of message text stored or discarded.
        octets_stored,
        /// Messages refused for lack of space.
        refused_no_space,
        /// Messages refused because the log had failed.
        refused_log_failed,
        /// Messages in the largest batch.
        batch_messages_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_walked_by_name_in_their_order() {
        let counters = CommitCounters::default();
        counters.syncs.add(2);
        counters.syncs.add(3);
        counters.batch_messages_max.raise_to(7);
        counters.batch_messages_max.raise_to(4);
        let values: Vec<_> = counters.values().filter(|(_, value)| *value != 0).collect();
        assert_eq!(values, [("syncs", 5), ("batch_messages_max", 7)]);
    }

    #[test]
    fn counters_of_two_threads_share_no_cache_line() {
        assert_eq!(align_of::<ShardCounters>(), 128);
        assert_eq!(align_of::<CommitCounters>(), 128);
    }
}
