//! The general search: Wing and Gong's, with Lowe's memory.
//!
//! Wing and Gong (*Testing and Verifying Concurrent Objects*, JPDC 1993) try, depth first, every operation
//! that may come next: one that was invoked before the first end of an operation that is not placed yet. Lowe
//! (*Testing for Linearizability*, CCPE 2017) remembers the configurations that led nowhere. Porcupine and
//! Knossos do the same. Here:
//!
//! - The search goes from end to end in the order of time (Lowe's *just in time*). Where it stands is the rank
//!   of the first end that is not passed, a bit for each open operation (done or not), the state, and
//!   which optional operations were used: small, and independent of the length of the history.
//! - An operation that only observes and is legal is taken at once. Nothing is lost: move it to the front of any
//!   linearization of the rest, and it stays one.
//! - Whose end comes next is tried first; it is what most histories need.
//! - An operation of unknown outcome is taken last, and only where the next one could not do as well without it.
//!   Of those that do the same the first is taken. A configuration that used more of them than another
//!   one, and is the same else, is old (see [`seen`](super::seen)).
//! - A value that somebody still has to find and nobody can write any more must not be left. With unique values
//!   this alone makes the search almost straight.
//!
//! # Cost
//!
//! At most (ends) × 2^(open at once) × (states) × (sets of used optional operations) configurations, far fewer in
//! practice. It ends where the budget is spent or the memory that it may take is full.
//!
//! # The violation
//!
//! If no order passes some end, what was invoked later has no say: it is cut off, and so is what observed without
//! having ended by then. An order that was given up because a value can be found no more counts as failing at the
//! end of who should have found it.

use super::Verdict;
use super::config::{Choice, Config, clear, next_bit};
use super::part::Part;
use super::plan::Plan;
use super::seen::{Insertion, Seen};
use super::witness::{cut, window};
use crate::check::spec::{State, Step};
use crate::history::OpId;

/// How many steps pass between two looks at the budget.
const STEPS_BETWEEN_POLLS: u64 = 2048;

/// The size of the first window of a violation, and how much larger the next one is.
const WINDOW: usize = 2;
const LARGER: usize = 4;
/// The steps that a search in a window may take. It is to save time.
const WINDOW_STEPS: u64 = 20_000;

/// Decides it. With an allowance it stops after so many steps.
pub(super) fn check(part: &Part<'_>, allowance: Option<u64>, stop: &dyn Fn() -> bool) -> Verdict {
    let plan = Plan::of(part);
    if let Some(read) = plan.thin_air() {
        return Verdict::Violation(vec![read]);
    }
    let mut search = Search::new(&plan, part);
    match search.run(allowance.unwrap_or(u64::MAX), stop) {
        End::Found => Verdict::Valid,
        End::Exhausted => {
            let rank = search.deepest;
            let core = cut(&plan, rank);
            Verdict::Violation(narrow(part, &plan, rank, &core, stop).unwrap_or(core))
        }
        End::Stopped => Verdict::Stopped,
        End::Full => Verdict::TooLarge,
    }
}

/// A part of a violation that is one by itself, if some window is; see [`witness`](super::witness).
fn narrow(
    part: &Part<'_>,
    plan: &Plan,
    rank: usize,
    core: &[OpId],
    stop: &dyn Fn() -> bool,
) -> Option<Vec<OpId>> {
    let mut size = WINDOW;
    while size * 2 < core.len() && !stop() {
        let ids = window(plan, rank, size)?;
        if ids.len() < core.len() {
            let inner = Part { ids: &ids, ..*part };
            let plan = Plan::of(&inner);
            if let Some(read) = plan.thin_air() {
                return Some(vec![read]);
            }
            let mut search = Search::new(&plan, &inner);
            if search.run(WINDOW_STEPS, stop) == End::Exhausted {
                return Some(cut(&plan, search.deepest));
            }
        }
        size *= LARGER;
    }
    None
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Found,
    Exhausted,
    Stopped,
    Full,
}

/// A configuration whose continuations are being tried.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// The length of the trail in it.
    trail: usize,
    /// Which continuation is next.
    cursor: usize,
    /// The state before the optional operation that led here, while nothing has shown that it was needed.
    without: Option<State>,
}

#[derive(Debug)]
struct Search<'a> {
    plan: &'a Plan,
    config: Config<'a>,
    frames: Vec<Frame>,
    seen: Seen,
    /// The key of a configuration, while it is looked up.
    key: Vec<u64>,
    /// Its used optional operations, as far as it matters that they are used.
    scarce: Vec<u64>,
    /// The highest rank that was reached.
    deepest: usize,
}

impl<'a> Search<'a> {
    fn new(plan: &'a Plan, part: &Part<'a>) -> Self {
        let config = Config::new(plan, part);
        let seen = Seen::new(1 + config.done.len(), config.used_bits.len());
        let (frames, key, scarce) = (Vec::new(), Vec::new(), Vec::new());
        Self { plan, config, frames, seen, key, scarce, deepest: 0 }
    }

