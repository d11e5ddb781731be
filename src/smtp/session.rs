//! One SMTP session: command lines in, replies and messages out.
//!
//! ```text
//!            HELO/EHLO           MAIL                   DATA                       end of data
//!   no name -----------> idle ----------> transaction ---------> receiving -----------------------> idle
//!                          ^                RCPT |  ^ |                         Submit, or a refusal
//!                          |                     +--+ |
//!                          +-- RSET, HELO, EHLO ------+         QUIT, a foreign protocol, too many bad
//!                                                               commands: closed, from wherever
//! ```
//!
//! `docs/smtp.md` shows every state with every command; [`super::states`] holds the same table as data.

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::command::{self, Command};
use super::counts::{Fault, SessionCounts};
use super::extension::{self, ParameterError};
use super::options::SessionOptions;
use super::reply::{self, Reply, ReplyBuffer};
use super::transaction::{NoRecipients, Received, Receiving, Transaction};
use crate::message::{AddressError, EnvelopeBuilder, ForwardPath, Greeting, Message, ReversePath};
use crate::policy::{Refusal, Verdict};
use crate::wire::{Line, LineScanner};

/// What must happen next.
#[derive(Debug)]
pub enum Step {
    /// All complete lines are eaten; what is left in the input is an unfinished one.
    NeedInput,
    /// A message is complete. Its final reply belongs behind the replies pushed so far: keep the place, submit,
    /// and go on with the rest of the input.
    Submit(Message),
    /// The replies have reached [`reply::PENDING_LEN_MAX`]: take them, then go on with the rest of the input.
    Flush,
    /// Send the replies and close the connection. Every later step says so again.
    Close,
}

/// One SMTP session, from the greeting to its end.
#[derive(Debug)]
pub struct Session {
    options: Arc<SessionOptions>,
    /// Those that come into force with the next MAIL, when they came during a transaction.
    newer: Option<Arc<SessionOptions>>,
    peer: SocketAddr,
    local: Option<SocketAddr>,
    lines: LineScanner,
    client: Option<Client>,
    work: Work,
    /// Bad commands since the last complete message.
    bad_commands: u32,
    counts: SessionCounts,
}

/// Who said HELO or EHLO.
#[derive(Debug)]
struct Client {
    /// What every envelope of the session begins with.
    envelope: EnvelopeBuilder,
    /// EHLO: it was told of the extensions.
    extended: bool,
}

/// What the session is doing.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "400 octets a session, against an allocation for each message")]
enum Work {
    Idle,
    Transaction(Transaction),
    Receiving(Receiving),
    Closed,
}

/// Why a command is not carried out.
enum Rejection {
    /// The command itself is bad.
    Bad { fault: Fault, reply: Reply, reason: Option<&'static str> },
    /// Nothing is wrong with it, but it cannot be.
    Refused(Refusal),
    /// RFC 5321 section 3.3: nobody is left to send to. Pipelining clients run into this in good faith.
    NoValidRecipients,
}

impl Session {
    /// For a client at `peer` that connected to `local`.
    #[must_use]
    pub fn new(options: Arc<SessionOptions>, peer: SocketAddr, local: Option<SocketAddr>) -> Self {
        let lines = LineScanner::new(options.limits.command_line_max);
        Self {
            options,
            newer: None,
            peer,
            local,
            lines,
            client: None,
            work: Work::Idle,
            bad_commands: 0,
            counts: SessionCounts::default(),
        }
    }

    /// From its next MAIL on the session goes by `options`; a transaction under way keeps those it began with. A
    /// session that has none under way goes by them at once, so that it does not keep the old ones in memory. To be
    /// called with what is in force whenever the session may go on: nothing new costs a comparison.
    pub fn renew(&mut self, options: &Arc<SessionOptions>) {
        let known = self.newer.as_ref().unwrap_or(&self.options);
        if !Arc::ptr_eq(known, options) {
            self.newer = Some(Arc::clone(options));
            if self.is_idle() {
                self.take_newer();
            }
        }
    }

    /// Octets a command line may have, CR LF included.
    #[must_use]
    pub fn command_line_max(&self) -> usize {
        self.options.limits.command_line_max
    }

