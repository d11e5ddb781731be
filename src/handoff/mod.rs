//! The only place where two threads meet: finished messages go one way, their outcomes come back the other.
//!
//! ```text
//!  shard 0 --submit--> +---------------------------+
//!  shard 1 --submit--> |  queue: count and octets  | --take--> commit thread
//!  shard n --submit--> +---------------------------+               |
//!     ^                                                    finish, publish
//!     |   next_outcome: never past the watermark                   |
//!     +------ doorbell (eventfd) <-- watermark[shard] <------------+
//! ```
//! Submissions of one shard are taken and finished in the order they were submitted; that is what makes one
//! number per shard enough to say which of them are done. Nothing here blocks a shard: a full queue gives the
//! message back and remembers to ring once there is room. The queue is bounded by messages and by octets, the
//! outcomes by a fixed ring of slots.
//!
//! Level 1: names `message`; outside crates are crossbeam-channel and rustix (eventfd). It knows neither
//! sockets nor files, and does not know what an outcome means.

mod doorbell;
mod queue;
mod watermark;

pub use doorbell::Doorbell;
pub use queue::{
    BatchBounds, IOVECS_PER_MESSAGE, Inbox, QueueFull, QueueLimits, ShardPort, Submission, Taken, Wait,
    channel,
};
