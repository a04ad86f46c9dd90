//! How a plan is made smaller.

use super::plan::{Ask, Delay, MS, Plan, PlannedFault, Shape, Step};
use crate::sim::shrink::{Shrinker, Small, simplify_faults};

impl Small for Plan {
    fn pass(shrinker: &mut Shrinker<'_, Self>) {
        for client in (0..shrinker.best.clients.len()).rev() {
            shrinker.with(|plan| drop(plan.clients.remove(client)));
        }
        shrinker.drop_chunks(|plan| plan.faults.len(), |plan, gone| drop(plan.faults.drain(gone)));
        shrinker
            .drop_chunks(|plan| plan.votes_no.len(), |plan, gone| drop(plan.votes_no.drain(gone)));
        shrinker.drop_chunks(Plan::operations, drop_steps);
        for participant in (0..shrinker.best.participants).rev() {
            if shrinker.best.participants > 1 {
                let smaller = without_participant(&shrinker.best, participant);
                shrinker.keeps(smaller);
            }
        }
        simplify_timing(shrinker);
        simplify_faults(shrinker, |plan| &mut plan.faults);
        simplify_commands(shrinker);
    }
}

fn simplify_timing(shrinker: &mut Shrinker<'_, Plan>) {
    let even = Delay { base: MS, jitter: 0, shape: Shape::Constant };
    shrinker.with(|plan| plan.links.fill([even; 2]));
    for at in 0..2 * shrinker.best.links.len() {
        let (link, direction) = (at / 2, at % 2);
        let Delay { base, shape, .. } = shrinker.best.links[link][direction];
        // Only towards what is simpler, or the passes would never end.
        let done = shrinker.with(|plan| plan.links[link][direction] = even);
        if !done && shape != Shape::Constant {
            shrinker.with(|plan| plan.links[link][direction] = Delay { base, ..even });
        }
    }
    shrinker.with(|plan| {
        plan.client_delay = Delay { base: MS / 10, jitter: 0, shape: Shape::Constant };
    });
    shrinker.with(|plan| plan.durable = false);
    shrinker.with(|plan| plan.sync_time = MS);
    shrinker.with(|plan| plan.client_timeout = 1000 * MS);
    shrinker.with(|plan| plan.chunk = 1000);
    shrinker.with(|plan| plan.seed = 0);
}

fn simplify_commands(shrinker: &mut Shrinker<'_, Plan>) {
    shrinker.with(|plan| steps(plan).for_each(|step| step.at = step.at.div_ceil(MS) * MS));
    shrinker.with(|plan| {
        let mut values = 0;
        for step in steps(plan) {
            if let Ask::Set { value, .. } = &mut step.ask {
                values += 1;
                *value = values;
            }
        }
    });
    for number in 0..shrinker.best.operations() {
        shrinker.with(|plan| {
            if let Some(Step { ask: Ask::Del { keys }, .. }) = steps(plan).nth(number) {
                keys.truncate(keys.len().max(2) - 1);
            }
        });
    }
    let keys = shrinker.best.keys();
    for gone in (1..keys).rev() {
        shrinker.with(|plan| steps(plan).for_each(|step| merge_key(&mut step.ask, gone)));
    }
}

/// A command on key 0 instead of this one.
fn merge_key(ask: &mut Ask, gone: u16) {
    match ask {
        Ask::Set { key, .. } | Ask::Get { key } => *key = if *key == gone { 0 } else { *key },
        Ask::Del { keys } => {
            if let Some(at) = keys.iter().position(|key| *key == gone) {
                keys.remove(at);
                if !keys.contains(&0) {
                    keys.push(0);
                }
            }
        }
    }
}

fn steps(plan: &mut Plan) -> impl Iterator<Item = &mut Step> {
    plan.clients.iter_mut().flat_map(|client| &mut client.steps)
}

/// Leaves out commands, counted over all clients.
fn drop_steps(plan: &mut Plan, range: std::ops::Range<usize>) {
    let mut number = 0;
    for client in &mut plan.clients {
        client.steps.retain(|_| {
            number += 1;
            !range.contains(&(number - 1))
        });
    }
}

/// The plan without a participant: the nodes above it move down.
fn without_participant(plan: &Plan, gone: u16) -> Plan {
    let renumber = |id: u16| (id != gone).then_some(id - u16::from(id > gone));
    let mut smaller = plan.clone();
    smaller.participants -= 1;
    smaller.links.remove(usize::from(gone));
    let fault = |planned: &PlannedFault| {
        Some(PlannedFault { at: planned.at, fault: planned.fault.renumbered(renumber)? })
    };
    smaller.faults = plan.faults.iter().filter_map(fault).collect();
    smaller.votes_no.retain(|votes| votes.participant != gone);
    for votes in &mut smaller.votes_no {
        votes.participant -= u16::from(votes.participant > gone);
    }
    smaller
}
