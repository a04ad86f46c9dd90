//! The situations from which a search has failed already.
//!
//! A situation is a row of numbers; rows are kept whole, one behind the other, and compared whole, so a
//! situation is never taken for another one. The memory is bounded: at [`MAX_WORDS`] nothing is added any
//! more. The search stays right without it and only does some work twice; its budget decides then.

use std::hash::BuildHasher;

use hashbrown::HashTable;

/// The most numbers in all rows together: 256 MiB.
const MAX_WORDS: usize = 1 << 26;

/// A set of rows.
#[derive(Debug, Default)]
pub(super) struct Memo {
    words: Vec<u32>,
    /// Where each row begins and how long it is.
    rows: HashTable<(u32, u32)>,
    hasher: foldhash::fast::FixedState,
}

impl Memo {
    fn hash(&self, row: &[u32]) -> u64 {
        self.hasher.hash_one(row)
    }

    pub(super) fn contains(&self, row: &[u32]) -> bool {
        let same =
            |&(begin, length): &(u32, u32)| self.words[begin as usize..][..length as usize] == *row;
        self.rows.find(self.hash(row), same).is_some()
    }

    /// Adds a row that is not in it, if there is room.
    pub(super) fn insert(&mut self, row: &[u32]) {
        if self.words.len() + row.len() > MAX_WORDS {
            return;
        }
        let place = (self.words.len() as u32, row.len() as u32);
        self.words.extend_from_slice(row);
        let Self { words, rows, hasher } = self;
        let hash = |&(begin, length): &(u32, u32)| {
            hasher.hash_one(&words[begin as usize..][..length as usize])
        };
        rows.insert_unique(hasher.hash_one(row), place, hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_apart_by_all_of_their_numbers_and_their_length() {
        let mut memo = Memo::default();
        assert!(!memo.contains(&[]));
        for row in [&[1, 2][..], &[1], &[1, 2, 3], &[2, 1]] {
            assert!(!memo.contains(row));
            memo.insert(row);
            assert!(memo.contains(row));
        }
        assert!(!memo.contains(&[3]));
    }
}
