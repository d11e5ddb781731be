//! What all sessions of a listener have in common, with the replies that depend on it already encoded.

use super::extension;
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

/// The settings of a session; made once, shared by all sessions. Others may follow them while sessions go on
/// ([`super::Session::renew`]).
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
    ///
    /// # Panics
    /// When `hostname` is not 1 to 255 printable ASCII octets without blanks: it is our own configuration.
    #[must_use]
    pub fn new(hostname: &str, limits: Limits, recipients: Recipients, bare_lf: BareLf) -> Self {
        let is_name =
            (1..=255).contains(&hostname.len()) && hostname.bytes().all(|octet| octet.is_ascii_graphic());
        assert!(is_name, "a host name of 1 to 255 printable octets, not {hostname:?}");
        let greeting = format!("220 {hostname} ESMTP mailrace\r\n").into_bytes().into();
        let helo_reply = format!("250 {hostname}\r\n").into_bytes().into();
        let ehlo_reply = extension::ehlo_reply(hostname, &limits).into_bytes().into();
        Self { limits, recipients, bare_lf, greeting, helo_reply, ehlo_reply }
    }
}
