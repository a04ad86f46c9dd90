//! What the causal and the session checkers share: a history as flat arrays, and the saturation engine.
//!
//! A [`Trace`] holds the operations that can matter, process after process, each process' in program order,
//! so that one number names an operation and comparing two of one process tells their order. An operation
//! that observed a value *reads*, one that may have changed the key *writes*; a compare-and-set that swapped
//! does both at once.
//!
//! Left out are operations that failed, reads that did not end `Ok`, and unknown writes whose value nobody
//! read. An unknown write that stays is *loose*: it comes behind its process' earlier operations and before
//! none of its later ones, so it is nobody's predecessor in program order. An unknown compare-and-set told
//! its process nothing, so it is a loose write.
//!
//! A compare-and-set that found another value than it was to find says only what the key did *not* hold. It
//! is left out too; where it might have decided the verdict, `Valid` becomes `Unknown`
//! ([`Trace::answer`]).

pub mod base;
pub mod cycle;
mod group;
mod parallel;
mod proof;
mod saturate;

#[cfg(test)]
pub mod brute;
#[cfg(test)]
pub mod generate;

use hashbrown::HashSet;

use super::reads_from::{Source, Trouble, wrote};
use super::{Answer, BUDGET_SPENT, Problem, ReadsFrom};
use crate::history::{Action, OpId, Outcome};

pub use cycle::topological;
pub use parallel::{by_process, saturated};

/// No operation.
pub const NONE: u32 = u32::MAX;
/// As a source: the initial value.
pub const INITIAL: u32 = u32::MAX - 1;

/// Why a check ended before it found everything in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// These operations (places in the trace) cannot be ordered.
    Conflict(Vec<u32>),
    /// The budget is spent.
    Budget,
}

/// A history as flat arrays; see the module's header. All arrays are by place.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The operation at each place.
    pub ids: Vec<OpId>,
    /// Its process.
    pub process: Vec<u32>,
    /// Its key.
    pub key: Vec<u32>,
    /// The place that it reads from, [`INITIAL`], or [`NONE`] where it does not read.
    pub source: Vec<u32>,
    /// The places in the order of invocation.
    pub invoked: Vec<u32>,
    /// The last operation before it in program order, or [`NONE`].
    pub before: Vec<u32>,
    writes: Vec<bool>,
    loose: Vec<bool>,
    /// Where each process begins; one more than there are processes.
    pub starts: Vec<u32>,
    /// How many keys there are.
    pub keys: usize,
    /// Why `Valid` would be too much to say.
    caveat: Option<String>,
}

impl Trace {
    /// The trace of a problem's history.
    ///
    /// # Errors
    /// With the answer, where no trace is needed or possible.
    pub fn of(problem: &Problem<'_>) -> Result<Self, Answer> {
        let reads_from = ReadsFrom::of(problem).map_err(|trouble| match trouble {
            Trouble::ThinAir(id) => Answer::Violation(vec![id]),
            Trouble::Ambiguous(why) | Trouble::Unsupported(why) => Answer::Unknown(why),
        })?;
        let history = problem.history;
        let mut observed = vec![false; history.operations.len()];
        for source in &reads_from.sources {
            if let Source::Write(write) = source {
                observed[write.index()] = true;
            }
        }
        let kept = |id: OpId| {
            let reads = reads_from.source(id) != Source::Nothing;
            let sure = history.operation(id).outcome == Outcome::Ok;
            reads || (wrote(history, id).is_some() && (sure || observed[id.index()]))
        };
        let processes = history.processes.len();
        let mut starts = vec![0u32; processes + 1];
        for id in history.ids().filter(|id| kept(*id)) {
            starts[history.operation(id).process.0 as usize + 1] += 1;
        }
        for process in 0..processes {
            starts[process + 1] += starts[process];
        }
        let mut ids = vec![OpId(0); starts[processes] as usize];
        let mut place = vec![NONE; history.operations.len()];
        let mut next = starts.clone();
        for id in history.ids().filter(|id| kept(*id)) {
            let slot = &mut next[history.operation(id).process.0 as usize];
            ids[*slot as usize] = id;
            place[id.index()] = *slot;
            *slot += 1;
        }
        let source = |id: &OpId| match reads_from.source(*id) {
            Source::Nothing => NONE,
            Source::Initial => INITIAL,
            Source::Write(write) => place[write.index()],
        };
        let loose: Vec<bool> =
            ids.iter().map(|id| history.operation(*id).outcome == Outcome::Unknown).collect();
        Ok(Self {
            process: ids.iter().map(|id| history.operation(*id).process.0).collect(),
            key: ids.iter().map(|id| history.operation(*id).key.0).collect(),
            source: ids.iter().map(source).collect(),
            before: program_order(&starts, &loose),
            writes: ids.iter().map(|id| wrote(history, *id).is_some()).collect(),
            loose,
            invoked: place.into_iter().filter(|place| *place != NONE).collect(),
            starts,
            keys: history.keys.len(),
            caveat: caveat(problem),
            ids,
        })
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.starts.len() - 1
    }

