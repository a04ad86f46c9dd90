//! Work by process, on all cores, with a result that does not depend on who was faster.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::base::Base;
use super::cycle::{Search, topological, within_a_level};
use super::proof::{Log, Recorder, Silent, core};
use super::saturate::{Conflict, Scan};
use super::{Halt, Trace};
use crate::check::Budget;

/// With fewer operations than this, starting threads would take longer than the work.
const WORTH_A_THREAD: usize = 4096;

/// Runs `work` for each process of a trace, on all cores; `memory` makes what a worker needs.
///
/// # Errors
/// With the number of the first process that `work` refuses and its reason, whatever the number of cores.
pub fn by_process<M, E: Send>(
    trace: &Trace,
    memory: impl Fn() -> M + Sync,
    work: impl Fn(&mut M, usize) -> Result<(), E> + Sync,
) -> Result<(), (usize, E)> {
    let processes = trace.processes();
    let cores = if trace.len() < WORTH_A_THREAD {
        1
    } else {
        std::thread::available_parallelism().map_or(1, usize::from)
    };
    let next = AtomicUsize::new(0);
    let refused: Mutex<Option<(usize, E)>> = Mutex::new(None);
    let refuse = |process: usize, why: E| {
        let mut first = refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if first.as_ref().is_none_or(|(other, _)| process < *other) {
            *first = Some((process, why));
        }
        next.fetch_max(processes, Ordering::Relaxed);
    };
    let worker = || {
        let mut memory = memory();
        loop {
            let process = next.fetch_add(1, Ordering::Relaxed);
            if process >= processes {
                return;
            }
            if let Err(why) = work(&mut memory, process) {
                return refuse(process, why);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..cores.min(processes) {
            scope.spawn(worker);
        }
        worker();
    });
    match refused.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(first) => Err(first),
        None => Ok(()),
    }
}

/// Whether a serialization exists for each process of a trace, under a base order.
///
/// # Errors
/// Where none does, with the operations that contradict each other; where the budget is spent.
pub fn saturated(trace: &Trace, base: &Base, budget: Budget<'_>) -> Result<(), Halt> {
    if base.may_be_cyclic {
        topological(trace, base).map_err(Halt::Conflict)?;
    }
    let memory = || (Scan::new(trace, base, budget, Silent), Search::new(base.nodes.len()));
    let failed = by_process(trace, memory, |(scan, search), process| one(scan, search, process));
    let (process, conflict) = match failed {
        Ok(()) => return Ok(()),
        Err((_, Conflict::Budget)) => return Err(Halt::Budget),
        Err((process, conflict)) => (process, conflict),
    };
    debug_assert!(!matches!(conflict, Conflict::Budget));
    // The same steps again, this time with the reasons.
    let nodes = base.nodes.len();
    let mut scan = Scan::new(trace, base, Budget::unlimited(), Log::new(nodes));
    match one(&mut scan, &mut Search::new(nodes), process) {
        Err(conflict) => Err(Halt::Conflict(core(&scan, base, &conflict))),
        Ok(()) => Err(Halt::Budget),
    }
}

fn one<R: Recorder>(
    scan: &mut Scan<'_, R>,
    search: &mut Search,
    process: usize,
) -> Result<(), Conflict<R::Why>> {
    scan.run(process)?;
    match within_a_level(scan, search) {
        Some(cycle) => Err(Conflict::Cycle(cycle)),
        None => Ok(()),
    }
}
