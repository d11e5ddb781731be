//! The benchmarks of mailrace: a load generator, the programs it is compared with, the floor of the disk.
//!
//! ```text
//! load        many senders, one thread per core, against any SMTP server
//! quick       mailrace in its modes over a few numbers of connections, beside the floor of the disk
//! compare     mailrace beside other servers, which it fetches and runs
//! curves      servers along an offered rate, a size, a number of connections or of recipients
//! smtp-source mailrace against Postfix's smtp-sink, both driven by Postfix's smtp-source
//! ceiling     this machine's limits, and mailrace's share of the one that binds
//! report      saved results in one page for readers
//! targets     what the project has set itself, and how it stands
//! sink        a server that keeps nothing: what the load is proven on
//! prove       the load itself: whether its figures are the ones they must be
//! audit       the ledger of a load against the log of the mailrace it went to
//! ```
//! Below them: `mailrace` and `process` (servers as child processes), `group` (all that belongs to one), `interruption`
//! (what must not stay behind), `workspace` (their data), `floor` (what the disk gives), `poll` (readiness), `cpu`
//! (pinning and processor time), `progress` (how far a benchmark is), `host`, `stats`, `table`, `units`, `error`.
//!
//! Every figure stands beside what it was measured with, and server and load run on cores of their own.

pub mod audit;
pub mod ceiling;
pub mod cli;
pub mod compare;
pub mod cpu;
pub mod error;
pub mod floor;
pub mod group;
pub mod host;
pub mod interruption;
pub mod ledger;
pub mod load;
pub mod mailrace;
pub mod peers;
pub mod poll;
pub mod process;
pub mod progress;
pub mod prove;
pub mod quick;
pub mod report;
pub mod sink;
pub mod smtp_source;
pub mod stats;
pub mod table;
pub mod targets;
pub mod units;
pub mod workspace;
