//! Where a [`search`](super::search) stands, and what it may do from there.
//!
//! States of keys are interned: a *slot* is a state of one key. By slot it is counted what the operations
//! that are not taken yet want of it, and every step forth and back keeps the counts.

use std::mem::replace;

use hashbrown::HashMap;

use super::super::spec::{State, Step};
use super::program::{NONE, Program};
use crate::history::OpId;

/// A state of a key, and who of those still to come has to do with it.
#[derive(Clone, Copy, Debug)]
struct Slot {
    state: State,
    /// How many must find it.
    needed: u32,
    /// How many do something else in it than in other states.
    wanted: u32,
    /// How many can leave it.
    makers: u32,
}

/// Who of those still to come has to do with a key.
#[derive(Clone, Debug, Default)]
struct Key {
    /// The slot that it is in.
    now: u32,
    observers: u32,
    misses: u32,
    /// Where its states grow.
    strings: Option<Strings>,
}

/// What matters of a key whose states grow, as slots.
#[derive(Clone, Debug, Default)]
struct Strings {
    /// What is to be found, a beginning before what it may become.
    ends: Vec<u32>,
    /// What can be there without growing.
    begins: Vec<u32>,
    /// Whether there is one string, and so each end may become the next.
    is_one: bool,
}

/// How many pairs of a beginning and an end are looked at for one step; beyond that only the present
/// state is.
const MAX_LOOKS: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Taken {
    node: u32,
    /// What the key was in before.
    was: u32,
}

/// A situation, and the way there.
#[derive(Debug)]
pub(super) struct Situation<'p> {
    program: &'p Program<'p>,
    slots: Vec<Slot>,
    slot_of: HashMap<(u32, State), u32, foldhash::fast::FixedState>,
    /// By node: the slot that it looks at, and the one that it leaves.
    looks_at: Vec<u32>,
    leaves: Vec<u32>,
    keys: Vec<Key>,
    /// By chain: how many of it were taken.
    at: Vec<u32>,
    /// The nodes of unknown outcome that may be taken, and whether they were.
    loose: Vec<u32>,
    is_taken: Vec<bool>,
    /// By node: how many that come before it, by an edge, were not taken.
    waiting: Vec<u32>,
    targets: Vec<Vec<u32>>,
    /// How many on chains were not taken.
    open: usize,
    taken: Vec<Taken>,
}

impl<'p> Situation<'p> {
    /// The beginning.
    pub(super) fn of(program: &'p Program<'p>, edges: &[(u32, u32)], loose: &[u32]) -> Self {
        let size = program.nodes.len();
        let mut situation = Self {
            program,
            slots: Vec::new(),
            slot_of: HashMap::default(),
            looks_at: vec![NONE; size],
            leaves: vec![NONE; size],
            keys: vec![Key::default(); program.keys],
            at: vec![0; program.chains.len()],
            loose: loose.to_vec(),
            is_taken: vec![false; size],
            waiting: vec![0; size],
            targets: vec![Vec::new(); size],
            open: program.chains.iter().map(Vec::len).sum(),
            taken: Vec::with_capacity(size),
        };
        for (from, to) in edges {
            situation.waiting[*to as usize] += 1;
            situation.targets[*from as usize].push(*to);
        }
        for key in 0..program.keys as u32 {
            situation.keys[key as usize].now = situation.slot(key, program.initial(key));
        }
        let on_chains = program.chains.iter().flatten();
        for number in on_chains.chain(loose) {
            situation.begin(*number);
        }
        situation.find_strings();
        situation
    }

    fn begin(&mut self, number: u32) {
        let node = *self.program.node(number);
        if let Some(state) = looks_at(node.step) {
            self.looks_at[number as usize] = self.slot(node.key, state);
        }
        if let Some(state) = node.step.leaves() {
            self.leaves[number as usize] = self.slot(node.key, state);
        }
        self.count(number, 1);
    }

    fn slot(&mut self, key: u32, state: State) -> u32 {
        *self.slot_of.entry((key, state)).or_insert_with(|| {
            self.slots.push(Slot { state, needed: 0, wanted: 0, makers: 0 });
            self.slots.len() as u32 - 1
        })
    }

