//! The names of a data directory as a kernel and a disk hold them.
//!
//! Creating, renaming and removing change the cached names at once; the disk learns of each when the directory is
//! synced, or earlier by itself and in any order: after a power cut any subset of what was not synced has happened.
//! That is all POSIX promises, and an ext4 without a journal takes it at its word. A rename is one change: both of
//! its sides happen or neither.

use crate::rng::Rng;
use std::collections::BTreeMap;

/// The number of a file, whatever its name.
pub type Inode = u64;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File(Inode),
    /// A directory below the data directory.
    Directory,
}

/// All names below the data directory; `/` separates a directory's name from the names in it.
#[derive(Debug, Clone, Default)]
pub struct Names {
    cached: BTreeMap<String, Entry>,
    disk: BTreeMap<String, Entry>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
struct Change {
    gone: Option<String>,
    new: Option<(String, Entry)>,
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, Entry>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((name, entry)) = &self.new {
            names.insert(name.clone(), *entry);
        }
    }

    /// The directories whose sync makes it durable hold one of its names.
    fn is_in(&self, directory: &str) -> bool {
        let names = self.gone.iter().chain(self.new.iter().map(|(name, _)| name));
        names.into_iter().any(|name| parent(name) == directory)
    }
}

/// The directory a name stands in; empty for the data directory itself.
#[must_use]
pub fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}

impl Names {
    /// What a name stands for now.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<Entry> {
        self.cached.get(name).copied()
    }

    /// The names in a directory, in order.
    pub fn list<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = &'a str> {
        self.cached.keys().map(String::as_str).filter(move |name| parent(name) == directory)
    }

    /// Every file that has a name, in the cache or on the disk.
    pub fn inodes(&self) -> impl Iterator<Item = Inode> {
        let files = self.cached.values().chain(self.disk.values());
        let pending = self.pending.iter().filter_map(|change| change.new.as_ref().map(|(_, entry)| entry));
        files.chain(pending).filter_map(|entry| match entry {
            Entry::File(inode) => Some(*inode),
            Entry::Directory => None,
        })
    }

    /// True when a power cut at this moment would leave the name standing for the same thing.
    #[must_use]
    pub fn is_durable(&self, name: &str) -> bool {
        let touched = |change: &Change| {
            change.gone.as_deref() == Some(name) || change.new.as_ref().is_some_and(|(new, _)| new == name)
        };
        self.cached.contains_key(name)
            && self.cached.get(name) == self.disk.get(name)
            && !self.pending.iter().any(touched)
            && (parent(name).is_empty() || self.is_durable(parent(name)))
    }

    /// Gives a name to something new.
    pub fn add(&mut self, name: &str, entry: Entry) {
        self.change(Change { gone: None, new: Some((name.to_owned(), entry)) });
    }

    /// Moves a name; what had the new one loses it.
    pub fn rename(&mut self, from: &str, to: &str) {
        if let Some(entry) = self.entry(from) {
            self.change(Change { gone: Some(from.to_owned()), new: Some((to.to_owned(), entry)) });
        }
    }

    /// Takes a name away.
    pub fn remove(&mut self, name: &str) {
        self.change(Change { gone: Some(name.to_owned()), new: None });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.pending.push(change);
    }

    /// Makes the names in a directory durable.
    pub fn sync(&mut self, directory: &str) {
        self.settle(|change| change.is_in(directory));
        // A change that a failed sync had left behind may have come after one that it had not.
        self.disk.retain(|name, _| parent(name) != directory);
        let there = self.cached.iter().filter(|(name, _)| parent(name) == directory);
        self.disk.extend(there.map(|(name, entry)| (name.clone(), *entry)));
    }

    /// A sync of a directory that fails: some changes arrived, the others may yet.
    pub fn sync_failing(&mut self, directory: &str, rng: &mut Rng) {
        self.settle(|change| change.is_in(directory) && rng.chance(500));
    }

    /// The power goes: any subset of what was not synced has happened.
    pub fn power_cut(&mut self, rng: &mut Rng) {
        self.settle(|_| rng.chance(500));
        self.pending.clear();
        // An entry whose directory never arrived cannot be reached.
        let directories: Vec<_> = self.disk.keys().cloned().collect();
        self.disk
            .retain(|name, _| parent(name).is_empty() || directories.iter().any(|at| at == parent(name)));
        self.cached = self.disk.clone();
    }

    fn settle(&mut self, mut arrives: impl FnMut(&Change) -> bool) {
        let disk = &mut self.disk;
        self.pending.retain(|change| {
            let arrived = arrives(change);
            if arrived {
                change.apply(disk);
            }
            !arrived
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn cut(names: &Names, seed: u64) -> Vec<String> {
        let mut names = names.clone();
        names.power_cut(&mut Rng::new(seed));
        names.list("").map(str::to_owned).collect()
    }

    #[test]
    fn a_synced_name_stays_and_a_new_one_may_not() {
        let mut names = Names::default();
        names.add("a", Entry::File(1));
        names.sync("");
        names.add("b", Entry::File(2));
        assert!(names.is_durable("a") && !names.is_durable("b"));
        let ends: BTreeSet<_> = (0..50).map(|seed| cut(&names, seed)).collect();
        assert_eq!(ends, BTreeSet::from([vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]]));
    }

    #[test]
    fn a_rename_happens_whole_or_not_at_all() {
        let mut names = Names::default();
        names.add("a", Entry::File(1));
        names.sync("");
        names.rename("a", "b");
        let ends: BTreeSet<_> = (0..50).map(|seed| cut(&names, seed)).collect();
        assert_eq!(ends, BTreeSet::from([vec!["a".to_owned()], vec!["b".to_owned()]]));
    }
}
