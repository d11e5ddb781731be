//! Ids for logs and segments out of one seed.
//!
//! They need not be secret for ever, only never the same twice and not to be guessed by someone who puts octets into
//! a message body; the randomness itself comes from outside.

use uuid::Uuid;

/// Stretches a seed into ids: SplitMix64, which never repeats within 2^64 values.
#[derive(Debug)]
pub(crate) struct IdGenerator {
    state: u64,
}

impl IdGenerator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next id; never 0, which stands for "no segment".
    pub(crate) fn next_id(&mut self) -> u64 {
        loop {
            self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut id = self.state;
            id = (id ^ (id >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            id = (id ^ (id >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            id ^= id >> 31;
            if id != 0 {
                return id;
            }
        }
    }

    pub(crate) fn next_log(&mut self) -> Uuid {
        let (high, low) = (self.next_id(), self.next_id());
        uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_within_and_between_seeds() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in [0, 1, u64::MAX] {
            let mut ids = IdGenerator::new(seed);
            for _ in 0..1000 {
                assert!(seen.insert(ids.next_id()));
            }
        }
    }
}
