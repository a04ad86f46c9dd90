//! A proof without any hint, if luck has it: the changes in the order in which they ended, or began.
//!
//! Real time does not bind a sequentially consistent store, but a store that works for its clients mostly
//! takes effect between the invocation and the completion of a write. So these orders are likely, and
//! trying one costs next to nothing ([`place`]).

use hashbrown::HashMap;

use super::place;
use super::program::{NONE, Program};
use crate::history::OpId;

/// A legal total order whose changes follow real time, if an attempt finds one.
pub(super) fn order(program: &Program<'_>) -> Option<Vec<OpId>> {
    let times = times(program);
    let happened = |number: &u32| {
        !program.node(*number).step.only_observes() && times[*number as usize] != NONE
    };
    let mut changes: Vec<_> = program.numbers().filter(happened).collect();
    let as_invoked = || place::complete(program, &changes);
    as_invoked().or_else(|| {
        changes.sort_by_key(|number| times[*number as usize]);
        place::complete(program, &changes)
    })
}

/// When each node is guessed to have taken effect: an `Ok` one at its completion, one of unknown outcome
/// just before the first completion of an operation that found what it left. [`NONE`]: never.
pub(super) fn times(program: &Program<'_>) -> Vec<u32> {
    let mut found: HashMap<_, u32, foldhash::fast::FixedState> = HashMap::default();
    let history = program.problem.history;
    for node in &program.nodes {
        if let (Some(state), false) = (node.step.found(), node.loose) {
            let first = found.entry((node.key, state)).or_insert(NONE);
            *first = (*first).min(history.operation(node.op).completed.saturating_sub(1));
        }
    }
    let time = |node: &super::program::Node| match node.step.leaves() {
        _ if !node.loose => history.operation(node.op).completed,
        Some(state) => found.get(&(node.key, state)).copied().unwrap_or(NONE),
        None => NONE,
    };
    program.nodes.iter().map(time).collect()
}
