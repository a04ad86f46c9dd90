//! Total-order broadcast with Lamport timestamps; the modes `eventual` and `sequential`.
//!
//! # The algorithm
//!
//! A replica that takes a write draws a timestamp `(time, replica)` from its Lamport clock and sends the
//! write to all. Whoever receives it puts it into a heap ordered by timestamp and sends an
//! acknowledgement to all. A message is *delivered* (executed, in every replica's own copy) when it is
//! at the head of the heap and all replicas have acknowledged it. The sending of a message is its
//! origin's acknowledgement.
//!
//! # Why it is correct
//!
//! Links are FIFO. When replica *i* counts the acknowledgement of *j* for message *m*, all that *j* had
//! originated before has come already; and all that *j* originates later is timestamped later than *m*,
//! because the receipt of *m* moved *j*'s clock. So once all have acknowledged the head of the heap, no
//! message with a smaller timestamp can still come from anywhere, and all replicas deliver the same
//! messages in the same order. Sequential mode answers a client when its own replica has delivered the
//! write; with local reads every client then sees its own writes, in an order that all clients share.
//!
//! # What it costs
//!
//! With *n* replicas: n-1 messages and (n-1)² acknowledgements a write (2 and 4 for three replicas), and two
//! hops until the origin delivers. Acknowledgements are cumulative, one for all messages that came in one
//! batch, and those that no client waits for gather for a millisecond, so under load their number
//! shrinks; the other replicas deliver that much later than the origin. One absent replica stops all
//! deliveries: this is total-order broadcast, not consensus. Memory is bounded by the backlog of each
//! replica.
//!
//! # Lost links, lost memories
//!
//! TCP connections break, and a killed replica loses all but its `storage.txt`. When a link comes up, both
//! sides say [`Hello`]: how much they have delivered and how far they have each replica's stream. Each
//! then sends all that it holds undelivered and the other lacks, its acknowledgements, and
//! [`Frame::Synced`] with the position it has delivered up to. A message that comes from another than its
//! origin is passed on to all. A replica that has started acknowledges, originates and delivers nothing
//! until
//!
//! 1. every peer has said `Synced` while all were linked to the same lives of each other: so its clock is
//!    past everything it acknowledged in its earlier life, it has again the own messages that any peer
//!    holds, and nothing that an earlier life of some replica has sent can still turn up anywhere; and
//! 2. it has fetched the deliveries it missed out of the most advanced peer's `storage.txt`.
//!
//! Then it is *live*, in a new incarnation. A gap that its own stream still has then is final: every peer has
//! sent what it holds, and what any has delivered is here, so the missing message was lost with the unsynced
//! bytes of all who had it. The replica makes what lies behind follow what is left, and says so to all. Only
//! the origin can know this: in another's stream, what is missing may still be under way. Its
//! acknowledgements of an earlier life still count, and safely so: a peer that could deliver by them had delivered the message, or held it, when it said `Synced`; and
//! an acknowledgement of a message that the peer did not hold then is struck off. A message is delivered
//! only when all had acknowledged it, so the delivered messages of all replicas are prefixes of one
//! sequence, and one surviving copy of the longest is enough. The rule 'from every peer' costs availability
//! only where two replicas are away.
//!
//! Source: L. Lamport, *Time, Clocks, and the Ordering of Events in a Distributed System*, CACM 1978, with the
//! acknowledgements counted a message instead of compared with the latest from each process.

mod pending;
pub mod rules;
mod sync;

use std::time::Duration;

use super::{Effects, Event, Protocol, Refusal, Setup, Status, Violation};
use crate::base::{LamportClock, Now, Op, ReplicaId, Timestamp};
use crate::wire::peer::{Frame, Hello, Message, StreamPlace, Synced};
use pending::PendingMessages;
pub(super) use pending::weight;
pub use rules::{Lamport, Rules};
use sync::{Peer, Phase};

/// How long acknowledgements for those who do not wait for them gather, to go out together.
///
/// A client waits for the acknowledgements that go to its own replica. Those to a replica without own writes
/// under way only bring its deliveries forward; sent one by one they took a third of all wake-ups.
const ACK_TOGETHER: Duration = Duration::from_millis(1);

