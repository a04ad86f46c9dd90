//! A bound on the memory that large requests and replies take together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How much a session reads at once when the client sends much; buffers up to here are free of charge.
pub(super) const LARGE: usize = 64 * 1024;

/// The memory that all sessions of a port may take together for requests and replies that are larger
/// than [`LARGE`]. At the bound a client is told so; if it was in the middle of a request, it is closed.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicUsize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self { left: AtomicUsize::new(bytes) }
    }

    /// Takes memory out of the budget, if it is there.
    pub(super) fn take(&self, bytes: usize) -> bool {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .is_ok()
    }

    /// Gives it back.
    pub(super) fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.left.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Whether a buffer of this size may be, with what is `lent` for it already or can be lent now.
    pub(super) fn covers(&self, size: usize, lent: &mut usize) -> bool {
        let more = size.saturating_sub(LARGE + *lent);
        let covered = more == 0 || self.take(more);
        if covered {
            *lent += more;
        }
        covered
    }
}
