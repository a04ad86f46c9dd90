//! The log as the engine sees it: the entries that are not delivered, and a bounded tail of those that are.
//!
//! What is delivered lives on in the store, so a snapshot is nothing but the place up to which the store goes. The
//! lines of the log in `storage.txt` are written by the driver; here is only memory.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use crate::base::{LogEntry, LogPlace};
use crate::protocol::Tail;

/// About how many bytes an entry takes beside its data.
const ENTRY: usize = size_of::<Entry>();

/// The engine's storage.
#[derive(Debug)]
pub(super) struct Log {
    /// What lies before the first entry.
    base: LogPlace,
    entries: VecDeque<Entry>,
    /// Of the delivered entries.
    delivered_bytes: usize,
    delivered_count: usize,
    /// Up to where the store goes.
    pub(super) applied: LogPlace,
    pub(super) hard: HardState,
    group: ConfState,
    tail: Tail,
}

fn place(entry: &Entry) -> LogPlace {
    LogPlace::new(entry.term, entry.index)
}

fn weight(entry: &Entry) -> usize {
    entry.data.len() + ENTRY
}

impl Log {
    /// The log of a store that goes up to `applied`, in a group of `replicas`.
    pub(super) fn new(applied: LogPlace, replicas: u16, hard: HardState, tail: Tail) -> Self {
        let mut group = ConfState::default();
        group.set_voters((1..=u64::from(replicas)).collect());
        Self {
            base: applied,
            entries: VecDeque::new(),
            delivered_bytes: 0,
            delivered_count: 0,
            applied,
            hard,
            group,
            tail,
        }
    }

    fn first(&self) -> u64 {
        self.base.index + 1
    }

    pub(super) fn last(&self) -> LogPlace {
        self.entries.back().map_or(self.base, place)
    }

    /// Puts an entry at its index, in the place of all from there on.
    pub(super) fn put(&mut self, entry: Entry) {
        let keep = usize::try_from(entry.index.saturating_sub(self.first())).unwrap_or(0);
        debug_assert!(keep <= self.entries.len(), "the engine leaves no gap");
        self.entries.truncate(keep);
        self.entries.push_back(entry);
    }

    /// Begins anew behind a place that the store has reached by other means.
    pub(super) fn restart(&mut self, base: LogPlace) {
        self.entries.clear();
        (self.delivered_bytes, self.delivered_count) = (0, 0);
        self.base = base;
    }

    /// The store has reached this place: drops what need not be held any more.
    pub(super) fn deliver(&mut self, applied: LogPlace) {
        self.applied = applied;
        while let Some(entry) = self.entries.get(self.delivered_count)
            && entry.index <= applied.index
        {
            self.delivered_count += 1;
            self.delivered_bytes += weight(entry);
        }
        while self.delivered_count > self.tail.entries || self.delivered_bytes > self.tail.bytes {
            let Some(entry) = self.entries.pop_front() else { return };
            self.delivered_count -= 1;
            self.delivered_bytes -= weight(&entry);
            self.base = place(&entry);
        }
    }

    /// The entries that are not delivered.
    pub(super) fn undelivered(&self) -> impl Iterator<Item = LogEntry> + '_ {
        let kept = |entry: &Entry| LogEntry { place: place(entry), data: entry.data.to_vec() };
        let behind = self.applied.index;
        self.entries.iter().filter(move |entry| entry.index > behind).map(kept)
    }

    /// A snapshot of this place.
    pub(super) fn snapshot_of(&self, place: LogPlace) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let meta = snapshot.mut_metadata();
        (meta.index, meta.term) = (place.index, place.term);
        meta.set_conf_state(self.group.clone());
        snapshot
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState { hard_state: self.hard.clone(), conf_state: self.group.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        let (from, until) = (to_usize(low - self.first()), to_usize(high - self.first()));
        if until > self.entries.len() {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let mut left = max_size.into().unwrap_or(u64::MAX);
        let mut taken = Vec::new();
        for entry in self.entries.range(from..until) {
            let size = weight(entry) as u64;
            if size > left && !taken.is_empty() {
                break;
            }
            left = left.saturating_sub(size);
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.index {
            return Ok(self.base.term);
        }
        if index < self.base.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        let entry = self.entries.get(to_usize(index - self.first()));
        entry.map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().index)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.applied.index == 0 || self.applied.index < request_index {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(self.snapshot_of(self.applied))
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64) -> Entry {
        Entry { term, index, ..Entry::default() }
    }

    fn log(tail: usize) -> Log {
        let tail = Tail { entries: tail, bytes: usize::MAX };
        let mut log = Log::new(LogPlace::new(1, 10), 3, HardState::default(), tail);
        (11..=20).for_each(|index| log.put(entry(1, index)));
        log
    }

    #[test]
    fn an_entry_replaces_all_from_its_index_on() {
        let mut log = log(5);
        log.put(entry(2, 15));
        assert_eq!(log.last(), LogPlace::new(2, 15));
        assert_eq!(log.term(14).expect("it is there"), 1);
        assert_eq!(log.term(10).expect("the base is known"), 1);
        assert!(log.term(9).is_err() && log.term(16).is_err());
    }

    #[test]
    fn what_is_delivered_is_held_up_to_the_bound() {
        let mut log = log(3);
        log.deliver(LogPlace::new(1, 18));
        assert_eq!(log.first_index().expect("a log has a beginning"), 16);
        assert_eq!(log.undelivered().count(), 2);
        let snapshot = log.snapshot(0, 1).expect("something is delivered");
        assert_eq!((snapshot.get_metadata().term, snapshot.get_metadata().index), (1, 18));
        log.restart(LogPlace::new(3, 40));
        assert_eq!(log.last(), LogPlace::new(3, 40));
    }
}
