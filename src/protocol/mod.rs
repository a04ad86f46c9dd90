//! The pure machines: a protocol takes inputs and the time, and yields effects.
//!
//! A machine owns no socket, thread, lock, clock, random source or file. Two drivers run the same one: the
//! runtime with threads and sockets, and tests in virtual time. Its inputs are method calls; its
//! effects gather in [`Effects`], whose frames went through the real encoder.
//!
//! Adding a consistency mode is one file here and one line in [`MODES`].

pub mod adjacent;
mod effects;
pub mod gossip;
#[cfg(feature = "raft")]
pub mod raft;
pub mod total_order;
pub mod two_phase;

use std::time::Duration;

use thiserror::Error;

use crate::base::{KeptLog, Now, Op, ReplicaId, Timestamp, VectorClock};
use crate::wire::peer::{Frame, Message};

pub use effects::{Effects, Event, Needs, Note, Promise};

/// What a machine needs to know from the start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The replica that the machine belongs to.
    pub me: ReplicaId,
    /// How many replicas there are.
    pub replicas: u16,
    /// A number that no other start of this replica has, not 0.
    pub life: u64,
    /// How long a write that could be delivered waits before it is.
    pub write_delay: Duration,
    /// Whether own writes must be on disk as soon as they are accepted (their clients are answered then).
    pub remember_own: bool,
    /// How many own writes, and how many bytes of them, may be under way at once.
    pub backlog: Backlog,
    /// How much of a replicated log is held in memory for replicas that lag, behind what is delivered.
    pub tail: Tail,
    /// How long a replica that begins without data, and needs nobody's leave, waits for a peer who may know more.
    pub patience: Duration,
    /// What an earlier life left on disk.
    pub recovered: Recovered,
}

/// The bound on own writes that are not delivered yet; at the bound new ones are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// How many writes.
    pub writes: usize,
    /// How many bytes, about.
    pub bytes: usize,
}

impl Default for Backlog {
    fn default() -> Self {
        Self { writes: 100_000, bytes: 64 * 1024 * 1024 }
    }
}

/// How much of a replicated log is held in memory although it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// How many entries.
    pub entries: usize,
    /// How many bytes, about.
    pub bytes: usize,
}

impl Default for Tail {
    fn default() -> Self {
        Self { entries: 10_000, bytes: 16 * 1024 * 1024 }
    }
}

/// What an earlier life of the replica left on disk.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// How many writes it had delivered.
    pub position: u64,
    /// The last of them.
    pub delivered: Timestamp,
    /// The last of each replica's.
    pub clock: VectorClock,
    /// Its incarnation.
    pub incarnation: u64,
    /// Its own writes that were accepted but not delivered, in order.
    pub pending: Vec<Message>,
    /// What is kept of a replicated log.
    pub kept: KeptLog,
}

/// Why a write is refused. It has definitely not happened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The replica has not yet heard from every peer since it started, or is fetching what it missed.
    #[error("replica {me} is catching up{}; the write was not accepted", missing(.waiting_for))]
    CatchingUp {
        /// The replica.
        me: ReplicaId,
        /// Whom it has not heard from; empty while it fetches state.
        waiting_for: Vec<ReplicaId>,
    },
    /// Too many writes wait for an absent replica.
    #[error(
        "backlog full: {writes} writes wait for every replica to acknowledge; the write was not accepted"
    )]
    BacklogFull {
        /// How many wait.
        writes: usize,
    },
    /// The replica cannot have anything agreed upon now.
    #[error(
        "replica {me} knows no leader: a majority of the replicas must be reachable; the write was not accepted"
    )]
    NoLeader {
        /// The replica.
        me: ReplicaId,
    },
    /// The replica's clock has come to its end.
    #[error("the replica's clock is at the end of all times; the write was not accepted")]
    OutOfTime,
    /// The write does not fit a frame.
    #[error("the write is larger than a frame between replicas may be; it was not accepted")]
    TooLarge,
}

impl Refusal {
    /// Whether it may be over in a moment, so that waiting is better than giving the refusal on.
    pub fn may_pass(&self) -> bool {
        matches!(self, Refusal::CatchingUp { .. } | Refusal::NoLeader { .. })
    }
}

fn missing(waiting_for: &[ReplicaId]) -> String {
    match waiting_for {
        [] => String::new(),
        [one] => format!(" and waits to hear from replica {one}"),
        more => {
            let ids: Vec<String> = more.iter().map(ToString::to_string).collect();
            format!(" and waits to hear from replicas {}", ids.join(", "))
        }
    }
}

