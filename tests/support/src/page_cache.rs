//! One file as a kernel and a disk hold it: what reads see, and what a power cut would leave of it.
//!
//! ```text
//!   write_at --> content (page cache) --writeback or sync--> disk pages
//!                 dirty: pages that differ      len_pending: lengths the disk has not been told of
//! ```
//!
//! Pages reach the disk in any order and at any time, whole or torn at 512 octets; the length goes its own way.
//! Only a sync that succeeds promises anything. A failed one marks the pages clean all the same, as Linux does: the
//! next sync succeeds without having written them. No journal is assumed; what POSIX does not promise may happen.

use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Octets in a page of the cache.
pub const PAGE: usize = 4096;
/// Octets the disk writes as one: a page may be torn between two of these.
pub const SECTOR: usize = 512;

type Page = [u8; PAGE];

/// One file's cached and stored octets.
#[derive(Debug, Clone, Default)]
pub struct CachedFile {
    content: Vec<u8>,
    dirty: BTreeSet<usize>,
    disk: BTreeMap<usize, Box<Page>>,
    disk_len: usize,
    /// Lengths since the disk was last told one, each of which it may have learned by itself.
    len_pending: Vec<usize>,
    /// The shortest of them: disk pages behind it are not the file's any more.
    cut_pending: Option<usize>,
}

impl CachedFile {
    /// What a read sees now.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// The pages that the range touches and that were never written, so that blocks must be found for them.
    #[must_use]
    pub fn pages_to_allocate(&self, range: Range<usize>) -> usize {
        pages(&range).filter(|page| !self.is_allocated(*page)).count()
    }

    /// The pages that take room on the disk.
    #[must_use]
    pub fn pages_allocated(&self) -> usize {
        self.disk.keys().chain(self.dirty.iter()).collect::<BTreeSet<_>>().len()
    }

    /// True when a power cut at this moment would leave the range as reads see it.
    #[must_use]
    pub fn is_durable(&self, range: Range<usize>) -> bool {
        let length_safe = self.len_pending.iter().all(|len| *len >= range.end) && range.end <= self.disk_len;
        length_safe
            && pages(&range).all(|page| {
                let end = range.end.min((page + 1) * PAGE);
                let start = range.start.max(page * PAGE);
                // A dirty page may be torn, but where both versions are equal any mix of them is too.
                self.disk.get(&page).is_some_and(|stored| {
                    stored[start - page * PAGE..end - page * PAGE] == self.content[start..end]
                })
            })
    }

    /// Writes into the cache.
    pub fn write(&mut self, offset: usize, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        let end = offset + octets.len();
        if end > self.content.len() {
            self.content.resize(end, 0);
            self.len_pending.push(end);
        }
        self.content[offset..end].copy_from_slice(octets);
        self.dirty.extend(pages(&(offset..end)));
    }

    /// Changes the length; a longer file reads as zeros behind its old end.
    pub fn truncate(&mut self, len: usize) {
        if len == self.content.len() {
            return;
        }
        if len < self.content.len() {
            self.cut_pending = Some(self.cut_pending.map_or(len, |cut| cut.min(len)));
            self.dirty.retain(|page| page * PAGE < len);
            if !len.is_multiple_of(PAGE) && self.is_allocated(len / PAGE) {
                self.dirty.insert(len / PAGE);
            }
        }
        self.content.resize(len, 0);
        self.len_pending.push(len);
    }

    /// Makes everything durable.
    pub fn sync(&mut self) {
        self.store_len();
        for page in std::mem::take(&mut self.dirty) {
            self.store_page(page);
        }
    }

    /// A sync that fails: some pages arrive, the others are marked clean and are gone for good; reads may still
    /// see them or not.
    pub fn sync_failing(&mut self, rng: &mut Rng) {
        if rng.chance(500) {
            self.store_len();
        }
        for page in std::mem::take(&mut self.dirty) {
            match rng.below(3) {
                0 => self.store_page(page),
                1 => {}
                _ => self.evict(page),
            }
        }
    }

    /// The kernel writes something back unasked.
    pub fn write_back(&mut self, rng: &mut Rng) {
        if self.dirty.is_empty() {
            return;
        }
        self.store_len();
        let page = *self.dirty.iter().nth(rng.below(self.dirty.len())).expect("an index below the length");
        self.dirty.remove(&page);
        self.store_page(page);
    }

    /// The power goes: what reads see from now on is what happened to reach the disk. `stale` is what an unwritten
    /// block may hold from an earlier life.
    pub fn power_cut(&mut self, rng: &mut Rng, stale: &Page) {
        self.cut_len(rng);
        for page in std::mem::take(&mut self.dirty) {
            match rng.below(4) {
                0 => self.store_page(page),
                1 => {}
                2 if !self.disk.contains_key(&page) => _ = self.disk.insert(page, Box::new(*stale)),
                _ => self.tear_page(page, rng),
            }
        }
        self.reload();
    }

