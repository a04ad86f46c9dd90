//! The rules that make the protocol correct, each in one place, so that each can be broken alone.
//!
//! The default methods of [`Rules`] *are* the protocol; [`PresumedAbort`] overrides none of them and is what
//! the servers run. The simulator's mutants override one each. All of it is dispatched statically.

use std::fmt::Debug;

use crate::wire::two_phase::{Members, View, ViewId};

/// The rules of one variant of the protocol.
pub trait Rules: Debug + Send + 'static {
    /// Participant: a promise is kept until the coordinator says how the transaction ends, also when the
    /// connection breaks and when an own life ends whose promises are on the disk.
    fn keeps_promise() -> bool {
        true
    }

    /// Coordinator: a transaction commits when nobody's vote is missing.
    fn may_commit(missing: Members) -> bool {
        missing.is_empty()
    }

    /// Coordinator: whether a transaction whose votes have not come after a lease is committed all the same.
    fn commits_on_timeout() -> bool {
        false
    }

    /// Coordinator: a participant that joins becomes a member when the copy has been stored to its end.
    fn has_caught_up(copied: bool) -> bool {
        copied
    }

    /// Coordinator: what an earlier incarnation left prepared commits when somebody has committed it.
    fn resolves_to_commit(committed_somewhere: bool) -> bool {
        committed_somewhere
    }

    /// Coordinator: which of two views is the newer one, whose data counts.
    fn newer(one: View, other: View) -> View {
        if other.id > one.id { other } else { one }
    }

    /// Coordinator: whether a participant's data is still that of the last view that this process made, where
    /// `active` is the last that all had stored.
    fn is_own_last(held: ViewId, active: ViewId, last: ViewId) -> bool {
        active <= held && held <= last
    }

    /// Coordinator: whether enough participants are there for the newest view among them to be the newest
    /// of all: all its members, or a majority with a witness.
    fn is_certain(all_members: bool, majority_with_witness: bool) -> bool {
        all_members || majority_with_witness
    }

    /// Participant: a coordinator is obeyed when no newer one has been seen.
    fn obeys(incarnation: u64, newest_seen: u64) -> bool {
        incarnation >= newest_seen
    }

    /// Coordinator: a read waits until no write of its key is under way.
    fn reads_wait() -> bool {
        true
    }

    /// Participant: what was removed while the copy is under way is remembered until it ends.
    fn remembers_removed() -> bool {
        true
    }

    /// Coordinator: nothing commits and nobody is answered on the strength of a view that not all its
    /// members have stored.
    fn waits_for_view() -> bool {
        true
    }

    /// Coordinator: a member is not excluded before its lease has run out.
    fn keeps_lease() -> bool {
        true
    }

    /// Coordinator: locks are held, and the client waits, until everybody has carried the decision out.
    fn waits_for_done() -> bool {
        true
    }
}

/// The correct rules.
#[derive(Clone, Copy, Debug)]
pub struct PresumedAbort;

impl Rules for PresumedAbort {}
