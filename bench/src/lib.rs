//! The benchmarks of mailrace: a load generator, the programs it is compared with, the floor of the disk.
//!
//! ```text
//! load        many senders, one thread per core, against any SMTP server
//! sink        a server that keeps nothing: what the load is proven on
//! ```
//! Below them: `poll` (readiness), `cpu` (pinning and processor time), `host`, `units`, `error`.

pub mod cli;
pub mod cpu;
pub mod error;
pub mod host;
pub mod load;
pub mod poll;
pub mod sink;
pub mod units;
