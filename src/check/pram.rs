//! PRAM (pipelined RAM, FIFO consistency): each process sees every process' writes in program order.
//!
//! For each process there is a legal serialization of all writes and its own operations that respects the
//! program order of every process. What it read from whom orders nothing for others: two processes may see
//! writes of two others in different orders, even where one write was made after reading the other.
//!
//! Decided by the saturation of [`super::order`], process by process.
//!
//! Source: R. Lipton, J. Sandberg, *PRAM: A Scalable Shared Memory*, 1988; polynomial for unique values by
//! H. Wei, M. De Biasi, Y. Huang, J. Cao, J. Lu, *Verifying PRAM Consistency over Read/Write Traces of Data
//! Replicas*, 2013, whose read-centric algorithm this is much like.

use super::order::base::Base;
use super::order::{Halt, Trace, saturated};
use super::{Answer, Budget, Problem};

/// Whether a history is PRAM-consistent.
pub fn check(problem: &Problem<'_>) -> Answer {
    match Trace::of(problem) {
        Ok(trace) => trace.answer(pram(&trace, problem.budget)),
        Err(answer) => answer,
    }
}

/// PRAM of a trace.
///
/// # Errors
/// With what contradicts it, or where the budget is spent.
pub fn pram(trace: &Trace, budget: Budget<'_>) -> Result<(), Halt> {
    saturated(trace, &Base::pram(trace), budget)
}
