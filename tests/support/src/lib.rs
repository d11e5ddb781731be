//! What mailrace's tests share: naive models, generators, faulty storage, real processes and clients.

pub mod client;
pub mod event;
pub mod load;
pub mod peer;
pub mod process;
pub mod program;
pub mod readback;
pub mod rng;
