//! Two-phase commit: one coordinator, some participants, every participant the same data.
//!
//! ```text
//! client      C           P0   P1   P2        C has the locks of the keys
//!   | SET k v |  PREPARE  |    |    |
//!   |-------->|---------->|--->|--->|         each P logs its promise and votes
//!   |         |  PREPARED |    |    |         the last vote in, the transaction is committed
//!   |         |<----------|<---|<---|
//!   |         |  COMMIT   |    |    |
//!   |         |---------->|--->|--->|         each P logs the decision and carries it out
//!   |   OK    |  DONE     |    |    |         the last DONE in, C answers, frees the locks, forgets
//!   |<--------|<----------|<---|<---|
//! ```
//!
//! Gray, *Notes on data base operating systems*, 1978; Bernstein, Hadzilacos and Goodman, *Concurrency control
//! and recovery*, 1987, chapter 7; Mohan, Lindsay and Obermarck on R\*, 1986, for *presumed abort*; Skeen,
//! *Nonblocking commit protocols*, 1981, for what two phases cannot do: between vote and decision a
//! participant is blocked. Here it is blocked until a coordinator comes back, and no longer; that one may
//! have forgotten everything.
//!
//! ```text
//! coordinator   decides; stores nothing       participant   promises, carries out, answers
//! table         a participant's state as the fold of its log records
//! rules         what makes it correct, each rule in one place
//! ```
//!
//! **Incarnations.** Each start of the coordinator has a greater number than any before. A participant obeys the
//! newest it has seen and tells older ones so; these raise their own number above that, to one that no other start
//! comes to, and start over.
//!
//! **Views.** A view is a numbered set of members, who hold the data. Its members store it; only the coordinator
//! makes views (dynamic voting: Jajodia and Mutchler, 1990). A view is *active* when all its members have stored
//! it. Each view but the first has in it a member of every view that its data may come from (an *heir*), and
//! those who are in it for the first time store it before the others are even told (`views`). Hence
//!
//! > (1) Where a view W is active, some member of each view V stored before it has stored W, or lost its memory.
//!
//! **Which data is the newest?** A coordinator that has just started asks everybody. Let V be the newest view
//! that anybody reports. It goes on with the members of V that are there and hold data, in a view of its own, if
//!
//! - (a) *all members of V are there and hold data*. By (1) a newer active view would have been stored by one of
//!   them, and that one would have reported it. A member that holds an older view than V shows that V was not
//!   active yet: it was a member of the one before, and has all that anybody was told. Where such a V lacks a
//!   member (one of several that were joining, say), it is put aside as if nobody had stored it, and the next newest
//!   takes its place: what was active is reported by that member. Or if
//! - (b) *a majority of all configured participants is there, holding data, and a member of V among them is a
//!   witness*: it saw the newest incarnation that any of them knows end while it held that one's lease. A later
//!   coordinator would have formed its view after (a), then the witness was greeted by it and is none any
//!   more; or after (b), then it greeted a majority, which meets this one, and its incarnation would be known here;
//!   or after (d), which waits for every lease. So there was none, and as the incarnation that the witness saw
//!   end had not excluded it, the witness holds all that was answered. Or if
//! - (c) *all configured participants are there and nobody holds data*: a first start, or everything is lost.
//!   Then one of them begins empty and the others join it before anything is stored. Who has dropped an old copy for
//!   a new one that has not come yet remembers that and is no such participant: the newest data was
//!   there a moment ago, and that nobody has it now is not known. Or if
//! - (d) *this very process made the last view*, has lost all its members since, and one of them is back that
//!   still holds it, or the active one before it: nobody else has made a newer one. It waits until nobody that
//!   stays outside can hold a lease, so that (b) cannot be fooled later.
//!
//! In all other cases the answer to every command is an error. One coordinator at a time is presumed, and that a
//! system which refuses a connection to its address has no such process.
//!
//! **Leases and witnesses.** A participant whose answer to heartbeat n was sent at time a, and which learns from
//! a later heartbeat that the answer arrived, holds a lease until a + 600 ms: the coordinator counts from the
//! arrival, which is later, and does not exclude it before, also when the connection breaks. A participant
//! that answers a greeting lets go of its lease and of being a witness, except towards the incarnation that
//! greets: it is told once.
//!
//! **What an earlier incarnation left.** Promises without a decision end with the first view of the next one, in one
//! step with storing it: what any of its members has committed commits, all else aborts. What is prepared at a
//! member and committed by none may have been committed by somebody who is not there; it aborts all the
//! same. Nobody was told: the answer waits for the DONE of every member, and this member has not given it. Nobody has
//! read it: the lock was held. And the one that is not there is no member: it loses its copy before it serves.
//! Nothing is read or begun until the view is active. A participant forgets what it committed only when the
//! coordinator says that it is finished everywhere.
//!
//! **Exclusion.** Between deciding to exclude and the moment when all remaining members have stored the new view,
//! nothing commits and nobody is answered because the excluded one is not waited for: otherwise a
//! coordinator that died then would leave an answer that only a view knows which nobody stores.
//!
//! **Costs.** A write is two rounds and 4n frames, a read one round and two; with a log, two forced writes at each
//! participant. Commands on different keys never wait for each other. A dead participant holds writes up
//! for a lease at most; reads go on.
//!
//! **Caveats.** A link that breaks costs its participant a whole copy, since what was under way on it is not
//! repeated. Two coordinators at once lose no promise, but displace each other for ever, and between the two a read can
//! be old. Where the last members lose their memory, all is lost, and says so.

