//! One SMTP client: it knows what it sends, in which pieces, and which reply each command must get.

use std::collections::VecDeque;

use mailrace::message::Receipt;
use mailrace_support::rng::Rng;

use crate::ledger::Ledger;
use crate::mail::{Flaw, Text};

/// How a client paces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// One command, one reply.
    Lockstep,
    /// RFC 2920: commands in groups, the text after the 354.
    Pipelined,
    /// Everything at once, replies be as they may.
    Blast,
}

/// What a command must be answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// A reply that begins with this.
    Reply(&'static str),
    /// The final reply of a message.
    Final(usize),
}

/// One thing to send.
#[derive(Debug)]
struct Act {
    octets: Vec<u8>,
    expected: Expected,
    /// The message whose end this is.
    completes: Option<usize>,
    /// A pipelining client reads all replies before it sends this.
    waits: bool,
}

impl Act {
    fn command(line: impl Into<Vec<u8>>, expected: &'static str) -> Self {
        let mut octets = line.into();
        octets.extend_from_slice(b"\r\n");
        Self { octets, expected: Expected::Reply(expected), completes: None, waits: false }
    }
}

/// What a client has learned from a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Stored { index: usize, receipt: Receipt },
    NoSpace,
    LogFailed,
    RefusedForWhatItIs,
}

/// One client on one connection.
#[derive(Debug)]
pub(crate) struct Client {
    pace: Pace,
    script: VecDeque<Act>,
    expected: VecDeque<Expected>,
    /// On its way to the server.
    pub(crate) uplink: VecDeque<u8>,
    /// Octets ever put into `uplink`, and taken out of it by the server.
    sent: u64,
    delivered: u64,
    /// Messages whose end stands at a place of the stream.
    ends: VecDeque<(u64, usize)>,
    /// Came from the server and not read yet.
    pub(crate) downlink: Vec<u8>,
}

impl Client {
    /// A client with a few transactions to its name; its messages are entered in the ledger.
    pub(crate) fn random(rng: &mut Rng, ledger: &mut Ledger, dropped: &mut u64) -> Self {
        let pace = *rng.pick(&[Pace::Lockstep, Pace::Pipelined, Pace::Pipelined, Pace::Blast]);
        let mut client = Self {
            pace,
            script: VecDeque::new(),
            expected: VecDeque::from([Expected::Reply("220 ")]),
            uplink: VecDeque::new(),
            sent: 0,
            delivered: 0,
            ends: VecDeque::new(),
            downlink: Vec::new(),
        };
        let hello = if rng.chance(800) { "EHLO client.example" } else { "HELO client.example" };
        client.push(Act { waits: true, ..Act::command(hello, "250") });
        for _ in 0..rng.between(0, 6) {
            match rng.below(10) {
                0 => client.push_dropped(rng, dropped),
                1 => client.push_refused(),
                2 => client.push(Act::command(*rng.pick(&["NOOP", "noop", "RSET"]), "250 2.0.0")),
                _ => client.push_message(rng, ledger),
            }
        }
        if rng.chance(600) {
            client.push(Act { waits: true, ..Act::command("QUIT", "221 2.0.0") });
        }
        client
    }

    fn push(&mut self, act: Act) {
        self.script.push_back(act);
    }

    /// A transaction that ends in RSET or a new EHLO: nothing of it may be stored.
    fn push_dropped(&mut self, rng: &mut Rng, dropped: &mut u64) {
        *dropped += 1;
        self.push(Act::command("MAIL FROM:<dropped@client.example>", "250 2.1.0"));
        self.push(Act::command("RCPT TO:<dropped@server.example>", "250 2.1.5"));
        match rng.chance(700) {
            true => self.push(Act::command("RSET", "250 2.0.0")),
            false => self.push(Act { waits: true, ..Act::command("EHLO again.example", "250") }),
        }
    }

    /// A transaction without a valid recipient.
    fn push_refused(&mut self) {
        self.push(Act::command("MAIL FROM:<>", "250 2.1.0"));
        self.push(Act::command("RCPT TO:<nobody@server.example>", "550 5.1.1"));
        self.push(Act::command("DATA", "554 5.5.1"));
        self.push(Act::command("RSET", "250 2.0.0"));
    }

