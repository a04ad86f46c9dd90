//! Reads of what is current: which index a store must have reached before it may answer (ReadIndex).
//!
//! A replica asks in *rounds*, one at a time: all reads that have come when a round begins are answered by it, and
//! later ones wait for the next. The leader notes its commit index and has a majority confirm that it still
//! leads; what was agreed upon when the question came is then at or before that index. No entry is written.

use std::collections::VecDeque;
use std::time::Duration;

use raft::{RawNode, ReadState, StateRole};

use super::convert::{context, context_of, engine_id};
use super::{Effects, Frame, Log, Now, RaftFrame, RaftMachine, ReplicaId, Rules};

/// How long after a question without an answer it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How many questions of the leader to its majority may be open; each replica has one round open at a time.
const MOST_OPEN: usize = 1024;

/// A round of a life of a replica. Without the life, what was answered to an earlier one would pass for the answer
/// to a later question of the same number.
type Question = (u64, u64);

/// The rounds of one replica, and what it owes the others as their leader.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The last round that was begun.
    begun: u64,
    /// Reads wait for the next.
    wanted: bool,
    /// When the last round, which has no answer yet, was last asked, and whom.
    open: Option<(Duration, ReplicaId)>,
    /// Rounds that have an answer, and up to where the store must go.
    answered: VecDeque<(u64, u64)>,
    /// The rounds that replicas ask for, this one's own among them.
    asked: Vec<Option<Question>>,
    /// What the majority is being asked about, by number.
    asking: VecDeque<(u64, Vec<Option<Question>>)>,
    last_question: u64,
}

impl Rounds {
    /// Notes a read; gives the round that will answer it.
    pub(super) fn wait(&mut self) -> u64 {
        self.wanted = true;
        self.begun + 1
    }

    /// The last round whose index the store has reached.
    pub(super) fn reached(&self, position: u64) -> u64 {
        let unanswered = self.begun - u64::from(self.open.is_some());
        let waits = self.answered.iter().find(|(_, index)| *index > position);
        waits.map_or(unanswered, |(round, _)| round - 1)
    }

    fn answer(&mut self, round: u64, index: u64) {
        if round == self.begun && self.open.take().is_some() {
            self.answered.push_back((round, index));
        }
    }

    /// When there is something to do without an input.
    pub(super) fn deadline(&self, settled: bool) -> Option<Duration> {
        match self.open {
            _ if !settled => None,
            Some((since, _)) => Some(since + ASK_AGAIN),
            None => self.wanted.then_some(Duration::ZERO),
        }
    }
}

impl<R: Rules> RaftMachine<R> {
    /// A peer asks for a round. A later question of it takes the place of an earlier one.
    pub(super) fn on_ask(&mut self, peer: ReplicaId, round: Question) {
        self.rounds.asked.resize(usize::from(self.setup.replicas), None);
        self.rounds.asked[peer.index()] = Some(round);
    }

    pub(super) fn on_read_at(&mut self, life: u64, round: u64, index: u64) {
        if life == self.setup.life {
            self.rounds.answer(round, index);
        }
    }

    /// Begins a round, or asks again.
    pub(super) fn ask(&mut self, now: Now, fx: &mut Effects) {
        let position = self.position;
        let rounds = &mut self.rounds;
        while rounds.answered.front().is_some_and(|(_, index)| *index <= position) {
            rounds.answered.pop_front();
        }
        let Some(leader) = self.leader().filter(|_| self.is_settled()) else { return };
        let rounds = &mut self.rounds;
        match rounds.open {
            Some((since, whom)) if whom == leader && now.since_start < since + ASK_AGAIN => return,
            Some(_) => {}
            None if rounds.wanted => {
                rounds.begun += 1;
                rounds.wanted = false;
            }
            None => return,
        }
        rounds.open = Some((now.since_start, leader));
        let (life, round) = (self.setup.life, rounds.begun);
        if leader == self.setup.me {
            self.on_ask(leader, (life, round));
        } else {
            fx.send(leader, &Frame::Raft(Box::new(RaftFrame::AskRead { life, round })));
        }
    }

    /// As the leader: has the majority confirm that it leads, once for all who have asked.
    pub(super) fn confirm(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let rounds = &mut self.rounds;
        if engine.raft.state != StateRole::Leader {
            // Whoever asks will ask the next leader.
            rounds.asked.clear();
            rounds.asking.clear();
            return;
        }
        if !engine.raft.commit_to_current_term() || rounds.asked.iter().all(Option::is_none) {
            return;
        }
        rounds.last_question += 1;
        rounds.asking.push_back((rounds.last_question, std::mem::take(&mut rounds.asked)));
        if rounds.asking.len() > MOST_OPEN {
            rounds.asking.pop_front();
        }
        engine.read_index(context(rounds.last_question));
    }

    /// The majority has confirmed questions. Whoever asked and has not been told that the log is agreed upon so far
    /// is told now; otherwise it would wait for the next heartbeat.
    pub(super) fn on_confirmed(
        &mut self,
        engine: &mut RawNode<Log>,
        states: Vec<ReadState>,
        fx: &mut Effects,
    ) {
        for ReadState { index, request_ctx } in states {
            let question = context_of(&request_ctx);
            let asking = &mut self.rounds.asking;
            let Some(at) = asking.iter().position(|(number, _)| *number == question) else {
                continue;
            };
            let Some((_, asked)) = asking.remove(at) else { continue };
            for (id, round) in (0..).map(ReplicaId).zip(asked) {
                let Some((life, round)) = round else { continue };
                if id == self.setup.me {
                    self.rounds.answer(round, index);
                    continue;
                }
                fx.send(id, &Frame::Raft(Box::new(RaftFrame::ReadAt { life, round, index })));
                let peer = engine_id(id);
                let progress = engine.raft.prs().get(peer);
                if progress.is_some_and(|progress| progress.committed_index < index) {
                    engine.raft.send_append(peer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_reached_when_the_store_is_there() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.wait(), 1);
        assert_eq!(rounds.reached(100), 0);
        (rounds.begun, rounds.open) = (1, Some((Duration::ZERO, ReplicaId(0))));
        assert_eq!(rounds.reached(100), 0, "it has no answer");
        assert_eq!(rounds.wait(), 2, "whoever comes now waits for the next");
        rounds.answer(7, 5);
        assert!(rounds.answered.is_empty(), "nobody asked that");
        rounds.answer(1, 5);
        assert_eq!(rounds.reached(4), 0);
        assert_eq!(rounds.reached(5), 1);
    }
}
