//! Links as TCP gives them: connections that are dialled, FIFO streams, and data that is lost with its
//! connection.
//!
//! A partition loses no data: the sender's system sends again until the partition is over or the
//! connection is given up. A connection that breaks takes along all that was on its way. Whoever gets
//! something of a connection that it does not have answers with a reset.

use super::plan::{Delay, MS};
use super::random::{Concern, Stream};

/// How long a dial may take.
pub(super) const DIAL_TIMEOUT: u64 = 500 * MS;

/// How long after a failed dial, or a lost link, the next is tried.
pub(super) const REDIAL: u64 = 50 * MS;

/// What travels over a link.
#[derive(Debug)]
pub(super) enum Payload {
    /// A connection is asked for, with a greeting.
    Open(Vec<u8>),
    /// It is granted, with a greeting.
    Accept(Vec<u8>),
    /// Frames.
    Data { bytes: Vec<u8>, message: u32 },
    /// The connection is over.
    Close,
}

/// One direction between two replicas.
#[derive(Debug)]
pub(super) struct Link {
    delay: Delay,
    stream: Stream,
    /// When the last that was sent arrives.
    pub last: u64,
    /// By how many faults nothing passes.
    pub blocked: u32,
    /// How much longer everything takes.
    pub slower: u64,
    /// What is of this session or an earlier one is lost.
    pub severed: u32,
    /// What waits for the end of a partition.
    held: Vec<(u32, Payload)>,
    /// The session that the replica at its beginning has with the one at its end; 0 is none.
    pub session: u32,
    /// The session that it is dialling for, and when it gives up.
    pub dialling: Option<(u32, u64)>,
    /// When it dials next.
    pub dials_at: Option<u64>,
}

impl Link {
    pub fn new(seed: u64, number: u64, delay: Delay) -> Self {
        Self {
            delay,
            stream: Stream::new(seed, Concern::Link(number)),
            last: 0,
            blocked: 0,
            slower: 0,
            severed: 0,
            held: Vec::new(),
            session: 0,
            dialling: None,
            dials_at: None,
        }
    }

    /// Forgets what waits: its sender's system is gone.
    pub fn forget(&mut self) {
        self.held.clear();
        self.session = 0;
        self.dialling = None;
        self.dials_at = None;
    }

    /// Puts something on it: when it arrives, or `None` where it waits for the end of a partition. With `fifo`
    /// nothing overtakes; without, frames do.
    pub fn send(
        &mut self,
        now: u64,
        fifo: bool,
        session: u32,
        payload: Payload,
    ) -> Option<(u64, Payload)> {
        if self.blocked > 0 {
            self.held.push((session, payload));
            return None;
        }
        let mut at = now + self.takes();
        if fifo || !matches!(payload, Payload::Data { .. }) {
            at = at.max(self.last);
        }
        self.last = at.max(self.last);
        Some((at, payload))
    }

    /// What waited for the end of a partition.
    pub fn take_held(&mut self) -> Vec<(u32, Payload)> {
        std::mem::take(&mut self.held)
    }

    /// How long something new takes.
    pub fn takes(&mut self) -> u64 {
        self.delay.base + self.stream.time(self.delay.shape, self.delay.jitter) + self.slower
    }
}