    fn push_message(&mut self, rng: &mut Rng, ledger: &mut Ledger) {
        let text = Text::random(rng, ledger.next_index());
        let paths: Vec<_> =
            (0..rng.between(1, 3)).map(|number| format!("r{number}@server.example")).collect();
        let index = ledger.send(&text, paths.clone());
        self.push(Act::command(format!("MAIL FROM:<m{index}@client.example>"), "250 2.1.0"));
        for path in paths {
            if rng.chance(100) {
                self.push(Act::command("RCPT TO:<nobody@server.example>", "550 5.1.1"));
            }
            self.push(Act::command(format!("RCPT TO:<{path}>"), "250 2.1.5"));
        }
        self.push(Act::command("DATA", "354 "));
        let expected = Expected::Final(index);
        self.push(Act { octets: text.wire, expected, completes: Some(index), waits: true });
    }

    /// Sends what its pace allows now.
    pub(crate) fn send(&mut self) {
        while let Some(act) = self.script.front() {
            let may_send = match self.pace {
                Pace::Lockstep => self.expected.is_empty(),
                Pace::Pipelined => !act.waits || self.knows_all_but_finals(),
                Pace::Blast => true,
            };
            if !may_send {
                return;
            }
            let Some(act) = self.script.pop_front() else { return };
            self.uplink.extend(&act.octets);
            self.sent += act.octets.len() as u64;
            self.expected.push_back(act.expected);
            if let Some(index) = act.completes {
                self.ends.push_back((self.sent, index));
            }
        }
    }

    /// RFC 2920 lets a text follow its 354 though an earlier message has no final reply yet; the 354 itself cannot
    /// overtake that, so such a client waits for everything.
    fn knows_all_but_finals(&self) -> bool {
        self.expected.is_empty()
    }

    /// The server takes up to `len` octets; messages that end in them are complete.
    pub(crate) fn deliver(&mut self, into: &mut [u8], ledger: &mut Ledger) -> usize {
        let len = into.len().min(self.uplink.len());
        for (slot, octet) in into.iter_mut().zip(self.uplink.drain(..len)) {
            *slot = octet;
        }
        self.delivered += len as u64;
        while let Some((end, index)) = self.ends.front().copied()
            && end <= self.delivered
        {
            self.ends.pop_front();
            ledger.complete(index);
        }
        len
    }

    /// Nothing left to say, and nothing left to hear.
    pub(crate) fn is_done(&self) -> bool {
        self.script.is_empty() && self.expected.is_empty() && self.uplink.is_empty()
    }

    /// Reads the complete replies that have come, and holds each against what must come next.
    pub(crate) fn read(&mut self, ledger: &mut Ledger, keeps_bare_line_ends: bool) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(reply) = self.next_reply() {
            let expected = self.expected.pop_front().unwrap_or_else(|| panic!("nobody asked for: {reply}"));
            match expected {
                Expected::Reply(prefix) => {
                    assert!(
                        reply.starts_with(prefix),
                        "{prefix} was due, not: {reply}; then {:?}",
                        self.expected
                    );
                }
                Expected::Final(index) => {
                    told.push(final_reply(&reply, index, ledger, keeps_bare_line_ends));
                }
            }
        }
        told
    }

    /// All lines of the next reply, when its last has come.
    fn next_reply(&mut self) -> Option<String> {
        let mut begin = 0;
        loop {
            let end = begin + self.downlink[begin..].windows(2).position(|pair| pair == b"\r\n")? + 2;
            if self.downlink[begin + 3] == b' ' {
                let reply = self.downlink.drain(..end).collect();
                return Some(String::from_utf8(reply).expect("replies are ASCII"));
            }
            begin = end;
        }
    }
}

fn final_reply(reply: &str, index: usize, ledger: &mut Ledger, keeps_bare_line_ends: bool) -> Told {
    let flaw = ledger.message(index).flaw;
    let due = match flaw {
        Flaw::TooLarge => Some("552 5.3.4"),
        Flaw::BareLineEnd if !keeps_bare_line_ends => Some("550 5.6.0"),
        Flaw::BareLineEnd | Flaw::None => None,
    };
    if let Some(due) = due {
        assert!(reply.starts_with(due), "message {index} with {flaw:?}: {reply}");
        ledger.refuse(index);
        return Told::RefusedForWhatItIs;
    }
    if let Some(receipt) = reply.strip_prefix("250 2.0.0 stored ") {
        let receipt: Receipt = receipt.trim_end().parse().expect("a receipt");
        ledger.accept(index, receipt);
        return Told::Stored { index, receipt };
    }
    ledger.refuse(index);
    match reply.get(..9) {
        Some("452 4.3.1") => Told::NoSpace,
        Some("451 4.3.0") => Told::LogFailed,
        _ => panic!("message {index} was answered {reply}"),
    }
}
