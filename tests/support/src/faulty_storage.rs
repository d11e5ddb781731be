//! A data directory in memory that fails as disks and kernels fail: [`mailrace::log::Storage`] over a [`Disk`].
//!
//! Between any two calls of the server the world goes on: [`set_interlude`] names what runs then, so that a client
//! may read a reply, or a reader look at the log, in the middle of a sync. An acknowledgement that comes before its
//! sync is seen that way, at the moment it happens.

use crate::disk::{Crash, Disk, Existence, errno};
use mailrace::log::{Storage, StorageFile};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

thread_local! {
    static INTERLUDE: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

/// Sets what this thread's calls on any [`FaultyStorage`] run before and after they take effect; calls made by the
/// interlude itself have none.
pub fn set_interlude(interlude: impl FnMut() + 'static) {
    INTERLUDE.with(|cell| *cell.borrow_mut() = Some(Box::new(interlude)));
}

/// Ends what [`set_interlude`] began.
pub fn clear_interlude() {
    INTERLUDE.with(|cell| *cell.borrow_mut() = None);
}

fn interlude() {
    // Taken out while it runs: it may use the storage itself.
    let taken = INTERLUDE.with(|cell| cell.borrow_mut().take());
    if let Some(mut running) = taken {
        running();
        INTERLUDE.with(|cell| *cell.borrow_mut() = Some(running));
    }
}

/// One process's view of the directory. Clones share it; what was opened before a crash of the server is dead after.
#[derive(Debug, Clone)]
pub struct FaultyStorage {
    disk: Arc<Mutex<Disk>>,
    /// The life of the server this view belongs to; none for a reader, which is a process of its own.
    life: Option<u64>,
}

impl FaultyStorage {
    /// An empty directory on a disk whose faults are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { disk: Arc::new(Mutex::new(Disk::new(seed))), life: Some(0) }
    }

    /// The disk under it, to set faults and to look.
    ///
    /// # Panics
    /// When a thread panicked while it held the disk.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no thread panics while it holds the disk")
    }

    /// Ends the server's life, if it has not ended by itself, and gives the view of the next.
    #[must_use]
    pub fn restarted(&self, crash: Crash) -> Self {
        let mut disk = self.disk();
        disk.restart(crash);
        let life = Some(disk.life());
        drop(disk);
        Self { disk: Arc::clone(&self.disk), life }
    }

    /// The view of another process that only reads: it meets no faults and outlives the server.
    #[must_use]
    pub fn reader(&self) -> Self {
        Self { disk: Arc::clone(&self.disk), life: None }
    }

    fn call<T>(&self, effect: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        if self.life.is_none() {
            return effect(&mut self.disk());
        }
        interlude();
        let result = effect(&mut self.disk());
        interlude();
        result
    }

    fn opened(&self, name: &str, existence: Existence) -> io::Result<FaultyFile> {
        let inode = self.call(|disk| disk.open(self.life, name, existence))?;
        Ok(FaultyFile { storage: self.clone(), inode })
    }
}

/// The writer's lock on a [`FaultyStorage`].
#[derive(Debug)]
pub struct FaultyLock(FaultyStorage);

impl Drop for FaultyLock {
    fn drop(&mut self) {
        // A test that fails while it holds the disk drops the server's lock next: a second panic would end them all.
        let mut disk = self.0.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.life == Some(disk.life()) {
            disk.locked = false;
        }
    }
}

impl Storage for FaultyStorage {
    type File = FaultyFile;
    type Lock = FaultyLock;

    fn lock(&self) -> io::Result<FaultyLock> {
        self.call(|disk| disk.lock(self.life))?;
        Ok(FaultyLock(self.clone()))
    }

    fn is_locked(&self) -> io::Result<bool> {
        Ok(self.disk().is_locked())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.call(|disk| {
            disk.begin(self.life)?;
            Ok(disk.list(""))
        })
    }

    fn create(&self, name: &str) -> io::Result<FaultyFile> {
        self.opened(name, Existence::New)
    }

    fn open(&self, name: &str) -> io::Result<FaultyFile> {
        self.opened(name, Existence::Old)
    }

    fn open_for_writing(&self, name: &str) -> io::Result<FaultyFile> {
        self.opened(name, Existence::Old)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(|disk| disk.rename(self.life, from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(|disk| disk.remove(self.life, name))
    }

    fn make_dir(&self, name: &str) -> io::Result<()> {
        self.call(|disk| disk.make_dir(self.life, name))
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        self.call(|disk| disk.sync_names(self.life, name))
    }

    fn free_space(&self) -> io::Result<u64> {
        Ok(self.disk().free_space())
    }
}

/// A file of a [`FaultyStorage`].
#[derive(Debug)]
pub struct FaultyFile {
    storage: FaultyStorage,
    inode: u64,
}

impl FaultyFile {
    fn call<T>(&self, effect: impl FnOnce(&mut Disk, Option<u64>) -> io::Result<T>) -> io::Result<T> {
        self.storage.call(|disk| effect(disk, self.storage.life))
    }
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::Error::from_raw_os_error(errno::EIO))
}

impl StorageFile for FaultyFile {
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let octets: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let offset = position(offset)?;
        self.call(|disk, life| disk.write(life, self.inode, offset, &octets))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = position(offset)?;
        self.call(|disk, life| disk.read(life, self.inode, buffer, offset))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.call(|disk, life| disk.len(life, self.inode))? as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let len = position(len)?;
        self.call(|disk, life| disk.truncate(life, self.inode, len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call(|disk, life| disk.sync(life, self.inode))
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}