/// What a peer did that no correct peer does; it is cut off.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// A replica number outside the cluster.
    #[error("names replica {0}, which the cluster does not have")]
    UnknownReplica(ReplicaId),
    /// A message that is not later than the one before it on a FIFO link.
    #[error("sent message {found} of a stream behind {last}")]
    OutOfOrder {
        /// The message.
        found: Timestamp,
        /// The latest of its stream.
        last: Timestamp,
    },
    /// The two replicas delivered different writes at one position.
    #[error(
        "has {theirs} at position {position}, where this replica has {ours}; the stores have diverged"
    )]
    Diverged {
        /// The position.
        position: u64,
        /// This replica's write there.
        ours: Timestamp,
        /// The peer's.
        theirs: Timestamp,
    },
    /// A Lamport time that no clock reaches.
    #[error("names the time {0}, beyond all that a clock can reach")]
    Time(u64),
    /// A place in the log that no log reaches, or that does not fit what is known.
    #[error("sent a message of the log that cannot be: {0}")]
    Log(&'static str),
    /// A replica lacks what it had acknowledged, or what it had written.
    #[error(
        "shows that replica {0} has lost a part of its disk, which it had told others of; start that one with an \
         empty folder, and it gets everything back"
    )]
    Forgot(ReplicaId),
    /// A write that has come over more links than there can be on its way.
    #[error("sent a write that came over {0} links before; it goes round in circles")]
    Loop(u8),
    /// A frame that does not belong there.
    #[error("sent a {0} where none belongs")]
    Unexpected(&'static str),
}

/// Where a machine stands, for `stats` and for whoever waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether it takes writes.
    pub live: bool,
    /// Its logical time.
    pub clock: u64,
    /// Messages held that are not delivered yet, of all replicas.
    pub pending: usize,
    /// Own messages among them.
    pub own_pending: usize,
    /// The current incarnation.
    pub incarnation: u64,
    /// Where there are leaders: its role, its term and whom it takes for the leader.
    pub role: Option<Role>,
}

/// A replica's part in a group that has leaders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `leader`, `follower`, `candidate` or `joining`.
    pub name: &'static str,
    /// The latest term that it has heard of.
    pub term: u64,
    /// Whom it takes for the leader of that term.
    pub leader: Option<ReplicaId>,
}

/// One replica's share in a protocol.
///
/// Inputs may come in any number before [`Protocol::finish`], which yields what the batch as a whole
/// gives rise to: acknowledgements, and then by [`Protocol::deliver`] deliveries. So batching is natural, and
/// costs nothing when idle.
pub trait Protocol: Send {
    /// A link to `peer` has come up; whatever an earlier link carried is gone.
    fn connected(&mut self, peer: ReplicaId, fx: &mut Effects);

    /// The link to `peer` is lost.
    fn disconnected(&mut self, peer: ReplicaId, fx: &mut Effects);

    /// A client of this replica wants `op` executed everywhere. Gives the write's timestamp, or what
    /// [`Protocol::own`] will know it by; these rise.
    ///
    /// # Errors
    /// When the write is refused; then it has no effect, ever.
    fn submit(
        &mut self,
        now: Now,
        op: Op,
        prompt: bool,
        fx: &mut Effects,
    ) -> Result<Timestamp, Refusal>;

    /// A frame has come from `peer`.
    ///
    /// # Errors
    /// When no correct peer sends this; the link is to be cut.
    fn receive(
        &mut self,
        now: Now,
        peer: ReplicaId,
        frame: Frame,
        fx: &mut Effects,
    ) -> Result<(), Violation>;

    /// What [`Event::CatchUp`] asked for has arrived: the store now stands at this position.
    fn caught_up(&mut self, now: Now, position: u64, delivered: Timestamp, fx: &mut Effects);

    /// The next message to execute and persist, if there is one now. The driver takes as many at a time as it
    /// has room for; while any are left, [`Protocol::deadline`] is in the past.
    fn deliver(&mut self, now: Now) -> Option<Message>;

    /// Where replicas have no one order: whether the first of two writes of the same key holds against the second.
    fn wins(&self, new: Timestamp, old: Timestamp) -> bool {
        new > old
    }

    /// A client has seen this Lamport time at another replica; its next write is to be later.
    fn observe(&mut self, _time: u64) {}

    /// Whether this peer was asked for state and has not sent all of it.
    fn asks(&self, _peer: ReplicaId) -> bool {
        false
    }

    /// State that was asked for has come from this peer and is executed: all that this clock knows of.
    fn merged(&mut self, _from: ReplicaId, _known: &VectorClock) {}

    /// What [`Protocol::submit`] gave for this delivered message, if it is a write of this life of the replica.
    fn own(&self, message: &Message) -> Option<Timestamp>;

