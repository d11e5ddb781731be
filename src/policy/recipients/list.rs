//! The list of recipients: its lines, and what they say of a mailbox.
//!
//! ```text
//! # a comment
//! ann@example.org        # one mailbox; a comment may follow behind a blank
//! @example.net           # every mailbox of a domain
//! @*.example.net         # every mailbox of its subdomains
//! @*                     # every mailbox of the domains that are served
//! ```

use super::RecipientsError;
use super::domains::Domains;
use super::fold::fold_mailbox;
use super::names::Names;
use crate::message::Mailbox;

/// The most octets a list may have: 1 GiB, some 30 million mailboxes.
pub(super) const LIST_LEN_MAX: usize = 1 << 30;

/// What a list says.
#[derive(Debug, Default)]
pub(super) struct List {
    /// `local part@domain`, as compared.
    mailboxes: Names,
    /// Domains of which every mailbox is taken.
    whole_domains: Domains,
    /// Every mailbox of the domains that are served.
    catch_all: bool,
    /// The domains of the mailboxes, whose postmaster is taken where no others are served.
    mailbox_domains: Domains,
}

impl List {
    /// Reads the lines of `text`. `serves_domains`: there are domains to which `@*` can refer.
    ///
    /// # Errors
    /// [`RecipientsError`] for the first line that cannot be read.
    pub(super) fn parse(text: &str, serves_domains: bool) -> Result<Self, RecipientsError> {
        if text.len() > LIST_LEN_MAX {
            let text = format!("{} octets", text.len());
            return Err(RecipientsError { line: None, text, reason: "a list has at most 1 GiB" });
        }
        let mut list = Self::default();
        let mut key = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let error = |reason| RecipientsError { line: Some(index + 1), text: line.to_owned(), reason };
            match line.as_bytes() {
                [] | [b'#', ..] => {}
                [b'@', ..] => list.domain(&line[1..], serves_domains).map_err(error)?,
                _ => list.mailbox(line, &mut key).map_err(error)?,
            }
        }
        Ok(list)
    }

    /// True when `key`, a mailbox as compared whose `@` stands at `at`, is listed by itself.
    pub(super) fn names(&self, key: &[u8]) -> bool {
        self.mailboxes.contains(key)
    }

    /// True when every mailbox of `domain` is taken, given that the domain is served.
    pub(super) fn takes_all_of(&self, domain: &[u8]) -> bool {
        self.catch_all || self.whole_domains.contain(domain)
    }

    /// True when a mailbox of `domain` is listed.
    pub(super) fn knows_domain(&self, domain: &[u8]) -> bool {
        self.mailbox_domains.contain(domain)
    }

    /// Mailboxes that are listed by themselves.
    pub(super) fn mailbox_count(&self) -> usize {
        self.mailboxes.len()
    }

    /// Lines `@domain`, each counted once.
    pub(super) fn whole_domain_count(&self) -> usize {
        self.whole_domains.len() + usize::from(self.catch_all)
    }

    /// A line that begins with `@`; `line` is what follows.
    fn domain(&mut self, line: &str, serves_domains: bool) -> Result<(), &'static str> {
        let (pattern, rest) = line.split_at(line.find(char::is_whitespace).unwrap_or(line.len()));
        comment(rest)?;
        match (pattern, serves_domains) {
            ("*", true) => self.catch_all = true,
            ("*", false) => return Err("@* stands for every domain of --domain, and there is none"),
            _ => self.whole_domains.insert(pattern)?,
        }
        Ok(())
    }

    fn mailbox(&mut self, line: &str, key: &mut Vec<u8>) -> Result<(), &'static str> {
        let (mailbox, rest) = Mailbox::split(line.as_bytes()).map_err(|problem| problem.reason)?;
        comment(&line[line.len() - rest.len()..])?;
        key.clear();
        let at = fold_mailbox(&mailbox, key).ok_or("not a domain name")?;
        self.mailboxes.insert(key);
        self.mailbox_domains.insert_folded(&key[at + 1..]);
        Ok(())
    }
}

/// What follows an address must be a comment behind a blank: `#` may stand in an address (RFC 5322 section 3.2.3).
fn comment(rest: &str) -> Result<(), &'static str> {
    let text = rest.trim_start();
    match text.is_empty() || (text.len() < rest.len() && text.starts_with('#')) {
        true => Ok(()),
        false => Err("something stands behind the address; a comment begins with a blank and #"),
    }
}
