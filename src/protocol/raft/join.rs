//! Links that come up, and how a replica without a vote gets one.

use std::time::Duration;

use raft::StateRole;

use super::{
    Catching, Effects, Event, Frame, Now, RaftFrame, RaftMachine, ReplicaId, Rules, Violation,
};
use crate::base::{Ballot, LogPlace};
use crate::wire::raft::RaftHello;

/// How often a replica without a vote asks how things stand.
const ASK_STANDING: Duration = Duration::from_millis(100);

/// What is known of a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    /// Its hello has come on the present link.
    pub(super) open: bool,
    /// Which life of it said the last hello.
    life: u64,
    /// It had never voted nor kept anything when it said so.
    blank: bool,
    /// How things stood when it was last asked: its term, and what it knows to be agreed upon as that term's leader.
    standing: Option<(u64, u64)>,
}

/// How a replica without a vote stands.
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// What it must hold until it may vote: up to this index, in this term, and who led that.
    bound: Option<(ReplicaId, u64, u64)>,
    ask_at: Duration,
}

impl<R: Rules> RaftMachine<R> {
    pub(super) fn hello(&self) -> RaftHello {
        let engine = self.engine.as_ref();
        RaftHello {
            life: self.setup.life,
            joining: engine.is_none(),
            term: engine.map_or(0, |engine| engine.raft.term),
            last_index: engine.map_or(0, |engine| engine.raft.raft_log.last_index()),
            position: self.position,
            delivered: self.delivered,
        }
    }

    pub(super) fn on_hello(
        &mut self,
        peer: ReplicaId,
        hello: RaftHello,
        fx: &mut Effects,
    ) -> Result<(), Violation> {
        if !LogPlace::new(hello.term, hello.last_index.max(hello.position)).is_possible() {
            return Err(Violation::Log("a place that no log reaches"));
        }
        if hello.position == self.position && hello.delivered != self.delivered {
            return Err(Violation::Diverged {
                position: self.position,
                ours: self.delivered,
                theirs: hello.delivered,
            });
        }
        let nothing = hello.term == 0 && hello.last_index == 0 && hello.position == 0;
        let known = &mut self.peers[peer.index()];
        let restarted = known.life != hello.life;
        *known = Peer {
            open: true,
            life: hello.life,
            blank: nothing || hello.joining && hello.position == 0,
            standing: None,
        };
        if self.engine.is_none() {
            fx.send(peer, &Frame::Raft(Box::new(RaftFrame::AskStanding)));
        }
        if self.leader() == Some(peer) {
            self.writes.send_again();
        }
        self.follow_anew(peer, restarted);
        Ok(())
    }

    /// As the leader: what was on its way to a peer is lost, and if it has restarted, maybe what it had
    /// acknowledged as well.
    fn follow_anew(&mut self, peer: ReplicaId, restarted: bool) {
        let id = super::convert::engine_id(peer);
        let Some(engine) = &mut self.engine else { return };
        if engine.raft.state != StateRole::Leader {
            return;
        }
        let last = engine.raft.raft_log.last_index();
        let Some(progress) = engine.raft.mut_prs().get_mut(id) else { return };
        if restarted {
            progress.matched = 0;
        }
        progress.snapshot_failure();
        progress.become_probe();
        progress.next_idx = last + 1;
        engine.raft.send_append(id);
    }

    /// Says how things stand, to a replica that has no vote.
    pub(super) fn on_ask_standing(&mut self, peer: ReplicaId, fx: &mut Effects) {
        let Some(engine) = &self.engine else { return };
        let raft = &engine.raft;
        let leads = raft.state == StateRole::Leader && raft.commit_to_current_term();
        let commit = if leads { raft.raft_log.committed } else { 0 };
        fx.send(peer, &Frame::Raft(Box::new(RaftFrame::Standing { term: raft.term, commit })));
    }

    pub(super) fn on_standing(
        &mut self,
        peer: ReplicaId,
        term: u64,
        commit: u64,
    ) -> Result<(), Violation> {
        if !LogPlace::new(term, commit).is_possible() {
            return Err(Violation::Log("a place that no log reaches"));
        }
        self.peers[peer.index()].standing = Some((term, commit));
        Ok(())
    }

    /// Goes on towards a vote, as far as it can.
    pub(super) fn join(&mut self, now: Now, fx: &mut Effects) {
        if self.engine.is_some() || self.installing {
            return;
        }
        if self.noted.is_none() {
            // From here on the file says what it is, whatever else comes into it.
            self.note_ballot(Ballot::Joining, fx);
        }
        if !R::joins_with_care() || self.is_new_group() {
            self.begin_voting(0, None, fx);
            if self.setup.me == ReplicaId(0) && self.setup.replicas > 1 {
                self.campaign_at = Some(now.since_start + super::TICK);
            }
            return;
        }
        if self.joining.bound.is_none() {
            self.joining.bound = self.find_bound();
        }
        if let Some((source, term, commit)) = self.joining.bound {
            if self.position >= commit {
                return self.begin_voting(term, Some(source), fx);
            }
            if self.catching.is_none() {
                let open = |id: &ReplicaId| self.peers[id.index()].open;
                let source = Some(source).filter(open).or_else(|| self.others().find(open));
                if let Some(source) = source {
                    self.catching = Some(Catching { source, needs: commit, again_at: None });
                    fx.events.push(Event::CatchUp(source));
                }
            }
        } else if now.since_start >= self.joining.ask_at {
            self.joining.ask_at = now.since_start + ASK_STANDING;
            for peer in self.others().filter(|id| self.peers[id.index()].open) {
                fx.send(peer, &Frame::Raft(Box::new(RaftFrame::AskStanding)));
            }
        }
    }

    pub(super) fn join_deadline(&self) -> Option<Duration> {
        self.joining.bound.is_none().then_some(self.joining.ask_at)
    }

    /// Whether nobody has ever voted or kept anything: the group is new.
    fn is_new_group(&self) -> bool {
        self.position == 0
            && self.others().all(|id| {
                let peer = &self.peers[id.index()];
                peer.open && peer.blank
            })
    }

    /// Whether all others are at one term, and one of them leads it.
    fn find_bound(&self) -> Option<(ReplicaId, u64, u64)> {
        let standing = |id: ReplicaId| {
            let (term, commit) = self.peers[id.index()].standing?;
            Some((id, term, commit))
        };
        let all: Vec<_> = self.others().map(standing).collect::<Option<_>>()?;
        let leader = all.iter().find(|(_, _, commit)| *commit > 0)?;
        all.iter().all(|(_, term, _)| *term == leader.1).then_some(*leader)
    }
}
