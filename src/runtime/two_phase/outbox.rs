//! What waits to be sent on one connection, in order, by whoever has it.
//!
//! Places in the queue are taken in advance ([`Outbox::owe`]) and filled in any order ([`Outbox::fill`]): replies
//! leave in the order of the requests, whichever command ends first. The thread that fills the front place
//! sends, together with all that is ready behind it, and without waiting ([`Outbox::flush`]). Only when the
//! other side does not take it, a thread is begun that waits there and ends with the last byte.
//!
//! What is held beyond [`LARGE`] bytes is taken from a budget.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use tracing::warn;

use crate::runtime::budget::{Budget, LARGE};
use crate::runtime::link::{Sent, send_without_waiting};
use crate::runtime::sessions::SESSION_STACK;
use crate::runtime::sync::{lock, wait_for};

/// How many pieces one thread sends in a row; a client that takes them as fast as others fill more in would keep it.
const MOST_SENDS: usize = 16;

/// How much is written at once.
const PIECE: usize = 1 << 20;

/// Bytes to be sent.
#[derive(Debug)]
pub(super) enum Bytes {
    /// These.
    Own(Vec<u8>),
    /// Those that a value has; not copied.
    Shared(Arc<Vec<u8>>),
    /// A few that are always the same.
    Fixed(&'static [u8]),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Fixed(bytes) => bytes,
        }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.get().len()
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// The number of the place at the front of `places`.
    first: u64,
    /// `None` for what is still owed.
    places: VecDeque<Option<Bytes>>,
    /// What may be sent.
    ready: VecDeque<Bytes>,
    /// How many bytes are held: in both, and what is being written.
    held: usize,
    /// How much of that is taken from the budget.
    lent: usize,
    /// Somebody writes what it has taken off the front of `ready`, and looks for more before it ends.
    writing: bool,
    /// The connection ends when all is sent.
    last: bool,
    /// The connection is lost.
    lost: bool,
    /// Somebody waits for a change.
    waiting: bool,
}

/// The outgoing half of a connection.
#[derive(Debug)]
pub(super) struct Outbox {
    stream: Arc<TcpStream>,
    budget: Arc<Budget>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let queue = self.queue.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.budget.give_back(queue.lent);
    }
}

impl Outbox {
    pub(super) fn new(stream: Arc<TcpStream>, budget: Arc<Budget>) -> Self {
        Self { stream, budget, queue: Mutex::default(), changed: Condvar::new() }
    }

    /// Takes `n` places at the end; gives the number of the first.
    pub(super) fn owe(&self, n: usize) -> u64 {
        let mut queue = lock(&self.queue);
        let number = queue.first + queue.places.len() as u64;
        let places = queue.places.len() + n;
        queue.places.resize_with(places, || None);
        number
    }

    /// Fills a place. What finds no memory is replaced by `instead`.
    pub(super) fn fill(&self, number: u64, bytes: Bytes, instead: &'static [u8]) {
        let mut queue = lock(&self.queue);
        if queue.lost {
            return;
        }
        let mut bytes = bytes;
        let Queue { held, lent, .. } = &mut *queue;
        if bytes.len() > instead.len() && !self.budget.covers(*held + bytes.len(), lent) {
            bytes = Bytes::Fixed(instead);
        }
        queue.held += bytes.len();
        let at = usize::try_from(number.wrapping_sub(queue.first)).unwrap_or(usize::MAX);
        if let Some(place) = queue.places.get_mut(at) {
            *place = Some(bytes);
        }
        while let Some(Some(_)) = queue.places.front() {
            queue.first += 1;
            if let Some(Some(bytes)) = queue.places.pop_front() {
                queue.add(bytes);
            }
        }
        self.tell(&mut queue);
    }

    /// Adds bytes at the end. `false` when there is no memory for them: the connection is useless then.
    pub(super) fn push(&self, bytes: Vec<u8>) -> bool {
        let mut queue = lock(&self.queue);
        if queue.lost {
            return true;
        }
        let Queue { held, lent, .. } = &mut *queue;
        if !self.budget.covers(*held + bytes.len(), lent) {
            return false;
        }
        queue.held += bytes.len();
        queue.add(Bytes::Own(bytes));
        true
    }

    /// Sends what is ready as far as the other side takes it, without waiting.
    ///
    /// The queue is not locked meanwhile: what is sent wakes the client, and its next request would find the lock
    /// taken.
    pub(super) fn flush(self: &Arc<Self>) {
        let mut queue = lock(&self.queue);
        let mut sends = 0;
        while let Some(bytes) = queue.take() {
            sends += 1;
            if sends > MOST_SENDS {
                return self.write_elsewhere(&mut queue, bytes, 0);
            }
            drop(queue);
            let mut sent = 0;
            let outcome = send_without_waiting(&self.stream, bytes.get(), &mut sent);
            queue = lock(&self.queue);
            match outcome {
                Sent::All => queue.gone(bytes.len(), &self.budget),
                Sent::Lost => self.lose(&mut queue),
                Sent::Blocked => return self.write_elsewhere(&mut queue, bytes, sent),
            }
        }
        self.rest(&mut queue);
    }

