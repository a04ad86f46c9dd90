//! The write log: writes that some replica may still lack, as the frames that they were sent in.
//!
//! A write stays until every replica has acknowledged it, so that whoever lacks it can be sent it again. The log is
//! bounded: at the bound the oldest writes leave it although somebody lacks them, and who then asks for them is sent
//! the entries that they have become instead ([`Log::reaches`]).

use std::collections::VecDeque;

use crate::base::{Timestamp, VectorClock};
use crate::protocol::Tail;

/// The log of one replica, in the order in which it has received the writes.
#[derive(Clone, Debug)]
pub(super) struct Log {
    writes: VecDeque<(Timestamp, Vec<u8>)>,
    bytes: usize,
    bound: Tail,
    /// What is not in the log although some replica may lack it.
    gone: VectorClock,
}

impl Log {
    /// An empty log; `gone` is what an earlier life has written, received and kept as entries only.
    pub fn new(bound: Tail, gone: VectorClock) -> Self {
        Self { writes: VecDeque::new(), bytes: 0, bound, gone }
    }

    /// Takes a write in.
    pub fn push(&mut self, ts: Timestamp, frame: Vec<u8>) {
        self.bytes += frame.len();
        self.writes.push_back((ts, frame));
        while self.writes.len() > self.bound.entries || self.bytes > self.bound.bytes {
            let Some((ts, frame)) = self.writes.pop_front() else { return };
            self.bytes -= frame.len();
            self.gone.observe(ts);
        }
    }

    /// Drops what all replicas have.
    pub fn acknowledged(&mut self, by_all: &VectorClock) {
        let bytes = &mut self.bytes;
        self.writes.retain(|(ts, frame)| {
            let stays = !by_all.has(*ts);
            *bytes -= if stays { 0 } else { frame.len() };
            stays
        });
    }

    /// State has come that was never in the log.
    pub fn skip(&mut self, known: &VectorClock) {
        self.gone.merge(known);
    }

    /// Whether the log has all that a replica with this clock lacks. What all have acknowledged nobody lacks.
    pub fn reaches(&self, have: &VectorClock) -> bool {
        have.covers(&self.gone)
    }

    /// The writes that a replica with this clock lacks.
    pub fn beyond<'a>(&'a self, have: &'a VectorClock) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.writes.iter().filter(|(ts, _)| !have.has(*ts)).map(|(_, frame)| &frame[..])
    }

    /// How many writes it holds of these.
    pub fn count(&self, which: impl Fn(Timestamp) -> bool) -> usize {
        self.writes.iter().filter(|(ts, _)| which(*ts)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ReplicaId;

    fn ts(time: u64, replica: u16) -> Timestamp {
        Timestamp::new(time, ReplicaId(replica))
    }

    #[test]
    fn what_all_have_goes_and_what_the_bound_drops_is_remembered_as_gone() {
        let mut log = Log::new(Tail { entries: 3, bytes: 1000 }, VectorClock::new());
        for time in 1..=3 {
            log.push(ts(time, 0), vec![time as u8]);
        }
        log.acknowledged(&[ts(1, 0)].into_iter().collect());
        let none = VectorClock::new();
        assert_eq!(log.beyond(&none).collect::<Vec<_>>(), [[2], [3]]);
        assert!(log.reaches(&none), "what all have acknowledged nobody lacks");
        log.push(ts(4, 1), vec![4]);
        log.push(ts(5, 1), vec![5; 998]);
        assert!(!log.reaches(&none), "2.0 and 3.0 are gone");
        let has = [ts(3, 0)].into_iter().collect();
        assert!(log.reaches(&has));
        assert_eq!(log.beyond(&has).count(), 2);
        assert_eq!(log.count(|ts| ts.replica == ReplicaId(1)), 2);
    }
}
