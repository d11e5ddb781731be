//! How many messages may still be started.

/// The messages one thread may start: a count, or as many as fit until it is closed.
#[derive(Debug)]
pub struct Supply {
    left: u64,
    is_closed: bool,
}

impl Supply {
    /// `count` messages.
    pub fn of(count: u64) -> Self {
        Self { left: count, is_closed: false }
    }

    /// As many as can be sent until [`Supply::close`].
    pub fn endless() -> Self {
        Self::of(u64::MAX)
    }

    /// Takes one message; `false` when none is left.
    pub fn claim(&mut self) -> bool {
        let is_there = self.has_more();
        self.left -= u64::from(is_there);
        is_there
    }

    /// Puts back messages that were claimed but never sent.
    pub fn give_back(&mut self, count: u64) {
        self.left = self.left.saturating_add(count);
    }

    /// Nothing more is started.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether a claim would succeed.
    pub fn has_more(&self) -> bool {
        self.left > 0 && !self.is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supply_ends_at_its_count_or_when_closed() {
        let mut two = Supply::of(2);
        assert!(two.claim() && two.claim() && !two.claim());
        two.give_back(1);
        assert!(two.claim() && !two.claim());
        let mut endless = Supply::endless();
        assert!(endless.claim());
        endless.close();
        endless.give_back(1);
        assert!(!endless.claim());
    }
}
