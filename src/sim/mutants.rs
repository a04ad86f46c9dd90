//! Protocols that are wrong on purpose.
//!
//! A simulator that finds nothing proves something only if it would have found it. Each mutant breaks one rule:
//! one of the protocol's (its `Rules`) or one of its driver's (`Duties`); the simulator must find each within
//! a few thousand seeds.

use crate::protocol::{Protocol, Setup};

/// What a driver owes to the protocol. The correct driver does all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Duties {
    /// Links are FIFO.
    pub fifo: bool,
    /// Answers to writes wait for the disk.
    pub answers_wait: bool,
    /// Values that are read are on the disk before they are shown.
    pub reads_wait: bool,
    /// Where it promises that, a write is answered at its delivery.
    pub answers_at_delivery: bool,
    /// A replica that began without data answers reads only once it is live.
    pub waits_until_readable: bool,
    /// A restart brings back the own writes that were noted.
    pub brings_back_pending: bool,
    /// Where it promises that, a read waits until the store is known to be current.
    pub reads_are_current: bool,
    /// A session remembers what it has read, besides what it has written.
    pub sessions_remember_reads: bool,
    /// What a replica promises leaves it when its disk keeps it.
    pub promises_wait: bool,
}

impl Duties {
    pub(super) const ALL: Duties = Duties {
        fifo: true,
        answers_wait: true,
        reads_wait: true,
        answers_at_delivery: true,
        waits_until_readable: true,
        brings_back_pending: true,
        reads_are_current: true,
        sessions_remember_reads: true,
        promises_wait: true,
    };
}

/// A protocol that is wrong on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name on the command line.
    pub name: &'static str,
    /// Which rule it breaks.
    pub breaks: &'static str,
    /// The modes that have this rule.
    pub modes: &'static [&'static str],
    /// Its protocol, where that is another than the mode's own.
    pub(super) build: Option<fn(Setup) -> Box<dyn Protocol>>,
    pub(super) duties: Duties,
}

const BOTH: &[&str] = &["eventual", "sequential"];
const SEQUENTIAL: &[&str] = &["sequential"];
const EVENTUAL: &[&str] = &["eventual"];
/// Those that deliver first and answer then.
const ORDERED: &[&str] =
    if cfg!(feature = "raft") { &["sequential", "linearizable"] } else { SEQUENTIAL };

const fn duty(
    name: &'static str,
    breaks: &'static str,
    modes: &'static [&'static str],
    duties: Duties,
) -> Mutant {
    Mutant { name, breaks, modes, build: None, duties }
}

/// Mutants that break a rule of a protocol's, a struct each, with what all of them have in common.
macro_rules! broken_rules {
    ($flag:ident = $value:literal; $($mutant:ident $name:ident ($called:literal, $breaks:literal, $modes:expr) {
        $($body:tt)*
    })*) => {$(
        pub(super) const $mutant: Mutant = Mutant {
            name: $called,
            breaks: $breaks,
            modes: $modes,
            build: Some(build_with::<$name> as _),
            duties: Duties::ALL,
        };
        #[derive(Clone, Copy, Debug)]
        struct $name;
        impl Rules for $name {
            const $flag: bool = $value;
            $($body)*
        }
    )*};
}

