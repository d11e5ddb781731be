//! A set of octet strings in one piece of memory: the octets of all of them one behind the other, and a hash table
//! of where each begins.
//!
//! A list of 100,000 mailboxes takes about 35 octets each so, and two allocations that grow, instead of one for
//! each mailbox.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// Octets of the length in front of each name.
const LEN_OCTETS: usize = size_of::<u16>();

/// A set of names. Nothing is ever taken out of it.
#[derive(Default)]
pub(super) struct Names {
    /// Each name behind its length.
    octets: Vec<u8>,
    /// Where each begins in `octets`.
    starts: HashTable<u32>,
    hasher: RandomState,
}

impl Names {
    /// Adds `name`; false when it was there already.
    ///
    /// # Panics
    /// When the name has more than 65,535 octets or all together have more than 4 GiB: names are addresses, and the
    /// texts they come from are bounded (`LIST_LEN_MAX` of `list`).
    pub(super) fn insert(&mut self, name: &[u8]) -> bool {
        let hash = self.hasher.hash_one(name);
        if self.find(hash, name) {
            return false;
        }
        let len = u16::try_from(name.len()).expect("an address is shorter than 64 KiB");
        let start = u32::try_from(self.octets.len()).expect("a bounded list makes less than 4 GiB");
        self.octets.extend_from_slice(&len.to_le_bytes());
        self.octets.extend_from_slice(name);
        let Self { octets, starts, hasher } = self;
        starts.insert_unique(hash, start, |start| hasher.hash_one(name_at(octets, *start)));
        true
    }

    /// True when `name` is in the set.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        !self.is_empty() && self.find(self.hasher.hash_one(name), name)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// True when there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    fn find(&self, hash: u64, name: &[u8]) -> bool {
        self.starts.find(hash, |start| name_at(&self.octets, *start) == name).is_some()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} names", self.len())
    }
}

fn name_at(octets: &[u8], start: u32) -> &[u8] {
    let behind = &octets[start as usize..];
    let (len, behind) = behind.split_at(LEN_OCTETS);
    &behind[..usize::from(u16::from_le_bytes([len[0], len[1]]))]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_set_of_strings_holds(
            names in proptest::collection::vec(proptest::collection::vec(b'a'..=b'c', 0..5), 0..200),
            asked in proptest::collection::vec(proptest::collection::vec(b'a'..=b'c', 0..5), 50),
        ) {
            let mut compact = Names::default();
            let mut naive = HashSet::new();
            for name in &names {
                prop_assert_eq!(compact.insert(name), naive.insert(name.clone()));
                prop_assert_eq!(compact.len(), naive.len());
            }
            for name in asked.iter().chain(&names) {
                prop_assert_eq!(compact.contains(name), naive.contains(name));
            }
        }
    }
}
