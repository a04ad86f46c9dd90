//! The engine's turn: its ticks, its messages, what it wants kept, and state that has come by other ways.

use std::time::Duration;

use raft::eraftpb::{Message, MessageType};
use raft::{RawNode, Ready, StateRole};

use super::convert::{self, engine_id, replica_of, to_message, to_step};
use super::{
    Agreed, Catching, ELECTION_TICKS, Effects, Event, Frame, Log, LogPlace, Note, Now, RaftFrame,
    RaftMachine, ReplicaId, Rules, TICK, Timestamp, Violation,
};
use crate::base::{Ballot, LogEntry};
use crate::wire::raft::{Step, StepKind};

/// A number that looks random and depends on these alone (SplitMix64).
fn scatter(life: u64, me: u64, campaigns: u64) -> u64 {
    let seed = life ^ me.rotate_left(32) ^ campaigns.rotate_left(48);
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl<R: Rules> RaftMachine<R> {
    /// Has the engine know what time it is.
    pub(super) fn tick(&mut self, now: Now) {
        let Some(engine) = &mut self.engine else { return };
        let now = now.since_start;
        if self.campaign_at.take_if(|at| *at <= now).is_some()
            && (engine.raft.term == 0 || self.setup.replicas == 1)
        {
            // It may fail, as any campaign may.
            let _ = engine.campaign();
        }
        let next = self.next_tick.get_or_insert(now + TICK);
        // A replica that was held up cannot tell whether the others were silent: it counts one tick, so that it
        // does not ask for an election for that alone.
        if now > *next + 2 * TICK {
            *next = now;
        }
        while *next <= now {
            *next += TICK;
            let drawn = scatter(self.setup.life, engine.raft.id, self.campaigns);
            let timeout = ELECTION_TICKS + 1 + (drawn % ELECTION_TICKS as u64) as usize;
            engine.raft.set_randomized_election_timeout(timeout);
            let leads = engine.raft.state == StateRole::Leader;
            if engine.tick() && !leads {
                self.campaigns += 1;
            }
        }
    }

    /// Begins a transfer again that ended short of what is needed.
    pub(super) fn fetch_again(&mut self, now: Now, fx: &mut Effects) {
        if let Some(catching) = &mut self.catching
            && catching.again_at.take_if(|at| *at <= now.since_start).is_some()
        {
            fx.events.push(Event::CatchUp(catching.source));
        }
    }

    /// A message of a peer's engine.
    pub(super) fn on_step(
        &mut self,
        peer: ReplicaId,
        step: Step,
        fx: &mut Effects,
    ) -> Result<(), Violation> {
        let me = self.setup.me;
        let Some(engine) = self.engine.as_mut().filter(|_| !self.installing) else {
            return Ok(());
        };
        convert::check(&engine.raft, &step)?;
        if step.kind == StepKind::Snapshot {
            self.on_snapshot(peer, &step, fx);
        } else if step.kind != StepKind::Append || self.catching.is_none() {
            // What the engine refuses it has no use for.
            let _ = engine.step(to_message(step, peer, me));
        }
        Ok(())
    }

    /// The leader has no entries any more that this replica lacks: the store has to get there by other ways.
    fn on_snapshot(&mut self, leader: ReplicaId, step: &Step, fx: &mut Effects) {
        let me = self.setup.me;
        let Some(engine) = &mut self.engine else { return };
        if step.term < engine.raft.term {
            return;
        }
        // The engine hears who leads, and the rest when the state is there.
        let heartbeat = Step::new(StepKind::Heartbeat, step.term);
        let _ = engine.step(to_message(heartbeat, leader, me));
        if self.position >= step.index {
            return self.show_place();
        }
        match &mut self.catching {
            Some(catching) => catching.needs = catching.needs.max(step.index),
            None => {
                let needs = step.index;
                self.catching = Some(Catching { source: leader, needs, again_at: None });
                fx.events.push(Event::CatchUp(leader));
            }
        }
    }

    /// The store has moved, or may have.
    pub(super) fn on_caught_up(&mut self, now: Now, position: u64, delivered: Timestamp) {
        debug_assert!(
            !R::ASSERTED || position >= self.position,
            "a state transfer never goes back"
        );
        self.installing = false;
        if position != self.position {
            self.writes.forget_proposed();
        }
        (self.position, self.delivered) = (position, delivered);
        match &mut self.catching {
            Some(catching) if catching.needs > position => {
                catching.again_at = Some(now.since_start + TICK);
            }
            _ => self.catching = None,
        }
        self.show_place();
    }

    /// Shows the engine the place that the store has reached, as a snapshot from the leader; so the leader hears of
    /// it as well.
    fn show_place(&mut self) {
        let (me, place) = (self.setup.me, LogPlace::of(self.delivered));
        let Some(engine) = &mut self.engine else { return };
        let snapshot = engine.store().snapshot_of(place);
        let raft = &mut engine.raft;
        if place.term > raft.term {
            raft.become_follower(place.term, 0);
        }
        let leader = raft.leader_id;
        if leader != 0 && leader != engine_id(me) {
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgSnapshot);
            (message.from, message.to, message.term) = (leader, raft.id, raft.term);
            message.set_snapshot(snapshot);
            let _ = raft.step(message);
        } else if place.index > raft.raft_log.committed {
            if raft.state != StateRole::Follower {
                let term = raft.term;
                raft.become_follower(term, 0);
            }
            raft.restore(snapshot);
        }
    }

    /// Tells the engine how far the store is, so that it can forget what lies behind.
    pub(super) fn apply(&mut self) {
        let place = LogPlace::of(self.delivered);
        let Some(engine) = &mut self.engine else { return };
        let log = &engine.raft.raft_log;
        if log.unstable_snapshot().is_some() {
            return;
        }
        let known = place.index.min(log.committed).min(log.persisted);
        if known > log.applied() {
            engine.advance_apply_to(known);
            if known == place.index {
                engine.mut_store().deliver(place);
            }
        }
    }

    /// Takes from the engine what it wants done.
    pub(super) fn pump(&mut self, now: Now, fx: &mut Effects) {
        let Some(mut engine) = self.engine.take() else { return };
        if R::counts_any_term() {
            count_any_term(&mut engine);
        }
        while engine.has_ready() {
            let ready = engine.ready();
            self.carry_out(&mut engine, ready, now.since_start, fx);
        }
        self.engine = Some(engine);
    }

    fn carry_out(
        &mut self,
        engine: &mut RawNode<Log>,
        mut ready: Ready,
        now: Duration,
        fx: &mut Effects,
    ) {
        let number = ready.number();
        for message in ready.take_messages() {
            if let Some((to, step)) = self.outgoing(message) {
                fx.send(to, &Frame::Raft(Box::new(RaftFrame::Step(step))));
            }
        }
        let of = ready.snapshot().get_metadata();
        let restored = (of.index > 0).then(|| LogPlace::new(of.term, of.index));
        if let Some(place) = restored {
            engine.mut_store().restart(place);
        }
        if let Some(hard) = ready.hs() {
            let vote = R::kept_vote(replica_of(hard.vote));
            self.note_ballot(Ballot::Voter { term: hard.term, vote }, fx);
        }
        for entry in ready.take_entries() {
            let place = LogPlace::new(entry.term, entry.index);
            fx.notes.push(Note::Entry(LogEntry { place, data: entry.data.to_vec() }));
            engine.mut_store().put(entry);
        }
        for message in ready.take_persisted_messages() {
            if let Some((to, step)) = self.outgoing(message) {
                let needs = convert::needs(&step);
                fx.promise(to, needs, &Frame::Raft(Box::new(RaftFrame::Step(step))));
            }
        }
        let agreed = ready.take_committed_entries().into_iter();
        self.agreed.extend(agreed.map(|entry| Agreed { entry, since: now }));
        let states = ready.take_read_states();
        self.on_confirmed(engine, states, fx);
        let keeps = !fx.notes.is_empty() || self.marked > self.kept;
        engine.advance_append_async(ready);
        if restored.is_some() || !keeps {
            // A state that was restored came by way of the file, and promises wait for that by themselves; the
            // engine must not look for what lies before it in the meantime.
            engine.on_persist_ready(number);
            if let Some(place) = restored {
                engine.advance_apply_to(place.index);
                engine.mut_store().deliver(place);
            }
        } else {
            self.marked = number;
            fx.mark = Some(number);
        }
    }

    /// A message for a peer, if there is a link to it.
    fn outgoing(&self, message: Message) -> Option<(ReplicaId, Step)> {
        let to = replica_of(message.to).filter(|to| self.peers[to.index()].open)?;
        Some((to, to_step(message)?))
    }
}

/// Takes entries of any term as agreed upon where a majority holds them.
fn count_any_term(engine: &mut RawNode<Log>) {
    let raft = &mut engine.raft;
    if raft.state == StateRole::Leader {
        let (held, _) = raft.mut_prs().maximal_committed_index();
        let held = held.min(raft.raft_log.last_index());
        raft.raft_log.commit_to(held);
    }
}