    /// Nothing can be written now.
    fn rest(&self, queue: &mut Queue) {
        if queue.last && !queue.writing && queue.places.is_empty() && queue.ready.is_empty() {
            self.lose(queue);
        }
        self.tell(queue);
    }

    /// Begins a thread that waits until the other side takes the rest of `bytes`.
    fn write_elsewhere(self: &Arc<Self>, queue: &mut Queue, bytes: Bytes, from: usize) {
        let its = Arc::clone(self);
        let spawned = thread::Builder::new()
            .name("2pc-writer".to_owned())
            .stack_size(SESSION_STACK)
            .spawn(move || its.write(bytes, from));
        if let Err(error) = spawned {
            warn!("cannot start a thread for a slow connection, which is closed: {error}");
            self.lose(queue);
        }
        self.tell(queue);
    }

    /// The next flush closes the connection as soon as everything owed is sent.
    pub(super) fn end(&self) {
        lock(&self.queue).last = true;
    }

    /// Closes the connection at once.
    pub(super) fn close(&self) {
        let mut queue = lock(&self.queue);
        self.lose(&mut queue);
        self.tell(&mut queue);
    }

    /// Waits until fewer than `owed` replies are owed and fewer than `held` bytes wait; `None` once the
    /// connection is lost; `Some(false)` if that is not so within the time.
    pub(super) fn wait(&self, owed: usize, held: usize, at_most: Duration) -> Option<bool> {
        let mut queue = lock(&self.queue);
        let good = |queue: &Queue| queue.places.len() < owed && queue.held < held;
        if !queue.lost && !good(&queue) {
            queue.waiting = true;
            queue = wait_for(&self.changed, queue, at_most);
        }
        (!queue.lost).then(|| good(&queue))
    }

    fn tell(&self, queue: &mut Queue) {
        if std::mem::take(&mut queue.waiting) {
            self.changed.notify_all();
        }
    }

    fn lose(&self, queue: &mut Queue) {
        let _ = self.stream.shutdown(Shutdown::Both);
        queue.lost = true;
        queue.ready.clear();
        queue.places.clear();
        queue.held = 0;
        self.budget.give_back(std::mem::take(&mut queue.lent));
    }

    /// The body of the thread that waits where [`Outbox::flush`] must not.
    fn write(&self, mut bytes: Bytes, mut from: usize) {
        loop {
            let written = write_pieces(&self.stream, &bytes.get()[from..]);
            let mut queue = lock(&self.queue);
            match written {
                Ok(()) => queue.gone(bytes.len(), &self.budget),
                Err(_) => self.lose(&mut queue),
            }
            match queue.take() {
                Some(next) => (bytes, from) = (next, 0),
                None => return self.rest(&mut queue),
            }
            self.tell(&mut queue);
        }
    }
}

impl Queue {
    /// Adds to what may be sent; what is short joins what is there.
    fn add(&mut self, bytes: Bytes) {
        let short = bytes.len() <= LARGE / 16;
        match self.ready.back_mut() {
            Some(Bytes::Own(last)) if short && last.len() < LARGE => {
                last.extend_from_slice(bytes.get());
            }
            _ if short && !matches!(bytes, Bytes::Own(_)) => {
                self.ready.push_back(Bytes::Own(bytes.get().to_vec()));
            }
            _ => self.ready.push_back(bytes),
        }
    }

    /// What is to be written next, by the caller; `None` when there is nothing, or another writes.
    fn take(&mut self) -> Option<Bytes> {
        if self.writing {
            return None;
        }
        let bytes = self.ready.pop_front()?;
        self.writing = true;
        Some(bytes)
    }

    /// So many bytes have been written, and are no longer held.
    fn gone(&mut self, bytes: usize, budget: &Budget) {
        self.writing = false;
        // A connection that is lost holds nothing.
        self.held = self.held.saturating_sub(bytes);
        let needed = self.held.saturating_sub(LARGE);
        if self.lent > needed {
            budget.give_back(self.lent - needed);
            self.lent = needed;
        }
    }
}

/// Writes all, in pieces, so that each that is taken counts as a sign of life for the timeout.
fn write_pieces(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    bytes.chunks(PIECE).try_for_each(|piece| stream.write_all(piece))
}
