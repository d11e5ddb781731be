//! What the disk gives at the moment: a loop that writes records and syncs them, and does nothing else.
//!
//! Durable figures mean something only beside this floor, taken in the same minute, in the same directory, on
//! the same core. The blocks are written and synced beforehand, as they are in a segment prepared ahead.

use std::fs::{File, OpenOptions};
use std::io::IoSlice;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::fs::OFlags;
use rustix::io::ReadWriteFlags;
use serde::Serialize;

use crate::cpu;
use crate::error::{Error, Result};
use crate::load::report::Times;

/// Octets of one record.
pub const RECORD_LEN: usize = 4096;
/// Records in one batch at most: a quarter of the file.
pub const RECORDS_MAX: usize = 4096;
/// Octets of the file, written over from the beginning when its end is reached.
const FILE_LEN: u64 = 64 << 20;

/// How a batch is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// `pwritev` into the page cache, then `fdatasync`.
    WriteThenSync,
    /// `pwritev2` with `RWF_DSYNC`: one call for both.
    SyncedWrite,
    /// The same on a file opened with `O_DIRECT`: past the page cache.
    SyncedDirectWrite,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::WriteThenSync, Self::SyncedWrite, Self::SyncedDirectWrite];

    /// The calls it is made of.
    pub fn name(self) -> &'static str {
        match self {
            Self::WriteThenSync => "pwritev + fdatasync",
            Self::SyncedWrite => "RWF_DSYNC",
            Self::SyncedDirectWrite => "O_DIRECT + RWF_DSYNC",
        }
    }
}

/// What one loop gave.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Floor {
    /// How each batch was made durable.
    pub method: Method,
    /// Records of 4 KiB written before each sync.
    pub records_per_sync: usize,
    /// Records per second.
    pub records_per_s: f64,
    /// One write and its sync.
    pub sync_us: Times,
    /// Processor time per record.
    pub cpu_us_per_record: f64,
}

/// Runs the loop once for each count of records, each for `time`, in a new file in `directory` on `cores`.
///
/// # Errors
/// When the file cannot be written or synced; the file stays where it is.
pub fn measure(
    directory: &Path,
    cores: &[usize],
    record_counts: &[usize],
    time: Duration,
) -> Result<Vec<Floor>> {
    measure_methods(directory, cores, &[Method::WriteThenSync], record_counts, time)
}

