//! Short chains of causality, for witnesses.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::check::order::{INITIAL, NONE, Trace};

/// The operations of a chain that shows that one operation is in the causal past of another: with as few
/// steps from process to process as possible, and of each process only those where the chain comes and goes.
pub fn chain(trace: &Trace, from: u32, to: u32) -> Vec<u32> {
    let mut towards: HashMap<u32, (u32, bool), foldhash::fast::FixedState> = HashMap::default();
    let mut open = VecDeque::from([(to, NONE, false)]);
    while let Some((place, next, program)) = open.pop_front() {
        if towards.contains_key(&place) {
            continue;
        }
        towards.insert(place, (next, program));
        if place == from {
            break;
        }
        let (before, source) = (trace.before[place as usize], trace.source[place as usize]);
        if source < INITIAL {
            open.push_back((source, place, false));
        }
        if before != NONE {
            open.push_front((before, place, true));
        }
    }
    let mut found = vec![from];
    let (mut place, mut came_by_program) = (from, false);
    while let Some((next, program)) = towards.get(&place).copied().filter(|step| step.0 != NONE) {
        if !(came_by_program && program) {
            found.push(place);
        }
        (place, came_by_program) = (next, program);
    }
    found.push(to);
    found
}
