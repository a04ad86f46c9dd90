//! One entry of the table as one heap allocation.
//!
//! ```text
//! tag u8 | key length u32 | record length u32 | unique u64
//!        | [position u64] | [flags u32] | [expires u64] | [time u64, replica u16] | key | value
//! ```
//! The bracketed fields are there only where the tag says so. A plain entry of a 16-byte key and a
//! 32-byte value is 65 bytes, which an allocator with 16-byte steps serves with 80.

use crate::base::op::ALWAYS_ENDED;
use crate::base::{ReplicaId, Timestamp};

/// The entry has been rewritten (touched) since its value was stored.
const HAS_POSITION: u8 = 1;
const HAS_FLAGS: u8 = 2;
const HAS_EXPIRES: u8 = 4;
const HAS_VERSION: u8 = 8;

/// The tag, the two lengths and the unique.
const FIXED: usize = 17;

/// What an entry is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub data: &'a [u8],
    /// memcached's opaque number.
    pub flags: u32,
    /// When the entry ends; 0 is never.
    pub expires: u64,
    /// The position of the operation that stored the value.
    pub unique: u64,
    /// The position of the record that holds the entry; differs from `unique` after a touch.
    pub position: u64,
    /// How many bytes that record takes in the file.
    pub record_length: u32,
    /// The write that it comes from, where replicas settle conflicts by that; else zero.
    pub version: Timestamp,
}

/// An entry, packed.
#[derive(Debug)]
pub(super) struct Entry(Box<[u8]>);

impl Entry {
    /// Packs an entry.
    pub fn new(parts: &Parts<'_>) -> Self {
        let mut bytes = Vec::with_capacity(packed_length(parts));
        pack(parts, &mut bytes);
        Self(bytes.into_boxed_slice())
    }

    /// Replaces the entry, in place where the size allows it.
    pub fn replace(&mut self, parts: &Parts<'_>) {
        if packed_length(parts) != self.0.len() {
            *self = Self::new(parts);
            return;
        }
        let mut bytes = std::mem::take(&mut self.0).into_vec();
        bytes.clear();
        pack(parts, &mut bytes);
        self.0 = bytes.into_boxed_slice();
    }

    /// The key alone; the hot path of every look-up.
    pub fn key(&self) -> &[u8] {
        let start = header_length(self.0[0]);
        &self.0[start..start + self.u32_at(1) as usize]
    }

    /// The whole entry.
    pub fn parts(&self) -> Parts<'_> {
        let tag = self.0[0];
        let unique = self.u64_at(9);
        let mut at = FIXED;
        let mut position = unique;
        let (mut flags, mut expires) = (0, 0);
        if tag & HAS_POSITION != 0 {
            position = self.u64_at(at);
            at += 8;
        }
        if tag & HAS_FLAGS != 0 {
            flags = self.u32_at(at);
            at += 4;
        }
        if tag & HAS_EXPIRES != 0 {
            expires = self.u64_at(at);
            at += 8;
        }
        let mut version = Timestamp::ZERO;
        if tag & HAS_VERSION != 0 {
            let replica = u16::from_le_bytes([self.0[at + 8], self.0[at + 9]]);
            version = Timestamp::new(self.u64_at(at), ReplicaId(replica));
            at += 10;
        }
        let (key, data) = self.0[at..].split_at(self.u32_at(1) as usize);
        let record_length = self.u32_at(5);
        Parts { key, data, flags, expires, unique, position, record_length, version }
    }

    fn u32_at(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_le_bytes(bytes)
    }

    fn u64_at(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_le_bytes(bytes)
    }
}

impl Parts<'_> {
    /// Whether the entry has ended at `now`.
    pub fn expired(&self, now: u64) -> bool {
        ended(self.expires, now)
    }

    fn tag(&self) -> u8 {
        u8::from(self.position != self.unique) * HAS_POSITION
            + u8::from(self.flags != 0) * HAS_FLAGS
            + u8::from(self.expires != 0) * HAS_EXPIRES
            + u8::from(self.version != Timestamp::ZERO) * HAS_VERSION
    }
}

/// Whether this expiry has passed.
pub(super) fn ended(expires: u64, at: u64) -> bool {
    expires != 0 && expires <= at.max(ALWAYS_ENDED)
}

fn header_length(tag: u8) -> usize {
    FIXED
        + usize::from(tag & HAS_POSITION != 0) * 8
        + usize::from(tag & HAS_FLAGS != 0) * 4
        + usize::from(tag & HAS_EXPIRES != 0) * 8
        + usize::from(tag & HAS_VERSION != 0) * 10
}

fn packed_length(parts: &Parts<'_>) -> usize {
    header_length(parts.tag()) + parts.key.len() + parts.data.len()
}

fn pack(parts: &Parts<'_>, bytes: &mut Vec<u8>) {
    let key_length = u32::try_from(parts.key.len()).expect("keys are far below 4 GiB");
    let tag = parts.tag();
    bytes.push(tag);
    bytes.extend_from_slice(&key_length.to_le_bytes());
    bytes.extend_from_slice(&parts.record_length.to_le_bytes());
    bytes.extend_from_slice(&parts.unique.to_le_bytes());
    if tag & HAS_POSITION != 0 {
        bytes.extend_from_slice(&parts.position.to_le_bytes());
    }
    if tag & HAS_FLAGS != 0 {
        bytes.extend_from_slice(&parts.flags.to_le_bytes());
    }
    if tag & HAS_EXPIRES != 0 {
        bytes.extend_from_slice(&parts.expires.to_le_bytes());
    }
    if tag & HAS_VERSION != 0 {
        bytes.extend_from_slice(&parts.version.time.to_le_bytes());
        bytes.extend_from_slice(&parts.version.replica.0.to_le_bytes());
    }
    bytes.extend_from_slice(parts.key);
    bytes.extend_from_slice(parts.data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_fields_comes_back() {
        let mut entry = Entry::new(&parts(0, 0, 7));
        for (flags, expires, position) in
            [(0, 0, 7), (5, 0, 7), (0, 99, 7), (0, 0, 8), (5, 99, 8), (6, 98, 9)]
        {
            for version in [Timestamp::ZERO, Timestamp::new(1 << 40, ReplicaId(300))] {
                let wanted = Parts { version, ..parts(flags, expires, position) };
                assert_eq!(Entry::new(&wanted).parts(), wanted);
                entry.replace(&wanted);
                assert_eq!(entry.parts(), wanted);
                assert_eq!(entry.key(), b"key");
            }
        }
    }

    fn parts(flags: u32, expires: u64, position: u64) -> Parts<'static> {
        let (key, data) = (b"key".as_slice(), b"value".as_slice());
        let version = Timestamp::ZERO;
        Parts { key, data, flags, expires, unique: 7, position, record_length: 41, version }
    }
}
