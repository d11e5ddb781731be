//! A small ext4 file system in a file, over a loop device, whose power can be cut.
//!
//! Mount and loop device are taken down by their exact names when the volume is dropped, whatever happened before.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use mailrace_support::program::{Finished, run};
use rustix::fs::OFlags;

/// Room for every message of a run and a few segments.
const IMAGE_SIZE: u64 = 512 << 20;

/// How long somebody else may keep a file system in use that we have unmounted.
const UNUSED_DEADLINE: Duration = Duration::from_secs(60);

/// A mounted file system.
#[derive(Debug)]
pub(crate) struct Volume {
    device: String,
    mount_point: PathBuf,
    journal: bool,
    mounted: bool,
}

impl Volume {
    /// Makes and mounts one below `directory`; the reason when this host does not allow it.
    pub(crate) fn create(directory: &Path, journal: bool) -> Result<Self, String> {
        let image = directory.join("image");
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(IMAGE_SIZE).map_err(|error| error.to_string())?;
        let image = image.to_str().expect("a plain name");
        let features = if journal { "has_journal" } else { "^has_journal" };
        tool("mkfs.ext4", &["-q", "-F", "-O", features, image])?;
        let device = tool("losetup", &["--find", "--show", image])?.text().trim().to_owned();
        let mount_point = directory.join("disk");
        fs::create_dir(&mount_point).map_err(|error| error.to_string())?;
        let mut volume = Self { device, mount_point, journal, mounted: false };
        volume.mount()?;
        Ok(volume)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Writes out everything that anybody has written to it so far.
    pub(crate) fn sync(&self) {
        tool("sync", &["--file-system", self.mount_point()]).expect("sync of a healthy file system");
    }

    /// Gets ready to cut the power.
    pub(crate) fn switch(&self) -> Switch {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power_cuts/cut.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(&self.mount_point).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 starts");
        let printed = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut switch = Switch { child, printed };
        switch.expect("ready");
        switch
    }

    /// After a cut, and with no file open any more: what a machine does when it starts again.
    pub(crate) fn power_on(&mut self) {
        self.unmount().expect("nobody uses it");
        self.wait_until_unused();
        if !self.journal {
            // Exit code 1: errors were corrected, which is what it is for.
            let checked = run("e2fsck", ["-f", "-y", &self.device]);
            assert!(checked.code() <= 1, "{}{}", checked.text(), checked.stderr);
        }
        self.mount().expect("the file system is sound");
    }

    /// A mount namespace that another program made meanwhile keeps a copy of our mount until it ends.
    fn wait_until_unused(&self) {
        let exclusive = i32::try_from(OFlags::EXCL.bits()).expect("a small flag");
        let until = Instant::now() + UNUSED_DEADLINE;
        while let Err(error) = OpenOptions::new().read(true).custom_flags(exclusive).open(&self.device) {
            assert!(Instant::now() < until, "{} is still in use: {error}", self.device);
            std::thread::yield_now();
        }
    }

    fn mount_point(&self) -> &str {
        self.mount_point.to_str().expect("a plain name")
    }

    fn mount(&mut self) -> Result<(), String> {
        tool("mount", &["-t", "ext4", &self.device, self.mount_point()])?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        tool("umount", &[self.mount_point()])?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.mounted {
            let _ = self.unmount();
        }
        let _ = tool("losetup", &["--detach", &self.device]);
    }
}

/// A program that waits with its hand on the power switch.
#[derive(Debug)]
pub(crate) struct Switch {
    child: Child,
    printed: BufReader<ChildStdout>,
}

impl Switch {
    /// Cuts the power; it is off when this returns.
    pub(crate) fn cut(mut self) {
        let mut stdin = self.child.stdin.take().expect("a pipe");
        stdin.write_all(b"\n").expect("it waits for a line");
        self.expect("cut");
    }

    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        self.printed.read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), word, "cut.py failed");
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tool(program: &str, arguments: &[&str]) -> Result<Finished, String> {
    let missing = || format!("{program} is not installed");
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.map_err(|_| missing())?;
    let finished = run(program, arguments);
    match finished.status.success() {
        true => Ok(finished),
        false => Err(format!("{program}: {}", finished.stderr.trim())),
    }
}
