//! The table: a deterministic key-value state machine.
//!
//! **Determinism.** [`Table::execute`] depends on the table, the operation, its position and `at` (the
//! wall clock of the replica the client talked to, carried by the message), and on nothing else: never
//! on the local clock, never on the order of the hash table. So replicas that execute the same
//! operations in the same order hold the same entries and report the same changes, byte for byte.
//!
//! **Expiry.** Whether an operation meets a live entry is judged by its `at`. An operation deletes the
//! ended entries that it names, and a few others besides, oldest first, as changes like any other; so
//! what is on disk is always exactly what is in memory, and a restart cannot bring back what another
//! replica has dropped. A local read judges by the local clock and changes nothing. Memory of ended
//! entries is given back only as operations are executed.
//!
//! **Delayed `flush_all`.** Remembered; the first operation whose `at` reaches its time clears the table
//! first, and a read whose clock has reached it sees an empty table. A later `flush_all` replaces it.
//!
//! **cas unique.** The position of the operation that stored the value. As in memcached, `touch` keeps it.
//!
//! **Sessions** of clients that want their writes executed once are entries too (see [`super::session`]), so
//! that they are on disk, shipped and compacted like all others; they are not counted and not listed.
//!
//! **Cost.** One look-up is one hash and about two cache misses. Each entry is one allocation plus 17
//! bytes of table; the table doubles at 7/8 load, and that one insertion moves every entry's slot.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table;

use super::decide;
use super::entry::{Entry, Parts, ended};
use super::glob;
use super::session;
use crate::base::op::ALWAYS_ENDED;
use crate::base::{Arithmetic, End, Expiry, Op, Outcome, StoreRule, Timestamp, Value};

/// How many moments of expiry one operation clears up beside its own work.
const EXPIRIES_PER_OP: usize = 4;

/// A live entry, as a reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The value.
    pub data: &'a [u8],
    /// memcached's opaque number.
    pub flags: u32,
    /// When the entry ends; 0 is never.
    pub expires: Expiry,
    /// The cas unique: the position of the operation that stored the value.
    pub unique: u64,
    /// The position of the last operation that changed the entry in any way, expiry included.
    pub position: u64,
    /// The write that it comes from, in a table that keeps versions; else zero.
    pub version: Timestamp,
}

/// What an operation did to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// The key now has this entry.
    Set {
        /// The key.
        key: &'a [u8],
        /// The value.
        data: &'a [u8],
        /// memcached's opaque number.
        flags: u32,
        /// When the entry ends; 0 is never.
        expires: Expiry,
        /// The cas unique; less than the operation's position where only the expiry changed.
        unique: u64,
    },
    /// The key is gone.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// Everything is gone (`at` 0), or will be at that time.
    FlushAll {
        /// When, in milliseconds since 1970; 0 is now.
        at: u64,
    },
}

/// The table of one replica.
#[derive(Debug)]
pub struct Table {
    pub(super) entries: HashTable<Entry>,
    hasher: FixedState,
    /// How many entries end at `(expires, position, hash)`; more than one only if hashes collide.
    pub(super) expiring: BTreeMap<(u64, u64, u64), u32>,
    flush_at: Option<u64>,
    pub(super) last_removal: u64,
    live_bytes: u64,
    /// The clients' sessions by their last use: the position of the record that holds the entry.
    sessions: BTreeMap<u64, Box<[u8]>>,
}

impl Table {
    /// An empty table. The seed keeps clients from choosing colliding keys; it changes no result.
    pub fn new(hash_seed: u64) -> Self {
        Self {
            entries: HashTable::new(),
            hasher: FixedState::with_seed(hash_seed),
            expiring: BTreeMap::new(),
            flush_at: None,
            last_removal: 0,
            live_bytes: 0,
            sessions: BTreeMap::new(),
        }
    }

