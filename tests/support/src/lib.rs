//! Slow twins, generators and faulty storage for the tests of mailrace.

pub mod naive;
