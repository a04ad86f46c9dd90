//! Replica ids, Lamport's logical clock, and the timestamps it yields.
//!
//! A timestamp is the pair `(time, replica)`, compared as a pair. It is deliberately not packed into
//! one number: any number of replicas fits, and no two replicas can ever produce the same timestamp.
//!
//! Source: L. Lamport, *Time, Clocks, and the Ordering of Events in a Distributed System*, CACM 1978.

use std::fmt;

/// The index of a replica, `0..n`. Replica `i` listens on `client-port + i` and `broadcast-port + i`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u16);

impl ReplicaId {
    /// The id as an index into per-replica tables.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A Lamport timestamp `(time, replica)`; totally ordered, unique across replicas. Prints as `12.0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// The Lamport time; the first write of a replica has a time of at least 1.
    pub time: u64,
    /// The replica that drew it; breaks ties between equal times.
    pub replica: ReplicaId,
}

impl Timestamp {
    /// Before every timestamp that a clock yields.
    pub const ZERO: Timestamp = Timestamp { time: 0, replica: ReplicaId(0) };

    /// The greatest time that is believed: so far beyond what any clock reaches that it can only be nonsense, and
    /// so far below the greatest number that the clock still ticks after it.
    pub const GREATEST_TIME: u64 = 1 << 62;

    /// The timestamp `(time, replica)`.
    pub fn new(time: u64, replica: ReplicaId) -> Self {
        Self { time, replica }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.time, self.replica)
    }
}

/// The logical clock of one replica.
///
/// Two rules: a local event ticks it, and whatever is received moves it to at least the time that was
/// received, so that an event that *knows of* another always has the greater timestamp.
#[derive(Clone, Debug)]
pub struct LamportClock {
    replica: ReplicaId,
    time: u64,
}

impl LamportClock {
    /// A clock at time 0.
    pub fn new(replica: ReplicaId) -> Self {
        Self { replica, time: 0 }
    }

    /// The time of the last event, drawn or seen.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Draws the timestamp of a new local event: later than all that was drawn or seen before.
    pub fn tick(&mut self) -> Timestamp {
        self.time += 1;
        Timestamp::new(self.time, self.replica)
    }

    /// Takes notice of a time that another replica has reached.
    pub fn observe(&mut self, time: u64) {
        self.time = self.time.max(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_ordered_as_pairs() {
        let at = |time, replica| Timestamp::new(time, ReplicaId(replica));
        assert!(at(1, 9) < at(2, 0));
        assert!(at(2, 0) < at(2, 1));
        assert!(at(2, 500) < at(3, 0), "more than a hundred replicas do not collide");
    }

    #[test]
    fn what_is_drawn_after_a_receipt_is_later_than_what_was_received() {
        let mut clock = LamportClock::new(ReplicaId(1));
        assert_eq!(clock.tick().time, 1);
        clock.observe(41);
        clock.observe(7);
        assert_eq!(clock.tick(), Timestamp::new(42, ReplicaId(1)));
    }
}
