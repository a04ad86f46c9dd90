//! Brute force: what each model means, tried out in all orders. Nothing here is shared with the checkers but
//! the history's own types; it is slow, and short enough to be believed.

// Each test uses its own part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;

use consistency_lab::history::{Action, History, KeyId, OpId, Operation, Outcome, ValueId};

/// One set of operations that may have happened: all with a known outcome, some of the others.
pub struct World<'a> {
    history: &'a History,
    initial: ValueId,
    /// The operations that happened, in the order of their invocations.
    ops: Vec<usize>,
}

/// Whether some world of this history keeps the model.
pub fn holds(history: &History, initial: ValueId, model: &str) -> bool {
    worlds(history, initial).iter().any(|world| match model {
        "linearizable" => world.one_order(|a, b| world.op(a).completed < world.op(b).invoked),
        "sequential" => world.one_order(|a, b| world.program(a, b)),
        "cc" | "cm" | "ccv" => world.causal(model),
        "pram" | "ryw" | "mr" | "mw" | "wfr" => world.views(model),
        other => panic!("no brute force for {other}"),
    })
}

fn worlds(history: &History, initial: ValueId) -> Vec<World<'_>> {
    let all: Vec<usize> = (0..history.operations.len()).collect();
    let known = |i: &usize| history.operations[*i].outcome == Outcome::Ok;
    let unknown = |i: &usize| {
        let op = &history.operations[*i];
        op.outcome == Outcome::Unknown && !matches!(op.action, Action::Read(_))
    };
    let optional: Vec<usize> = all.iter().copied().filter(unknown).collect();
    (0..1u32 << optional.len())
        .map(|subset| {
            let chosen = |i: &usize| {
                optional.iter().position(|o| o == i).is_some_and(|at| subset & (1 << at) != 0)
            };
            let ops = all.iter().copied().filter(|i| known(i) || chosen(i)).collect();
            World { history, initial, ops }
        })
        .collect()
}

/// Whether every value is written once to each key, and never the initial one.
pub fn unique(history: &History, initial: ValueId) -> bool {
    let mut seen = Vec::new();
    history.operations.iter().filter(|op| op.outcome != Outcome::Fail).all(|op| {
        let value = match op.action {
            Action::Write(value) => value,
            Action::Cas { to, swapped, .. } if swapped || op.outcome == Outcome::Unknown => to,
            _ => return true,
        };
        let new = value != initial && !seen.contains(&(op.key, value));
        seen.push((op.key, value));
        new
    })
}