/// The same for each of `methods`, all in one file. Where the file system has no direct I/O that method has no row, and
/// whoever shows the others says so.
///
/// # Panics
/// When a count is 0 or above [`RECORDS_MAX`].
///
/// # Errors
/// When the file cannot be written or synced; the file stays where it is.
pub fn measure_methods(
    directory: &Path,
    cores: &[usize],
    methods: &[Method],
    record_counts: &[usize],
    time: Duration,
) -> Result<Vec<Floor>> {
    let path = directory.join("floor");
    let attempt = |e: std::io::Error| Error::system(format!("write and sync {}", path.display()), e);
    cpu::with_cores(cores, || {
        write_blocks(&path)?;
        let mut floors = Vec::new();
        for method in methods {
            match open(&path, *method) {
                Ok(file) => {
                    for count in record_counts {
                        floors.push(sync_loop(&file, *method, *count, time)?);
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::InvalidInput => {}
                Err(e) => return Err(e),
            }
        }
        Ok(floors)
    })?
    .map_err(attempt)
}

/// Makes a file whose blocks are all written: a sync into others must write metadata too and costs a multiple.
fn write_blocks(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let zeroes = vec![0; 1 << 20];
    for offset in (0..FILE_LEN).step_by(zeroes.len()) {
        file.write_all_at(&zeroes, offset)?;
    }
    file.sync_all()
}

/// `InvalidInput` where the file system has no direct I/O.
fn open(path: &Path, method: Method) -> std::io::Result<File> {
    let flags = if method == Method::SyncedDirectWrite { OFlags::DIRECT } else { OFlags::empty() };
    OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn sync_loop(file: &File, method: Method, record_count: usize, time: Duration) -> std::io::Result<Floor> {
    let memory = vec![0x5a; record_count * RECORD_LEN + RECORD_LEN];
    let records = batch(&memory, record_count);
    let batch_len = (record_count * RECORD_LEN) as u64;
    let mut latencies =
        Histogram::<u64>::new_with_bounds(100, 600_000_000_000, 3).expect("the bounds are valid");
    let (began, cpu_before) = (Instant::now(), cpu::of_this_thread());
    let (mut offset, mut now) = (0, began);
    while now.duration_since(began) < time {
        write_durably(file, method, &records, batch_len, offset)?;
        let after = Instant::now();
        latencies.saturating_record(u64::try_from((after - now).as_nanos()).unwrap_or(u64::MAX));
        now = after;
        offset += batch_len;
        if offset + batch_len > FILE_LEN {
            offset = 0;
        }
    }
    let record_total = (latencies.len() * record_count as u64) as f64;
    let cpu_s = (cpu::of_this_thread() - cpu_before).as_secs_f64();
    Ok(Floor {
        method,
        records_per_sync: record_count,
        records_per_s: record_total / now.duration_since(began).as_secs_f64(),
        sync_us: Times::of(&latencies),
        cpu_us_per_record: cpu_s * 1e6 / record_total,
    })
}

/// The slices of one vectored write: a record each, as a log writes them, or larger ones where a call takes no
/// more slices. They begin at a multiple of a block, as direct I/O demands.
fn batch(memory: &[u8], record_count: usize) -> Vec<IoSlice<'_>> {
    const SLICES_MAX: usize = 1024; // IOV_MAX of Linux
    assert!((1..=RECORDS_MAX).contains(&record_count), "{record_count} records in one batch");
    let aligned = &memory[memory.as_ptr().align_offset(RECORD_LEN)..][..record_count * RECORD_LEN];
    aligned.chunks(RECORD_LEN * record_count.div_ceil(SLICES_MAX)).map(IoSlice::new).collect()
}

fn write_durably(
    file: &File,
    method: Method,
    records: &[IoSlice<'_>],
    batch_len: u64,
    offset: u64,
) -> std::io::Result<()> {
    let flags = match method {
        Method::WriteThenSync => ReadWriteFlags::empty(),
        Method::SyncedWrite | Method::SyncedDirectWrite => ReadWriteFlags::DSYNC,
    };
    let written = rustix::io::pwritev2(file, records, offset, flags)?;
    if written as u64 != batch_len {
        let reason = format!("{written} of {batch_len} octets were taken");
        return Err(std::io::Error::new(std::io::ErrorKind::WriteZero, reason));
    }
    if method == Method::WriteThenSync { file.sync_data() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_of_records_gets_a_row() {
        let directory = tempfile::tempdir().expect("a directory");
        let cores = cpu::allowed_cores().expect("allowed cores");
        let rows = measure(directory.path(), &cores, &[1, 64], Duration::from_millis(5)).expect("a floor");
        let counts: Vec<usize> = rows.iter().map(|row| row.records_per_sync).collect();
        assert_eq!(counts, [1, 64]);
        assert!(rows.iter().all(|row| row.records_per_s > 0.0 && row.sync_us.count > 0));
    }

    #[test]
    fn every_method_writes_the_same_octets_where_the_last_left_zeroes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("blocks");
        let memory = vec![0x5a; 5 * RECORD_LEN];
        for (method, offset) in Method::ALL.into_iter().zip([0, 4 << 20, 8 << 20]) {
            if offset == 0 {
                write_blocks(&path).expect("blocks");
            }
            let Ok(file) = open(&path, method) else { continue };
            write_durably(&file, method, &batch(&memory, 4), 4 << 12, offset).expect("a durable write");
            let written = std::fs::read(&path).expect("the file");
            let at = usize::try_from(offset).expect("small");
            assert!(written[at..at + (4 << 12)].iter().all(|octet| *octet == 0x5a), "{method:?}");
            assert_eq!((written[at + (4 << 12)], written.len() as u64), (0, FILE_LEN), "{method:?}");
        }
    }

    #[test]
    fn a_large_batch_fits_one_call() {
        let memory = vec![0; (RECORDS_MAX + 1) * RECORD_LEN];
        let slices = batch(&memory, RECORDS_MAX);
        assert!(slices.len() <= 1024);
        assert_eq!(slices.iter().map(|slice| slice.len()).sum::<usize>(), RECORDS_MAX * RECORD_LEN);
    }
}
