//! Staleness: how far behind each read was.
//!
//! The writes to a key have an order, its *versions*. A read is as many versions behind as there are newer
//! ones whose writes had been acknowledged before it was invoked, and as long behind as the first of these
//! had been acknowledged by then. A read that returns a write that is not acknowledged yet is fresh.
//!
//! Where replicas settle conflicts by timestamps, the order of versions is that of the timestamps, if the recording
//! knows it ([`Versions::Known`]). Else it is the order of delivery at the replica that delivered most, where the history
//! says ([`Versions::Delivered`]); writes that it did not deliver come behind, and without deliveries all
//! come, in the order of their completion ([`Versions::Completed`]), which is a guess for concurrent ones.
//! Where a value was written several times, a read of it counts as one of the newest of these.
//!
//! Cost: `O(n log n)`: for each key writes and reads in the order of time, the acknowledged versions in a
//! Fenwick tree. This is a profile, not a verdict: models that allow stale reads bound neither number. The
//! measures are those of W. Golab et al., *Eventually Consistent: Not What You Were Expecting?*, 2014
//! (Δ-atomicity and k-atomicity, here read by read).

use hashbrown::HashMap;
use hdrhistogram::Histogram;

use super::Problem;
use super::reads_from::wrote;
use crate::base::ReplicaId;
use crate::history::{Clock, History, NEVER, OpId, ValueId};

/// What is further behind counts as this: twelve days in microseconds.
const MOST: u64 = 1 << 40;

/// Where the order of versions comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// The recording knows it.
    Known,
    /// The order in which this replica delivered.
    Delivered(ReplicaId),
    /// The order in which the writes completed.
    Completed,
    /// Nowhere: the history does not order what different processes did.
    Unordered,
}

/// How far behind the reads of a history were.
#[derive(Clone, Debug)]
pub struct Staleness {
    /// Where the order of versions comes from.
    pub order: Versions,
    /// How many versions behind, of each read that has a place in that order.
    pub versions: Histogram<u64>,
    /// How long behind, in microseconds (in events, where the history has no times). Fresh reads are 0.
    pub behind: Histogram<u64>,
    /// How many reads there were.
    pub reads: u64,
    /// How many were fresh.
    pub fresh: u64,
    /// How many were stale.
    pub stale: u64,
    /// How many returned what has no place among the versions.
    pub unplaced: u64,
    /// The read that was the most versions behind, and how many.
    pub worst: Option<(OpId, u64)>,
}

/// How far behind each read was.
pub fn profile(problem: &Problem<'_>) -> Staleness {
    let history = problem.history;
    // With bounds: one that grows does not do so where it is told to saturate.
    let empty =
        || Histogram::new_with_bounds(1, MOST, 3).expect("1, 2^40 and three digits are allowed");
    let mut staleness = Staleness {
        order: order(history),
        versions: empty(),
        behind: empty(),
        reads: 0,
        fresh: 0,
        stale: 0,
        unplaced: 0,
        worst: None,
    };
    let reads = history.ids().filter(|id| history.operation(*id).read().is_some());
    if staleness.order == Versions::Unordered {
        staleness.reads = reads.count() as u64;
        staleness.unplaced = staleness.reads;
        return staleness;
    }
    let by_key = versions(history, staleness.order);
    let mut reads_by_key = vec![Vec::new(); history.keys.len()];
    for read in reads {
        staleness.reads += 1;
        reads_by_key[history.operation(read).key.0 as usize].push(read);
    }
    for (versions, reads) in by_key.iter().zip(&reads_by_key) {
        Key::of(problem, versions, reads).profile(reads, &mut staleness);
    }
    staleness
}

/// The replica that delivered most, if any did.
fn order(history: &History) -> Versions {
    if history.clock == Clock::ProcessOrder {
        return Versions::Unordered;
    }
    if !history.versions.is_empty() {
        return Versions::Known;
    }
    let mut counts: Vec<(u32, ReplicaId)> = Vec::new();
    for delivery in &history.deliveries {
        let at = delivery.replica.index();
        while counts.len() <= at {
            counts.push((0, ReplicaId(counts.len() as u16)));
        }
        counts[at].0 += u32::from(delivery.operation.is_some());
    }
    // The first of those that delivered most.
    let most = counts.iter().max_by_key(|(count, replica)| (*count, std::cmp::Reverse(*replica)));
    match most {
        Some((count, replica)) if *count > 0 => Versions::Delivered(*replica),
        _ => Versions::Completed,
    }
}

