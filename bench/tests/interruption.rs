//! What an interrupted benchmark leaves behind: nothing.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What a slow machine may need.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `found` finds something.
fn wait_until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// The server a benchmark has started.
fn server_of(benchmark: &Child) -> Option<u32> {
    let pids = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent = format!("PPid:\t{}\n", benchmark.id());
    let is_child = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains(&parent))
    };
    // Before it is the server it may be the shell that puts it into its control group.
    pids.find(|pid| is_child(pid) && is_server(*pid))
}

fn is_server(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|command| command.contains("\0--listen\0"))
}

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).expect("the directory").count()
}

#[test]
fn an_interrupted_benchmark_leaves_no_server_and_no_data() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut benchmark = Command::new(env!("CARGO_BIN_EXE_mailrace-bench"))
        .args(["curves", "--no-fetch", "--peers", "sink", "--curves", "recipients", "--duration", "10min"])
        .args(["--mailrace", "/bin/true", "--server-cores", "0", "--load-cores", "0", "--data-dir"])
        .arg(directory.path())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command");
    let server = wait_until("a server", || server_of(&benchmark));
    assert_eq!(entries(directory.path()), 1);
    let pid = Pid::from_child(&benchmark);
    kill_process(pid, Signal::TERM).expect("it runs");
    let status = benchmark.wait().expect("its end");
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
    assert_eq!(entries(directory.path()), 0);
    // Orphaned, it is not ours to wait for: it is gone as soon as the system has taken it.
    wait_until("the end of the server", || (!is_server(server)).then_some(()));
}
