//! Octets into command lines and message text: the only readers of the stream.
//!
//! Level 0: may use `bytes` and `memchr`; sees no socket, clock or file, and knows no command. [`LineScanner`]
//! decides where a command line ends, [`DataScanner`] where a message ends, and there is no second opinion
//! about either anywhere. Both work on what has been received so far and give the same answers however the
//! stream was cut on its way. Copies per octet: none; lines are looked at where they lie, text is handed out as
//! slices that share the received chunk.

pub mod data;
pub mod line;
pub mod recv_buffer;

pub use data::{DataEvent, DataScanner};
pub use line::{Line, LineScanner};
