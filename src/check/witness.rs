//! A violation that a person can follow: the fewest operations, which read is wrong, what it should have
//! returned, and why.

use super::explain::contradiction;
use super::models::View;
use super::reads_from::{observed, wrote};
use super::{Answer, Model, Problem, shrink};
use crate::history::{Action, Clock, History, OpId, Operation, Outcome, ValueId};

/// Why a history breaks a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The operations, of which none can be left out; in the order of their invocations.
    pub operations: Vec<OpId>,
    /// The operation that observed what it should not have, if one can be named.
    pub culprit: Option<OpId>,
    /// What it could have returned without breaking the model; empty where nothing would do.
    pub expected: Vec<String>,
    /// The argument, a sentence a line; operations are numbered from 1 in the order of `operations`.
    pub why: Vec<String>,
}

impl Witness {
    /// The witness that `core` contains. It violates the model, as [`Answer::Violation`] says.
    pub fn find(problem: &Problem<'_>, model: &Model, core: &[OpId]) -> Self {
        let (operations, minimal) = shrink::minimal(problem, model, core);
        let history = problem.history.restricted(&operations);
        let small = Problem { history: &history, ..*problem };
        let (culprit, mut expected) = culprit(&small, model);
        if let Some(id) = culprit
            && history.operations.len() < problem.history.operations.len()
        {
            expected = confirmed(problem, model, operations[id.index()], expected);
        }
        let expected =
            expected.into_iter().map(|value| shown(problem.history.value(value))).collect();
        let mut why = why(&small, model, culprit);
        if !minimal {
            why.push("(The budget was spent before this was as small as it can be.)".to_owned());
        }
        let culprit = culprit.map(|id| operations[id.index()]);
        Self { operations, culprit, expected, why }
    }
}

/// The read to blame, and what would have been right: the last one whose answer, alone, can be mended.
fn culprit(problem: &Problem<'_>, model: &Model) -> (Option<OpId>, Vec<ValueId>) {
    let history = problem.history;
    if history.operations.iter().any(|op| matches!(op.action, Action::Append(_))) {
        // Reads of strings that appends make: which answer is right is not one of the written values.
        return (None, Vec::new());
    }
    let mut reads: Vec<OpId> =
        history.ids().filter(|id| observed(history, *id).is_some()).collect();
    reads.sort_by_key(|id| history.operation(*id).invoked);
    for read in reads.iter().rev() {
        let expected: Vec<ValueId> = candidates(problem, *read)
            .into_iter()
            .filter(|value| holds_with(problem, model, *read, *value))
            .collect();
        if !expected.is_empty() {
            return (Some(*read), expected);
        }
    }
    (reads.last().copied(), Vec::new())
}

/// In histories of up to so many operations, what would have been right is looked for in the whole.
const CONFIRMED_UP_TO: usize = 2_000;

/// What the whole history allows in place of a wrong answer: the witness alone may allow more, because what
/// it does not need was left out. Nothing where the whole has other faults, or is large.
fn confirmed(
    problem: &Problem<'_>,
    model: &Model,
    read: OpId,
    expected: Vec<ValueId>,
) -> Vec<ValueId> {
    if problem.history.operations.len() > CONFIRMED_UP_TO {
        // A value that is right in the excerpt may be wrong in the whole only if a newer one was left out.
        return if expected.contains(&ValueId::NIL) { Vec::new() } else { expected };
    }
    let holds = |value: &ValueId| holds_with(problem, model, read, *value);
    candidates(problem, read).into_iter().filter(holds).take(MOST_EXPECTED).collect()
}

/// More answers than this that would have been right are not listed.
const MOST_EXPECTED: usize = 6;

/// The values that a read could have returned: the initial one and all that were written to its key. (What
/// appends make is not among them.)
fn candidates(problem: &Problem<'_>, read: OpId) -> Vec<ValueId> {
    let history = problem.history;
    let key = history.operation(read).key;
    // What was written only afterwards would not be the answer that anybody expects.
    let asked = history.operation(read);
    let in_time = |id: &OpId| {
        history.clock == Clock::ProcessOrder || history.operation(*id).invoked < asked.completed
    };
    let written = history.ids().filter(|id| history.operation(*id).key == key).filter(in_time);
    let mut values = vec![problem.initial(key)];
    for value in written.filter_map(|id| wrote(history, id)) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    let found = observed(history, read);
    values.retain(|value| Some(*value) != found);
    values
}

