//! The disk's ceiling for a given amount of mail per sync, from loops measured at a few amounts.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::error::Result;
use crate::floor::{self, Floor, Method, RECORD_LEN, RECORDS_MAX};
use crate::stats::Spread;

/// Records of 4 KiB before each sync; the last stands for sequential bandwidth.
pub const RECORD_COUNTS: [usize; 5] = [1, 8, 64, 512, RECORDS_MAX];

/// One method at one batch size, over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct DiskCell {
    /// How a batch was made durable.
    pub method: Method,
    /// Records of 4 KiB before each sync.
    pub records_per_sync: usize,
    /// Records per second.
    pub records_per_s: Spread,
    /// The same in 10^6 octets per second.
    pub megabytes_per_s: Spread,
    /// Median of one write with its sync.
    pub p50_us: Spread,
    /// 99th percentile of it.
    pub p99_us: Spread,
    /// Processor time per record.
    pub cpu_us_per_record: Spread,
}

/// Measures every method at every batch size, each for `time`.
///
/// # Errors
/// When the disk cannot be written or synced.
pub fn measure(directory: &Path, cores: &[usize], time: Duration) -> Result<Vec<Floor>> {
    floor::measure_methods(directory, cores, &Method::ALL, &RECORD_COUNTS, time)
}

/// One cell for each method and batch size that every round has.
pub fn cells(rounds: &[Vec<Floor>]) -> Vec<DiskCell> {
    let first = rounds.first().map_or(&[][..], Vec::as_slice);
    let cell = |(index, floor): (usize, &Floor)| {
        let spread = |figure: &dyn Fn(&Floor) -> f64| {
            Spread::of(rounds.iter().filter_map(|r| r.get(index)).map(figure))
        };
        DiskCell {
            method: floor.method,
            records_per_sync: floor.records_per_sync,
            records_per_s: spread(&|floor| floor.records_per_s),
            megabytes_per_s: spread(&|floor| floor.records_per_s * RECORD_LEN as f64 / 1e6),
            p50_us: spread(&|floor| floor.sync_us.p50),
            p99_us: spread(&|floor| floor.sync_us.p99),
            cpu_us_per_record: spread(&|floor| floor.cpu_us_per_record),
        }
    };
    first.iter().enumerate().map(cell).collect()
}

/// What the disk allows at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiskCeiling {
    /// Octets made durable per second, by the best method.
    pub octets_per_s: f64,
    /// Processor seconds per octet, by the cheapest method.
    pub cpu_s_per_octet: f64,
}

impl DiskCeiling {
    /// What one round's loops say of syncs that cover at most `in_flight` octets each; `None` without loops.
    pub fn of(round: &[Floor], in_flight: usize) -> Option<Self> {
        let ceilings = Method::ALL.into_iter().filter_map(|method| Self::by(round, method, in_flight as f64));
        ceilings.reduce(|best, next| Self {
            octets_per_s: best.octets_per_s.max(next.octets_per_s),
            cpu_s_per_octet: best.cpu_s_per_octet.min(next.cpu_s_per_octet),
        })
    }

    fn by(round: &[Floor], method: Method, in_flight: f64) -> Option<Self> {
        let mut points: Vec<Point> = round.iter().filter(|f| f.method == method).map(Point::of).collect();
        points.sort_by(|a, b| a.octets.total_cmp(&b.octets));
        let at_limit = at(&points, in_flight)?;
        let below = points.into_iter().filter(|point| point.octets <= in_flight);
        Some(below.chain([at_limit]).fold(
            Self { octets_per_s: 0.0, cpu_s_per_octet: f64::MAX },
            |best, p| Self {
                octets_per_s: best.octets_per_s.max(p.octets / p.elapsed_s),
                cpu_s_per_octet: best.cpu_s_per_octet.min(p.cpu_s / p.octets),
            },
        ))
    }
}

/// One sync: how much it covered, how long it took, what it cost.
#[derive(Clone, Copy, Debug)]
struct Point {
    octets: f64,
    elapsed_s: f64,
    cpu_s: f64,
}

impl Point {
    fn of(floor: &Floor) -> Self {
        let records = floor.records_per_sync as f64;
        Self {
            octets: records * RECORD_LEN as f64,
            elapsed_s: records / floor.records_per_s,
            cpu_s: records * floor.cpu_us_per_record / 1e6,
        }
    }
}

/// Between two points a sync costs a fixed part and a part by its octets. Outside of them the nearest holds, its
/// octets per second unchanged above the last, its time unchanged below the first: a sync costs no less.
fn at(points: &[Point], octets: f64) -> Option<Point> {
    let (first, last) = (points.first()?, points.last()?);
    if octets <= first.octets {
        return Some(Point { octets, ..*first });
    }
    let Some(pair) = points.windows(2).find(|pair| octets <= pair[1].octets) else { return Some(*last) };
    let (low, high) = (pair[0], pair[1]);
    let part = (octets - low.octets) / (high.octets - low.octets);
    let between = |low: f64, high: f64| low + part * (high - low);
    Some(Point {
        octets,
        elapsed_s: between(low.elapsed_s, high.elapsed_s),
        cpu_s: between(low.cpu_s, high.cpu_s),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::Times;

    fn floor(method: Method, records_per_sync: usize, records_per_s: f64) -> Floor {
        let sync_us = Times::default();
        Floor { method, records_per_sync, records_per_s, sync_us, cpu_us_per_record: 2.0 }
    }

    #[test]
    fn a_ceiling_lies_between_the_loops_around_it_and_takes_the_best_method() {
        // 1 ms for one record, 2 ms for 11: 0.1 ms for each record more.
        let mut round =
            vec![floor(Method::WriteThenSync, 1, 1000.0), floor(Method::WriteThenSync, 11, 5500.0)];
        let rate = |round: &[Floor], records: usize| {
            DiskCeiling::of(round, records * RECORD_LEN).expect("a ceiling").octets_per_s / RECORD_LEN as f64
        };
        assert!((rate(&round, 1) - 1000.0).abs() < 1e-6);
        assert!((rate(&round, 6) - 4000.0).abs() < 1e-6);
        assert!((rate(&round, 11) - 5500.0).abs() < 1e-6);
        assert!((rate(&round, 500) - 5500.0).abs() < 1e-6);
        round.push(floor(Method::SyncedWrite, 1, 9000.0));
        assert!((rate(&round, 500) - 9000.0).abs() < 1e-6);
        let half = DiskCeiling::of(&round[..2], RECORD_LEN / 2).expect("a ceiling");
        assert!((half.octets_per_s - 500.0 * RECORD_LEN as f64).abs() < 1e-3, "{half:?}");
        assert_eq!(DiskCeiling::of(&[], 1), None);
    }
}
