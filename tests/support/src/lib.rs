//! What mailrace's tests share: naive models, generators, and a disk that fails as disks do.

pub mod client;
pub mod directory;
pub mod disk;
pub mod faulty_storage;
pub mod naive;
pub mod page_cache;
pub mod rng;