    /// The live entry of a key, judged by the local wall clock.
    pub fn get(&self, key: &[u8], now_unix_ms: u64) -> Option<Found<'_>> {
        if self.flush_due(now_unix_ms) {
            return None;
        }
        let parts = self.find(key).filter(|parts| !parts.expired(now_unix_ms))?;
        let Parts { data, flags, expires, unique, position, version, .. } = parts;
        Some(Found { data, flags, expires, unique, position, version })
    }

    /// How many live entries there are.
    pub fn len(&self, now_unix_ms: u64) -> usize {
        if self.flush_due(now_unix_ms) {
            return 0;
        }
        let now = now_unix_ms.max(ALWAYS_ENDED);
        let ended = self.expiring.range(..=(now, u64::MAX, u64::MAX));
        let ended = ended.map(|(_, &count)| count as usize).sum::<usize>();
        self.entries.len() - ended - self.sessions.len()
    }

    /// Whether there is no live entry.
    pub fn is_empty(&self, now_unix_ms: u64) -> bool {
        self.len(now_unix_ms) == 0
    }

    /// The live keys that match a glob pattern, sorted. Looks at every entry.
    pub fn keys_matching(&self, pattern: &[u8], now_unix_ms: u64) -> Vec<Box<[u8]>> {
        if self.flush_due(now_unix_ms) {
            return Vec::new();
        }
        let mut keys: Vec<Box<[u8]>> = self
            .entries
            .iter()
            .map(Entry::parts)
            .filter(|parts| !parts.expired(now_unix_ms) && !session::is_session(parts.key))
            .filter(|parts| glob::matches(pattern, parts.key))
            .map(|parts| parts.key.into())
            .collect();
        keys.sort_unstable();
        keys
    }

    /// The position of the last operation that removed anything: a reader that finds no entry depends on
    /// no operation after it.
    pub fn last_removal(&self) -> u64 {
        self.last_removal
    }

    /// How many bytes a compacted file would take for the entries, give or take a byte each.
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// The time of a delayed `flush_all` that has not been executed yet.
    pub fn flush_at(&self) -> Option<u64> {
        self.flush_at
    }

    /// Whether the record of `position` is the one that holds the key's entry.
    pub fn is_live(&self, key: &[u8], position: u64) -> bool {
        self.find(key).is_some_and(|parts| parts.position == position)
    }

    /// What `op` would answer on this copy at this moment; changes nothing.
    pub fn preview(&self, op: &Op, now_unix_ms: u64) -> Outcome {
        let found = |key: &[u8]| self.get(key, now_unix_ms);
        match op {
            Op::Store { key, rule, .. } => decide::store(*rule, found(key).map(|f| f.unique)),
            Op::StoreMany(_) | Op::FlushAll { .. } => Outcome::Stored,
            Op::Concat { key, data, create, max_value, .. } => {
                let there = found(key).map(|f| f.data.len());
                decide::concat(there, data.len(), *create, *max_value)
            }
            Op::Count { key, by } => decide::count(found(key).map(|f| f.data), *by),
            Op::Touch { keys, expires } if ended(*expires, now_unix_ms) => {
                Outcome::Touched(self.count_distinct(keys, now_unix_ms))
            }
            Op::Touch { keys, .. } => {
                Outcome::Touched(keys.iter().filter(|key| found(key).is_some()).count() as u64)
            }
            Op::Delete { keys } => Outcome::Deleted(self.count_distinct(keys, now_unix_ms)),
            // Its id is the place in the order, which is not known before the delivery.
            Op::OpenSession => Outcome::NoSession,
            Op::Once { session, sequence, op } => {
                let known = found(&session::key(*session)).map(|f| f.data);
                session::look_up(known, *sequence).unwrap_or_else(|| self.preview(op, now_unix_ms))
            }
        }
    }

    fn count_distinct(&self, keys: &[Box<[u8]>], now: u64) -> u64 {
        let there = keys.iter().filter(|key| self.get(key, now).is_some());
        there.collect::<BTreeSet<_>>().len() as u64
    }

    /// Executes an operation and reports each change in order; none when nothing changed. `changes`
    /// answers how many bytes the change's record takes (see [`Table::live_bytes`]).
    pub fn execute(
        &mut self,
        op: &Op,
        position: u64,
        at_unix_ms: u64,
        changes: &mut impl FnMut(Change<'_>) -> usize,
    ) -> Outcome {
        Execution { table: self, position, at: at_unix_ms, changes }.run(op)
    }

    /// Puts an entry as a record says; replay only.
    pub(super) fn put(&mut self, parts: &Parts<'_>) {
        let hash = self.hasher.hash_one(parts.key);
        let hasher = &self.hasher;
        let same = |entry: &Entry| entry.key() == parts.key;
        let rehash = |entry: &Entry| hasher.hash_one(entry.key());
        match self.entries.entry(hash, same, rehash) {
            hash_table::Entry::Occupied(mut slot) => {
                let old = slot.get().parts();
                self.live_bytes -= u64::from(old.record_length);
                forget_expiry(&mut self.expiring, &old, hash);
                if session::is_session(old.key) {
                    self.sessions.remove(&old.position);
                }
                slot.get_mut().replace(parts);
            }
            hash_table::Entry::Vacant(slot) => {
                slot.insert(Entry::new(parts));
            }
        }
        self.live_bytes += u64::from(parts.record_length);
        if session::is_session(parts.key) {
            self.sessions.insert(parts.position, parts.key.into());
        }
        if parts.expires != 0 {
            *self.expiring.entry((parts.expires, parts.position, hash)).or_insert(0) += 1;
        }
    }

    /// Removes an entry; whether there was one.
    pub(super) fn remove(&mut self, key: &[u8], position: u64) -> bool {
        self.last_removal = position;
        let hash = self.hasher.hash_one(key);
        let Ok(slot) = self.entries.find_entry(hash, |entry| entry.key() == key) else {
            return false;
        };
        let (entry, _) = slot.remove();
        self.forget(&entry, hash);
        true
    }

    /// Clears the table (`at` 0), or remembers to.
    pub(super) fn flush(&mut self, at: u64, position: u64) {
        self.flush_at = (at != 0).then_some(at);
        if at == 0 {
            self.entries = HashTable::new();
            self.expiring.clear();
            self.sessions.clear();
            self.live_bytes = 0;
            self.last_removal = position;
        }
    }

    fn forget(&mut self, entry: &Entry, hash: u64) {
        let parts = entry.parts();
        self.live_bytes -= u64::from(parts.record_length);
        forget_expiry(&mut self.expiring, &parts, hash);
        if session::is_session(parts.key) {
            self.sessions.remove(&parts.position);
        }
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<Parts<'_>> {
        let hash = self.hasher.hash_one(key);
        self.entries.find(hash, |entry| entry.key() == key).map(Entry::parts)
    }

    pub(super) fn flush_due(&self, now: u64) -> bool {
        self.flush_at.is_some_and(|at| at <= now)
    }

    /// Takes the entries of the earliest moment of expiry out of the table, if it has come; their keys.
    fn take_ended(&mut self, at: u64) -> Option<Vec<Box<[u8]>>> {
        let (&(expires, position, _), _) = self.expiring.first_key_value()?;
        if !ended(expires, at) {
            return None;
        }
        let mut keys = Vec::new();
        while let Some(slot) = self.expiring.first_entry() {
            let &(when, place, hash) = slot.key();
            if (when, place) != (expires, position) {
                break;
            }
            let count = slot.remove();
            let ends_now = |entry: &Entry| {
                let parts = entry.parts();
                (parts.expires, parts.position) == (expires, position)
            };
            for _ in 0..count {
                let Ok(slot) = self.entries.find_entry(hash, ends_now) else { break };
                let (entry, _) = slot.remove();
                self.live_bytes -= u64::from(entry.parts().record_length);
                keys.push(entry.key().into());
            }
        }
        // The hash decides nothing that is seen: neither which entries go nor in which order.
        keys.sort_unstable();
        Some(keys)
    }
}

