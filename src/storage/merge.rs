//! The table of a replica that has no one order of writes to follow: of each key the latest version holds.
//!
//! Every write has a timestamp, and every entry keeps that of the write that it comes from, its *version*. A write
//! takes effect where its timestamp is later than the entry's version, whatever order writes come in; so replicas
//! that have executed the same writes hold the same entries (a *last-writer-wins register* a key). Lamport times
//! rise along everything that a write depends on, so a write always wins over what it has seen; and between
//! concurrent ones the timestamp decides, the same way everywhere.
//!
//! - **What is sent is what a write amounts to.** A condition, a sum or a joined value is worked out once, on the
//!   copy of the replica that the client asks ([`Table::effect`]), and travels as plain values: there is no
//!   order in which executing it everywhere would give the same. So two counts at the same time at two replicas
//!   count once.
//! - **Deleted keys stay** as entries that have always ended ([`Value::deleted`]), as do those that end by
//!   themselves: an older write that is still under way somewhere must find the later version. They go when nothing
//!   older can come any more ([`Store::forget`]).
//! - **The vector clock** of what a replica has is the latest timestamp of each replica in its file, so it needs no
//!   line of its own: a write that takes no effect leaves `#none` behind.
//!
//! Source: M. Shapiro et al., *A comprehensive study of Convergent and Commutative Replicated Data Types*, INRIA
//! RR-7506, 2011 (the LWW element); R. Thomas, *A Majority Consensus Approach to Concurrency Control*, 1979 (the rule).

use std::collections::BTreeMap;

use super::decide;
use super::entry::{Entry, Parts, ended};
use super::journal::{Group, Store};
use super::record::{self, Body, Record};
use super::table::{Change, Table, kept};
use crate::base::op::ALWAYS_ENDED;
use crate::base::{End, Expiry, Op, Outcome, StoreRule, Timestamp, Value, VectorClock, Versioned};

/// How many entries that have ended one call of [`Store::forget`] drops at the most.
const FORGET_AT_ONCE: usize = 1000;

impl Table {
    /// What an operation answers on this copy at this moment, and what it amounts to: a write of plain values
    /// (`Store` with `Always`, or `StoreMany`), which may be none.
    pub fn effect(&self, op: Op, now_unix_ms: u64) -> (Outcome, Op) {
        let outcome = self.preview(&op, now_unix_ms);
        let live = |key: &[u8]| {
            let parts = self.find(key).filter(|parts| !parts.expired(now_unix_ms));
            parts.filter(|_| !self.flush_due(now_unix_ms))
        };
        let value = |data: &[u8], flags, expires| Value { data: data.into(), flags, expires };
        let nothing = Op::StoreMany(Vec::new());
        let effect = match op {
            Op::Store { key, value, .. } if outcome == Outcome::Stored => {
                let value = settled(value, now_unix_ms);
                Op::Store { key, value, rule: StoreRule::Always }
            }
            Op::StoreMany(pairs) => {
                let settled = pairs.into_iter().map(|(key, v)| (key, settled(v, now_unix_ms)));
                // All have one version, so a key can be there once: of those named twice the last holds.
                Op::StoreMany(settled.collect::<BTreeMap<_, _>>().into_iter().collect())
            }
            Op::Concat { key, data, end, .. } if matches!(outcome, Outcome::Length(_)) => {
                let (old, flags, expires) = live(&key).map_or((&[][..], 0, 0), kept);
                let joined = match end {
                    End::Back => [old, &data].concat(),
                    End::Front => [&data, old].concat(),
                };
                let value = value(&joined, flags, expires);
                Op::Store { key, value, rule: StoreRule::Always }
            }
            Op::Count { key, by } => {
                let found = live(&key);
                match decide::count(found.map(|parts| parts.data), by) {
                    Outcome::Number(number) => {
                        let (_, flags, expires) = found.map_or((&[][..], 0, 0), kept);
                        let mut digits = itoa::Buffer::new();
                        let value = value(digits.format(number).as_bytes(), flags, expires);
                        Op::Store { key, value, rule: StoreRule::Always }
                    }
                    _ => nothing,
                }
            }
            Op::Touch { keys, expires } => {
                let touched = keys.into_iter().filter_map(|key| {
                    let parts = live(&key)?;
                    let value = value(parts.data, parts.flags, expires);
                    Some((key, settled(value, now_unix_ms)))
                });
                Op::StoreMany(touched.collect())
            }
            Op::Delete { keys } => {
                let there = keys.into_iter().filter(|key| live(key).is_some());
                Op::StoreMany(there.map(|key| (key, Value::deleted())).collect())
            }
            Op::FlushAll { at } => Op::StoreMany(self.flushed(at, now_unix_ms)),
            Op::Store { .. } | Op::Concat { .. } | Op::OpenSession | Op::Once { .. } => nothing,
        };
        (outcome, effect)
    }

