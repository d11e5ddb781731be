//! How fast this core copies memory: the bound of everything that touches each octet once more.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cpu;
use crate::error::Result;

/// Octets copied at once: one in the first cache, one in none.
pub const COPY_LENS: [usize; 2] = [4 << 10, 64 << 20];

/// Copies of one length.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Copy {
    /// Octets of one copy.
    pub len: usize,
    /// Octets copied per second, in 10^9; each is read once and written once.
    pub gigabytes_per_s: f64,
}

/// Copies each of [`COPY_LENS`] over and over for `time` on the first of `cores`.
///
/// # Errors
/// When the core cannot be used.
pub fn measure(cores: &[usize], time: Duration) -> Result<Vec<Copy>> {
    cpu::with_cores(&cores[..1], || COPY_LENS.iter().map(|len| copy(*len, time)).collect())
}

fn copy(len: usize, time: Duration) -> Copy {
    /// Octets copied between two looks at the clock, at least.
    const STRIDE: usize = 8 << 20;
    // Written once beforehand: the first touch of a page costs more than the copy.
    let (mut from, mut to) = (vec![0x5a_u8; len + PLACE_MAX], vec![0x11_u8; len + PLACE_MAX]);
    let (from, to) = (placed(&mut from, len, 0), placed(&mut to, len, PAGE_LEN / 2));
    let (began, mut copied) = (Instant::now(), 0_u64);
    while began.elapsed() < time {
        for _ in 0..STRIDE.div_ceil(len) {
            black_box(&mut *to).copy_from_slice(black_box(&*from));
            copied += len as u64;
        }
    }
    Copy { len, gigabytes_per_s: copied as f64 / began.elapsed().as_secs_f64() / 1e9 }
}

const PAGE_LEN: usize = 4096;
/// What [`placed`] may leave unused in front.
const PLACE_MAX: usize = 2 * PAGE_LEN;

/// The `len` octets of `space` that begin `offset` behind a page's beginning. Where source and target stand to each
/// other within a page decides how fast some processors copy: a chance of the allocator must not.
fn placed(space: &mut [u8], len: usize, offset: usize) -> &mut [u8] {
    let start = space.as_ptr().align_offset(PAGE_LEN) + offset;
    &mut space[start..start + len]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_in_cache_and_one_out_of_it_have_a_rate() {
        let cores = cpu::allowed_cores().expect("allowed cores");
        let copies = measure(&cores, Duration::from_millis(2)).expect("copies");
        assert_eq!(copies.iter().map(|copy| copy.len).collect::<Vec<_>>(), COPY_LENS);
        assert!(copies.iter().all(|copy| copy.gigabytes_per_s > 0.01), "{copies:?}");
    }
}
