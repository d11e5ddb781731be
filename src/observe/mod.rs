//! counters and events.
