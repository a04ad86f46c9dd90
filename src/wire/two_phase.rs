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

use std::fmt;
use std::sync::Arc;

use super::codec::{CodecError, Reader, put_bytes};
pub use super::frame::FrameError;
use super::frame::{framed, unframed};

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
        /// Every transaction with a smaller number is finished everywhere.
        finished: TxnId,
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
        /// As in [`Frame::Prepare`].
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

const GREETING: u8 = 1;
const REPORT: u8 = 2;
const REFUSED: u8 = 3;
const PREPARE: u8 = 4;
const PREPARED: u8 = 5;
const NO: u8 = 6;
const COMMIT: u8 = 7;
const ABORT: u8 = 8;
const DONE: u8 = 9;
const READ: u8 = 10;
const VALUE: u8 = 11;
const HEARTBEAT: u8 = 12;
const ALIVE: u8 = 13;
const INSTALL: u8 = 14;
const INSTALLED: u8 = 15;
const JOIN: u8 = 16;
const JOINED: u8 = 17;
const FETCH: u8 = 18;
const CHUNK: u8 = 19;
const STORE: u8 = 20;
const STORED: u8 = 21;

fn put_u64(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(&n.to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, n: usize) {
    // Bounded by MAX_ITEMS.
    out.extend_from_slice(&(n as u32).to_le_bytes());
}

/// Appends the number of a transaction, without a frame around it.
pub fn put_txn(out: &mut Vec<u8>, txn: TxnId) {
    put_u64(out, txn.incarnation);
    put_u64(out, txn.sequence);
}

fn put_txns(out: &mut Vec<u8>, txns: &[TxnId]) {
    put_count(out, txns.len());
    txns.iter().for_each(|txn| put_txn(out, *txn));
}

fn put_view_id(out: &mut Vec<u8>, id: ViewId) {
    put_u64(out, id.epoch);
    put_u64(out, id.maker);
}

/// Appends a view, without a frame around it.
pub fn put_view(out: &mut Vec<u8>, view: View) {
    put_view_id(out, view.id);
    out.extend_from_slice(&view.members.0.to_le_bytes());
}

/// Appends what a transaction does, without a frame around it.
pub fn put_change(out: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Set { key, value } => {
            out.push(1);
            put_bytes(out, key);
            put_bytes(out, value);
        }
        Change::Delete { keys } => {
            out.push(2);
            put_count(out, keys.len());
            keys.iter().for_each(|key| put_bytes(out, key));
        }
    }
}

/// Appends entries, without a frame around them.
pub fn put_entries(out: &mut Vec<u8>, entries: &[(Key, Blob)]) {
    put_count(out, entries.len());
    for (key, value) in entries {
        put_bytes(out, key);
        put_bytes(out, value);
    }
}

/// Appends a [`Frame::Prepare`] without taking what it carries.
pub fn put_prepare(out: &mut Vec<u8>, txn: TxnId, view: ViewId, finished: TxnId, change: &Change) {
    framed(out, PREPARE, |out| {
        put_txn(out, txn);
        put_view_id(out, view);
        put_txn(out, finished);
        put_change(out, change);
    });
}

/// Appends a [`Frame::Store`] without taking what it carries.
pub fn put_store(out: &mut Vec<u8>, copy: u64, entries: &[(Key, Blob)]) {
    framed(out, STORE, |out| {
        put_u64(out, copy);
        put_entries(out, entries);
    });
}

/// Reads what [`put_txn`] wrote.
pub fn take_txn(r: &mut Reader<'_>) -> Result<TxnId, CodecError> {
    Ok(TxnId { incarnation: r.u64()?, sequence: r.u64()? })
}

fn take_count(r: &mut Reader<'_>, least: usize) -> Result<usize, CodecError> {
    match r.count(least)? {
        n if n > MAX_ITEMS => Err(CodecError::Items { max: MAX_ITEMS, found: n }),
        n => Ok(n),
    }
}

fn take_txns(r: &mut Reader<'_>) -> Result<Vec<TxnId>, CodecError> {
    let n = take_count(r, 16)?;
    (0..n).map(|_| take_txn(r)).collect()
}

fn take_view_id(r: &mut Reader<'_>) -> Result<ViewId, CodecError> {
    Ok(ViewId { epoch: r.u64()?, maker: r.u64()? })
}

/// Reads what [`put_view`] wrote.
pub fn take_view(r: &mut Reader<'_>) -> Result<View, CodecError> {
    let id = take_view_id(r)?;
    let low = u128::from(r.u64()?);
    Ok(View { id, members: Members(low | u128::from(r.u64()?) << 64) })
}

