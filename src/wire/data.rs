//! The text of a message between DATA and its end: CR LF . CR LF, and nothing else.
//!
//! The CR LF before the dot belongs to the text, which begins as if behind a CR LF. A dot at the start of a line
//! is never text (RFC 5321 section 4.5.2): it ends one slice, and the next begins behind it. A CR or LF by itself
//! ends no line; the scanner passes it on and remembers that it saw one. All state is held here, whatever the
//! cut: of what it was given the scanner leaves nothing in the input, and keeps back one octet at most.
//!
//! ```text
//!            CR           LF             .            CR           LF
//!   Text ---------> Cr ---------> Start ------> Dot ------> DotCr ------> the end
//!    ^  other octet  |             |             |            |
//!    +---------------+-------------+-------------+------------+   the CR kept back in DotCr is text after all
//! ```
//!
//! Speed: one search for CR LF . and one pass for lone CR and LF, both vectorised; no copy.

use std::sync::LazyLock;

use bytes::{Buf, Bytes};
use memchr::memmem::Finder;

/// What the text goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataEvent {
    /// The next octets of the text, dots unstuffed; never empty.
    Text(Bytes),
    /// The end of the data was consumed; what follows in the input is a command again.
    End,
    /// The input is used up.
    NeedInput,
}

/// Reads one message's text; make a new one for each DATA.
#[derive(Debug, Clone, Default)]
pub struct DataScanner {
    place: Place,
    bare_line_end: bool,
}

/// Where the octets consumed so far have led.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Behind a CR LF of the text, or before its first octet.
    #[default]
    Start,
    /// Within a line.
    Text,
    /// Behind a CR within a line, which was passed on.
    Cr,
    /// Behind a dot at the start of a line, which was dropped.
    Dot,
    /// Behind that dot and a CR, which is kept back.
    DotCr,
}

impl DataScanner {
    /// At the start of the text, which counts as the start of a line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A CR without LF behind it or an LF without CR before it was in the text so far.
    #[must_use]
    pub fn saw_bare_line_end(&self) -> bool {
        self.bare_line_end
    }

    /// Splits the next event off the front of `input`.
    pub fn next(&mut self, input: &mut Bytes) -> DataEvent {
        while let Some(first) = input.first() {
            match (self.place, first) {
                (Place::Start, b'.') => self.pass(Place::Dot, input),
                (Place::Dot, b'\r') => self.pass(Place::DotCr, input),
                (Place::DotCr, b'\n') => {
                    input.advance(1);
                    return DataEvent::End;
                }
                (Place::DotCr, _) => {
                    self.place = Place::Text;
                    self.bare_line_end = true;
                    return DataEvent::Text(Bytes::from_static(b"\r"));
                }
                _ => return DataEvent::Text(self.slice(input)),
            }
        }
        DataEvent::NeedInput
    }

    fn pass(&mut self, place: Place, input: &mut Bytes) {
        self.place = place;
        input.advance(1);
    }

    /// Splits off all text up to the next dot at the start of a line.
    fn slice(&mut self, input: &mut Bytes) -> Bytes {
        let behind_cr = self.place == Place::Cr;
        let slice = input.split_to(text_len(input, behind_cr));
        self.bare_line_end = self.bare_line_end || holds_bare_line_end(&slice, behind_cr);
        self.place = match *slice {
            [b'\n'] if behind_cr => Place::Start,
            [.., b'\r', b'\n'] => Place::Start,
            [.., b'\r'] => Place::Cr,
            _ => Place::Text,
        };
        slice
    }
}

/// Octets of `input` before the first dot that stands behind a CR LF.
fn text_len(input: &[u8], behind_cr: bool) -> usize {
    static STUFFED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n."));
    if behind_cr && input.starts_with(b"\n.") {
        return 1;
    }
    STUFFED.find(input).map_or(input.len(), |at| at + b"\r\n".len())
}

/// A CR in `slice` not followed by LF, or an LF not behind a CR. A CR at the very end is judged with the next
/// slice, by `behind_cr`.
fn holds_bare_line_end(slice: &[u8], behind_cr: bool) -> bool {
    let Some(first) = slice.first() else { return false };
    // No early exit: the compiler turns the loop into vector code, and a lone CR or LF is rare.
    let pairs = slice.iter().zip(&slice[1..]);
    let unpaired =
        pairs.fold(false, |unpaired, (left, right)| unpaired | ((*left == b'\r') != (*right == b'\n')));
    unpaired || behind_cr != (*first == b'\n')
}

#[cfg(test)]
mod tests {
    use mailrace_support::naive;
    use proptest::prelude::*;

    use super::*;

    /// Text, a lone line end seen, octets left behind the end; `None` without an end.
    type Seen = Option<(Vec<u8>, bool, Vec<u8>)>;

    fn scan(stream: &[u8], cuts: &[usize]) -> Seen {
        let mut scanner = DataScanner::new();
        let mut text = Vec::new();
        let mut bounds: Vec<usize> = cuts.iter().map(|cut| (*cut).min(stream.len())).collect();
        bounds.extend([0, stream.len()]);
        bounds.sort_unstable();
        for pair in bounds.windows(2) {
            let mut input = Bytes::copy_from_slice(&stream[pair[0]..pair[1]]);
            loop {
                match scanner.next(&mut input) {
                    DataEvent::Text(slice) => {
                        assert!(!slice.is_empty(), "a slice of text holds at least one octet");
                        text.extend_from_slice(&slice);
                    }
                    DataEvent::End => {
                        let rest = [&input, &stream[pair[1]..]].concat();
                        return Some((text, scanner.saw_bare_line_end(), rest));
                    }
                    DataEvent::NeedInput => break,
                }
            }
            assert!(input.is_empty(), "the scanner leaves nothing in the input");
        }
        None
    }

