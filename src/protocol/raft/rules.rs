//! The rules that make the replicas linearizable and that are not the engine's own business, each in one place,
//! so that each can be broken alone.
//!
//! As in [`crate::protocol::total_order::rules`]: the default methods *are* the protocol, the servers run
//! [`Ongaro`], and the simulator's mutants override one each.

use std::fmt::Debug;

use crate::base::ReplicaId;

/// The rules of one variant of the protocol.
pub trait Rules: Debug + Send + 'static {
    /// Whether the machine's assertions hold: a variant that is wrong on purpose runs into them.
    const ASSERTED: bool = true;

    /// How many bytes of entries go into one message; more are sent when it is answered.
    const MESSAGE_BYTES: u64 = 1024 * 1024;

    /// What is kept of a vote: whom it was for, so that a replica never votes for two in one term.
    fn kept_vote(vote: Option<ReplicaId>) -> Option<ReplicaId> {
        vote
    }

    /// Whether the fate of all that was proposed in earlier terms is known: an entry of this term is delivered, so
    /// whatever can still be delivered of earlier ones has been.
    fn is_settled(delivered_term: u64, term: u64) -> bool {
        delivered_term == term
    }

    /// Whether a replica that does not know how it used its vote goes without until that cannot matter.
    fn joins_with_care() -> bool {
        true
    }

    /// Whether a leader takes a write only once that a link which broke has brought it twice.
    fn takes_once() -> bool {
        true
    }

    /// Whether entries of earlier terms count as agreed upon because a majority holds them (they must not: Raft's
    /// figure 8), and not only with one of the leader's own term behind them.
    fn counts_any_term() -> bool {
        false
    }
}

/// The correct rules.
#[derive(Clone, Copy, Debug)]
pub struct Ongaro;

impl Rules for Ongaro {}
