//! The text of a message between DATA and its end: CR LF . CR LF, and nothing else.

use bytes::Bytes;

/// What the text goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataEvent {
    /// The next octets of the text, dots unstuffed; never empty.
    Text(Bytes),
    /// The end of the data was consumed; what follows in the input is a command again.
    End {
        /// A CR without LF behind it or an LF without CR before it was in the text.
        bare_line_end: bool,
    },
    /// The input is used up.
    NeedInput,
}

/// Reads one message's text; make a new one for each DATA.
#[derive(Debug, Clone, Default)]
pub struct DataScanner {}

impl DataScanner {
    /// At the start of the text, which counts as the start of a line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Splits the next event off the front of `input`.
    pub fn next(&mut self, input: &mut Bytes) -> DataEvent {
        input.clear();
        DataEvent::NeedInput
    }
}
