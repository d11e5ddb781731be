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
        /// All octets that were given: at least one, so that whoever consumes them and asks again comes to an end.
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

    /// From now on lines may have `len_max` octets; one that has begun too.
    pub fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
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
        if len > 0 && (self.skipping || len > self.len_max) {
            self.scanned = 0;
            self.skipping = true;
            return Line::Skipped { consumed: len };
        }
        self.scanned = len;
        Line::Incomplete
    }
}

#[cfg(test)]
mod tests {
    use mailrace_support::naive::{self, NaiveLine};
    use proptest::prelude::*;

    use super::*;

    const LEN_MAX: usize = 16;

    /// Feeds `stream` in pieces as a driver does: what is not consumed stays in front of the next piece.
    fn scan(stream: &[u8], cuts: &[usize]) -> (Vec<NaiveLine>, Vec<u8>) {
        let mut scanner = LineScanner::new(LEN_MAX);
        let mut lines = Vec::new();
        let mut waiting = Vec::new();
        let mut skipped = Vec::new();
        let mut bounds: Vec<usize> = cuts.iter().map(|cut| (*cut).min(stream.len())).collect();
        bounds.extend([0, stream.len()]);
        bounds.sort_unstable();
        for pair in bounds.windows(2) {
            waiting.extend_from_slice(&stream[pair[0]..pair[1]]);
            loop {
                let consumed = match scanner.next(&waiting) {
                    Line::Complete { len } => {
                        lines.push(NaiveLine::Whole(waiting[..len].to_vec()));
                        len + 2
                    }
                    Line::BareLineEnd { consumed } => {
                        lines.push(NaiveLine::Bare);
                        consumed
                    }
                    Line::TooLong { consumed } => {
                        skipped.clear();
                        lines.push(NaiveLine::TooLong);
                        consumed
                    }
                    Line::Skipped { consumed } => {
                        skipped.extend_from_slice(&waiting[..consumed]);
                        consumed
                    }
                    Line::Incomplete => break,
                };
                assert!(consumed > 0, "asking again would never end");
                waiting.drain(..consumed);
            }
            assert!(waiting.len() <= LEN_MAX, "no more than a line waits");
        }
        (lines, [skipped, waiting].concat())
    }

    fn whole(text: &[u8]) -> NaiveLine {
        NaiveLine::Whole(text.to_vec())
    }

    #[test]
    fn only_cr_lf_ends_a_line_that_is_given_out() {
        for (stream, expected) in [
            (&b"NOOP\r\n"[..], vec![whole(b"NOOP")]),
            (b"\r\n\r\n", vec![whole(b""), whole(b"")]),
            (b"NOOP\n", vec![NaiveLine::Bare]),
            (b"\n", vec![NaiveLine::Bare]),
            (b"NO\nOP\r\n", vec![NaiveLine::Bare, whole(b"OP")]),
            (b"NO\rOP\r\n", vec![NaiveLine::Bare]),
            (b"NOOP\r\r\n", vec![NaiveLine::Bare]),
            (b"\rNOOP\n", vec![NaiveLine::Bare]),
            (b"NOOP\r", vec![]),
            (b"\0\xff\r\n", vec![whole(b"\0\xff")]),
        ] {
            assert_eq!(scan(stream, &[]).0, expected, "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole_and_one_octet_more_is_too_long() {
        assert_eq!(scan(b"01234567890123\r\n", &[]).0, [whole(b"01234567890123")]);
        let (lines, _) = scan(b"012345678901234\r\nNOOP\r\n", &[3, 5, 12]);
        assert_eq!(lines, [NaiveLine::TooLong, whole(b"NOOP")]);
    }

    #[test]
    fn a_line_that_never_ends_keeps_nothing_waiting() {
        let mut scanner = LineScanner::new(LEN_MAX);
        assert_eq!(scanner.next(&[b'a'; LEN_MAX]), Line::Incomplete);
        assert_eq!(scanner.next(&[b'a'; LEN_MAX + 1]), Line::Skipped { consumed: LEN_MAX + 1 });
        for _ in 0..1000 {
            assert!(scanner.is_skipping());
            assert_eq!(scanner.next(&[b'a'; 1000]), Line::Skipped { consumed: 1000 });
        }
        assert_eq!(scanner.next(b""), Line::Incomplete);
        assert_eq!(scanner.next(b"a\r\nNOOP\r\n"), Line::TooLong { consumed: 3 });
        assert_eq!(scanner.next(b"NOOP\r\n"), Line::Complete { len: 4 });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn any_stream_cut_anywhere_agrees_with_the_naive_twin(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![&b"\r\n"[..], b"\r", b"\n", b"a", b"NOOP", b"0123456789", b"\0"]),
                0..30,
            ),
            cuts in proptest::collection::vec(0usize..150, 0..12),
        ) {
            let stream = pieces.concat();
            let naive = naive::lines(&stream, LEN_MAX);
            prop_assert_eq!(scan(&stream, &cuts), naive.clone());
            let every_octet: Vec<usize> = (0..stream.len()).collect();
            prop_assert_eq!(scan(&stream, &every_octet), naive);
        }
    }
}
