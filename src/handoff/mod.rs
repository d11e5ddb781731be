//! the only place two threads meet.
