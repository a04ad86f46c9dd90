//! What clients want of the node, on its way there.
//!
//! A client's thread leaves what it wants in the inbox (`inbox.rs`) and waits at its slot; whoever drives the node
//! takes all of it along.

use std::collections::VecDeque;
use std::sync::{Arc, TryLockError};
use std::time::{Duration, Instant};

use super::inbox::{LEAVE_AT_MOST, MAX_TURNS, all_owe_answers};
use super::ports::Owner;
use super::replica::{Replica, Source};
use super::slot::{Slot, Ticket};
use super::sync::lock;
use crate::base::{Now, Op, Outcome};
use crate::node::Node;
use crate::protocol::{Refusal, ReplyAt};
use crate::wire::request::Failure;

/// What a client's thread wants.
pub(super) enum Ask {
    /// These writes, in this order.
    Writes(Writes),
    /// To be told when the store holds what is current.
    Read(Ticket),
}

/// Writes of one round of a slot.
#[derive(Debug)]
pub(super) struct Writes {
    slot: Arc<Slot>,
    round: u64,
    /// How many of the round have been accepted before.
    accepted: usize,
    ops: VecDeque<Op>,
    prompt: bool,
    /// The client has seen this Lamport time: its writes come later.
    seen: u64,
}

/// Writes that were not accepted.
#[derive(Debug)]
pub(super) struct Refused {
    refusal: Refusal,
    /// How many of the round had been accepted before.
    accepted: usize,
    /// Those behind them that may be asked for again.
    ops: VecDeque<Op>,
}

impl Ask {
    /// Hands it to the node.
    pub(super) fn give(self, node: &mut Node<Ticket>, now: Now) {
        match self {
            Self::Writes(writes) => writes.give(node, now),
            Self::Read(ticket) => {
                if node.read(ticket.clone()).is_err() {
                    ticket.withdraw();
                }
            }
        }
    }
}

impl Writes {
    fn give(self, node: &mut Node<Ticket>, now: Now) {
        let Self { slot, round, mut accepted, mut ops, prompt, seen } = self;
        if seen > 0 {
            node.observe(seen);
        }
        while !ops.is_empty() {
            // Looked at first, so that a write that may still be accepted is not given away.
            let refusal = node.not_live().or_else(|| {
                let ticket = slot.ticket(round, accepted);
                node.submit(now, ops.pop_front()?, prompt, ticket).err()
            });
            if let Some(refusal) = refusal {
                return slot.send_back(round, Refused { refusal, accepted, ops });
            }
            accepted += 1;
        }
    }
}

impl Replica {
    /// Has all of a session's writes ordered at once, waits as the mode demands, and gives their outcomes
    /// in order.
    pub(super) fn execute(
        &self,
        slot: &Arc<Slot>,
        ops: &mut Vec<Op>,
        prompt: bool,
    ) -> Vec<Result<Outcome, Failure>> {
        self.execute_after(slot, ops, prompt, 0)
    }

    /// The same for a client that has seen this Lamport time: its writes are later.
    pub(super) fn execute_after(
        &self,
        slot: &Arc<Slot>,
        ops: &mut Vec<Op>,
        prompt: bool,
        seen: u64,
    ) -> Vec<Result<Outcome, Failure>> {
        let deadline = Instant::now() + self.settings.write_timeout;
        if self.stopping() {
            let stopping = Failure::Refused("the replica is stopping".into());
            return ops.drain(..).map(|_| Err(stopping.clone())).collect();
        }
        // What the write delay adds is not the network's fault: it does not count.
        let until = deadline + self.settings.write_delay;
        let total = ops.len();
        let round = slot.begin(total);
        let (mut accepted, mut ops) = (0, ops.drain(..).collect());
        let refusal = loop {
            let slot_of = Arc::clone(slot);
            self.ask(Ask::Writes(Writes { slot: slot_of, round, accepted, ops, prompt, seen }));
            let Some(refused) = slot.refused(until) else {
                accepted = total;
                break None;
            };
            (accepted, ops) = (refused.accepted, refused.ops);
            // The replica may be about to be live: the write waits for that, as for anything else.
            if ops.is_empty() || !refused.refusal.may_pass() || !self.wait_live(deadline) {
                slot.withdraw(total - accepted);
                break Some(refused.refusal);
            }
        };
        let failure = refusal.map(|refusal| Failure::Refused(refusal.to_string().into()));
        slot.wait(until)
            .into_iter()
            .enumerate()
            .map(|(i, outcome)| match (&failure, outcome) {
                (_, Some(outcome)) => Ok(outcome),
                (Some(failure), None) if i >= accepted => Err(failure.clone()),
                _ => Err(Failure::OutcomeUnknown),
            })
            .collect()
    }

    /// Waits until the store is known to hold all that was agreed upon when this was called; `false` if that does
    /// not happen in time.
    pub(super) fn wait_current(&self, slot: &Arc<Slot>) -> bool {
        if self.stopping() {
            return false;
        }
        let until = Instant::now() + self.settings.write_timeout;
        self.ask(Ask::Read(slot.ticket(slot.begin(1), 0)));
        slot.wait(until).iter().all(Option::is_some)
    }

    /// Leaves something for the node, and waits for nobody.
    fn ask(&self, ask: Ask) {
        lock(&self.inbox).push(ask);
        self.empty_inbox();
    }

    /// Takes what clients have left.
    pub(super) fn take_asks(&self) -> Vec<Ask> {
        std::mem::take(&mut *lock(&self.inbox))
    }

    /// Whether what clients want can wait for the peers' answers; only where writes wait for them anyway.
    fn may_leave_asks(&self) -> bool {
        self.settings.mode.reply_at == ReplyAt::Delivery
            && all_owe_answers(self.peers().map(|peer| self.link(peer)))
    }

    /// Drives the node as long as something is left for it that nobody else will take along.
    pub(super) fn empty_inbox(&self) {
        for _ in 0..MAX_TURNS {
            if lock(&self.inbox).is_empty() {
                return;
            }
            if self.may_leave_asks() {
                return self.timer.mind(Some(self.clock.now().since_start + LEAVE_AT_MOST));
            }
            let turn = match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // It looks into the inbox again before it leaves.
                Err(TryLockError::WouldBlock) => return,
            };
            self.drive_in_turn(turn, Source::Client, self.take_asks(), |_, _| ());
        }
        // It has done enough for others; the timer's thread goes on.
        self.timer.mind(Some(Duration::ZERO));
    }
}
