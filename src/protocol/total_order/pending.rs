//! The messages that are not delivered yet: a heap of timestamps, and for every message one count of
//! acknowledgements.
//!
//! Messages of one origin arrive in the order of their timestamps, so they wait in a queue a stream, and
//! the heap only has to hold the timestamps. An acknowledgement is cumulative ('I hold the messages of
//! origin *o* up to here'), and for each peer and stream it is remembered how far it reaches: so an
//! acknowledgement that is repeated after a reconnection counts once, and one that overtakes its message
//! (it takes another link) is not lost.
//!
//! Cost: an insertion and a delivery are O(log p) in the pending messages p; an acknowledgement is O(1) for
//! each message it newly covers, and so is all acknowledging of a message O(n) together.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::base::{Op, ReplicaId, Timestamp};
use crate::protocol::Violation;
use crate::wire::peer::{Message, StreamPlace};

#[derive(Debug)]
struct Pending {
    message: Message,
    /// How many replicas are known to hold it, its origin and this one included.
    acks: u16,
    /// When the last acknowledgement came.
    complete_since: Option<Duration>,
}

/// What one replica originates.
#[derive(Debug)]
struct Stream {
    queue: VecDeque<Pending>,
    /// The last message of the stream that has come here.
    received: StreamPlace,
    /// How far each replica has acknowledged the stream.
    acked_by: Vec<StreamPlace>,
    bytes: usize,
}

/// All messages that are not delivered yet.
#[derive(Debug)]
pub(super) struct PendingMessages {
    me: ReplicaId,
    replicas: u16,
    heap: BinaryHeap<Reverse<Timestamp>>,
    streams: Vec<Stream>,
    /// How far each replica is known to have delivered; it holds everything up to there.
    delivered_by: Vec<Timestamp>,
}

impl PendingMessages {
    pub(super) fn new(me: ReplicaId, replicas: u16) -> Self {
        let n = usize::from(replicas);
        let stream = || Stream {
            queue: VecDeque::new(),
            received: StreamPlace::default(),
            acked_by: vec![StreamPlace::default(); n],
            bytes: 0,
        };
        Self {
            me,
            replicas,
            heap: BinaryHeap::new(),
            streams: (0..n).map(|_| stream()).collect(),
            delivered_by: vec![Timestamp::ZERO; n],
        }
    }

    /// How far the stream of `origin` has come here.
    pub(super) fn received(&self, origin: ReplicaId) -> StreamPlace {
        self.streams[origin.index()].received
    }

    /// Notes that the stream of `origin` has come this far, for a message that needs no place here.
    pub(super) fn note_received(&mut self, origin: ReplicaId, place: StreamPlace) {
        let received = &mut self.streams[origin.index()].received;
        *received = (*received).max(place);
    }

    /// Takes a message in. `false` when it was here before.
    pub(super) fn insert(&mut self, message: Message, now: Duration) -> Result<bool, Violation> {
        let (ts, place, origin) = (message.ts, message.place(), message.ts.replica);
        let stream = &mut self.streams[origin.index()];
        if place <= stream.received {
            return Ok(false);
        }
        if let Some(last) = stream.queue.back().map(|p| p.message.ts)
            && last >= ts
        {
            return Err(Violation::OutOfOrder { found: ts, last });
        }
        // Its origin holds it, and so does this replica now.
        let mut acks = if origin == self.me { 1 } else { 2 };
        for peer in (0..self.replicas).map(ReplicaId).filter(|p| *p != origin && *p != self.me) {
            let acked = &mut stream.acked_by[peer.index()];
            if *acked >= place || self.delivered_by[peer.index()] >= ts {
                *acked = (*acked).max(place);
                acks += 1;
            }
        }
        stream.received = place;
        stream.bytes += weight(&message.op);
        let complete_since = (acks == self.replicas).then_some(now);
        stream.queue.push_back(Pending { message, acks, complete_since });
        self.heap.push(Reverse(ts));
        Ok(true)
    }

    /// Counts the acknowledgement of `peer` for the messages of `origin` up to `through`.
    pub(super) fn acknowledge(
        &mut self,
        peer: ReplicaId,
        origin: ReplicaId,
        through: StreamPlace,
        now: Duration,
    ) {
        let stream = &mut self.streams[origin.index()];
        let acked = &mut stream.acked_by[peer.index()];
        let from = *acked;
        *acked = from.max(through);
        let first = stream.queue.partition_point(|p| p.message.place() <= from);
        for pending in stream.queue.range_mut(first..) {
            if pending.message.place() > through {
                break;
            }
            pending.count_one(self.replicas, now);
        }
    }