impl<'a> World<'a> {
    fn op(&self, i: usize) -> &'a Operation {
        &self.history.operations[i]
    }

    fn program(&self, a: usize, b: usize) -> bool {
        let (first, second) = (self.op(a), self.op(b));
        first.process == second.process && a < b && first.outcome == Outcome::Ok
    }

    /// What it observed.
    fn found(&self, i: usize) -> Option<ValueId> {
        match (self.op(i).action, self.op(i).outcome) {
            (Action::Read(value), Outcome::Ok) => Some(value),
            (Action::Cas { from, swapped: true, .. }, Outcome::Ok) => Some(from),
            _ => None,
        }
    }

    /// What it wrote.
    fn wrote(&self, i: usize) -> Option<ValueId> {
        match (self.op(i).action, self.op(i).outcome) {
            (Action::Write(value), _) => Some(value),
            (Action::Cas { to, swapped: true, .. }, Outcome::Ok) => Some(to),
            (Action::Cas { to, .. }, Outcome::Unknown) => Some(to),
            _ => None,
        }
    }

    /// The write that it read from, and whether it read something that nobody wrote.
    fn source(&self, i: usize) -> Result<Option<usize>, ()> {
        let Some(value) = self.found(i) else { return Ok(None) };
        if value == self.initial {
            return Ok(None);
        }
        let writes = |w: &&usize| {
            **w != i && self.op(**w).key == self.op(i).key && self.wrote(**w) == Some(value)
        };
        self.ops.iter().find(writes).copied().map(Some).ok_or(())
    }

    /// One legal order of everything, with exact compare-and-set.
    fn one_order(&self, before: impl Fn(usize, usize) -> bool) -> bool {
        let step = |state: &BTreeMap<KeyId, ValueId>, i: usize| {
            let op = self.op(i);
            let now = state.get(&op.key).copied().unwrap_or(self.initial);
            let next = match (op.action, op.outcome) {
                (Action::Read(value), _) => (value == now).then_some(now)?,
                (Action::Write(value), _) => value,
                (Action::Cas { from, to, swapped: true }, Outcome::Ok) => {
                    (from == now).then_some(to)?
                }
                (Action::Cas { from, .. }, Outcome::Ok) => (from != now).then_some(now)?,
                (Action::Cas { from, to, .. }, _) => {
                    if from == now {
                        to
                    } else {
                        now
                    }
                }
                (other, _) => panic!("no brute force for {other:?}"),
            };
            let mut state = state.clone();
            state.insert(op.key, next);
            Some(state)
        };
        order(&self.ops, &before, &step)
    }

    /// One legal order of these, in which only some observations count and a compare-and-set writes.
    fn view(
        &self,
        ops: &[usize],
        before: impl Fn(usize, usize) -> bool,
        counts: impl Fn(usize) -> bool,
    ) -> bool {
        let step = |state: &BTreeMap<KeyId, ValueId>, i: usize| {
            let key = self.op(i).key;
            let now = state.get(&key).copied().unwrap_or(self.initial);
            if counts(i) && self.found(i).is_some_and(|found| found != now) {
                return None;
            }
            let mut state = state.clone();
            if let Some(value) = self.wrote(i) {
                state.insert(key, value);
            }
            Some(state)
        };
        order(ops, &before, &step)
    }

    /// A view for every process.
    fn views(&self, model: &str) -> bool {
        let mut processes: Vec<_> = self.ops.iter().map(|i| self.op(*i).process).collect();
        processes.dedup();
        processes.iter().all(|process| {
            let own = |i: usize| self.op(i).process == *process;
            let writes = |i: usize| self.wrote(i).is_some();
            let reads = |i: usize| self.found(i).is_some();
            let in_view = |i: &usize| writes(*i) || own(*i);
            let ops: Vec<usize> = self.ops.iter().copied().filter(in_view).collect();
            let before = |a: usize, b: usize| {
                let program = self.program(a, b);
                let own_reads = own(a) && reads(a) && reads(b);
                match model {
                    "pram" => program,
                    "ryw" => program && own(a) && writes(a),
                    "mr" => {
                        let key = self.op(a).key == self.op(b).key;
                        program && (own_reads || (writes(a) && writes(b) && key))
                    }
                    "mw" => program && (own_reads || (writes(a) && writes(b))),
                    _ => (program && own_reads) || self.follows_read(a, b),
                }
            };
            // A write that its writer had read before would have to come before itself.
            !ops.iter().any(|i| before(*i, *i)) && self.view(&ops, before, own)
        })
    }

    /// Whether `b`'s process had read `a` when it wrote `b`. A compare-and-set reads, then writes.
    fn follows_read(&self, a: usize, b: usize) -> bool {
        self.wrote(b).is_some()
            && self.ops.iter().any(|r| {
                (*r == b || self.program(*r, b))
                    && self.found(*r).is_some()
                    && self.source(*r) == Ok(Some(a))
            })
    }

    /// Causal order: program order and reads-from, and what follows.
    fn causes(&self) -> Option<Vec<Vec<bool>>> {
        let n = self.history.operations.len();
        let mut causes = vec![vec![false; n]; n];
        for b in &self.ops {
            for a in &self.ops {
                causes[*a][*b] = self.program(*a, *b);
            }
            if let Some(write) = self.source(*b).ok()? {
                causes[write][*b] = true;
            }
        }
        for m in 0..n {
            for a in 0..n {
                for b in 0..n {
                    causes[a][b] |= causes[a][m] && causes[m][b];
                }
            }
        }
        (0..n).all(|i| !causes[i][i]).then_some(causes)
    }

    fn causal(&self, model: &str) -> bool {
        let Some(causes) = self.causes() else { return false };
        let before = |a: usize, b: usize| causes[a][b];
        if model == "ccv" {
            return self.settled(&causes);
        }
        self.ops.iter().all(|o| {
            let past = |i: &usize| *i == *o || causes[*i][*o];
            let ops: Vec<usize> = self.ops.iter().copied().filter(past).collect();
            let same = |i: usize| self.op(i).process == self.op(*o).process;
            let counts = |i: usize| i == *o || (model == "cm" && same(i) && self.program(i, *o));
            self.view(&ops, before, counts)
        })
    }

    /// Whether one order of all writes explains every read by the last write among its causes.
    fn settled(&self, causes: &[Vec<bool>]) -> bool {
        let writes: Vec<usize> =
            self.ops.iter().copied().filter(|i| self.wrote(*i).is_some()).collect();
        let mut orders = Vec::new();
        all_orders(&writes, &|a, b| causes[a][b], &mut Vec::new(), &mut orders);
        orders.iter().any(|order| {
            self.ops.iter().all(|r| {
                let Some(found) = self.found(*r) else { return true };
                let last = order
                    .iter()
                    .rev()
                    .find(|w| causes[**w][*r] && self.op(**w).key == self.op(*r).key);
                let value = last.and_then(|w| self.wrote(*w)).unwrap_or(self.initial);
                value == found
            })
        })
    }
}

