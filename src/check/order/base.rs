//! What each model orders before anything is inferred: a graph with at most two predecessors a node.
//!
//! The nodes are the places of the [`Trace`]; a model that needs more has them behind those. Edges that
//! follow from others are left out: a chain stands for the order of all its members.

use super::{INITIAL, NONE, Trace};

/// One node.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// The predecessor in its process (for the models that have one), or [`NONE`].
    pub first: u32,
    /// Another predecessor, or [`NONE`].
    pub second: u32,
    /// The key that it writes, or [`NONE`] where it is no write.
    pub key: u32,
}

/// How a process sees its own operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// In program order, all of them.
    Ordered,
    /// Its reads in program order; its writes are writes like any others'.
    ReadsOrdered,
}

/// A model's base order.
#[derive(Clone, Debug)]
pub struct Base {
    /// The nodes; the first ones are the trace's places.
    pub nodes: Vec<Node>,
    /// The places that the nodes behind the trace's stand for.
    pub extra: Vec<u32>,
    /// How a process sees its own operations.
    pub own: Own,
    /// Whether, for each key, it orders the writes of each process (but for loose ones).
    pub has_chains: bool,
    /// Whether it may have a cycle; chains alone have none.
    pub may_be_cyclic: bool,
}

impl Base {
    /// The place that a node stands for.
    pub fn place(&self, node: u32) -> u32 {
        let places = self.nodes.len() - self.extra.len();
        if (node as usize) < places { node } else { self.extra[node as usize - places] }
    }

    /// Causal order: program order and reads-from.
    pub fn causal(trace: &Trace) -> Self {
        let nodes = (0..trace.len() as u32).map(|place| Node {
            first: trace.before[place as usize],
            second: written_source(trace, place),
            key: written_key(trace, place),
        });
        Self {
            nodes: nodes.collect(),
            extra: Vec::new(),
            own: Own::Ordered,
            has_chains: true,
            may_be_cyclic: true,
        }
    }

    /// The writes of each process in program order, and one's own operations.
    pub fn pram(trace: &Trace) -> Self {
        Self { own: Own::Ordered, ..Self::monotonic_writes(trace) }
    }

    /// The writes of each process in program order.
    pub fn monotonic_writes(trace: &Trace) -> Self {
        Self::chains(trace, |last, _| last)
    }

    /// For each key the writes of each process in program order.
    pub fn monotonic_reads(trace: &Trace) -> Self {
        let mut by_key = vec![NONE; trace.keys];
        Self::chains(trace, move |_, place| {
            let slot = &mut by_key[trace.key[place as usize] as usize];
            let same_process = |other: u32| {
                other != NONE && trace.process[other as usize] == trace.process[place as usize]
            };
            let before = if same_process(*slot) { *slot } else { NONE };
            if !trace.is_loose(place) {
                *slot = place;
            }
            before
        })
    }

    /// Chains of writes: `before` tells the predecessor of a write, given the last one of its process.
    fn chains(trace: &Trace, mut before: impl FnMut(u32, u32) -> u32) -> Self {
        let mut nodes = Vec::with_capacity(trace.len());
        for process in 0..trace.processes() {
            let mut last = NONE;
            for place in trace.places(process) {
                if !trace.writes(place) {
                    nodes.push(Node { first: NONE, second: NONE, key: NONE });
                    continue;
                }
                let key = trace.key[place as usize];
                nodes.push(Node { first: before(last, place), second: NONE, key });
                if !trace.is_loose(place) {
                    last = place;
                }
            }
        }
        Self {
            nodes,
            extra: Vec::new(),
            own: Own::ReadsOrdered,
            has_chains: true,
            may_be_cyclic: false,
        }
    }

    /// The writes that a process had read before each of its writes.
    ///
    /// A read's node stands for all that its process has read so far: it comes behind the read before it
    /// and behind its own source, and the process' next writes come behind it. A compare-and-set is two
    /// nodes, one that has read and, behind it, one that writes.
    pub fn writes_follow_reads(trace: &Trace) -> Self {
        let mut nodes = Vec::with_capacity(trace.len());
        let mut behind = Vec::new();
        let mut extra = Vec::new();
        for process in 0..trace.processes() {
            let mut last = NONE;
            for place in trace.places(process) {
                let second = written_source(trace, place);
                let key = written_key(trace, place);
                let seen = Node { first: last, second, key: NONE };
                if trace.reads(place) && trace.writes(place) {
                    last = (trace.len() + extra.len()) as u32;
                    extra.push(place);
                    behind.push(seen);
                } else if trace.reads(place) {
                    last = place;
                    nodes.push(seen);
                    continue;
                }
                nodes.push(Node { first: last, second: NONE, key });
            }
        }
        nodes.append(&mut behind);
        Self { nodes, extra, own: Own::ReadsOrdered, has_chains: false, may_be_cyclic: true }
    }
}

fn written_source(trace: &Trace, place: u32) -> u32 {
    let source = trace.source[place as usize];
    if source == INITIAL { NONE } else { source }
}

fn written_key(trace: &Trace, place: u32) -> u32 {
    if trace.writes(place) { trace.key[place as usize] } else { NONE }
}
