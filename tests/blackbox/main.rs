//! The built program, driven from outside: real clients, real mail, the command line, the limits of the host.
//!
//! Every server here is a process of its own, on a free port of the loopback interface and a directory of its own.
//! `MAILRACE_TEST_DRIVER` names the I/O driver they are given (`io_uring` or `epoll`); `scripts/test` runs all of
//! this once with each.

mod addresses;
mod drivers;
mod limits;
mod peers;
mod reading;
mod readme;
mod real_mail;
mod reload;
mod shutdown;
mod startup;

use std::path::Path;

use mailrace_support::process::{Server, Setup};
use mailrace_support::readback::{Log, Stored};
use tempfile::TempDir;

/// The program under test.
const MAILRACE: &str = env!("CARGO_BIN_EXE_mailrace");
/// Where the manifest of the peers and the clients' scripts are found.
const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A server on a free port that stores under `directory/data`, small enough to start in no time.
fn setup(directory: &TempDir) -> Setup {
    Setup::new(MAILRACE, &directory.path().join("data")).arguments(["--segment-size", "4MiB"])
}

fn log(data_dir: &Path) -> Log<'_> {
    Log { binary: MAILRACE, data_dir }
}

fn log_of(server: &Server) -> Log<'_> {
    log(server.data_dir())
}

fn read(line: &str) -> Stored {
    Stored::parse(line)
}
