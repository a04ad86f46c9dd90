//! One key's operations, prepared for the search in [`wgl`](super::wgl).
//!
//! *Required* operations have an end; *optional* ones (unknown outcome) have none. The required ones are known
//! by their place in the order of invocation, their ends by *rank*. While an operation is open it has a *slot*,
//! the first free one at its invocation, so that a handful of bits says which of the open operations are done,
//! however long the history is.
//!
//! Optional operations that do the same are a *class*: none of them ever has to happen, so it is no loss to take
//! the one that was invoked first. Those whose value nobody can have found are dropped.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use hashbrown::{HashMap, HashSet};

use super::part::{Entry, Part};
use crate::check::spec::{State, Step};
use crate::history::OpId;

/// No operation, or no value.
pub(super) const NONE: u32 = u32::MAX;

/// A required operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Required {
    pub(super) id: OpId,
    pub(super) step: Step,
    pub(super) call: u32,
    pub(super) end: u32,
    /// Where its bit is while it is open.
    pub(super) slot: u32,
    /// Who had the slot before it.
    pub(super) before: u32,
    /// The value that it found, and the one it leaves.
    pub(super) finds: u32,
    pub(super) leaves: u32,
}

/// Optional operations that do the same.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) step: Step,
    /// Where they are among the optional ones, in the order of invocation.
    pub(super) members: Range<usize>,
    /// The value that they leave.
    pub(super) leaves: u32,
}

/// Values by number: who finds them, who leaves them.
#[derive(Debug, Default)]
pub(super) struct Values {
    numbers: HashMap<State, u32, foldhash::fast::FixedState>,
    /// How many required operations find it.
    pub(super) finders: Vec<u32>,
    /// The ranks of those, in order.
    pub(super) finder_ranks: Vec<Vec<u32>>,
    /// How many operations leave it.
    pub(super) makers: Vec<u32>,
}

impl Values {
    /// The number of a value that has one.
    pub(super) fn find(&self, state: State) -> Option<u32> {
        self.numbers.get(&state).copied()
    }

    pub(super) fn number(&mut self, state: State) -> u32 {
        let next = self.finders.len() as u32;
        let number = *self.numbers.entry(state).or_insert(next);
        if number == next {
            self.finders.push(0);
            self.finder_ranks.push(Vec::new());
            self.makers.push(0);
        }
        number
    }
}

/// The prepared operations of one key.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the order of invocation.
    pub(super) required: Vec<Required>,
    /// The required operations in the order of their ends.
    pub(super) by_end: Vec<u32>,
    /// How many of them were invoked before the end of each rank.
    pub(super) called: Vec<u32>,
    /// How many slots there are.
    pub(super) slots: usize,
    /// In the order of their classes, then of invocation: the event of the invocation, and which it is.
    pub(super) optional: Vec<(u32, OpId)>,
    pub(super) classes: Vec<Class>,
    /// The class of each [`Step::Try`], by where it has an effect and what it leaves there.
    pub(super) tries: HashMap<(State, State), u32, foldhash::fast::FixedState>,
    /// The class of each optional [`Step::Put`], by what it leaves.
    pub(super) puts: HashMap<State, u32, foldhash::fast::FixedState>,
    pub(super) values: Values,
    /// The number of the initial value.
    pub(super) initial: u32,
    /// No step is [`Step::Own`]: the values tell what can still be found.
    pub(super) transparent: bool,
    /// All steps are [`Step::Own`] or [`Step::Find`], so that a lost state stays lost.
    pub(super) may_be_lost: bool,
    /// How many required operations find a value.
    pub(super) finders: u32,
    /// How many of them are not [`Step::Put`], and so may depend on what was done before them.
    pub(super) dependants: u32,
}

