//! What has to hold in *every* legal total order, to a fixpoint.
//!
//! Begin with program order and reads-from (each observation comes behind the write whose value it
//! found). Then, for an observation `r` that found the value of write `w`, and another write `v` of the
//! same key:
//!
//! - if `v` comes before `r`, then `v` comes before `w`, for `r` found `w` and not `v`
//!   ([`Reason::Before`]);
//! - if `w` comes before `v`, then `r` comes before `v`, for the same reason ([`Reason::After`]).
//!
//! What the key held at first counts as a write before all others. A cycle refutes the history: no total
//! order contains it. Without a cycle, and with any two writes of one key ordered, every linear extension
//! is legal, for nothing can stand between a write and its observation. So what remains to be found is an
//! order of the writes of each key ([`decide`](super::decide)).
//!
//! # Cost
//!
//! Of the writes of one lane that come before an operation only the last matters: the earlier ones come
//! before it, and by the second rule so do those who observed them. So each rule looks, for each lane
//! that writes the key, at one write, found by binary search in the vector clock; and an operation is
//! looked at again only when its clock has changed. Runs of a real store are done after a few looks at
//! each operation.
//!
//! Source: the rules are those of P. Gibbons and E. Korach, *Testing Shared Memories*, SIAM J. Computing
//! 26(4), 1997, and of the axiomatic checkers since (`CO` in Biswas and Enea, *On the Complexity of
//! Checking Transactional Consistency*, OOPSLA 2019).

use super::program::{NONE, Program};
use super::relation::{Cycle, Reason, Relation};
use super::sources::{From, Sources};

/// The writes of one key on one lane, in its order.
#[derive(Debug)]
struct Writers {
    lane: u32,
    nodes: Vec<u32>,
}

/// What the rules need to know of the operations.
#[derive(Debug)]
pub(super) struct Rules {
    from: Vec<From>,
    key: Vec<u32>,
    /// By node: whether it writes its key (and surely happened).
    writes: Vec<bool>,
    /// By key.
    writers: Vec<Vec<Writers>>,
    /// By node: the last one of each lane that observed it.
    observers: Vec<Vec<u32>>,
}

impl Rules {
    /// The rules for these operations; adds what holds from the beginning to the relation.
    pub(super) fn of(program: &Program<'_>, sources: &Sources, relation: &mut Relation) -> Self {
        let writes = |number: u32| {
            let node = program.node(number);
            relation.has(number) && node.step.leaves().is_some()
        };
        let mut rules = Self {
            from: sources.from.clone(),
            key: program.nodes.iter().map(|node| node.key).collect(),
            writes: program.numbers().map(writes).collect(),
            writers: (0..program.keys).map(|_| Vec::new()).collect(),
            observers: vec![Vec::new(); program.nodes.len()],
        };
        let mut at_first = vec![Vec::new(); program.keys];
        for (lane, nodes) in relation.lanes.iter().enumerate() {
            for node in nodes {
                rules.note(*node, lane as u32, &relation.lane, &mut at_first);
            }
        }
        rules.begin(relation, &at_first);
        rules
    }

    /// Takes a node into the tables; those of one lane come in its order.
    fn note(&mut self, node: u32, lane: u32, lanes: &[u32], at_first: &mut [Vec<u32>]) {
        let slot = node as usize;
        let key = self.key[slot] as usize;
        if self.writes[slot] {
            match self.writers[key].last_mut() {
                Some(writers) if writers.lane == lane => writers.nodes.push(node),
                _ => self.writers[key].push(Writers { lane, nodes: vec![node] }),
            }
        }
        let observers = match self.from[slot] {
            From::Unclear => return,
            From::Initial => &mut at_first[key],
            From::Node(write) => &mut self.observers[write as usize],
        };
        match observers.last_mut() {
            Some(last) if lanes[*last as usize] == lane => *last = node,
            _ => observers.push(node),
        }
    }

