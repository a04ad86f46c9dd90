//! From an order of the writes to an order of everything.
//!
//! Once the order of all changes is fixed, what every key holds at every point of it is fixed too, and
//! processes no longer meet: each one walks along the changes and makes each of its observations at the
//! first point, not before the one where it stands, at which the key holds what was found. Taking the
//! first such point never hurts what follows, so this finds an order with these writes if there is one.
//! It costs a binary search an operation.

use super::super::spec::{State, Step};
use super::program::{NONE, Program};
use super::verify;
use crate::history::OpId;

/// What keys hold, and from which point on. Point `n` is the one behind `n` changes.
struct Timeline {
    /// By key: the points of its changes and what they left.
    versions: Vec<Vec<(u32, State)>>,
    /// Each of those again, sorted by key and state.
    holding: Vec<(u32, State, u32)>,
}

impl Timeline {
    /// `None` where a change is not legal.
    fn of(program: &Program<'_>, changes: &[u32]) -> Option<Self> {
        let initial = |key| vec![(0, program.initial(key))];
        let mut versions: Vec<_> = (0..program.keys as u32).map(initial).collect();
        for (point, number) in changes.iter().enumerate() {
            let node = program.node(*number);
            let version = &mut versions[node.key as usize];
            let &(_, state) = version.last()?;
            let next = program.machine.apply(state, node.step)?;
            if next != state {
                version.push((point as u32 + 1, next));
            }
        }
        let held = |(key, list): (usize, &Vec<(u32, State)>)| {
            let held = |(point, state): &(u32, State)| (key as u32, *state, *point);
            list.iter().map(held).collect::<Vec<_>>()
        };
        let mut holding: Vec<_> = versions.iter().enumerate().flat_map(held).collect();
        holding.sort_unstable();
        Some(Self { versions, holding })
    }

    /// The first point from `from` on at which this observation is legal.
    fn first(&self, key: u32, step: Step, from: u32) -> Option<u32> {
        let versions = &self.versions[key as usize];
        let now = versions.partition_point(|(point, _)| *point <= from) - 1;
        match step {
            Step::Find(state) if versions[now].1 != state => {
                let next = self.holding.partition_point(|entry| *entry <= (key, state, from));
                let &(found, held, point) = self.holding.get(next)?;
                ((found, held) == (key, state)).then_some(point)
            }
            Step::Miss(state) if versions[now].1 == state => {
                versions.get(now + 1).map(|(point, _)| *point)
            }
            _ => Some(from),
        }
    }
}

/// A legal total order in which the operations that change something come in this order, if there is one.
/// Whatever of unknown outcome is not among the changes does not happen.
pub(super) fn complete(program: &Program<'_>, changes: &[u32]) -> Option<Vec<OpId>> {
    let timeline = Timeline::of(program, changes)?;
    let mut point_of = vec![NONE; program.nodes.len()];
    for (point, number) in changes.iter().enumerate() {
        point_of[*number as usize] = point as u32;
    }
    let mut observations = Vec::with_capacity(program.nodes.len());
    for chain in &program.chains {
        let mut here = 0;
        for number in chain {
            let node = program.node(*number);
            if node.step.only_observes() {
                here = timeline.first(node.key, node.step, here)?;
                observations.push((here, node.op));
                continue;
            }
            let point = point_of[*number as usize];
            if point == NONE || point < here {
                return None;
            }
            here = point + 1;
        }
    }
    // Stable: what a process observed at one point stays in its order.
    observations.sort_by_key(|(point, _)| *point);
    let mut observations = observations.into_iter().peekable();
    let mut order = Vec::with_capacity(program.nodes.len());
    for (point, number) in changes.iter().enumerate() {
        while let Some((_, op)) = observations.next_if(|(at, _)| *at <= point as u32) {
            order.push(op);
        }
        order.push(program.node(*number).op);
    }
    order.extend(observations.map(|(_, op)| op));
    verify::is_legal(program.problem, program.machine, &order).then_some(order)
}
