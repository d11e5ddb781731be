//! What the disk gives at the moment: a loop that writes records and syncs them, and does nothing else.
//!
//! Durable figures mean something only beside this floor, taken in the same minute, in the same directory, on
//! the same core. The blocks are written and synced beforehand, as they are in a segment prepared ahead.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cpu;
use crate::error::{Error, Result};
use crate::load::report::Times;

/// Octets of one record.
pub const RECORD_LEN: usize = 4096;
/// Octets of the file, written over from the beginning when its end is reached.
const FILE_LEN: u64 = 64 << 20;

/// What one loop gave.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Floor {
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
    let path = directory.join("floor");
    let attempt = |e: std::io::Error| Error::system(format!("write and sync {}", path.display()), e);
    cpu::with_cores(cores, || {
        let file = written_file(&path)?;
        record_counts.iter().map(|count| sync_loop(&file, *count, time)).collect::<std::io::Result<_>>()
    })?
    .map_err(attempt)
}

/// A file whose blocks are all written: a sync into others must write metadata too and costs a multiple.
fn written_file(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let zeroes = vec![0; 1 << 20];
    for offset in (0..FILE_LEN).step_by(zeroes.len()) {
        file.write_all_at(&zeroes, offset)?;
    }
    file.sync_all()?;
    Ok(file)
}

fn sync_loop(file: &File, record_count: usize, time: Duration) -> std::io::Result<Floor> {
    let records = vec![0x5a; record_count * RECORD_LEN];
    let mut latencies =
        Histogram::<u64>::new_with_bounds(100, 600_000_000_000, 3).expect("the bounds are valid");
    let (began, cpu_before) = (Instant::now(), cpu::of_this_thread());
    let (mut offset, mut now) = (0, began);
    while now.duration_since(began) < time {
        file.write_all_at(&records, offset)?;
        file.sync_data()?;
        let after = Instant::now();
        latencies.saturating_record(u64::try_from((after - now).as_nanos()).unwrap_or(u64::MAX));
        now = after;
        offset += records.len() as u64;
        if offset + records.len() as u64 > FILE_LEN {
            offset = 0;
        }
    }
    let record_total = (latencies.len() * record_count as u64) as f64;
    let cpu_s = (cpu::of_this_thread() - cpu_before).as_secs_f64();
    Ok(Floor {
        records_per_sync: record_count,
        records_per_s: record_total / now.duration_since(began).as_secs_f64(),
        sync_us: Times::of(&latencies),
        cpu_us_per_record: cpu_s * 1e6 / record_total,
    })
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
}
