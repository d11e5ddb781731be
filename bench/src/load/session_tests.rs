//! Dialogues as a mail administrator would read them: what the server says, what the client does.

use super::*;

const ALWAYS: Manner =
    Manner { pipelining: Pipelining::Always, recipient_count: 1, messages_per_connection: None };

struct Dialogue {
    session: Session,
    supply: Supply,
    verdicts: Vec<Verdict>,
    refusals: Vec<(&'static str, u16)>,
}

impl Dialogue {
    fn new(manner: Manner, supply: u64) -> Self {
        Self {
            session: Session::new(manner),
            supply: Supply::of(supply),
            verdicts: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Feeds each reply (a leading `-` marks a line that is not the last); what the last one led to.
    fn hear(&mut self, replies: &[&str]) -> Next {
        let mut next = Next::Wait;
        for reply in replies {
            assert_eq!(next, Next::Wait, "before {reply}");
            let (code, rest) = reply.split_at(3);
            let line = ReplyLine {
                code: code.parse().expect("a code"),
                is_last: !rest.starts_with('-'),
                text: rest.get(1..).unwrap_or("").as_bytes(),
            };
            let step = self.session.take(line, &mut self.supply);
            self.verdicts.extend(step.verdict);
            self.refusals.extend(step.refusal.map(|(stage, code)| (stage.name(), code)));
            next = step.next;
        }
        next
    }
}

#[test]
fn a_pipelined_session_needs_one_round_trip_per_message() {
    let mut d = Dialogue::new(ALWAYS, 2);
    assert_eq!(d.hear(&["220 hi"]), Next::Send(Piece::Hello));
    assert_eq!(d.hear(&["250-mx", "250 SIZE"]), Next::Send(Piece::Envelope));
    assert_eq!(d.hear(&["250", "250", "354"]), Next::Send(Piece::BodyThenEnvelope));
    assert_eq!(d.session.undecided_count(), 2);
    assert_eq!(d.hear(&["250", "250", "250", "354"]), Next::Send(Piece::BodyThenQuit));
    assert_eq!(d.hear(&["250", "221"]), Next::Close);
    assert_eq!(d.verdicts, [Verdict::Accepted; 2]);
    assert_eq!((d.session.undecided_count(), d.refusals.len()), (0, 0));
}

#[test]
fn a_lockstep_session_waits_for_each_reply() {
    let manner = Manner { pipelining: Pipelining::Never, recipient_count: 2, ..ALWAYS };
    let mut d = Dialogue::new(manner, 1);
    assert_eq!(d.hear(&["220"]), Next::Send(Piece::Hello));
    assert_eq!(d.hear(&["250-mx", "250 PIPELINING"]), Next::Send(Piece::Mail));
    assert_eq!(d.hear(&["250"]), Next::Send(Piece::Recipient));
    assert_eq!(d.hear(&["250"]), Next::Send(Piece::Recipient));
    assert_eq!(d.hear(&["250"]), Next::Send(Piece::Data));
    assert_eq!(d.hear(&["354"]), Next::Send(Piece::Body));
    assert_eq!(d.hear(&["250"]), Next::Send(Piece::Quit));
    assert_eq!(d.hear(&["221"]), Next::Close);
    assert_eq!(d.verdicts, [Verdict::Accepted]);
}

#[test]
fn announced_pipelining_follows_the_ehlo_reply() {
    let manner = Manner { pipelining: Pipelining::Announced, ..ALWAYS };
    let mut d = Dialogue::new(manner, 1);
    assert_eq!(d.hear(&["220", "250-mx", "250-pipelining", "250 SIZE"][..1]), Next::Send(Piece::Hello));
    assert_eq!(d.hear(&["250-mx", "250-pipelining", "250 SIZE"]), Next::Send(Piece::Envelope));
    let mut d = Dialogue::new(manner, 1);
    assert_eq!(d.hear(&["220"]), Next::Send(Piece::Hello));
    assert_eq!(d.hear(&["250-mx", "250 SIZE"]), Next::Send(Piece::Mail));
}

#[test]
fn a_connection_ends_after_its_share_of_messages() {
    let manner = Manner { messages_per_connection: Some(1), ..ALWAYS };
    let mut d = Dialogue::new(manner, 5);
    d.hear(&["220"]);
    d.hear(&["250"]);
    assert_eq!(d.hear(&["250", "250", "354"]), Next::Send(Piece::BodyThenQuit));
    assert_eq!(d.hear(&["250", "221"]), Next::Close);
}

#[test]
fn a_refused_recipient_refuses_the_message_and_resets() {
    let mut d = Dialogue::new(ALWAYS, 2);
    d.hear(&["220"]);
    d.hear(&["250"]);
    assert_eq!(d.hear(&["250", "550", "554"]), Next::Send(Piece::ResetThenEnvelope));
    assert_eq!(d.hear(&["250", "250", "250", "354"]), Next::Send(Piece::BodyThenQuit));
    assert_eq!(d.hear(&["452", "221"]), Next::Close);
    assert_eq!(d.verdicts, [Verdict::Refused; 2]);
    assert_eq!(d.refusals, [("RCPT", 550), ("DATA", 554), ("end of data", 452)]);
    let mut d = Dialogue::new(Manner { pipelining: Pipelining::Never, ..ALWAYS }, 2);
    d.hear(&["220"]);
    d.hear(&["250"]);
    assert_eq!(d.hear(&["452"]), Next::Send(Piece::Reset));
    assert_eq!(d.hear(&["250"]), Next::Send(Piece::Mail));
    d.hear(&["250"]);
    assert_eq!(d.hear(&["550"]), Next::Send(Piece::Quit));
}

#[test]
fn a_354_without_a_recipient_gets_an_empty_text() {
    let mut d = Dialogue::new(ALWAYS, 1);
    d.hear(&["220"]);
    d.hear(&["250"]);
    assert_eq!(d.hear(&["250", "550", "354"]), Next::Send(Piece::NoText));
    assert_eq!(d.hear(&["250"]), Next::Send(Piece::Quit));
    assert_eq!(d.verdicts, [Verdict::Refused]);
}

#[test]
fn a_421_or_a_refused_greeting_gives_up() {
    let mut d = Dialogue::new(ALWAYS, 3);
    assert_eq!(d.hear(&["554"]), Next::GiveUp);
    let mut d = Dialogue::new(ALWAYS, 3);
    d.hear(&["220"]);
    d.hear(&["250"]);
    d.hear(&["250", "250", "354"]);
    assert_eq!(d.hear(&["421"]), Next::GiveUp);
    assert_eq!((d.session.undecided_count(), d.verdicts.len()), (2, 0));
}
