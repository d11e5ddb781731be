//! What all sessions of a listener have in common, with the replies that depend on it already encoded.

use crate::policy::{Limits, Recipients};

/// What to do with a message that holds a CR or LF by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareLf {
    /// Refuse it after its real end, in words that name the cause.
    #[default]
    Reject,
    /// Store it as it came. Such an octet is still no line end.
    Keep,
}

/// The settings of a session; made once, shared by all sessions.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    pub(super) limits: Limits,
    pub(super) recipients: Recipients,
    pub(super) bare_lf: BareLf,
    pub(super) greeting: Box<[u8]>,
    pub(super) helo_reply: Box<[u8]>,
    pub(super) ehlo_reply: Box<[u8]>,
}

impl SessionOptions {
    /// For the host called `hostname`.
    #[must_use]
    pub fn new(hostname: &str, limits: Limits, recipients: Recipients, bare_lf: BareLf) -> Self {
        let greeting = format!("220 {hostname} ESMTP mailrace\r\n").into_bytes().into();
        let helo_reply: Box<[u8]> = format!("250 {hostname}\r\n").into_bytes().into();
        Self { limits, recipients, bare_lf, greeting, ehlo_reply: helo_reply.clone(), helo_reply }
    }
}
