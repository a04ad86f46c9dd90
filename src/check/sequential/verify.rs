//! Is this order of operations a proof? The one place that decides it, kept small enough to be read.
//!
//! Whatever found an order (a hint, a guess or a search), the history is called valid only when this
//! function agrees: every `Ok` operation is there once, each process' operations are in their own order,
//! an operation of unknown outcome comes behind what its process did before, and every step is legal in
//! the state in which it is taken. Operations without an effect or an observation ([`Step::Idle`]) fit
//! anywhere and may be missing.

use super::super::Problem;
use super::super::spec::{Machine, Step};
use crate::history::{OpId, Outcome};

/// Whether this is a legal total order of all the operations that matter.
pub(super) fn is_legal(problem: &Problem<'_>, machine: &Machine<'_>, order: &[OpId]) -> bool {
    let history = problem.history;
    let mut place = vec![None; history.operations.len()];
    for (at, op) in order.iter().enumerate() {
        if place[op.index()].replace(at).is_some() || !history.operation(*op).matters() {
            return false;
        }
    }
    // The place of the last `Ok` operation of each process, plus one.
    let mut behind = vec![0; history.processes.len()];
    for op in history.ids() {
        let operation = history.operation(op);
        let Some(last) = behind.get_mut(operation.process.0 as usize) else { return false };
        match place[op.index()] {
            Some(at) if at < *last => return false,
            Some(at) if operation.outcome == Outcome::Ok => *last = at + 1,
            None if operation.outcome == Outcome::Ok && machine.step(op) != Step::Idle => {
                return false;
            }
            Some(_) | None => {}
        }
    }
    let mut states: Vec<_> = (0..history.keys.len()).map(|_| None).collect();
    order.iter().all(|op| {
        let key = history.operation(*op).key;
        let Some(state) = states.get_mut(key.0 as usize) else { return false };
        let now = state.unwrap_or_else(|| machine.initial(key));
        *state = machine.apply(now, machine.step(*op));
        state.is_some()
    })
}
