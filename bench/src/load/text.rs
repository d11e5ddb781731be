//! The texts a run sends: made up to a size, or taken from files; laid out once, before the run.

use super::script::MailShape;

/// A message text, and how it goes over the wire.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// As it is written: lines ended by CR LF, dots stuffed, its end, and the envelope of the next message.
    wire: Vec<u8>,
    /// Octets of `wire` up to the end of data, which is included.
    body_len: usize,
    /// As a reader will see it, where that is not how `wire` begins.
    plain: Option<Vec<u8>>,
}

/// What ends a text.
pub(super) const END: &[u8] = b".\r\n";

impl Text {
    /// `plain` with `envelope` behind it.
    ///
    /// # Panics
    /// When the last line of `plain` does not end with CR LF.
    pub(super) fn new(plain: Vec<u8>, envelope: &[u8]) -> Self {
        assert!(plain.is_empty() || plain.ends_with(b"\r\n"), "a text ends its last line");
        let is_stuffed = plain.starts_with(b".") || memchr::memmem::find(&plain, b"\n.").is_some();
        let (mut wire, plain) = if is_stuffed { (dots_stuffed(&plain), Some(plain)) } else { (plain, None) };
        wire.extend_from_slice(END);
        let body_len = wire.len();
        wire.extend_from_slice(envelope);
        wire.shrink_to_fit();
        Self { wire, body_len, plain }
    }

    /// The text and its end.
    pub(super) fn body(&self) -> &[u8] {
        &self.wire[..self.body_len]
    }

    /// The text alone, as it is written.
    pub(super) fn body_without_end(&self) -> &[u8] {
        &self.wire[..self.body_len - END.len()]
    }

    /// The end of the text and the envelope of the next message.
    pub(super) fn end_then_envelope(&self) -> &[u8] {
        &self.wire[self.body_len - END.len()..]
    }

    /// The text, its end, and the envelope of the next message.
    pub(super) fn body_then_envelope(&self) -> &[u8] {
        &self.wire
    }

    /// The text as a reader will see it, dots unstuffed.
    pub(super) fn plain(&self) -> &[u8] {
        self.plain.as_deref().unwrap_or(self.body_without_end())
    }
}

/// RFC 5321 section 4.5.2: a line that begins with a dot gets one more.
fn dots_stuffed(plain: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(plain.len() + plain.len() / 64 + 1);
    for line in plain.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire
}

/// A message of exactly `size` octets in lines ended by CR LF, none of which begins with a dot.
pub(super) fn made_up(shape: &MailShape, size: usize) -> Vec<u8> {
    let headers = format!(
        "From: <{}>\r\nTo: <{}>\r\nSubject: load\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n\r\n",
        shape.reverse_path, shape.forward_path
    );
    let mut text = if headers.len() + 2 <= size { headers.into_bytes() } else { Vec::new() };
    while text.len() < size {
        let left = size - text.len();
        // A rest of one octet could not end with CR LF.
        let line_len = if left == LINE_LEN + 1 { LINE_LEN - 1 } else { left.min(LINE_LEN) };
        let letters = (b'a'..=b'z').cycle().take(line_len.saturating_sub(2));
        text.extend(letters);
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// Octets of a line of text, its CR LF included (RFC 5322 section 2.1.1 recommends no more).
const LINE_LEN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_size_asked_for_and_ends_its_lines() {
        let shape = MailShape::of_size(0);
        for size in (2..400).chain([4096, 65_536]) {
            let text = made_up(&shape, size);
            assert_eq!(text.len(), size);
            assert!(text.ends_with(b"\r\n"), "{size}");
            assert!(!text.starts_with(b".") && memchr::memmem::find(&text, b"\n.").is_none(), "{size}");
            assert_eq!(memchr::memchr_iter(b'\n', &text).count(), memchr::memchr_iter(b'\r', &text).count());
        }
    }

    #[test]
    fn dots_are_stuffed_on_the_wire_and_nowhere_else() {
        let plain = b".\r\na.b\r\n..c\r\n".to_vec();
        let text = Text::new(plain.clone(), b"MAIL");
        assert_eq!(text.body(), b"..\r\na.b\r\n...c\r\n.\r\n");
        assert_eq!(text.body_then_envelope(), b"..\r\na.b\r\n...c\r\n.\r\nMAIL");
        assert_eq!(text.plain(), plain);
        assert_eq!(Text::new(b"a\r\n".to_vec(), b"").plain(), b"a\r\n");
    }
}
