//! Vector clocks whose entries are Lamport times.
//!
//! The entry of replica *r* is the Lamport time of the latest write of *r* that is known, together with all of
//! *r*'s earlier ones. So a vector clock says in a few numbers what a replica has, what a write depends on and what
//! a client has seen; and because times rise along everything that depends on something, comparing two clocks entry
//! by entry is comparing the two sets of writes.
//!
//! Its text, which clients carry about, is the latest write of each replica: `12.0,9.2`, or `-` for none.
//!
//! Source: C. Fidge, *Timestamps in Message-Passing Systems That Preserve the Partial Ordering*, ACSC 1988;
//! F. Mattern, *Virtual Time and Global States of Distributed Systems*, 1988.

use std::fmt;
use std::str::FromStr;

use super::limits::MAX_REPLICAS;
use super::{ReplicaId, Timestamp};

/// A vector clock. Replicas that it does not name have the entry 0.
#[derive(Clone, Debug, Default)]
pub struct VectorClock {
    /// The time of each replica; short where the rest is 0.
    times: Vec<u64>,
}

impl VectorClock {
    /// A clock that knows of nothing.
    pub const fn new() -> Self {
        Self { times: Vec::new() }
    }

    /// The entry of a replica.
    pub fn get(&self, replica: ReplicaId) -> u64 {
        self.times.get(replica.index()).copied().unwrap_or(0)
    }

    /// Takes notice of a write, and of all before it of the same replica.
    pub fn observe(&mut self, ts: Timestamp) {
        let entry = self.entry(ts.replica);
        *entry = ts.time.max(*entry);
    }

    /// Sets the entry of a replica, whatever it was.
    pub fn set(&mut self, replica: ReplicaId, time: u64) {
        *self.entry(replica) = time;
    }

    fn entry(&mut self, replica: ReplicaId) -> &mut u64 {
        if self.times.len() <= replica.index() {
            self.times.resize(replica.index() + 1, 0);
        }
        &mut self.times[replica.index()]
    }

    /// Takes notice of all that another knows of: the greater of each two entries.
    pub fn merge(&mut self, other: &VectorClock) {
        if self.times.len() < other.times.len() {
            self.times.resize(other.times.len(), 0);
        }
        for (mine, theirs) in self.times.iter_mut().zip(&other.times) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// Keeps only what both know of: the lesser of each two entries.
    pub fn meet(&mut self, other: &VectorClock) {
        self.times.truncate(other.times.len());
        for (mine, theirs) in self.times.iter_mut().zip(&other.times) {
            *mine = (*mine).min(*theirs);
        }
    }

    /// Whether a write is among what is known.
    pub fn has(&self, ts: Timestamp) -> bool {
        self.get(ts.replica) >= ts.time
    }

    /// Whether all that another knows of is known.
    pub fn covers(&self, other: &VectorClock) -> bool {
        let known = |(i, time): (usize, &u64)| self.times.get(i).copied().unwrap_or(0) >= *time;
        other.times.iter().enumerate().all(known)
    }

    /// The latest time that any replica has reached.
    pub fn latest(&self) -> u64 {
        self.times.iter().copied().max().unwrap_or(0)
    }

    /// The latest known write of each replica that has any.
    pub fn iter(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let entries = self.times.iter().zip(0..).filter(|(time, _)| **time > 0);
        entries.map(|(time, replica)| Timestamp::new(*time, ReplicaId(replica)))
    }
}

impl PartialEq for VectorClock {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for VectorClock {}

impl FromIterator<Timestamp> for VectorClock {
    fn from_iter<I: IntoIterator<Item = Timestamp>>(writes: I) -> Self {
        let mut clock = Self::new();
        writes.into_iter().for_each(|ts| clock.observe(ts));
        clock
    }
}

impl fmt::Display for VectorClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.iter().next().is_none() {
            return f.write_str("-");
        }
        self.iter().enumerate().try_for_each(|(i, ts)| match i {
            0 => write!(f, "{ts}"),
            _ => write!(f, ",{ts}"),
        })
    }
}

impl FromStr for VectorClock {
    type Err = String;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("expected - or a list of TIME.REPLICA, as in 12.0,9.2, found {text:?}");
        if text == "-" {
            return Ok(Self::new());
        }
        let mut clock = Self::new();
        for entry in text.split(',') {
            let (time, replica) = entry.split_once('.').ok_or_else(wrong)?;
            let replica = replica.parse().ok().filter(|id| *id < MAX_REPLICAS).map(ReplicaId);
            let (time, replica) = time.parse().ok().zip(replica).ok_or_else(wrong)?;
            if time > Timestamp::GREATEST_TIME {
                return Err(format!("expected a time that a clock can reach, found {entry}"));
            }
            clock.observe(Timestamp::new(time, replica));
        }
        Ok(clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clock(text: &str) -> VectorClock {
        text.parse().expect("a clock")
    }

    #[test]
    fn its_text_comes_back_and_nonsense_is_refused() {
        assert_eq!(clock("9.2,12.0").to_string(), "12.0,9.2");
        assert_eq!(clock("-"), VectorClock::new());
        assert_eq!(VectorClock::new().to_string(), "-");
        for nonsense in ["", "1", "1.", ".1", "1.0,", "1.128", "-1.0", "99999999999999999999.0"] {
            assert!(nonsense.parse::<VectorClock>().is_err(), "{nonsense:?}");
        }
        assert!(format!("{}.0", u64::MAX).parse::<VectorClock>().is_err());
    }

    #[test]
    fn concurrent_clocks_do_not_cover_each_other() {
        let (one, other) = (clock("3.0,1.1"), clock("2.0,2.1"));
        assert!(!one.covers(&other) && !other.covers(&one));
        assert!(one.covers(&clock("3.0")) && one.has(Timestamp::new(2, ReplicaId(0))));
        assert!(!clock("3.0").covers(&one), "a missing entry is 0");
    }

    fn any_clock() -> impl Strategy<Value = VectorClock> {
        let entry = (0u64..5, 0u16..4).prop_map(|(time, id)| Timestamp::new(time, ReplicaId(id)));
        proptest::collection::vec(entry, 0..6).prop_map(VectorClock::from_iter)
    }

    proptest! {
        #[test]
        fn the_merge_is_the_least_clock_that_covers_both(a in any_clock(), b in any_clock(), c in any_clock()) {
            let mut merged = a.clone();
            merged.merge(&b);
            prop_assert!(merged.covers(&a) && merged.covers(&b));
            prop_assert_eq!(c.covers(&merged), c.covers(&a) && c.covers(&b));
            let mut met = a.clone();
            met.meet(&b);
            prop_assert!(a.covers(&met) && b.covers(&met));
            prop_assert_eq!(met.covers(&c), a.covers(&c) && b.covers(&c));
            prop_assert_eq!(clock(&merged.to_string()), merged);
        }
    }
}
