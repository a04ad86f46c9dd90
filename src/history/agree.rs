//! Whether a completion fits its invocation.

use super::error::{Place, ReadError};
use super::{Action, Builder, History, ProcessId, Told, ValueId};

/// Compares what a completion told with the open operation of its process.
///
/// What a read found is new. An operation without a specification here may turn out to be any other. All
/// else must be as it was invoked; a missing value says nothing. That a process has no open operation is not
/// said here.
pub(super) fn check(
    builder: &Builder,
    process: ProcessId,
    told: Told,
    place: impl Fn() -> Place,
) -> Result<(), ReadError> {
    let Some(operation) = builder.open(process) else { return Ok(()) };
    let agrees = match (operation.action, told) {
        (_, Told::Nothing)
        | (Action::Other(_), _)
        | (Action::Read(_), Told::Value(_) | Told::Action(Action::Read(_)))
        | (Action::Cas { .. }, Told::Swapped(_)) => true,
        (Action::Write(asked) | Action::Append(asked), Told::Value(value)) => {
            value == asked || value == ValueId::NIL
        }
        (
            Action::Cas { from, to, .. },
            Told::Action(Action::Cas { from: told_from, to: told_to, .. }),
        ) => (from, to) == (told_from, told_to),
        (asked, Told::Action(told)) => asked == told,
        (_, Told::Value(_) | Told::Swapped(_)) => false,
    };
    if agrees {
        return Ok(());
    }
    let history = builder.history();
    let key = history.key(operation.key);
    let found = match told {
        Told::Nothing => String::new(),
        Told::Value(value) => format!("the value {}", history.value(value)),
        Told::Swapped(swapped) => format!("a compare-and-set (swapped: {swapped})"),
        Told::Action(action) => describe(history, key, action),
    };
    let name = history.process(process);
    let invoked = describe(history, key, operation.action);
    let expected = format!("the completion of what process {name} invoked ({invoked})");
    Err(ReadError::Malformed { place: place(), expected, found })
}

fn describe(history: &History, key: &str, action: Action) -> String {
    let text = |value| history.value(value);
    match action {
        Action::Read(_) => format!("read {key}"),
        Action::Write(value) => format!("write {key} {}", text(value)),
        Action::Cas { from, to, .. } => format!("cas {key} {} {}", text(from), text(to)),
        Action::Append(value) => format!("append {key} {}", text(value)),
        Action::Other(name) => format!("{} {key}", text(name)),
    }
}