/// One replica's share in total-order broadcast, under these rules.
#[derive(Clone, Debug)]
pub struct TotalOrder<R: Rules = Lamport> {
    setup: Setup,
    clock: LamportClock,
    incarnation: u64,
    phase: Phase,
    peers: Vec<Peer>,
    pending: PendingMessages<R>,
    /// How many messages have been delivered, and the last of them.
    position: u64,
    delivered: Timestamp,
    /// Messages have come since the last acknowledgement.
    unacknowledged: bool,
    /// The replica has just become live: what is missing from its own stream is gone for good.
    own_gaps_are_final: bool,
    /// When those peers that do not wait for acknowledgements are due to get them.
    ack_all_at: Option<Duration>,
}

/// The machine behind `eventual` and `sequential`; they differ only in when a client is answered.
pub fn build(setup: Setup) -> Box<dyn Protocol> {
    build_with::<Lamport>(setup)
}

/// The same machine under other rules, for those who want to see what a rule is good for.
pub fn build_with<R: Rules>(setup: Setup) -> Box<dyn Protocol> {
    Box::new(TotalOrder::<R>::new(setup))
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

impl<R: Rules> TotalOrder<R> {
    /// A machine that starts from what an earlier life left behind.
    pub fn new(mut setup: Setup) -> Self {
        let recovered = std::mem::take(&mut setup.recovered);
        let n = usize::from(setup.replicas);
        let mut machine = Self {
            clock: LamportClock::new(setup.me),
            incarnation: recovered.incarnation,
            phase: Phase::Joining,
            peers: vec![Peer::new(n); n],
            pending: PendingMessages::new(setup.me, setup.replicas),
            position: recovered.position,
            delivered: recovered.delivered,
            unacknowledged: false,
            own_gaps_are_final: false,
            ack_all_at: None,
            setup,
        };
        machine.clock.observe(machine.delivered.time);
        for message in recovered.pending {
            machine.clock.observe(message.ts.time);
            // The disk holds them in order; one that were not would have been refused there.
            let _ = machine.pending.insert(message, machine.delivered, Duration::ZERO);
        }
        machine
    }

    fn me(&self) -> ReplicaId {
        self.setup.me
    }

    fn everyone(&self) -> impl Iterator<Item = ReplicaId> + Clone + use<R> {
        (0..self.setup.replicas).map(ReplicaId)
    }

    fn others(&self) -> impl Iterator<Item = ReplicaId> + Clone + use<R> {
        let me = self.me();
        self.everyone().filter(move |id| *id != me)
    }

    fn open_peers(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.others().filter(|id| self.peers[id.index()].open)
    }

    fn broadcast(&self, message: &Message, fx: &mut Effects) {
        for peer in self.open_peers() {
            fx.send_write(peer, message);
        }
    }

    fn on_write(
        &mut self,
        now: Now,
        peer: ReplicaId,
        message: Message,
        fx: &mut Effects,
    ) -> Result<(), Violation> {
        let origin = self.known(message.ts.replica)?;
        self.observe(message.ts.time)?;
        self.unacknowledged = true;
        let missed = !R::keeps_meanwhile() && matches!(self.phase, Phase::CatchingUp(_));
        if missed || R::is_delivered(message.ts, self.delivered) {
            self.pending.note_received(origin, message.place());
            return Ok(());
        }
        if origin == peer {
            self.pending.insert(message, self.delivered, now.since_start)?;
        } else if self.pending.insert(message.clone(), self.delivered, now.since_start)? {
            if origin == self.me() && self.setup.remember_own {
                // An own message whose note was lost comes back. What this replica originates from here on
                // lies behind it in its stream, so it must be on the disk before that.
                fx.remember.push((message.ts, encoded(&message)));
            }
            // A peer kept it, and its origin may have lost it (this replica itself, if it is the origin).
            // It goes on to all, so that whoever has said `Synced` before has not said too little.
            for other in self.open_peers().filter(|other| *other != peer) {
                fx.send_write(other, &message);
            }
        }
        Ok(())
    }

    fn on_ack(
        &mut self,
        now: Now,
        peer: ReplicaId,
        origin: ReplicaId,
        through: StreamPlace,
    ) -> Result<(), Violation> {
        self.known(origin)?;
        if origin == peer {
            return Err(Violation::Unexpected("acknowledgement of its own messages"));
        }
        self.observe(through.time)?;
        self.pending.acknowledge(peer, origin, through, now.since_start);
        Ok(())
    }

    fn known(&self, id: ReplicaId) -> Result<ReplicaId, Violation> {
        if id.0 < self.setup.replicas { Ok(id) } else { Err(Violation::UnknownReplica(id)) }
    }

    /// Acknowledges what has come since the last time: one frame a stream, however many messages. A peer that
    /// has messages of its own under way is told at once, because its clients may be waiting for it; the
    /// others when it is due.
    fn acknowledge_new(&mut self, now: Now, fx: &mut Effects) {
        let due = self.ack_all_at.is_some_and(|at| at <= now.since_start);
        if due {
            self.ack_all_at = None;
        } else if !std::mem::take(&mut self.unacknowledged) {
            return;
        }
        let peers: Vec<ReplicaId> = self.open_peers().collect();
        for peer in peers {
            if due || self.pending.load(peer).0 > 0 {
                self.acknowledge_to(peer, fx);
            } else {
                self.ack_all_at.get_or_insert(now.since_start + ACK_TOGETHER);
            }
        }
    }

    /// Tells a peer how far this replica holds each stream, where that is news to it.
    fn acknowledge_to(&mut self, peer: ReplicaId, fx: &mut Effects) {
        for origin in self.others() {
            let through = self.pending.received(origin);
            let told = &mut self.peers[peer.index()].told[origin.index()];
            if through > *told {
                *told = through;
                fx.send(peer, &Frame::Ack { origin, through });
            }
        }
    }

    /// Takes notice of a time from outside.
    fn observe(&mut self, time: u64) -> Result<(), Violation> {
        if time > Timestamp::GREATEST_TIME {
            return Err(Violation::Time(time));
        }
        R::observe(&mut self.clock, time);
        Ok(())
    }
}

impl<R: Rules> Protocol for TotalOrder<R> {
    fn connected(&mut self, peer: ReplicaId, fx: &mut Effects) {
        self.peers[peer.index()] = Peer::new(self.peers.len());
        let hello = Hello {
            life: self.setup.life,
            position: self.position,
            delivered: self.delivered,
            clock: self.clock.time(),
            have: self.everyone().map(|origin| self.pending.received(origin)).collect(),
        };
        fx.send(peer, &Frame::Hello(hello));
    }

    fn disconnected(&mut self, peer: ReplicaId, fx: &mut Effects) {
        self.peers[peer.index()] = Peer::new(self.peers.len());
        self.lost_source(peer, fx);
    }

    fn submit(
        &mut self,
        now: Now,
        op: Op,
        prompt: bool,
        fx: &mut Effects,
    ) -> Result<Timestamp, Refusal> {
        if let Some(refusal) = self.not_live() {
            return Err(refusal);
        }
        let (writes, bytes) = self.pending.load(self.me());
        if writes >= self.setup.backlog.writes || bytes >= self.setup.backlog.bytes {
            return Err(Refusal::BacklogFull { writes });
        }
        if weight(&op) > crate::base::limits::HIGHEST_MAX_VALUE {
            return Err(Refusal::TooLarge);
        }
        let prev = self.pending.last_place(self.me());
        let ts = self.clock.tick();
        let (incarnation, at) = (self.incarnation, now.unix_ms);
        let message = Message { ts, incarnation, prev, at, prompt, op };
        self.broadcast(&message, fx);
        if self.setup.remember_own {
            fx.remember.push((ts, encoded(&message)));
        }
        let inserted = self.pending.insert(message, self.delivered, now.since_start);
        debug_assert!(
            !R::ASSERTED || inserted == Ok(true),
            "a new timestamp is later than all before it"
        );
        Ok(ts)
    }

    fn receive(
        &mut self,
        now: Now,
        peer: ReplicaId,
        frame: Frame,
        fx: &mut Effects,
    ) -> Result<(), Violation> {
        match frame {
            Frame::Hello(hello) => self.on_hello(now, peer, hello, fx),
            _ if !self.peers[peer.index()].open => {
                Err(Violation::Unexpected("frame before its hello"))
            }
            Frame::Write(message) => self.on_write(now, peer, message, fx),
            Frame::Ack { origin, through } => self.on_ack(now, peer, origin, through),
            Frame::Delivered(ts) => {
                self.observe(ts.time)?;
                self.pending.acknowledge_delivered(peer, ts, now.since_start);
                Ok(())
            }
            Frame::Synced(synced) => {
                self.peers[peer.index()].synced = Some(synced);
                self.advance(fx);
                Ok(())
            }
            Frame::Raft(_) | Frame::Gossip(_) => {
                Err(Violation::Unexpected("frame of another protocol"))
            }
            Frame::Heartbeat => Ok(()),
            Frame::Greeting(_) => Err(Violation::Unexpected("second greeting")),
            Frame::Fetch(_) => Err(Violation::Unexpected("request for state")),
            Frame::Chunk(_) => Err(Violation::Unexpected("piece of state")),
        }
    }

    fn caught_up(&mut self, now: Now, position: u64, delivered: Timestamp, fx: &mut Effects) {
        debug_assert!(
            !R::ASSERTED || position >= self.position,
            "a state transfer never goes back"
        );
        self.position = position;
        self.delivered = delivered;
        self.clock.observe(delivered.time);
        self.pending.drop_through(delivered, now.since_start);
        if self.phase != Phase::Live {
            self.phase = Phase::Joining;
        }
        self.advance(fx);
    }

    fn deliver(&mut self, now: Now) -> Option<Message> {
        if self.phase != Phase::Live {
            return None;
        }
        let message = self.pending.pop_deliverable(now.since_start, self.setup.write_delay)?;
        debug_assert!(
            !R::ASSERTED || message.ts > self.delivered,
            "deliveries follow the total order"
        );
        self.delivered = message.ts;
        self.position += 1;
        Some(message)
    }

    fn finish(&mut self, now: Now, fx: &mut Effects) {
        // A cluster of one has no peer whose hello could end the joining.
        if self.setup.replicas == 1 && self.phase != Phase::Live {
            self.advance(fx);
        }
        if self.phase == Phase::Live {
            if std::mem::take(&mut self.own_gaps_are_final) {
                for message in self.pending.close_own_gaps(self.delivered, now.since_start) {
                    self.broadcast(&message, fx);
                }
            }
            self.acknowledge_new(now, fx);
        }
    }

    fn deadline(&self) -> Option<Duration> {
        if self.phase != Phase::Live {
            return None;
        }
        let ripe = self.pending.ripe_at(self.setup.write_delay);
        [ripe, self.ack_all_at].into_iter().flatten().min()
    }

    fn not_live(&self) -> Option<Refusal> {
        if self.phase == Phase::Live {
            return None;
        }
        let unsynced = |id: &ReplicaId| self.peers[id.index()].synced.is_none();
        let waiting_for = self.others().filter(unsynced).collect();
        Some(Refusal::CatchingUp { me: self.me(), waiting_for })
    }

    fn status(&self) -> Status {
        Status {
            live: self.phase == Phase::Live,
            clock: self.clock.time(),
            pending: self.pending.len(),
            own_pending: self.pending.load(self.me()).0,
            incarnation: self.incarnation,
            role: None,
        }
    }

    fn own(&self, message: &Message) -> Option<Timestamp> {
        (message.ts.replica == self.me()).then_some(message.ts)
    }

    fn own_pending(&self) -> Box<dyn Iterator<Item = &Message> + '_> {
        Box::new(self.pending.of(self.me(), StreamPlace::default()))
    }
}
