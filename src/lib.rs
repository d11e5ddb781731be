//! mailrace: mail in over SMTP, a durable segmented log out.

pub mod cli;
pub mod commit;
pub mod config;
pub mod handoff;
pub mod log;
pub mod message;
pub mod observe;
pub mod policy;
pub mod server;
pub mod shard;
pub mod smtp;
pub mod wire;
