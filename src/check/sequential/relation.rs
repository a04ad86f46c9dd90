//! A strict order of operations that only grows, and always knows who comes before whom.
//!
//! Each operation has a vector clock: for each *lane* (a process, or one definite operation of unknown
//! outcome) how many of its operations come before it or are it. So 'does a come before b?' is one
//! comparison. A new edge joins the clock of its source into that of its target, and what changes goes on
//! along all edges; a node that would come before itself is a [`Cycle`]. Nodes wait for their turn in a
//! queue sorted by rank, a likely order, so that most are updated once.
//!
//! What follows from what is the business of [`saturate`](super::saturate); each edge carries its
//! [`Reason`], from which [`explain`](super::explain) tells why a cycle is one. Everything since a mark
//! can be undone ([`Relation::undo`]), for [`decide`](super::decide) tries orders out.
//!
//! Memory: one number for each operation and lane, so a relation is refused beyond [`MAX_CLOCKS`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::program::{NONE, Program};
use super::saturate::Rules;
use super::sources::Sources;

/// The most numbers in all vector clocks together: 512 MiB.
const MAX_CLOCKS: usize = 1 << 27;

/// Why one operation comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The target is of unknown outcome, and its process did the source before.
    Program,
    /// The target found what the source left.
    ReadsFrom,
    /// The source found what was there at first, and the target changes it.
    Initial,
    /// The target is where `read` found its value, and the source is another write of the key that comes
    /// before `read`.
    Before {
        /// The observation.
        read: u32,
    },
    /// The source observed a write of the key that comes before the target, another one.
    After,
    /// It is tried out.
    Decided,
    /// The contrary was tried out and refuted; the number is that of the refutation.
    Refuted(u32),
}

/// One operation comes before another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) reason: Reason,
    /// The next edge of the same source.
    next: u32,
}

/// `to` comes before `from`, and yet `from` before `to`: by this edge, or where it is [`NONE`] as
/// neighbours on one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cycle {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) edge: u32,
}

/// A point in the past of a relation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    edges: usize,
    changes: usize,
}

/// The order so far.
#[derive(Debug)]
pub(super) struct Relation {
    /// By node: its lane, [`NONE`] for what is not in the relation.
    pub(super) lane: Vec<u32>,
    /// By node: its place on its lane, from 1.
    pub(super) place: Vec<u32>,
    /// The nodes of each lane.
    pub(super) lanes: Vec<Vec<u32>>,
    clocks: Vec<u32>,
    edges: Vec<Edge>,
    /// By node: its last edge.
    last_edge: Vec<u32>,
    rank: Vec<u32>,
    queue: BinaryHeap<Reverse<(u32, u32)>>,
    queued: Vec<bool>,
    /// What clocks held before they changed, where that may have to be undone.
    changes: Vec<(u32, u32)>,
    recording: bool,
    /// Clocks joined so far, for the budget.
    pub(super) work: u64,
}

impl Relation {
    /// The program order of what is definite; `None` where it is too large.
    pub(super) fn of(program: &Program<'_>, sources: &Sources) -> Option<Self> {
        let mut lanes = program.chains.clone();
        lanes.retain(|chain| !chain.is_empty());
        let definite = |number: &&u32| sources.definite[**number as usize];
        lanes.extend(program.loose.iter().filter(definite).map(|number| vec![*number]));
        let size = program.nodes.len();
        if lanes.len().checked_mul(size).is_none_or(|clocks| clocks > MAX_CLOCKS) {
            return None;
        }
        let mut relation = Self {
            lane: vec![NONE; size],
            place: vec![0; size],
            clocks: vec![0; size * lanes.len()],
            edges: Vec::new(),
            last_edge: vec![NONE; size],
            rank: (0..size as u32).collect(),
            queue: BinaryHeap::new(),
            queued: vec![false; size],
            changes: Vec::new(),
            recording: false,
            work: 0,
            lanes,
        };
        relation.begin(program);
        Some(relation)
    }

    fn begin(&mut self, program: &Program<'_>) {
        let width = self.lanes.len();
        for (lane, nodes) in self.lanes.iter().enumerate() {
            for (place, node) in nodes.iter().enumerate() {
                self.lane[*node as usize] = lane as u32;
                self.place[*node as usize] = place as u32 + 1;
                self.clocks[*node as usize * width + lane] = place as u32 + 1;
            }
        }
        for number in &program.loose {
            let node = program.node(*number);
            if self.has(*number) && node.before > 0 {
                let chain = &program.chains[node.chain as usize];
                self.connect(chain[node.before as usize - 1], *number, Reason::Program);
            }
        }
    }

    pub(super) fn has(&self, node: u32) -> bool {
        self.lane[node as usize] != NONE
    }

    /// How many operations of a lane come before this node or are it.
    pub(super) fn known(&self, node: u32, lane: u32) -> u32 {
        self.clocks[node as usize * self.lanes.len() + lane as usize]
    }

    /// Whether `a` comes before `b` or is it.
    pub(super) fn ordered(&self, a: u32, b: u32) -> bool {
        self.known(b, self.lane[a as usize]) >= self.place[a as usize]
    }

    /// The next node on the same lane.
    pub(super) fn successor(&self, node: u32) -> Option<u32> {
        let lane = &self.lanes[self.lane[node as usize] as usize];
        lane.get(self.place[node as usize] as usize).copied()
    }

