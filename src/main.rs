//! The `mailrace` program: allocator, arguments, run.

fn main() {}
