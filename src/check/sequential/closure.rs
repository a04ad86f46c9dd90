//! Which operations refute a history *by themselves*.
//!
//! A part of a history can be in order where the whole is not, and the other way round too: leave out a
//! write, and the read of its value is thin air. So a witness is *closed*: with each observation, all
//! operations that can have left what it found. If a legal order of the whole exists, its restriction to
//! a closed part is legal too, for what stands last before an observation is in the part; so a closed
//! part that is not in order refutes the whole.
//!
//! Observations of what was *not* found (a compare-and-set that missed), and keys whose states build on
//! one another (strings), need every change of their key.

use hashbrown::HashMap;

use super::super::spec::{State, Step};
use super::program::Program;
use crate::history::OpId;

/// The changes of a program, by what they leave.
#[derive(Debug)]
pub(super) struct Closure<'p> {
    program: &'p Program<'p>,
    makers: HashMap<(u32, State), Vec<u32>, foldhash::fast::FixedState>,
    changes: Vec<Vec<u32>>,
}

impl<'p> Closure<'p> {
    pub(super) fn of(program: &'p Program<'p>) -> Self {
        let mut closure =
            Self { program, makers: HashMap::default(), changes: vec![Vec::new(); program.keys] };
        for number in program.numbers() {
            let node = program.node(number);
            if let Some(state) = node.step.leaves() {
                closure.makers.entry((node.key, state)).or_default().push(number);
            }
            if !node.step.only_observes() {
                closure.changes[node.key as usize].push(number);
            }
        }
        closure
    }

    /// These operations and all that they need.
    pub(super) fn close_ops(&self, ops: &[OpId]) -> Vec<OpId> {
        self.close(ops.iter().map(|op| self.program.node_of[op.index()]))
    }

    /// These nodes and all that they need, as operations in the order of their invocation.
    pub(super) fn close(&self, nodes: impl IntoIterator<Item = u32>) -> Vec<OpId> {
        let mut within = vec![false; self.program.nodes.len()];
        let mut whole_key = vec![false; self.program.keys];
        let mut todo: Vec<u32> = nodes.into_iter().collect();
        while let Some(number) = todo.pop() {
            if std::mem::replace(&mut within[number as usize], true) {
                continue;
            }
            let node = self.program.node(number);
            let key = node.key as usize;
            let found = match node.step {
                Step::Try { from, .. } => Some(from),
                step => step.found(),
            };
            let anchors = &self.program.anchors[key];
            let grows = self.program.opaque[key] || !anchors.is_empty();
            if grows || matches!(node.step, Step::Miss(_)) {
                if !std::mem::replace(&mut whole_key[key], true) {
                    todo.extend(&self.changes[key]);
                    todo.extend(anchors);
                }
            } else if let Some(state) = found
                && let Some(makers) = self.makers.get(&(node.key, state))
            {
                todo.extend(makers);
            }
        }
        let within = self.program.nodes.iter().zip(within).filter(|(_, within)| *within);
        within.map(|(node, _)| node.op).collect()
    }
}
