//! The protocol without the network: octets in, replies and messages out (RFC 5321).
//!
//! Level 2: may name `message`, `policy` and `wire`; sees no socket, clock or file. [`Session::step`] eats the
//! complete lines there are, pushes replies, and says what must happen next. It never waits for the outcome of a
//! message: the driver keeps a place in its outbox for the final reply ([`reply::of_outcome`]) and goes on.

pub mod command;
pub mod counts;
pub mod extension;
pub mod options;
pub mod reply;
pub mod session;
pub mod states;
mod transaction;

pub use counts::{Fault, SessionCounts};
pub use options::{BareLf, SessionOptions};
pub use reply::{FinalReply, Reply, ReplyBuffer};
pub use session::{Session, Step};