    /// A page of the file as it is on the disk, for another file's stale blocks.
    #[must_use]
    pub fn any_disk_page(&self, rng: &mut Rng) -> Option<Page> {
        if self.disk.is_empty() {
            return None;
        }
        self.disk.values().nth(rng.below(self.disk.len())).map(|page| **page)
    }

    fn is_allocated(&self, page: usize) -> bool {
        self.dirty.contains(&page) || self.disk.contains_key(&page)
    }

    fn cut_len(&mut self, rng: &mut Rng) {
        let choice = rng.below(self.len_pending.len() + 1);
        if let Some(len) = self.len_pending.get(choice).copied() {
            self.disk_len = len;
        }
        self.len_pending.clear();
        self.cut_pending = None;
    }

    fn reload(&mut self) {
        self.dirty.clear();
        self.disk.retain(|page, _| page * PAGE < self.disk_len);
        self.content.clear();
        self.content.resize(self.disk_len, 0);
        for (page, stored) in &mut self.disk {
            let end = self.disk_len.min((page + 1) * PAGE);
            // What stands behind the end of a file is zeroed before the file grows over it.
            stored[end - page * PAGE..].fill(0);
            self.content[page * PAGE..end].copy_from_slice(&stored[..end - page * PAGE]);
        }
    }

    fn store_len(&mut self) {
        if let Some(cut) = self.cut_pending.take() {
            self.disk.retain(|page, _| page * PAGE < cut);
        }
        self.len_pending.clear();
        self.disk_len = self.content.len();
    }

    fn cached_page(&self, page: usize) -> Box<Page> {
        let mut cached = Box::new([0; PAGE]);
        let start = (page * PAGE).min(self.content.len());
        let end = ((page + 1) * PAGE).min(self.content.len());
        cached[..end - start].copy_from_slice(&self.content[start..end]);
        cached
    }

    fn store_page(&mut self, page: usize) {
        let cached = self.cached_page(page);
        self.disk.insert(page, cached);
    }

    fn tear_page(&mut self, page: usize, rng: &mut Rng) {
        let cached = self.cached_page(page);
        let stored = self.disk.entry(page).or_insert_with(|| Box::new([0; PAGE]));
        for sector in 0..PAGE / SECTOR {
            if rng.chance(500) {
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                stored[range.clone()].copy_from_slice(&cached[range]);
            }
        }
    }

    fn evict(&mut self, page: usize) {
        let start = (page * PAGE).min(self.content.len());
        let end = ((page + 1) * PAGE).min(self.content.len());
        match self.disk.get(&page) {
            Some(stored) => self.content[start..end].copy_from_slice(&stored[..end - start]),
            None => self.content[start..end].fill(0),
        }
    }
}

fn pages(range: &Range<usize>) -> Range<usize> {
    match range.is_empty() {
        true => 0..0,
        false => range.start / PAGE..range.end.div_ceil(PAGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(octets: &[u8]) -> CachedFile {
        let mut file = CachedFile::default();
        file.write(0, octets);
        file
    }

    fn cut(file: &CachedFile, seed: u64) -> Vec<u8> {
        let mut file = file.clone();
        file.power_cut(&mut Rng::new(seed), &[b'?'; PAGE]);
        file.content
    }

    #[test]
    fn what_was_synced_survives_every_power_cut() {
        let mut file = written(&[1; 3 * PAGE]);
        file.sync();
        assert!(file.is_durable(0..3 * PAGE));
        file.write(2 * PAGE, &[2; 2 * PAGE]);
        assert!(!file.is_durable(2 * PAGE..3 * PAGE));
        for seed in 0..100 {
            assert_eq!(cut(&file, seed)[..2 * PAGE], [1; 2 * PAGE]);
        }
    }

    #[test]
    fn what_was_not_synced_may_stay_go_or_be_torn() {
        let file = written(&[1; PAGE]);
        let ends: BTreeSet<_> = (0..200).map(|seed| cut(&file, seed)).collect();
        assert!(ends.contains(&vec![]) && ends.contains(&vec![1; PAGE]) && ends.contains(&vec![b'?'; PAGE]));
        assert!(ends.len() > 10, "torn in {} ways", ends.len());
    }

    #[test]
    fn a_failed_sync_leaves_pages_that_no_later_sync_writes() {
        let mut rng = Rng::new(1);
        let mut lost = 0;
        for _ in 0..100 {
            let mut file = written(&[1; PAGE]);
            file.sync_failing(&mut rng);
            file.sync();
            lost += usize::from(!file.is_durable(0..PAGE) || file.content() != [1; PAGE]);
        }
        assert!((20..90).contains(&lost), "{lost}");
    }

    #[test]
    fn an_unsynced_truncation_may_come_undone() {
        let mut file = written(&[1; PAGE]);
        file.sync();
        file.truncate(10);
        assert_eq!(file.content(), [1; 10]);
        assert!(file.is_durable(0..10));
        let lengths: BTreeSet<_> = (0..50).map(|seed| cut(&file, seed).len()).collect();
        assert_eq!(lengths, BTreeSet::from([10, PAGE]));
        file.truncate(20);
        file.sync();
        assert_eq!(cut(&file, 0), [[1; 10], [0; 10]].concat());
    }
}
