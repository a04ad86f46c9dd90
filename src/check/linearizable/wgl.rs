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
use super::part::{Part, in_order};
use super::plan::{Class, NONE, Plan};
use super::seen::{Insertion, Seen};
use crate::check::spec::{Machine, State, Step};
use crate::history::OpId;

/// How many steps pass between two looks at the budget.
const STEPS_BETWEEN_POLLS: u64 = 2048;

/// Decides it. With an allowance it stops after so many steps.
pub(super) fn check(part: &Part<'_>, allowance: Option<u64>, stop: &dyn Fn() -> bool) -> Verdict {
    let plan = Plan::of(part);
    if let Some(read) = plan.thin_air() {
        return Verdict::Violation(vec![read]);
    }
    let mut search = Search::new(&plan, part);
    match search.run(allowance.unwrap_or(u64::MAX), stop) {
        End::Found => Verdict::Valid,
        End::Exhausted => Verdict::Violation(cut(&plan, search.deepest)),
        End::Stopped => Verdict::Stopped,
        End::Full => Verdict::TooLarge,
    }
}

/// The operations that cannot pass the end of this rank.
fn cut(plan: &Plan, rank: usize) -> Vec<OpId> {
    let end = plan.required[plan.by_end[rank] as usize].end;
    let mut core = Vec::new();
    let mut made = vec![false; plan.values.makers.len()];
    let mut found = Vec::new();
    for required in plan.required.iter().filter(|required| required.call < end) {
        if required.end > end && required.step.only_observes() {
            continue;
        }
        core.push(required.id);
        if required.leaves != NONE {
            made[required.leaves as usize] = true;
        }
        if required.finds != NONE {
            found.push(required.finds);
        }
    }
    for class in &plan.classes {
        let members = plan.optional[class.members.clone()].iter();
        let before = core.len();
        core.extend(members.filter(|(call, _)| *call < end).map(|(_, id)| id));
        if class.leaves != NONE && core.len() > before {
            made[class.leaves as usize] = true;
        }
    }
    // What was read from the future belongs to it: the write comes along, though it cannot help.
    found.retain(|value| *value != plan.initial && !made[*value as usize]);
    for required in plan.required.iter().filter(|required| required.call >= end) {
        if let Some(at) = found.iter().position(|value| *value == required.leaves) {
            core.push(required.id);
            let value = found[at];
            found.retain(|other| *other != value);
        }
    }
    for class in plan.classes.iter().filter(|class| found.contains(&class.leaves)) {
        core.push(plan.optional[class.members.start].1);
    }
    in_order(core)
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Found,
    Exhausted,
    Stopped,
    Full,
}

/// An operation that was placed, and how it was before.
#[derive(Clone, Copy, Debug)]
struct Taken {
    what: Choice,
    state: State,
    value: u32,
    rank: u32,
}

#[derive(Clone, Copy, Debug)]
enum Choice {
    /// By place among the required operations.
    Required(u32),
    /// By class.
    Optional(u32),
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
    machine: &'a Machine<'a>,
    /// The rank of the first end that is not passed.
    rank: usize,
    state: State,
    /// The number of the value that it holds, where the plan is transparent.
    value: u32,
    /// By slot: the operation that has it.
    holders: Vec<u32>,
    /// By slot: open and not placed; open and placed.
    open: Vec<u64>,
    done: Vec<u64>,
    /// By class how many are used; the same as bits by optional operation.
    used: Vec<u32>,
    used_bits: Vec<u64>,
    /// By value: the operations not placed that find it, and that leave it.
    finders: Vec<u32>,
    makers: Vec<u32>,
    /// How many operations not placed find something.
    all_finders: u32,
    trail: Vec<Taken>,
    frames: Vec<Frame>,
    seen: Seen,
    key: Vec<u64>,
    /// The highest rank that was reached.
    deepest: usize,
}

impl<'a> Search<'a> {
    fn new(plan: &'a Plan, part: &Part<'a>) -> Self {
        let words = plan.slots.div_ceil(64);
        let optional = plan.optional.len().div_ceil(64);
        let mut search = Self {
            plan,
            machine: part.machine,
            rank: 0,
            state: part.initial(),
            value: plan.initial,
            holders: vec![NONE; plan.slots],
            open: vec![0; words],
            done: vec![0; words],
            used: vec![0; plan.classes.len()],
            used_bits: vec![0; optional],
            finders: plan.values.finders.clone(),
            makers: plan.values.makers.clone(),
            all_finders: plan.finders,
            trail: Vec::new(),
            frames: Vec::new(),
            seen: Seen::new(1 + words, optional),
            key: Vec::with_capacity(1 + words),
            deepest: 0,
        };
        search.call(0);
        search
    }

