//! A server in this process, on a port and in a directory of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mailrace::config::{Config, DriverChoice};
use mailrace::server::{Server, Stopped};
use mailrace_support::client::PATIENCE;
use tempfile::TempDir;

/// The driver that `MAILRACE_TEST_DRIVER` names, or what this host gives; what holds on one holds on the other.
pub(crate) fn driver() -> DriverChoice {
    match std::env::var("MAILRACE_TEST_DRIVER").as_deref() {
        Ok("io_uring") => DriverChoice::IoUring,
        Ok("epoll") => DriverChoice::Epoll,
        Ok(other) => panic!("MAILRACE_TEST_DRIVER={other} is neither io_uring nor epoll"),
        Err(_) => DriverChoice::Auto,
    }
}

/// A server in this process.
pub(crate) struct TestServer {
    pub(crate) server: Server,
    pub(crate) dir: TempDir,
}

impl TestServer {
    /// Starts one on a free port of 127.0.0.1, with the defaults changed by `change`.
    pub(crate) fn start(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Config::with_defaults(listen, dir.path()).expect("the defaults hold");
        config.driver = driver();
        config.segment_size = 1 << 20;
        config.connections.drain_timeout = PATIENCE;
        change(&mut config);
        let server = Server::start(config).unwrap_or_else(|error| panic!("{error}"));
        Self { server, dir }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// Drains and waits for the end.
    pub(crate) fn stop(self) -> Stopped {
        self.server.drain_handle().start();
        self.server.wait()
    }

    /// Waits until `count` of all shards together has reached `value`.
    pub(crate) fn wait_for_count(&self, name: &str, value: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(name) < value {
            assert!(Instant::now() < deadline, "{name} is {} and never became {value}", self.count(name));
            std::thread::yield_now();
        }
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        let shards = self.server.shard_counters().iter();
        let values = shards.flat_map(|shard| shard.values()).filter(|(known, _)| *known == name);
        values.map(|(_, value)| value).sum()
    }
}

/// A short time that is long enough for a loaded machine.
pub(crate) const SHORT: Duration = Duration::from_millis(200);
