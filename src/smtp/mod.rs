//! the sans-I/O protocol.
