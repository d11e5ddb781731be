//! The least a server can do and still be driven: canned replies, and a search for the end of data.
//!
//! A command is known by its first letter, a text is searched for CR LF . CR LF and not otherwise looked at.
//! Nothing is kept but four octets, nothing is checked, nothing is copied: what costs more than this is either the
//! kernel's network or the work of a real server.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// What a client hears first.
pub(super) const GREETING: &[u8] = b"220 bare\r\n";

/// The end of data, found even where the text before it is empty.
const END_OF_DATA: &[u8] = b"\r\n.\r\n";
/// Octets of an end of data that an earlier read may have held.
const TAIL_LEN: usize = END_OF_DATA.len() - 1;

/// One client's dialogue.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    /// The first letter of a command line whose end has not arrived.
    verb: Option<u8>,
    /// In data: the last octets of what came before.
    tail: Option<[u8; TAIL_LEN]>,
    has_quit: bool,
}

impl Dialogue {
    /// Whether the client has said QUIT: send the replies and close.
    pub(super) fn has_quit(&self) -> bool {
        self.has_quit
    }

    /// Takes what was received and pushes the replies to it.
    pub(super) fn take(&mut self, received: &[u8], replies: &mut Vec<u8>) {
        let mut input = received;
        while !input.is_empty() && !self.has_quit {
            input = match self.tail {
                Some(tail) => self.text(tail, input, replies),
                None => self.line(input, replies),
            };
        }
    }

    fn line<'a>(&mut self, input: &'a [u8], replies: &mut Vec<u8>) -> &'a [u8] {
        let verb = self.verb.take().unwrap_or(input[0]);
        let Some(end) = memchr::memchr(b'\n', input) else {
            self.verb = Some(verb);
            return &[];
        };
        replies.extend_from_slice(self.reply(verb));
        &input[end + 1..]
    }

    fn reply(&mut self, verb: u8) -> &'static [u8] {
        match verb.to_ascii_uppercase() {
            b'E' => b"250-bare\r\n250 PIPELINING\r\n",
            b'D' => {
                // The CR LF of the DATA line also begins the end of an empty text.
                self.tail = Some(*b"\0\0\r\n");
                b"354 go on\r\n"
            }
            b'Q' => {
                self.has_quit = true;
                b"221 bye\r\n"
            }
            _ => b"250 ok\r\n",
        }
    }

    fn text<'a>(&mut self, tail: [u8; TAIL_LEN], input: &'a [u8], replies: &mut Vec<u8>) -> &'a [u8] {
        static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(END_OF_DATA));
        let end = end_across(tail, input).or_else(|| FINDER.find(input).map(|at| at + END_OF_DATA.len()));
        if let Some(end) = end {
            self.tail = None;
            replies.extend_from_slice(b"250 kept nowhere\r\n");
            return &input[end..];
        }
        self.tail = Some(last_of(tail, input));
        &[]
    }
}

/// Where in `input` an end of data ends that began before it.
fn end_across(tail: [u8; TAIL_LEN], input: &[u8]) -> Option<usize> {
    let mut joint = [0; 2 * TAIL_LEN];
    let seen = input.len().min(TAIL_LEN);
    joint[..TAIL_LEN].copy_from_slice(&tail);
    joint[TAIL_LEN..TAIL_LEN + seen].copy_from_slice(&input[..seen]);
    let at = joint[..TAIL_LEN + seen].windows(END_OF_DATA.len()).position(|window| window == END_OF_DATA)?;
    Some(at + END_OF_DATA.len() - TAIL_LEN)
}

/// The last octets of `tail` and `input` together.
fn last_of(tail: [u8; TAIL_LEN], input: &[u8]) -> [u8; TAIL_LEN] {
    let mut last = tail;
    let fresh = input.len().min(TAIL_LEN);
    last.rotate_left(fresh);
    last[TAIL_LEN - fresh..].copy_from_slice(&input[input.len() - fresh..]);
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &[u8] =
        b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\nx\r\n..\r\n.\r\nDATA\r\n.\r\nMAIL\r\n\
        DATA\r\n\r\n.\r\r\n.\r\nQUIT\r\n";

    fn replies(chunks: &[&[u8]]) -> (String, bool) {
        let mut dialogue = Dialogue::default();
        let mut replies = Vec::new();
        chunks.iter().for_each(|chunk| dialogue.take(chunk, &mut replies));
        (String::from_utf8(replies).expect("ASCII"), dialogue.has_quit())
    }

    #[test]
    fn a_dialogue_is_answered_the_same_wherever_it_is_cut() {
        let whole = replies(&[CLIENT]);
        let codes: Vec<&str> = whole.0.lines().map(|line| &line[..4]).collect();
        let expected =
            "250-,250 ,250 ,250 ,354 ,250 ,354 ,250 ,250 ,354 ,250 ,221 ".split(',').collect::<Vec<_>>();
        assert_eq!((codes, whole.1), (expected, true));
        for cut in 0..CLIENT.len() {
            let (front, back) = CLIENT.split_at(cut);
            assert_eq!(replies(&[front, back]), whole, "cut at {cut}");
        }
        let octets: Vec<&[u8]> = CLIENT.chunks(1).collect();
        assert_eq!(replies(&octets), whole);
    }
}
