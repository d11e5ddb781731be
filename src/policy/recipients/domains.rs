//! A set of domains: single ones, and all subdomains of one (`*.example.org`, which is not `example.org` itself).

use super::RecipientsError;
use super::fold::fold_domain;
use super::names::Names;
use crate::message::{Domain, Mailbox};

/// A set of domains.
#[derive(Debug, Default)]
pub(super) struct Domains {
    /// As they are compared.
    single: Names,
    /// `.example.org` for every `*.example.org`.
    parents: Names,
}

impl Domains {
    /// Adds a domain or `*.domain`.
    ///
    /// # Errors
    /// In words for the operator, when `pattern` is neither.
    pub(super) fn insert(&mut self, pattern: &str) -> Result<(), &'static str> {
        let mut folded = Vec::new();
        let (text, names) = match pattern.strip_prefix("*.") {
            Some(parent) => {
                folded.push(b'.');
                (parent, &mut self.parents)
            }
            None => (pattern, &mut self.single),
        };
        let is_wildcard = !folded.is_empty();
        let address = format!("x@{text}");
        let mailbox = Mailbox::parse(address.as_bytes()).map_err(|problem| problem.reason)?;
        let domain = mailbox.domain();
        if is_wildcard && matches!(domain, Domain::Literal(_)) {
            return Err("an address literal has no subdomains");
        }
        if !fold_domain(&domain, &mut folded) {
            return Err("not a domain name");
        }
        names.insert(&folded);
        Ok(())
    }

    /// Adds a domain in the form in which it is compared.
    pub(super) fn insert_folded(&mut self, domain: &[u8]) {
        self.single.insert(domain);
    }

    /// True when `domain`, in the form in which it is compared, is one of them or below one of them.
    pub(super) fn contain(&self, domain: &[u8]) -> bool {
        self.single.contains(domain) || self.contain_parent_of(domain)
    }

    /// How many there are; all subdomains of one count once.
    pub(super) fn len(&self) -> usize {
        self.single.len() + self.parents.len()
    }

    /// True when there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn contain_parent_of(&self, domain: &[u8]) -> bool {
        // A literal holds dots too, and no labels.
        if self.parents.is_empty() || domain.starts_with(b"[") {
            return false;
        }
        // At most 127: a domain has no more labels, and none of them is empty.
        let dots = domain.iter().enumerate().filter(|(_, octet)| **octet == b'.');
        dots.map(|(at, _)| &domain[at..]).any(|parent| self.parents.contains(parent))
    }
}

/// The domains of `patterns`.
///
/// # Errors
/// [`RecipientsError`] for the first that is none.
pub(super) fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Domains, RecipientsError> {
    let mut domains = Domains::default();
    for pattern in patterns {
        let error = |reason| RecipientsError { line: None, text: pattern.to_owned(), reason };
        domains.insert(pattern).map_err(error)?;
    }
    Ok(domains)
}
