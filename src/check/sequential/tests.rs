//! Classic histories, a brute-force checker to agree with, and runs of a simulated store.

mod brute;
mod classic;
mod random;
mod store;

use super::*;
use crate::check::{Budget, spec::Spec};
use crate::history::{Action, Builder, Clock, Completion, History, Invocation, Outcome, Told};
use crate::history::{OpId, ValueId};

/// One operation of a history to be made.
#[derive(Clone, Debug)]
pub(super) struct Line {
    process: u32,
    key: u32,
    /// `r`, `w`, `a` (append), `c` (compare-and-set), `m` (one that missed).
    kind: char,
    /// The value; 0 is the absent one.
    value: u32,
    /// What a compare-and-set is to find.
    from: u32,
    outcome: Outcome,
}

fn text(value: u32) -> Option<String> {
    (value > 0).then(|| value.to_string())
}

/// The history of these operations; each ends just before the next of its process begins, or at the end.
fn history(lines: &[Line]) -> History {
    let mut builder = Builder::new(Clock::Steps);
    let mut open: Vec<Option<&Line>> = vec![None; 16];
    for line in lines {
        close(&mut builder, open[line.process as usize].replace(line));
        let key = builder.key(&format!("k{}", line.key));
        let value = builder.value(text(line.value).as_deref());
        let from = builder.value(text(line.from).as_deref());
        let action = match line.kind {
            'r' => Action::Read(value),
            'w' => Action::Write(value),
            'a' => Action::Append(value),
            kind => Action::Cas { from, to: value, swapped: kind == 'c' },
        };
        let process = &format!("p{}", line.process);
        let invocation = Invocation { process, key, action, replica: None, at: None };
        builder.invoke(invocation).expect("its process is free");
    }
    for line in open {
        close(&mut builder, line);
    }
    builder.finish()
}

fn close(builder: &mut Builder, line: Option<&Line>) {
    if let Some(line) = line {
        let process = &format!("p{}", line.process);
        let completion =
            Completion { process, outcome: line.outcome, told: Told::Nothing, at: None };
        builder.complete(completion).expect("it is open");
    }
}

fn problem<'a>(history: &'a History, spec: &str) -> Problem<'a> {
    let spec = Spec::find(spec).expect("a specification of this name");
    Problem { history, spec, initial: ValueId::NIL, budget: Budget::unlimited() }
}

/// Checks that a violation is a proof: the part is closed and refuted by itself.
fn assert_proof(history: &History, spec: &str, core: &[OpId]) {
    assert!(core.is_sorted(), "in the order of invocation");
    let part = history.restricted(core);
    assert!(!brute::is_valid(&problem(&part, spec)), "the core is a violation: {core:?}");
    for op in core {
        if let (Some(value), false) = (history.operation(*op).read(), spec == "append") {
            let key = history.operation(*op).key;
            for other in history.ids().filter(|id| history.operation(*id).key == key) {
                let wrote = crate::check::reads_from::wrote(history, other) == Some(value);
                let action = history.operation(other).action;
                // A compare-and-set that leaves what it found is not where that comes from.
                let idle = matches!(action, Action::Cas { from, to, .. } if from == to);
                let may_be = history.operation(other).matters() && wrote && !idle;
                assert!(!may_be || core.contains(&other), "{other:?} is a source of {op:?}");
            }
        }
    }
}
