//! Causal consistency, in its three kinds: CC, causal memory (CM) and causal convergence (CCv).
//!
//! Causal order `co` is the least order that holds program order and reads-from.
//!
//! - **CC**: each read is explained by its causal past alone: some order of that past, in causal order, in
//!   which it returns the last write.
//! - **CM**: one such order explains all reads of a process up to now. (The guarantee of the first causal
//!   memories; a process never changes its mind about two concurrent writes.)
//! - **CCv**: one order of all writes, the same for everybody, explains each read by its causal past. (What
//!   last-writer-wins stores keep; replicas agree once they have seen the same.)
//!
//! CM and CCv are incomparable, and each is stronger than CC. What others read is not looked at, so another
//! process' compare-and-set is a plain write in one's own explanation.
//!
//! # The bad patterns
//!
//! With unique written values a history keeps a model exactly if none of its bad patterns occurs:
//!
//! | pattern | | CC | CCv | CM |
//! |---|---|---|---|---|
//! | CyclicCO | `co` has a cycle | ✗ | ✗ | ✗ |
//! | ThinAirRead | a read returns what nobody wrote | ✗ | ✗ | ✗ |
//! | WriteCOInitRead | a read of the initial value is behind a write to its key in `co` | ✗ | ✗ | ✗ |
//! | WriteCORead | `w co v co r`, all on one key, and `r` reads `w` | ✗ | ✗ | ✗ |
//! | CyclicCF | `co` and `cf` together have a cycle, where `v cf w` if `v co r` and `r` reads `w`, on one key | | ✗ | |
//! | WriteHBInitRead, CyclicHB | the same two for a process' happened-before: `co` up to its last operation, and `v` before `w` where `v` is before an own read `r` that reads `w`, to a fixpoint | | | ✗ |
//!
//! CM is the saturation of [`super::order`]; happened-before only grows with the operation that it is
//! taken for, so that the last one of each process suffices. CC and CCv take vector clocks (`clocks`) and
//! for each read, of each process, only the last write to the key in the read's past (`conflicts`): what
//! comes before that follows by program order. That is `O(n k)` for `n` operations and `k` processes.
//!
//! Source: A. Bouajjani, C. Enea, R. Guerraoui, J. Hamza, *On Verifying Causal Consistency*, POPL 2017. The
//! pointers to the last writes are as in L. Møldrup, A. Pavlogiannis, *AWDIT: An Optimal Weak Database
//! Isolation Tester*, PLDI 2025.

mod clocks;
mod conflicts;
mod paths;

#[cfg(test)]
mod tests;

use super::order::base::Base;
use super::order::{Halt, Trace, saturated};
use super::{Answer, Budget, Problem};
use clocks::Clocks;
use conflicts::{Conflicts, Edge};

/// Whether a history is causally consistent (CC).
pub fn check_cc(problem: &Problem<'_>) -> Answer {
    with_trace(problem, cc)
}

/// Whether a history keeps causal memory (CM).
pub fn check_cm(problem: &Problem<'_>) -> Answer {
    with_trace(problem, cm)
}

/// Whether a history is causally convergent (CCv).
pub fn check_ccv(problem: &Problem<'_>) -> Answer {
    with_trace(problem, ccv)
}

fn with_trace(problem: &Problem<'_>, check: fn(&Trace, Budget<'_>) -> Result<(), Halt>) -> Answer {
    match Trace::of(problem) {
        Ok(trace) => trace.answer(check(&trace, problem.budget)),
        Err(answer) => answer,
    }
}

/// CC of a trace.
///
/// # Errors
/// With what contradicts it, or where the budget is spent.
pub fn cc(trace: &Trace, budget: Budget<'_>) -> Result<(), Halt> {
    let base = Base::causal(trace);
    let clocks = Clocks::of(trace, &base)?;
    Conflicts { trace, clocks: &clocks, budget }.check_reads(None)
}

/// CM of a trace.
///
/// # Errors
/// With what contradicts it, or where the budget is spent.
pub fn cm(trace: &Trace, budget: Budget<'_>) -> Result<(), Halt> {
    saturated(trace, &Base::causal(trace), budget)
}

/// CCv of a trace.
///
/// # Errors
/// With what contradicts it, or where the budget is spent.
pub fn ccv(trace: &Trace, budget: Budget<'_>) -> Result<(), Halt> {
    let base = Base::causal(trace);
    let clocks = Clocks::of(trace, &base)?;
    let conflicts = Conflicts { trace, clocks: &clocks, budget };
    let edges = std::sync::Mutex::new(Vec::<Edge>::new());
    conflicts.check_reads(Some(&edges))?;
    let edges = edges.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    conflicts.check_order(edges)
}
