//! The rules that make gossip correct, each in one place, so that each can be broken alone.
//!
//! [`Session`] and [`Causal`] are what the servers run; the default methods are right for both, and the simulator's
//! mutants override one each.

use std::fmt::Debug;

use crate::base::{Timestamp, VectorClock};

/// The rules of one variant of the protocol.
pub trait Rules: Debug + Send + 'static {
    /// Whether a write waits until all is executed that its client may have seen.
    const CAUSAL: bool;

    /// Whether a write can be executed where so much has been.
    fn is_ready(needs: &VectorClock, have: &VectorClock) -> bool {
        have.covers(needs)
    }

    /// Takes over what another replica knows of.
    fn merge(have: &mut VectorClock, known: &VectorClock) {
        have.merge(known);
    }

    /// Whether the first of two writes of a key holds against the second, whichever came first.
    fn wins(new: Timestamp, old: Timestamp) -> bool {
        new > old
    }

    /// What all replicas have, given what each has.
    fn acknowledged(all: &mut VectorClock, one: &VectorClock) {
        all.meet(one);
    }

    /// Whether a write goes on to others: only when it is new here. All that arrives a second time has been sent on.
    fn goes_on(is_new: bool) -> bool {
        is_new
    }

    /// Whether it goes to a neighbour that is not behind this replica on the way from its origin.
    fn strays() -> bool {
        false
    }
}

/// Writes are executed as they come: what a client has seen is checked when it asks.
#[derive(Clone, Copy, Debug)]
pub struct Session;

impl Rules for Session {
    const CAUSAL: bool = false;
}

/// Writes wait for what they depend on.
#[derive(Clone, Copy, Debug)]
pub struct Causal;

impl Rules for Causal {
    const CAUSAL: bool = true;
}