/// The writes to each key in the order of versions.
fn versions(history: &History, order: Versions) -> Vec<Vec<OpId>> {
    let mut by_key = vec![Vec::new(); history.keys.len()];
    let mut placed = vec![false; history.operations.len()];
    let mut place = |write: OpId| {
        if !std::mem::replace(&mut placed[write.index()], true) && wrote(history, write).is_some() {
            by_key[history.operation(write).key.0 as usize].push(write);
        }
    };
    if order == Versions::Known {
        history.versions.iter().copied().for_each(&mut place);
    }
    if let Versions::Delivered(replica) = order {
        let here = history.deliveries.iter().filter(|delivery| delivery.replica == replica);
        here.filter_map(|delivery| delivery.operation).for_each(&mut place);
    }
    let mut writes: Vec<OpId> = history.ids().collect();
    writes.sort_by_key(|write| history.operation(*write).completed);
    writes.into_iter().for_each(place);
    by_key
}

/// One key's versions, numbered from 1; the initial value is version 0.
struct Key<'a> {
    history: &'a History,
    /// The writes in the order of their completion: event and version.
    completions: Vec<(u32, usize)>,
    /// By version: the first completion of a newer one, event and time.
    first_newer: Vec<(u32, u64)>,
    version: HashMap<ValueId, usize, foldhash::fast::FixedState>,
}

impl<'a> Key<'a> {
    fn of(problem: &Problem<'a>, versions: &[OpId], reads: &[OpId]) -> Self {
        let history = problem.history;
        let mut version = HashMap::default();
        if let Some(read) = reads.first() {
            version.insert(problem.initial(history.operation(*read).key), 0);
        }
        let mut completions = Vec::new();
        for (at, write) in versions.iter().enumerate() {
            if let Some(value) = wrote(history, *write) {
                version.insert(value, at + 1);
            }
            let completed = history.operation(*write).completed;
            if completed != NEVER {
                completions.push((completed, at + 1));
            }
        }
        completions.sort_unstable();
        let mut first_newer = vec![(NEVER, 0); versions.len() + 1];
        for (at, write) in versions.iter().enumerate().rev() {
            let operation = history.operation(*write);
            let at_time = operation.completed_at.unwrap_or(operation.invoked_at);
            first_newer[at] = first_newer[at + 1].min((operation.completed, at_time));
        }
        Self { history, completions, first_newer, version }
    }

    /// Adds the reads of this key, in the order of invocation.
    fn profile(&self, reads: &[OpId], staleness: &mut Staleness) {
        let mut done = Fenwick::new(self.first_newer.len());
        let mut completions = self.completions.iter().peekable();
        for read in reads {
            let operation = self.history.operation(*read);
            while let Some((_, version)) =
                completions.next_if(|(completed, _)| *completed < operation.invoked)
            {
                done.add(*version);
            }
            let value = operation.read().and_then(|value| self.version.get(&value));
            let Some(version) = value.copied() else {
                staleness.unplaced += 1;
                continue;
            };
            let behind = done.above(version);
            staleness.versions.saturating_record(behind);
            if behind == 0 {
                staleness.fresh += 1;
                staleness.behind.saturating_record(0);
                continue;
            }
            staleness.stale += 1;
            let (_, since) = self.first_newer[version];
            let time = operation.invoked_at.saturating_sub(since);
            let time = if self.history.clock == Clock::Nanoseconds { time / 1000 } else { time };
            staleness.behind.saturating_record(time);
            if staleness.worst.is_none_or(|(_, most)| most < behind) {
                staleness.worst = Some((*read, behind));
            }
        }
    }
}

