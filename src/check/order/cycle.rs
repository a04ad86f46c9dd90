//! Cycles: within one level of a saturated process, and in a base order.

use super::base::{Base, Node};
use super::proof::Recorder;
use super::saturate::Scan;
use super::{INITIAL, NONE, Trace};

/// How far a depth-first search has come with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    New,
    Open,
    Done,
}

/// Depth-first search backwards along predecessors; memory for many searches.
#[derive(Debug)]
pub struct Search {
    colours: Vec<Colour>,
    /// The nodes on the path and the first of their predecessors, in `waiting`, that is not looked at.
    path: Vec<(u32, u32)>,
    waiting: Vec<u32>,
    coloured: Vec<u32>,
}

impl Search {
    /// Memory for this many nodes.
    pub fn new(nodes: usize) -> Self {
        Self {
            colours: vec![Colour::New; nodes],
            path: Vec::new(),
            waiting: Vec::new(),
            coloured: Vec::new(),
        }
    }

    /// Forgets what has been searched.
    pub fn clear(&mut self) {
        for node in self.coloured.drain(..) {
            self.colours[node as usize] = Colour::New;
        }
        self.path.clear();
        self.waiting.clear();
    }

    /// Searches from this node on; `predecessors` appends those of a node to a list, `done` hears of each
    /// node after all before it. A cycle comes with each node before the next, the last before the first.
    pub fn from(
        &mut self,
        node: u32,
        mut predecessors: impl FnMut(u32, &mut Vec<u32>),
        mut done: impl FnMut(u32),
    ) -> Option<Vec<u32>> {
        let mut next = Some(node);
        loop {
            if let Some(node) = next.take() {
                match self.colours[node as usize] {
                    Colour::New => {
                        self.colours[node as usize] = Colour::Open;
                        self.coloured.push(node);
                        self.path.push((node, self.waiting.len() as u32));
                        predecessors(node, &mut self.waiting);
                    }
                    Colour::Open => {
                        let on_path = self.path.iter().map(|(node, _)| *node);
                        let mut cycle: Vec<u32> = on_path.skip_while(|on| *on != node).collect();
                        cycle.reverse();
                        return Some(cycle);
                    }
                    Colour::Done => {}
                }
            }
            let (node, start) = *self.path.last()?;
            if self.waiting.len() > start as usize {
                next = self.waiting.pop();
            } else {
                self.colours[node as usize] = Colour::Done;
                done(node);
                self.path.pop();
            }
        }
    }
}

/// A cycle among the nodes of one level of a saturated process.
pub fn within_a_level<R: Recorder>(scan: &Scan<'_, R>, search: &mut Search) -> Option<Vec<u32>> {
    search.clear();
    let level = |node: u32| scan.levels[node as usize];
    for group in &scan.groups {
        // Every cycle passes a member that the rule, not the base order, puts before a source.
        if !group.is_tied || group.source >= INITIAL {
            continue;
        }
        let predecessors = |node: u32, list: &mut Vec<u32>| {
            let Node { first, second, .. } = scan.base_node(node);
            let same = |other: &u32| *other != NONE && level(*other) == level(node);
            list.extend([first, second].into_iter().filter(same));
            if let Some(group) = scan.group_of_source(node).filter(|group| group.is_tied) {
                list.extend(scan.members(group).filter(|other| *other != node && same(other)));
            }
        };
        if let Some(cycle) = search.from(group.source, predecessors, |_| {}) {
            return Some(cycle);
        }
    }
    None
}

/// All nodes of a base order, each behind its predecessors and as near to the order of invocation as that
/// allows; or a cycle.
///
/// # Errors
/// With the places on the cycle.
pub fn topological(trace: &Trace, base: &Base) -> Result<Vec<u32>, Vec<u32>> {
    let mut order = Vec::with_capacity(base.nodes.len());
    let mut search = Search::new(base.nodes.len());
    let predecessors = |node: u32, list: &mut Vec<u32>| {
        let Node { first, second, .. } = base.nodes[node as usize];
        list.extend([first, second].into_iter().filter(|other| *other != NONE));
    };
    let extra = trace.len() as u32..base.nodes.len() as u32;
    for node in trace.invoked.iter().copied().chain(extra) {
        if let Some(cycle) = search.from(node, predecessors, |node| order.push(node)) {
            return Err(without_runs(base, &cycle));
        }
    }
    Ok(order)
}

/// The places on a cycle, without those in the middle of a run along first predecessors.
fn without_runs(base: &Base, cycle: &[u32]) -> Vec<u32> {
    let first = |at: usize| {
        let next = cycle[(at + 1) % cycle.len()];
        base.nodes[next as usize].first == cycle[at % cycle.len()]
    };
    (0..cycle.len())
        .filter(|at| !(first(at + cycle.len() - 1) && first(*at)))
        .map(|at| base.place(cycle[at]))
        .collect()
}