fn holds_with(problem: &Problem<'_>, model: &Model, read: OpId, value: ValueId) -> bool {
    let mut history = problem.history.clone();
    match &mut history.operations[read.index()].action {
        Action::Read(found) => *found = value,
        _ => return false,
    }
    model.check(&Problem { history: &history, ..*problem }) == Answer::Valid
}

fn why(problem: &Problem<'_>, model: &Model, culprit: Option<OpId>) -> Vec<String> {
    let history = problem.history;
    if let Some(id) = thin_air(problem) {
        let operation = history.operation(id);
        let value = observed(history, id).map_or("?", |value| history.value(value));
        let key = history.key(operation.key);
        return vec![format!("Nobody ever wrote {value} to {key}, and it did not begin with it.")];
    }
    if model.view == View::FinalReads {
        return vec![
            "All writing had ended, and every replica was to hold the same from then on."
                .to_owned(),
        ];
    }
    if let Some(lines) = contradiction(problem, model.view) {
        return lines;
    }
    let order = match model.view {
        View::RealTime => "respects real time (what had ended before another began comes first)",
        _ => "keeps the order in which each process did them",
    };
    let mut lines = vec![format!(
        "No order of these {} operations that {order} gives these answers; all were tried.",
        history.operations.len()
    )];
    if let Some(id) = culprit {
        lines.push(format!("Without operation {} there is such an order.", id.0 + 1));
    }
    lines
}

fn thin_air(problem: &Problem<'_>) -> Option<OpId> {
    let history = problem.history;
    if history.operations.iter().any(|op| matches!(op.action, Action::Append(_) | Action::Other(_)))
    {
        return None;
    }
    history.ids().find(|id| {
        let key = history.operation(*id).key;
        observed(history, *id).is_some_and(|value| {
            value != problem.initial(key)
                && !history.ids().any(|w| {
                    w != *id && history.operation(w).key == key && wrote(history, w) == Some(value)
                })
        })
    })
}

/// The longest text of a name or a value that is shown whole, in characters.
const LONGEST_SHOWN: usize = 40;

/// A name or a value for a terminal: cut where it is long, and without characters that control anything.
pub fn shown(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars().take(LONGEST_SHOWN) {
        if letter.is_control() { out.extend(letter.escape_default()) } else { out.push(letter) }
    }
    if text.chars().nth(LONGEST_SHOWN).is_some() {
        out += &format!("… ({} bytes)", text.len());
    }
    out
}

/// An operation in words: `writes x = 1`, `reads x = nil`.
pub fn describe(history: &History, operation: &Operation) -> String {
    let key = shown(history.key(operation.key));
    let text = |value| shown(history.value(value));
    let key = if key.is_empty() { "the register" } else { &key };
    match operation.action {
        Action::Read(value) if operation.outcome == Outcome::Ok => {
            format!("reads {key} = {}", text(value))
        }
        Action::Read(_) => format!("reads {key}"),
        Action::Write(ValueId::NIL) => format!("deletes {key}"),
        Action::Write(value) => format!("writes {key} = {}", text(value)),
        Action::Append(value) => format!("appends {} to {key}", text(value)),
        Action::Cas { from, to, swapped } => {
            let found = match (operation.outcome, swapped) {
                (Outcome::Ok, true) => ": done",
                (Outcome::Ok, false) => ": it was not",
                _ => "",
            };
            format!("sets {key} from {} to {}{found}", text(from), text(to))
        }
        Action::Other(name) => format!("{} {key}", text(name)),
    }
}

/// From when to when an operation ran, in words.
pub fn interval(history: &History, operation: &Operation) -> String {
    let from = instant(history.clock, operation.invoked_at);
    match (operation.outcome, operation.completed_at) {
        (Outcome::Unknown, _) => format!("from {from}, outcome unknown"),
        (_, Some(until)) => format!("{from} to {}", instant(history.clock, until)),
        (_, None) => format!("from {from}"),
    }
}

/// A time of a history in words.
pub fn instant(clock: Clock, at: u64) -> String {
    match clock {
        Clock::Nanoseconds => format!("{:.3} ms", at as f64 / 1e6),
        Clock::Steps | Clock::ProcessOrder => format!("#{at}"),
    }
}
