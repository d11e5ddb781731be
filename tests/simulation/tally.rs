//! What happened in the seeds that ran, so that a simulation in which nothing happens does not pass for a good one.

use std::fmt;

/// Declares the counts once, for adding, printing and asserting.
macro_rules! tally {
    ($($field:ident,)+) => {
        /// How often what happened.
        #[derive(Debug, Default, Clone)]
        pub(crate) struct Tally {
            $(pub(crate) $field: u64,)+
        }

        impl Tally {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
            }

            fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }
        }
    };
}

tally! {
    messages_sent,
    stored,
    refused_no_space,
    refused_log_failed,
    refused_by_session,
    cut_off,
    transactions_dropped,
    batches,
    batches_of_many,
    segments_prepared,
    looks_of_readers,
    reloads,
    records_shown,
    lives,
    kills,
    power_cuts,
    clean_ends,
    crashes_inside_a_call,
    interrupted_recoveries,
    torn_remains_cut,
    syncs_failed,
    outages_of_space,
}

impl Tally {
    pub(crate) fn assert_that_everything_happened(&self) {
        let never: Vec<_> = self.values().filter(|(_, count)| *count == 0).collect();
        assert!(never.is_empty(), "never seen in the whole run: {never:?}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        self.values().try_for_each(|(name, count)| {
            write!(f, "{separator}{} {count}", name.replace('_', " "))?;
            separator = ", ";
            Ok(())
        })
    }
}
