//! Starts the real server and watches it from outside: its events, its addresses, how it ends.
//!
//! A [`Server`] that is dropped is killed by its own process id. Waiting is always for an event, a reply or an
//! end, with a deadline; never for a length of time.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::event::EventLine;
use crate::program::{Finished, finish, wait};

/// Start-up includes recovery and preparing a segment.
pub const READY_DEADLINE: Duration = Duration::from_secs(30);
/// Drain may wait for running transactions.
pub const EXIT_DEADLINE: Duration = Duration::from_secs(60);
/// How long a test waits for any other event.
pub const EVENT_DEADLINE: Duration = Duration::from_secs(30);

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Setup {
    binary: PathBuf,
    data_dir: PathBuf,
    arguments: Vec<OsString>,
    wrapper: Vec<OsString>,
}

impl Setup {
    /// A server of `binary` that stores under `data_dir` and is told nothing else.
    #[must_use]
    pub fn bare(binary: &str, data_dir: &Path) -> Self {
        Self { binary: binary.into(), data_dir: data_dir.into(), arguments: Vec::new(), wrapper: Vec::new() }
    }

    /// A server that listens on a free port of 127.0.0.1, with the driver that `MAILRACE_TEST_DRIVER` names.
    #[must_use]
    pub fn new(binary: &str, data_dir: &Path) -> Self {
        let setup = Self::bare(binary, data_dir).arguments(["--listen", "127.0.0.1:0"]);
        match std::env::var("MAILRACE_TEST_DRIVER") {
            Ok(driver) => setup.arguments(["--driver", &driver]),
            Err(_) => setup,
        }
    }

    /// Adds arguments of `mailrace serve`.
    #[must_use]
    pub fn arguments<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Starts the server through a program that changes something and then becomes it, as `prlimit` does.
    #[must_use]
    pub fn within<S: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = S>) -> Self {
        self.wrapper = wrapper.into_iter().map(|part| part.as_ref().to_owned()).collect();
        self
    }

    fn command(&self) -> Command {
        let mut words = self.wrapper.clone();
        words.push(self.binary.clone().into());
        words.extend(["serve".into(), "--data-dir".into(), self.data_dir.clone().into()]);
        words.extend(self.arguments.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; with all it printed.
    #[must_use]
    pub fn start(&self) -> Server {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let events = Arc::new(Events::default());
        let stderr = child.stderr.take().expect("standard error is a pipe");
        thread::spawn({
            let events = Arc::clone(&events);
            move || events.follow(BufReader::new(stderr))
        });
        let mut server = Server { child, events, setup: self.clone(), ready: None };
        server.ready = Some(server.event_within("ready", READY_DEADLINE));
        server
    }

    /// Starts a server that must not start, and gives what it said.
    ///
    /// # Panics
    /// When it is still there at the deadline, as a server that did start would be.
    #[must_use]
    pub fn refused(&self) -> Finished {
        finish(self.command(), b"")
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    events: Arc<Events>,
    setup: Setup,
    ready: Option<EventLine>,
}

impl Server {
    /// The event that told that it is ready.
    #[must_use]
    pub fn ready(&self) -> &EventLine {
        self.ready.as_ref().expect("set by start")
    }

    /// The first address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// All addresses it listens on.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.ready().addresses();
        assert!(!addresses.is_empty(), "the ready event names no address: {}", self.ready());
        addresses
    }

    /// Where it stores.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.setup.data_dir
    }

    /// How it was started.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_child(&self.child);
        kill_process(id, signal).expect("the server is ours and not yet waited for");
    }

    /// Waits for an event called `name` and gives the first there was.
    #[must_use]
    pub fn event(&self, name: &str) -> EventLine {
        self.event_within(name, EVENT_DEADLINE)
    }

    /// Waits until there were `count` events called `name`, and gives the last of them.
    ///
    /// # Panics
    /// When they do not come in time; with all the server printed.
    #[must_use]
    pub fn events(&self, name: &str, count: usize) -> EventLine {
        let is_named = |line: &str| EventLine::parse(line).is_some_and(|event| event.name == name);
        match self.events.wait_for(is_named, count, EVENT_DEADLINE) {
            Some(line) => EventLine::parse(&line).expect("it was an event a moment ago"),
            None => panic!("no {count} events '{name}' came; what the server printed:\n{}", self.printed()),
        }
    }

    fn event_within(&self, name: &str, deadline: Duration) -> EventLine {
        match self
            .events
            .wait(|line| EventLine::parse(line).is_some_and(|event| event.name == name), deadline)
        {
            Some(line) => EventLine::parse(&line).expect("it was an event a moment ago"),
            None => panic!("no event '{name}' came; what the server printed:\n{}", self.printed()),
        }
    }

    /// All it printed on standard error until now.
    #[must_use]
    pub fn printed(&self) -> String {
        self.events.state.lock().expect("no panic while held").lines.join("\n")
    }

    /// Kills it as a power switch would and waits until it is gone.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to drain and gives how it ended, and what it printed.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn terminate(self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end by itself.
    #[must_use]
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.child, EXIT_DEADLINE);
        // The pipe closes with the process; its last lines are in then.
        self.events.wait(|_| false, EVENT_DEADLINE);
        let printed = self.printed();
        (status.unwrap_or_else(|| panic!("still running after {EXIT_DEADLINE:?}:\n{printed}")), printed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines a server has printed, and a way to wait for the next.
#[derive(Debug, Default)]
struct Events {
    state: Mutex<Printed>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Printed {
    lines: Vec<String>,
    closed: bool,
}

impl Events {
    fn follow(&self, stderr: impl BufRead) {
        for line in stderr.split(b'\n').map_while(Result::ok) {
            self.state
                .lock()
                .expect("no panic while held")
                .lines
                .push(String::from_utf8_lossy(&line).into_owned());
            self.changed.notify_all();
        }
        self.state.lock().expect("no panic while held").closed = true;
        self.changed.notify_all();
    }

    /// The first line that is `wanted`; `None` when the deadline or the end of the stream comes first.
    fn wait(&self, wanted: impl Fn(&str) -> bool, deadline: Duration) -> Option<String> {
        self.wait_for(wanted, 1, deadline)
    }

    /// The line with which there are `count` that are `wanted`.
    fn wait_for(&self, wanted: impl Fn(&str) -> bool, count: usize, deadline: Duration) -> Option<String> {
        let until = Instant::now() + deadline;
        let mut state = self.state.lock().expect("no panic while held");
        loop {
            if let Some(line) = state.lines.iter().filter(|line| wanted(line)).nth(count - 1) {
                return Some(line.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).expect("no panic while held").0;
        }
    }
}
