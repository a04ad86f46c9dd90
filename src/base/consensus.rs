//! What a replica keeps of a replicated log: places, entries, and how it voted.
//!
//! An entry of the log is named by the term in which a leader took it and by its index. Terms of entries never fall
//! along a log, so `(term, index)` orders entries as Raft compares logs. Packed into one number it is the
//! time of a [`Timestamp`]: deliveries in log order have rising timestamps, and a timestamp gives its
//! place back.

use std::collections::VecDeque;

use super::{ReplicaId, Timestamp};

/// How many bits of a timestamp's time are the index.
const INDEX_BITS: u32 = 40;

/// Terms are below this, and indexes below 2^40: at ten elections a second and a million writes a second, that
/// is 4 days of nothing but elections, and 12 days of nothing but writes.
const TERMS: u64 = 1 << 22;

/// Where an entry stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPlace {
    /// The term in which a leader took it.
    pub term: u64,
    /// Its number in the log, from 1.
    pub index: u64,
}

impl LogPlace {
    /// The entry `index` of `term`.
    pub fn new(term: u64, index: u64) -> Self {
        Self { term, index }
    }

    /// Whether it can be packed.
    pub fn is_possible(self) -> bool {
        self.term < TERMS && self.index < 1 << INDEX_BITS
    }

    /// As the time of a timestamp.
    pub fn time(self) -> u64 {
        self.term << INDEX_BITS | self.index
    }

    /// The place that a timestamp holds.
    pub fn of(ts: Timestamp) -> Self {
        Self { term: ts.time >> INDEX_BITS, index: ts.time & ((1 << INDEX_BITS) - 1) }
    }
}

/// An entry of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it stands.
    pub place: LogPlace,
    /// What it says; empty where a leader only began its term.
    pub data: Vec<u8>,
}

/// How a replica stands in elections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ballot {
    /// It has no vote, because it may have had one before and does not know how it used it.
    Joining,
    /// It has a vote.
    Voter {
        /// The latest term that it has heard of.
        term: u64,
        /// Whom it voted for in that term.
        vote: Option<ReplicaId>,
    },
}

/// What a disk holds of the log besides what has been delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptLog {
    /// The last ballot; `None` where the file is not that of a replica which votes.
    pub ballot: Option<Ballot>,
    /// The entries that are not delivered, in order.
    pub entries: VecDeque<LogEntry>,
}

impl KeptLog {
    /// Puts an entry where it belongs; those from its index on are replaced by it.
    pub fn put(&mut self, entry: LogEntry) {
        self.cut(entry.place.index);
        self.entries.push_back(entry);
    }

    /// Drops the entries from this index on.
    fn cut(&mut self, index: u64) {
        let keep = self.entries.partition_point(|known| known.place.index < index);
        self.entries.truncate(keep);
    }

    /// The entry of this timestamp has been delivered. What stands behind another one at its index was never
    /// agreed upon.
    pub fn deliver(&mut self, ts: Timestamp) {
        let place = LogPlace::of(ts);
        let behind = self.entries.partition_point(|known| known.place.index < place.index);
        let fits = self.entries.get(behind).is_none_or(|known| known.place.term == place.term);
        if fits {
            let upto = self.entries.partition_point(|known| known.place.index <= place.index);
            self.entries.drain(..upto);
        } else {
            self.entries.clear();
        }
    }

    /// What is left once a state that ends with `ts` has taken the place of the own one, which ended with `own`.
    /// Entries behind it stay only where the own log is known to be the same up to there.
    #[must_use]
    pub fn behind(&self, own: Timestamp, ts: Timestamp) -> KeptLog {
        let place = LogPlace::of(ts);
        let same = own == ts || self.entries.iter().any(|known| known.place == place);
        let entries = self.entries.iter().filter(|e| same && e.place.index > place.index);
        KeptLog { ballot: self.ballot, entries: entries.cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64) -> LogEntry {
        LogEntry { place: LogPlace::new(term, index), data: vec![index as u8] }
    }

    fn ts(term: u64, index: u64) -> Timestamp {
        Timestamp::new(LogPlace::new(term, index).time(), ReplicaId(1))
    }

    fn places(kept: &KeptLog) -> Vec<(u64, u64)> {
        kept.entries.iter().map(|e| (e.place.term, e.place.index)).collect()
    }

    #[test]
    fn a_timestamp_gives_its_place_back_and_orders_as_logs_do() {
        assert_eq!(LogPlace::of(ts(3, 12)), LogPlace::new(3, 12));
        assert!(ts(2, 900) < ts(3, 1));
        assert!(!LogPlace::new(1 << 22, 1).is_possible());
        assert!(!LogPlace::new(1, 1 << 40).is_possible());
    }

    #[test]
    fn a_later_entry_replaces_all_from_its_index_on() {
        let mut kept = KeptLog::default();
        [entry(1, 5), entry(1, 6), entry(1, 7), entry(2, 6)].into_iter().for_each(|e| kept.put(e));
        assert_eq!(places(&kept), [(1, 5), (2, 6)]);
        kept.deliver(ts(1, 5));
        assert_eq!(places(&kept), [(2, 6)]);
        kept.deliver(ts(3, 6));
        assert_eq!(places(&kept), [], "what was agreed at its index is another entry");
    }

    #[test]
    fn behind_an_installed_state_stays_only_what_follows_it() {
        let mut kept = KeptLog::default();
        [entry(1, 5), entry(1, 6), entry(1, 7)].into_iter().for_each(|e| kept.put(e));
        assert_eq!(places(&kept.behind(ts(1, 4), ts(1, 6))), [(1, 7)]);
        assert_eq!(places(&kept.behind(ts(1, 4), ts(2, 6))), []);
        assert_eq!(places(&kept.behind(ts(1, 4), ts(1, 4))), [(1, 5), (1, 6), (1, 7)]);
    }
}
