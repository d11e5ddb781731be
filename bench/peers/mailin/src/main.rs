//! A server built on the crate mailin-embedded, with its default handler: it accepts everything and keeps nothing.
//!
//! `mailin-peer ADDR:PORT THREADS`; a thread serves one connection at a time, so THREADS is the most it can hold.

use mailin_embedded::{Handler, Server, SslConfig};

#[derive(Clone)]
struct KeepNothing;

impl Handler for KeepNothing {}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: mailin-peer ADDR:PORT THREADS";
    let address = arguments.next().ok_or(usage)?;
    let threads: u32 = arguments.next().ok_or(usage)?.parse()?;
    let mut server = Server::new(KeepNothing);
    server.with_name("mx.bench.example").with_num_threads(threads);
    server.with_ssl(SslConfig::None)?.with_addr(address)?;
    Ok(server.serve()?)
}
