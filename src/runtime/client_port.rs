//! The client port: accepts clients and gives each a session with a thread of its own.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

use super::ports::accept_loop;
use super::replica::Replica;
use super::session::Session;
use super::slot::Slot;
use super::sync::{lock, wait_for};

/// A session touches little of its stack; many sessions share the address space.
const SESSION_STACK: usize = 256 * 1024;

/// How long a client that does not read its replies holds its thread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What it takes to end a session.
#[derive(Debug)]
struct OpenSession {
    stream: Arc<TcpStream>,
    slot: Arc<Slot>,
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

    fn add(&self, stream: &Arc<TcpStream>, slot: &Arc<Slot>) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let session = OpenSession { stream: Arc::clone(stream), slot: Arc::clone(slot) };
        lock(&self.open).insert(id, session);
        id
    }

    fn remove(&self, id: u64) {
        lock(&self.open).remove(&id);
        self.closed.notify_all();
    }

    /// Closes the connections of all sessions.
    pub(super) fn shut(&self) {
        for session in lock(&self.open).values() {
            session.slot.give_up();
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

/// The body of the client-port thread.
pub(super) fn listen(replica: &Arc<Replica>, listener: &TcpListener) {
    accept_loop(replica, listener, "client port", |stream| {
        if replica.sessions.len() >= replica.settings.max_connections {
            refuse(&stream, "too many open connections");
            return;
        }
        let stream = Arc::new(stream);
        let slot = Arc::new(Slot::default());
        let id = replica.sessions.add(&stream, &slot);
        let its_replica = Arc::clone(replica);
        let its_stream = Arc::clone(&stream);
        let spawned = thread::Builder::new()
            .name(format!("r{}-session", replica.id))
            .stack_size(SESSION_STACK)
            .spawn(move || {
                let _ = its_stream.set_nodelay(true);
                let _ = its_stream.set_write_timeout(Some(WRITE_TIMEOUT));
                Session::new(&its_replica, &its_stream, slot, id).run();
                its_replica.sessions.remove(id);
            });
        if let Err(error) = spawned {
            warn!("replica {}: cannot start a thread for a client: {error}", replica.id);
            replica.sessions.remove(id);
            refuse(&stream, "out of threads");
        }
    });
}

/// Tells a client why it is turned away. The words are memcached's; a RESP client sees them as an error too,
/// because it has not been heard yet.
fn refuse(mut stream: &TcpStream, why: &str) {
    // A new socket's buffer has room for one line; if it has not, the client learns from the close.
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    let _ = stream.write_all(format!("SERVER_ERROR {why}\r\n").as_bytes());
}
