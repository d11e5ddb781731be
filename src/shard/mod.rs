//! one pinned thread: bytes in, replies out.
