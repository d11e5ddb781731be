//! What mailrace's tests share: slow twins, generators, a disk that fails as disks do, random numbers from a seed,
//! real processes and clients.

pub mod client;
pub mod conversation;
pub mod directory;
pub mod disk;
pub mod event;
pub mod faulty_storage;
pub mod load;
pub mod naive;
pub mod page_cache;
pub mod peer;
pub mod process;
pub mod program;
pub mod readback;
pub mod rng;
