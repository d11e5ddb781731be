//! For whom mail is taken: anybody, the mailboxes of some domains, the mailboxes of a list, or as a function says.
//!
//! Domains are compared as A-labels in lower case. Local parts of a list are compared without regard to case and
//! by what they mean: `"a"@b` is `a@b`. The texts come in as arguments; no file is read here.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::message::address::DOMAIN_LEN_MAX;
use crate::message::{Domain, ForwardPath, Mailbox};
use crate::policy::{Refusal, Verdict};

/// Decides about one recipient.
pub type RecipientRule = Arc<dyn Fn(&ForwardPath<'_>) -> Verdict + Send + Sync>;

/// For whom mail is taken.
#[derive(Clone)]
pub struct Recipients {
    rule: Rule,
}

#[derive(Clone)]
enum Rule {
    Any,
    Listed(Arc<Listed>),
    Function(RecipientRule),
}

/// A domain or a line of a recipient list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientsError {
    /// The line of the list, from 1; `None` for a domain given by itself.
    pub line: Option<usize>,
    /// What was given.
    pub text: String,
    /// In words for the operator.
    pub reason: &'static str,
}

impl fmt::Display for RecipientsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: '{}': {}", self.text, self.reason),
            None => write!(f, "'{}': {}", self.text, self.reason),
        }
    }
}

impl std::error::Error for RecipientsError {}

impl Recipients {
    /// Takes mail for everybody.
    #[must_use]
    pub fn any() -> Self {
        Self { rule: Rule::Any }
    }

    /// Takes mail for the mailboxes of `domains` (none: of every domain) that stand in `list` (`None`: all of
    /// them). A list holds one address a line; empty lines and lines that begin with `#` say nothing.
    ///
    /// `postmaster` is always taken, without a domain and at each domain served (RFC 5321 section 4.5.1); without
    /// `domains` those of the list are served.
    ///
    /// # Errors
    /// [`RecipientsError`] for the first domain or line that is not one.
    pub fn listed<'a>(
        domains: impl IntoIterator<Item = &'a str>,
        list: Option<&str>,
    ) -> Result<Self, RecipientsError> {
        let domains = domains.into_iter().map(parse_domain).collect::<Result<HashSet<_>, _>>()?;
        let mailboxes = list.map(parse_list).transpose()?;
        if domains.is_empty() && mailboxes.is_none() {
            return Ok(Self::any());
        }
        Ok(Self { rule: Rule::Listed(Arc::new(Listed::new(domains, mailboxes))) })
    }

    /// Takes mail as `rule` says.
    #[must_use]
    pub fn from_fn(rule: RecipientRule) -> Self {
        Self { rule: Rule::Function(rule) }
    }

    /// True when every recipient is taken.
    #[must_use]
    pub fn takes_any(&self) -> bool {
        matches!(self.rule, Rule::Any)
    }

    /// What is to be done with `path`.
    #[must_use]
    pub fn verdict(&self, path: &ForwardPath<'_>) -> Verdict {
        match &self.rule {
            Rule::Any => Verdict::Accept,
            Rule::Listed(listed) => listed.verdict(path),
            Rule::Function(rule) => rule(path),
        }
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Rule::Any => f.write_str("any"),
            Rule::Listed(listed) => listed.fmt(f),
            Rule::Function(_) => f.write_str("as a function says"),
        }
    }
}

type Key = Box<[u8]>;

#[derive(Debug)]
struct Listed {
    /// Refuse other domains as not ours; empty: every domain.
    domains: HashSet<Key>,
    /// Domains whose postmaster is taken.
    postmaster_domains: HashSet<Key>,
    /// `local part@domain`, folded; `None`: every mailbox of the domains.
    mailboxes: Option<HashSet<Key>>,
}