    /// Pushes the greeting.
    pub fn greet(&self, replies: &mut ReplyBuffer) {
        replies.push_octets(&self.options.greeting);
    }

    /// Eats the complete lines at the front of `input` until one of them asks for more than a reply. Replies come
    /// in the order of the commands, and are the same however the input was cut.
    pub fn step(&mut self, input: &mut Bytes, replies: &mut ReplyBuffer) -> Step {
        loop {
            if replies.len() >= reply::PENDING_LEN_MAX {
                return Step::Flush;
            }
            let next = match &self.work {
                Work::Receiving(_) => self.receive(input, replies),
                Work::Idle | Work::Transaction(_) => self.line(input, replies),
                Work::Closed => Some(Step::Close),
            };
            if let Some(step) = next {
                return step;
            }
        }
    }

    /// To be called when all that was received has been stepped through and more must be waited for: lets go of
    /// receive buffers of which an unfinished message holds only a small part, by copying that part.
    pub fn settle(&mut self) {
        if let Work::Receiving(receiving) = &mut self.work {
            receiving.settle();
        }
    }

    /// No mail transaction is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.work, Work::Idle | Work::Closed)
    }

    /// The counts since they were last taken; they begin anew.
    pub fn take_counts(&mut self) -> SessionCounts {
        mem::take(&mut self.counts)
    }

    fn receive(&mut self, input: &mut Bytes, replies: &mut ReplyBuffer) -> Option<Step> {
        let Work::Receiving(receiving) = &mut self.work else { return None };
        if receiving.read(input, &self.options) == Received::Part {
            return Some(Step::NeedInput);
        }
        let Work::Receiving(receiving) = mem::replace(&mut self.work, Work::Idle) else { return None };
        match receiving.finish(&self.options) {
            Ok(message) => {
                self.bad_commands = 0;
                self.counts.messages_submitted += 1;
                Some(Step::Submit(message))
            }
            Err(refusal) => self.reject(Rejection::Refused(refusal), replies),
        }
    }

    fn line(&mut self, input: &mut Bytes, replies: &mut ReplyBuffer) -> Option<Step> {
        let at_line_start = !self.lines.is_skipping();
        // A hello need not hold an LF: do not wait for one.
        if at_line_start && command::is_tls_hello(input) {
            return Some(self.foreign_protocol(replies, None));
        }
        let line = self.lines.next(input);
        if at_line_start && command::is_http_request(self.irregular(&line, input)) {
            return Some(self.foreign_protocol(replies, Some(reply::NOT_HTTP)));
        }
        match line {
            Line::Complete { len } => {
                let next = self.command(&input[..len], replies);
                input.advance(len + b"\r\n".len());
                next
            }
            Line::BareLineEnd { consumed } => {
                input.advance(consumed);
                self.reject_line(Fault::BareLineEnd, reply::BARE_LINE_END_IN_COMMAND, replies)
            }
            Line::TooLong { consumed } => {
                input.advance(consumed);
                self.reject_line(Fault::LineTooLong, reply::LINE_TOO_LONG, replies)
            }
            Line::Skipped { consumed } => {
                input.advance(consumed);
                None
            }
            Line::Incomplete => Some(Step::NeedInput),
        }
    }