    /// By key whose states grow: what is to be found, and what its strings can begin with.
    fn find_strings(&mut self) {
        let program = self.program;
        if !program.machine.only_grows() {
            return;
        }
        let mut strings: Vec<_> =
            program.opaque.iter().map(|of| of.then(Strings::default)).collect();
        let mut seen = vec![false; self.slots.len()];
        for (node, slot) in program.nodes.iter().zip(&self.leaves) {
            if let (Some(strings), Some(seen)) =
                (&mut strings[node.key as usize], seen.get_mut(*slot as usize))
                && !replace(seen, true)
            {
                strings.begins.push(*slot);
            }
        }
        seen.fill(false);
        for (node, slot) in program.nodes.iter().zip(&self.looks_at) {
            if let (Some(strings), Some(seen)) =
                (&mut strings[node.key as usize], seen.get_mut(*slot as usize))
                && !replace(seen, true)
            {
                let place = strings.ends.partition_point(|end| self.becomes(*end, *slot));
                strings.ends.insert(place, *slot);
            }
        }
        for (key, strings) in strings.into_iter().enumerate() {
            let Some(mut strings) = strings else { continue };
            let in_order = |pair: &[u32]| self.becomes(pair[0], pair[1]);
            strings.is_one = strings.begins.is_empty() && strings.ends.windows(2).all(in_order);
            self.keys[key].strings = Some(strings);
        }
    }

    /// Whether all that is still to be found can be, once the key is in this state.
    fn leads_on(&self, strings: &Strings, next: State, now: u32) -> bool {
        let state = |slot: u32| self.slots[slot as usize].state;
        let machine = &self.program.machine;
        let passed = |slot: &u32| self.slots[*slot as usize].needed == 0;
        if strings.is_one {
            // All longer ones come behind the next one.
            let end = strings.ends.get(strings.ends.partition_point(passed));
            return end.is_none_or(|end| machine.may_become(next, state(*end)));
        }
        let begins = |end: u32| {
            let begin = |begin: &u32| {
                self.slots[*begin as usize].makers > 0
                    && machine.may_become(state(*begin), state(end))
            };
            machine.may_become(next, state(end)) || strings.begins.iter().any(begin)
        };
        if strings.ends.len() * strings.begins.len() > MAX_LOOKS {
            return passed(&now) || begins(now);
        }
        strings.ends.iter().all(|end| passed(end) || begins(*end))
    }

    /// Whether a state of a key may come behind another.
    fn becomes(&self, from: u32, to: u32) -> bool {
        let state = |slot: u32| self.slots[slot as usize].state;
        self.program.machine.may_become(state(from), state(to))
    }

    /// Counts what a node wants, or no longer counts it.
    fn count(&mut self, number: u32, by: i32) {
        let node = self.program.node(number);
        let add = |count: &mut u32| *count = count.wrapping_add_signed(by);
        let key = &mut self.keys[node.key as usize];
        if let Some(slot) = self.slots.get_mut(self.looks_at[number as usize] as usize) {
            add(&mut slot.wanted);
            if node.step.found().is_some() && !node.loose {
                add(&mut slot.needed);
            }
        }
        if let Some(slot) = self.slots.get_mut(self.leaves[number as usize] as usize) {
            add(&mut slot.makers);
        }
        match node.step {
            Step::Miss(_) => {
                add(&mut key.observers);
                add(&mut key.misses);
            }
            Step::Find(_) | Step::Swap { .. } => add(&mut key.observers),
            Step::Own(_) if !self.program.machine.only_grows() => add(&mut key.observers),
            _ => {}
        }
    }

    /// The slot that a key is in after a step; `None` where the step is not legal, or leads to no end.
    fn after(&mut self, number: u32) -> Option<u32> {
        let node = *self.program.node(number);
        let now = self.keys[node.key as usize].now;
        let state = self.slots[now as usize].state;
        let next = self.program.machine.apply(state, node.step)?;
        if next == state {
            return Some(now);
        }
        let slot = match self.leaves[number as usize] {
            NONE => self.slot(node.key, next),
            slot => slot,
        };
        let leaving = self.slots[now as usize];
        let own = u32::from(self.looks_at[number as usize] == now && !node.loose);
        if !self.program.opaque[node.key as usize] {
            return (leaving.needed == own || leaving.makers > 0).then_some(slot);
        }
        match &self.keys[node.key as usize].strings {
            Some(strings) if !self.leads_on(strings, next, now) => None,
            _ => Some(slot),
        }
    }

    /// Whether taking this change of a chain now loses no order of what remains.
    ///
    /// It does not where nobody observes the key any more. And it does not where nothing looks for what
    /// the change leaves nor for what is there now, and nothing remains that must *not* find something:
    /// in any order of the rest this change could be moved here, for what it overwrites here nobody looks
    /// for, and where it stood the next that matters to the key was another change.
    fn is_harmless(&self, number: u32) -> bool {
        let node = self.program.node(number);
        let key = &self.keys[node.key as usize];
        let own = u32::from(matches!(node.step, Step::Swap { .. }));
        if key.observers == own {
            return true;
        }
        let wanted = |slot: u32| self.slots[slot as usize].wanted > 0;
        matches!(node.step, Step::Put(_))
            && !self.program.opaque[node.key as usize]
            && key.misses == 0
            && !wanted(key.now)
            && !wanted(self.leaves[number as usize])
    }

