//! A disk under a data directory: files, names, room, faults, and the moment when it all stops.
//!
//! Every call on [`FaultyStorage`](crate::faulty_storage::FaultyStorage) comes through here. Errors, short writes,
//! delays and write-back are drawn from one generator, so a seed is a run. Two ends are possible at any call: the
//! server is killed (the page cache survives) or the power goes (it does not); after either, every call of the
//! server fails until [`Disk::restart`].

use crate::directory::{Entry, Inode, Names};
use crate::page_cache::{CachedFile, PAGE};
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

/// Error numbers of Linux, so that what reads them sees the real ones.
pub mod errno {
    /// No such file or directory.
    pub const ENOENT: i32 = 2;
    /// Input/output error.
    pub const EIO: i32 = 5;
    /// File exists.
    pub const EEXIST: i32 = 17;
    /// No space left on device.
    pub const ENOSPC: i32 = 28;
}

/// How often, in a thousand calls, what goes wrong. All zero: a disk that works.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// A write fails with EIO.
    pub write_error: u32,
    /// A write takes fewer octets than given.
    pub write_short: u32,
    /// A sync of a file fails with EIO.
    pub sync_error: u32,
    /// A sync of a file fails with ENOSPC, as delayed allocation does.
    pub sync_no_space: u32,
    /// A read fails with EIO.
    pub read_error: u32,
    /// A read gives fewer octets than asked for.
    pub read_short: u32,
    /// Creating, renaming, removing or syncing a directory fails with EIO.
    pub name_error: u32,
    /// The kernel writes a dirty page back before a call.
    pub write_back: u32,
    /// A call takes up to so many microseconds.
    pub delay_max: u64,
}

/// How the server's life on this disk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process was killed: what it wrote is in the page cache.
    Kill,
    /// The power went: what was not synced is gone, kept or torn.
    PowerCut,
}