impl Listed {
    fn new(domains: HashSet<Key>, mailboxes: Option<HashSet<Key>>) -> Self {
        let postmaster_domains = match &mailboxes {
            Some(mailboxes) if domains.is_empty() => mailboxes
                .iter()
                .filter_map(|key| key.rsplit(|octet| *octet == b'@').next())
                .map(Key::from)
                .collect(),
            _ => domains.clone(),
        };
        Self { domains, postmaster_domains, mailboxes }
    }

    fn verdict(&self, path: &ForwardPath<'_>) -> Verdict {
        let ForwardPath::Mailbox(mailbox) = path else { return Verdict::Accept };
        let mut key = Vec::with_capacity(mailbox.text().len() + 32);
        let Some(at) = fold_mailbox(mailbox, &mut key) else { return Verdict::Refuse(Refusal::RelayDenied) };
        let (local_part, domain) = (&key[..at], &key[at + 1..]);
        if !self.domains.is_empty() && !self.domains.contains(domain) {
            return Verdict::Refuse(Refusal::RelayDenied);
        }
        let is_postmaster = local_part == b"postmaster" && self.postmaster_domains.contains(domain);
        match &self.mailboxes {
            Some(mailboxes) if !is_postmaster && !mailboxes.contains(&key[..]) => {
                Verdict::Refuse(Refusal::UnknownRecipient)
            }
            _ => Verdict::Accept,
        }
    }
}

fn parse_domain(text: &str) -> Result<Key, RecipientsError> {
    let error = |reason| RecipientsError { line: None, text: text.to_owned(), reason };
    let address = format!("x@{text}");
    let mailbox = Mailbox::parse(address.as_bytes()).map_err(|problem| error(problem.reason))?;
    let mut key = Vec::new();
    match fold_domain(&mailbox.domain(), &mut key) {
        true => Ok(key.into()),
        false => Err(error("not a domain name")),
    }
}

fn parse_list(list: &str) -> Result<HashSet<Key>, RecipientsError> {
    let mut mailboxes = HashSet::new();
    for (index, line) in list.lines().enumerate() {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let error = |reason| RecipientsError { line: Some(index + 1), text: text.to_owned(), reason };
        let mailbox = Mailbox::parse(text.as_bytes()).map_err(|problem| error(problem.reason))?;
        let mut key = Vec::new();
        fold_mailbox(&mailbox, &mut key).ok_or_else(|| error("not a domain name"))?;
        mailboxes.insert(key.into());
    }
    Ok(mailboxes)
}

/// Appends the mailbox as it is compared, and says where its `@` stands; `None` when the domain cannot be one.
fn fold_mailbox(mailbox: &Mailbox<'_>, key: &mut Vec<u8>) -> Option<usize> {
    key.extend(mailbox.local_part_unquoted());
    match mailbox.local_part().is_ascii() {
        true => key.make_ascii_lowercase(),
        false => *key = String::from_utf8_lossy(key).to_lowercase().into_bytes(),
    }
    let at = key.len();
    key.push(b'@');
    fold_domain(&mailbox.domain(), key).then_some(at)
}

