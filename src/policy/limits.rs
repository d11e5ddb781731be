//! The limits of one session, each with its default.

/// What one session may ask of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest message text, in octets with dots unstuffed; one of exactly this size is taken.
    pub message_size_max: usize,
    /// Recipients accepted in one transaction. RFC 5321 section 4.5.3.1.8 asks for at least 100.
    pub recipients_max: usize,
    /// Refused commands that are answered one by one; the next one ends the session.
    pub bad_commands_max: u32,
    /// Octets of a command line, CR LF included. RFC 5321 section 4.5.3.1.4 asks for at least 512, more with
    /// extensions.
    pub command_line_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size_max: 25 * 1024 * 1024,
            recipients_max: 1000,
            bad_commands_max: 100,
            command_line_max: 2048,
        }
    }
}
