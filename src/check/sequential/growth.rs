//! Keys whose states grow, turned into registers.
//!
//! A string that is appended to shows its past: a string that was read tells which write began it and
//! which append came first, which second, and so on, wherever each next piece can only be that of one
//! operation. Then an append *is* a compare-and-set, from what it found to what it made of it. Appends
//! that no string shows came behind what was read, and until the key was written as a whole again nobody
//! read it: each is a write of a value that nobody finds. With such steps all the rest of this folder
//! works as for registers with unique values, and needs no search.
//!
//! A key where a string can be told in two ways stays as it is.
//!
//! # Cost
//!
//! For each string that is not a part of another one, each piece of it is sought among all appends of the
//! key; after [`MAX_LOOKS`] looks altogether the remaining keys stay as they are.

use hashbrown::{HashMap, HashSet};

use super::super::spec::{State, Step};
use super::program::Program;

/// How many appends are looked at, at most.
const MAX_LOOKS: usize = 5_000_000;

/// Turns every key into a register where that is possible. Returns whether there was one.
pub(super) fn unfold(program: &mut Program<'_>) -> bool {
    if !program.machine.only_grows() {
        return false;
    }
    let mut any = false;
    let mut of_key = vec![Vec::new(); program.keys];
    for number in program.numbers() {
        of_key[program.node(number).key as usize].push(number);
    }
    let mut looks = 0;
    for (key, nodes) in of_key.iter().enumerate() {
        if !program.opaque[key] {
            continue;
        }
        let mut growth = Growth::of(program, key as u32, nodes, looks);
        let told = growth.walk_all().and_then(|()| growth.steps());
        looks = growth.looks;
        let anchors = std::mem::take(&mut growth.anchors);
        if let Some(steps) = told {
            any = true;
            program.opaque[key] = false;
            program.anchors[key] = anchors;
            for (node, step) in steps {
                program.nodes[node as usize].step = step;
            }
        }
    }
    any
}

/// One key.
struct Growth<'g, 'p> {
    program: &'g Program<'p>,
    appends: Vec<u32>,
    /// What a string can begin with: what the key held at first, and what was written as a whole.
    starts: Vec<State>,
    /// What was read, and by whom, the longest first.
    found: Vec<(State, u32)>,
    /// What is known of appends.
    swaps: HashMap<u32, Step, foldhash::fast::FixedState>,
    /// The states on the way to what was read.
    passed: HashSet<State, foldhash::fast::FixedState>,
    /// The reads that tell it.
    anchors: Vec<u32>,
    looks: usize,
}

/// What can come next on the way to a string.
enum Next {
    Nothing,
    /// This append, and the state that it leaves.
    Piece(u32, State),
    Several,
}

impl<'g, 'p> Growth<'g, 'p> {
    fn of(program: &'g Program<'p>, key: u32, nodes: &[u32], looks: usize) -> Self {
        let (mut appends, mut starts, mut found) = (vec![], vec![program.initial(key)], vec![]);
        for number in nodes {
            match program.node(*number).step {
                Step::Own(_) => appends.push(*number),
                Step::Put(state) => starts.push(state),
                Step::Find(state) => found.push((state, *number)),
                _ => {}
            }
        }
        starts.sort_unstable();
        starts.dedup();
        // States of longer strings have higher numbers than those of their beginnings.
        found.sort_unstable_by_key(|(state, node)| (std::cmp::Reverse(*state), *node));
        found.dedup_by_key(|(state, _)| *state);
        let (swaps, passed) = (HashMap::default(), HashSet::default());
        Self { program, appends, starts, found, swaps, passed, anchors: Vec::new(), looks }
    }

    /// Tells every string that was read; `None` where one can be told in two ways.
    fn walk_all(&mut self) -> Option<()> {
        for (end, read) in self.found.clone() {
            if !self.passed.contains(&end) {
                self.anchors.push(read);
                self.walk(end)?;
            }
        }
        Some(())
    }

    /// Tells one string. Where nothing leads to it, its reads are out of thin air, which others find out.
    fn walk(&mut self, end: State) -> Option<()> {
        let mut start = None;
        for index in 0..self.starts.len() {
            let from = self.starts[index];
            let leads = from == end || !matches!(self.next(from, end)?, Next::Nothing);
            if leads && start.replace(from).is_some() {
                return None;
            }
        }
        let Some(mut now) = start else { return Some(()) };
        self.passed.insert(now);
        while now != end {
            match self.next(now, end)? {
                Next::Several => return None,
                Next::Nothing => return Some(()),
                Next::Piece(append, next) => {
                    let step = Step::Swap { from: now, to: next };
                    if self.swaps.insert(append, step).is_some_and(|other| other != step) {
                        return None;
                    }
                    self.passed.insert(next);
                    now = next;
                }
            }
        }
        Some(())
    }

    /// What leads on from a state towards another; `None` after too many looks.
    fn next(&mut self, now: State, end: State) -> Option<Next> {
        let machine = self.program.machine;
        if !machine.may_become(now, end) {
            return Some(Next::Nothing);
        }
        self.looks += self.appends.len();
        if self.looks > MAX_LOOKS {
            return None;
        }
        let leads = |append: &u32| {
            let next = machine.apply(now, self.program.node(*append).step)?;
            machine.may_become(next, end).then_some((*append, next))
        };
        let mut leading = self.appends.iter().filter_map(leads);
        Some(match (leading.next(), leading.next()) {
            (None, _) => Next::Nothing,
            (Some((append, next)), None) => Next::Piece(append, next),
            (Some(_), Some(_)) => Next::Several,
        })
    }

    /// The steps of a register that the appends are.
    fn steps(&self) -> Option<Vec<(u32, Step)>> {
        let highest = self.found.first().map_or(State(0), |(state, _)| *state);
        let step = |append: &u32| {
            // A state of its own, that nobody finds.
            let beyond = State(u32::MAX - 1 - append);
            let unseen = (beyond > highest).then_some(Step::Put(beyond));
            Some((*append, self.swaps.get(append).copied().or(unseen)?))
        };
        self.appends.iter().map(step).collect()
    }
}
