//! The log through its public doors: what is written is read, whatever happens in between.

mod faulty;
mod losses;
mod reading;
mod recovery;
mod seeking;
mod space;
mod world;
mod writing;
