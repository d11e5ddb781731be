//! Control groups: a group of its own holds a server and all it ever starts, whatever becomes of its processes.
//!
//! The kernel keeps the processor time of a group, that of processes that have ended included, and `perf` counts the
//! events of a group as those of one program. Only the second version of control groups is used, and no controller
//! of it: nothing is limited here. Whoever may not make a group is told why, and does without.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::interruption::{self, Entered, Leftover};

/// What the names of groups begin with; the number of the program that made it follows.
const PREFIX: &str = "mailrace-bench-";

/// Where groups can be made.
#[derive(Clone, Debug)]
pub struct GroupHome {
    /// The group this program is in, as a directory.
    directory: PathBuf,
    /// The same group as `perf` takes it: from the root of the hierarchy, without the first slash.
    name: String,
}

/// A group; its processes are killed and it is removed when dropped.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
    name: String,
    _entered: Entered,
}

impl GroupHome {
    /// Finds the group this program is in, and makes sure that groups can be made below it and joined.
    ///
    /// # Errors
    /// Says why none can be made, joined or looked at.
    pub fn find() -> Result<Self, String> {
        let read =
            |path: &str| std::fs::read_to_string(path).map_err(|e| format!("{path} cannot be read: {e}"));
        let home = Self::of(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
            .ok_or("no version 2 of control groups is mounted here")?;
        home.sweep();
        home.tried()
    }

    /// The same home, in which a group was made, joined by a process and asked for its time: a group that can be made
    /// may refuse processes.
    fn tried(self) -> Result<Self, String> {
        let group = self.make()?;
        let joined = group.command(&Command::new("true")).output();
        let output = joined.map_err(|e| format!("no shell can be run to join a control group: {e}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            let place = self.directory.display();
            return Err(format!(
                "no process can join a control group in {place}: {said} ({})",
                output.status
            ));
        }
        group.cpu_time().map(|_| self)
    }

    /// Ends and removes the groups of benchmarks that were killed before they could do it.
    fn sweep(&self) {
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_orphaned(&name, |pid| Path::new("/proc").join(pid).exists()) {
                end(&entry.path());
            }
        }
    }

    /// From what proc(5) says of mounts and of this program's groups.
    fn of(mounts: &str, groups: &str) -> Option<Self> {
        let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        mounts.lines().find_map(|line| {
            let (before, behind) = line.split_once(" - ")?;
            let mut fields = before.split(' ').skip(3);
            let (root, mount_point) = (fields.next()?, fields.next()?);
            let inside = Path::new(own).strip_prefix(root).ok()?;
            let directory = || Path::new(mount_point).join(inside);
            let name = || inside.to_string_lossy().into_owned();
            behind.starts_with("cgroup2 ").then(|| Self { directory: directory(), name: name() })
        })
    }

    /// Makes a group that is still empty.
    ///
    /// # Errors
    /// When it may not be made.
    pub fn make(&self) -> Result<Group, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let own = format!("{PREFIX}{}-{number}", std::process::id());
        let directory = self.directory.join(&own);
        std::fs::create_dir(&directory)
            .map_err(|e| format!("no control group can be made in {}: {e}", self.directory.display()))?;
        let name = if self.name.is_empty() { own } else { format!("{}/{own}", self.name) };
        let entered = interruption::enter(Leftover::Group(directory.clone()));
        Ok(Group { directory, name, _entered: entered })
    }
}

impl Group {
    /// As `perf stat -G` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same command, to be run in this group from its first moment on.
    pub fn command(&self, command: &Command) -> Command {
        // Joining between fork and exec would need unsafe code; a shell that joins and then becomes the program
        // does it without, and keeps the process id.
        let mut inside = Command::new("sh");
        inside.args(["-c", r#"echo $$ >"$0" && exec "$@""#]).arg(self.directory.join("cgroup.procs"));
        inside.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(key, value),
                None => inside.env_remove(key),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            inside.current_dir(directory);
        }
        inside
    }

    /// Processor time, user and system, of all processes that are or were in the group.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn cpu_time(&self) -> Result<Duration, String> {
        let path = self.directory.join("cpu.stat");
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
        let microseconds =
            text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse::<u64>().ok());
        microseconds
            .map(Duration::from_micros)
            .ok_or_else(|| format!("{} does not tell usage_usec", path.display()))
    }

    /// The processes in it now.
    pub fn processes(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Kills all in it and waits, for seconds at most, until they have ended.
    pub fn kill(&self) {
        kill_in(&self.directory);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        end(&self.directory);
    }
}

