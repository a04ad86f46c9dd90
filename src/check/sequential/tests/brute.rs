//! Sequential consistency by the definition: all interleavings, and nothing clever.

use std::collections::BTreeMap;

use crate::check::Problem;
use crate::history::{Action, KeyId, OpId, Outcome, ValueId};

type States = BTreeMap<KeyId, String>;

/// Whether some interleaving is legal.
pub(in super::super) fn is_valid(problem: &Problem<'_>) -> bool {
    let history = problem.history;
    let matters = history.ids().filter(|id| history.operation(*id).matters());
    any_order(problem, &matters.collect::<Vec<_>>(), &States::new())
}

/// Whether the rest can be put in order from here.
fn any_order(problem: &Problem<'_>, rest: &[OpId], states: &States) -> bool {
    let history = problem.history;
    let is_ok = |id: &OpId| history.operation(*id).outcome == Outcome::Ok;
    if !rest.iter().any(is_ok) {
        return true;
    }
    rest.iter().enumerate().any(|(place, id)| {
        let process = history.operation(*id).process;
        let behind =
            |earlier: &OpId| is_ok(earlier) && history.operation(*earlier).process == process;
        if rest[..place].iter().any(behind) {
            return false;
        }
        let mut states = states.clone();
        let mut rest = rest.to_vec();
        rest.remove(place);
        apply(problem, *id, &mut states) && any_order(problem, &rest, &states)
    })
}

fn apply(problem: &Problem<'_>, id: OpId, states: &mut States) -> bool {
    let history = problem.history;
    let operation = history.operation(id);
    // The absent value and the empty string are one to strings, and no other value is empty.
    let text = |value: ValueId| match value {
        ValueId::NIL => String::new(),
        value => history.value(value).to_owned(),
    };
    let initial = || text(problem.initial(operation.key));
    let state = states.entry(operation.key).or_insert_with(initial);
    let is_ok = operation.outcome == Outcome::Ok;
    match operation.action {
        Action::Read(value) => *state == text(value),
        Action::Write(value) => {
            *state = text(value);
            true
        }
        Action::Append(value) => {
            state.push_str(&text(value));
            true
        }
        Action::Cas { from, swapped: false, .. } if is_ok => *state != text(from),
        Action::Cas { from, to, .. } => {
            let swaps = *state == text(from);
            if swaps {
                *state = text(to);
            }
            swaps || !is_ok
        }
        Action::Other(_) => false,
    }
}
