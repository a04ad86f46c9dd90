//! Where a client's thread waits until its own writes have been delivered: a condvar and a count.
//!
//! One slot a session. A round is one batch of pipelined writes; the thread is woken once, when the last
//! answer of the round is in, and an answer that comes after its round was given up is dropped.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use super::asks::Refused;
use super::sync::{lock, wait_for};
use crate::base::{Outcome, Timestamp};

#[derive(Debug, Default)]
struct Round {
    number: u64,
    outcomes: Vec<Option<Outcome>>,
    /// The version of the write that was answered last.
    version: Timestamp,
    missing: usize,
    /// Writes that were not accepted.
    refused: Option<Refused>,
    /// No answers will come any more.
    closed: bool,
}

/// Where one session's thread waits.
#[derive(Debug, Default)]
pub(super) struct Slot {
    round: Mutex<Round>,
    filled: Condvar,
}

/// Who gets an answer: one write in one round of a slot.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    slot: Arc<Slot>,
    round: u64,
    index: usize,
}

impl Slot {
    /// Begins a round of so many writes; gives its number.
    pub(super) fn begin(&self, writes: usize) -> u64 {
        let mut round = lock(&self.round);
        round.number += 1;
        round.outcomes.clear();
        round.outcomes.resize(writes, None);
        round.missing = if round.closed { 0 } else { writes };
        round.refused = None;
        round.number
    }

    /// The ticket for one write of the present round.
    pub(super) fn ticket(self: &Arc<Self>, round: u64, index: usize) -> Ticket {
        Ticket { slot: Arc::clone(self), round, index }
    }

    /// Counts a write out that was refused: no answer will come.
    pub(super) fn withdraw(&self, writes: usize) {
        let mut round = lock(&self.round);
        round.missing = round.missing.saturating_sub(writes);
    }

    /// Writes of a round come back: no answer will come for them.
    pub(super) fn send_back(&self, round: u64, refused: Refused) {
        let mut present = lock(&self.round);
        if present.number == round {
            present.refused = Some(refused);
            drop(present);
            self.filled.notify_one();
        }
    }

    /// Waits until all answers of the round are there, or some of its writes come back; gives these.
    pub(super) fn refused(&self, until: Instant) -> Option<Refused> {
        self.wait_while(until, |round| round.missing > 0 && round.refused.is_none()).refused.take()
    }

    /// Waits for the answers of the round; `None` stands for one that has not come in time.
    pub(super) fn wait(&self, until: Instant) -> Vec<Option<Outcome>> {
        let mut round = self.wait_while(until, |round| round.missing > 0);
        // What comes from now on belongs to a round that is over.
        round.number += 1;
        std::mem::take(&mut round.outcomes)
    }

    /// The version of the write of the last round, where it was of one write and that was answered.
    pub(super) fn version(&self) -> Timestamp {
        lock(&self.round).version
    }

    fn wait_while(&self, until: Instant, waits: impl Fn(&Round) -> bool) -> MutexGuard<'_, Round> {
        let mut round = lock(&self.round);
        while waits(&round) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            round = wait_for(&self.filled, round, left);
        }
        round
    }

    /// Ends all waiting at once; missing answers stay missing.
    pub(super) fn give_up(&self) {
        let mut round = lock(&self.round);
        round.missing = 0;
        round.closed = true;
        self.filled.notify_all();
    }
}

impl Ticket {
    /// No answer will come.
    pub(super) fn withdraw(&self) {
        let mut round = lock(&self.slot.round);
        if round.number == self.round {
            round.missing = round.missing.saturating_sub(1);
            self.slot.filled.notify_one();
        }
    }

    /// Hands the answer to a read over.
    pub(super) fn fill(&self, outcome: Outcome) {
        self.answer(outcome, Timestamp::ZERO);
    }

    /// Hands the answer to a write over, with its version; the waiting thread wakes when it was the last.
    pub(super) fn answer(&self, outcome: Outcome, version: Timestamp) {
        let mut round = lock(&self.slot.round);
        if round.number != self.round {
            return;
        }
        if let Some(place) = round.outcomes.get_mut(self.index)
            && place.is_none()
        {
            *place = Some(outcome);
            round.version = version;
            round.missing = round.missing.saturating_sub(1);
            if round.missing == 0 {
                // Unlocked first: the thread that wakes needs the lock at once.
                drop(round);
                self.slot.filled.notify_one();
            }
        }
    }
}
