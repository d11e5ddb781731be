//! One mail transaction: from MAIL through RCPT and DATA to the end of the text. Each phase is a value that the
//! next one consumes; RSET drops whichever there is, and with it everything the transaction held.

use bytes::Bytes;

use super::options::{BareLf, SessionOptions};
use crate::message::envelope::MailParameters;
use crate::message::{BodyBuilder, Envelope, EnvelopeBuilder, ForwardPath, Message};
use crate::policy::{Refusal, Verdict};
use crate::wire::{DataEvent, DataScanner};

/// MAIL was accepted; recipients are being named.
#[derive(Debug)]
pub(super) struct Transaction {
    envelope: EnvelopeBuilder,
    smtputf8: bool,
    recipients: usize,
    /// RCPT was sent at least once, accepted or not.
    was_asked: bool,
}

/// Why DATA cannot follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRecipients {
    /// RCPT was never sent.
    Asked,
    /// Each was refused.
    Accepted,
}

impl Transaction {
    pub(super) fn new(envelope: EnvelopeBuilder, parameters: MailParameters) -> Self {
        Self { envelope, smtputf8: parameters.smtputf8, recipients: 0, was_asked: false }
    }

    /// RFC 6531 section 3.4: addresses beyond ASCII may be used.
    pub(super) fn smtputf8(&self) -> bool {
        self.smtputf8
    }

    /// RCPT was sent.
    pub(super) fn asked(&mut self) {
        self.was_asked = true;
    }

    /// Adds the recipient when policy agrees.
    pub(super) fn admit(&mut self, path: &ForwardPath<'_>, options: &SessionOptions) -> Verdict {
        if self.recipients >= options.limits.recipients_max {
            return Verdict::Refuse(Refusal::TooManyRecipients);
        }
        let verdict = options.recipients.verdict(path);
        if verdict == Verdict::Accept {
            self.recipients += 1;
            self.envelope.forward_path(path.text());
        }
        verdict
    }

    /// Says whether DATA may follow.
    pub(super) fn check_recipients(&self) -> Result<(), NoRecipients> {
        match (self.recipients, self.was_asked) {
            (1.., _) => Ok(()),
            (0, true) => Err(NoRecipients::Accepted),
            (0, false) => Err(NoRecipients::Asked),
        }
    }

    /// DATA: the text comes next.
    pub(super) fn receive(self) -> Receiving {
        Receiving {
            envelope: self.envelope.finish(),
            scanner: DataScanner::new(),
            size: 0,
            text: Some(BodyBuilder::default()),
        }
    }
}

/// DATA was accepted; the text is coming in.
#[derive(Debug)]
pub(super) struct Receiving {
    envelope: Envelope,
    scanner: DataScanner,
    /// Octets of text seen, dots unstuffed.
    size: usize,
    /// `None` once the message is known to be refused: what is still to come is read and dropped.
    text: Option<BodyBuilder>,
}

/// How far the text has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// The input is used up.
    Part,
    /// The end of the data was consumed.
    Whole,
}

impl Receiving {
    /// Takes text off the front of `input`.
    pub(super) fn read(&mut self, input: &mut Bytes, options: &SessionOptions) -> Received {
        loop {
            match self.scanner.next(input) {
                DataEvent::Text(slice) => self.push(slice, options),
                DataEvent::NeedInput => return Received::Part,
                DataEvent::End => return Received::Whole,
            }
        }
    }

    /// The message, or why it is refused after its end.
    pub(super) fn finish(self, options: &SessionOptions) -> Result<Message, Refusal> {
        match self.refusal(options) {
            Some(refusal) => Err(refusal),
            None => {
                let text = self.text.expect("the text is kept until there is a reason to refuse it");
                Ok(Message { envelope: self.envelope, body: text.finish() })
            }
        }
    }

    /// Lets go of receive buffers of which the text holds little.
    pub(super) fn settle(&mut self) {
        if let Some(text) = &mut self.text {
            text.settle();
        }
    }

    fn push(&mut self, slice: Bytes, options: &SessionOptions) {
        self.size += slice.len();
        if self.refusal(options).is_some() {
            self.text = None;
        }
        if let Some(text) = &mut self.text {
            text.push(slice);
        }
    }

    fn refusal(&self, options: &SessionOptions) -> Option<Refusal> {
        // RFC 1870 section 6.3: the size is that of the text itself; the limit is the largest allowed.
        if self.size > options.limits.message_size_max {
            return Some(Refusal::MessageTooLarge);
        }
        let is_bare = options.bare_lf == BareLf::Reject && self.scanner.saw_bare_line_end();
        is_bare.then_some(Refusal::BareLineEnd)
    }
}
