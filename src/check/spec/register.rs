//! A register: a read returns what the last write wrote. The state of a key is the number of its value.

use super::{Meaning, Spec, State, Step, initial_values};
use crate::check::Problem;
use crate::history::{Action, KeyId, Operation, Outcome, ValueId};

/// The specification.
pub(super) const SPEC: Spec = Spec {
    name: "register",
    about: "reads and writes",
    takes: |action| matches!(action, Action::Read(_) | Action::Write(_)),
    prepare: |problem| Ok(Box::new(Register::of(problem))),
};

/// Registers that know what they hold at first, for every specification that is a register and more.
#[derive(Debug)]
pub(super) struct Register {
    initial: Vec<ValueId>,
    elsewhere: ValueId,
}

impl Register {
    /// The registers of a problem.
    pub(super) fn of(problem: &Problem<'_>) -> Self {
        Self { initial: initial_values(problem), elsewhere: problem.initial }
    }
}

/// The state in which a register holds a value.
pub(super) fn holds(value: ValueId) -> State {
    State(value.0)
}

impl Meaning for Register {
    fn initial(&self, key: KeyId) -> State {
        holds(self.initial.get(key.0 as usize).copied().unwrap_or(self.elsewhere))
    }

    fn step(&self, operation: &Operation) -> Step {
        match (operation.action, operation.outcome) {
            (Action::Read(value), Outcome::Ok) => Step::Find(holds(value)),
            (Action::Write(value), _) => Step::Put(holds(value)),
            _ => Step::Idle,
        }
    }
}
