//! The generator's clock, as a trait so that tests can turn it by hand.

use std::{
    thread,
    time::{Duration, Instant},
};

/// The longest single sleep, so that a stop is noticed in time.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// A clock that never goes back.
pub trait Clock {
    /// The time since the start of the round.
    fn now(&self) -> Duration;
    /// Sleeps until `then`, or for a bounded time: the caller looks again.
    fn sleep_until(&self, then: Duration);
}

/// The system's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    start: Instant,
}

impl MonotonicClock {
    /// A clock that shows 0 now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep_until(&self, then: Duration) {
        thread::sleep(then.saturating_sub(self.now()).min(LONGEST_SLEEP));
    }
}
