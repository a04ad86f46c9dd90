//! Linearizability: every operation seems to take effect at one moment between its invocation and its
//! completion (Herlihy and Wing, *Linearizability: A Correctness Condition for Concurrent Objects*, TOPLAS
//! 1990).
//!
//! It is *local*: a history is linearizable if and only if what happened on each key is. So keys are checked
//! one by one, on all cores. How, is chosen for each key by itself:
//!
//! - `unique`: reads and writes, no value that is read written twice: zones, `O(n log n)`.
//! - `wgl`: everything else, a search that is exponential in the worst case (the question is NP-complete:
//!   Gibbons and Korach, *Testing Shared Memories*, SIAM J. Comput. 1997), but only in how many operations
//!   overlap.
//!
//! # Which violation
//!
//! The answer is the same whatever the threads do: the smallest key on which a violation is found within an
//! allowance of steps wins; if there is none, the smallest of the keys that need more. So one hard key does
//! not keep a plain violation of another one back.

mod config;
mod part;
mod plan;
mod seen;
mod unique;
mod wgl;
mod witness;

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::spec::Machine;
use super::{Answer, BUDGET_SPENT, Problem};
use crate::history::{Clock, KeyId, OpId};
use part::Part;

/// Histories with fewer operations are not worth a thread in the first round.
const WORTH_THREADS: usize = 20_000;
/// The steps that a search may take in the first round, beside some for each of its operations.
const ALLOWANCE: u64 = 20_000;
const ALLOWANCE_PER_OPERATION: u64 = 8;

/// What became of one key.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Valid,
    /// With the operations that are not linearizable, in the order of invocation.
    Violation(Vec<OpId>),
    /// The search would have to go on.
    Stopped,
    /// It would need more memory than it may take.
    TooLarge,
}

/// Whether the history is linearizable.
pub fn check(problem: &Problem<'_>) -> Answer {
    if problem.history.clock == Clock::ProcessOrder {
        return Answer::Unknown(
            "the history has no real-time order between processes, and linearizability is about \
             nothing else"
                .to_owned(),
        );
    }
    let machine = match Machine::of(problem) {
        Ok(machine) => machine,
        Err(reason) => return Answer::Unknown(reason),
    };
    let keys = Keys::of(problem);
    let parts: Vec<_> = keys.parts(problem, &machine).collect();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let worth = problem.history.operations.len() >= WORTH_THREADS;
    let verdicts = each(&parts, if worth { cores } else { 1 }, |part, stop| {
        let allowance = ALLOWANCE + ALLOWANCE_PER_OPERATION * part.ids.len() as u64;
        check_part(part, Some(allowance), &|| stop() || problem.budget.is_spent())
    });
    let mut undecided = Vec::new();
    let mut too_large = None;
    for (part, verdict) in parts.iter().zip(verdicts) {
        match verdict {
            Verdict::Violation(core) => return Answer::Violation(core),
            Verdict::Valid => {}
            Verdict::Stopped => undecided.push(*part),
            Verdict::TooLarge => too_large = Some(part.key),
        }
    }
    let verdicts = each(&undecided, cores, |part, stop| {
        check_part(part, None, &|| stop() || problem.budget.is_spent())
    });
    let mut stopped = false;
    for (part, verdict) in undecided.iter().zip(verdicts) {
        match verdict {
            Verdict::Violation(core) => return Answer::Violation(core),
            Verdict::Valid => {}
            Verdict::Stopped => stopped = true,
            Verdict::TooLarge => too_large = Some(part.key),
        }
    }
    match too_large {
        Some(key) => Answer::Unknown(seen::full(problem.history.key(key))),
        None if stopped => Answer::Unknown(BUDGET_SPENT.to_owned()),
        None => Answer::Valid,
    }
}

fn check_part(part: &Part<'_>, allowance: Option<u64>, stop: &dyn Fn() -> bool) -> Verdict {
    if stop() {
        return Verdict::Stopped;
    }
    unique::check(part).unwrap_or_else(|| wgl::check(part, allowance, stop))
}

/// Runs a function for each part on some threads, and asks it to stop once a violation is found in a part
/// before its own. All verdicts up to the first violation are those of an undisturbed run.
fn each<'a>(
    parts: &[Part<'a>],
    threads: usize,
    run: impl Fn(&Part<'a>, &dyn Fn() -> bool) -> Verdict + Sync,
) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let violated = AtomicUsize::new(usize::MAX);
    let work = || {
        let mut verdicts = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(at) else { return verdicts };
            let verdict = run(part, &|| violated.load(Ordering::Relaxed) < at);
            if matches!(verdict, Verdict::Violation(_)) {
                violated.fetch_min(at, Ordering::Relaxed);
            }
            verdicts.push((at, verdict));
        }
    };
    let threads = threads.min(parts.len());
    let mut verdicts = if threads <= 1 {
        work()
    } else {
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut verdicts = work();
            for other in others {
                match other.join() {
                    Ok(more) => verdicts.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            verdicts
        })
    };
    verdicts.sort_unstable_by_key(|(at, _)| *at);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

/// The operations that matter, key by key.
struct Keys {
    ids: Vec<OpId>,
    /// Where each key begins in `ids`; one more than there are keys.
    starts: Vec<usize>,
}

impl Keys {
    fn of(problem: &Problem<'_>) -> Self {
        let operations = &problem.history.operations;
        let keys = operations.iter().map(|operation| operation.key.0 as usize + 1).max();
        let mut starts = vec![0; keys.unwrap_or(0) + 1];
        let matter = || problem.history.ids().filter(|id| operations[id.index()].matters());
        for id in matter() {
            starts[operations[id.index()].key.0 as usize + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut place = starts.clone();
        let mut ids = vec![OpId(0); sum];
        for id in matter() {
            let place = &mut place[operations[id.index()].key.0 as usize];
            ids[*place] = id;
            *place += 1;
        }
        Self { ids, starts }
    }

    fn parts<'a>(
        &'a self,
        problem: &Problem<'a>,
        machine: &'a Machine<'a>,
    ) -> impl Iterator<Item = Part<'a>> {
        let history = problem.history;
        let bounds = self.starts.windows(2).enumerate();
        bounds.filter(|(_, bounds)| bounds[0] < bounds[1]).map(move |(key, bounds)| Part {
            history,
            machine,
            key: KeyId(key as u32),
            ids: &self.ids[bounds[0]..bounds[1]],
        })
    }
}

#[cfg(test)]
mod tests;
