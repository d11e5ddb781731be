//! For whom mail is taken: anybody, the mailboxes of some domains, the mailboxes of a list, or as a function says.
//!
//! Domains are compared as A-labels in lower case. Local parts of a list are compared without regard to case and
//! by what they mean: `"a"@b` is `a@b`. The texts come in as arguments; no file is read here.

mod domains;
mod fold;
mod list;
mod names;

use std::fmt;
use std::sync::Arc;

use self::domains::Domains;
use self::fold::fold_mailbox;
use self::list::List;
use crate::message::ForwardPath;
use crate::policy::{Refusal, Verdict};

/// Decides about one recipient.
pub type RecipientRule = Arc<dyn Fn(&ForwardPath<'_>) -> Verdict + Send + Sync>;

/// For whom mail is taken.
#[derive(Clone)]
pub struct Recipients {
    rule: Rule,
    subaddress: Option<u8>,
}

#[derive(Clone)]
enum Rule {
    Any,
    Listed(Arc<Listed>),
    Function(RecipientRule),
}

/// How much a [`Recipients`] of domains and a list knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecipientCounts {
    /// Domains served, and domains of which the list takes every mailbox; all subdomains of one count once.
    pub domains: usize,
    /// Mailboxes in the list, each counted once.
    pub mailboxes: usize,
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
        Self { rule: Rule::Any, subaddress: None }
    }

    /// Takes mail for the mailboxes of `domains` (none: of every domain) that stand in `list` (`None`: all of
    /// them). `*.example.org` among the domains is every subdomain of `example.org`, and not that domain itself.
    ///
    /// A list holds one address a line. `@example.org` takes every mailbox of that domain, `@*.example.org` those
    /// of its subdomains, `@*` those of all `domains`. Empty lines say nothing, and neither does what follows a `#`
    /// at the start of a line or behind a blank.
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
        let served = domains::parse(domains)?;
        let list = list.map(|list| List::parse(list, !served.is_empty())).transpose()?;
        if served.is_empty() && list.is_none() {
            return Ok(Self::any());
        }
        Ok(Self { rule: Rule::Listed(Arc::new(Listed { served, list })), subaddress: None })
    }

    /// Takes mail as `rule` says.
    #[must_use]
    pub fn from_fn(rule: RecipientRule) -> Self {
        Self { rule: Rule::Function(rule), subaddress: None }
    }

    /// The same, and `user+tag` wherever `user` is listed, when `delimiter` is `+` (RFC 5233 section 1 calls what
    /// stands behind it the detail). A mailbox that is listed with its tag is taken as it is.
    #[must_use]
    pub fn with_subaddress(self, delimiter: Option<u8>) -> Self {
        Self { subaddress: delimiter, ..self }
    }

    /// True when every recipient is taken.
    #[must_use]
    pub fn takes_any(&self) -> bool {
        matches!(self.rule, Rule::Any)
    }

    /// How many domains and mailboxes it knows; `None` when it takes any, or goes by a function.
    #[must_use]
    pub fn counts(&self) -> Option<RecipientCounts> {
        match &self.rule {
            Rule::Listed(listed) => Some(listed.counts()),
            Rule::Any | Rule::Function(_) => None,
        }
    }

    /// What is to be done with `path`.
    #[must_use]
    pub fn verdict(&self, path: &ForwardPath<'_>) -> Verdict {
        match &self.rule {
            Rule::Any => Verdict::Accept,
            Rule::Listed(listed) => listed.verdict(path, self.subaddress),
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

#[derive(Debug)]
struct Listed {
    /// Refuse other domains as not ours; empty: every domain.
    served: Domains,
    /// `None`: every mailbox of the domains.
    list: Option<List>,
}

impl Listed {
    fn counts(&self) -> RecipientCounts {
        let list = self.list.as_ref();
        RecipientCounts {
            domains: self.served.len() + list.map_or(0, List::whole_domain_count),
            mailboxes: list.map_or(0, List::mailbox_count),
        }
    }

    fn verdict(&self, path: &ForwardPath<'_>, subaddress: Option<u8>) -> Verdict {
        let ForwardPath::Mailbox(mailbox) = path else { return Verdict::Accept };
        let mut key = Vec::with_capacity(mailbox.text().len() + 32);
        let Some(at) = fold_mailbox(mailbox, &mut key) else { return Verdict::Refuse(Refusal::RelayDenied) };
        if !self.served.is_empty() && !self.served.contain(&key[at + 1..]) {
            return Verdict::Refuse(Refusal::RelayDenied);
        }
        let Some(list) = &self.list else { return Verdict::Accept };
        if list.takes_all_of(&key[at + 1..]) || self.knows(list, &key, at) {
            return Verdict::Accept;
        }
        // RFC 5233 section 4: the user is what stands before the delimiter, and there must be one.
        let tag_at = subaddress.and_then(|delimiter| key[..at].iter().position(|octet| *octet == delimiter));
        if let Some(tag_at) = tag_at.filter(|tag_at| *tag_at > 0) {
            key.drain(tag_at..at);
            if self.knows(list, &key, tag_at) {
                return Verdict::Accept;
            }
        }
        Verdict::Refuse(Refusal::UnknownRecipient)
    }

    /// True for a mailbox that is listed by itself, or the postmaster of a domain that is ours.
    fn knows(&self, list: &List, key: &[u8], at: usize) -> bool {
        let is_ours = |domain| !self.served.is_empty() || list.knows_domain(domain);
        list.names(key) || (&key[..at] == b"postmaster" && is_ours(&key[at + 1..]))
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
    fn a_wildcard_takes_subdomains_of_any_depth_and_not_the_domain_itself() {
        let recipients =
            Recipients::listed(["*.example.org", "b.example", "*.почта.example"], None).expect("good");
        for address in [
            "a@x.example.org",
            "a@y.X.Example.ORG",
            "a@b.example",
            "postmaster@x.example.org",
            "a@x.почта.example",
        ] {
            assert_eq!(verdict(&recipients, address), Verdict::Accept, "{address}");
        }
        for address in [
            "a@example.org",
            "a@xexample.org",
            "a@x.b.example",
            "a@org",
            "a@x.example.org.net",
            "a@почта.example",
        ] {
            assert_eq!(verdict(&recipients, address), RELAY_DENIED, "{address}");
        }
    }

    #[test]
    fn a_line_that_begins_with_an_at_takes_every_mailbox_of_its_domain() {
        let list = "ann@example.org\n@Example.net # all of it\n@*.example.com\n";
        let recipients = Recipients::listed([], Some(list)).expect("a good list");
        for address in ["ann@example.org", "x@example.net", "x@a.example.com", "postmaster@example.org"] {
            assert_eq!(verdict(&recipients, address), Verdict::Accept, "{address}");
        }
        for address in ["bob@example.org", "x@a.example.net", "x@example.com", "postmaster@example.com"] {
            assert_eq!(verdict(&recipients, address), UNKNOWN, "{address}");
        }
        let within = Recipients::listed(["example.org"], Some(list)).expect("a good list");
        assert_eq!(verdict(&within, "x@example.net"), RELAY_DENIED, "the domains say what is ours");
    }

    #[test]
    fn the_empty_local_part_in_quotes_is_no_domain() {
        let recipients = Recipients::listed([], Some("\"\"@example.org\n")).expect("a good list");
        assert_eq!(verdict(&recipients, "\"\"@example.org"), Verdict::Accept);
        assert_eq!(verdict(&recipients, "a@example.org"), UNKNOWN);
    }

    #[test]
    fn a_catch_all_takes_every_mailbox_of_the_domains_served() {
        let recipients = Recipients::listed(["a.example", "*.b.example"], Some("@*\n")).expect("a good list");
        assert_eq!(verdict(&recipients, "anybody@a.example"), Verdict::Accept);
        assert_eq!(verdict(&recipients, "anybody@x.b.example"), Verdict::Accept);
        assert_eq!(verdict(&recipients, "anybody@c.example"), RELAY_DENIED);
        let error = Recipients::listed([], Some("@*\n")).expect_err("nothing is served");
        assert!(error.to_string().starts_with("line 1: '@*'"), "{error}");
    }

    #[test]
    fn a_tag_is_looked_behind_only_where_that_was_asked_for() {
        let list = "ann@example.org\nbob+work@example.org\n";
        let plain = Recipients::listed([], Some(list)).expect("a good list");
        assert_eq!(verdict(&plain, "ann+tag@example.org"), UNKNOWN);
        let tagged = plain.with_subaddress(Some(b'+'));
        for address in [
            "ann@example.org",
            "Ann+Tag@example.org",
            "ann+a+b@example.org",
            "ann+@example.org",
            "\"ann+a tag\"@example.org",
            "bob+work@example.org",
            "postmaster+x@example.org",
        ] {
            assert_eq!(verdict(&tagged, address), Verdict::Accept, "{address}");
        }
        for address in [
            "+ann@example.org",
            "ann-tag@example.org",
            "bob@example.org",
            "bob+home@example.org",
            "ann+x@b.example",
        ] {
            assert_eq!(verdict(&tagged, address), UNKNOWN, "{address}");
        }
    }

    #[test]
    fn a_comment_stands_behind_a_blank() {
        let list = "# c\n a#b@example.org\t# a number sign in the address\n\"a # b\"@example.org #\nann@example.org #x\n";
        let recipients = Recipients::listed([], Some(list)).expect("a good list");
        for address in ["a#b@example.org", "\"a # b\"@example.org", "ann@example.org"] {
            assert_eq!(verdict(&recipients, address), Verdict::Accept, "{address}");
        }
        for line in
            ["ann@example.org#x", "ann@example.org x", "@example.org x", "@example.org#x", "@", "@a@b"]
        {
            let error = Recipients::listed([], Some(line)).expect_err(line);
            assert_eq!(error.line, Some(1), "{line}: {error}");
        }
    }

    #[test]
    fn what_is_known_is_counted_once() {
        let list = "ann@example.org\nANN@example.org # again\nbob@example.org\n@example.net\n";
        let recipients =
            Recipients::listed(["example.org", "*.example.org"], Some(list)).expect("a good list");
        assert_eq!(recipients.counts(), Some(RecipientCounts { domains: 3, mailboxes: 2 }));
        assert_eq!(Recipients::any().counts(), None);
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
        for domain in ["*", "*.", "**.example", "*x.example", "*.[192.0.2.1]", "x.*.example"] {
            assert!(Recipients::listed([domain], None).is_err(), "{domain}");
        }
        let error = Recipients::listed([], Some("a@b\n\nno-address\n")).expect_err("no @");
        assert_eq!(error.to_string(), "line 3: 'no-address': no @ behind the local part");
    }
}
