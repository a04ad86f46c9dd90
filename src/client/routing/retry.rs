//! Patience: how long a client waits before it tries again, and when, if ever, it gives up.

use std::time::{Duration, Instant};

/// How a client retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How long to wait before the next round.
    pub wait: Duration,
    /// When to give up, from the first try on; never where it is `None`.
    pub give_up_after: Option<Duration>,
}

impl Default for Retry {
    /// Five seconds, for ever.
    fn default() -> Self {
        Self { wait: Duration::from_secs(5), give_up_after: None }
    }
}

impl Retry {
    /// Begins an operation.
    pub fn begin(self) -> Patience {
        Patience { retry: self, begun: Instant::now() }
    }
}

/// The patience that is left for one operation.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    retry: Retry,
    begun: Instant,
}

impl Patience {
    /// How long to sleep before the next try, or `None` where it is time to give up. The last sleep ends with
    /// the patience.
    pub fn next_wait(&self) -> Option<Duration> {
        let Some(whole) = self.retry.give_up_after else { return Some(self.retry.wait) };
        let left = whole.saturating_sub(self.begun.elapsed());
        (!left.is_zero()).then(|| self.retry.wait.min(left))
    }

    /// How long the operation has taken.
    pub fn spent(&self) -> Duration {
        self.begun.elapsed()
    }
}
