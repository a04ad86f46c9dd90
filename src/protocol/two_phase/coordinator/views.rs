//! Who is a member: heartbeats, exclusion, installation.
//!
//! A member whose answers stop is excluded when the last of them is a lease old: a view without it is sent
//! to the rest, and until all of them have stored it nothing commits and nobody is answered on its
//! strength. A member that reports anew has lost its connection, and with it frames: it is excluded too,
//! at once, and joins again. So a connection either carries everything, or its participant is no member.

use std::time::Duration;

use super::{Coordinator, Event, Link, Peer, Phase};
use crate::protocol::two_phase::{Frame, Members, Rules, TxnId, View, ViewId, Violation};

impl<T, R: Rules> Coordinator<T, R> {
    /// Sends everybody a heartbeat.
    pub(super) fn beat(&mut self, now: Duration) {
        self.next_beat = now + self.setup.timing.heartbeat;
        let lease = self.setup.timing.lease;
        let serving = self.phase == Phase::Serving;
        // Not before the first view is active: until then, what earlier incarnations left is not finished.
        let finished = if serving { self.txn(self.oldest()) } else { TxnId::default() };
        let members = self.view.members.and(self.active.members);
        for p in self.up().iter() {
            let peer = self.peer(p);
            peer.beat += 1;
            let counts = serving && members.has(p) && !peer.lost;
            let heard = if counts { peer.answered } else { 0 };
            if heard > 0 {
                peer.promised = peer.promised.max(peer.answered_at + lease);
            }
            let number = peer.beat;
            self.send(p, &Frame::Heartbeat { number, heard, finished });
        }
    }

    pub(super) fn answered(&mut self, now: Duration, p: u16, n: u64) -> Result<(), Violation> {
        let peer = self.peer(p);
        if n > peer.beat {
            return Err(Violation::Unexpected("sign of life"));
        }
        if n > peer.answered {
            (peer.answered, peer.answered_at) = (n, now);
        }
        Ok(())
    }

    /// Until when the silence of a connected participant is borne.
    fn silent_at(&self, peer: &Peer) -> Option<Duration> {
        let timing = self.setup.timing;
        match peer.link {
            Link::Down => None,
            Link::Greeted => Some(peer.heard_at + timing.patience),
            Link::Up => Some(peer.heard_at + timing.lease),
        }
    }

    /// Connections on which nothing comes are as good as lost.
    pub(super) fn cut_silent(&mut self, now: Duration) {
        let silent = self.select(|peer| self.silent_at(peer).is_some_and(|at| at <= now));
        for p in silent.iter() {
            self.cut(now, p, Violation::Silent);
        }
    }

    /// When the next participant may be lost by the mere passing of time.
    pub(super) fn next_loss(&self) -> Option<Duration> {
        let silent = self.peers.iter().filter_map(|peer| self.silent_at(peer));
        let leases = self.view.members.iter().map(|p| &self.peers[usize::from(p)]);
        let leases = leases.filter(|peer| peer.link != Link::Up).map(|peer| peer.promised);
        match self.phase {
            Phase::Gathering => silent.chain(self.known.wait_until).min(),
            Phase::Forming | Phase::Serving => silent.chain(leases).min(),
        }
    }

    /// Decides upon a view without the members that are lost, if any are.
    pub(super) fn exclude_lost(&mut self, now: Duration) {
        let is_over = |peer: &Peer| !R::keeps_lease() || peer.promised <= now;
        let lost = self.select(|peer| peer.lost || (peer.link != Link::Up && is_over(peer)));
        let lost = lost.and(self.view.members);
        if lost.is_empty() {
            return;
        }
        let members = self.view.members.without(lost);
        // Somebody of the last active view must go along: else its members could take it for the newest.
        let heirs =
            if self.active.id.epoch == 0 { members } else { members.and(self.active.members) };
        if heirs.is_empty() {
            return self.start_over(now, self.incarnation + 1);
        }
        for p in lost.iter() {
            self.events.push(Event::Excludes(p));
        }
        self.decide_view(self.view.id.epoch + 1, members);
        if !R::waits_for_view() {
            self.go_on_with(members.or(self.joining()));
        }
    }

    /// Decides upon the next view and sends it to its members: first to those that join with it, and to the
    /// others when these have stored it. So where one of the others has it, a joining one that does not has
    /// lost it; it is not just that the coordinator ended between two frames.
    pub(super) fn decide_view(&mut self, epoch: u64, members: Members) {
        self.view = View { id: ViewId { epoch, maker: self.incarnation }, members };
        self.pending = members;
        self.events.push(Event::Decides(self.view));
        let joining = members.without(self.active.members);
        let (fresh, _) = self.first;
        self.told_all = fresh || joining.is_empty();
        self.tell(if self.told_all { members } else { joining });
    }

    fn tell(&mut self, members: Members) {
        let (fresh, resolve) = self.first.clone();
        for p in members.iter() {
            self.peer(p).told = self.view.id;
        }
        self.send_all(members, &Frame::Install { view: self.view, fresh, resolve });
    }

    pub(super) fn installed(&mut self, now: Duration, p: u16, id: ViewId) -> Result<(), Violation> {
        if id > self.view.id || id.maker != self.incarnation {
            return Err(Violation::Unexpected("installed view"));
        }
        if id == self.view.id && self.pending.remove(p) {
            let others = self.view.members.and(self.active.members);
            if !self.told_all && self.pending == others {
                self.told_all = true;
                self.tell(others);
            }
            if self.pending.is_empty() {
                self.activate(now);
            }
        }
        Ok(())
    }

    fn activate(&mut self, now: Duration) {
        self.active = self.view;
        self.events.push(Event::Active(self.view));
        self.go_on_with(self.view.members.or(self.joining()));
        self.commit_held();
        self.ask_again();
        if self.phase == Phase::Forming {
            self.phase = Phase::Serving;
            (self.filling, _) = std::mem::take(&mut self.first);
            self.at_start = false;
            if self.filling {
                self.patience = Some(now + self.setup.timing.patience);
            } else {
                self.enter_waiting(now);
            }
        }
    }
}
