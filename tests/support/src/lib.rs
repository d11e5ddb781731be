//! What mailrace's tests share: slow twins, generators, a disk that fails as disks do, random numbers from a seed.

pub mod client;
pub mod directory;
pub mod disk;
pub mod naive;
pub mod page_cache;
pub mod rng;
