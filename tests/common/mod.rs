//! Servers for tests: in this process or in one of their own, on a port and in a directory of their own.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mailrace::config::{Config, DriverChoice};
use mailrace::server::{Server, Stopped};
use mailrace_support::client::PATIENCE;
use tempfile::TempDir;

/// Both drivers; what holds on one holds on the other.
pub const DRIVERS: [DriverChoice; 2] = [DriverChoice::IoUring, DriverChoice::Epoll];

/// A server in this process.
pub struct TestServer {
    pub server: Server,
    pub dir: TempDir,
}

impl TestServer {
    /// Starts one on a free port of 127.0.0.1, with the defaults changed by `change`.
    pub fn start(driver: DriverChoice, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Config::with_defaults(listen, dir.path()).expect("the defaults hold");
        config.driver = driver;
        config.segment_size = 1 << 20;
        config.connections.drain_timeout = PATIENCE;
        change(&mut config);
        let server = Server::start(config).unwrap_or_else(|error| panic!("{driver:?}: {error}"));
        Self { server, dir }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// Drains and waits for the end.
    pub fn stop(self) -> Stopped {
        self.server.drain_handle().start();
        self.server.wait()
    }

    /// Waits until `count` of all shards together has reached `value`.
    pub fn wait_for_count(&self, name: &str, value: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(name) < value {
            assert!(Instant::now() < deadline, "{name} is {} and never became {value}", self.count(name));
            std::thread::yield_now();
        }
    }

    pub fn count(&self, name: &str) -> u64 {
        let shards = self.server.shard_counters().iter();
        let values = shards.flat_map(|shard| shard.values()).filter(|(known, _)| *known == name);
        values.map(|(_, value)| value).sum()
    }
}

/// A server in a process of its own.
pub struct ServerProcess {
    pub child: Child,
    pub address: SocketAddr,
    pub ready: String,
    stderr: BufReader<ChildStderr>,
}

impl ServerProcess {
    /// Runs `mailrace serve` on a free port of 127.0.0.1 and waits for its ready event.
    pub fn start(data_dir: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mailrace"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("it was asked for"));
        let ready = line_that_starts(&mut stderr, "mailrace: ready ");
        let address = field(&ready, "listen").parse().expect("one address");
        Self { child, address, ready, stderr }
    }

    /// The next event of this name.
    pub fn event(&mut self, name: &str) -> String {
        line_that_starts(&mut self.stderr, &format!("mailrace: {name} "))
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("it runs");
    }

    pub fn pid(&self) -> rustix::process::Pid {
        let raw = i32::try_from(self.child.id()).expect("a process id");
        rustix::process::Pid::from_raw(raw).expect("not zero")
    }

    /// Waits for the end of the process.
    pub fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line_that_starts(stderr: &mut impl BufRead, prefix: &str) -> String {
    let mut seen = String::new();
    loop {
        let start = seen.len();
        let len = stderr.read_line(&mut seen).expect("readable events");
        assert!(len > 0, "no line begins with {prefix:?}; there were: {seen}");
        if seen[start..].starts_with(prefix) {
            return seen[start..].trim_end().to_owned();
        }
    }
}

/// The value of `key` in an event line.
pub fn field<'a>(event: &'a str, key: &str) -> &'a str {
    let prefix = format!("{key}=");
    let value = event.split(' ').find_map(|word| word.strip_prefix(&prefix));
    value.unwrap_or_else(|| panic!("no {key} in {event:?}"))
}

/// A short time that is long enough for a loaded machine.
pub const SHORT: Duration = Duration::from_millis(200);
