//! records, segments, recovery.
