//! All clients of a round at once: a thread each, a common start, one merged result.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{BenchError, MonotonicClock, Plan, Target, Timetable, Worker, Workload};
use crate::report::Round;

/// The stack of a client's thread; its buffers are on the heap.
const STACK: usize = 256 * 1024;

/// How far a run has come; written by the clients, read by whoever draws the progress.
#[derive(Debug, Default)]
pub struct Meter {
    done: AtomicU64,
    phase: Mutex<&'static str>,
}

impl Meter {
    /// Counts operations that have been answered, or have failed.
    pub fn add(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    /// The operations of the phase so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Begins a phase.
    pub fn begin(&self, phase: &'static str) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        self.done.store(0, Ordering::Relaxed);
    }

    /// The name of the phase.
    pub fn phase(&self) -> &'static str {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much all clients together have to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limit {
    /// How many operations.
    pub ops: Option<u64>,
    /// How long.
    pub duration: Option<Duration>,
    /// The most commands of a batch.
    pub pipeline: usize,
    /// Open loop: operations a second.
    pub rate: Option<f64>,
}

impl Limit {
    /// The plan of client `index` of `clients`.
    fn plan(&self, index: usize, clients: usize) -> Plan {
        let share =
            |ops: u64| ops / clients as u64 + u64::from((index as u64) < ops % clients as u64);
        Plan {
            pipeline: self.pipeline,
            ops: self.ops.map(share),
            until: self.duration,
            timetable: self.rate.map(|rate| Timetable::new(rate, index, clients)),
        }
    }
}

/// Where clients wait for the common start.
#[derive(Default)]
struct Gate {
    /// `Some(Some(clock))`: go; `Some(None)`: the start was called off.
    start: Mutex<Option<Option<MonotonicClock>>>,
    opened: Condvar,
}

impl Gate {
    fn open(&self, clock: Option<MonotonicClock>) {
        *self.start.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock);
        self.opened.notify_all();
    }

    fn wait(&self) -> Option<MonotonicClock> {
        let mut start = self.start.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *start {
                Some(clock) => return clock,
                None => start = self.opened.wait(start).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Runs `work` for each of `items` on a thread of its own, all from a common start; the clock shows 0 then.
/// What each returned, in order; `None` for one that panicked.
///
/// # Errors
/// The system has no thread for one of them; then none has begun.
pub fn together<I: Send, R: Send>(
    items: impl IntoIterator<Item = I>,
    work: impl Fn(usize, I, MonotonicClock) -> R + Sync,
) -> Result<Vec<Option<R>>, BenchError> {
    let gate = Gate::default();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut refused = None;
        for (index, item) in items.into_iter().enumerate() {
            let (gate, work) = (&gate, &work);
            let work = move || Some(work(index, item, gate.wait()?));
            let builder = thread::Builder::new().name(format!("client-{index}")).stack_size(STACK);
            match builder.spawn_scoped(scope, work) {
                Ok(handle) => threads.push(handle),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        gate.open(if refused.is_some() { None } else { Some(MonotonicClock::start()) });
        if let Some(error) = refused {
            return Err(BenchError::Thread(error));
        }
        Ok(threads.into_iter().map(|thread| thread.join().ok().flatten()).collect())
    })
}

/// Runs one round: every target with the workload of the same index. Returns what was measured and
/// the notes of clients that gave up.
pub fn drive<T: Target + Send>(
    targets: &mut [T],
    workloads: &mut [Workload],
    limit: &Limit,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<(Round, Vec<String>), BenchError> {
    let clients = targets.len();
    let work = |index, (target, workload): (&mut T, &mut Workload), clock| {
        let plan = limit.plan(index, clients);
        Worker::new(target, workload, plan, clock, stop, meter).run()
    };
    let mut total = Round::default();
    let mut notes = Vec::new();
    let ended = together(targets.iter_mut().zip(workloads), work)?;
    for (index, ended) in ended.into_iter().enumerate() {
        match ended {
            Some((round, gone)) => {
                total.merge(&round);
                total.elapsed = total.elapsed.max(round.elapsed);
                notes.extend(gone.map(|error| format!("client {index} gave up: {error}")));
            }
            None => notes.push(format!("client {index} panicked; its figures are missing")),
        }
    }
    Ok((total, notes))
}
