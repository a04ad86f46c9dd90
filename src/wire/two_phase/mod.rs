//! What a coordinator and its participants say to each other: a preface in both directions, then frames
//! (`frame`). The coordinator opens the connection and greets; what the frames mean, and why they are
//! enough, is told in `protocol::two_phase`.
//!
//! ```text
//! coordinator -> participant                      participant -> coordinator
//! Greeting    who I am, who you are               Report     what I hold | Refused  you are not the newest
//! Prepare     REQUEST-TO-PREPARE                  Prepared | No
//! Commit | Abort                                  Done
//! Read        a key                               Value
//! Heartbeat   a number                            Alive      the number
//! Install     a view                              Installed
//! Join        drop your copy, take part           Joined
//! Fetch       a part of your copy                 Chunk
//! Store       a part of somebody's copy           Stored
//! ```
//!
//! Every announced count is checked against the bytes that are there, and against [`MAX_ITEMS`], before
//! anything is allocated for it.

mod bytes;

use std::fmt;
use std::sync::Arc;

pub use super::frame::FrameError;
pub use bytes::{
    put_change, put_entries, put_prepare, put_store, put_txn, put_view, take_change, take_entries,
    take_txn, take_view,
};

/// The first bytes on a connection, in both directions.
pub const PREFACE: &[u8] = b"consistency-lab 2pc 1\n";

/// The longest frame in bytes: the longest command of a client (512 MiB), and its surroundings.
pub const MAX_FRAME: usize = (512 + 1) * 1024 * 1024;

/// The most keys, entries or transaction numbers in one frame.
pub const MAX_ITEMS: usize = 1 << 20;

/// The most participants: [`Members`] is a set of bits.
pub const MAX_PARTICIPANTS: u16 = 128;

/// A key; shared, because the lock table, the transaction and the store hold it.
pub type Key = Arc<[u8]>;

/// A value: opaque bytes, shared by all that hold it.
pub type Blob = Arc<Vec<u8>>;

/// The number of a transaction. Those of a later incarnation of the coordinator are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId {
    /// The incarnation of the coordinator that began it.
    pub incarnation: u64,
    /// Its number there, from 1.
    pub sequence: u64,
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.sequence)
    }
}

/// A set of participants, by their place in the coordinator's configuration.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Members(pub u128);

impl Members {
    /// The first `n` participants.
    pub fn first(n: u16) -> Self {
        Self(if n >= MAX_PARTICIPANTS { u128::MAX } else { (1 << n) - 1 })
    }

    /// Only this one.
    pub fn one(p: u16) -> Self {
        Self(if p < MAX_PARTICIPANTS { 1 << p } else { 0 })
    }

    /// Whether `p` is in it.
    pub fn has(self, p: u16) -> bool {
        self.0 & Self::one(p).0 != 0
    }

    /// Adds `p`.
    pub fn insert(&mut self, p: u16) {
        self.0 |= Self::one(p).0;
    }

    /// Takes `p` out; whether it was in.
    pub fn remove(&mut self, p: u16) -> bool {
        let had = self.has(p);
        self.0 &= !Self::one(p).0;
        had
    }

