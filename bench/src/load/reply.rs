//! Octets received become reply lines. A line cut across reads is kept until its end arrives.

use memchr::memchr;

/// One line of a reply (RFC 5321 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLine<'a> {
    /// The reply code.
    pub code: u16,
    /// Whether the reply ends with this line.
    pub is_last: bool,
    /// What stands behind the code, without the line end.
    pub text: &'a [u8],
}

/// The peer sent something that is no reply line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The longest line that is waited for; RFC 5321 section 4.5.3.1.5 asks for 512.
const LINE_LEN_MAX: usize = 4096;

/// Cuts what was received into reply lines.
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// The beginning of a line whose end has not arrived, or, when `is_whole`, the line handed out last.
    held: Vec<u8>,
    is_whole: bool,
}

impl ReplyReader {
    /// The next whole line of `input`, which moves behind it; `None` when its end is still to come.
    ///
    /// # Errors
    /// When the line is no reply line, or longer than any reply may be.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<ReplyLine<'a>>, Malformed> {
        if self.is_whole {
            self.held.clear();
            self.is_whole = false;
        }
        let Some(end) = memchr(b'\n', input) else {
            self.held.extend_from_slice(input);
            *input = &[];
            return if self.held.len() > LINE_LEN_MAX { Err(Malformed) } else { Ok(None) };
        };
        let (line, rest) = input.split_at(end + 1);
        *input = rest;
        if self.held.is_empty() {
            return parse(line).map(Some);
        }
        self.held.extend_from_slice(line);
        self.is_whole = true;
        parse(&self.held).map(Some)
    }
}

fn parse(line: &[u8]) -> Result<ReplyLine<'_>, Malformed> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else {
        return Err(Malformed);
    };
    let code = 100 * u16::from(a - b'0') + 10 * u16::from(b - b'0') + u16::from(c - b'0');
    match rest {
        [] => Ok(ReplyLine { code, is_last: true, text: rest }),
        [b' ', text @ ..] => Ok(ReplyLine { code, is_last: true, text }),
        [b'-', text @ ..] => Ok(ReplyLine { code, is_last: false, text }),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[u8] = b"250-mx.example.org\r\n250-PIPELINING\r\n250 SIZE\r\n354\r\n550 5.1.1 no\n";

    fn read(chunks: &[&[u8]]) -> Vec<(u16, bool, Vec<u8>)> {
        let mut reader = ReplyReader::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            let mut input = *chunk;
            while let Some(line) = reader.next(&mut input).expect("well formed") {
                lines.push((line.code, line.is_last, line.text.to_vec()));
            }
            assert!(input.is_empty());
        }
        lines
    }

    #[test]
    fn lines_are_the_same_wherever_the_octets_are_cut() {
        let whole = read(&[REPLIES]);
        assert_eq!(whole.len(), 5);
        assert_eq!(whole[1], (250, false, b"PIPELINING".to_vec()));
        assert_eq!(whole[3], (354, true, Vec::new()));
        assert_eq!(whole[4], (550, true, b"5.1.1 no".to_vec()));
        for cut in 0..=REPLIES.len() {
            let (front, back) = REPLIES.split_at(cut);
            assert_eq!(read(&[front, back]), whole, "cut at {cut}");
        }
        let octets: Vec<&[u8]> = REPLIES.chunks(1).collect();
        assert_eq!(read(&octets), whole);
    }

    #[test]
    fn what_is_no_reply_is_malformed() {
        for bad in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"25\r\n", b"999 x\r\n", b"250_x\r\n", b"\r\n"] {
            let mut input = bad;
            assert_eq!(ReplyReader::default().next(&mut input), Err(Malformed));
        }
        let endless = vec![b'2'; LINE_LEN_MAX + 1];
        assert_eq!(ReplyReader::default().next(&mut &endless[..]), Err(Malformed));
    }
}