    fn run(&mut self, allowance: u64, stop: &dyn Fn() -> bool) -> End {
        self.settle();
        self.push(None);
        let mut steps = 0_u64;
        while let Some(frame) = self.frames.last().copied() {
            if self.rank == self.plan.by_end.len() {
                return End::Found;
            }
            steps += 1;
            if steps.is_multiple_of(STEPS_BETWEEN_POLLS) && (steps > allowance || stop()) {
                return End::Stopped;
            }
            let Some((choice, step)) = self.next_choice() else {
                self.frames.pop();
                self.undo_to(self.frames.last().map_or(0, |frame| frame.trail));
                continue;
            };
            let Some(state) = self.machine.apply(self.state, step) else { continue };
            let useless = |before| self.machine.apply(before, step) == Some(state);
            if frame.without.is_some_and(useless) {
                continue;
            }
            let before = self.state;
            let optional = matches!(choice, Choice::Optional(_));
            if optional && state == before {
                continue;
            }
            self.take(choice, step, state);
            let taken = self.trail.len();
            let insertion = if let Some(rank) = self.dies_at(self.trail[taken - 1].value) {
                self.deepest = self.deepest.max(rank);
                Insertion::Old
            } else {
                self.settle();
                self.remember()
            };
            match insertion {
                Insertion::Full => return End::Full,
                Insertion::Old => self.undo_to(frame.trail),
                Insertion::New => {
                    let waits = optional && self.trail.len() == taken;
                    self.push(waits.then_some(before));
                }
            }
        }
        End::Exhausted
    }

    fn push(&mut self, without: Option<State>) {
        self.deepest = self.deepest.max(self.rank);
        self.frames.push(Frame { trail: self.trail.len(), cursor: 0, without });
    }

    /// The next thing to try in the topmost configuration: whose end comes first, then the other open
    /// operations by slot, then one of each class of optional ones.
    fn next_choice(&mut self) -> Option<(Choice, Step)> {
        let plan = self.plan;
        let frame = self.frames.last_mut()?;
        let first = *plan.by_end.get(self.rank)?;
        let first_required = &plan.required[first as usize];
        if frame.cursor == 0 {
            frame.cursor = 1;
            return Some((Choice::Required(first), first_required.step));
        }
        while frame.cursor <= plan.slots {
            let Some(slot) = next_bit(&self.open, frame.cursor - 1) else {
                frame.cursor = plan.slots + 1;
                break;
            };
            frame.cursor = slot + 2;
            let at = self.holders[slot];
            let step = plan.required[at as usize].step;
            // What only observes was taken already wherever it is legal.
            if at != first && !step.only_observes() {
                return Some((Choice::Required(at), step));
            }
        }
        loop {
            let class = frame.cursor - plan.slots - 1;
            let Class { step, members, .. } = plan.classes.get(class)?;
            frame.cursor += 1;
            let next = members.start + self.used[class] as usize;
            if next < members.end && plan.optional[next].0 < first_required.end {
                return Some((Choice::Optional(class as u32), *step));
            }
        }
    }

    /// Takes whatever only observes and is legal.
    fn settle(&mut self) {
        let mut from = 0;
        while let Some(slot) = next_bit(&self.open, from) {
            let at = self.holders[slot];
            let step = self.plan.required[at as usize].step;
            from = slot + 1;
            if step.only_observes() && self.machine.apply(self.state, step).is_some() {
                let rank = self.rank;
                self.take(Choice::Required(at), step, self.state);
                // Ends were passed, and so others were invoked.
                if self.rank > rank {
                    from = 0;
                }
            }
        }
    }

    /// The first end that can never be passed after what was just placed, where that is plain; `left` is the
    /// value that was held before.
    fn dies_at(&self, left: u32) -> Option<usize> {
        let plan = self.plan;
        let placed = |rank: u32| {
            let required = &plan.required[plan.by_end[rank as usize] as usize];
            let slot = required.slot as usize;
            self.holders[slot] == plan.by_end[rank as usize] && is_set(&self.done, slot)
        };
        if plan.transparent {
            let at = left as usize;
            if left == self.value || self.finders[at] == 0 || self.makers[at] > 0 {
                return None;
            }
            let ranks = &plan.values.finder_ranks[at];
            let ahead = ranks.partition_point(|rank| (*rank as usize) < self.rank);
            return ranks[ahead..].iter().find(|rank| !placed(**rank)).map(|rank| *rank as usize);
        }
        if !plan.may_be_lost || self.all_finders == 0 || !self.machine.lost(self.state) {
            return None;
        }
        let finds = |rank: &usize| {
            plan.required[plan.by_end[*rank] as usize].finds != NONE && !placed(*rank as u32)
        };
        (self.rank..plan.by_end.len()).find(finds)
    }

