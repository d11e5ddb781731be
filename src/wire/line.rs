//! Where a command line ends: CR LF, and nothing else.
//!
//! A line that is ended by a lone LF, or that holds a lone CR, is found and reported so that it can be answered
//! in words, but never given out as a command. A line over the limit is skipped as it arrives; at most the limit
//! is ever waiting in the buffer.

/// What stands at the front of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A line of `len` octets and its CR LF: consume `len + 2`.
    Complete {
        /// Octets before the CR LF.
        len: usize,
    },
    /// A line ended by LF without CR before it, or with a lone CR inside: consume `consumed` and refuse it.
    BareLineEnd {
        /// Octets up to and with the LF.
        consumed: usize,
    },
    /// A piece of a line that has passed the limit, its end not seen yet: consume `consumed`, answer nothing.
    Skipped {
        /// All octets that were given.
        consumed: usize,
    },
    /// The end of a line that has passed the limit: consume `consumed` and refuse it, once.
    TooLong {
        /// Octets up to and with the LF.
        consumed: usize,
    },
    /// No line end yet; consume nothing and call again with more behind the same octets.
    Incomplete,
}

/// Finds line ends; remembers how far it has looked, so that a line arriving octet by octet is looked at once.
#[derive(Debug, Clone)]
pub struct LineScanner {
    /// Longest line, its CR LF included.
    len_max: usize,
    /// Octets of the unfinished line known to hold no LF.
    scanned: usize,
    /// The front of the input lies inside a line that has passed the limit.
    skipping: bool,
}

impl LineScanner {
    /// For lines of at most `len_max` octets, CR LF included (RFC 5321 section 4.5.3.1.4 counts so too).
    #[must_use]
    pub fn new(len_max: usize) -> Self {
        Self { len_max, scanned: 0, skipping: false }
    }

    /// True while the front of the input is not the start of a line.
    #[must_use]
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Looks at the front of `input`, which starts where the last consumed octet ended.
    pub fn next(&mut self, input: &[u8]) -> Line {
        let Some(end) = memchr::memchr(b'\n', &input[self.scanned..]).map(|at| self.scanned + at) else {
            return self.without_end(input.len());
        };
        self.scanned = 0;
        let consumed = end + 1;
        if std::mem::take(&mut self.skipping) || consumed > self.len_max {
            return Line::TooLong { consumed };
        }
        match memchr::memchr(b'\r', &input[..end]) {
            Some(len) if len + 1 == end => Line::Complete { len },
            _ => Line::BareLineEnd { consumed },
        }
    }

    fn without_end(&mut self, len: usize) -> Line {
        if self.skipping || len > self.len_max {
            self.scanned = 0;
            self.skipping = true;
            return Line::Skipped { consumed: len };
        }
        self.scanned = len;
        Line::Incomplete
    }
}
