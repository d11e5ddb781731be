//! arguments to calls.
