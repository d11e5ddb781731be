//! What an operator sees: counters that one thread writes and any may read, and events, one line each.
//!
//! Level 0: names no other layer and no crate. The hot path pays a plain load and store per count: each counter
//! struct has one writing thread, so no read-modify-write is needed, and readers take a value that may be a few
//! nanoseconds old. Events are for what happens seldom: start, stop, failure.

pub mod counters;
pub mod event;

pub use counters::{CommitCounters, Counter, ShardCounters};
pub use event::{Event, EventName};
