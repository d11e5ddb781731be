//! One pinned thread: bytes in, replies out, and nothing else.

pub mod dialogue;
pub mod outbox;
mod parking;
pub mod tickets;