    /// Every live entry as it ends now, or at that time.
    fn flushed(&self, at: Expiry, now: u64) -> Vec<(Box<[u8]>, Value)> {
        let live = self.entries.iter().map(Entry::parts).filter(|parts| !parts.expired(now));
        let mut pairs: Vec<(Box<[u8]>, Value)> = live
            .map(|parts| {
                let expires = if parts.expires == 0 { at } else { parts.expires.min(at) };
                let value = Value { data: parts.data.into(), flags: parts.flags, expires };
                let value = if at == 0 { Value::deleted() } else { settled(value, now) };
                (parts.key.into(), value)
            })
            .collect();
        pairs.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        pairs
    }

    /// The version of a key's entry, ended or not.
    pub fn version(&self, key: &[u8]) -> Option<Timestamp> {
        self.find(key).map(|parts| parts.version)
    }

    /// The keys whose entries come from writes that a clock does not know of, in the order of these. Looks at
    /// every entry.
    pub fn beyond(&self, known: &VectorClock) -> Vec<Box<[u8]>> {
        let news = self.entries.iter().map(Entry::parts).filter(|parts| !known.has(parts.version));
        let mut keys: Vec<(Timestamp, Box<[u8]>)> =
            news.map(|parts| (parts.version, parts.key.into())).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// The keys of entries that have ended, of writes that `settled` covers; some of them, where there are many.
    fn ended_among(&self, settled: &VectorClock, now_unix_ms: u64) -> Vec<Box<[u8]>> {
        let now = now_unix_ms.max(ALWAYS_ENDED);
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        for &(expires, position, hash) in
            self.expiring.range(..=(now, u64::MAX, u64::MAX)).map(|(place, _)| place)
        {
            let here = self.entries.iter_hash(hash).map(Entry::parts);
            let ended = here.filter(|p| (p.expires, p.position) == (expires, position));
            keys.extend(ended.filter(|p| settled.has(p.version)).map(|p| Box::from(p.key)));
            if keys.len() >= FORGET_AT_ONCE {
                break;
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// A key's entry, ended or not.
    pub fn versioned(&self, key: &[u8]) -> Option<Versioned> {
        let parts = self.find(key)?;
        let Parts { data, flags, expires, version, .. } = parts;
        Some(Versioned {
            version,
            key: key.into(),
            value: Value { data: data.into(), flags, expires },
        })
    }
}

/// A value that has ended already says only that the key is gone.
fn settled(value: Value, now: u64) -> Value {
    if ended(value.expires, now) { Value::deleted() } else { value }
}

impl Store {
    /// Executes a write of plain values at the next position: of each key that it wins. `wins` says whether the
    /// first of two writes of the same key holds against the second.
    pub fn merge(
        &mut self,
        version: Timestamp,
        op: &Op,
        wins: impl Fn(Timestamp, Timestamp) -> bool,
    ) {
        self.operation(version, |merge| match op {
            Op::Store { key, value, .. } => merge.put(version, key, value, &wins),
            Op::StoreMany(pairs) => {
                pairs.iter().for_each(|(key, value)| merge.put(version, key, value, &wins));
            }
            other => debug_assert!(false, "only plain values are merged: {other:?}"),
        });
    }

    /// Takes over what another replica has, as one operation: these entries where they win, and with them the
    /// knowledge of all that `known` covers.
    pub fn merge_state(
        &mut self,
        entries: &[Versioned],
        known: &VectorClock,
        wins: impl Fn(Timestamp, Timestamp) -> bool,
    ) {
        let last = known.iter().last().unwrap_or(self.last());
        self.operation(last, |merge| {
            for Versioned { version, key, value } in entries {
                merge.put(*version, key, value, &wins);
            }
            // What was overwritten before it came here is known from now on as well.
            for ts in known.iter() {
                merge.group.timestamp = ts;
                merge.group.append(Body::Nothing);
            }
        });
        known.iter().for_each(|ts| self.progress.note_delivered(ts));
    }

    /// Drops entries that have ended, of writes that `settled` covers, as one operation; how many.
    pub fn forget(&mut self, settled: &VectorClock, now_unix_ms: u64) -> usize {
        let keys = self.progress.table.ended_among(settled, now_unix_ms);
        if !keys.is_empty() {
            self.operation(self.last(), |merge| {
                for key in &keys {
                    merge.group.add(Change::Delete { key });
                    merge.table.remove(key, merge.group.position);
                }
            });
        }
        keys.len()
    }

    /// Notes in the file, once, that this replica has no one order of writes.
    pub fn note_merged(&mut self) {
        if !std::mem::replace(&mut self.progress.merged, true) {
            let before = self.unwritten.len();
            record::encode(&Record::new(Body::Merged, 0, Timestamp::ZERO), &mut self.unwritten);
            self.count_from(before);
        }
    }

    /// Whether a replica without one order of writes has used the file.
    pub fn is_merged(&self) -> bool {
        self.progress.merged
    }

    /// What this replica has: the latest executed write of each replica.
    pub fn clock(&self) -> VectorClock {
        let delivered = self.progress.delivered.iter();
        delivered.map(|(replica, time)| Timestamp::new(*time, *replica)).collect()
    }

    /// What `changes` does, at the next position.
    fn operation(&mut self, ts: Timestamp, changes: impl FnOnce(&mut Merge<'_>)) {
        let position = self.progress.position + 1;
        let before = self.unwritten.len();
        let group = Group { out: &mut self.unwritten, position, timestamp: ts, last: None };
        let mut merge = Merge { group, table: &mut self.progress.table };
        changes(&mut merge);
        merge.group.finish();
        self.progress.advance(position, ts);
        self.count_from(before);
    }
}

/// A merge under way: the records of one position, and the table.
struct Merge<'a> {
    group: Group<'a>,
    table: &'a mut Table,
}

impl Merge<'_> {
    /// Puts a value where its version wins.
    fn put(
        &mut self,
        version: Timestamp,
        key: &[u8],
        value: &Value,
        wins: impl Fn(Timestamp, Timestamp) -> bool,
    ) {
        if self.table.version(key).is_some_and(|old| !wins(version, old)) {
            return;
        }
        let Value { data, flags, expires } = value;
        let position = self.group.position;
        self.group.timestamp = version;
        let length = self.group.add(Change::Set {
            key,
            data,
            flags: *flags,
            expires: *expires,
            unique: position,
        });
        if *expires != 0 {
            // A reader who finds no entry may depend on this.
            self.table.last_removal = position;
        }
        self.table.put(&Parts {
            key,
            data,
            flags: *flags,
            expires: *expires,
            unique: position,
            position,
            record_length: u32::try_from(length).unwrap_or(u32::MAX),
            version,
        });
    }
}
