//! The configurations that a search has been in, so that it goes into none twice.
//!
//! A configuration is a *key* (how far, which open operations are done, the state) and the set of optional
//! operations that were used up for it. Using fewer is never worse: what can be done from the one with more
//! can be done from the one with fewer. So a configuration is old if one with the same key and no other optional
//! operations was there before.
//!
//! All words lie in one vector, and the table holds places in it: no allocation for each configuration.

use hashbrown::HashTable;

/// The words (8 bytes) that one search may fill: 512 MiB.
const MOST_WORDS: usize = 1 << 26;

/// Why there is no answer where [`Seen::insert`] found no more room.
pub(super) fn full(key: &str) -> String {
    let mib = MOST_WORDS * 8 / (1 << 20);
    format!(
        "key {key}: the search for a linearization needs more than {mib} MiB for what it has tried; too many \
         operations overlap (a shorter history may be decided)"
    )
}

/// What came of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Insertion {
    New,
    Old,
    Full,
}

/// The set.
#[derive(Debug)]
pub(super) struct Seen {
    /// The first entry of each key.
    table: HashTable<u32>,
    /// Entries: the words of the key, those of the optional operations, the next entry of the same key.
    words: Vec<u64>,
    key: usize,
    optional: usize,
}

const LAST: u64 = u64::MAX;

impl Seen {
    /// A set for keys and optional sets of so many words.
    pub(super) fn new(key: usize, optional: usize) -> Self {
        Self { table: HashTable::new(), words: Vec::new(), key, optional }
    }

    /// Adds a configuration unless it is old.
    pub(super) fn insert(&mut self, key: &[u64], optional: &[u64]) -> Insertion {
        let Self { table, words, .. } = self;
        let stride = self.key + self.optional + 1;
        let same = |entry: &u32| {
            let at = *entry as usize * stride;
            words[at..at + key.len()] == *key
        };
        let found = table.find(hash(key), same).copied();
        let new = words.len() / stride;
        let mut next = found;
        let mut last = None;
        while let Some(entry) = next {
            let at = entry as usize * stride;
            let used = &words[at + key.len()..at + stride - 1];
            if used.iter().zip(optional).all(|(used, now)| used & !now == 0) {
                return Insertion::Old;
            }
            last = Some(entry);
            let link = words[at + stride - 1];
            next = (link != LAST).then_some(link as u32);
        }
        if words.len() + stride > MOST_WORDS {
            return Insertion::Full;
        }
        words.extend_from_slice(key);
        words.extend_from_slice(optional);
        words.push(LAST);
        match last {
            Some(last) => words[(last as usize + 1) * stride - 1] = new as u64,
            None => {
                let rehash = |entry: &u32| {
                    let at = *entry as usize * stride;
                    hash(&words[at..at + key.len()])
                };
                table.insert_unique(hash(key), new as u32, rehash);
            }
        }
        Insertion::New
    }
}

/// A word at a time by multiplication, the upper half folded into the lower. The seed is fixed: histories are no
/// attackers, and answers have to be the same on every run.
fn hash(words: &[u64]) -> u64 {
    let fold = |hash: u64, word: &u64| {
        let product = u128::from(hash ^ word) * 0x9E37_79B9_7F4A_7C15;
        (product as u64) ^ ((product >> 64) as u64)
    };
    words.iter().fold(0x243F_6A88_85A3_08D3, fold)
}
