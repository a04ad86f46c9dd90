//! Own writes where replicas have no one order: worked out on the own copy, and executed there at once.

use super::{Node, Reply};
use crate::base::{Now, Op, Timestamp, VectorClock};
use crate::protocol::Refusal;

impl<T> Node<T> {
    /// Works out what an own write amounts to here, and executes that at once.
    pub(super) fn merge_own(
        &mut self,
        now: Now,
        op: Op,
        prompt: bool,
        ticket: T,
    ) -> Result<(), Refusal> {
        let (outcome, effect) = self.store.table().effect(op, now.unix_ms);
        if matches!(&effect, Op::StoreMany(pairs) if pairs.is_empty()) {
            let (after, version) = (self.store.appended(), Timestamp::ZERO);
            self.output.replies.push(Reply { ticket, outcome, after, version });
            return Ok(());
        }
        let version = self.protocol.submit(now, effect, prompt, &mut self.fx)?;
        // Own writes come before all others.
        if let Some(own) = self.protocol.deliver(now) {
            self.execute(own);
        }
        let after = self.store.appended();
        self.output.replies.push(Reply { ticket, outcome, after, version });
        Ok(())
    }

    /// What this replica has, where that is a vector clock.
    pub fn clock(&self) -> VectorClock {
        self.store.clock()
    }

    /// A client has seen this Lamport time at another replica; its next write is to be later.
    pub fn observe(&mut self, time: u64) {
        self.protocol.observe(time);
    }
}