    /// What there is of a line that will not be parsed, or not yet; the same octets decide however it was cut.
    fn irregular<'a>(&self, line: &Line, input: &'a [u8]) -> &'a [u8] {
        let len = match *line {
            Line::Complete { .. } => 0,
            Line::Incomplete => input.len(),
            Line::BareLineEnd { consumed } | Line::TooLong { consumed } | Line::Skipped { consumed } => {
                consumed
            }
        };
        &input[..len.min(self.options.limits.command_line_max)]
    }

    fn command(&mut self, line: &[u8], replies: &mut ReplyBuffer) -> Option<Step> {
        let command = Command::parse(line);
        if command == Command::Http {
            return Some(self.foreign_protocol(replies, Some(reply::NOT_HTTP)));
        }
        self.counts.commands += 1;
        let done = match command {
            Command::Mail(argument) => self.mail(argument, replies),
            Command::Rcpt(argument) => self.rcpt(argument, replies),
            Command::Data => self.data(replies),
            Command::Ehlo(name) => self.hello(Greeting::Ehlo, name, replies),
            Command::Helo(name) => self.hello(Greeting::Helo, name, replies),
            Command::Rset => {
                self.work = Work::Idle;
                answer(replies, reply::OK)
            }
            Command::Noop => answer(replies, reply::OK),
            Command::Quit => {
                self.work = Work::Closed;
                answer(replies, reply::BYE)
            }
            Command::Vrfy([]) => Err(bad(Fault::Syntax, reply::VRFY_SYNTAX)),
            // RFC 5321 section 7.3: whom we know is for RCPT to say, one at a time.
            Command::Vrfy(_) => answer(replies, reply::NOT_VERIFIED),
            Command::Help => answer(replies, reply::HELP),
            Command::Expn | Command::NotOffered => Err(bad(Fault::NotImplemented, reply::NOT_IMPLEMENTED)),
            Command::UnwantedArgument => Err(bad(Fault::Syntax, reply::NO_ARGUMENT_ALLOWED)),
            Command::RunTogetherMail => Err(bad(Fault::Syntax, reply::MAIL_SYNTAX)),
            Command::RunTogetherRcpt => Err(bad(Fault::Syntax, reply::RCPT_SYNTAX)),
            Command::Http | Command::Unrecognized => Err(bad(Fault::Unrecognized, reply::UNRECOGNIZED)),
        };
        match done {
            Ok(()) => None,
            Err(rejection) => self.reject(rejection, replies),
        }
    }

    fn hello(&mut self, greeting: Greeting, name: &[u8], replies: &mut ReplyBuffer) -> Result<(), Rejection> {
        if !command::is_client_name(name) {
            return Err(bad(Fault::Syntax, reply::HELLO_SYNTAX));
        }
        // RFC 5321 section 4.1.4: a second one does what RSET does.
        self.work = Work::Idle;
        let envelope = EnvelopeBuilder::new(self.peer, self.local, greeting, name);
        self.client = Some(Client { envelope, extended: greeting == Greeting::Ehlo });
        replies.push_octets(match greeting {
            Greeting::Ehlo => &self.options.ehlo_reply,
            Greeting::Helo => &self.options.helo_reply,
        });
        Ok(())
    }

    fn mail(&mut self, argument: &[u8], replies: &mut ReplyBuffer) -> Result<(), Rejection> {
        if !self.is_idle() {
            return Err(bad(Fault::Sequence, reply::NESTED_MAIL));
        }
        self.take_newer();
        let client = self.client.as_ref().ok_or(bad(Fault::Sequence, reply::HELLO_FIRST))?;
        let argument = command::behind_from(argument).ok_or(bad(Fault::Syntax, reply::MAIL_SYNTAX))?;
        let (path, rest) = ReversePath::parse(argument).map_err(bad_address(reply::BAD_SENDER_ADDRESS))?;
        let parameters = extension::mail_parameters(rest, client.extended)?;
        check_charset(path.text(), parameters.smtputf8)?;
        // RFC 1870 section 6.1: no need to wait for the text.
        if parameters.size.is_some_and(|size| size > self.options.limits.message_size_max as u64) {
            return Err(Rejection::Refused(Refusal::MessageTooLarge));
        }
        let envelope = client.envelope.transaction(path.text(), parameters);
        self.work = Work::Transaction(Transaction::new(envelope, parameters));
        answer(replies, reply::SENDER_OK)
    }

    fn take_newer(&mut self) {
        if let Some(newer) = self.newer.take() {
            self.lines.set_len_max(newer.limits.command_line_max);
            self.options = newer;
        }
    }

    fn rcpt(&mut self, argument: &[u8], replies: &mut ReplyBuffer) -> Result<(), Rejection> {
        let mail_first = self.mail_first();
        let Work::Transaction(transaction) = &mut self.work else { return Err(mail_first) };
        transaction.asked();
        let argument = command::behind_to(argument).ok_or(bad(Fault::Syntax, reply::RCPT_SYNTAX))?;
        let (path, rest) = ForwardPath::parse(argument).map_err(bad_address(reply::BAD_RECIPIENT_ADDRESS))?;
        extension::rcpt_parameters(rest)?;
        check_charset(path.text(), transaction.smtputf8())?;
        match transaction.admit(&path, &self.options) {
            Verdict::Accept => {
                self.counts.recipients_accepted += 1;
                replies.push(reply::RECIPIENT_OK);
            }
            Verdict::Refuse(refusal) => {
                self.counts.refused[refusal as usize] += 1;
                replies.push_about(reply::of_refusal(refusal), path.text());
            }
        }
        Ok(())
    }

    fn data(&mut self, replies: &mut ReplyBuffer) -> Result<(), Rejection> {
        let mail_first = self.mail_first();
        let Work::Transaction(transaction) = &self.work else { return Err(mail_first) };
        transaction.check_recipients()?;
        if let Work::Transaction(transaction) = mem::replace(&mut self.work, Work::Idle) {
            self.work = Work::Receiving(transaction.receive());
        }
        answer(replies, reply::SEND_TEXT)
    }

    /// The rejection of a command that belongs into a transaction, outside of one.
    fn mail_first(&self) -> Rejection {
        let reply = if self.client.is_some() { reply::MAIL_FIRST } else { reply::HELLO_FIRST };
        bad(Fault::Sequence, reply)
    }

    fn reject_line(&mut self, fault: Fault, reply: Reply, replies: &mut ReplyBuffer) -> Option<Step> {
        self.counts.commands += 1;
        self.reject(bad(fault, reply), replies)
    }

    fn reject(&mut self, rejection: Rejection, replies: &mut ReplyBuffer) -> Option<Step> {
        match rejection {
            Rejection::Refused(refusal) => {
                self.counts.refused[refusal as usize] += 1;
                replies.push(reply::of_refusal(refusal));
            }
            Rejection::NoValidRecipients => replies.push(reply::NO_VALID_RECIPIENTS),
            Rejection::Bad { fault, reply, reason } => {
                self.counts.faults[fault as usize] += 1;
                self.bad_commands += 1;
                if self.bad_commands > self.options.limits.bad_commands_max {
                    self.counts.bad_commands_exceeded += 1;
                    self.work = Work::Closed;
                    replies.push(reply::TOO_MANY_BAD_COMMANDS);
                    return None;
                }
                match reason {
                    Some(reason) => replies.push_because(reply, reason),
                    None => replies.push(reply),
                }
            }
        }
        None
    }

    fn foreign_protocol(&mut self, replies: &mut ReplyBuffer, reply: Option<Reply>) -> Step {
        self.counts.faults[Fault::ForeignProtocol as usize] += 1;
        self.work = Work::Closed;
        if let Some(reply) = reply {
            replies.push(reply);
        }
        Step::Close
    }
}

