//! Why a cycle is one: the operations that refute a history by themselves.
//!
//! A cycle is a path through edges and along chains. An edge that was inferred rests on another path, of
//! edges that are older than it; an edge from a refutation rests on the operations of that refutation.
//! Following all of them down gives the operations needed, and the edges that were only tried out
//! ([`Reason::Decided`]): without any of those the refutation is absolute.
//!
//! Along a chain only the first and the last operation of a stretch are needed, so paths are sought with
//! the fewest edges (a breadth-first search in which steps along a chain cost nothing), and only among
//! operations between the two ends, which the vector clocks tell.

use std::collections::{BTreeSet, VecDeque};

use super::program::NONE;
use super::relation::{Cycle, Reason, Relation};
use super::saturate::Rules;

/// What a contradiction rests on.
#[derive(Clone, Debug, Default)]
pub(super) struct Explanation {
    /// The nodes.
    pub(super) nodes: BTreeSet<u32>,
    /// The edges that were tried out.
    pub(super) decisions: BTreeSet<u32>,
}

/// `to` comes behind `from` by edges older than `limit`.
struct Path {
    from: u32,
    to: u32,
    limit: u32,
}

/// The search for what a cycle rests on.
struct Explainer<'r> {
    relation: &'r Relation,
    rules: &'r Rules,
    refutations: &'r [Explanation],
    found: Explanation,
    /// Edges that are explained already.
    done: Vec<bool>,
    todo: Vec<Path>,
    /// By node: how it was reached, for the path of this number.
    reached: Vec<(u32, Step)>,
    path: u32,
}

/// How a search came to a node.
#[derive(Clone, Copy)]
enum Step {
    Start,
    Along(u32),
    By(u32),
}

/// What a cycle rests on, given the refutations so far.
pub(super) fn explain(
    relation: &Relation,
    rules: &Rules,
    refutations: &[Explanation],
    cycle: Cycle,
) -> Explanation {
    let mut explainer = Explainer {
        relation,
        rules,
        refutations,
        found: Explanation::default(),
        done: vec![false; relation.edges().len()],
        todo: Vec::new(),
        reached: vec![(NONE, Step::Start); relation.lane.len()],
        path: 0,
    };
    explainer.found.nodes.extend([cycle.from, cycle.to]);
    if cycle.edge != NONE {
        explainer.edge(cycle.edge);
    }
    let limit = relation.edges().len() as u32;
    explainer.todo.push(Path { from: cycle.to, to: cycle.from, limit });
    while let Some(path) = explainer.todo.pop() {
        explainer.walk(&path);
    }
    explainer.found
}

impl Explainer<'_> {
    fn edge(&mut self, number: u32) {
        if std::mem::replace(&mut self.done[number as usize], true) {
            return;
        }
        let edge = self.relation.edges()[number as usize];
        self.found.nodes.extend([edge.from, edge.to]);
        match edge.reason {
            Reason::Program | Reason::ReadsFrom | Reason::Initial => {}
            Reason::Before { read } => {
                self.found.nodes.insert(read);
                self.todo.push(Path { from: edge.from, to: read, limit: number });
            }
            Reason::After => {
                if let Some(source) = self.rules.source(edge.from) {
                    self.found.nodes.insert(source);
                    self.todo.push(Path { from: source, to: edge.to, limit: number });
                }
            }
            Reason::Decided => {
                self.found.decisions.insert(number);
            }
            Reason::Refuted(refutation) => {
                let refutation = &self.refutations[refutation as usize];
                self.found.nodes.extend(&refutation.nodes);
                self.found.decisions.extend(&refutation.decisions);
            }
        }
    }

    /// Finds a path and takes in what it is made of.
    fn walk(&mut self, path: &Path) {
        self.search(path);
        let mut at = path.to;
        while at != path.from {
            match self.reached[at as usize] {
                (number, Step::Along(before)) if number == self.path => at = before,
                (number, Step::By(edge)) if number == self.path => {
                    self.edge(edge);
                    at = self.relation.edges()[edge as usize].from;
                }
                _ => {
                    debug_assert!(false, "clocks say that there is a path");
                    return self.found.nodes.extend(0..self.relation.lane.len() as u32);
                }
            }
        }
    }

    fn search(&mut self, path: &Path) {
        self.path += 1;
        let mut queue = VecDeque::from([(path.from, Step::Start)]);
        while let Some((node, step)) = queue.pop_front() {
            let relation = self.relation;
            let slot = &mut self.reached[node as usize];
            let within = relation.ordered(path.from, node) && relation.ordered(node, path.to);
            if slot.0 == self.path || !within {
                continue;
            }
            *slot = (self.path, step);
            if node == path.to {
                return;
            }
            if let Some(next) = relation.successor(node) {
                queue.push_front((next, Step::Along(node)));
            }
            let older = relation.edges_of(node).filter(|edge| *edge < path.limit);
            queue.extend(older.map(|edge| (relation.edges()[edge as usize].to, Step::By(edge))));
        }
    }
}
