//! A thread that does something whenever the deadline comes that others have named.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::sync::{lock, wait_for};

/// No deadline.
const NEVER: u64 = u64::MAX;

/// The longest that it sleeps, whatever the deadlines.
const MAX_SLEEP: Duration = Duration::from_millis(250);

/// When the timer's thread is needed next.
#[derive(Debug)]
pub(super) struct Timer {
    /// In nanoseconds since the start.
    next: AtomicU64,
    /// Held by the thread from looking at `next` until it sleeps.
    asleep: Mutex<()>,
    moved: Condvar,
}

impl Default for Timer {
    fn default() -> Self {
        Self { next: AtomicU64::new(NEVER), asleep: Mutex::default(), moved: Condvar::new() }
    }
}

impl Timer {
    /// Has the thread wake up by then. Every input asks for that, and hardly any needs it earlier than the one
    /// before: those take no lock.
    pub(super) fn mind(&self, deadline: Option<Duration>) {
        let Some(deadline) = deadline else { return };
        let deadline = u64::try_from(deadline.as_nanos()).unwrap_or(NEVER);
        if deadline < self.next.fetch_min(deadline, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Has the thread look again.
    pub(super) fn wake(&self) {
        drop(lock(&self.asleep));
        self.moved.notify_all();
    }

    /// The body of the thread: does `work` at once, and whenever a deadline has come, until it is `stopping`; `now`
    /// counts from the start.
    pub(super) fn run(
        &self,
        now: impl Fn() -> Duration,
        stopping: impl Fn() -> bool,
        work: impl Fn(),
    ) {
        while !stopping() {
            // Whoever gives an input from here on says again when the thread is needed.
            self.next.store(NEVER, Ordering::SeqCst);
            work();
            let latest = now() + MAX_SLEEP;
            let mut asleep = lock(&self.asleep);
            loop {
                let next = Duration::from_nanos(self.next.load(Ordering::SeqCst)).min(latest);
                let wait = next.saturating_sub(now());
                if wait.is_zero() || stopping() {
                    break;
                }
                asleep = wait_for(&self.moved, asleep, wait);
            }
        }
    }
}
