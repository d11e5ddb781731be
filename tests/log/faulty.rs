//! A real directory whose system calls are counted, noted, cut short, or made to fail on demand.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

use mailrace::log::{DirStorage, Storage, StorageFile};

pub(crate) const EIO: i32 = 5;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const EFBIG: i32 = 27;
pub(crate) const ENOSPC: i32 = 28;

#[derive(Default)]
pub(crate) struct Plan {
    /// Every call that changes something or opens a file: `operation name`.
    pub(crate) trace: Vec<String>,
    /// Octets given to who read, of all files.
    pub(crate) octets_read: usize,
    /// Octets that may still be written before the disk is full; `None` for no limit.
    pub(crate) space: Option<usize>,
    /// One write takes no more than this.
    pub(crate) write_max: Option<usize>,
    /// Calls whose note begins with this fail with this error, after so many more have succeeded.
    pub(crate) fault: Option<(String, i32, usize)>,
    /// The names of open files, which follow a rename.
    names: Vec<Arc<Mutex<String>>>,
}

impl Plan {
    fn call(&mut self, operation: &str, name: &str) -> io::Result<()> {
        let note = format!("{operation} {name}");
        let failure = match &mut self.fault {
            Some((prefix, code, 0)) if note.starts_with(prefix.as_str()) => {
                Err(io::Error::from_raw_os_error(*code))
            }
            Some((prefix, _, left)) if note.starts_with(prefix.as_str()) => {
                *left -= 1;
                Ok(())
            }
            _ => Ok(()),
        };
        self.trace.push(note);
        failure
    }
}

#[derive(Clone)]
pub(crate) struct Faulty {
    inner: DirStorage,
    plan: Arc<Mutex<Plan>>,
}

pub(crate) struct FaultyFile {
    inner: <DirStorage as Storage>::File,
    name: Arc<Mutex<String>>,
    plan: Arc<Mutex<Plan>>,
}

impl Faulty {
    pub(crate) fn new(inner: DirStorage) -> Self {
        Self { inner, plan: Arc::default() }
    }

    pub(crate) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("no test thread panicked")
    }

    pub(crate) fn fail(&self, calls: &str, code: i32) {
        self.plan().fault = Some((calls.to_owned(), code, 0));
    }

    fn file(&self, name: &str, inner: io::Result<<DirStorage as Storage>::File>) -> io::Result<FaultyFile> {
        let inner = inner?;
        let name = Arc::new(Mutex::new(name.to_owned()));
        self.plan().names.push(Arc::clone(&name));
        Ok(FaultyFile { inner, name, plan: Arc::clone(&self.plan) })
    }
}

impl Storage for Faulty {
    type File = FaultyFile;
    type Lock = <DirStorage as Storage>::Lock;

    fn lock(&self) -> io::Result<Self::Lock> {
        self.inner.lock()
    }

    fn is_locked(&self) -> io::Result<bool> {
        self.inner.is_locked()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.plan().call("list", "")?;
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<FaultyFile> {
        self.plan().call("create", name)?;
        self.file(name, self.inner.create(name))
    }

    fn open(&self, name: &str) -> io::Result<FaultyFile> {
        self.plan().call("open", name)?;
        self.file(name, self.inner.open(name))
    }

    fn open_for_writing(&self, name: &str) -> io::Result<FaultyFile> {
        self.plan().call("open", name)?;
        self.file(name, self.inner.open_for_writing(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.plan().call("rename", &format!("{from} {to}"))?;
        self.inner.rename(from, to)?;
        for name in &self.plan().names {
            let mut name = name.lock().expect("no test thread panicked");
            if *name == from {
                to.clone_into(&mut name);
            }
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.plan().call("remove", name)?;
        self.inner.remove(name)
    }

    fn free_space(&self) -> io::Result<u64> {
        match self.plan().space {
            Some(space) => Ok(space as u64),
            None => self.inner.free_space(),
        }
    }

    fn make_dir(&self, name: &str) -> io::Result<()> {
        self.plan().call("mkdir", name)?;
        self.inner.make_dir(name)
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        self.plan().call("syncdir", name)?;
        self.inner.sync_dir(name)
    }
}

impl FaultyFile {
    fn call(&self, operation: &str) -> io::Result<()> {
        let name = self.name.lock().expect("no test thread panicked").clone();
        self.plan.lock().expect("no test thread panicked").call(operation, &name)
    }
}

impl StorageFile for FaultyFile {
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.call("write")?;
        let mut plan = self.plan.lock().expect("no test thread panicked");
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        let taken = wanted.min(plan.write_max.unwrap_or(wanted)).min(plan.space.unwrap_or(wanted));
        if taken == 0 && wanted > 0 {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        plan.space = plan.space.map(|space| space - taken);
        let joined: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(taken).collect();
        let mut done = 0;
        while done < taken {
            done += self.inner.write_at(&[IoSlice::new(&joined[done..])], offset + done as u64)?;
        }
        Ok(taken)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call("read")?;
        let read = StorageFile::read_at(&self.inner, buffer, offset)?;
        self.plan.lock().expect("no test thread panicked").octets_read += read;
        Ok(read)
    }

    fn len(&self) -> io::Result<u64> {
        StorageFile::len(&self.inner)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.call("truncate")?;
        self.inner.truncate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call("sync")?;
        StorageFile::sync_data(&self.inner)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.call("sync")?;
        StorageFile::sync_all(&self.inner)
    }
}