    fn begin(&self, relation: &mut Relation, at_first: &[Vec<u32>]) {
        for (slot, from) in self.from.iter().enumerate() {
            if let From::Node(write) = from
                && relation.has(slot as u32)
            {
                relation.connect(*write, slot as u32, Reason::ReadsFrom);
            }
        }
        for (key, observers) in at_first.iter().enumerate() {
            for writers in &self.writers[key] {
                for read in observers {
                    // Where the observer itself is the first write of its lane, the second comes behind
                    // it anyway.
                    if *read != writers.nodes[0] {
                        relation.connect(*read, writers.nodes[0], Reason::Initial);
                    }
                }
            }
        }
    }

    /// The write that a node observed, where that is known.
    pub(super) fn source(&self, node: u32) -> Option<u32> {
        match self.from[node as usize] {
            From::Node(write) => Some(write),
            _ => None,
        }
    }

    /// Whether a node writes its key.
    pub(super) fn writes(&self, node: u32) -> bool {
        self.writes[node as usize]
    }

    /// The key of a node.
    pub(super) fn key(&self, node: u32) -> u32 {
        self.key[node as usize]
    }

    /// Adds what follows from the present clock of a node.
    pub(super) fn infer(&self, relation: &mut Relation, node: u32) -> Result<(), Cycle> {
        if let Some(source) = self.source(node) {
            self.infer_before(relation, node, source)?;
        }
        if self.writes(node) {
            self.infer_after(relation, node)?;
        }
        Ok(())
    }

    /// The last write of its key on a lane that comes before this node.
    fn last_before(&self, relation: &Relation, writers: &Writers, node: u32) -> Option<u32> {
        let mut known = relation.known(node, writers.lane);
        if relation.lane[node as usize] == writers.lane {
            known -= 1;
        }
        let before = |write: &u32| relation.place[*write as usize] <= known;
        let count = writers.nodes.partition_point(before);
        count.checked_sub(1).map(|last| writers.nodes[last])
    }

    fn infer_before(&self, relation: &mut Relation, read: u32, source: u32) -> Result<(), Cycle> {
        for writers in &self.writers[self.key(read) as usize] {
            let Some(write) = self.last_before(relation, writers, read) else { continue };
            if write != source && !relation.ordered(write, source) {
                relation.add(write, source, Reason::Before { read })?;
            }
        }
        Ok(())
    }

    fn infer_after(&self, relation: &mut Relation, write: u32) -> Result<(), Cycle> {
        for writers in &self.writers[self.key(write) as usize] {
            let Some(earlier) = self.last_before(relation, writers, write) else { continue };
            for read in &self.observers[earlier as usize] {
                if *read != write && !relation.ordered(*read, write) {
                    relation.add(*read, write, Reason::After)?;
                }
            }
        }
        Ok(())
    }
}

/// How far a saturation got.
#[derive(Debug)]
pub(super) enum Saturated {
    /// To the fixpoint.
    Yes,
    /// To a contradiction.
    Refuted(Cycle),
    /// Not to the end: the budget is spent.
    Spent,
}

/// Saturates a relation from scratch.
pub(super) fn saturate(
    program: &Program<'_>,
    relation: &mut Relation,
    rules: &Rules,
    times: &[u32],
) -> Saturated {
    let mut rank = vec![NONE; program.nodes.len()];
    for (place, node) in relation.linear_extension(times).into_iter().enumerate() {
        rank[node as usize] = place as u32;
    }
    relation.enqueue_all(rank);
    let mut stop = stop(program);
    match relation.saturate(rules, &mut stop) {
        Ok(true) => Saturated::Yes,
        Ok(false) => Saturated::Spent,
        Err(cycle) => Saturated::Refuted(cycle),
    }
}

/// Asks the budget every few thousand units of work.
pub(super) fn stop<'p>(program: &Program<'p>) -> impl FnMut(u64) -> bool + 'p {
    let budget = program.problem.budget;
    let mut next = 0;
    move |work| {
        if work < next {
            return false;
        }
        next = work + 4096;
        budget.is_spent()
    }
}