    /// Those in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those in either.
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those not in `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nobody is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// They, in order.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let p = (left != 0).then(|| left.trailing_zeros() as u16)?;
            left &= left - 1;
            Some(p)
        })
    }
}

impl FromIterator<u16> for Members {
    fn from_iter<I: IntoIterator<Item = u16>>(iter: I) -> Self {
        let mut members = Members::default();
        iter.into_iter().for_each(|p| members.insert(p));
        members
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The number of a view: greater is newer. Two coordinators' views of one epoch are told apart by who made
/// them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewId {
    /// One more than that of the view before it; 0 is no view at all.
    pub epoch: u64,
    /// The incarnation of the coordinator that made it.
    pub maker: u64,
}

/// Who holds the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Its number.
    pub id: ViewId,
    /// Its members.
    pub members: Members,
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Stores a value.
    Set {
        /// Under this key.
        key: Key,
        /// The value.
        value: Blob,
    },
    /// Removes keys.
    Delete {
        /// The keys.
        keys: Vec<Key>,
    },
}

impl Change {
    /// The keys that it touches.
    pub fn keys(&self) -> &[Key] {
        match self {
            Change::Set { key, .. } => std::slice::from_ref(key),
            Change::Delete { keys } => keys,
        }
    }

    /// About how many bytes it takes to hold it.
    pub fn size(&self) -> usize {
        let keys: usize = self.keys().iter().map(|key| key.len() + ENTRY_OVERHEAD).sum();
        keys + if let Change::Set { value, .. } = self { value.len() } else { 0 }
    }
}

/// What a key in a table or a list takes beyond its bytes, about.
pub const ENTRY_OVERHEAD: usize = 64;

/// What a coordinator says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Its incarnation.
    pub incarnation: u64,
    /// The place of the participant in its configuration.
    pub you: u16,
    /// How many participants it has configured.
    pub participants: u16,
}

/// What a participant answers to a greeting: all that it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The incarnation that it answers.
    pub to: u64,
    /// A number that no other start of the participant has.
    pub life: u64,
    /// The newest incarnation that it had seen before this one; 0 for none.
    pub seen: u64,
    /// Whether it saw that one end while that one still counted on it.
    pub witness: bool,
    /// Its view; epoch 0 when it holds no data.
    pub view: View,
    /// Its place in that view.
    pub me: u16,
    /// What it has promised and not heard the end of, in order.
    pub prepared: Vec<TxnId>,
    /// What it has committed, as far as somebody else may not have, in order.
    pub committed: Vec<TxnId>,
}

/// Why a participant votes NO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// It would hold more bytes than it may.
    Full,
    /// The transaction belongs to a view that it does not have.
    View,
    /// It takes no promises: its log has failed, or whoever started it wants it so.
    Refuses,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Opens a connection, or a new incarnation on an open one.
    Greeting(Greeting),
    /// Answers a greeting.
    Report(Report),
    /// Answers the greeting of an incarnation that is not the newest.
    Refused {
        /// The newest that the participant has seen.
        newest: u64,
    },
    /// REQUEST-TO-PREPARE.
    Prepare {
        /// The transaction.
        txn: TxnId,
        /// The view that it is to be prepared in.
        view: ViewId,
        /// What it does.
        change: Change,
    },
    /// The vote: promised.
    Prepared {
        /// The transaction.
        txn: TxnId,
        /// How many of its keys the participant holds; what a deletion will have removed.
        held: u64,
    },
    /// The vote: not promised.
    No {
        /// The transaction.
        txn: TxnId,
        /// Why.
        why: No,
    },
    /// The decision: it happens.
    Commit(TxnId),
    /// The decision: it does not happen.
    Abort(TxnId),
    /// The decision is carried out.
    Done(TxnId),
    /// Asks for the value of a key.
    Read {
        /// The number of the question.
        id: u64,
        /// The key.
        key: Key,
    },
    /// Answers a [`Frame::Read`].
    Value {
        /// The number of the question.
        id: u64,
        /// The value, if there is one.
        value: Option<Blob>,
    },
    /// Asks whether the participant lives.
    Heartbeat {
        /// The number of the question.
        number: u64,
        /// The greatest number whose answer has arrived and counts as a promise not to exclude the
        /// participant before its lease has run out; 0 for none.
        heard: u64,
        /// Every transaction with a smaller number is finished everywhere.
        finished: TxnId,
    },
    /// Answers a [`Frame::Heartbeat`].
    Alive {
        /// The number of the question.
        number: u64,
    },
    /// A new view, with the receiver in it.
    Install {
        /// The view.
        view: View,
        /// Whether the participant begins it empty, whatever it holds.
        fresh: bool,
        /// Where set, all that earlier incarnations left undecided ends now: what is listed commits, all
        /// else aborts.
        resolve: Option<Vec<TxnId>>,
    },
    /// The view is stored.
    Installed(ViewId),
    /// The participant is to drop its copy and take part in all transactions from here on.
    Join {
        /// The number of the copy that will follow.
        copy: u64,
    },
    /// Its copy is dropped.
    Joined {
        /// The number of the copy.
        copy: u64,
    },
    /// Asks for a part of the participant's copy.
    Fetch {
        /// The number of the copy that it is for.
        copy: u64,
        /// Entries behind this key; from the first on when `None`.
        after: Option<Key>,
        /// About how many bytes.
        bytes: u32,
    },
    /// Answers a [`Frame::Fetch`].
    Chunk {
        /// The number of the copy.
        copy: u64,
        /// Whether these are the last entries.
        end: bool,
        /// Entries in the order of their keys.
        entries: Vec<(Key, Blob)>,
    },
    /// A part of somebody else's copy, to be stored where nothing newer is.
    Store {
        /// The number of the copy.
        copy: u64,
        /// The entries.
        entries: Vec<(Key, Blob)>,
    },
    /// It is stored.
    Stored {
        /// The number of the copy.
        copy: u64,
    },
}

impl Frame {
    /// The name of its kind, for messages about it.
    pub fn name(&self) -> &'static str {
        match self {
            Frame::Greeting(_) => "greeting",
            Frame::Report(_) => "report",
            Frame::Refused { .. } => "refusal",
            Frame::Prepare { .. } => "request to prepare",
            Frame::Prepared { .. } => "vote PREPARED",
            Frame::No { .. } => "vote NO",
            Frame::Commit(_) => "COMMIT",
            Frame::Abort(_) => "ABORT",
            Frame::Done(_) => "DONE",
            Frame::Read { .. } => "read",
            Frame::Value { .. } => "value",
            Frame::Heartbeat { .. } => "heartbeat",
            Frame::Alive { .. } => "sign of life",
            Frame::Install { .. } => "view to install",
            Frame::Installed(_) => "installed view",
            Frame::Join { .. } => "order to join",
            Frame::Joined { .. } => "joining",
            Frame::Fetch { .. } => "fetch",
            Frame::Chunk { .. } => "chunk",
            Frame::Store { .. } => "store",
            Frame::Stored { .. } => "stored",
        }
    }
}
