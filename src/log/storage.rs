//! The files under the log: a small trait, so that tests can put a faulty disk in its place, and the real one.
//!
//! This is the only file of the log that makes system calls. Names are plain names inside one data directory, or
//! one directory deeper (`quarantine/x`). Nothing here knows what a record is.

use std::fs::{File, Permissions};
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};

/// The file whose exclusive `flock` a writer holds as long as it lives.
pub const LOCK_FILE: &str = "lock";

/// A reader holds the lock shared for an instant to learn whether a writer lives; a writer tries this often, this
/// far apart, before it takes the lock for held by another writer.
const LOCK_TRIES_MAX: u32 = 100;
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(10);

const FILE_MODE: Mode = Mode::from_raw_mode(0o600);
const DIR_MODE: u32 = 0o700;

/// One data directory. Clones see the same files.
pub trait Storage: Clone + Send + 'static {
    /// An open file.
    type File: StorageFile;
    /// The writer's lock; dropping it gives it back.
    type Lock: Send + 'static;

    /// Takes the exclusive lock.
    ///
    /// # Errors
    /// `WouldBlock` when another writer holds it.
    fn lock(&self) -> io::Result<Self::Lock>;

    /// Whether a writer holds the lock. Creates nothing.
    ///
    /// # Errors
    /// Those of opening the lock file, other than its absence.
    fn is_locked(&self) -> io::Result<bool>;

    /// The names in the data directory itself, in any order.
    ///
    /// # Errors
    /// Those of reading the directory.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a new file for reading and writing, readable by its owner alone.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn open_for_writing(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file a new name.
    ///
    /// # Errors
    /// `AlreadyExists` when the new name is taken: nothing is ever replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes a directory inside the data directory; one that exists already is fine.
    ///
    /// # Errors
    /// Those of making a directory.
    fn make_dir(&self, name: &str) -> io::Result<()>;

    /// Makes the names in a directory durable; the empty name is the data directory itself.
    ///
    /// # Errors
    /// Those of `fsync`; as final as those of a file.
    fn sync_dir(&self, name: &str) -> io::Result<()>;

    /// Octets that may still be written to the file system, roughly: others write to it as well.
    ///
    /// # Errors
    /// Those of `fstatvfs`.
    fn free_space(&self) -> io::Result<u64>;
}

/// One open file. Offsets and lengths are in octets.
pub trait StorageFile: Send + 'static {
    /// Writes the slices one after the other at `offset`; returns how many octets were taken, perhaps fewer than
    /// given. At most [`SLICES_MAX`] slices.
    ///
    /// # Errors
    /// Those of `pwritev`.
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Reads at `offset`; 0 means the end of the file.
    ///
    /// # Errors
    /// Those of `pread`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The length of the file.
    ///
    /// # Errors
    /// Those of `fstat`.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no octet.
    ///
    /// # Errors
    /// Those of `fstat`.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends the file to a length.
    ///
    /// # Errors
    /// Those of `ftruncate`.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes what was written durable, with the length needed to read it (`fdatasync`).
    ///
    /// # Errors
    /// Any error is final for what was written: the kernel forgets which pages failed.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes contents and all of the file's metadata durable (`fsync`).
    ///
    /// # Errors
    /// As [`StorageFile::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
}

/// The most slices one `pwritev` takes: IOV_MAX of Linux.
pub const SLICES_MAX: usize = 1024;

/// A directory of the real file system, held open: renaming it does not lead the log astray.
#[derive(Debug, Clone)]
pub struct DirStorage {
    dir: Arc<OwnedFd>,
}

impl DirStorage {
    /// Opens the data directory, making it (mode 0700, durable in its parent) and its parents where missing.
    ///
    /// # Errors
    /// Those of making, opening and syncing directories.
    pub fn create(path: &Path) -> io::Result<Self> {
        make_durable_dir(path)?;
        Self::open(path)
    }

    /// Opens a data directory that exists. Writes nothing.
    ///
    /// # Errors
    /// `NotFound` when there is none, `NotADirectory` when the path is something else.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { dir: Arc::new(rustix::fs::open(path, flags, Mode::empty())?) })
    }

    fn open_at(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let fd = rustix::io::retry_on_intr(|| {
            rustix::fs::openat(&*self.dir, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, FILE_MODE)
        })?;
        Ok(File::from(fd))
    }
}

/// Makes the missing part of a path; every directory made is synced into its parent.
fn make_durable_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_durable_dir(parent)?;
    match std::fs::DirBuilder::new().mode(DIR_MODE).create(path) {
        // Not left to the umask, which may take rights from us as well.
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(DIR_MODE))?,
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => {}
    }
    File::open(parent)?.sync_all()
}

