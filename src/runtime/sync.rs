//! Locks that outlive a panic in another thread: the lab's threads do not panic by design, and if one
//! did, the others finish what they can instead of panicking after it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Locks, also after a panic elsewhere.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits at most this long for a notification; wake-ups may be spurious.
pub(super) fn wait_for<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: Duration,
) -> MutexGuard<'a, T> {
    condvar.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
}

/// Pauses the calling thread for a time, or until it is notified that `over` has become true.
pub(super) fn pause(
    paused: &Mutex<()>,
    changed: &Condvar,
    time: Duration,
    over: impl Fn() -> bool,
) {
    let deadline = Instant::now() + time;
    let mut guard = lock(paused);
    while !over() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        guard = wait_for(changed, guard, left);
    }
}