/// Appends the domain as it is compared: ASCII in lower case, U-labels as A-labels (RFC 5891 section 5).
fn fold_domain(domain: &Domain<'_>, key: &mut Vec<u8>) -> bool {
    let text = domain.text();
    if text.is_ascii() {
        key.extend(text.iter().map(u8::to_ascii_lowercase));
        return true;
    }
    let ascii = std::str::from_utf8(text).ok().and_then(|text| idna::domain_to_ascii(text).ok());
    match ascii {
        Some(ascii) if ascii.len() <= DOMAIN_LEN_MAX => {
            key.extend_from_slice(ascii.as_bytes());
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(recipients: &Recipients, address: &str) -> Verdict {
        let (path, rest) = ForwardPath::parse(address.as_bytes()).expect(address);
        assert!(rest.is_empty(), "{address}");
        recipients.verdict(&path)
    }

    const RELAY_DENIED: Verdict = Verdict::Refuse(Refusal::RelayDenied);
    const UNKNOWN: Verdict = Verdict::Refuse(Refusal::UnknownRecipient);

    #[test]
    fn without_domains_and_list_everybody_is_taken() {
        let recipients = Recipients::listed([], None).expect("nothing to read");
        assert!(recipients.takes_any());
        assert_eq!(verdict(&recipients, "a@example.org"), Verdict::Accept);
    }

    #[test]
    fn domains_are_compared_without_case_and_as_a_labels() {
        let recipients =
            Recipients::listed(["Example.ORG", "почта.example", "[192.0.2.1]"], None).expect("good domains");
        for address in [
            "a@example.org",
            "a@EXAMPLE.org",
            "a@ПОЧТА.example",
            "a@xn--80a1acny.example",
            "a@[192.0.2.1]",
            "<postmaster>",
        ] {
            assert_eq!(verdict(&recipients, address), Verdict::Accept, "{address}");
        }
        for address in
            ["a@example.net", "a@sub.example.org", "a@example.orgx", "a@[192.0.2.2]", "postmaster@b"]
        {
            assert_eq!(verdict(&recipients, address), RELAY_DENIED, "{address}");
        }
    }

    #[test]
    fn a_list_alone_knows_its_mailboxes_in_any_case_and_quoting() {
        let list =
            "# staff\n\nAnn@example.org\r\n  bob@Example.net  \n\"c d\"@example.org\nÜte@example.org\n";
        let recipients = Recipients::listed([], Some(list)).expect("a good list");
        for address in [
            "<ann@example.org>",
            "<ANN@EXAMPLE.ORG>",
            "<\"ann\"@example.org>",
            "<\"a\\nn\"@example.org>",
            "<bob@example.net>",
            "<\"C d\"@example.org>",
            "<üTE@example.org>",
            "<Postmaster>",
            "<postmaster@example.org>",
        ] {
            assert_eq!(verdict(&recipients, address), Verdict::Accept, "{address}");
        }
        for address in ["<ann@example.net>", "<cd@example.org>", "<x@y>", "<postmaster@y>"] {
            assert_eq!(verdict(&recipients, address), UNKNOWN, "{address}");
        }
    }

    #[test]
    fn with_domains_and_list_other_domains_are_not_ours_and_other_mailboxes_unknown() {
        let recipients =
            Recipients::listed(["example.org"], Some("ann@example.org\nbob@example.net")).expect("good");
        assert_eq!(verdict(&recipients, "ann@example.org"), Verdict::Accept);
        assert_eq!(verdict(&recipients, "postmaster@example.org"), Verdict::Accept);
        assert_eq!(verdict(&recipients, "bob@example.org"), UNKNOWN);
        assert_eq!(verdict(&recipients, "bob@example.net"), RELAY_DENIED);
    }

    #[test]
    fn an_empty_list_knows_nobody() {
        let recipients = Recipients::listed([], Some("# nobody yet\n")).expect("a good list");
        assert_eq!(verdict(&recipients, "a@example.org"), UNKNOWN);
        assert_eq!(verdict(&recipients, "postmaster"), Verdict::Accept);
    }

    #[test]
    fn a_function_may_decide() {
        let recipients = Recipients::from_fn(Arc::new(|path| match path.text() {
            b"a@b" => Verdict::Accept,
            _ => Verdict::Refuse(Refusal::UnknownRecipient),
        }));
        assert_eq!(verdict(&recipients, "a@b"), Verdict::Accept);
        assert_eq!(verdict(&recipients, "b@b"), UNKNOWN);
    }

    #[test]
    fn what_is_no_domain_or_address_is_named_with_its_line() {
        let error = Recipients::listed(["a b"], None).expect_err("a blank");
        assert_eq!((error.line, error.text.as_str()), (None, "a b"));
        let error = Recipients::listed([], Some("a@b\n\nno-address\n")).expect_err("no @");
        assert_eq!(error.to_string(), "line 3: 'no-address': no @ behind the local part");
    }
}
