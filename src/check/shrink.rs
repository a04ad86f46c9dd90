//! Making a violation minimal: leaving out operations for as long as the rest still breaks the model.
//!
//! Delta debugging (Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, TSE 2002) with
//! one rule of its own: a write goes only together with the operations that read its value, or what is left
//! would be wrong for a reason that the history never had. The result is 1-minimal: no operation of it can be
//! left out.
//!
//! Cost: O(n²) checks of ever smaller histories in the worst case, for n operations to begin with; usually far
//! fewer. The checkers hand over small beginnings.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::reads_from::{observed, wrote};
use super::{Answer, Model, Problem};
use crate::history::{Action, History, KeyId, OpId, Outcome, ValueId};

/// The operations of `core` that are left when none can be left out any more.
///
/// When the budget is spent on the way, what has been reached by then is given, and `false`.
pub fn minimal(problem: &Problem<'_>, model: &Model, core: &[OpId]) -> (Vec<OpId>, bool) {
    let history = problem.history.restricted(core);
    let problem = Problem { history: &history, ..*problem };
    let thin_air = has_thin_air(&problem);
    let breaks = |keep: &[OpId]| {
        let history = history.restricted(keep);
        let smaller = Problem { history: &history, ..problem };
        !keep.is_empty()
            && has_thin_air(&smaller) == thin_air
            && matches!(model.check(&smaller), Answer::Violation(_))
    };
    let mut kept: Vec<OpId> = history.ids().collect();
    let mut chunk = kept.len().div_ceil(2).max(1);
    loop {
        let before = kept.len();
        let mut at = 0;
        while at < kept.len() && !problem.budget.is_spent() {
            let smaller = without(&history, &kept, at..(at + chunk).min(kept.len()));
            if breaks(&smaller) {
                kept = smaller;
            } else {
                at += chunk;
            }
        }
        if problem.budget.is_spent() || (chunk == 1 && kept.len() == before) {
            let minimal = chunk == 1 && kept.len() == before && !problem.budget.is_spent();
            return (kept.into_iter().map(|id| core[id.index()]).collect(), minimal);
        }
        chunk = (chunk / 2).max(1);
    }
}

type Written = HashSet<(KeyId, ValueId), FixedState>;

fn written(history: &History, by: &[OpId]) -> Written {
    let pair = |id: &OpId| Some((history.operation(*id).key, wrote(history, *id)?));
    by.iter().filter_map(pair).collect()
}

/// `kept` without a range of it, and without whoever observed what only these wrote.
fn without(history: &History, kept: &[OpId], gone: std::ops::Range<usize>) -> Vec<OpId> {
    let had = written(history, kept);
    let mut gone_ops: Vec<OpId> = kept[gone.clone()].to_vec();
    let mut rest = [&kept[..gone.start], &kept[gone.end..]].concat();
    loop {
        let has = written(history, &rest);
        let orphan = |id: &OpId| {
            let Some(value) = needed(history, *id) else { return false };
            let key = history.operation(*id).key;
            (had.contains(&(key, value)) && !has.contains(&(key, value)))
                || gone_ops.iter().any(|gone| shows(history, *id, *gone))
        };
        let orphans: Vec<OpId> = rest.iter().copied().filter(orphan).collect();
        if orphans.is_empty() {
            return rest;
        }
        rest.retain(|id| !orphans.contains(id));
        gone_ops = orphans;
    }
}

/// The value that an operation has to find in order to do what it did, or may have done.
fn needed(history: &History, id: OpId) -> Option<ValueId> {
    let operation = history.operation(id);
    match (operation.action, operation.outcome) {
        (Action::Cas { from, .. }, Outcome::Unknown) => Some(from),
        _ => observed(history, id),
    }
}

/// Whether a read shows what an append joined.
fn shows(history: &History, read: OpId, append: OpId) -> bool {
    let (read, append) = (history.operation(read), history.operation(append));
    match (read.action, append.action) {
        (Action::Read(text), Action::Append(piece)) if read.key == append.key => {
            history.value(text).contains(history.value(piece))
        }
        _ => false,
    }
}

/// Whether some operation observed a value that nobody else wrote and that was not there initially. What
/// appends make is never written as a whole; there is nothing to be found out for them.
fn has_thin_air(problem: &Problem<'_>) -> bool {
    let history = problem.history;
    if history.operations.iter().any(|op| matches!(op.action, Action::Append(_))) {
        return false;
    }
    let mut writers: HashMap<(KeyId, ValueId), usize, FixedState> = HashMap::default();
    for id in history.ids() {
        if let Some(value) = wrote(history, id) {
            *writers.entry((history.operation(id).key, value)).or_default() += 1;
        }
    }
    history.ids().any(|id| {
        let Some(value) = observed(history, id) else { return false };
        let key = history.operation(id).key;
        let own = usize::from(wrote(history, id) == Some(value));
        value != problem.initial(key) && writers.get(&(key, value)).is_none_or(|n| *n <= own)
    })
}
