//! What happens when a link comes up, and how a replica that has started becomes live.

use super::{Effects, Event, Frame, Hello, Now, ReplicaId, TotalOrder, Violation};
use crate::wire::peer::StreamPlace;

/// How far a replica is since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not yet synced with every peer, or without a peer to fetch from.
    Joining,
    /// Fetching what it missed from this peer.
    CatchingUp(ReplicaId),
    /// Taking part.
    Live,
}

/// What is known of a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    /// Its hello has come on the present link: from then on it is sent everything.
    pub(super) open: bool,
    /// Everything this replica lacked has come from it, at least once since the start.
    pub(super) synced: bool,
    /// How many writes it had delivered when it last said that it was synced.
    pub(super) position: u64,
}

impl TotalOrder {
    pub(super) fn on_hello(
        &mut self,
        now: Now,
        peer: ReplicaId,
        hello: Hello,
        fx: &mut Effects,
    ) -> Result<(), Violation> {
        if hello.have.len() != usize::from(self.setup.replicas) {
            return Err(Violation::Unexpected("hello of another number of replicas"));
        }
        if hello.position == self.position && hello.delivered != self.delivered {
            return Err(Violation::Diverged {
                position: self.position,
                ours: self.delivered,
                theirs: hello.delivered,
            });
        }
        self.clock.observe(hello.clock);
        // A life of this replica that the peer remembers and the disk does not.
        self.incarnation = self.incarnation.max(hello.have[self.me().index()].incarnation);
        self.pending.strike_early_acks(peer);
        self.pending.acknowledge_delivered(peer, hello.delivered, now.since_start);
        self.peers[peer.index()].open = true;

        for origin in self.everyone() {
            for message in self.pending.of(origin, hello.have[origin.index()]) {
                fx.send_write(peer, message);
            }
        }
        if self.phase == Phase::Live {
            self.announce(peer, fx);
        }
        fx.send(peer, &Frame::Synced(self.position));
        Ok(())
    }

    /// Tells a peer all that this replica acknowledges, whatever it was told before.
    fn announce(&self, peer: ReplicaId, fx: &mut Effects) {
        fx.send(peer, &Frame::Delivered(self.delivered));
        for origin in self.others().filter(|origin| *origin != peer) {
            let through = self.acked[origin.index()];
            if through > StreamPlace::default() {
                fx.send(peer, &Frame::Ack { origin, through });
            }
        }
        let through = self.acked[peer.index()];
        if through > StreamPlace::default() {
            fx.send(peer, &Frame::Ack { origin: peer, through });
        }
    }

    /// Goes on towards being live, as far as it can.
    pub(super) fn advance(&mut self, fx: &mut Effects) {
        if self.phase != Phase::Joining
            || self.others().any(|peer| !self.peers[peer.index()].synced)
        {
            return;
        }
        let needed = self.others().map(|p| self.peers[p.index()].position).max().unwrap_or(0);
        if self.position < needed {
            let source = self.open_peers().find(|p| self.peers[p.index()].position >= needed);
            if let Some(source) = source {
                self.phase = Phase::CatchingUp(source);
                fx.events.push(Event::CatchUp(source));
            }
            return;
        }
        self.become_live(fx);
    }

    fn become_live(&mut self, fx: &mut Effects) {
        self.incarnation = self.incarnation.max(self.pending.received(self.me()).incarnation) + 1;
        self.phase = Phase::Live;
        fx.events.push(Event::Live(self.incarnation));
        for origin in self.others() {
            self.acked[origin.index()] = self.pending.received(origin);
        }
        let peers: Vec<ReplicaId> = self.open_peers().collect();
        for peer in peers {
            self.announce(peer, fx);
        }
    }

    /// A peer is gone; if it was the source of a state transfer, another is looked for.
    pub(super) fn lost_source(&mut self, peer: ReplicaId, fx: &mut Effects) {
        if self.phase == Phase::CatchingUp(peer) {
            self.phase = Phase::Joining;
            self.advance(fx);
        }
    }
}
