//! Own writes on their way into the log, and those that other replicas have forwarded.

use std::collections::VecDeque;

use raft::StateRole;
use raft::eraftpb::{Entry, Message, MessageType};

use super::{
    Effects, Frame, Now, Op, RaftFrame, RaftMachine, Refusal, ReplicaId, Rules, Violation,
};
use crate::base::limits::HIGHEST_MAX_VALUE;
use crate::wire::raft::Proposal;

/// What surrounds the values of the largest write that still fits a frame between replicas.
const SURROUNDINGS: usize = 512 * 1024;

/// An own write that is not delivered.
#[derive(Clone, Debug)]
struct Write {
    number: u64,
    entry: Entry,
}

/// The writes of one replica's machine.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// The own ones, in order.
    own: VecDeque<Write>,
    bytes: usize,
    /// The number of the last.
    last: u64,
    /// How many of them, from the front, have been proposed in `term`.
    sent: usize,
    term: u64,
    /// What other replicas have forwarded since the last batch.
    forwarded: Vec<Entry>,
    /// As the leader: up to where other replicas wait to hear at once that entries are agreed upon.
    awaited: u64,
    /// The term for which that holds.
    awaited_term: u64,
    /// The last that was taken from each replica in `taken_term`: its life and number.
    taken: Vec<(u64, u64)>,
    taken_term: u64,
}

impl Writes {
    /// How many own writes are under way.
    pub(super) fn len(&self) -> usize {
        self.own.len()
    }

    /// Whether there is something to propose in this term.
    pub(super) fn are_unsent(&self, term: u64) -> bool {
        self.own.len() > if self.term == term { self.sent } else { 0 }
    }

    /// The link to the leader is another one: what went over the old one may be lost. Whoever gets it twice in
    /// one term takes it once.
    pub(super) fn send_again(&mut self) {
        self.sent = 0;
    }

    /// An own write has been delivered.
    pub(super) fn delivered(&mut self, number: u64) {
        while let Some(front) = self.own.front()
            && front.number <= number
        {
            self.bytes -= front.entry.data.len();
            self.own.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
    }

    /// The store has moved without deliveries: which of the writes that were proposed it holds is not known, and
    /// they are never proposed again. Their clients hear nothing: the outcome is unknown.
    pub(super) fn forget_proposed(&mut self) {
        let proposed = self.own.iter().rposition(|write| write.entry.term != 0);
        for write in self.own.drain(..proposed.map_or(0, |at| at + 1)) {
            self.bytes -= write.entry.data.len();
        }
        self.sent = 0;
    }
}

impl<R: Rules> RaftMachine<R> {
    pub(super) fn take_write(&mut self, now: Now, op: Op, prompt: bool) -> Result<u64, Refusal> {
        let backlog = self.setup.backlog;
        let writes = self.writes.own.len();
        if writes >= backlog.writes || self.writes.bytes >= backlog.bytes {
            return Err(Refusal::BacklogFull { writes });
        }
        let number = self.writes.last + 1;
        let (origin, life) = (self.setup.me, self.setup.life);
        let mut data = Vec::new();
        Proposal { origin, life, number, at: now.unix_ms, prompt, op }.encode(&mut data);
        if data.len() > HIGHEST_MAX_VALUE + SURROUNDINGS {
            return Err(Refusal::TooLarge);
        }
        self.writes.last = number;
        self.writes.bytes += data.len();
        let entry = Entry { data: data.into(), ..Entry::default() };
        self.writes.own.push_back(Write { number, entry });
        Ok(number)
    }

    /// A peer forwards a write of its own.
    pub(super) fn on_forward(
        &mut self,
        peer: ReplicaId,
        term: u64,
        bytes: Vec<u8>,
    ) -> Result<(), Violation> {
        let proposal = Proposal::decode(&bytes);
        let Some(proposal) = proposal.ok().filter(|proposal| proposal.origin == peer) else {
            return Err(Violation::Log("a write that is none, or not its own"));
        };
        let leads = self.engine.as_ref().is_some_and(|engine| {
            engine.raft.state == StateRole::Leader && engine.raft.term == term
        });
        if !leads {
            // Its term is over, or about to be: the peer proposes it again when it knows more.
            return Ok(());
        }
        let writes = &mut self.writes;
        if writes.taken_term != term {
            writes.taken = vec![(0, 0); usize::from(self.setup.replicas)];
            writes.taken_term = term;
        }
        let taken = &mut writes.taken[peer.index()];
        let repeated = taken.0 == proposal.life && proposal.number <= taken.1;
        if !repeated || !R::takes_once() {
            *taken = (proposal.life, proposal.number);
            writes.forwarded.push(Entry { data: bytes.into(), ..Entry::default() });
        }
        Ok(())
    }

    /// Proposes what has gathered: in the log, if this replica leads, or to the leader.
    pub(super) fn propose(&mut self, fx: &mut Effects) {
        let (settled, leader) = (self.is_settled(), self.leader());
        let Some(engine) = &mut self.engine else { return };
        let (term, leads) = (engine.raft.term, engine.raft.state == StateRole::Leader);
        let writes = &mut self.writes;
        let mut entries = std::mem::take(&mut writes.forwarded);
        let from_others = !entries.is_empty();
        if settled {
            if writes.term != term {
                (writes.term, writes.sent) = (term, 0);
            }
            for write in writes.own.range_mut(writes.sent..) {
                // Only marks that it was proposed: the engine gives the entry its place.
                write.entry.term = term;
                if leads {
                    entries.push(write.entry.clone());
                } else if let Some(leader) = leader {
                    let proposal = write.entry.data.to_vec();
                    fx.send(leader, &Frame::Raft(Box::new(RaftFrame::Forward { term, proposal })));
                }
            }
            writes.sent = writes.own.len();
        }
        if !leads || entries.is_empty() {
            return;
        }
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = engine.raft.id;
        message.set_entries(entries.into());
        // A leader without bounds of its own refuses nothing; one that has stepped down has a term that ends.
        let _ = engine.raft.step(message);
        if from_others {
            self.writes.awaited = engine.raft.raft_log.last_index();
        }
    }

    /// As the leader: whether the others are told at once that entries are agreed upon. They need that where their
    /// own clients wait for it, and at the beginning of a term; otherwise the next entries, or the next heartbeat,
    /// tell them. That is half the messages of a write.
    pub(super) fn mind_the_others(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let raft = &mut engine.raft;
        if raft.state != StateRole::Leader {
            return;
        }
        let writes = &mut self.writes;
        if writes.awaited_term != raft.term {
            // Entries of earlier terms may be theirs.
            (writes.awaited, writes.awaited_term) = (raft.raft_log.last_index(), raft.term);
        }
        raft.skip_bcast_commit(raft.raft_log.committed >= writes.awaited);
    }
}
