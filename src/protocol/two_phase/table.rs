//! A participant's state and the records that make it. The state *is* the fold of the records: the machine
//! changes it only by [`Recovered::apply`], so what a log brings back after a crash is what was there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::wire::two_phase::{Blob, Change, ENTRY_OVERHEAD, Key, TxnId, View};

/// What a participant that keeps a log writes into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// It has promised.
    Prepared {
        /// The transaction.
        txn: TxnId,
        /// What it does.
        change: Change,
    },
    /// It has carried out what it promised.
    Committed(TxnId),
    /// It has dropped what it promised.
    Aborted(TxnId),
    /// It holds the data of this view.
    View {
        /// The view.
        view: View,
        /// Its own place in it.
        me: u16,
    },
    /// It has seen this incarnation of the coordinator.
    Incarnation(u64),
    /// All transactions below this one are finished everywhere.
    Finished(TxnId),
    /// It has dropped its copy, its promises and its view.
    Cleared,
    /// It has stored a part of somebody else's copy.
    Copied(Vec<(Key, Blob)>),
}

/// What the records so far amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The newest incarnation of the coordinator that it had seen.
    pub seen: u64,
    /// Its view.
    pub view: View,
    /// Its place there.
    pub me: u16,
    /// Its data.
    pub table: BTreeMap<Key, Blob>,
    /// What it had promised.
    pub prepared: BTreeMap<TxnId, Change>,
    /// What it had committed and not yet heard to be finished everywhere.
    pub committed: BTreeSet<TxnId>,
    /// About how many bytes table and promises take.
    bytes: usize,
}

impl Recovered {
    /// Takes in the next record of the log.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Prepared { txn, change } => {
                self.bytes += change.size();
                if let Some(before) = self.prepared.insert(txn, change) {
                    self.bytes -= before.size();
                }
            }
            Record::Committed(txn) => {
                if let Some(change) = self.take_promise(txn) {
                    self.change(change);
                }
                self.committed.insert(txn);
            }
            Record::Aborted(txn) => {
                self.take_promise(txn);
            }
            Record::View { view, me } => (self.view, self.me) = (view, me),
            Record::Incarnation(seen) => self.seen = self.seen.max(seen),
            Record::Finished(below) => self.committed = self.committed.split_off(&below),
            Record::Cleared => *self = Self { seen: self.seen, ..Self::default() },
            Record::Copied(entries) => {
                for (key, value) in entries {
                    self.change(Change::Set { key, value });
                }
            }
        }
    }

    /// Records that amount to the same: a compacted log.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let copied =
            |(key, value): (&Key, &Blob)| Record::Copied(vec![(key.clone(), value.clone())]);
        let prepared = |(txn, change): (&TxnId, &Change)| Record::Prepared {
            txn: *txn,
            change: change.clone(),
        };
        [Record::Cleared, Record::Incarnation(self.seen)]
            .into_iter()
            .chain(self.table.iter().map(copied))
            .chain(self.committed.iter().copied().map(Record::Committed))
            .chain(self.prepared.iter().map(prepared))
            .chain([Record::View { view: self.view, me: self.me }])
    }

    /// About how many bytes table and promises take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries behind a key, in the order of keys: about so many bytes of them, at least one. And whether
    /// these are the last.
    pub fn part(&self, after: Option<&Key>, bytes: usize) -> (Vec<(Key, Blob)>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut entries = Vec::new();
        let mut size = 0;
        for (key, value) in self.table.range::<Key, _>((from, Bound::Unbounded)) {
            let entry = entry_size(key, value);
            if !entries.is_empty() && size + entry > bytes {
                return (entries, false);
            }
            size += entry;
            entries.push((key.clone(), value.clone()));
        }
        (entries, true)
    }

    fn take_promise(&mut self, txn: TxnId) -> Option<Change> {
        let change = self.prepared.remove(&txn)?;
        self.bytes -= change.size();
        Some(change)
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Set { key, value } => {
                self.bytes += value.len();
                let size = key.len() + ENTRY_OVERHEAD;
                match self.table.insert(key, value) {
                    Some(before) => self.bytes -= before.len(),
                    None => self.bytes += size,
                }
            }
            Change::Delete { keys } => {
                for key in keys {
                    if let Some(value) = self.table.remove(&key) {
                        self.bytes -= entry_size(&key, &value);
                    }
                }
            }
        }
    }
}

/// About how many bytes an entry takes.
pub(super) fn entry_size(key: &Key, value: &Blob) -> usize {
    key.len() + value.len() + ENTRY_OVERHEAD
}