/// Whether a name is that of a group whose maker is gone.
fn is_orphaned(name: &str, runs: impl Fn(&str) -> bool) -> bool {
    let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
    pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|octet| octet.is_ascii_digit()) && !runs(pid))
}

fn end(directory: &Path) {
    kill_in(directory);
    // One that cannot be removed is empty and costs nothing.
    let _ = std::fs::remove_dir(directory);
}

fn kill_in(directory: &Path) {
    const PATIENCE: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(2);
    // Without `cgroup.kill` (before Linux 5.14) whoever started the processes has to end them.
    let _ = std::fs::write(directory.join("cgroup.kill"), "1");
    let deadline = Instant::now() + PATIENCE;
    while is_populated(directory) && Instant::now() < deadline {
        std::thread::sleep(PAUSE);
    }
}

fn is_populated(directory: &Path) -> bool {
    let events = std::fs::read_to_string(directory.join("cgroup.events")).unwrap_or_default();
    events.lines().any(|line| line == "populated 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_home_is_the_own_group_wherever_it_is_mounted() {
        let home = |mounts, groups| GroupHome::of(mounts, groups).map(|home| (home.directory, home.name));
        let found = |directory: &str, name: &str| Some((PathBuf::from(directory), name.to_owned()));
        assert_eq!(home(MOUNTS, "5:cpu:/x\n0::/\n"), found("/sys/fs/cgroup/unified/", ""));
        assert_eq!(home(MOUNTS, "0::/a/b.slice\n"), found("/sys/fs/cgroup/unified/a/b.slice", "a/b.slice"));
        // In a container the own group may be what is mounted.
        let mounts = "9 1 0:3 /pod /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(home(mounts, "0::/pod/x\n"), found("/sys/fs/cgroup/x", "x"));
        assert_eq!(home("1 2 0:3 / / rw - ext4 /dev/vda rw\n", "0::/\n"), None);
        assert_eq!(home(MOUNTS, "5:cpu:/x\n"), None);
    }

    #[test]
    fn only_groups_of_benchmarks_that_are_gone_are_orphans() {
        let runs = |pid: &str| pid == "7";
        assert!(is_orphaned("mailrace-bench-8-0", runs));
        for other in ["mailrace-bench-7-0", "mailrace-bench-x-0", "mailrace-bench-", "user.slice", "8"] {
            assert!(!is_orphaned(other, runs), "{other}");
        }
    }

    /// A group, or `None` after saying why this machine gives none.
    fn group() -> Option<Group> {
        let group = GroupHome::find().and_then(|home| home.make());
        group.map_err(|reason| eprintln!("NOT RUN: {reason}")).ok()
    }

    #[test]
    fn a_group_that_no_process_can_join_is_no_home() {
        let Some(group) = group() else { return };
        // Below a threaded group others can be made, but hold no process of their own.
        if let Err(error) = std::fs::write(group.directory.join("cgroup.type"), "threaded") {
            eprintln!("NOT RUN: a group cannot be made threaded here: {error}");
            return;
        }
        let home = GroupHome { directory: group.directory.clone(), name: group.name.clone() };
        assert!(home.make().is_ok());
        let reason = home.tried().expect_err("no process can join");
        assert!(reason.contains("no process can join a control group in"), "{reason}");
    }

    #[test]
    fn the_time_of_a_child_that_ended_unseen_is_counted() {
        let Some(group) = group() else { return };
        // The busy one is nobody's child when it ends: its parent has gone, and its time is in no tree.
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let script = format!("(sh -c '{busy}; echo done' &)");
        let output = group.command(Command::new("sh").args(["-c", &script]).env("X", "y")).output();
        assert_eq!(output.expect("a shell").stdout, b"done\n");
        let used = group.cpu_time().expect("a time");
        assert!(used > Duration::from_millis(20), "{used:?}");
    }

    #[test]
    fn a_group_ends_with_all_that_was_started_in_it() {
        let Some(group) = group() else { return };
        // Two processes that no longer belong to the shell.
        let mut shell =
            group.command(Command::new("sh").args(["-c", "sleep 600 & sleep 600 & exec sleep 600"]));
        let mut shell = shell.spawn().expect("a shell");
        let deadline = Instant::now() + Duration::from_secs(30);
        while group.processes().len() < 3 {
            assert!(Instant::now() < deadline, "{:?}", group.processes());
            std::thread::yield_now();
        }
        let directory = group.directory.clone();
        drop(group);
        assert!(!shell.wait().expect("the shell").success());
        assert!(!directory.exists());
    }
}
