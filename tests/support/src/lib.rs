//! What mailrace's tests share: a disk that fails as disks do, and random numbers from a seed.

pub mod directory;
pub mod disk;
pub mod page_cache;
pub mod rng;
