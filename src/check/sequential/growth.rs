//! Keys whose states only grow, turned into registers.
//!
//! A string that is only ever appended to shows its whole past: the longest string that was read tells which append
//! came first, which second, and so on, wherever each next piece can only be that of one operation. Then an append
//! *is* a compare-and-set, from what it found to what it made of it, and those that the string does not
//! contain come behind all of them. With such steps all the rest of this folder works as it does for registers with unique
//! values, and needs no search.
//!
//! Keys where the pieces are not unique, or which are also written as a whole, stay as they are.
//!
//! # Cost
//!
//! Each piece of the string is sought among all appends of the key that are not placed yet; after
//! [`MAX_LOOKS`] looks altogether the remaining keys stay as they are.

use super::super::spec::{State, Step};
use super::program::Program;

/// How many appends are looked at, at most.
const MAX_LOOKS: usize = 20_000_000;

/// Turns every key into a register where that is possible.
pub(super) fn unfold(program: &mut Program<'_>) {
    if !program.machine.only_grows() {
        return;
    }
    let mut of_key = vec![Vec::new(); program.keys];
    for number in program.numbers() {
        of_key[program.node(number).key as usize].push(number);
    }
    let mut looks = 0;
    for (key, nodes) in of_key.iter().enumerate() {
        if !program.opaque[key] {
            continue;
        }
        if let Some((anchor, steps)) = steps(program, key as u32, nodes, &mut looks) {
            program.opaque[key] = false;
            program.anchor[key] = Some(anchor);
            for (node, step) in steps {
                program.nodes[node as usize].step = step;
            }
        }
    }
}

/// The steps of a register that the appends of a key are, and the read that shows it.
fn steps(
    program: &Program<'_>,
    key: u32,
    nodes: &[u32],
    looks: &mut usize,
) -> Option<(u32, Vec<(u32, Step)>)> {
    let machine = program.machine;
    let mut longest: Option<(u32, State)> = None;
    let mut highest = State(0);
    let mut appends = Vec::new();
    for number in nodes {
        match program.node(*number).step {
            Step::Own(_) => appends.push(*number),
            Step::Find(state) => {
                highest = highest.max(state);
                let longer = |(_, known)| known != state && machine.may_become(known, state);
                if longest.is_none_or(longer) {
                    longest = Some((*number, state));
                }
            }
            // Written as a whole: its past is not in its end.
            _ => return None,
        }
    }
    let (anchor, end) = longest?;
    let mut steps = Vec::with_capacity(appends.len());
    let mut now = program.initial(key);
    while now != end {
        let Some((place, next)) = next_piece(program, &appends, now, end, looks)? else { break };
        let append = appends.remove(place);
        steps.push((append, Step::Swap { from: now, to: next }));
        now = next;
    }
    for append in appends {
        // A state of its own, that nobody finds.
        let beyond = State(u32::MAX - 1 - append);
        if beyond <= highest || machine.may_become(beyond, end) {
            return None;
        }
        steps.push((append, Step::Put(beyond)));
    }
    Some((anchor, steps))
}

/// The only append that can come next on the way to `end`, and what it leaves; `Some(None)` where none can, and `None`
/// where more than one can.
fn next_piece(
    program: &Program<'_>,
    appends: &[u32],
    now: State,
    end: State,
    looks: &mut usize,
) -> Option<Option<(usize, State)>> {
    *looks += appends.len();
    if *looks > MAX_LOOKS {
        return None;
    }
    let leads = |(place, number): (usize, &u32)| {
        let next = program.machine.apply(now, program.node(*number).step)?;
        program.machine.may_become(next, end).then_some((place, next))
    };
    let mut leading = appends.iter().enumerate().filter_map(leads);
    match (leading.next(), leading.next()) {
        (only, None) => Some(only),
        _ => None,
    }
}