type State = BTreeMap<KeyId, ValueId>;

/// Whether some order of `ops` that respects `before` can be stepped through.
fn order(
    ops: &[usize],
    before: &dyn Fn(usize, usize) -> bool,
    step: &dyn Fn(&State, usize) -> Option<State>,
) -> bool {
    fn go(
        left: &[usize],
        state: &State,
        before: &dyn Fn(usize, usize) -> bool,
        step: &dyn Fn(&State, usize) -> Option<State>,
    ) -> bool {
        left.is_empty()
            || left.iter().any(|next| {
                let first = left.iter().all(|other| other == next || !before(*other, *next));
                let rest = || left.iter().copied().filter(|i| i != next).collect::<Vec<_>>();
                first && step(state, *next).is_some_and(|state| go(&rest(), &state, before, step))
            })
    }
    go(ops, &State::new(), before, step)
}

fn all_orders(
    left: &[usize],
    before: &dyn Fn(usize, usize) -> bool,
    taken: &mut Vec<usize>,
    orders: &mut Vec<Vec<usize>>,
) {
    if left.is_empty() {
        orders.push(taken.clone());
        return;
    }
    for next in left {
        if left.iter().all(|other| other == next || !before(*other, *next)) {
            let rest: Vec<usize> = left.iter().copied().filter(|i| i != next).collect();
            taken.push(*next);
            all_orders(&rest, before, taken, orders);
            taken.pop();
        }
    }
}

/// The ids of a history without one operation, without those that observed what only it wrote, and so on.
pub fn without(history: &History, gone: OpId) -> Vec<OpId> {
    let operation = |id: &OpId| (history.operation(*id).action, history.operation(*id).outcome);
    let wrote = |id: &OpId| match operation(id) {
        (_, Outcome::Fail) | (Action::Cas { swapped: false, .. }, Outcome::Ok) => None,
        (Action::Write(value) | Action::Cas { to: value, .. }, _) => Some(value),
        _ => None,
    };
    // What it has to find; a compare-and-set of unknown outcome does something only where it finds it.
    let found = |id: &OpId| match operation(id) {
        (Action::Read(found) | Action::Cas { from: found, swapped: true, .. }, Outcome::Ok)
        | (Action::Cas { from: found, .. }, Outcome::Unknown) => Some(found),
        _ => None,
    };
    let key = |id: &OpId| history.operation(*id).key;
    let sources = |of: &OpId, among: &[OpId]| {
        among.iter().any(|w| w != of && key(w) == key(of) && wrote(w) == found(of))
    };
    let all: Vec<OpId> = history.ids().collect();
    let mut kept: Vec<OpId> = history.ids().filter(|id| *id != gone).collect();
    loop {
        let orphan = |id: &&OpId| found(id).is_some() && sources(id, &all) && !sources(id, &kept);
        let orphans: Vec<OpId> = kept.iter().filter(orphan).copied().collect();
        if orphans.is_empty() {
            return kept;
        }
        kept.retain(|id| !orphans.contains(id));
    }
}