fn answer(replies: &mut ReplyBuffer, reply: Reply) -> Result<(), Rejection> {
    replies.push(reply);
    Ok(())
}

const fn bad(fault: Fault, reply: Reply) -> Rejection {
    Rejection::Bad { fault, reply, reason: None }
}

fn bad_address(reply: Reply) -> impl Fn(AddressError) -> Rejection {
    move |error| Rejection::Bad { fault: Fault::Syntax, reply, reason: Some(error.reason) }
}

/// RFC 6531 section 3.5: an address beyond ASCII needs a transaction with SMTPUTF8.
fn check_charset(path: &[u8], smtputf8: bool) -> Result<(), Rejection> {
    match path.is_ascii() || smtputf8 {
        true => Ok(()),
        false => Err(bad(Fault::Syntax, reply::NON_ASCII_ADDRESS)),
    }
}

impl From<ParameterError> for Rejection {
    fn from(error: ParameterError) -> Self {
        bad(error.fault, error.reply)
    }
}

impl From<NoRecipients> for Rejection {
    fn from(none: NoRecipients) -> Self {
        match none {
            NoRecipients::Asked => bad(Fault::Sequence, reply::RCPT_FIRST),
            NoRecipients::Accepted => Self::NoValidRecipients,
        }
    }
}
