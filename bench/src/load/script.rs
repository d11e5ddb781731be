//! The octets a sender writes, laid out once before the run so that a write is one slice of them, or a few.

use fastrand::Rng;

use super::content::Content;
use super::session::Piece;
use super::text::{END, Text, made_up};
use crate::error::{Error, Result};
use crate::ledger::{ID_LINE_LEN, Prefix};

/// What every message of a run has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailShape {
    /// The name given with EHLO.
    pub helo: String,
    /// The reverse-path, without angle brackets.
    pub reverse_path: String,
    /// The forward-path of each recipient, without angle brackets.
    pub forward_path: String,
    /// Recipients per message.
    pub recipient_count: u32,
    /// Octets between DATA's 354 and the end of data, headers included; at least 2.
    pub size: usize,
}

impl MailShape {
    /// A message of `size` octets to one recipient, with the names every run has unless told otherwise.
    pub fn of_size(size: usize) -> Self {
        Self {
            helo: "load.example".into(),
            reverse_path: "sender@load.example".into(),
            forward_path: "recipient@load.example".into(),
            recipient_count: 1,
            size,
        }
    }
}

/// The octets of each [`Piece`].
#[derive(Debug)]
pub struct Script {
    /// Those that are the same for each message; empty for those that begin with a text.
    pieces: [Vec<u8>; Piece::COUNT],
    texts: Vec<Text>,
    choice: Choice,
    /// Where each message ends with a line of its own: what of each text's hash can be known before.
    hash_prefixes: Option<Vec<Prefix>>,
    end_then_quit: Vec<u8>,
}

/// Which of the texts a message gets.
#[derive(Debug)]
enum Choice {
    Only,
    InTurn,
    /// At random; the sum of the weights up to each text.
    Weighted {
        bounds: Vec<u64>,
        seed: u64,
    },
}

impl Script {
    /// Lays out all pieces for messages of one shape. With `has_ids` each message ends with a line of its own,
    /// which the sizes asked for include.
    ///
    /// # Errors
    /// When a size leaves no room for that line.
    pub fn new(shape: &MailShape, content: &Content, has_ids: bool, seed: u64) -> Result<Self> {
        let mail = format!("MAIL FROM:<{}>\r\n", shape.reverse_path).into_bytes();
        let recipient = format!("RCPT TO:<{}>\r\n", shape.forward_path).into_bytes();
        let (data, quit, reset) = (b"DATA\r\n", b"QUIT\r\n", b"RSET\r\n");
        let envelope = [&mail[..], &recipient.repeat(shape.recipient_count as usize), data].concat();
        let texts = texts(shape, content, if has_ids { ID_LINE_LEN } else { 0 })?;
        let octets = |piece| match piece {
            Piece::Hello => format!("EHLO {}\r\n", shape.helo).into_bytes(),
            Piece::Envelope => envelope.clone(),
            Piece::Mail => mail.clone(),
            Piece::Recipient => recipient.clone(),
            Piece::Data => data.to_vec(),
            Piece::Body | Piece::BodyThenEnvelope | Piece::BodyThenQuit => Vec::new(),
            Piece::NoText => b".\r\n".to_vec(),
            Piece::Reset => reset.to_vec(),
            Piece::ResetThenEnvelope => [&reset[..], &envelope].concat(),
            Piece::Quit => quit.to_vec(),
        };
        let hash_prefixes = has_ids.then(|| texts.iter().map(|text| Prefix::new(text)).collect());
        Ok(Self {
            pieces: Piece::ALL.map(octets),
            texts: texts.into_iter().map(|text| Text::new(text, &envelope)).collect(),
            choice: Choice::of(content, seed),
            hash_prefixes,
            end_then_quit: [END, quit].concat(),
        })
    }

    /// The text that message `number` of the run gets.
    pub fn text_index(&self, number: u64) -> usize {
        match &self.choice {
            Choice::Only => 0,
            Choice::InTurn => usize::try_from(number % self.texts.len() as u64).expect("below a usize"),
            Choice::Weighted { bounds, seed } => {
                let sum = bounds.last().copied().expect("a mix has a size");
                let drawn = Rng::with_seed(seed.wrapping_add(number)).u64(..sum);
                bounds.partition_point(|bound| *bound <= drawn)
            }
        }
    }

    /// The octets of `piece`, in the order they are written; those that begin with a text take it from `text_index`
    /// and put `id_line` behind it where messages have one. All but the first may be empty.
    pub fn slices<'a>(&'a self, piece: Piece, text_index: usize, id_line: &'a [u8]) -> [&'a [u8]; 3] {
        if !piece.starts_with_body() {
            return [&self.pieces[piece as usize], &[], &[]];
        }
        let text = &self.texts[text_index];
        match (piece, &self.hash_prefixes) {
            (Piece::BodyThenEnvelope, None) => [text.body_then_envelope(), &[], &[]],
            (Piece::BodyThenQuit, None) => [text.body(), &self.pieces[Piece::Quit as usize], &[]],
            (_, None) => [text.body(), &[], &[]],
            (Piece::BodyThenEnvelope, Some(_)) => {
                [text.body_without_end(), id_line, text.end_then_envelope()]
            }
            (Piece::BodyThenQuit, Some(_)) => [text.body_without_end(), id_line, &self.end_then_quit],
            (_, Some(_)) => [text.body_without_end(), id_line, END],
        }
    }

    /// What of the hash of a message is known before its id line; `None` where messages have none.
    pub fn hash_prefix(&self, text_index: usize) -> Option<&Prefix> {
        self.hash_prefixes.as_ref().map(|prefixes| &prefixes[text_index])
    }

    /// The text of a message as its reader will see it, without the id line.
    pub fn plain_text(&self, text_index: usize) -> &[u8] {
        self.texts[text_index].plain()
    }

    /// Octets of a message as its reader will see it.
    pub fn message_len(&self, text_index: usize) -> usize {
        let id_len = if self.hash_prefixes.is_some() { ID_LINE_LEN } else { 0 };
        id_len + self.plain_text(text_index).len()
    }
}

