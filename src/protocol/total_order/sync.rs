//! What happens when a link comes up, and how a replica that has started becomes live.

use super::{Effects, Event, Frame, Hello, Now, ReplicaId, Rules, Synced, TotalOrder, Violation};
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

/// What is known of a peer on the present link.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its hello has come: from then on it is sent everything.
    pub(super) open: bool,
    /// Which life of it this is.
    life: u64,
    /// How far it has been told that this replica holds each stream.
    pub(super) told: Vec<StreamPlace>,
    /// What it last said when it had sent everything.
    pub(super) synced: Option<Synced>,
}

impl Peer {
    /// A peer without a link, in a cluster of `n`.
    pub(super) fn new(n: usize) -> Self {
        Self { open: false, life: 0, told: vec![StreamPlace::default(); n], synced: None }
    }
}

impl<R: Rules> TotalOrder<R> {
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
        self.observe(hello.clock.max(hello.delivered.time))?;
        // A life of this replica that the peer remembers and the disk does not.
        self.incarnation = self.incarnation.max(hello.have[self.me().index()].incarnation);
        self.pending.strike_early_acks(peer);
        self.pending.acknowledge_delivered(peer, hello.delivered, now.since_start);
        let state = &mut self.peers[peer.index()];
        (state.open, state.life) = (true, hello.life);

        for origin in self.everyone().filter(|_| R::resends()) {
            for message in self.pending.of(origin, hello.have[origin.index()]) {
                fx.send_write(peer, message);
            }
        }
        if self.phase == Phase::Live {
            self.announce(peer, fx);
        }
        // To all, because what the others know of this replica's links is out of date now.
        let synced = Synced { position: self.position, view: self.view() };
        for other in self.open_peers() {
            fx.send(other, &Frame::Synced(synced.clone()));
        }
        self.advance(fx);
        Ok(())
    }

    /// Which life of each replica this one is linked to.
    fn view(&self) -> Vec<u64> {
        let life = |id: ReplicaId| {
            if id == self.me() { self.setup.life } else { self.peers[id.index()].life }
        };
        self.everyone().map(life).collect()
    }

    /// Tells a peer all that this replica acknowledges.
    fn announce(&mut self, peer: ReplicaId, fx: &mut Effects) {
        fx.send(peer, &Frame::Delivered(self.delivered));
        self.acknowledge_to(peer, fx);
    }

    /// Goes on towards being live, as far as it can.
    pub(super) fn advance(&mut self, fx: &mut Effects) {
        if self.phase != Phase::Joining {
            return;
        }
        // All must have said that they are synced while they were linked to the very lives that this
        // replica is linked to.
        let view = self.view();
        let synced = self.others().filter_map(|peer| self.peers[peer.index()].synced.as_ref());
        let positions = || synced.clone().filter(|s| s.view == view).map(|s| s.position);
        if !R::has_heard_enough(positions().count(), self.peers.len() - 1) {
            return;
        }
        let needed = positions().reduce(R::needed).unwrap_or(0);
        if self.position < needed {
            let has_it = |p: &ReplicaId| {
                self.peers[p.index()].synced.as_ref().is_some_and(|s| s.position >= needed)
            };
            let source = self.open_peers().find(has_it);
            if let Some(source) = source {
                self.phase = Phase::CatchingUp(source);
                fx.events.push(Event::CatchUp(source));
            }
            return;
        }
        self.become_live(fx);
    }

    fn become_live(&mut self, fx: &mut Effects) {
        self.incarnation = self.incarnation.max(self.pending.last_place(self.me()).incarnation) + 1;
        self.phase = Phase::Live;
        self.own_gaps_are_final = true;
        fx.events.push(Event::Live(self.incarnation));
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
