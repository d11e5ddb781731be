//! A server as a child process: started on chosen cores, listened to on standard error, stopped by SIGTERM.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cpu;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::interruption::{self, Entered, Leftover};

/// A server has this long to start, and as long to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of standard error kept for an error message.
const LINES_KEPT: usize = 12;

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct ServerProcess {
    program: PathBuf,
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
    /// Struck out before the child is waited for: its number may be another's from then on.
    entered: Option<Entered>,
}

impl ServerProcess {
    /// Starts `command` on `cores`.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start(command: Command, cores: &[usize]) -> Result<Self> {
        Self::start_in(None, command, cores)
    }

    /// Starts `command` on `cores`, in `group` where there is one.
    ///
    /// # Errors
    /// As [`ServerProcess::start`].
    pub fn start_in(group: Option<&Group>, command: Command, cores: &[usize]) -> Result<Self> {
        let program = PathBuf::from(command.get_program());
        let mut command = match group {
            Some(group) => group.command(&command),
            None => command,
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = cpu::with_cores(cores, || command.spawn())?
            .map_err(|e| Error::system(format!("start {}", program.display()), e))?;
        let stderr = child.stderr.take().expect("standard error is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(std::result::Result::ok);
            // Ends with the child's standard error, or when nobody listens any more.
            lines.map(|line| sender.send(line)).find(std::result::Result::is_err)
        });
        let entered = Some(interruption::enter(Leftover::Child(child.id())));
        Ok(Self { program, child, lines, heard: Vec::new(), entered })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the line of standard error in which `find` finds something.
    ///
    /// # Errors
    /// When the server ends, or does not say it in a minute.
    pub fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = find(&line);
                    self.heard.push(line);
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.error("it did not get ready in time")),
                Err(RecvTimeoutError::Disconnected) => return Err(self.error("it ended instead of serving")),
            }
        }
    }

    /// Asks it to stop and waits until it has; how it ended, and all it said on standard error.
    ///
    /// # Errors
    /// When it does not end within a minute.
    pub fn stop(mut self) -> Result<(ExitStatus, Vec<String>)> {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Standard error closes when the server ends.
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.heard.push(line),
                Err(RecvTimeoutError::Timeout) => return Err(self.error("it did not stop when asked to")),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.entered = None;
        let status = self.child.wait().map_err(|e| Error::system("wait for the server", e))?;
        Ok((status, std::mem::take(&mut self.heard)))
    }

    /// An error of this server, with the last lines it said.
    pub fn error(&self, reason: impl Into<String>) -> Error {
        let last = &self.heard[self.heard.len().saturating_sub(LINES_KEPT)..];
        Error::Server { program: self.program.clone(), reason: reason.into(), said: last.join("\n") }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // A child not waited for keeps its number, so this cannot reach another process; one that has ended
        // already needs no signal.
        let _ = pid.map(|pid| kill_process(pid, signal));
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.entered = None;
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> ServerProcess {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        let cores = cpu::allowed_cores().expect("allowed cores");
        ServerProcess::start(command, &cores).expect("a shell")
    }

    #[test]
    fn a_server_is_heard_and_stopped() {
        let script = "trap 'echo bye >&2; exit 3' TERM; echo ready 25 >&2; while :; do sleep 0.01; done";
        let mut server = shell(script);
        let port = server.wait_for(|line| line.strip_prefix("ready ").map(str::to_owned)).expect("ready");
        assert_eq!(port, "25");
        let (status, lines) = server.stop().expect("stopped");
        assert_eq!(status.code(), Some(3));
        assert_eq!(lines, ["ready 25", "bye"]);
    }

    #[test]
    fn a_server_that_ends_at_once_is_quoted() {
        let error = shell("echo no such option >&2; exit 64").wait_for(|_| None::<()>).expect_err("ended");
        assert!(
            error.to_string().ends_with("it ended instead of serving; it said:\nno such option"),
            "{error}"
        );
    }
}