    /// The places of a process.
    pub fn places(&self, process: usize) -> std::ops::Range<u32> {
        self.starts[process]..self.starts[process + 1]
    }

    /// Whether the operation at this place reads.
    pub fn reads(&self, place: u32) -> bool {
        self.source[place as usize] != NONE
    }

    /// Whether it writes.
    pub fn writes(&self, place: u32) -> bool {
        self.writes[place as usize]
    }

    /// Whether it is before nothing in program order.
    pub fn is_loose(&self, place: u32) -> bool {
        self.loose[place as usize]
    }

    /// The answer that a check's result means.
    pub fn answer(&self, result: Result<(), Halt>) -> Answer {
        match (result, &self.caveat) {
            (Ok(()), None) => Answer::Valid,
            (Ok(()), Some(why)) => Answer::Unknown(why.clone()),
            (Err(Halt::Conflict(places)), _) => Answer::Violation(self.closed(places)),
            (Err(Halt::Budget), _) => Answer::Unknown(BUDGET_SPENT.to_owned()),
        }
    }

    /// These operations and all that they read from, in the order of invocation.
    fn closed(&self, mut open: Vec<u32>) -> Vec<OpId> {
        let mut found = HashSet::<u32, foldhash::fast::FixedState>::default();
        let mut core = Vec::new();
        while let Some(place) = open.pop() {
            if place >= INITIAL || !found.insert(place) {
                continue;
            }
            core.push(self.ids[place as usize]);
            open.push(self.source[place as usize]);
        }
        core.sort_unstable();
        core
    }
}

fn program_order(starts: &[u32], loose: &[bool]) -> Vec<u32> {
    let mut before = Vec::with_capacity(loose.len());
    for bounds in starts.windows(2) {
        let mut last = NONE;
        for place in bounds[0]..bounds[1] {
            before.push(last);
            if !loose[place as usize] {
                last = place;
            }
        }
    }
    before
}

/// A compare-and-set that did not swap matters where the key may have held what it was to find.
fn caveat(problem: &Problem<'_>) -> Option<String> {
    let history = problem.history;
    let refused = |id: &OpId| match (history.operation(*id).action, history.operation(*id).outcome)
    {
        (Action::Cas { from, swapped: false, .. }, Outcome::Ok) => Some(from),
        _ => None,
    };
    history.ids().find(|id| refused(id).is_some())?;
    let written: HashSet<_, foldhash::fast::FixedState> = history
        .ids()
        .filter(|id| history.operation(*id).matters())
        .filter_map(|id| Some((history.operation(id).key, wrote(history, id)?)))
        .collect();
    let id = history.ids().find(|id| {
        let key = history.operation(*id).key;
        refused(id)
            .is_some_and(|from| from == problem.initial(key) || written.contains(&(key, from)))
    })?;
    let operation = history.operation(id);
    Some(format!(
        "nothing contradicts the model so far, but operation {} is a cas of {} that did not swap, \
         and what a key did not hold is not checked for this model",
        id.0,
        history.key(operation.key)
    ))
}