/// Counts of versions, so that adding one and asking for those above one take logarithmic time.
struct Fenwick {
    sums: Vec<u64>,
    total: u64,
}

impl Fenwick {
    fn new(versions: usize) -> Self {
        Self { sums: vec![0; versions + 1], total: 0 }
    }

    fn add(&mut self, version: usize) {
        self.total += 1;
        let mut at = version + 1;
        while let Some(sum) = self.sums.get_mut(at) {
            *sum += 1;
            at += at & at.wrapping_neg();
        }
    }

    /// How many of those added are newer than this version.
    fn above(&self, version: usize) -> u64 {
        let mut below = 0;
        let mut at = version + 1;
        while at > 0 {
            below += self.sums[at];
            at &= at - 1;
        }
        self.total - below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::order::generate::{Seed, history, problem, small};
    use crate::history::Delivery;
    use proptest::prelude::*;

    #[test]
    fn a_read_is_behind_by_what_was_acknowledged_before_it() {
        let history = history(
            "0: w(x,1) w(x,2) w(x,3)
             1: r(x,1) r(x,3) r(x,0) r(y,0) r(x,9)",
        );
        let staleness = profile(&problem(&history));
        assert_eq!(staleness.order, Versions::Completed);
        assert_eq!((staleness.reads, staleness.unplaced), (5, 1));
        assert_eq!((staleness.fresh, staleness.stale), (2, 2));
        assert_eq!(staleness.worst, Some((OpId(5), 3)));
        // w(x,1) completed as event 1, r(x,0) was invoked as event 10.
        assert_eq!(staleness.behind.max(), 9);
    }

    #[test]
    fn a_read_may_be_behind_by_seconds() {
        let mut history = history("0: w(x,1) \n 1: r(x,0)");
        history.clock = Clock::Nanoseconds;
        history.operations[0].completed_at = Some(0);
        history.operations[1].invoked_at = 5_000_000_000;
        let behind = profile(&problem(&history)).behind.max();
        assert!((5_000_000..5_010_000).contains(&behind), "{behind} microseconds");
    }

    #[test]
    fn deliveries_order_the_versions() {
        let mut history = history("0: w(x,1) \n 1: w(x,2) \n 2: r(x,1)");
        let writes = [OpId(1), OpId(0)];
        history.deliveries = writes
            .map(|write| Delivery {
                replica: ReplicaId(2),
                operation: Some(write),
                key: history.operation(write).key,
                value: wrote(&history, write).expect("a write"),
                at: 0,
            })
            .to_vec();
        let staleness = profile(&problem(&history));
        assert_eq!(staleness.order, Versions::Delivered(ReplicaId(2)));
        assert_eq!((staleness.fresh, staleness.stale), (1, 0));
    }

    /// Version by version, as the header says.
    fn naive(history: &History, read: OpId) -> Option<u64> {
        let operation = history.operation(read);
        let mut writes: Vec<OpId> = history
            .ids()
            .filter(|id| {
                wrote(history, *id).is_some() && history.operation(*id).key == operation.key
            })
            .collect();
        writes.sort_by_key(|id| history.operation(*id).completed);
        let value = operation.read()?;
        let found = writes.iter().rposition(|id| wrote(history, *id) == Some(value));
        if found.is_none() && value != problem(history).initial(operation.key) {
            return None;
        }
        let newer = &writes[found.map_or(0, |at| at + 1)..];
        let done = newer.iter().filter(|id| history.operation(**id).precedes(operation));
        Some(done.count() as u64)
    }

    proptest! {
        #[test]
        fn the_tree_counts_as_a_loop_does(
            seeds in prop::collection::vec(any::<Seed>(), 1..40),
        ) {
            let history = small(&seeds, 2);
            let staleness = profile(&problem(&history));
            let reads = history.ids().filter(|id| history.operation(*id).read().is_some());
            let mut expected: Vec<u64> =
                reads.filter_map(|read| naive(&history, read)).collect();
            expected.sort_unstable();
            let found: Vec<u64> = staleness
                .versions
                .iter_recorded()
                .flat_map(|step| (0..step.count_at_value()).map(move |_| step.value_iterated_to()))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