fn take_key(r: &mut Reader<'_>) -> Result<Key, CodecError> {
    Ok(r.bytes()?.into())
}

fn take_blob(r: &mut Reader<'_>) -> Result<Blob, CodecError> {
    Ok(Arc::new(r.bytes()?.to_vec()))
}

/// Reads what [`put_change`] wrote.
pub fn take_change(r: &mut Reader<'_>) -> Result<Change, CodecError> {
    Ok(match r.u8()? {
        1 => Change::Set { key: take_key(r)?, value: take_blob(r)? },
        2 => {
            let n = take_count(r, 4)?;
            Change::Delete { keys: (0..n).map(|_| take_key(r)).collect::<Result<_, _>>()? }
        }
        tag => return Err(CodecError::Tag { what: "a change", tag }),
    })
}

/// Reads what [`put_entries`] wrote.
pub fn take_entries(r: &mut Reader<'_>) -> Result<Vec<(Key, Blob)>, CodecError> {
    let n = take_count(r, 8)?;
    (0..n).map(|_| Ok((take_key(r)?, take_blob(r)?))).collect()
}

impl Frame {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Frame::Prepare { txn, view, finished, change } => {
                put_prepare(out, *txn, *view, *finished, change);
            }
            Frame::Store { copy, entries } => put_store(out, *copy, entries),
            _ => framed(out, self.kind(), |out| self.put_body(out)),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Frame::Greeting(_) => GREETING,
            Frame::Report(_) => REPORT,
            Frame::Refused { .. } => REFUSED,
            Frame::Prepare { .. } => PREPARE,
            Frame::Prepared { .. } => PREPARED,
            Frame::No { .. } => NO,
            Frame::Commit(_) => COMMIT,
            Frame::Abort(_) => ABORT,
            Frame::Done(_) => DONE,
            Frame::Read { .. } => READ,
            Frame::Value { .. } => VALUE,
            Frame::Heartbeat { .. } => HEARTBEAT,
            Frame::Alive { .. } => ALIVE,
            Frame::Install { .. } => INSTALL,
            Frame::Installed(_) => INSTALLED,
            Frame::Join { .. } => JOIN,
            Frame::Joined { .. } => JOINED,
            Frame::Fetch { .. } => FETCH,
            Frame::Chunk { .. } => CHUNK,
            Frame::Store { .. } => STORE,
            Frame::Stored { .. } => STORED,
        }
    }

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

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Frame::Greeting(g) => {
                put_u64(out, g.incarnation);
                out.extend_from_slice(&g.you.to_le_bytes());
                out.extend_from_slice(&g.participants.to_le_bytes());
            }
            Frame::Report(report) => put_report(out, report),
            Frame::Refused { newest: n }
            | Frame::Alive { number: n }
            | Frame::Join { copy: n }
            | Frame::Joined { copy: n }
            | Frame::Stored { copy: n } => put_u64(out, *n),
            Frame::Prepared { txn, held } => {
                put_txn(out, *txn);
                put_u64(out, *held);
            }
            Frame::No { txn, why } => {
                put_txn(out, *txn);
                out.push(match why {
                    No::Full => 1,
                    No::View => 2,
                    No::Refuses => 3,
                });
            }
            Frame::Commit(txn) | Frame::Abort(txn) | Frame::Done(txn) => put_txn(out, *txn),
            Frame::Read { id, key } => {
                put_u64(out, *id);
                put_bytes(out, key);
            }
            Frame::Value { id, value } => {
                put_u64(out, *id);
                out.push(value.is_some().into());
                out.extend_from_slice(value.as_deref().map_or(&[], Vec::as_slice));
            }
            Frame::Heartbeat { number, heard, finished } => {
                put_u64(out, *number);
                put_u64(out, *heard);
                put_txn(out, *finished);
            }
            Frame::Install { view, fresh, resolve } => {
                put_view(out, *view);
                out.extend_from_slice(&[(*fresh).into(), resolve.is_some().into()]);
                put_txns(out, resolve.as_deref().unwrap_or_default());
            }
            Frame::Installed(id) => put_view_id(out, *id),
            Frame::Fetch { copy, after, bytes } => {
                put_u64(out, *copy);
                out.extend_from_slice(&bytes.to_le_bytes());
                out.push(after.is_some().into());
                out.extend_from_slice(after.as_deref().unwrap_or_default());
            }
            Frame::Chunk { copy, end, entries } => {
                put_u64(out, *copy);
                out.push((*end).into());
                put_entries(out, entries);
            }
            Frame::Prepare { .. } | Frame::Store { .. } => {
                unreachable!("they have functions of their own")
            }
        }
    }

    /// Reads the frame at the front of `bytes`: the frame and its length, or `None` while it is incomplete.
    ///
    /// # Errors
    /// When the bytes can not become a frame whatever follows.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Frame, usize)>, FrameError> {
        match unframed(bytes, MAX_FRAME)? {
            Some((body, length)) => Ok(Some((Self::decode_body(body)?, length))),
            None => Ok(None),
        }
    }

    fn decode_body(body: &[u8]) -> Result<Frame, FrameError> {
        let mut r = Reader::new(body);
        let frame = match r.u8()? {
            GREETING => Frame::Greeting(Greeting {
                incarnation: r.u64()?,
                you: r.u16()?,
                participants: r.u16()?,
            }),
            REPORT => Frame::Report(take_report(&mut r)?),
            REFUSED => Frame::Refused { newest: r.u64()? },
            PREPARE => Frame::Prepare {
                txn: take_txn(&mut r)?,
                view: take_view_id(&mut r)?,
                finished: take_txn(&mut r)?,
                change: take_change(&mut r)?,
            },
            PREPARED => Frame::Prepared { txn: take_txn(&mut r)?, held: r.u64()? },
            NO => Frame::No { txn: take_txn(&mut r)?, why: take_no(&mut r)? },
            COMMIT => Frame::Commit(take_txn(&mut r)?),
            ABORT => Frame::Abort(take_txn(&mut r)?),
            DONE => Frame::Done(take_txn(&mut r)?),
            READ => Frame::Read { id: r.u64()?, key: take_key(&mut r)? },
            VALUE => Frame::Value {
                id: r.u64()?,
                value: take_optional(&mut r)?.map(|value| Arc::new(value.to_vec())),
            },
            HEARTBEAT => {
                Frame::Heartbeat { number: r.u64()?, heard: r.u64()?, finished: take_txn(&mut r)? }
            }
            ALIVE => Frame::Alive { number: r.u64()? },
            INSTALL => {
                let (view, fresh) = (take_view(&mut r)?, r.flag()?);
                let (resolves, txns) = (r.flag()?, take_txns(&mut r)?);
                Frame::Install { view, fresh, resolve: resolves.then_some(txns) }
            }
            INSTALLED => Frame::Installed(take_view_id(&mut r)?),
            JOIN => Frame::Join { copy: r.u64()? },
            JOINED => Frame::Joined { copy: r.u64()? },
            FETCH => {
                let (copy, bytes) = (r.u64()?, r.u32()?);
                Frame::Fetch { copy, bytes, after: take_optional(&mut r)?.map(Key::from) }
            }
            CHUNK => {
                Frame::Chunk { copy: r.u64()?, end: r.flag()?, entries: take_entries(&mut r)? }
            }
            STORE => Frame::Store { copy: r.u64()?, entries: take_entries(&mut r)? },
            STORED => Frame::Stored { copy: r.u64()? },
            kind => return Err(FrameError::Kind(kind)),
        };
        r.finish()?;
        Ok(frame)
    }
}

/// What is left, where a flag says that there is something; nothing may be left otherwise.
fn take_optional<'a>(r: &mut Reader<'a>) -> Result<Option<&'a [u8]>, CodecError> {
    Ok(if r.flag()? { Some(r.rest()) } else { None })
}

fn take_no(r: &mut Reader<'_>) -> Result<No, CodecError> {
    Ok(match r.u8()? {
        1 => No::Full,
        2 => No::View,
        3 => No::Refuses,
        tag => return Err(CodecError::Tag { what: "a reason for NO", tag }),
    })
}

fn put_report(out: &mut Vec<u8>, report: &Report) {
    for n in [report.to, report.life, report.seen] {
        put_u64(out, n);
    }
    out.push(report.witness.into());
    put_view(out, report.view);
    out.extend_from_slice(&report.me.to_le_bytes());
    put_txns(out, &report.prepared);
    put_txns(out, &report.committed);
}

fn take_report(r: &mut Reader<'_>) -> Result<Report, CodecError> {
    Ok(Report {
        to: r.u64()?,
        life: r.u64()?,
        seen: r.u64()?,
        witness: r.flag()?,
        view: take_view(r)?,
        me: r.u16()?,
        prepared: take_txns(r)?,
        committed: take_txns(r)?,
    })
}
