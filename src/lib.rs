//! mailrace takes mail in over SMTP and answers 250 only when the message is on disk.
//!
//! This page is the map of the house. Bytes become lines in `wire`, lines become a mail transaction in `smtp`, and
//! neither can see a socket, a clock or a file. A **shard** (one pinned thread with its own ring, listeners and
//! connections) moves bytes in and replies out, and nothing else. A finished message crosses to the **commit**
//! thread through one bounded queue; the commit thread appends a batch to the log, syncs once, fills in each
//! ticket's outcome and raises one number per shard. A shard answers only tickets at or below that number.
//!
//! ```text
//!             one thread per core                                one commit thread per log directory
//!  socket -> RecvBuffer -> LineScanner -> Session -+             +-> batch -> log::Writer -> segment file
//!    ^      (kernel copy)   DataScanner            |  Submission |       one vectored write, one sync
//!    |                                   Message --+-> handoff --+                 |
//!    |                           {Envelope, Body}   bounded, FIFO per shard        |
//!    +--- "250 2.0.0 stored .." <-- Outbox <-- doorbell <-- watermark[shard] <-----+ durable
//! ```
//!
//! # Layers, lowest first
//!
//! Each may name only layers above it in this list that its paragraph mentions; `tests/layering.rs` holds the same
//! table as data and reads every file.
//!
//! - [`message`]: the values that cross threads: addresses, [`message::Envelope`], [`message::Body`],
//!   [`message::Lsn`], [`message::Ticket`]. Names no layer.
//! - [`wire`]: bytes to lines, bytes to message text. The one place that decides where a line or a message ends.
//!   Names no layer.
//! - [`observe`]: counters that one thread writes and any may read, and events. Names no layer.
//! - [`policy`]: limits and recipients: facts in, a verdict with a reason out. Names `message`.
//! - [`log`]: records, segments, the writer, recovery, readers. Files are touched in `log/storage.rs` only. Names
//!   `message`.
//! - [`handoff`]: the bounded queue, the watermark and the doorbell: the only place where two threads meet. Names
//!   `message`.
//! - [`smtp`]: commands, replies, the mail transaction, the session: RFC 5321 without I/O. Names `message`,
//!   `policy`, `wire`.
//! - [`shard`]: one pinned thread: listeners, connections, deadlines, the outbox. monoio's I/O is named in
//!   `shard/net.rs` only. Cannot name `log`. Names `message`, `wire`, `policy`, `smtp`, `handoff`, `observe`.
//! - [`commit`]: group commit: batch, write, sync, publish, in this order and in one function. Cannot name `smtp`.
//!   Names `message`, `handoff`, `log`, `observe`.
//! - [`server`]: wires storage, commit thread, shards, reload and shutdown.
//! - [`config`]: the layers' options composed; parsed once, impossible to hold invalid.
//! - [`cli`]: one file per subcommand: arguments to a call, a table or a stream of output.
//!
//! # Words
//!
//! | idea | word |
//! |---|---|
//! | what the client says | command, argument |
//! | what we answer | `Reply`: reply code, enhanced status code, text |
//! | one mail | `Transaction` from MAIL to the end of data, `Message` after it |
//! | why not | `Refusal` from `policy`; one table in `smtp/reply.rs` turns it into code and text |
//! | storage | record, segment, `Lsn` (a byte address in the endless log), durable, group commit |
//! | between threads | `Ticket` (a shard's count of submissions), `Submission`, `QueueFull` |
//! | what a sender gets | `Receipt`: `partition@lsn` |
//!
//! # Decisions
//!
//! What a reader would not expect, and why it is so.
//!
//! - A connection waits for readiness and then receives into the shard's own chunk. An idle connection so holds no
//!   buffer, and both drivers behave alike. monoio gives out bare descriptors, which socket2 takes only with
//!   `unsafe`; `nix` takes them as they are, so `recv`, `send` and `shutdown` in `shard/net.rs` go through it.
//! - The body's checksum is taken in [`message`], on the shard, as chunks arrive: by the commit thread they would
//!   have left the cache.
//! - A batch waits 500 us for others while that saves syncs (`commit/gather.rs`). Under `mailrace-bench smtp-source`
//!   with a new connection for each message, syncs per message fell from 0.60 to 0.14 and the server's CPU from
//!   126 to 100 us a message; a sender who is alone waits in one batch of 512.
//! - The first segment after a start cannot be prepared ahead, so it is left for a prepared one as soon as there is
//!   one: syncs into blocks that were never written cost more.
//! - A descriptor or memory that lacks for a new segment file is answered like lack of space. Nothing was written
//!   that could be lost, and clients alone could otherwise bring the log to an end.
//! - New settings reach a session without an atomic: each shard holds those in force in a cell, which its doorbell
//!   renews, and a session that goes on compares one pointer (`shard/orders.rs`, `smtp/session.rs`). A shared
//!   pointer that is swapped would cost an atomic operation per MAIL.
//!
//! # Reading order
//!
//! `message`, `wire/data.rs`, `smtp/session.rs`, `shard/dialogue.rs`, `handoff`, `commit/step.rs`, `log/writer.rs`,
//! `log/recovery.rs`. Formats: `docs/format.md`. Protocol: `docs/smtp.md`.

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