fn forget_expiry(expiring: &mut BTreeMap<(u64, u64, u64), u32>, parts: &Parts<'_>, hash: u64) {
    if parts.expires == 0 {
        return;
    }
    let place = (parts.expires, parts.position, hash);
    if let Some(count) = expiring.get_mut(&place) {
        *count -= 1;
        if *count == 0 {
            expiring.remove(&place);
        }
    }
}

/// One operation under way.
struct Execution<'a, F> {
    table: &'a mut Table,
    position: u64,
    at: u64,
    changes: &'a mut F,
}

impl<F: FnMut(Change<'_>) -> usize> Execution<'_, F> {
    fn run(&mut self, op: &Op) -> Outcome {
        if self.table.flush_due(self.at) {
            self.flush(0);
        }
        for _ in 0..EXPIRIES_PER_OP {
            let Some(keys) = self.table.take_ended(self.at) else { break };
            self.table.last_removal = self.position;
            keys.iter().for_each(|key| {
                (self.changes)(Change::Delete { key });
            });
        }
        self.carry_out(op)
    }

    fn carry_out(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Store { key, value, rule } => self.store(key, value, *rule),
            Op::StoreMany(pairs) => {
                pairs.iter().for_each(|(key, value)| self.set(key, value));
                Outcome::Stored
            }
            Op::Concat { key, data, end, create, max_value } => {
                self.concat(key, data, *end, *create, *max_value)
            }
            Op::Count { key, by } => self.count(key, *by),
            Op::Touch { keys, expires } => {
                Outcome::Touched(keys.iter().filter(|key| self.touch(key, *expires)).count() as u64)
            }
            Op::Delete { keys } => {
                Outcome::Deleted(keys.iter().filter(|key| self.delete(key)).count() as u64)
            }
            Op::FlushAll { at } => {
                self.flush(if ended(*at, self.at) { 0 } else { *at });
                Outcome::Stored
            }
            Op::OpenSession => self.open_session(),
            Op::Once { session, sequence, op } => self.once(*session, *sequence, op),
        }
    }

    fn open_session(&mut self) -> Outcome {
        self.put(&session::key(self.position), session::OPENED, 0, 0, self.position);
        if self.table.sessions.len() > session::MAX_SESSIONS
            && let Some(oldest) = self.table.sessions.first_entry().map(|first| first.get().clone())
        {
            self.delete(&oldest);
        }
        Outcome::Number(self.position.into())
    }

    fn once(&mut self, id: u64, sequence: u64, op: &Op) -> Outcome {
        let key = session::key(id);
        if let Some(answer) = session::look_up(self.live(&key).map(|parts| parts.data), sequence) {
            return answer;
        }
        let outcome = self.carry_out(op);
        self.put(&key, &session::executed(sequence, outcome), 0, 0, self.position);
        outcome
    }

    fn store(&mut self, key: &[u8], value: &Value, rule: StoreRule) -> Outcome {
        let outcome = if rule == StoreRule::Always {
            Outcome::Stored
        } else {
            decide::store(rule, self.live(key).map(|parts| parts.unique))
        };
        if outcome == Outcome::Stored {
            self.set(key, value);
        }
        outcome
    }

    fn concat(&mut self, key: &[u8], data: &[u8], end: End, create: bool, max: usize) -> Outcome {
        let live = self.live(key);
        let outcome = decide::concat(live.map(|parts| parts.data.len()), data.len(), create, max);
        if let Outcome::Length(_) = outcome {
            let (old, flags, expires) = live.map_or((&[][..], 0, 0), kept);
            let joined = match end {
                End::Back => [old, data].concat(),
                End::Front => [data, old].concat(),
            };
            self.put(key, &joined, flags, expires, self.position);
        }
        outcome
    }

    fn count(&mut self, key: &[u8], by: Arithmetic) -> Outcome {
        let live = self.live(key);
        let outcome = decide::count(live.map(|parts| parts.data), by);
        if let Outcome::Number(number) = outcome {
            let (_, flags, expires) = live.map_or((&[][..], 0, 0), kept);
            let mut digits = itoa::Buffer::new();
            self.put(key, digits.format(number).as_bytes(), flags, expires, self.position);
        }
        outcome
    }

    fn touch(&mut self, key: &[u8], expires: Expiry) -> bool {
        let past = ended(expires, self.at);
        let Some(parts) = self.live(key) else { return false };
        if past {
            return self.delete(key);
        }
        if parts.expires != expires {
            let (data, flags, unique) = (parts.data.to_vec(), parts.flags, parts.unique);
            self.put(key, &data, flags, expires, unique);
        }
        true
    }

    /// Stores a value; one that has ended already only removes what was there.
    fn set(&mut self, key: &[u8], value: &Value) {
        if ended(value.expires, self.at) {
            self.delete(key);
        } else {
            self.put(key, &value.data, value.flags, value.expires, self.position);
        }
    }

    fn put(&mut self, key: &[u8], data: &[u8], flags: u32, expires: Expiry, unique: u64) {
        let length = (self.changes)(Change::Set { key, data, flags, expires, unique });
        let record_length = u32::try_from(length).unwrap_or(u32::MAX);
        let (position, version) = (self.position, Timestamp::ZERO);
        let parts = Parts { key, data, flags, expires, unique, position, record_length, version };
        self.table.put(&parts);
    }

    /// Deletes the entry, ended or not; whether a live one was there.
    fn delete(&mut self, key: &[u8]) -> bool {
        let Some(parts) = self.table.find(key) else { return false };
        let live = !parts.expired(self.at);
        (self.changes)(Change::Delete { key });
        self.table.remove(key, self.position);
        live
    }

    fn flush(&mut self, at: u64) {
        (self.changes)(Change::FlushAll { at });
        self.table.flush(at, self.position);
    }

    /// The live entry of a key; deletes an ended one.
    fn live(&mut self, key: &[u8]) -> Option<Parts<'_>> {
        if self.table.find(key).is_some_and(|parts| parts.expired(self.at)) {
            self.delete(key);
        }
        self.table.find(key)
    }
}

/// What a rewrite of the value keeps.
pub(super) fn kept(parts: Parts<'_>) -> (&[u8], u32, Expiry) {
    (parts.data, parts.flags, parts.expires)
}