impl Plan {
    /// Prepares the operations of a key.
    pub(super) fn of(part: &Part<'_>) -> Self {
        let entries: Vec<Entry> = part.entries().collect();
        let transparent = !entries.iter().any(|entry| matches!(entry.step, Step::Own(_)));
        let only_own = |entry: &Entry| matches!(entry.step, Step::Own(_) | Step::Find(_));
        let may_be_lost = !transparent && entries.iter().all(only_own);
        let mut values = Values::default();
        let initial = values.number(part.initial());
        let required = required(&entries, &mut values);
        let (optional, classes) = classes(&entries, transparent, &mut values);
        let mut by_end: Vec<u32> = (0..required.len() as u32).collect();
        by_end.sort_by_key(|at| required[*at as usize].end);
        let called_before = |at: &u32| {
            let end = required[*at as usize].end;
            required.partition_point(|other| other.call < end) as u32
        };
        let called = by_end.iter().map(called_before).collect();
        let finders = values.finders.iter().sum();
        let depends = |required: &&Required| !matches!(required.step, Step::Put(_));
        let dependants = required.iter().filter(depends).count() as u32;
        let try_of = |(at, class): (usize, &Class)| match class.step {
            Step::Try { from, to } => Some(((from, to), at as u32)),
            _ => None,
        };
        let tries = classes.iter().enumerate().filter_map(try_of).collect();
        let put_of = |(at, class): (usize, &Class)| match class.step {
            Step::Put(to) => Some((to, at as u32)),
            _ => None,
        };
        let puts = classes.iter().enumerate().filter_map(put_of).collect();
        for (rank, at) in by_end.iter().enumerate() {
            if let Some(ranks) = values.finder_ranks.get_mut(required[*at as usize].finds as usize)
            {
                ranks.push(rank as u32);
            }
        }
        let mut plan = Self {
            required,
            by_end,
            called,
            slots: 0,
            optional,
            classes,
            tries,
            puts,
            values,
            initial,
            transparent,
            may_be_lost,
            finders,
            dependants,
        };
        plan.give_slots();
        plan
    }

    fn give_slots(&mut self) {
        let mut free = BinaryHeap::new();
        let mut holders: Vec<u32> = Vec::new();
        let mut next = 0;
        for rank in 0..self.by_end.len() {
            while next < self.called[rank] {
                let slot = free.pop().map_or(holders.len() as u32, |Reverse(slot)| slot);
                if slot as usize == holders.len() {
                    holders.push(NONE);
                }
                let required = &mut self.required[next as usize];
                required.slot = slot;
                required.before = std::mem::replace(&mut holders[slot as usize], next);
                next += 1;
            }
            free.push(Reverse(self.required[self.by_end[rank] as usize].slot));
        }
        self.slots = holders.len();
    }

    /// A read of a value that nobody ever wrote, and that was not there at first.
    pub(super) fn thin_air(&self) -> Option<OpId> {
        let made = |required: &&Required| {
            let value = required.finds;
            value != NONE && value != self.initial && self.values.makers[value as usize] == 0
        };
        let culprit = self.required.iter().find(made).filter(|_| self.transparent);
        culprit.map(|required| required.id)
    }
}

fn required(entries: &[Entry], values: &mut Values) -> Vec<Required> {
    let mut all = Vec::with_capacity(entries.len());
    for Entry { id, step, call, end, .. } in entries.iter().filter(|entry| !entry.optional) {
        let finds = step.found().map_or(NONE, |state| values.number(state));
        let leaves = step.leaves().map_or(NONE, |state| values.number(state));
        if finds != NONE {
            values.finders[finds as usize] += 1;
        }
        if leaves != NONE {
            values.makers[leaves as usize] += 1;
        }
        let (id, step, call, end) = (*id, *step, *call, *end);
        all.push(Required { id, step, call, end, slot: 0, before: NONE, finds, leaves });
    }
    all
}

fn classes(
    entries: &[Entry],
    transparent: bool,
    values: &mut Values,
) -> (Vec<(u32, OpId)>, Vec<Class>) {
    let misses = entries.iter().any(|entry| matches!(entry.step, Step::Miss(_)));
    let mut wanted: HashSet<State, foldhash::fast::FixedState> = HashSet::default();
    for entry in entries {
        match entry.step {
            Step::Try { from, .. } => wanted.insert(from),
            step => step.found().is_some_and(|state| wanted.insert(state)),
        };
    }
    let useful = |entry: &&Entry| {
        let leaves = entry.step.leaves();
        entry.optional
            && (!transparent || misses || leaves.is_some_and(|state| wanted.contains(&state)))
    };
    let mut sorted: Vec<&Entry> = entries.iter().filter(useful).collect();
    sorted.sort_by_key(|entry| (entry.step, entry.call));
    let mut classes: Vec<Class> = Vec::new();
    for (at, entry) in sorted.iter().enumerate() {
        let leaves = entry.step.leaves().map_or(NONE, |state| values.number(state));
        if leaves != NONE {
            values.makers[leaves as usize] += 1;
        }
        match classes.last_mut().filter(|class| class.step == entry.step) {
            Some(class) => class.members.end = at + 1,
            None => classes.push(Class { step: entry.step, members: at..at + 1, leaves }),
        }
    }
    (sorted.iter().map(|entry| (entry.call, entry.id)).collect(), classes)
}
