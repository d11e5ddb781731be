//! Dialogues as a mail administrator would read them: what the server says, what the client does.

use super::super::pace::{Arrivals, Schedule};
use super::*;

const ALWAYS: Manner = Manner {
    pipelining: Pipelining::Always,
    recipient_count: 1,
    messages_per_connection: None,
    errand: Errand::Mail,
};

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
            self.verdicts.extend(step.verdict.map(|(verdict, _)| verdict));
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
    let (lost, unsent) = (d.session.lost(), d.session.unsent());
    assert_eq!((lost.map(|c| c.number), unsent.map(|c| c.number)), (Some(0), Some(1)));
    assert_eq!(d.hear(&["250", "250", "250", "354"]), Next::Send(Piece::BodyThenQuit));
    assert_eq!(d.hear(&["250", "221"]), Next::Close);
    assert_eq!(d.verdicts, [Verdict::Accepted; 2]);
    assert_eq!((d.session.lost(), d.session.unsent(), d.refusals.len()), (None, None, 0));
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
    assert!(d.session.lost().is_some() && d.session.unsent().is_some() && d.verdicts.is_empty());
}

#[test]
fn a_session_rests_until_a_message_is_due_and_quits_when_none_will_come() {
    for manner in [ALWAYS, Manner { pipelining: Pipelining::Never, ..ALWAYS }] {
        let schedule = Schedule::new(1.0, Arrivals::Constant, 0, (0, 1)).ending(Some(2_500_000_000));
        let mut d = Dialogue::new(manner, u64::MAX);
        d.supply = Supply::endless().at_times_of(schedule);
        d.hear(&["220"]);
        assert_eq!(d.hear(&["250"]), Next::Rest);
        assert!(d.session.is_idle());
        d.supply.advance(1_000_000_000);
        let begun = d.session.start(&mut d.supply);
        let last = if manner.pipelining == Pipelining::Always {
            assert_eq!(begun, Next::Send(Piece::Envelope));
            d.hear(&["250", "550", "554"])
        } else {
            assert_eq!(begun, Next::Send(Piece::Mail));
            d.hear(&["550"])
        };
        assert_eq!(last, Next::Send(Piece::Reset));
        assert_eq!(d.hear(&["250"]), Next::Rest);
        d.supply.advance(2_000_000_000);
        d.session.start(&mut d.supply);
        let stages = if manner.pipelining == Pipelining::Always { 1 } else { 3 };
        for _ in 1..stages {
            d.hear(&["250"]);
        }
        let text = if stages == 1 { d.hear(&["250", "250", "354"]) } else { d.hear(&["354"]) };
        // Nothing more comes: a session that pipelines says so with the text.
        assert_eq!(text, Next::Send(if stages == 1 { Piece::BodyThenQuit } else { Piece::Body }));
        d.hear(&["250"]);
        assert_eq!(d.verdicts, [Verdict::Refused, Verdict::Accepted]);
    }
}

#[test]
fn a_message_prepared_for_a_session_that_is_never_greeted_can_be_sent_by_another() {
    let claim = Claim { number: 4, due_at: 9 };
    let mut d = Dialogue::new(Manner { messages_per_connection: Some(1), ..ALWAYS }, 0);
    d.session.prepare(claim);
    d.hear(&["220"]);
    assert_eq!((d.session.lost(), d.session.unsent()), (None, Some(claim)));
    assert_eq!(d.hear(&["250"]), Next::Send(Piece::Envelope));
    assert_eq!((d.session.lost(), d.session.unsent()), (Some(claim), None));
    assert_eq!(d.hear(&["250", "250", "354"]), Next::Send(Piece::BodyThenQuit));
}

#[test]
fn a_visit_ends_with_its_221_and_no_mail() {
    let visit = Manner { errand: Errand::Visit, messages_per_connection: Some(1), ..ALWAYS };
    for (farewell, verdict) in [("221", Verdict::Accepted), ("554", Verdict::Refused)] {
        let mut d = Dialogue::new(visit, 2);
        assert_eq!(d.hear(&["220"]), Next::Send(Piece::Hello));
        assert_eq!(d.hear(&["250-mx", "250 PIPELINING"]), Next::Send(Piece::Quit));
        assert_eq!(d.session.lost().map(|claim| claim.number), Some(0), "if it is closed now");
        assert_eq!(d.hear(&[farewell]), Next::Close);
        assert_eq!((d.verdicts, d.session.lost()), (vec![verdict], None));
    }
}

#[test]
fn an_idle_session_that_is_told_something_is_given_up() {
    let schedule = Schedule::new(1.0, Arrivals::Constant, 0, (0, 1));
    let mut d = Dialogue::new(ALWAYS, 1);
    d.supply = Supply::endless().at_times_of(schedule);
    d.hear(&["220"]);
    d.hear(&["250"]);
    assert_eq!(d.hear(&["421"]), Next::GiveUp);
    assert_eq!(d.refusals, [("nothing", 421)]);
}