    /// Strikes off what `peer` has acknowledged before it came here. If it still holds those messages, it
    /// will say so again; if it has restarted, it may not hold them any more.
    pub(super) fn strike_early_acks(&mut self, peer: ReplicaId) {
        for stream in &mut self.streams {
            let acked = &mut stream.acked_by[peer.index()];
            *acked = (*acked).min(stream.received);
        }
    }

    /// Counts the acknowledgement of `peer` for all that it has delivered: it holds everything up to `ts`.
    pub(super) fn acknowledge_delivered(&mut self, peer: ReplicaId, ts: Timestamp, now: Duration) {
        self.delivered_by[peer.index()] = ts;
        for origin in (0..self.replicas).map(ReplicaId).filter(|o| *o != peer) {
            let queue = &self.streams[origin.index()].queue;
            let covered = queue.partition_point(|p| p.message.ts <= ts);
            if let Some(last) = covered.checked_sub(1).map(|i| queue[i].message.place()) {
                self.acknowledge(peer, origin, last, now);
            }
        }
    }

    /// The next message in the total order, if every replica has acknowledged it at least `delay` ago.
    pub(super) fn pop_deliverable(&mut self, now: Duration, delay: Duration) -> Option<Message> {
        if self.ripe_at(delay)? > now {
            return None;
        }
        let Reverse(ts) = self.heap.pop()?;
        self.pop_front(ts)
    }

    /// When the head of the heap can be delivered; `None` while an acknowledgement is missing.
    pub(super) fn ripe_at(&self, delay: Duration) -> Option<Duration> {
        let Reverse(ts) = self.heap.peek()?;
        let head = self.streams[ts.replica.index()].queue.front()?;
        debug_assert_eq!(head.message.ts, *ts, "a stream's queue is in the heap's order");
        let since = head.complete_since?;
        Some(if head.message.prompt { since } else { since + delay })
    }

    /// Forgets all messages up to `ts`, which the store holds already.
    pub(super) fn drop_through(&mut self, ts: Timestamp) {
        while let Some(Reverse(head)) = self.heap.peek().copied()
            && head <= ts
        {
            self.heap.pop();
            self.pop_front(head);
        }
    }

    fn pop_front(&mut self, ts: Timestamp) -> Option<Message> {
        let stream = &mut self.streams[ts.replica.index()];
        let message = stream.queue.pop_front()?.message;
        stream.bytes -= weight(&message.op);
        Some(message)
    }

    /// The waiting messages of one origin behind a place, in order.
    pub(super) fn of(
        &self,
        origin: ReplicaId,
        behind: StreamPlace,
    ) -> impl Iterator<Item = &Message> + '_ {
        let queue = &self.streams[origin.index()].queue;
        let first = queue.partition_point(|p| p.message.place() <= behind);
        queue.range(first..).map(|p| &p.message)
    }

    /// How many messages of one origin wait, and about how many bytes they take.
    pub(super) fn load(&self, origin: ReplicaId) -> (usize, usize) {
        let stream = &self.streams[origin.index()];
        (stream.queue.len(), stream.bytes)
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

impl Pending {
    fn count_one(&mut self, replicas: u16, now: Duration) {
        self.acks += 1;
        debug_assert!(self.acks <= replicas, "a replica's acknowledgement was counted twice");
        if self.acks == replicas {
            self.complete_since = Some(now);
        }
    }
}

/// About how many bytes a message with this operation keeps in memory.
pub(super) fn weight(op: &Op) -> usize {
    let payload = match op {
        Op::Store { key, value, .. } => key.len() + value.data.len(),
        Op::StoreMany(entries) => {
            entries.iter().map(|(key, value)| key.len() + value.data.len() + 64).sum()
        }
        Op::Concat { key, data, .. } => key.len() + data.len(),
        Op::Count { key, .. } => key.len(),
        Op::Touch { keys, .. } | Op::Delete { keys } => keys.iter().map(|k| k.len() + 16).sum(),
        Op::FlushAll { .. } => 0,
    };
    size_of::<Pending>() + payload
}