/// The disk; one per simulated machine.
#[derive(Debug)]
pub struct Disk {
    rng: Rng,
    /// What goes wrong from now on.
    pub faults: Faults,
    names: Names,
    files: BTreeMap<Inode, CachedFile>,
    inode_next: Inode,
    /// Pages that may be allocated in all.
    pub pages_max: usize,
    /// Calls until the crash.
    crash: Option<(u64, Crash)>,
    crashed: Option<Crash>,
    /// The server's life, counted; what an earlier one opened is closed.
    life: u64,
    /// Microseconds that calls have taken so far.
    pub elapsed: u64,
    /// Calls so far.
    pub calls: u64,
    /// The server of this life holds the lock.
    pub(crate) locked: bool,
    /// Writes to files so far, failed ones included.
    pub writes: u64,
    /// Syncs of files so far, failed ones included.
    pub syncs: u64,
    /// Syncs of files that failed so far.
    pub sync_failures: u64,
    /// What unwritten blocks may hold: pages of files that were there at an earlier power cut.
    stale: Vec<[u8; PAGE]>,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            faults: Faults::default(),
            names: Names::default(),
            files: BTreeMap::new(),
            inode_next: 1,
            pages_max: usize::MAX,
            crash: None,
            crashed: None,
            life: 0,
            elapsed: 0,
            calls: 0,
            locked: false,
            writes: 0,
            syncs: 0,
            sync_failures: 0,
            stale: Vec::new(),
        }
    }

    /// The server's life, counted from 0.
    #[must_use]
    pub fn life(&self) -> u64 {
        self.life
    }

    /// The server dies in the call that comes after `calls` others.
    pub fn crash_after(&mut self, calls: u64, crash: Crash) {
        self.crash = Some((calls, crash));
    }

    /// The server does not die after all.
    pub fn call_off_crash(&mut self) {
        self.crash = None;
    }

    /// How the server died, if it has.
    #[must_use]
    pub fn crashed(&self) -> Option<Crash> {
        self.crashed
    }

    /// Ends the server's life now, unless it has ended already, and gives the next one the disk as it then is.
    pub fn restart(&mut self, crash: Crash) {
        let crash = self.crashed.take().unwrap_or(crash);
        self.crash = None;
        self.life += 1;
        self.locked = false;
        if crash == Crash::PowerCut {
            self.cut_power();
        }
        let named: BTreeSet<_> = self.names.inodes().collect();
        self.files.retain(|inode, _| named.contains(inode));
    }

    fn cut_power(&mut self) {
        self.names.power_cut(&mut self.rng);
        for file in self.files.values() {
            if let Some(page) = file.any_disk_page(&mut self.rng) {
                self.stale.push(page);
            }
        }
        self.stale.truncate(16);
        for file in self.files.values_mut() {
            let stale = match self.stale.is_empty() {
                true => [0; PAGE],
                false => *self.rng.pick(&self.stale),
            };
            file.power_cut(&mut self.rng, &stale);
        }
    }

    /// True when a power cut at this moment would leave these octets of this file as reads see them.
    #[must_use]
    pub fn is_durable(&self, name: &str, range: Range<usize>) -> bool {
        match self.names.entry(name) {
            Some(Entry::File(inode)) => self.names.is_durable(name) && self.files[&inode].is_durable(range),
            _ => false,
        }
    }

    /// True when a power cut at this moment would leave these positions of the log as reads see them.
    #[must_use]
    pub fn is_log_durable(&self, positions: Range<u64>) -> bool {
        let segments = self.names.list("").filter_map(|name| {
            let base: u64 = name.strip_suffix(".segment")?.parse().ok()?;
            (base <= positions.start).then_some((base, name))
        });
        let Some((base, name)) = segments.max() else { return false };
        let offset = |position: u64| usize::try_from(position - base).expect("a simulated file is small");
        self.is_durable(name, offset(positions.start)..offset(positions.end))
    }

    /// The names in a directory.
    #[must_use]
    pub fn list(&self, directory: &str) -> Vec<String> {
        let names = self.names.list(directory);
        names.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect()
    }

    /// What reads of a file see now.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<&[u8]> {
        match self.names.entry(name)? {
            Entry::File(inode) => Some(self.files[&inode].content()),
            Entry::Directory => None,
        }
    }

    /// Changes what is stored under everybody's feet, as a failing medium does.
    pub fn corrupt(&mut self, name: &str, offset: usize, octets: &[u8]) {
        let Some(Entry::File(inode)) = self.names.entry(name) else { panic!("no file {name}") };
        let file = self.files.get_mut(&inode).expect("a named file");
        file.write(offset, octets);
        file.sync();
    }

    /// What happens before any call of the server: time passes, the kernel writes back, the end may come.
    ///
    /// # Errors
    /// EIO once the server's life has ended: nobody sees the answer.
    pub(crate) fn begin(&mut self, life: Option<u64>) -> io::Result<Dying> {
        let Some(life) = life else { return Ok(Dying::Not) };
        if self.crashed.is_some() || life != self.life {
            return Err(io::Error::from_raw_os_error(errno::EIO));
        }
        self.calls += 1;
        if self.faults.delay_max > 0 {
            self.elapsed += self.rng.word() % (self.faults.delay_max + 1);
        }
        if self.rng.chance(self.faults.write_back) {
            let at = self.rng.below(self.files.len().max(1));
            if let Some(file) = self.files.values_mut().nth(at) {
                file.write_back(&mut self.rng);
            }
        }
        Ok(self.count_down())
    }

    fn count_down(&mut self) -> Dying {
        match &mut self.crash {
            Some((0, crash)) => {
                self.crashed = Some(*crash);
                Dying::Now
            }
            Some((calls, _)) => {
                *calls -= 1;
                Dying::Not
            }
            None => Dying::Not,
        }
    }

    fn fails(&mut self, per_mille: u32, errno: i32) -> io::Result<()> {
        match self.rng.chance(per_mille) {
            true => Err(io::Error::from_raw_os_error(errno)),
            false => Ok(()),
        }
    }

    /// Takes the writer's lock.
    pub(crate) fn lock(&mut self, life: Option<u64>) -> io::Result<()> {
        self.begin(life)?;
        match std::mem::replace(&mut self.locked, true) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    }

    /// A dead server holds nothing.
    pub(crate) fn is_locked(&self) -> bool {
        self.locked && self.crashed.is_none()
    }

    /// A name for a file; `new` says whether one must or must not be there.
    pub(crate) fn open(&mut self, life: Option<u64>, name: &str, new: Existence) -> io::Result<Inode> {
        let dying = self.begin(life)?;
        match (self.names.entry(name), new) {
            (Some(Entry::File(inode)), Existence::Old) => return Ok(inode),
            (None, Existence::New) => {}
            (Some(_), _) => return Err(io::Error::from_raw_os_error(errno::EEXIST)),
            (None, Existence::Old) => return Err(io::Error::from_raw_os_error(errno::ENOENT)),
        }
        self.fails(self.faults.name_error, errno::EIO)?;
        if self.pages_used() >= self.pages_max {
            return Err(io::Error::from_raw_os_error(errno::ENOSPC));
        }
        let inode = self.inode_next;
        self.inode_next += 1;
        self.files.insert(inode, CachedFile::default());
        self.names.add(name, Entry::File(inode));
        dying.then_error(inode)
    }

    pub(crate) fn make_dir(&mut self, life: Option<u64>, name: &str) -> io::Result<()> {
        let dying = self.begin(life)?;
        if self.names.entry(name).is_some() {
            return Ok(());
        }
        self.fails(self.faults.name_error, errno::EIO)?;
        self.names.add(name, Entry::Directory);
        dying.then_error(())
    }

    pub(crate) fn rename(&mut self, life: Option<u64>, from: &str, to: &str) -> io::Result<()> {
        let dying = self.begin(life)?;
        if self.names.entry(from).is_none() {
            return Err(io::Error::from_raw_os_error(errno::ENOENT));
        }
        if self.names.entry(to).is_some() {
            return Err(io::Error::from_raw_os_error(errno::EEXIST));
        }
        self.fails(self.faults.name_error, errno::EIO)?;
        self.names.rename(from, to);
        dying.then_error(())
    }

    pub(crate) fn remove(&mut self, life: Option<u64>, name: &str) -> io::Result<()> {
        let dying = self.begin(life)?;
        if self.names.entry(name).is_none() {
            return Err(io::Error::from_raw_os_error(errno::ENOENT));
        }
        self.fails(self.faults.name_error, errno::EIO)?;
        self.names.remove(name);
        dying.then_error(())
    }

    pub(crate) fn sync_names(&mut self, life: Option<u64>, directory: &str) -> io::Result<()> {
        let dying = self.begin(life)?;
        let result = self.fails(self.faults.name_error, errno::EIO);
        if result.is_err() || dying == Dying::Now {
            self.names.sync_failing(directory, &mut self.rng);
            return result.and_then(|()| dying.then_error(()));
        }
        self.names.sync(directory);
        Ok(())
    }

    pub(crate) fn write(
        &mut self,
        life: Option<u64>,
        inode: Inode,
        offset: usize,
        octets: &[u8],
    ) -> io::Result<usize> {
        let dying = self.begin(life)?;
        self.writes += 1;
        let mut len = octets.len();
        if len > 0 && (dying == Dying::Now || self.rng.chance(self.faults.write_short)) {
            len = self.rng.between(1, len);
        }
        let result = self.fails(self.faults.write_error, errno::EIO);
        if result.is_err() {
            // The kernel may have copied some of it before it gave up.
            len = self.rng.below(len + 1);
        }
        let len = self.room_for(inode, offset, len);
        if len == 0 && !octets.is_empty() && result.is_ok() {
            return Err(io::Error::from_raw_os_error(errno::ENOSPC));
        }
        self.file_mut(inode)?.write(offset, &octets[..len]);
        result.and_then(|()| dying.then_error(len))
    }

    pub(crate) fn read(
        &mut self,
        life: Option<u64>,
        inode: Inode,
        into: &mut [u8],
        offset: usize,
    ) -> io::Result<usize> {
        self.begin(life)?;
        if life.is_some() {
            self.fails(self.faults.read_error, errno::EIO)?;
        }
        let content = self.file(inode)?.content();
        let there = content.get(offset..).unwrap_or_default();
        let mut len = into.len().min(there.len());
        into[..len].copy_from_slice(&there[..len]);
        if len > 1 && self.rng.chance(self.faults.read_short) {
            len = self.rng.between(1, len);
        }
        Ok(len)
    }

    pub(crate) fn len(&mut self, life: Option<u64>, inode: Inode) -> io::Result<usize> {
        self.begin(life)?;
        Ok(self.file(inode)?.content().len())
    }

    pub(crate) fn truncate(&mut self, life: Option<u64>, inode: Inode, len: usize) -> io::Result<()> {
        let dying = self.begin(life)?;
        self.fails(self.faults.write_error, errno::EIO)?;
        self.file_mut(inode)?.truncate(len);
        dying.then_error(())
    }

    pub(crate) fn sync(&mut self, life: Option<u64>, inode: Inode) -> io::Result<()> {
        let dying = self.begin(life)?;
        self.syncs += 1;
        let mut result = self.fails(self.faults.sync_error, errno::EIO);
        if result.is_ok() {
            result = self.fails(self.faults.sync_no_space, errno::ENOSPC);
        }
        let file = self.files.get_mut(&inode).ok_or_else(|| io::Error::from_raw_os_error(errno::EIO))?;
        match (&result, dying) {
            (Ok(()), Dying::Not) => file.sync(),
            (Ok(()), Dying::Now) => file.write_back(&mut self.rng),
            (Err(_), _) => {
                self.sync_failures += 1;
                file.sync_failing(&mut self.rng);
            }
        }
        result.and_then(|()| dying.then_error(()))
    }

    fn file(&self, inode: Inode) -> io::Result<&CachedFile> {
        self.files.get(&inode).ok_or_else(|| io::Error::from_raw_os_error(errno::EIO))
    }

    fn file_mut(&mut self, inode: Inode) -> io::Result<&mut CachedFile> {
        self.files.get_mut(&inode).ok_or_else(|| io::Error::from_raw_os_error(errno::EIO))
    }

    /// Pages that files take.
    #[must_use]
    pub fn pages_used(&self) -> usize {
        self.files.values().map(CachedFile::pages_allocated).sum()
    }

    /// Octets that the pages left would hold.
    pub(crate) fn free_space(&self) -> u64 {
        (self.pages_max.saturating_sub(self.pages_used()) as u64).saturating_mul(PAGE as u64)
    }

    /// How many of `len` octets at `offset` find room.
    fn room_for(&self, inode: Inode, offset: usize, len: usize) -> usize {
        if self.pages_max == usize::MAX {
            return len;
        }
        let room = self.pages_max.saturating_sub(self.pages_used());
        let Some(file) = self.files.get(&inode) else { return len };
        let mut end = offset + len;
        while end > offset && file.pages_to_allocate(offset..end) > room {
            end = (end - 1) / PAGE * PAGE;
        }
        end.saturating_sub(offset)
    }
}

/// Whether this call is the one the server dies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dying {
    Not,
    Now,
}

impl Dying {
    fn then_error<T>(self, value: T) -> io::Result<T> {
        match self {
            Self::Not => Ok(value),
            Self::Now => Err(io::Error::from_raw_os_error(errno::EIO)),
        }
    }
}

/// Whether a file to be opened must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existence {
    Old,
    New,
}
