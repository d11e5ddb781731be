//! The `mailrace` program: allocator, arguments, run.

use std::process::ExitCode;

// Receive chunks and message blocks are made on shards and dropped on the commit thread; mimalloc frees across
// threads without a lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mailrace::cli::run(std::env::args_os())
}
