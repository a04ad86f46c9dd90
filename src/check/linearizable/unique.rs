//! Registers whose values tell which write each read reads from: zones.
//!
//! A write and the reads of its value are a *cluster*; in a linearization they stand together. Let `f` be the
//! first completion in a cluster and `s` its last invocation. If `f < s`, the register must hold the value
//! all the time from `f` to `s`: a *forward zone*. Otherwise all of the cluster can happen at one moment, and
//! that moment can be anywhere from `s` to `f`: a *backward zone*. The history is linearizable unless
//!
//! 1. a read ends before its write begins,
//! 2. two forward zones overlap (the register would have to hold two values), or
//! 3. a backward zone lies within a forward zone (its moment would have to be outside).
//!
//! Gibbons and Korach, *Testing Shared Memories*, SIAM J. Comput. 26 (1997), theorem 4.1 and what follows.
//! `O(n log n)` for the sort of the zones; everything else is linear.
//!
//! - The initial value is a cluster whose write ended before everything.
//! - A value that nobody read may be written any number of times: each write is a backward zone of its own.
//! - A write of unknown outcome that nobody read is dropped: let it never have happened. One that was read has
//!   taken effect, before its first read ended; `f` says so, since its own completion never comes.
//!
//! A violation comes with the few operations that span the zones.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Slot;

use super::Verdict;
use super::part::{Entry, Part, in_order};
use crate::check::spec::{State, Step};
use crate::history::OpId;

/// An event of an operation; no operation for the write of the initial value.
type Event = (u32, Option<OpId>);

/// Before all events; those of the history are moved up by one.
const BEFORE_ALL: u32 = 0;

/// A value that was read: its write and its reads.
struct Cluster {
    write: Option<OpId>,
    /// The invocation of the write.
    begin: u32,
    /// The first completion.
    first_end: Event,
    /// The last invocation.
    last_call: Event,
    /// The first of the reads to end.
    first_read: Event,
}

impl Cluster {
    fn of_read(entry: &Entry) -> Self {
        let (end, call) = ends(entry);
        Self { write: None, begin: u32::MAX, first_end: end, last_call: call, first_read: end }
    }

    fn add(&mut self, entry: &Entry) {
        let (end, call) = ends(entry);
        self.first_end = self.first_end.min(end);
        self.last_call = self.last_call.max(call);
    }

    fn core(&self) -> impl Iterator<Item = OpId> + use<> {
        [self.write, self.first_end.1, self.last_call.1].into_iter().flatten()
    }
}

fn ends(entry: &Entry) -> (Event, Event) {
    ((entry.end.saturating_add(1), Some(entry.id)), (entry.call + 1, Some(entry.id)))
}

/// Decides it, unless it cannot: there are other operations than reads and writes, or a value that was read has
/// more than one write.
pub(super) fn check(part: &Part<'_>) -> Option<Verdict> {
    let (mut clusters, place) = read_values(part)?;
    let mut backward = add_writes(part, &mut clusters, &place)?;
    let initial = place.get(&part.initial()).map(|at| &mut clusters[*at as usize]);
    if let Some(initial) = initial.filter(|cluster| cluster.write.is_none()) {
        initial.begin = BEFORE_ALL;
        initial.first_end = (BEFORE_ALL, None);
    }
    // A read without a write has no `begin`, so this tells reads out of thin air, too.
    let early = clusters.iter().find(|cluster| cluster.first_read.0 < cluster.begin);
    if let Some(cluster) = early {
        let core = cluster.write.into_iter().chain(cluster.first_read.1);
        return Some(Verdict::Violation(in_order(core.collect())));
    }
    let mut forward = Vec::new();
    for cluster in clusters {
        let is_forward = cluster.first_end.0 < cluster.last_call.0;
        if is_forward { &mut forward } else { &mut backward }.push(cluster);
    }
    forward.sort_unstable_by_key(|cluster| cluster.first_end.0);
    let two = forward.windows(2).find(|two| two[1].first_end.0 < two[0].last_call.0);
    if let Some([one, two]) = two {
        return Some(Verdict::Violation(in_order(one.core().chain(two.core()).collect())));
    }
    for inner in &backward {
        let after = forward.partition_point(|outer| outer.first_end.0 < inner.last_call.0);
        let outer = after.checked_sub(1).map(|at| &forward[at]);
        if let Some(outer) = outer.filter(|outer| inner.first_end.0 < outer.last_call.0) {
            return Some(Verdict::Violation(in_order(inner.core().chain(outer.core()).collect())));
        }
    }
    Some(Verdict::Valid)
}

type Places = HashMap<State, u32, foldhash::fast::FixedState>;

/// A cluster for each value that was read, and where it is.
fn read_values(part: &Part<'_>) -> Option<(Vec<Cluster>, Places)> {
    let mut clusters: Vec<Cluster> = Vec::new();
    let mut places = Places::default();
    for entry in part.entries() {
        match entry.step {
            Step::Put(_) => {}
            Step::Find(value) => match places.entry(value) {
                Slot::Vacant(slot) => {
                    slot.insert(clusters.len() as u32);
                    clusters.push(Cluster::of_read(&entry));
                }
                Slot::Occupied(slot) => {
                    let cluster = &mut clusters[*slot.get() as usize];
                    cluster.add(&entry);
                    cluster.first_read = cluster.first_read.min(ends(&entry).0);
                }
            },
            _ => return None,
        }
    }
    Some((clusters, places))
}

/// Puts the writes into their clusters; returns those of values that nobody read.
fn add_writes(part: &Part<'_>, clusters: &mut [Cluster], places: &Places) -> Option<Vec<Cluster>> {
    let mut unread = Vec::new();
    for entry in part.entries() {
        let Step::Put(value) = entry.step else { continue };
        let Some(at) = places.get(&value) else {
            if !entry.optional {
                unread.push(Cluster { write: Some(entry.id), ..Cluster::of_read(&entry) });
            }
            continue;
        };
        let cluster = &mut clusters[*at as usize];
        if cluster.write.is_some() || value == part.initial() {
            return None;
        }
        cluster.write = Some(entry.id);
        cluster.begin = entry.call + 1;
        cluster.add(&entry);
    }
    Some(unread)
}
