//! What clients ask of the store, and how it ends, independent of the protocol they asked in.
//!
//! An [`Op`] changes the store and is therefore *ordered*: it is broadcast, and executed by every replica
//! at delivery. A [`Read`] is answered from the local copy. [`Outcome`] is the result of executing an
//! `Op`, the same on every replica, because execution depends on nothing but the store and the `Op`.

use super::Timestamp;

/// When an entry ends, in milliseconds since 1970; 0 is never.
///
/// Expiry times are absolute: relative ones are made absolute once, by the replica the client talks to,
/// so that every replica stores the same.
pub type Expiry = u64;

/// A value as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// The bytes; any bytes.
    pub data: Box<[u8]>,
    /// The opaque number that memcached clients keep with a value.
    pub flags: u32,
    /// When it ends.
    pub expires: Expiry,
}

/// An expiry that has passed at every time.
pub const ALWAYS_ENDED: Expiry = 1;

impl Value {
    /// What stands for a deleted key where replicas must remember which write deleted it.
    pub fn deleted() -> Self {
        Self { expires: ALWAYS_ENDED, ..Self::default() }
    }
}

/// A key with a value and the write that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The write.
    pub version: Timestamp,
    /// The key.
    pub key: Box<[u8]>,
    /// The value; [`Value::deleted`] where the key is gone.
    pub value: Value,
}

/// Under which condition a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreRule {
    /// In any case.
    Always,
    /// Where there is no such key (`add`, `SET … NX`).
    IfAbsent,
    /// Where there is such a key (`replace`, `SET … XX`).
    IfPresent,
    /// Where the entry is still the one with this cas unique (`cas`).
    IfUnique(u64),
}

/// At which end of a value bytes are joined to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Behind the value (`append`).
    Back,
    /// Before the value (`prepend`).
    Front,
}

/// Counting in place; the two protocols count differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// memcached `incr`: unsigned 64 bits, wraps around; the key must exist.
    WrappingAdd(u64),
    /// memcached `decr`: unsigned 64 bits, stops at 0; the key must exist.
    SaturatingSub(u64),
    /// RESP `INCR`, `DECR`, …: signed 64 bits, overflow is an error, a missing key counts as 0.
    Signed(i64),
}

/// An operation that changes the store; executed by every replica at delivery, in delivery order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Stores a value: `Stored`, `NotStored` (a rule other than `IfUnique` forbade it), `Exists`
    /// (the entry has another cas unique) or `NotFound` (`IfUnique` and no such key).
    Store {
        /// The key.
        key: Box<[u8]>,
        /// What to store.
        value: Value,
        /// When to.
        rule: StoreRule,
    },
    /// Stores several values as one operation (`MSET`): `Stored`.
    StoreMany(Vec<(Box<[u8]>, Value)>),
    /// Joins bytes to a value: `Length` of the result, `NotStored` where there is no such key and
    /// `create` is false, or `TooLarge`.
    Concat {
        /// The key.
        key: Box<[u8]>,
        /// The bytes to join.
        data: Box<[u8]>,
        /// Where to join them.
        end: End,
        /// Whether a missing key counts as an empty value.
        create: bool,
        /// The longest result allowed, in bytes; the bound travels so that every replica decides alike.
        max_value: usize,
    },
    /// Counts in place: `Number`, `NotFound`, `NotANumber` or `Overflow`. Keeps flags and expiry.
    Count {
        /// The key.
        key: Box<[u8]>,
        /// How to count.
        by: Arithmetic,
    },
    /// Sets the expiry of entries: `Touched(how many there were)`.
    Touch {
        /// The keys.
        keys: Vec<Box<[u8]>>,
        /// The new expiry.
        expires: Expiry,
    },
    /// Removes entries: `Deleted(how many there were)`.
    Delete {
        /// The keys.
        keys: Vec<Box<[u8]>>,
    },
    /// Removes all entries at once (`at` 0), or at a later time all that were written before it: `Stored`.
    FlushAll {
        /// When, in milliseconds since 1970; 0 is now.
        at: u64,
    },
    /// Opens a client's session, in which each write is executed once however often it is sent:
    /// `Number(its id)`.
    OpenSession,
    /// A write of a session: executed if its number is greater than that of the session's last write;
    /// answered as before if it is that one, sent again; else, or where the session is gone, `NoSession`.
    Once {
        /// The session's id.
        session: u64,
        /// The write's number in it, from 1.
        sequence: u64,
        /// The write; neither of these two kinds.
        op: Box<Op>,
    },
}

/// How an [`Op`] ended, at delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Stored,
    /// The rule, or the absence of the key, forbade it; nothing changed.
    NotStored,
    /// The entry has changed since its cas unique was read; nothing changed.
    Exists,
    /// There is no such key; nothing changed.
    NotFound,
    /// So many entries were removed.
    Deleted(u64),
    /// So many entries were given the new expiry.
    Touched(u64),
    /// The new number (memcached's unsigned numbers are at most `u64::MAX`).
    Number(i128),
    /// The new length of the value in bytes.
    Length(u64),
    /// The value is not a number that this arithmetic takes; nothing changed.
    NotANumber,
    /// The number would leave its range; nothing changed.
    Overflow,
    /// The value would be longer than allowed; nothing changed.
    TooLarge,
    /// No such session, or it has gone on to a later write. Nothing changed now; whether the same write was
    /// executed when it was sent before is not known.
    NoSession,
}

/// A question that the local copy answers; borrows its keys from where they were parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// The values of these keys, in the order asked.
    Get(Vec<&'a [u8]>),
    /// How many of these keys exist (a key named twice counts twice).
    Exists(Vec<&'a [u8]>),
    /// The length of one value in bytes, 0 for a missing key.
    Length(&'a [u8]),
    /// The keys that match a glob pattern, sorted. As in RESP `KEYS`: `*`, `?`, `[a-z]`, `\`.
    Keys(&'a [u8]),
    /// The number of entries.
    Size,
}