    fn remember(&mut self) -> Insertion {
        self.key.clear();
        self.key.push(((self.rank as u64) << 32) | u64::from(self.state.0));
        self.key.extend_from_slice(&self.done);
        self.seen.insert(&self.key, &self.used_bits)
    }

    fn take(&mut self, what: Choice, step: Step, state: State) {
        let (value, rank) = (self.value, self.rank as u32);
        self.trail.push(Taken { what, state: self.state, value, rank });
        let leaves = match what {
            Choice::Required(at) => self.plan.required[at as usize].leaves,
            Choice::Optional(class) => self.plan.classes[class as usize].leaves,
        };
        if leaves != NONE {
            self.makers[leaves as usize] -= 1;
            if state == step.leaves().unwrap_or(self.state) && state != self.state {
                self.value = leaves;
            }
        }
        self.state = state;
        match what {
            Choice::Required(at) => self.place(at),
            Choice::Optional(class) => {
                let class = class as usize;
                let at = self.plan.classes[class].members.start + self.used[class] as usize;
                set(&mut self.used_bits, at);
                self.used[class] += 1;
            }
        }
    }

    /// Marks a required operation as done, and passes the ends that can be passed now.
    fn place(&mut self, at: u32) {
        let plan = self.plan;
        let required = &plan.required[at as usize];
        if required.finds != NONE {
            self.finders[required.finds as usize] -= 1;
            self.all_finders -= 1;
        }
        clear(&mut self.open, required.slot as usize);
        set(&mut self.done, required.slot as usize);
        while let Some(first) = plan.by_end.get(self.rank) {
            let slot = plan.required[*first as usize].slot as usize;
            if !is_set(&self.done, slot) {
                break;
            }
            clear(&mut self.done, slot);
            self.rank += 1;
            self.call(self.rank);
        }
    }

    /// Those invoked between the ends before this rank and its own.
    fn called(&self, rank: usize) -> std::ops::Range<u32> {
        let from = rank.checked_sub(1).map_or(0, |before| self.plan.called[before]);
        from..self.plan.called.get(rank).copied().unwrap_or(from)
    }

    fn call(&mut self, rank: usize) {
        for at in self.called(rank) {
            let slot = self.plan.required[at as usize].slot as usize;
            self.holders[slot] = at;
            set(&mut self.open, slot);
        }
    }

    fn uncall(&mut self, rank: usize) {
        for at in self.called(rank).rev() {
            let required = &self.plan.required[at as usize];
            self.holders[required.slot as usize] = required.before;
            clear(&mut self.open, required.slot as usize);
        }
    }

    fn undo_to(&mut self, length: usize) {
        while self.trail.len() > length {
            let Some(taken) = self.trail.pop() else { return };
            self.undo(taken);
        }
    }

    fn undo(&mut self, taken: Taken) {
        let plan = self.plan;
        let leaves = match taken.what {
            Choice::Required(at) => {
                while self.rank > taken.rank as usize {
                    self.uncall(self.rank);
                    self.rank -= 1;
                    let passed = plan.required[plan.by_end[self.rank] as usize].slot;
                    set(&mut self.done, passed as usize);
                }
                let required = &plan.required[at as usize];
                clear(&mut self.done, required.slot as usize);
                set(&mut self.open, required.slot as usize);
                if required.finds != NONE {
                    self.finders[required.finds as usize] += 1;
                    self.all_finders += 1;
                }
                required.leaves
            }
            Choice::Optional(class) => {
                let class = class as usize;
                self.used[class] -= 1;
                let at = plan.classes[class].members.start + self.used[class] as usize;
                clear(&mut self.used_bits, at);
                plan.classes[class].leaves
            }
        };
        if leaves != NONE {
            self.makers[leaves as usize] += 1;
        }
        self.state = taken.state;
        self.value = taken.value;
    }
}

fn set(words: &mut [u64], bit: usize) {
    words[bit / 64] |= 1 << (bit % 64);
}

fn clear(words: &mut [u64], bit: usize) {
    words[bit / 64] &= !(1 << (bit % 64));
}

fn is_set(words: &[u64], bit: usize) -> bool {
    words[bit / 64] & (1 << (bit % 64)) != 0
}

/// The first bit that is set, from this one on.
fn next_bit(words: &[u64], from: usize) -> Option<usize> {
    let mut at = from / 64;
    let mut word = words.get(at)? & (u64::MAX << (from % 64));
    while word == 0 {
        at += 1;
        word = *words.get(at)?;
    }
    Some(at * 64 + word.trailing_zeros() as usize)
}
