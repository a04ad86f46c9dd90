//! The open sessions of a port, so that they can be counted, bounded and ended.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::slot::Slot;
use super::sync::{lock, wait_for};

/// A session touches little of its stack; many sessions share the address space.
pub(super) const SESSION_STACK: usize = 256 * 1024;

/// How long a client that does not read its replies holds its thread.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What it takes to end a session.
#[derive(Debug)]
struct OpenSession {
    stream: Arc<TcpStream>,
    /// Where its thread may wait for outcomes.
    slot: Option<Arc<Slot>>,
}

/// The sessions that are open, so that they can be ended.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<u64, OpenSession>>,
    closed: Condvar,
    next: AtomicU64,
}

impl Sessions {
    /// How many are open.
    pub(super) fn len(&self) -> usize {
        lock(&self.open).len()
    }

    /// How many there have been.
    pub(super) fn total(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Notes that a session begins; gives its number.
    pub(super) fn add(&self, stream: &Arc<TcpStream>, slot: Option<&Arc<Slot>>) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let session = OpenSession { stream: Arc::clone(stream), slot: slot.cloned() };
        lock(&self.open).insert(id, session);
        id
    }

    /// Notes that a session has ended.
    pub(super) fn remove(&self, id: u64) {
        lock(&self.open).remove(&id);
        self.closed.notify_all();
    }

    /// Closes the connections of all sessions.
    pub(super) fn shut(&self) {
        for session in lock(&self.open).values() {
            if let Some(slot) = &session.slot {
                slot.give_up();
            }
            let _ = session.stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends all sessions and waits until they have ended, at most until `deadline`.
    pub(super) fn end_all(&self, deadline: Instant) {
        self.shut();
        let mut open = lock(&self.open);
        while !open.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            open = wait_for(&self.closed, open, left);
        }
    }
}
