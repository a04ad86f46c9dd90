//! A configuration of the search in [`wgl`](super::wgl), and how it changes: an operation is placed, the ends that
//! can be passed then are passed, and all of it is undone. Each costs time for what changes, not for the length
//! of the history.

use super::part::Part;
use super::plan::{Class, NONE, Plan};
use crate::check::spec::{Machine, State, Step};
use crate::history::OpId;

/// An operation that was placed, and how it was before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    what: Choice,
    state: State,
    value: u32,
    rank: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    /// By place among the required operations.
    Required(u32),
    /// By class.
    Optional(u32),
}

/// Which operations were placed, and what follows from it.
#[derive(Debug)]
pub(super) struct Config<'a> {
    plan: &'a Plan,
    pub(super) machine: &'a Machine<'a>,
    /// The rank of the first end that is not passed.
    pub(super) rank: usize,
    pub(super) state: State,
    /// The number of the value that it holds, where the plan is transparent.
    value: u32,
    /// By slot: the operation that has it.
    pub(super) holders: Vec<u32>,
    /// By slot: open and not placed; open and placed.
    pub(super) open: Vec<u64>,
    pub(super) done: Vec<u64>,
    /// By class how many are used; the same as bits by optional operation.
    pub(super) used: Vec<u32>,
    pub(super) used_bits: Vec<u64>,
    /// By value: the operations not placed that find it, and that leave it.
    finders: Vec<u32>,
    makers: Vec<u32>,
    /// How many operations not placed find something, and how many are not plain writes.
    all_finders: u32,
    dependants: u32,
    pub(super) trail: Vec<Taken>,
}

impl<'a> Config<'a> {
    /// Nothing is placed.
    pub(super) fn new(plan: &'a Plan, part: &Part<'a>) -> Self {
        let words = plan.slots.div_ceil(64);
        let mut config = Self {
            plan,
            machine: part.machine,
            rank: 0,
            state: part.initial(),
            value: plan.initial,
            holders: vec![NONE; plan.slots],
            open: vec![0; words],
            done: vec![0; words],
            used: vec![0; plan.classes.len()],
            used_bits: vec![0; plan.optional.len().div_ceil(64)],
            finders: plan.values.finders.clone(),
            makers: plan.values.makers.clone(),
            all_finders: plan.finders,
            dependants: plan.dependants,
            trail: Vec::new(),
        };
        config.call(0);
        config
    }

    /// The first end that can never be passed after what was just placed, where that is plain; `left` is the
    /// value that was held before.
    pub(super) fn dies_at(&self, left: u32) -> Option<usize> {
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

    /// Whether there are more of a class at hand than can ever be needed. Between two required operations one
    /// that leaves a certain state is needed once at the most, and before a plain write never.
    pub(super) fn is_plenty(&self, class: usize) -> bool {
        let Class { members, leaves, .. } = &self.plan.classes[class];
        let Some(first) = self.plan.by_end.get(self.rank) else { return false };
        let end = self.plan.required[*first as usize].end;
        let called = |(call, _): &(u32, OpId)| *call < end;
        let called = self.plan.optional[members.clone()].partition_point(called);
        *leaves != NONE && called >= self.used[class] as usize + self.dependants as usize
    }

    /// Whether another optional operation is at hand that does the same here, and is the one to take. A write can
    /// do whatever a swap can, so the swap is to be taken, unless there are writes in plenty.
    pub(super) fn has_cheaper(&self, step: Step) -> bool {
        let put = |to| self.plan.puts.get(&to).is_some_and(|put| self.is_plenty(*put as usize));
        match step {
            Step::Put(to) => {
                let swap = self.plan.tries.get(&(self.state, to));
                swap.is_some_and(|swap| self.next_of(*swap as usize).is_some()) && !put(to)
            }
            Step::Try { to, .. } => put(to),
            _ => false,
        }
    }

    /// The first of a class that is not used, if it was invoked already.
    pub(super) fn next_of(&self, class: usize) -> Option<usize> {
        let first = *self.plan.by_end.get(self.rank)?;
        let members = &self.plan.classes[class].members;
        let next = members.start + self.used[class] as usize;
        let called = |next: &usize| {
            *next < members.end
                && self.plan.optional[*next].0 < self.plan.required[first as usize].end
        };
        Some(next).filter(called)
    }

    /// Places an operation, which leaves this state. Returns the number of the value that was held before.
    pub(super) fn take(&mut self, what: Choice, step: Step, state: State) -> u32 {
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
        value
    }

    /// Marks a required operation as done, and passes the ends that can be passed now.
    fn place(&mut self, at: u32) {
        let plan = self.plan;
        let required = &plan.required[at as usize];
        if required.finds != NONE {
            self.finders[required.finds as usize] -= 1;
            self.all_finders -= 1;
        }
        self.dependants -= u32::from(!matches!(required.step, Step::Put(_)));
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

    /// Undoes what was placed beyond this length of the trail.
    pub(super) fn undo_to(&mut self, length: usize) {
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
                self.dependants += u32::from(!matches!(required.step, Step::Put(_)));
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

pub(super) fn clear(words: &mut [u64], bit: usize) {
    words[bit / 64] &= !(1 << (bit % 64));
}

fn is_set(words: &[u64], bit: usize) -> bool {
    words[bit / 64] & (1 << (bit % 64)) != 0
}

/// The first bit that is set, from this one on.
pub(super) fn next_bit(words: &[u64], from: usize) -> Option<usize> {
    let mut at = from / 64;
    let mut word = words.get(at)? & (u64::MAX << (from % 64));
    while word == 0 {
        at += 1;
        word = *words.get(at)?;
    }
    Some(at * 64 + word.trailing_zeros() as usize)
}