pub mod coordinator;
pub mod participant;
mod rules;
mod table;

use std::time::Duration;

use thiserror::Error;

pub use crate::wire::two_phase::{
    Blob, Change, Frame, Greeting, Key, MAX_PARTICIPANTS, Members, No, Report, TxnId, View, ViewId,
};
pub use coordinator::{Coordinator, Event, Limits, Status};
pub use participant::{Batch, Participant, Record, Recovered};
pub use rules::{PresumedAbort, Rules};

/// The times that both sides go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often the coordinator asks every participant whether it lives.
    pub heartbeat: Duration,
    /// How long an answer counts: a participant whose last one is older is excluded.
    pub lease: Duration,
    /// How long a participant hears nothing until it looks whether the coordinator still exists.
    pub silence: Duration,
    /// How long commands wait for the participants after a start; then they are answered with an error.
    pub patience: Duration,
}

/// The highest incarnation that is believed: one can always raise one's own above it.
pub const HIGHEST_INCARNATION: u64 = u64::MAX / 2;

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            lease: Duration::from_millis(600),
            silence: Duration::from_millis(200),
            patience: Duration::from_secs(1),
        }
    }
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stores a value.
    Set {
        /// Under this key.
        key: Key,
        /// The value.
        value: Blob,
    },
    /// Asks for the value of a key.
    Get {
        /// The key.
        key: Key,
    },
    /// Removes keys.
    Delete {
        /// The keys.
        keys: Vec<Key>,
    },
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is stored.
    Ok,
    /// The value, if there is one.
    Value(Option<Blob>),
    /// So many keys were removed.
    Removed(u64),
    /// It has not happened and will not.
    Error(Refusal),
    /// Whether it has happened or will is not known.
    Unknown,
}

/// Why a command is answered with an error. It has definitely not happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Nobody who holds the newest data is there.
    #[error("no participant that holds the newest data is there")]
    NoData,
    /// Too many commands, or too many bytes of them, are under way.
    #[error("too many commands are under way")]
    Busy,
    /// The command is larger than a frame may be.
    #[error("the command is too large")]
    TooLarge,
    /// A participant voted NO.
    #[error("a participant voted NO ({0:?})")]
    No(No),
}

/// What the other side did that no correct one does; it is cut off.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// A frame that does not belong there.
    #[error("sent a {0} where none belongs")]
    Unexpected(&'static str),
    /// A frame of a coordinator that is not the newest.
    #[error("is incarnation {found} of the coordinator; {newest} has been here")]
    Old {
        /// The incarnation.
        found: u64,
        /// The newest.
        newest: u64,
    },
    /// The participant holds data under another place in the configuration.
    #[error("has been participant {was} and is now configured as {now}")]
    Place {
        /// Where its view has it.
        was: u16,
        /// Where the configuration has it.
        now: u16,
    },
    /// A newer connection of the coordinator has taken its place.
    #[error("has connected anew elsewhere")]
    Replaced,
    /// It has answered a heartbeat and not what it was sent before.
    #[error("has left something unanswered that came before a heartbeat")]
    Owes,
    /// Nothing has come from it for as long as an answer counts.
    #[error("has been silent for too long")]
    Silent,
    /// More of something than one side keeps for the other.
    #[error("sent more than {0} {1}")]
    TooMany(usize, &'static str),
}
