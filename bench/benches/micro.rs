//! Micro benchmarks of mailrace's own work: `cargo bench -p mailrace-bench`.
//!
//! Scanners in octets per second by the shape of their input, beside what memchr's searches give on the same
//! octets; command parser, session and record encoder; a list of recipients read and asked. `cargo test` runs each
//! once.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use mailrace_bench::ceiling::micro::{
    COMMAND_LINES, EncodeWork, SessionWork, TextKind, load_recipients, parse_commands, recipient_list,
    scan_text, takes_recipient,
};

/// Octets of a text: well inside the second cache.
const TEXT_LEN: usize = 64 << 10;

fn main() {
    divan::main();
}

/// The bound: one search for an octet that is not there.
#[divan::bench(args = TextKind::ALL)]
fn memchr_ceiling(bencher: Bencher<'_, '_>, kind: TextKind) {
    let text = kind.text(TEXT_LEN);
    let search = || memchr::memchr(0, black_box(&text));
    bencher.counter(BytesCount::of_slice(&text[..])).bench_local(search);
}

/// The bound of anything that must find the end of data: one search for it, and nothing said of what lies before.
#[divan::bench(args = TextKind::ALL)]
fn memmem_ceiling(bencher: Bencher<'_, '_>, kind: TextKind) {
    let text = kind.text(TEXT_LEN);
    let finder = memchr::memmem::Finder::new(b"\r\n.\r\n");
    bencher.counter(BytesCount::of_slice(&text[..])).bench_local(|| finder.find(black_box(&text)));
}

/// The end of data, stuffed dots and lone CR and LF.
#[divan::bench(args = TextKind::ALL)]
fn data_scanner(bencher: Bencher<'_, '_>, kind: TextKind) {
    let text = kind.text(TEXT_LEN);
    bencher.counter(BytesCount::of_slice(&text[..])).bench_local(|| scan_text(black_box(&text)));
}

/// Eight command lines, split and taken apart.
#[divan::bench]
fn command_parser(bencher: Bencher<'_, '_>) {
    let lines = ItemsCount::new(8_usize);
    let lines = bencher.counter(lines).counter(BytesCount::of_slice(COMMAND_LINES));
    lines.bench_local(|| parse_commands(black_box(COMMAND_LINES)));
}

/// One message of 4 KiB: MAIL, RCPT, DATA, text scanned and its checksum taken.
#[divan::bench]
fn session_step(bencher: Bencher<'_, '_>) {
    let mut work = SessionWork::new();
    bencher.counter(BytesCount::new(work.message_len())).bench_local(|| work.receive());
}

/// A batch of messages of 4 KiB into records, without storage.
#[divan::bench(args = [1, 8, 64])]
fn record_encode(bencher: Bencher<'_, '_>, count: usize) {
    let mut work = EncodeWork::new(count);
    bencher.counter(ItemsCount::new(count)).bench_local(|| work.append());
}

/// A list of recipients, parsed and ready to be asked.
#[divan::bench(args = [1_000, 100_000])]
fn recipients_load(bencher: Bencher<'_, '_>, count: usize) {
    let list = recipient_list(count);
    bencher.counter(ItemsCount::new(count)).bench_local(|| load_recipients(black_box(&list)));
}

/// One RCPT held against a list.
#[divan::bench(args = [1_000, 100_000])]
fn recipients_verdict(bencher: Bencher<'_, '_>, count: usize) {
    let recipients = load_recipients(&recipient_list(count));
    let ask =
        || assert!(takes_recipient(black_box(&recipients), black_box("<First.Last-7@domain-7.example.org>")));
    bencher.bench_local(ask);
}
