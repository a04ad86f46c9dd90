//! The messages that are not delivered yet: a heap of timestamps, and for every message the
//! acknowledgements that have been counted for it.
//!
//! Messages of one origin carry rising timestamps and normally arrive in that order, so they wait in a queue
//! a stream, and the heap only has to hold the timestamps. An acknowledgement is cumulative ('I hold the
//! messages of origin *o* up to here, without a gap'); for each peer and stream it is remembered how far it
//! reaches, so one that overtakes its message (it takes another link) is not lost. Which replicas have
//! acknowledged a message is kept as a set of bits whose size is the count: an acknowledgement that is
//! repeated after a reconnection counts once.
//!
//! Messages that a peer passes on for another may leave a gap. They are kept, and acknowledged when the
//! gap is closed; until then they cannot be delivered anywhere.
//!
//! Cost: an insertion and a delivery are O(log p) in the pending messages p; an acknowledgement is O(1) for
//! each message it newly covers, and so is all acknowledging of a message O(n) together.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::marker::PhantomData;
use std::time::Duration;

use super::Rules;
use crate::base::limits::MAX_REPLICAS;
use crate::base::{Op, ReplicaId, Timestamp};
use crate::protocol::Violation;
use crate::wire::peer::{Message, StreamPlace};

#[derive(Clone, Debug)]
struct Pending {
    message: Message,
    /// The replicas that are known to hold it.
    acks: AckSet,
    /// When the last acknowledgement came.
    complete_since: Option<Duration>,
}

/// A set of replicas.
#[derive(Clone, Copy, Debug, Default)]
struct AckSet(u128);

const _: () = assert!(MAX_REPLICAS as u32 <= u128::BITS, "an AckSet has a bit for each replica");

impl AckSet {
    fn add(&mut self, replica: ReplicaId) {
        self.0 |= 1 << replica.0;
    }
}

/// A place in the order of delivery; as small as the timestamp alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    time: u64,
    tie: u32,
    replica: ReplicaId,
}

impl Place {
    fn ts(self) -> Timestamp {
        Timestamp::new(self.time, self.replica)
    }
}

/// What one replica originates.
#[derive(Clone, Debug)]
struct Stream {
    queue: VecDeque<Pending>,
    /// The last message of the stream that has come here without a gap before it.
    received: StreamPlace,
    /// How far each replica has acknowledged the stream.
    acked_by: Vec<StreamPlace>,
    bytes: usize,
}

/// All messages that are not delivered yet.
#[derive(Clone, Debug)]
pub(super) struct PendingMessages<R> {
    me: ReplicaId,
    replicas: u16,
    heap: BinaryHeap<Reverse<Place>>,
    /// How many messages have come, modulo 2³².
    arrivals: u32,
    streams: Vec<Stream>,
    /// How far each replica is known to have delivered; it holds everything up to there.
    delivered_by: Vec<Timestamp>,
    rules: PhantomData<R>,
}

