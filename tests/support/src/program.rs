//! Runs programs with a deadline, and keeps all they print.
//!
//! Nothing here waits for ever: a program that outlives its deadline is killed and the test fails with what it
//! had printed until then.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Long enough for any client or reader on a busy two-core machine.
pub const PROGRAM_DEADLINE: Duration = Duration::from_secs(60);

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to standard output.
    pub stdout: Vec<u8>,
    /// All it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code.
    ///
    /// # Panics
    /// When a signal ended the program.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {}\n{}", self.status, self.stderr))
    }

    /// Standard output, asserting that the program succeeded.
    ///
    /// # Panics
    /// When it did not.
    pub fn expect_success(self) -> Vec<u8> {
        assert!(self.status.success(), "{}\n{}{}", self.status, self.text(), self.stderr);
        self.stdout
    }

    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs `program` with `arguments` and an empty standard input.
///
/// # Panics
/// When it cannot be started or outlives [`PROGRAM_DEADLINE`].
pub fn run<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = S>) -> Finished {
    let mut command = Command::new(program);
    command.args(arguments);
    finish(command, b"")
}

/// Runs `command` to its end, feeding it `input`.
///
/// # Panics
/// When it cannot be started or outlives [`PROGRAM_DEADLINE`].
pub fn finish(mut command: Command, input: &[u8]) -> Finished {
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    let stdout = drain(child.stdout.take().expect("standard output is a pipe"));
    let stderr = drain(child.stderr.take().expect("standard error is a pipe"));
    let input = input.to_vec();
    // A program that does not read its input is no error; it is judged by how it ends.
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let status = wait(&mut child, PROGRAM_DEADLINE);
    let _ = feeder.join();
    let collected = |pipe: mpsc::Receiver<Vec<u8>>| pipe.recv_timeout(PROGRAM_DEADLINE).unwrap_or_default();
    let (stdout, stderr) = (collected(stdout), collected(stderr));
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    let Some(status) = status else {
        panic!(
            "still running after {PROGRAM_DEADLINE:?}: {shown}\n{}{stderr}",
            String::from_utf8_lossy(&stdout)
        );
    };
    Finished { status, stdout, stderr }
}

/// Waits for `child`; kills it and gives `None` when the deadline passes first.
///
/// # Panics
/// When the kernel knows no process descriptors (Linux before 5.3).
pub fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + deadline;
    let process =
        pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("the child is not yet waited for");
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return Some(status);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        // The descriptor becomes readable when the process ends; a signal to ourselves only means another turn.
        let left = Timespec::try_from(left).expect("deadlines are far below 2^63 seconds");
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left));
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut all = Vec::new();
        let _ = pipe.read_to_end(&mut all);
        let _ = sender.send(all);
    });
    receiver
}