/// Gives a new file the rights it is meant to have, whatever the umask.
fn with_own_mode(file: File) -> io::Result<File> {
    rustix::fs::fchmod(&file, FILE_MODE)?;
    Ok(file)
}

/// True when the process or the system has no descriptor or memory for one more open file. It passes, and nothing
/// that is written suffers from it.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

impl Storage for DirStorage {
    type File = File;
    type Lock = File;

    fn lock(&self) -> io::Result<File> {
        let file = match self.create(LOCK_FILE) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.open_at(LOCK_FILE, OFlags::RDWR)?
            }
            created => created?,
        };
        for _ in 1..LOCK_TRIES_MAX {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    std::thread::sleep(LOCK_RETRY_INTERVAL);
                }
                Err(error) => return Err(error.into()),
            }
        }
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    }

    fn is_locked(&self) -> io::Result<bool> {
        let file = match self.open_at(LOCK_FILE, OFlags::RDONLY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let operation = FlockOperation::NonBlockingLockShared;
        match rustix::io::retry_on_intr(|| rustix::fs::flock(&file, operation)) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&*self.dir)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        with_own_mode(self.open_at(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?)
    }

    fn open(&self, name: &str) -> io::Result<File> {
        self.open_at(name, OFlags::RDONLY)
    }

    fn open_for_writing(&self, name: &str) -> io::Result<File> {
        self.open_at(name, OFlags::RDWR)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let dir = &*self.dir;
        match rustix::fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
            // Some network and FUSE file systems know no flags: look first, then rename. The lock keeps others out.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                match rustix::fs::statat(dir, to, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(rustix::io::Errno::NOENT) => Ok(rustix::fs::renameat(dir, from, dir, to)?),
                    Err(error) => Err(error.into()),
                    Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                }
            }
            result => Ok(result?),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&*self.dir, name, AtFlags::empty())?)
    }

    fn make_dir(&self, name: &str) -> io::Result<()> {
        match rustix::fs::mkdirat(&*self.dir, name, Mode::from_raw_mode(DIR_MODE)) {
            Ok(()) => {
                Ok(rustix::fs::chmodat(&*self.dir, name, Mode::from_raw_mode(DIR_MODE), AtFlags::empty())?)
            }
            Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        if name.is_empty() {
            return Ok(rustix::fs::fsync(&*self.dir)?);
        }
        self.open_at(name, OFlags::RDONLY | OFlags::DIRECTORY)?.sync_all()
    }

    fn free_space(&self) -> io::Result<u64> {
        let facts = rustix::fs::fstatvfs(&*self.dir)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }
}

impl StorageFile for File {
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::pwritev(self, slices, offset))?)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }
}

/// Writes all of `octets` at `offset`, however short the single writes fall.
pub(crate) fn write_all_at<F: StorageFile>(file: &F, octets: &[u8], offset: u64) -> io::Result<()> {
    write_slices_at(file, &mut [IoSlice::new(octets)], offset)
}

/// Writes all of `slices` one after the other at `offset`: [`SLICES_MAX`] at a time, short writes continued.
pub(crate) fn write_slices_at<F: StorageFile>(
    file: &F,
    slices: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    let mut rest = slices;
    // Leading empty slices would make a write of nothing look like a file that takes no more.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let written = file.write_at(&rest[..rest.len().min(SLICES_MAX)], offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += written as u64;
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// Reads until `buffer` is full or the file ends; returns the octets read.
pub(crate) fn read_full_at<F: StorageFile>(file: &F, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says to a sync of something that cannot be synced: the way to see from outside that it was
    /// asked at all. On a file nothing tells a sync from its absence until the power goes.
    fn is_asked(result: io::Result<()>) -> bool {
        result.is_err_and(|error| error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()))
    }

    #[test]
    fn syncing_a_file_asks_the_kernel() {
        let (_reader, writer) = io::pipe().expect("a pipe");
        let pipe = File::from(OwnedFd::from(writer));
        assert!(is_asked(StorageFile::sync_data(&pipe)));
        assert!(is_asked(StorageFile::sync_all(&pipe)));
    }

    #[test]
    fn syncing_a_directory_asks_the_kernel() {
        let proc = DirStorage::open(Path::new("/proc")).expect("procfs");
        assert!(is_asked(proc.sync_dir("")));
        assert!(is_asked(proc.sync_dir("sys")));
    }
}