impl Choice {
    fn of(content: &Content, seed: u64) -> Self {
        let Content::Sizes(shares) = content else {
            return if matches!(content, Content::Corpus(_)) { Self::InTurn } else { Self::Only };
        };
        let mut sum = 0;
        let bounds = shares
            .iter()
            .map(|share| {
                sum += u64::from(share.weight);
                sum
            })
            .collect();
        Self::Weighted { bounds, seed }
    }
}

fn texts(shape: &MailShape, content: &Content, id_len: usize) -> Result<Vec<Vec<u8>>> {
    let of_size = |size: usize| {
        let rest = size.checked_sub(id_len).filter(|rest| *rest >= 2).ok_or_else(|| {
            let attempt = format!("give each message of {size} octets an id of its own for the ledger");
            let remedy = format!("send at least {} octets", id_len + 2);
            Error::system(attempt, std::io::Error::new(std::io::ErrorKind::InvalidInput, remedy))
        })?;
        Ok(made_up(shape, rest))
    };
    match content {
        Content::OneSize => Ok(vec![of_size(shape.size)?]),
        Content::Sizes(shares) => shares.iter().map(|share| of_size(share.size)).collect(),
        Content::Corpus(corpus) => Ok(corpus.texts.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::{Corpus, SizeShare};
    use super::*;

    fn shape() -> MailShape {
        MailShape {
            helo: "load.example".into(),
            reverse_path: "a@load.example".into(),
            forward_path: "b@load.example".into(),
            recipient_count: 2,
            size: 100,
        }
    }

    #[test]
    fn a_pipelined_write_holds_a_body_and_the_next_envelope() {
        let script = Script::new(&shape(), &Content::OneSize, false, 0).expect("a script");
        let write = script.slices(Piece::BodyThenEnvelope, 0, b"not used").concat();
        let envelope: &[u8] = b".\r\nMAIL FROM:<a@load.example>\r\nRCPT TO:<b@load.example>\r\n\
            RCPT TO:<b@load.example>\r\nDATA\r\n";
        assert_eq!(&write[100..], envelope);
        assert!(script.slices(Piece::BodyThenQuit, 0, b"").concat().ends_with(b"\r\n.\r\nQUIT\r\n"));
    }

    #[test]
    fn an_id_line_is_part_of_the_size_and_ends_the_text_only() {
        let script = Script::new(&shape(), &Content::OneSize, true, 0).expect("a script");
        let line = [b'i'; ID_LINE_LEN];
        let body = script.slices(Piece::Body, 0, &line).concat();
        assert_eq!((body.len(), script.message_len(0)), (103, 100));
        for (piece, behind) in [
            (Piece::Body, ""),
            (Piece::BodyThenQuit, "QUIT\r\n"),
            (
                Piece::BodyThenEnvelope,
                "MAIL FROM:<a@load.example>\r\nRCPT TO:<b@load.example>\r\nRCPT TO:<b@load.example>\r\nDATA\r\n",
            ),
        ] {
            let expected = [script.plain_text(0), &line, b".\r\n", behind.as_bytes()].concat();
            assert_eq!(script.slices(piece, 0, &line).concat(), expected, "{piece:?}");
        }
        let hash = script.hash_prefix(0).expect("a prefix").with(&line);
        assert_eq!(hash, crate::ledger::hash(&body[..100]));
        assert_eq!(script.slices(Piece::Quit, 0, &line).concat(), b"QUIT\r\n");
        let small = MailShape { size: ID_LINE_LEN, ..shape() };
        assert!(Script::new(&small, &Content::OneSize, true, 0).is_err());
    }

    #[test]
    fn sizes_come_as_often_as_their_weights_say_and_follow_the_seed() {
        let share = |size, weight| SizeShare { size, weight };
        let content = Content::Sizes(vec![share(10, 50), share(20, 45), share(30, 5)]);
        let script = |seed| Script::new(&shape(), &content, false, seed).expect("a script");
        let drawn = |seed| -> Vec<usize> {
            let script = script(seed);
            (0..20_000).map(|number| script.text_index(number)).collect()
        };
        let mut counts = [0_usize; 3];
        drawn(0).iter().for_each(|index| counts[*index] += 1);
        for (count, expected) in counts.into_iter().zip([10_000_usize, 9_000, 1_000]) {
            assert!(count.abs_diff(expected) < 300, "{counts:?}");
        }
        assert_eq!(script(0).message_len(2), 30);
        assert!(drawn(7) == drawn(7) && drawn(7) != drawn(1_000_000));
    }

    #[test]
    fn a_corpus_is_sent_in_turn() {
        let texts = vec![b"one\r\n".to_vec(), b".two\r\n".to_vec()];
        let content = Content::Corpus(Corpus { source: "x".into(), texts });
        let script = Script::new(&shape(), &content, false, 0).expect("a script");
        assert_eq!([0, 1, 2].map(|number| script.text_index(number)), [0, 1, 0]);
        assert_eq!((script.plain_text(1), script.message_len(1)), (&b".two\r\n"[..], 6));
    }
}