/// All mutants.
pub const MUTANTS: &[Mutant] = &[
    total_order::OWN_ACK_TWICE,
    total_order::ONE_ACK_SHORT,
    total_order::DEAF_CLOCK,
    total_order::TIES_BY_ARRIVAL,
    duty(
        "early-reply",
        "answers a write before it is delivered",
        ORDERED,
        Duties { answers_at_delivery: false, ..Duties::ALL },
    ),
    duty(
        "hasty-read",
        "answers reads after a start without data, before it has fetched any",
        SEQUENTIAL,
        Duties { waits_until_readable: false, ..Duties::ALL },
    ),
    duty(
        "early-ack",
        "answers a write, and shows it, before it is durable",
        BOTH,
        Duties { answers_wait: false, reads_wait: false, ..Duties::ALL },
    ),
    duty(
        "dirty-read",
        "shows values that are not durable yet",
        BOTH,
        Duties { reads_wait: false, ..Duties::ALL },
    ),
    total_order::DELIVERS_REPETITIONS,
    duty(
        "forgets-pending",
        "forgets after a restart what it had accepted",
        EVENTUAL,
        Duties { brings_back_pending: false, ..Duties::ALL },
    ),
    total_order::MISSES_MEANWHILE,
    duty(
        "non-fifo",
        "runs over links that let messages overtake each other",
        BOTH,
        Duties { fifo: false, ..Duties::ALL },
    ),
    total_order::STALE_SNAPSHOT,
    total_order::LIVE_TOO_SOON,
    total_order::SENDS_ONCE,
    gossip::IGNORES_DEPENDENCY,
    gossip::OVERWRITES_CLOCK,
    gossip::LATEST_ARRIVAL,
    duty(
        "forgets-read",
        "carries only what it has written from replica to replica",
        &["session"],
        Duties { sessions_remember_reads: false, ..Duties::ALL },
    ),
    gossip::DROPS_EARLY,
    gossip::ROUTES_IN_CIRCLES,
    #[cfg(feature = "raft")]
    duty(
        "stale-read",
        "answers reads without asking a majority what is current",
        LINEARIZABLE,
        Duties { reads_are_current: false, ..Duties::ALL },
    ),
    #[cfg(feature = "raft")]
    duty(
        "unkept-promise",
        "votes and acknowledges before its disk keeps it",
        LINEARIZABLE,
        Duties { promises_wait: false, ..Duties::ALL },
    ),
    #[cfg(feature = "raft")]
    raft::FORGETS_VOTE,
    #[cfg(feature = "raft")]
    raft::COMMITS_BY_COUNTING,
    #[cfg(feature = "raft")]
    raft::JOINS_TOO_SOON,
    #[cfg(feature = "raft")]
    raft::TAKES_TWICE,
    #[cfg(feature = "raft")]
    raft::PROPOSES_TOO_SOON,
];

#[cfg(feature = "raft")]
const LINEARIZABLE: &[&str] = &["linearizable"];

/// Those that break a rule of total-order broadcast.
mod total_order {
    use super::{BOTH, Duties, Mutant};
    use crate::base::{LamportClock, ReplicaId, Timestamp};
    use crate::protocol::total_order::{Rules, build_with};

    broken_rules! {
        ASSERTED = false;
        OWN_ACK_TWICE OwnAckTwice ("own-ack-twice", "counts its own acknowledgement twice", BOTH) {
            fn is_complete(holders: u128, me: ReplicaId, replicas: u16) -> bool {
                holders.count_ones() + (holders >> me.0 & 1) as u32 >= u32::from(replicas)
            }
        }
        ONE_ACK_SHORT OneAckShort ("one-ack-short", "delivers when one acknowledgement is missing", BOTH) {
            fn is_complete(holders: u128, _me: ReplicaId, replicas: u16) -> bool {
                holders.count_ones() + 1 >= u32::from(replicas)
            }
        }
        DEAF_CLOCK DeafClock ("deaf-clock", "does not advance its clock on receipt", BOTH) {
            fn observe(_clock: &mut LamportClock, _time: u64) {}
        }
        TIES_BY_ARRIVAL TiesByArrival ("ties-by-arrival", "orders equal times as they came in", BOTH) {
            fn tie(_ts: Timestamp, arrival: u32) -> u32 {
                arrival
            }
        }
        DELIVERS_REPETITIONS DeliversRepetitions ("delivers-twice", "delivers a retransmission again", BOTH) {
            fn is_delivered(_ts: Timestamp, _delivered: Timestamp) -> bool {
                false
            }
        }
        MISSES_MEANWHILE MissesMeanwhile ("misses-meanwhile", "loses what comes while it fetches state", BOTH) {
            fn keeps_meanwhile() -> bool {
                false
            }
        }
        STALE_SNAPSHOT StaleSnapshot ("stale-snapshot", "is content with the state of a peer that lags", BOTH) {
            fn needed(one: u64, other: u64) -> u64 {
                one.min(other)
            }
        }
        LIVE_TOO_SOON LiveTooSoon ("live-too-soon", "takes part before it has heard from all peers", BOTH) {
            fn has_heard_enough(heard: usize, peers: usize) -> bool {
                heard >= 1.min(peers)
            }
        }
        SENDS_ONCE SendsOnce ("sends-once", "does not send again what a broken link has lost", BOTH) {
            fn resends() -> bool {
                false
            }
        }
    }
}