    /// A client of this replica wants to read what is current. Gives the number of the round that will find out
    /// what that is, where the protocol promises it.
    ///
    /// # Errors
    /// When too many wait already.
    fn read(&mut self) -> Result<u64, Refusal> {
        Ok(0)
    }

    /// Up to this round, the store shows what was current when [`Protocol::read`] was called.
    fn current(&self) -> u64 {
        u64::MAX
    }

    /// All notes up to [`Effects::mark`] of this number are kept by the disk.
    fn kept(&mut self, _mark: u64) {}

    /// What the own file must hold besides what is delivered, for when it is written anew.
    fn to_keep(&self) -> KeptLog {
        KeptLog::default()
    }

    /// A whole state is about to take the place of the own one: until [`Protocol::caught_up`], or until this is
    /// taken back, there may be no notes.
    fn installing(&mut self, _under_way: bool) {}

    /// Ends a batch of inputs, or of none when a deadline has passed.
    fn finish(&mut self, now: Now, fx: &mut Effects);

    /// When [`Protocol::finish`] next has something to do by itself, since the driver's start.
    fn deadline(&self) -> Option<Duration>;

    /// Why [`Protocol::submit`] refuses every write now; `None` once the replica is live.
    fn not_live(&self) -> Option<Refusal>;

    /// Where the machine stands.
    fn status(&self) -> Status;

    /// The own messages that are not delivered yet, in order.
    fn own_pending(&self) -> Box<dyn Iterator<Item = &Message> + '_>;
}

/// When a client gets its answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyAt {
    /// At once, with the outcome on the local copy; the write is remembered on disk first.
    Submission,
    /// When its own replica has delivered it, with the outcome there.
    Delivery,
}

/// What a client's read sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The local copy as it is.
    Local,
    /// The local copy, where it has all that the client's session has written and read, at whatever replica.
    Seen,
    /// The local copy, once it is known to hold all that was agreed upon when the read came.
    Current,
}

/// How replicas come to hold the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// All execute the same operations in the same order.
    Ordered,
    /// Each executes what an operation amounted to where it was asked, in an order of its own; of each key the
    /// latest version holds.
    Merged,
}

/// A consistency mode of the replicas lab.
#[derive(Clone, Copy)]
pub struct Mode {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it promises, in one line.
    pub promise: &'static str,
    /// How it works; `None` while it is not built.
    pub build: Option<fn(Setup) -> Box<dyn Protocol>>,
    /// When clients are answered.
    pub reply_at: ReplyAt,
    /// What reads see.
    pub reads: Reads,
    /// How replicas come to hold the same.
    pub writes: Writes,
}

impl Mode {
    /// Whether entries keep the timestamp of the write that they come from.
    pub fn has_versions(&self) -> bool {
        self.writes == Writes::Merged
    }
}

impl std::fmt::Debug for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The one list of modes, weakest first. The command line, the servers and the docs read it.
pub const MODES: &[Mode] = &[
    Mode {
        name: "eventual",
        promise: "replies at once; replicas converge; reads may be stale",
        build: Some(total_order::build),
        reply_at: ReplyAt::Submission,
        reads: Reads::Local,
        writes: Writes::Ordered,
    },
    Mode {
        name: "session",
        promise: "a client that moves between replicas reads its own writes, and never older values",
        build: Some(gossip::build_session),
        reply_at: ReplyAt::Submission,
        reads: Reads::Seen,
        writes: Writes::Merged,
    },
    Mode {
        name: "causal",
        promise: "what depends on a write is never seen before it",
        build: Some(gossip::build_causal),
        reply_at: ReplyAt::Submission,
        reads: Reads::Local,
        writes: Writes::Merged,
    },
    Mode {
        name: "sequential",
        promise: "one order of all writes that every client's own order fits; reads may be old",
        build: Some(total_order::build),
        reply_at: ReplyAt::Delivery,
        reads: Reads::Local,
        writes: Writes::Ordered,
    },
    Mode {
        name: "linearizable",
        promise: "sequential, and every read is current",
        build: RAFT,
        reply_at: ReplyAt::Delivery,
        reads: Reads::Current,
        writes: Writes::Ordered,
    },
];

#[cfg(feature = "raft")]
const RAFT: Option<fn(Setup) -> Box<dyn Protocol>> = Some(raft::build);
/// Without the feature `raft` there is no engine for it.
#[cfg(not(feature = "raft"))]
const RAFT: Option<fn(Setup) -> Box<dyn Protocol>> = None;

/// The mode of this name.
pub fn mode(name: &str) -> Option<&'static Mode> {
    MODES.iter().find(|mode| mode.name == name)
}