    fn seen(text: &[u8], bare_line_end: bool, rest: &[u8]) -> Seen {
        Some((text.to_vec(), bare_line_end, rest.to_vec()))
    }

    #[test]
    fn only_cr_lf_dot_cr_lf_ends_the_text() {
        for (stream, expected) in [
            (&b".\r\n"[..], seen(b"", false, b"")),
            (b".\r\nQUIT\r\n", seen(b"", false, b"QUIT\r\n")),
            (b"a\r\n.\r\nb", seen(b"a\r\n", false, b"b")),
            (b"\r\n.\r\n", seen(b"\r\n", false, b"")),
            (b"..\r\n.\r\n", seen(b".\r\n", false, b"")),
            (b".a\r\n..b\r\n.\r\n", seen(b"a\r\n.b\r\n", false, b"")),
            (b"a.\r\n.\r\n", seen(b"a.\r\n", false, b"")),
            (b"a\n.\nb\r\n.\r\n", seen(b"a\n.\nb\r\n", true, b"")),
            (b"a\n.\r\nb\r\n.\r\n", seen(b"a\n.\r\nb\r\n", true, b"")),
            (b"a\r\n.\nb\r\n.\r\n", seen(b"a\r\n\nb\r\n", true, b"")),
            (b"a\r.\rb\r\n.\r\n", seen(b"a\r.\rb\r\n", true, b"")),
            (b"a\r\n.\rb\r\n.\r\n", seen(b"a\r\n\rb\r\n", true, b"")),
            (b"a\r\n.\r\r\n.\r\n", seen(b"a\r\n\r\r\n", true, b"")),
            (b"a\r\r\n.\r\n", seen(b"a\r\r\n", true, b"")),
            (b"a\r\n\n.\r\nb\r\n.\r\n", seen(b"a\r\n\n.\r\nb\r\n", true, b"")),
            (b"\n.\r\n.\r\n", seen(b"\n.\r\n", true, b"")),
            (b"\0\xff\r\n.\r\n", seen(b"\0\xff\r\n", false, b"")),
            (b"a\r\n.", None),
            (b"a\n.\n", None),
            (b"a\r\n.\r", None),
            (b"a\r.\r", None),
        ] {
            assert_eq!(scan(stream, &[]), expected, "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn a_text_without_dots_is_one_slice_of_what_was_received() {
        let mut input = Bytes::from_static(b"a: b\r\n\r\nc\r\n.\r\nNOOP\r\n");
        let received = input.as_ptr();
        let mut scanner = DataScanner::new();
        let DataEvent::Text(slice) = scanner.next(&mut input) else { panic!("text comes first") };
        assert_eq!((&*slice, slice.as_ptr()), (&b"a: b\r\n\r\nc\r\n"[..], received));
        assert_eq!(scanner.next(&mut input), DataEvent::End);
        assert_eq!(input, "NOOP\r\n");
    }

    #[test]
    fn a_stuffed_dot_costs_a_slice_and_no_copy() {
        let mut input = Bytes::from_static(b"a\r\n..b\r\n");
        let received = input.as_ptr();
        let mut scanner = DataScanner::new();
        let DataEvent::Text(first) = scanner.next(&mut input) else { panic!("text comes first") };
        let DataEvent::Text(second) = scanner.next(&mut input) else { panic!("text goes on") };
        assert_eq!((&*first, &*second), (&b"a\r\n"[..], &b".b\r\n"[..]));
        assert_eq!(second.as_ptr(), received.wrapping_add(4));
    }

    /// Streams made of what matters, so that ends, dots and lone line ends are common.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            6 => proptest::sample::select(vec![
                &b"\r\n"[..], b"\r\n.", b"\r\n..", b"\r\n.\r\n", b".", b"\r", b"\n", b"a", b"\0",
                b"a longer piece of text, as in a message",
            ]).prop_map(<[u8]>::to_vec),
            1 => proptest::collection::vec(any::<u8>(), 0..40),
        ];
        proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn any_stream_cut_anywhere_agrees_with_the_naive_twin(
            stream in streams(),
            cuts in proptest::collection::vec(0usize..400, 0..12),
        ) {
            let naive = naive::text(&stream).map(|naive| (naive.text, naive.bare_line_end, naive.rest));
            prop_assert_eq!(scan(&stream, &cuts), naive.clone());
            let every_octet: Vec<usize> = (0..stream.len()).collect();
            prop_assert_eq!(scan(&stream, &every_octet), naive);
        }

        #[test]
        fn what_was_stuffed_comes_out_as_it_was(lines in streams()) {
            let mut text = lines;
            text.extend_from_slice(b"\r\n");
            let expected = seen(&text, naive::holds_bare_line_end(&text), b"");
            prop_assert_eq!(scan(&naive::stuffed(&text), &[]), expected);
        }

        #[test]
        fn bare_line_ends_agree_with_the_naive_twin(text in streams()) {
            // A CR at the end stays open; give it a neighbour.
            let mut text = text;
            text.push(b'x');
            prop_assert_eq!(holds_bare_line_end(&text, false), naive::holds_bare_line_end(&text));
        }
    }
}
