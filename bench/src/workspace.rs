//! Where benchmarks keep data: a fresh directory for each run of a server, used ones put aside.
//!
//! File systems slow down near recently deleted files, so nothing is deleted between measurements unless space
//! runs short; what a run left in the page cache is written out before the next one begins.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::interruption::{self, Entered, Leftover};

/// With less free space than this, used directories are deleted at once instead of at the end.
const FREE_SPACE_MIN: u64 = 16 << 30;

/// The data of one benchmark; deleted when dropped, unless it is to be kept.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    run_count: usize,
    afterwards: Afterwards,
    _entered: Option<Entered>,
}

/// Whether the data of a benchmark outlives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It is deleted.
    Delete,
    /// It is deleted by a longer benchmark that this one is a part of, with the directory it lies in.
    DeleteWithParent,
    /// It stays.
    Keep,
}

impl Afterwards {
    /// What becomes of the data of a part: no file is deleted before the whole is over.
    #[must_use]
    pub fn of_part(self) -> Self {
        match self {
            Self::Keep => Self::Keep,
            Self::Delete | Self::DeleteWithParent => Self::DeleteWithParent,
        }
    }
}

impl Workspace {
    /// A new directory under `parent`, which is made where it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(parent: &Path, afterwards: Afterwards) -> Result<Self> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let attempt = |path: &Path, e| Error::system(format!("make {}", path.display()), e);
        std::fs::create_dir_all(parent).map_err(|e| attempt(parent, e))?;
        let mut number = 1;
        let root = loop {
            let root = parent.join(format!("{seconds}-{}-{number}", std::process::id()));
            match std::fs::create_dir(&root) {
                Ok(()) => break root,
                // Another workspace of this process, begun in the same second.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(attempt(&root, error)),
            }
        };
        let root = root.canonicalize().map_err(|e| attempt(&root, e))?;
        // That of a part goes with the whole's.
        let is_own = afterwards == Afterwards::Delete;
        let entered = is_own.then(|| interruption::enter(Leftover::Directory(root.clone())));
        Ok(Self { root, run_count: 0, afterwards, _entered: entered })
    }

    /// The directory all runs lie in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a directory for one run, not made yet.
    pub fn fresh(&mut self) -> PathBuf {
        self.run_count += 1;
        self.root.join(format!("run-{:03}", self.run_count))
    }

    /// A directory for one run.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn fresh_made(&mut self) -> Result<PathBuf> {
        let directory = self.fresh();
        std::fs::create_dir(&directory)
            .map_err(|e| Error::system(format!("make {}", directory.display()), e))?;
        Ok(directory)
    }

    /// A run is over: writes out what it left in the page cache, so that the next one does not pay for it.
    ///
    /// # Errors
    /// When the file system cannot be synced, or a directory not be deleted.
    pub fn put_aside(&self, directory: &Path) -> Result<()> {
        let attempt = |e| Error::system(format!("see the space left at {}", self.root.display()), e);
        let space = rustix::fs::statvfs(&self.root).map_err(attempt)?;
        if space.f_bavail * space.f_frsize < FREE_SPACE_MIN
            && self.afterwards != Afterwards::Keep
            && directory.exists()
        {
            std::fs::remove_dir_all(directory)
                .map_err(|e| Error::system(format!("delete {}", directory.display()), e))?;
        }
        self.write_out()
    }

    /// Writes out what stands in the page cache for this file system.
    ///
    /// # Errors
    /// When it cannot be synced.
    pub fn write_out(&self) -> Result<()> {
        let attempt = |e| Error::system(format!("sync the file system of {}", self.root.display()), e);
        let root = File::open(&self.root).map_err(attempt)?;
        rustix::fs::syncfs(&root).map_err(|e| attempt(e.into()))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let deleted = match self.afterwards {
            Afterwards::Delete => std::fs::remove_dir_all(&self.root),
            Afterwards::DeleteWithParent | Afterwards::Keep => Ok(()),
        };
        if let Err(error) = deleted {
            eprintln!("mailrace-bench: {} stays behind: {error}", self.root.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_gets_a_directory_and_all_go_in_the_end() {
        let parent = tempfile::tempdir().expect("a directory");
        let mut workspace = Workspace::new(parent.path(), Afterwards::Delete).expect("a workspace");
        let (one, two) = (workspace.fresh_made().expect("a run's directory"), workspace.fresh());
        assert_ne!(one, two);
        workspace.put_aside(&one).expect("put aside");
        let root = workspace.root().to_owned();
        drop(workspace);
        assert!(!root.exists());
    }

    #[test]
    fn workspaces_of_one_moment_share_nothing() {
        let parent = tempfile::tempdir().expect("a directory");
        let workspaces = [(); 3].map(|()| Workspace::new(parent.path(), Afterwards::Delete).expect("one"));
        let [one, two, three] = workspaces.each_ref().map(Workspace::root);
        assert!(one != two && two != three && one != three, "{one:?} {two:?} {three:?}");
    }

    #[test]
    fn the_data_of_a_part_stays_until_the_whole_is_over() {
        let parent = tempfile::tempdir().expect("a directory");
        let whole = Workspace::new(parent.path(), Afterwards::Delete).expect("a workspace");
        let mut part = Workspace::new(whole.root(), Afterwards::Delete.of_part()).expect("a part");
        let run = part.fresh_made().expect("a run's directory");
        drop(part);
        assert!(run.exists());
        drop(whole);
        assert_eq!(std::fs::read_dir(parent.path()).expect("the directory").count(), 0);
    }
}