impl<R: Rules> PendingMessages<R> {
    pub(super) fn new(me: ReplicaId, replicas: u16) -> Self {
        assert!(replicas <= MAX_REPLICAS, "a cluster has at most {MAX_REPLICAS} replicas");
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
            arrivals: 0,
            streams: (0..n).map(|_| stream()).collect(),
            delivered_by: vec![Timestamp::ZERO; n],
            rules: PhantomData,
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

    /// The last place in the stream of `origin` that is known here, behind a gap or not.
    pub(super) fn last_place(&self, origin: ReplicaId) -> StreamPlace {
        let stream = &self.streams[origin.index()];
        stream.queue.back().map_or(stream.received, |p| p.message.place().max(stream.received))
    }

    /// Takes a message in that is not delivered yet. `false` when it was here before.
    pub(super) fn insert(
        &mut self,
        message: Message,
        delivered: Timestamp,
        now: Duration,
    ) -> Result<bool, Violation> {
        let (ts, place, origin) = (message.ts, message.place(), message.ts.replica);
        let stream = &mut self.streams[origin.index()];
        let at = match stream.queue.back() {
            Some(last) if last.message.ts >= ts => {
                stream.queue.partition_point(|p| p.message.ts < ts)
            }
            _ => stream.queue.len(),
        };
        match stream.queue.get_mut(at) {
            Some(known) if known.message.ts == ts => {
                // Its origin has found out that what it followed is gone for good.
                if message.prev < known.message.prev {
                    known.message.prev = message.prev;
                    self.close_gap(origin, delivered, now);
                }
                return Ok(false);
            }
            Some(next) if next.message.place() <= place => {
                return Err(Violation::OutOfOrder { found: ts, last: next.message.ts });
            }
            _ => {}
        }
        let mut acks = AckSet::default();
        acks.add(origin);
        for peer in (0..self.replicas).map(ReplicaId) {
            let early = stream.acked_by[peer.index()] >= place;
            if early || self.delivered_by[peer.index()] >= ts {
                acks.add(peer);
            }
        }
        stream.bytes += weight(&message.op);
        stream.queue.insert(at, Pending { message, acks, complete_since: None });
        self.arrivals = self.arrivals.wrapping_add(1);
        let tie = R::tie(ts, self.arrivals);
        self.heap.push(Reverse(Place { time: ts.time, tie, replica: origin }));
        self.close_gap(origin, delivered, now);
        Ok(true)
    }

    /// Counts this replica's own acknowledgement as far as the stream of `origin` is without a gap.
    fn close_gap(&mut self, origin: ReplicaId, delivered: Timestamp, now: Duration) {
        let stream = &mut self.streams[origin.index()];
        let first = match stream.queue.back() {
            // The usual case: one more at the end of a stream without a gap.
            Some(last) if last.message.prev == stream.received => stream.queue.len() - 1,
            _ => stream.queue.partition_point(|p| p.message.place() <= stream.received),
        };
        for pending in stream.queue.range_mut(first..) {
            let prev = pending.message.prev;
            if prev > stream.received && Timestamp::new(prev.time, origin) > delivered {
                break;
            }
            stream.received = pending.message.place();
            pending.acknowledged_by::<R>(self.me, self.me, self.replicas, now);
        }
    }

    /// What is missing from the own stream is gone for good: what comes behind such a gap follows now what is
    /// here. Gives the messages that this concerns; the others have to learn it.
    pub(super) fn close_own_gaps(&mut self, delivered: Timestamp, now: Duration) -> Vec<Message> {
        let me = self.me;
        let stream = &mut self.streams[me.index()];
        let behind = stream.queue.partition_point(|p| p.message.place() <= stream.received);
        let mut joined = Vec::new();
        for pending in stream.queue.range_mut(behind..) {
            let prev = pending.message.prev;
            if prev > stream.received && Timestamp::new(prev.time, me) > delivered {
                pending.message.prev = stream.received;
                joined.push(pending.message.clone());
            }
            stream.received = pending.message.place();
            pending.acknowledged_by::<R>(me, me, self.replicas, now);
        }
        joined
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
            pending.acknowledged_by::<R>(peer, self.me, self.replicas, now);
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
        for stream in &mut self.streams {
            for pending in stream.queue.iter_mut().take_while(|p| p.message.ts <= ts) {
                pending.acknowledged_by::<R>(peer, self.me, self.replicas, now);
            }
        }
    }

    /// The next message in the total order, if every replica has acknowledged it at least `delay` ago.
    pub(super) fn pop_deliverable(&mut self, now: Duration, delay: Duration) -> Option<Message> {
        if self.ripe_at(delay)? > now {
            return None;
        }
        let Reverse(place) = self.heap.pop()?;
        self.pop_front(place.ts())
    }

    /// When the head of the heap can be delivered; `None` while an acknowledgement is missing.
    pub(super) fn ripe_at(&self, delay: Duration) -> Option<Duration> {
        let Reverse(place) = self.heap.peek()?;
        let head = self.streams[place.replica.index()].queue.front()?;
        debug_assert_eq!(head.message.ts, place.ts(), "a stream's queue is in the heap's order");
        let since = head.complete_since?;
        Some(if head.message.prompt { since } else { since + delay })
    }

    /// Forgets all messages up to `ts`, which the store holds already.
    pub(super) fn drop_through(&mut self, ts: Timestamp, now: Duration) {
        while let Some(Reverse(head)) = self.heap.peek().copied()
            && head.ts() <= ts
        {
            self.heap.pop();
            self.pop_front(head.ts());
        }
        for origin in (0..self.replicas).map(ReplicaId) {
            self.close_gap(origin, ts, now);
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
    fn acknowledged_by<R: Rules>(
        &mut self,
        replica: ReplicaId,
        me: ReplicaId,
        replicas: u16,
        now: Duration,
    ) {
        self.acks.add(replica);
        if self.complete_since.is_none() && R::is_complete(self.acks.0, me, replicas) {
            self.complete_since = Some(now);
        }
    }
}

/// About how many bytes a message with this operation keeps in memory.
pub(in crate::protocol) fn weight(op: &Op) -> usize {
    let payload = match op {
        Op::Store { key, value, .. } => key.len() + value.data.len(),
        Op::StoreMany(entries) => {
            entries.iter().map(|(key, value)| key.len() + value.data.len() + 64).sum()
        }
        Op::Concat { key, data, .. } => key.len() + data.len(),
        Op::Count { key, .. } => key.len(),
        Op::Touch { keys, .. } | Op::Delete { keys } => keys.iter().map(|k| k.len() + 16).sum(),
        Op::FlushAll { .. } | Op::OpenSession => 0,
        Op::Once { op, .. } => return weight(op),
    };
    size_of::<Pending>() + payload
}
