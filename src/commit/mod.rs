//! group commit.