    fn run(&mut self, allowance: u64, stop: &dyn Fn() -> bool) -> End {
        self.settle();
        self.push(None);
        let mut steps = 0_u64;
        while let Some(frame) = self.frames.last().copied() {
            if self.config.rank == self.plan.by_end.len() {
                return End::Found;
            }
            steps += 1;
            if steps.is_multiple_of(STEPS_BETWEEN_POLLS) && (steps > allowance || stop()) {
                return End::Stopped;
            }
            let Some((choice, step)) = self.next_choice() else {
                self.frames.pop();
                self.config.undo_to(self.frames.last().map_or(0, |frame| frame.trail));
                continue;
            };
            if let Some(state) = self.worth(choice, step, frame.without)
                && self.go(choice, step, state) == Insertion::Full
            {
                return End::Full;
            }
        }
        End::Exhausted
    }

    /// The state after a choice, where it is legal and no other one is as good.
    fn worth(&self, choice: Choice, step: Step, without: Option<State>) -> Option<State> {
        let Config { machine, state: before, .. } = self.config;
        let state = machine.apply(before, step)?;
        if without.is_some_and(|without| machine.apply(without, step) == Some(state)) {
            return None;
        }
        let optional = matches!(choice, Choice::Optional(_));
        let idle = optional && (state == before || self.config.has_cheaper(step));
        (!idle).then_some(state)
    }

    /// Makes a choice; the configuration changes only where it leads to a new one.
    fn go(&mut self, choice: Choice, step: Step, state: State) -> Insertion {
        let before = self.config.state;
        let length = self.config.trail.len();
        let left = self.config.take(choice, step, state);
        if let Some(rank) = self.config.dies_at(left) {
            self.deepest = self.deepest.max(rank);
            self.config.undo_to(length);
            return Insertion::Old;
        }
        self.settle();
        let insertion = self.remember();
        match insertion {
            Insertion::New => {
                let optional = matches!(choice, Choice::Optional(_));
                let waits = optional && self.config.trail.len() == length + 1;
                self.push(waits.then_some(before));
            }
            Insertion::Old | Insertion::Full => self.config.undo_to(length),
        }
        insertion
    }

    fn push(&mut self, without: Option<State>) {
        self.deepest = self.deepest.max(self.config.rank);
        self.frames.push(Frame { trail: self.config.trail.len(), cursor: 0, without });
    }

    /// The next thing to try in the topmost configuration: whose end comes first, then the other open
    /// operations by slot, then one of each class of optional ones.
    fn next_choice(&mut self) -> Option<(Choice, Step)> {
        let plan = self.plan;
        let frame = self.frames.last_mut()?;
        let first = *plan.by_end.get(self.config.rank)?;
        if frame.cursor == 0 {
            frame.cursor = 1;
            return Some((Choice::Required(first), plan.required[first as usize].step));
        }
        while frame.cursor <= plan.slots {
            let Some(slot) = next_bit(&self.config.open, frame.cursor - 1) else {
                frame.cursor = plan.slots + 1;
                break;
            };
            frame.cursor = slot + 2;
            let at = self.config.holders[slot];
            let step = plan.required[at as usize].step;
            // What only observes was taken already wherever it is legal.
            if at != first && !step.only_observes() {
                return Some((Choice::Required(at), step));
            }
        }
        let from = frame.cursor - plan.slots - 1;
        let class =
            (from..plan.classes.len()).find(|class| self.config.next_of(*class).is_some())?;
        self.frames.last_mut()?.cursor = class + plan.slots + 2;
        Some((Choice::Optional(class as u32), plan.classes[class].step))
    }

    /// Takes whatever only observes and is legal.
    fn settle(&mut self) {
        let mut from = 0;
        while let Some(slot) = next_bit(&self.config.open, from) {
            let at = self.config.holders[slot];
            let step = self.plan.required[at as usize].step;
            from = slot + 1;
            if step.only_observes() && self.config.machine.apply(self.config.state, step).is_some()
            {
                let rank = self.config.rank;
                self.config.take(Choice::Required(at), step, self.config.state);
                // Ends were passed, and so others were invoked.
                if self.config.rank > rank {
                    from = 0;
                }
            }
        }
    }

    fn remember(&mut self) -> Insertion {
        self.key.clear();
        self.key.push(((self.config.rank as u64) << 32) | u64::from(self.config.state.0));
        self.key.extend_from_slice(&self.config.done);
        self.scarce.clone_from(&self.config.used_bits);
        for class in 0..self.config.used.len() {
            if self.config.used[class] > 0 && self.config.is_plenty(class) {
                let first = self.plan.classes[class].members.start;
                let used = first..first + self.config.used[class] as usize;
                used.for_each(|at| clear(&mut self.scarce, at));
            }
        }
        self.seen.insert(&self.key, &self.scarce)
    }
}
