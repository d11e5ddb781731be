//! Group commit: takes what shards have queued, writes it in one go, syncs once, and only then says so.
//!
//! ```text
//!  Inbox --take--> Batch --append--> Writer --sync--> --publish--> readers may see it
//!    ^                                                                  |
//!    +------ finish (one outcome each), publish (watermarks) <----------+
//! ```
//! Level 3: names `message`, `handoff`, `log`, `observe`. The order of these steps is the first promise of this
//! program; it stands in [`step::commit`] and nowhere else. `step` and `batch` are pure but for the storage they
//! are given, so that a simulation runs them as they are; `thread` and `prepare` hold the threads and clocks, and
//! `gather` decides whether a batch waits for more.

pub mod batch;
pub mod gather;
pub mod prepare;
pub mod step;
pub mod thread;

pub use batch::Batch;
pub use gather::Gather;
pub use step::{Acknowledge, Commit, Refused, Sink, commit, step};
pub use thread::{CommitOptions, CommitThread, Ending, spawn};
