//! What a failed search says: few operations of one key that are not linearizable by themselves.

use super::part::in_order;
use super::plan::{NONE, Plan};
use crate::history::OpId;

/// The operations that cannot pass the end of this rank.
pub(super) fn cut(plan: &Plan, rank: usize) -> Vec<OpId> {
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
