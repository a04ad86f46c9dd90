//! The rules that make total-order broadcast correct, each in one place, so that each can be broken alone.
//!
//! The default methods of [`Rules`] *are* the protocol; [`Lamport`] overrides none of them and is what the
//! servers run. The simulator's mutants override one each, and so show that its checks would notice if the
//! rule were not there. All of it is dispatched statically: a rule costs what it would cost in place.

use std::fmt::Debug;

use crate::base::{LamportClock, ReplicaId, Timestamp};

/// The rules of one variant of the protocol.
pub trait Rules: Debug + Send + 'static {
    /// Whether the machine's assertions hold: a variant that is wrong on purpose runs into them.
    const ASSERTED: bool = true;

    /// Whether a message can be delivered, once it is the first: every replica is known to hold it.
    /// `holders` has a bit for each replica.
    fn is_complete(holders: u128, _me: ReplicaId, replicas: u16) -> bool {
        holders.count_ones() == u32::from(replicas)
    }

    /// A time that another replica has reached moves the own clock.
    fn observe(clock: &mut LamportClock, time: u64) {
        clock.observe(time);
    }

    /// What decides between messages of the same time: their replicas, which all see alike, and not in which
    /// order they came here.
    fn tie(ts: Timestamp, _arrival: u32) -> u32 {
        u32::from(ts.replica.0)
    }

    /// Whether a message has been delivered already and is only a repetition.
    fn is_delivered(ts: Timestamp, delivered: Timestamp) -> bool {
        ts <= delivered
    }

    /// Whether a message is kept that comes while the state of a peer is being fetched.
    fn keeps_meanwhile() -> bool {
        true
    }

    /// Up to where a replica that has started must get: as far as the most advanced peer.
    fn needed(one: u64, other: u64) -> u64 {
        one.max(other)
    }

    /// Whether a replica that has started has heard from enough peers: from all.
    fn has_heard_enough(heard: usize, peers: usize) -> bool {
        heard == peers
    }

    /// Whether a peer is sent again what it lacks when a link comes up.
    fn resends() -> bool {
        true
    }
}

/// The correct rules: Lamport's.
#[derive(Clone, Copy, Debug)]
pub struct Lamport;

impl Rules for Lamport {}
