//! What a node holds of one home: pairs with versions, in buckets with a digest each.
//!
//! Two nodes compare a table by its digests: 256 numbers, each the exclusive or of a hash for every pair in
//! the bucket, so that a change costs two hashes and not a walk. Only buckets that differ are walked.
//! The hash is fixed (FNV-1a and a finalizer), because nodes on different machines must agree on it. It keeps
//! nobody from making collisions on purpose: then a bucket is taken for equal that is not.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::base::{ReplicaId, Timestamp};
use crate::wire::lines::adjacent::{Copy, Place};

/// How many buckets a table has.
pub const BUCKETS: usize = 256;

/// What an entry takes besides its text, roughly.
const ENTRY_BYTES: usize = 120;

#[derive(Clone, Debug)]
struct Entry {
    value: Arc<str>,
    version: Timestamp,
}

/// The pairs of one home.
#[derive(Clone, Debug)]
pub struct Table {
    buckets: Vec<BTreeMap<Arc<str>, Entry>>,
    digests: Vec<u64>,
    bytes: usize,
    entries: usize,
}

impl Default for Table {
    fn default() -> Self {
        let buckets = vec![BTreeMap::new(); BUCKETS];
        Self { buckets, digests: vec![0; BUCKETS], bytes: 0, entries: 0 }
    }
}

/// A part of a table.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The pairs, in the order of places.
    pub copies: Vec<Copy>,
    /// Whether there are more.
    pub more: bool,
}

impl Table {
    /// The value and the version of a key.
    pub fn get(&self, key: &str) -> Option<(&Arc<str>, Timestamp)> {
        let entry = self.buckets[bucket(key)].get(key)?;
        Some((&entry.value, entry.version))
    }

    /// Keeps a pair, unless its version is not newer than what is there; gives whether it was kept.
    pub fn put(&mut self, key: &Arc<str>, value: &Arc<str>, version: Timestamp) -> bool {
        let number = bucket(key);
        let digest = digest(key, value, version);
        let entries = &mut self.buckets[number];
        match entries.get_mut(key) {
            // One version has one value, unless a clock went back over a restart; then the greater value stays.
            Some(entry) if (entry.version, &entry.value) >= (version, value) => return false,
            Some(entry) => {
                self.digests[number] ^= self::digest(key, &entry.value, entry.version);
                self.bytes = self.bytes - entry.value.len() + value.len();
                *entry = Entry { value: Arc::clone(value), version };
            }
            None => {
                entries.insert(Arc::clone(key), Entry { value: Arc::clone(value), version });
                self.bytes += size(key, value);
                self.entries += 1;
            }
        }
        self.digests[number] ^= digest;
        true
    }

    /// The memory it takes, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// One digest a bucket; tables that hold the same have the same.
    pub fn digests(&self) -> &[u64] {
        &self.digests
    }

    /// The buckets whose digest is another one.
    pub fn differing(&self, digests: &[u64]) -> Vec<u16> {
        let numbers = 0..BUCKETS as u16;
        numbers
            .zip(self.digests.iter().zip(digests))
            .filter(|(_, (own, other))| own != other)
            .map(|(number, _)| number)
            .collect()
    }

    /// The pairs of some buckets behind `after` and up to `until`, at least one and then as many as fit.
    pub fn page(
        &self,
        home: u16,
        buckets: &[u16],
        after: Option<&Place>,
        until: Option<&Place>,
        limit: usize,
        wanted: impl Fn(&str, Timestamp) -> bool,
    ) -> Page {
        let mut page = Page::default();
        let mut taken = 0;
        for number in buckets {
            let Some(bucket) = self.buckets.get(usize::from(*number)) else { continue };
            let from = match after {
                Some(place) if place.0 > *number => continue,
                Some(place) if place.0 == *number => Bound::Excluded(&*place.1),
                _ => Bound::Unbounded,
            };
            let to = match until {
                Some(place) if place.0 < *number => continue,
                Some(place) if place.0 == *number => Bound::Included(&*place.1),
                _ => Bound::Unbounded,
            };
            if is_empty_range(from, to) {
                continue;
            }
            for (key, entry) in bucket.range::<str, _>((from, to)) {
                if !wanted(key, entry.version) {
                    continue;
                }
                taken += size(key, &entry.value);
                if taken > limit && !page.copies.is_empty() {
                    page.more = true;
                    return page;
                }
                page.copies.push(copy(home, key, &entry.value, entry.version));
            }
        }
        page
    }
}

/// Whether nothing lies between; a `BTreeMap` does not take such a range.
fn is_empty_range(from: Bound<&str>, to: Bound<&str>) -> bool {
    match (from, to) {
        (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        _ => false,
    }
}

/// A pair as it travels.
pub fn copy(home: u16, key: &str, value: &str, version: Timestamp) -> Copy {
    Copy {
        home,
        key: key.to_owned(),
        value: value.to_owned(),
        time: version.time,
        node: version.replica.0,
    }
}

/// The version of a pair that has travelled.
pub fn version(copy: &Copy) -> Timestamp {
    Timestamp::new(copy.time, ReplicaId(copy.node))
}

/// The memory that a pair takes, roughly.
pub fn size(key: &str, value: &str) -> usize {
    key.len() + value.len() + ENTRY_BYTES
}

/// The bucket of a key.
pub fn bucket(key: &str) -> usize {
    (finish(fnv(FNV_BASIS, key.as_bytes())) % BUCKETS as u64) as usize
}

fn digest(key: &str, value: &str, version: Timestamp) -> u64 {
    let mut hash = fnv(FNV_BASIS, key.as_bytes());
    hash = fnv(hash, &version.time.to_le_bytes());
    hash = fnv(hash, &version.replica.0.to_le_bytes());
    finish(fnv(hash, &crc32fast::hash(value.as_bytes()).to_le_bytes()))
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Spreads a hash over all its bits (the finalizer of SplitMix64).
fn finish(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