    pub(super) fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The numbers of the edges that go out of a node, the latest first.
    pub(super) fn edges_of(&self, node: u32) -> impl Iterator<Item = u32> {
        let first = self.last_edge[node as usize];
        std::iter::successors((first != NONE).then_some(first), |edge| {
            let next = self.edges[*edge as usize].next;
            (next != NONE).then_some(next)
        })
    }

    /// Adds an edge whose consequences are drawn later.
    pub(super) fn connect(&mut self, from: u32, to: u32, reason: Reason) -> u32 {
        let number = self.edges.len() as u32;
        let next = std::mem::replace(&mut self.last_edge[from as usize], number);
        self.edges.push(Edge { from, to, reason, next });
        number
    }

    /// Adds an edge; what follows from it is for [`Relation::saturate`].
    pub(super) fn add(&mut self, from: u32, to: u32, reason: Reason) -> Result<(), Cycle> {
        let edge = self.connect(from, to, reason);
        self.join(Cycle { from, to, edge })
    }

    /// Lets what comes before `from` come before `to`.
    fn join(&mut self, link: Cycle) -> Result<(), Cycle> {
        let width = self.lanes.len();
        let (from, to) = (link.from as usize * width, link.to as usize * width);
        let own = self.lane[link.to as usize] as usize;
        self.work += 1;
        if self.clocks[from + own] >= self.place[link.to as usize] {
            return Err(link);
        }
        let mut changed = false;
        for lane in 0..width {
            let (new, old) = (self.clocks[from + lane], self.clocks[to + lane]);
            if new > old {
                if self.recording {
                    self.changes.push(((to + lane) as u32, old));
                }
                self.clocks[to + lane] = new;
                changed = true;
            }
        }
        if changed {
            self.enqueue(link.to);
        }
        Ok(())
    }

    fn enqueue(&mut self, node: u32) {
        if !std::mem::replace(&mut self.queued[node as usize], true) {
            self.queue.push(Reverse((self.rank[node as usize], node)));
        }
    }

    /// Puts every node into the queue, in the order of these ranks.
    pub(super) fn enqueue_all(&mut self, rank: Vec<u32>) {
        self.rank = rank;
        for node in 0..self.lane.len() as u32 {
            if self.has(node) {
                self.enqueue(node);
            }
        }
    }

    /// Draws all consequences, by the edges and by the rules, of what changed since the last time.
    /// Returns false where `stop` says so, with the rest still to do.
    pub(super) fn saturate(
        &mut self,
        rules: &Rules,
        stop: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, Cycle> {
        while let Some(Reverse((_, node))) = self.queue.pop() {
            self.queued[node as usize] = false;
            if let Some(next) = self.successor(node) {
                self.join(Cycle { from: node, to: next, edge: NONE })?;
            }
            let mut edge = self.last_edge[node as usize];
            while edge != NONE {
                let Edge { from, to, next, .. } = self.edges[edge as usize];
                self.join(Cycle { from, to, edge })?;
                edge = next;
            }
            rules.infer(self, node)?;
            if stop(self.work) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// From now on everything can be undone.
    pub(super) fn record(&mut self) {
        self.recording = true;
    }

    /// The present, to come back to.
    pub(super) fn mark(&self) -> Mark {
        Mark { edges: self.edges.len(), changes: self.changes.len() }
    }

    /// Goes back to a mark; nothing was left to do then, and nothing is left to do now.
    pub(super) fn undo(&mut self, mark: Mark) {
        for Reverse((_, node)) in self.queue.drain() {
            self.queued[node as usize] = false;
        }
        for (slot, old) in self.changes.drain(mark.changes..).rev() {
            self.clocks[slot as usize] = old;
        }
        while self.edges.len() > mark.edges {
            if let Some(edge) = self.edges.pop() {
                self.last_edge[edge.from as usize] = edge.next;
            }
        }
    }

    /// A total order that contains this one; among what is free, the smallest priority comes first. Where
    /// the relation is not saturated yet it may have a cycle; the nodes that hang on one are missing
    /// then.
    pub(super) fn linear_extension(&self, priority: &[u32]) -> Vec<u32> {
        let mut waiting = vec![0_u32; self.lane.len()];
        for node in 0..self.lane.len() as u32 {
            if self.has(node) && self.place[node as usize] > 1 {
                waiting[node as usize] += 1;
            }
        }
        for edge in &self.edges {
            waiting[edge.to as usize] += 1;
        }
        let ready = |node: &u32| self.has(*node) && waiting[*node as usize] == 0;
        let mut free: BinaryHeap<_> = (0..self.lane.len() as u32)
            .filter(ready)
            .map(|node| Reverse((priority[node as usize], node)))
            .collect();
        let mut order = Vec::with_capacity(self.lane.len());
        while let Some(Reverse((_, node))) = free.pop() {
            order.push(node);
            let targets = self.edges_of(node).map(|edge| self.edges[edge as usize].to);
            for next in self.successor(node).into_iter().chain(targets) {
                waiting[next as usize] -= 1;
                if waiting[next as usize] == 0 {
                    free.push(Reverse((priority[next as usize], next)));
                }
            }
        }
        order
    }
}
