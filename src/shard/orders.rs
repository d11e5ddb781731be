//! What the server tells a running shard: to drain, and to go by new settings.
//!
//! Each is written down, and the doorbell rung. The shard looks at a flag for each when it hears its bell, and takes
//! the lock only when there is something to take. The last settings win: there is one place for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::handoff::Doorbell;
use crate::smtp::SessionOptions;

/// How long to wait for a shard to take its settings. It looks after every bell, so this long means it is stuck.
const TAKEN_TIMEOUT: Duration = Duration::from_secs(5);

/// The orders for one shard.
#[derive(Debug)]
pub(super) struct Orders {
    doorbell: Arc<Doorbell>,
    drain: AtomicBool,
    /// There may be settings to take.
    renewed: AtomicBool,
    renewal: Mutex<Renewal>,
    taken: Condvar,
}

#[derive(Debug, Default)]
struct Renewal {
    session: Option<Arc<SessionOptions>>,
    /// The shard has ended and takes nothing any more.
    closed: bool,
}

/// Tells a shard to end; may be cloned and sent to any thread.
#[derive(Debug, Clone)]
pub struct ShardDrain {
    orders: Arc<Orders>,
}

/// Gives a shard new settings; may be cloned and sent to any thread.
#[derive(Debug, Clone)]
pub struct ShardRenewal {
    orders: Arc<Orders>,
}

impl ShardDrain {
    pub(super) fn of(orders: &Arc<Orders>) -> Self {
        Self { orders: Arc::clone(orders) }
    }

    /// No new connections; idle sessions get 421, transactions under way may finish within the drain time-out.
    pub fn start(&self) {
        self.orders.drain.store(true, Ordering::Relaxed);
        self.orders.doorbell.ring();
    }
}

impl ShardRenewal {
    pub(super) fn of(orders: &Arc<Orders>) -> Self {
        Self { orders: Arc::clone(orders) }
    }

    /// New sessions go by `session` from now on, those there are from their next MAIL on. To be followed by
    /// [`ShardRenewal::wait`].
    pub fn start(&self, session: Arc<SessionOptions>) {
        let mut renewal = self.orders.renewal();
        renewal.session = Some(session);
        self.orders.renewed.store(true, Ordering::Relaxed);
        self.orders.doorbell.ring();
    }

    /// Waits until the shard goes by what it was given last, or has ended; false when it does neither in five
    /// seconds.
    #[must_use]
    pub fn wait(&self) -> bool {
        self.orders.wait(TAKEN_TIMEOUT)
    }
}

impl Orders {
    pub(super) fn new(doorbell: Arc<Doorbell>) -> Self {
        Self {
            doorbell,
            drain: AtomicBool::new(false),
            renewed: AtomicBool::new(false),
            renewal: Mutex::default(),
            taken: Condvar::new(),
        }
    }

    /// The shard was told to drain.
    pub(super) fn says_drain(&self) -> bool {
        self.drain.load(Ordering::Relaxed)
    }

    /// New settings, when there are some. They count as taken: the caller puts them in force before it does
    /// anything else.
    pub(super) fn renewed(&self) -> Option<Arc<SessionOptions>> {
        // The flag is only a hint, and the lock orders the rest: who is early here is called by the bell again.
        if !self.renewed.load(Ordering::Relaxed) {
            return None;
        }
        let mut renewal = self.renewal();
        self.renewed.store(false, Ordering::Relaxed);
        self.taken.notify_all();
        renewal.session.take()
    }

    /// False when the shard has neither taken its settings nor ended before `timeout` was over.
    fn wait(&self, timeout: Duration) -> bool {
        let waits = |renewal: &mut Renewal| renewal.session.is_some() && !renewal.closed;
        let waited = self.taken.wait_timeout_while(self.renewal(), timeout, waits);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The shard has ended.
    pub(super) fn close(&self) {
        self.renewal().closed = true;
        self.taken.notify_all();
    }

    /// Nothing can panic while it is held.
    fn renewal(&self) -> MutexGuard<'_, Renewal> {
        self.renewal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Limits, Recipients};
    use crate::smtp::BareLf;

    fn orders() -> Arc<Orders> {
        Arc::new(Orders::new(Arc::new(Doorbell::new().expect("an eventfd"))))
    }

    fn settings(hostname: &str) -> Arc<SessionOptions> {
        Arc::new(SessionOptions::new(hostname, Limits::default(), Recipients::any(), BareLf::Reject))
    }

    #[test]
    fn the_last_settings_win_and_are_taken_once() {
        let orders = orders();
        assert!(orders.renewed().is_none());
        let renewal = ShardRenewal::of(&orders);
        renewal.start(settings("first.example"));
        let last = settings("last.example");
        renewal.start(Arc::clone(&last));
        assert!(orders.doorbell.silence());
        assert!(orders.renewed().is_some_and(|taken| Arc::ptr_eq(&taken, &last)));
        assert!(orders.renewed().is_none());
        assert!(renewal.wait());
    }

    #[test]
    fn a_renewal_is_waited_for_until_it_is_taken() {
        let orders = orders();
        let renewal = ShardRenewal::of(&orders);
        renewal.start(settings("new.example"));
        assert!(!orders.wait(Duration::ZERO), "nobody has taken it");
        let waiting = std::thread::spawn(move || renewal.wait());
        assert!(orders.renewed().is_some());
        assert!(waiting.join().expect("no panic"));
    }

    #[test]
    fn nobody_waits_for_a_shard_that_has_ended() {
        let orders = orders();
        let renewal = ShardRenewal::of(&orders);
        orders.close();
        renewal.start(settings("late.example"));
        assert!(renewal.wait());
    }
}