    /// Takes all steps that need no choice.
    pub(super) fn settle(&mut self) {
        let mut again = true;
        while again {
            again = false;
            for chain in 0..self.at.len() {
                while let Some(number) = self.head(chain) {
                    let observes = self.program.node(number).step.only_observes();
                    if !(observes || self.is_harmless(number)) || self.after(number).is_none() {
                        break;
                    }
                    self.take(number);
                    again = true;
                }
            }
        }
    }

    /// The next node of a chain, where nothing has to come before it.
    fn head(&self, chain: usize) -> Option<u32> {
        let number = *self.program.chains[chain].get(self.at[chain] as usize)?;
        (self.waiting[number as usize] == 0).then_some(number)
    }

    /// The steps that may be taken now.
    pub(super) fn ways(&mut self) -> Vec<u32> {
        let mut ways = Vec::new();
        for chain in 0..self.at.len() {
            ways.extend(self.head(chain).filter(|number| self.after(*number).is_some()));
        }
        let on_chains = ways.len();
        for index in 0..self.loose.len() {
            let number = self.loose[index];
            let node = *self.program.node(number);
            let free = !self.is_taken[number as usize]
                && self.waiting[number as usize] == 0
                && node.before <= self.at[node.chain as usize];
            let same = |way: &u32| {
                let other = self.program.node(*way);
                (other.key, other.step) == (node.key, node.step)
            };
            if free && self.is_of_use(number) && !ways[on_chains..].iter().any(same) {
                ways.push(number);
            }
        }
        ways
    }

    /// Whether an operation of unknown outcome could be of use now.
    fn is_of_use(&mut self, number: u32) -> bool {
        let node = *self.program.node(number);
        let now = self.keys[node.key as usize].now;
        let Some(next) = self.after(number).filter(|next| *next != now) else { return false };
        let key = &self.keys[node.key as usize];
        match self.program.opaque[node.key as usize] {
            true => key.observers > 0,
            false => key.misses > 0 || self.slots[next as usize].wanted > 0,
        }
    }

    /// Takes a step that may be taken.
    pub(super) fn take(&mut self, number: u32) {
        let node = *self.program.node(number);
        let was = self.keys[node.key as usize].now;
        if let Some(next) = self.after(number) {
            self.keys[node.key as usize].now = next;
        }
        self.count(number, -1);
        self.is_taken[number as usize] = true;
        if !node.loose {
            self.at[node.chain as usize] += 1;
            self.open -= 1;
        }
        for target in &self.targets[number as usize] {
            self.waiting[*target as usize] -= 1;
        }
        self.taken.push(Taken { node: number, was });
    }

    /// Takes back all but the first steps.
    pub(super) fn back_to(&mut self, steps: usize) {
        while self.taken.len() > steps {
            let Some(Taken { node: number, was }) = self.taken.pop() else { return };
            let node = *self.program.node(number);
            self.keys[node.key as usize].now = was;
            self.count(number, 1);
            self.is_taken[number as usize] = false;
            if !node.loose {
                self.at[node.chain as usize] -= 1;
                self.open += 1;
            }
            for target in &self.targets[number as usize] {
                self.waiting[*target as usize] += 1;
            }
        }
    }

    /// How many steps were taken.
    pub(super) fn steps(&self) -> usize {
        self.taken.len()
    }

    /// Whether everything that happened was taken.
    pub(super) fn is_end(&self) -> bool {
        self.open == 0
    }

    /// What was taken.
    pub(super) fn order(&self) -> Vec<OpId> {
        self.taken.iter().map(|taken| self.program.node(taken.node).op).collect()
    }

    /// All that the future depends on.
    pub(super) fn write_row(&self, row: &mut Vec<u32>) {
        row.clear();
        row.extend(&self.at);
        for block in self.loose.chunks(32) {
            let bit = |bits, number: &u32| bits << 1 | u32::from(self.is_taken[*number as usize]);
            row.push(block.iter().fold(0, bit));
        }
        row.extend(self.keys.iter().enumerate().map(|(key, of)| {
            let matters = match self.program.opaque[key] {
                true => of.observers > 0,
                false => of.observers > 0 && self.slots[of.now as usize].wanted > 0,
            };
            if matters { of.now } else { NONE }
        }));
    }
}

/// The state in which a step does something else than in others.
fn looks_at(step: Step) -> Option<State> {
    match step {
        Step::Miss(state) | Step::Try { from: state, .. } => Some(state),
        _ => step.found(),
    }
}
