//! The history as the checkers of this folder see it: steps on chains.
//!
//! Only what matters is here, and what tells something: failed operations, reads without an answer and
//! steps that are [`Step::Idle`] fit anywhere and are left out. Each process is a *chain*, its `Ok`
//! operations in their order. An operation of unknown outcome hangs beside the chain: it comes behind a
//! number of the chain's operations and before nothing, not even before what its process did next.

use super::super::Problem;
use super::super::spec::{Machine, State, Step};
use crate::history::{KeyId, OpId, Outcome};

/// Stands for 'none' where a number of a node, an edge or a state is stored.
pub(super) const NONE: u32 = u32::MAX;

/// An operation that matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) op: OpId,
    /// Its key, as an index.
    pub(super) key: u32,
    pub(super) step: Step,
    /// Its process, as an index into [`Program::chains`].
    pub(super) chain: u32,
    /// How many operations of its chain come before it.
    pub(super) before: u32,
    /// Whether its outcome is unknown: it is on no chain.
    pub(super) loose: bool,
}

/// The operations of a problem, as nodes in the order of their invocations.
#[derive(Debug)]
pub(super) struct Program<'p> {
    pub(super) problem: &'p Problem<'p>,
    pub(super) machine: &'p Machine<'p>,
    pub(super) nodes: Vec<Node>,
    /// The `Ok` nodes of each process.
    pub(super) chains: Vec<Vec<u32>>,
    /// The nodes of unknown outcome.
    pub(super) loose: Vec<u32>,
    /// The node of each operation, [`NONE`] where it was left out.
    pub(super) node_of: Vec<u32>,
    /// How many keys there are.
    pub(super) keys: usize,
    /// By key: whether a step changes it as only the specification knows.
    pub(super) opaque: Vec<bool>,
    /// By key: the reads that tell what its changes did, where they were turned into steps of a register.
    pub(super) anchors: Vec<Vec<u32>>,
}

impl<'p> Program<'p> {
    pub(super) fn of(problem: &'p Problem<'p>, machine: &'p Machine<'p>) -> Self {
        let history = problem.history;
        let processes = history.operations.iter().map(|operation| operation.process.0 as usize + 1);
        let keys = history.operations.iter().map(|operation| operation.key.0 as usize + 1);
        let keys = keys.max().unwrap_or(0);
        let mut program = Program {
            problem,
            machine,
            nodes: Vec::with_capacity(history.operations.len()),
            chains: vec![Vec::new(); processes.max().unwrap_or(0)],
            loose: Vec::new(),
            node_of: vec![NONE; history.operations.len()],
            keys,
            opaque: vec![false; keys],
            anchors: vec![Vec::new(); keys],
        };
        for op in history.ids() {
            program.add(op);
        }
        program
    }

    fn add(&mut self, op: OpId) {
        let operation = self.problem.history.operation(op);
        let step = self.machine.step(op);
        if !operation.matters() || step == Step::Idle {
            return;
        }
        let number = self.nodes.len() as u32;
        let chain = &mut self.chains[operation.process.0 as usize];
        let before = chain.len() as u32;
        let loose = operation.outcome == Outcome::Unknown;
        if loose {
            self.loose.push(number);
        } else {
            chain.push(number);
        }
        if let Step::Own(_) = step {
            self.opaque[operation.key.0 as usize] = true;
        }
        self.node_of[op.index()] = number;
        self.nodes.push(Node {
            op,
            key: operation.key.0,
            step,
            chain: operation.process.0,
            before,
            loose,
        });
    }

    pub(super) fn node(&self, number: u32) -> &Node {
        &self.nodes[number as usize]
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.nodes.len() as u32
    }

    pub(super) fn initial(&self, key: u32) -> State {
        self.machine.initial(KeyId(key))
    }
}
