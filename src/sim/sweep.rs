//! Many seeds, on many threads.
//!
//! Threads take seeds in rising order. Where the sweep is to stop at the first failure, the seeds below it are
//! still finished: so the failure that is reported is the one of the smallest seed, however many threads there
//! are. Memory is bounded: of a failure only its verdict is kept, and only of so many.

use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::{Sender, bounded};

use super::plan::{Config, Plan, PlanError};
use super::record::Detail;
use super::verdict::{Broken, Checker, Kind, Verdict};
use super::{Outcome, run};

/// How a sweep goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepOptions {
    /// How many threads.
    pub threads: usize,
    /// Whether it goes on behind the first failure.
    pub keep_going: bool,
    /// How many failures are kept, those of the smallest seeds.
    pub keep: usize,
}

/// A seed that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// How.
    pub verdict: Verdict,
}

/// What came of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// How many seeds were run.
    pub runs: u64,
    /// How many failed.
    pub failed: u64,
    /// The failures of the smallest seeds, in their order.
    pub failures: Vec<Failure>,
    /// How many the checker could not decide, and the first of them with its reason.
    pub undecided: u64,
    /// The smallest of those seeds, and why.
    pub first_undecided: Option<(u64, String)>,
    /// How many events of virtual worlds there were.
    pub events: u64,
    /// How many operations of clients.
    pub operations: u64,
}

/// Runs something; a panic is a failure like any other.
///
/// # Errors
/// A plan that cannot be run.
pub(super) fn run_caught(
    run: impl FnOnce() -> Result<Outcome, PlanError>,
) -> Result<Outcome, PlanError> {
    // The world is dropped with the panic; nothing of it is looked at again.
    let caught = panic::catch_unwind(AssertUnwindSafe(run));
    caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let why = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        let broken = Broken { kind: Kind::Panic, at: 0, why: why.to_owned() };
        Ok(Outcome {
            history: crate::history::History::default(),
            trace: String::new(),
            verdict: Verdict::Violation { history: None, broken: Some(broken) },
            events: 0,
            virtual_time: 0,
            counted: super::Counted::default(),
        })
    })
}

/// Runs all seeds of a range. `progress` is told after each how many are done.
///
/// # Errors
/// A configuration from which no plan can be made.
pub fn sweep(
    config: &Config,
    seeds: Range<u64>,
    options: SweepOptions,
    checker: &Checker<'_>,
    progress: &(dyn Fn(u64) + std::marker::Sync),
) -> Result<Sweep, PlanError> {
    let one = |seed| run(&Plan::generate(seed, config)?, Detail::History, checker);
    sweep_with(&one, seeds, options, progress)
}

/// The same for runs of any kind: `one` runs a seed.
///
/// # Errors
/// A configuration from which no plan can be made.
pub fn sweep_with(
    one: &(dyn Fn(u64) -> Result<Outcome, PlanError> + std::marker::Sync),
    seeds: Range<u64>,
    options: SweepOptions,
    progress: &(dyn Fn(u64) + std::marker::Sync),
) -> Result<Sweep, PlanError> {
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicU64::new(seeds.end));
    let (send, receive) = bounded(1024);
    let work = |send: Sender<_>| {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= stop.load(Ordering::Relaxed) {
                return;
            }
            let outcome = run_caught(|| one(seed));
            let ends = match &outcome {
                Ok(outcome) => outcome.verdict.kind().is_some() && !options.keep_going,
                Err(_) => true,
            };
            if ends {
                stop.fetch_min(seed, Ordering::Relaxed);
            }
            let result = outcome.map(|outcome| {
                (outcome.verdict, outcome.events, outcome.history.operations.len() as u64)
            });
            // The receiver is there until all senders are gone.
            let _ = send.send((seed, result));
        }
    };
    let threads = options.threads.max(1);
    thread::scope(|scope| {
        for _ in 0..threads {
            let send = send.clone();
            scope.spawn(|| work(send));
        }
        // The last worker to end closes the channel.
        drop(send);
        let mut done = Sweep::default();
        let mut refused = None;
        for (seed, result) in receive {
            match result {
                Ok((verdict, events, operations)) => {
                    done.note(seed, verdict, events, operations, options.keep);
                }
                Err(error) => refused = Some(error),
            }
            progress(done.runs);
        }
        match refused {
            Some(error) => Err(error),
            None => Ok(done),
        }
    })
}

impl Sweep {
    fn note(&mut self, seed: u64, verdict: Verdict, events: u64, operations: u64, keep: usize) {
        self.runs += 1;
        self.events += events;
        self.operations += operations;
        match verdict {
            Verdict::Holds => {}
            Verdict::Unknown(why) => {
                self.undecided += 1;
                if self.first_undecided.as_ref().is_none_or(|(first, _)| seed < *first) {
                    self.first_undecided = Some((seed, why));
                }
            }
            verdict @ Verdict::Violation { .. } => {
                self.failed += 1;
                let at = self.failures.partition_point(|failure| failure.seed < seed);
                self.failures.insert(at, Failure { seed, verdict });
                self.failures.truncate(keep);
            }
        }
    }
}