/// Those that break a rule of gossip's. All are causal, so that in either mode only the one rule is broken.
mod gossip {
    use super::{Duties, Mutant};
    use crate::base::{Timestamp, VectorClock};
    use crate::protocol::gossip::{Rules, build_with};

    const MERGED: &[&str] = &["session", "causal"];
    const CAUSAL: &[&str] = &["causal"];

    broken_rules! {
        CAUSAL = true;
        IGNORES_DEPENDENCY IgnoresDependency (
            "ignores-dependency", "executes a write before what it depends on", CAUSAL
        ) {
            fn is_ready(_needs: &VectorClock, _have: &VectorClock) -> bool {
                true
            }
        }
        OVERWRITES_CLOCK OverwritesClock (
            "overwrites-clock", "takes another's clock for its own instead of merging it", CAUSAL
        ) {
            fn merge(have: &mut VectorClock, known: &VectorClock) {
                *have = known.clone();
            }
        }
        LATEST_ARRIVAL LatestArrival (
            "latest-arrival", "settles writes of the same time as they came in", MERGED
        ) {
            fn wins(new: Timestamp, old: Timestamp) -> bool {
                new.time >= old.time
            }
        }
        DROPS_EARLY DropsEarly (
            "drops-early", "drops a write from its log at the first acknowledgement", MERGED
        ) {
            fn acknowledged(all: &mut VectorClock, one: &VectorClock) {
                all.merge(one);
            }
        }
        ROUTES_IN_CIRCLES RoutesInCircles (
            "routes-in-circles", "sends on what it has sent on before, to every neighbour", MERGED
        ) {
            fn goes_on(_is_new: bool) -> bool {
                true
            }
            fn strays() -> bool {
                true
            }
        }
    }
}

/// Those that break a rule of Raft's. A vote that is not kept, and an entry of an earlier term that is agreed upon by
/// counting, need coincidences that only election storms ([`crate::sim::storm`]) have often enough.
#[cfg(feature = "raft")]
mod raft {
    use super::{Duties, LINEARIZABLE, Mutant};
    use crate::base::ReplicaId;
    use crate::protocol::raft::{Rules, build_with};

    broken_rules! {
        ASSERTED = false;
        FORGETS_VOTE ForgetsVote ("forgets-vote", "keeps its term on disk, and not its vote", LINEARIZABLE) {
            fn kept_vote(_vote: Option<ReplicaId>) -> Option<ReplicaId> {
                None
            }
        }
        COMMITS_BY_COUNTING CommitsByCounting ("commits-by-counting", "takes an entry of an earlier term as agreed upon because a majority holds it", LINEARIZABLE) {
            const MESSAGE_BYTES: u64 = 0;
            fn counts_any_term() -> bool {
                true
            }
        }
        JOINS_TOO_SOON JoinsTooSoon ("joins-too-soon", "votes although it has lost its disk", LINEARIZABLE) {
            fn joins_with_care() -> bool {
                false
            }
        }
        TAKES_TWICE TakesTwice ("takes-twice", "puts a write into the log again that a new link brings again", LINEARIZABLE) {
            fn takes_once() -> bool {
                false
            }
        }
        PROPOSES_TOO_SOON ProposesTooSoon ("proposes-too-soon", "proposes a write again before it knows what became of it in earlier terms", LINEARIZABLE) {
            fn is_settled(_delivered_term: u64, _term: u64) -> bool {
                true
            }
        }
    }
}

/// The mutant of this name.
pub fn find(name: &str) -> Option<&'static Mutant> {
    MUTANTS.iter().find(|mutant| mutant.name == name)
}

/// All names, for a message.
pub(super) fn names() -> String {
    MUTANTS.iter().map(|mutant| mutant.name).collect::<Vec<_>>().join(", ")
}
