//! What operations mean: the sequential specifications, one file each.
//!
//! A specification says what a key holds at first, in which states of the key an operation could have
//! observed what it did, and what it makes of them. Adding one is one file with a [`Meaning`] and one line in
//! [`SPECS`].
//!
//! # For a hot loop
//!
//! Searches ask 'what does this operation do in this state?' many millions of times. So a [`Machine`] asks
//! the specification once for each operation, and gets a [`Step`]: a small value that says it all, in which
//! a search can also *see* what it needs in order to cut branches (does it only observe? do two do the same?).
//! A [`State`] is a number. Only what no other step can express ([`Step::Own`]) calls the specification again.
//!
//! # Unknown outcomes
//!
//! An operation of unknown outcome has its effect and observes nothing, so its step is legal everywhere; that
//! it may also never take effect is the search's business. An operation that does not
//! [matter](Operation::matters) has the step [`Step::Idle`].

mod append;
mod cas_register;
mod register;

use std::fmt;

use super::Problem;
use crate::history::{Action, History, KeyId, OpId, Operation};

/// What a key holds, as a number that its specification gave it. Equal numbers are equal states of one key;
/// of two keys they mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State(pub u32);

/// What one operation found in the state of its key, and what it makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Tells nothing and changes nothing.
    Idle,
    /// Found this state.
    Find(State),
    /// Found any other state than this one.
    Miss(State),
    /// Leaves this state, whatever was there.
    Put(State),
    /// Found one state and leaves another.
    Swap {
        /// What it found.
        from: State,
        /// What it leaves.
        to: State,
    },
    /// Leaves `to` where it finds `from`, and changes nothing elsewhere: a swap that nobody saw.
    Try {
        /// Where it has an effect.
        from: State,
        /// What it leaves there.
        to: State,
    },
    /// Changes the state as only the specification knows, and is legal where it says so. Equal numbers mean
    /// the same change.
    Own(u32),
}

impl Step {
    /// Whether it leaves every state as it is. Where such a step is legal it can be taken at once: no other
    /// order of what remains is lost by it.
    pub fn only_observes(self) -> bool {
        matches!(self, Step::Idle | Step::Find(_) | Step::Miss(_))
    }

    /// The state that it must have found, where there is just one.
    pub fn found(self) -> Option<State> {
        match self {
            Step::Find(state) | Step::Swap { from: state, .. } => Some(state),
            _ => None,
        }
    }

    /// The state that it leaves where it takes effect, where that does not depend on what it found.
    pub fn leaves(self) -> Option<State> {
        match self {
            Step::Put(state) | Step::Swap { to: state, .. } | Step::Try { to: state, .. } => {
                Some(state)
            }
            _ => None,
        }
    }
}

/// A specification, made ready for the operations of one problem.
pub trait Meaning: Sync + fmt::Debug {
    /// What a key holds at first.
    fn initial(&self, key: KeyId) -> State;

    /// What an operation does that matters and whose action the specification takes.
    fn step(&self, operation: &Operation) -> Step;

    /// Whether nothing can be found in this state any more, whichever [`Step::Own`] are taken from it.
    fn lost(&self, state: State) -> bool {
        let _ = state;
        false
    }

    /// What [`Step::Own`] of this number makes of a state; `None` where it is not legal.
    fn own(&self, state: State, number: u32) -> Option<State> {
        let _ = number;
        Some(state)
    }

    /// Whether [`Step::Own`] is legal everywhere and never leads back to a state that there was before.
    fn only_grows(&self) -> bool {
        false
    }

    /// Whether one state may come behind another by steps of the kind [`Step::Own`] alone, whichever they are.
    fn may_become(&self, from: State, to: State) -> bool {
        let _ = (from, to);
        true
    }
}

/// A sequential specification.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it describes, in a few words.
    pub about: &'static str,
    /// Whether it says what this action means.
    pub takes: fn(Action) -> bool,
    prepare: for<'a> fn(&Problem<'a>) -> Result<Box<dyn Meaning + 'a>, String>,
}

/// The one list of specifications; the first is the default.
pub const SPECS: &[Spec] = &[register::SPEC, cas_register::SPEC, append::SPEC];

impl Spec {
    /// The specification of this name.
    pub fn find(name: &str) -> Option<&'static Spec> {
        SPECS.iter().find(|spec| spec.name == name)
    }
}

/// The operations of one problem as steps.
#[derive(Debug)]
pub struct Machine<'a> {
    meaning: Box<dyn Meaning + 'a>,
    steps: Vec<Step>,
    initial: Vec<State>,
}

impl<'a> Machine<'a> {
    /// Prepares the specification of a problem for its history.
    ///
    /// # Errors
    /// Where the specification does not say what an operation means (and it matters), with the reason for an
    /// [`Answer::Unknown`](super::Answer::Unknown).
    pub fn of(problem: &Problem<'a>) -> Result<Self, String> {
        let history = problem.history;
        let stranger = history.ids().find(|id| {
            let operation = history.operation(*id);
            operation.matters() && !(problem.spec.takes)(operation.action)
        });
        if let Some(id) = stranger {
            return Err(not_described(history, problem.spec, id));
        }
        let meaning = (problem.spec.prepare)(problem)?;
        let step = |operation: &Operation| {
            if operation.matters() { meaning.step(operation) } else { Step::Idle }
        };
        let steps = history.operations.iter().map(step).collect();
        let initial = (0..history.keys.len()).map(|key| meaning.initial(KeyId(key as u32)));
        let initial = initial.collect();
        Ok(Self { meaning, steps, initial })
    }

    /// What a key holds at first.
    pub fn initial(&self, key: KeyId) -> State {
        match self.initial.get(key.0 as usize) {
            Some(state) => *state,
            None => self.meaning.initial(key),
        }
    }

    /// Whether [`Step::Own`] is legal everywhere and never leads back to a state that there was before.
    pub fn only_grows(&self) -> bool {
        self.meaning.only_grows()
    }

    /// Whether one state may come behind another by steps of the kind [`Step::Own`] alone.
    pub fn may_become(&self, from: State, to: State) -> bool {
        self.meaning.may_become(from, to)
    }

    /// What an operation does.
    pub fn step(&self, id: OpId) -> Step {
        self.steps[id.index()]
    }

    /// Whether no [`Step::Find`] is legal from this state on, as long as all other steps are [`Step::Own`].
    pub fn lost(&self, state: State) -> bool {
        self.meaning.lost(state)
    }

    /// The state after a step; `None` where it cannot have observed what it did.
    #[inline]
    pub fn apply(&self, state: State, step: Step) -> Option<State> {
        match step {
            Step::Idle => Some(state),
            Step::Find(found) => (found == state).then_some(state),
            Step::Miss(other) => (other != state).then_some(state),
            Step::Put(to) => Some(to),
            Step::Swap { from, to } => (from == state).then_some(to),
            Step::Try { from, to } => Some(if from == state { to } else { state }),
            Step::Own(number) => self.meaning.own(state, number),
        }
    }
}

/// Names an action for people.
fn action_name(history: &History, action: Action) -> &str {
    match action {
        Action::Read(_) => "read",
        Action::Write(_) => "write",
        Action::Cas { .. } => "cas",
        Action::Append(_) => "append",
        Action::Other(name) => history.value(name),
    }
}

fn not_described(history: &History, spec: &Spec, id: OpId) -> String {
    let operation = history.operation(id);
    let action = action_name(history, operation.action);
    let takers = SPECS.iter().filter(|spec| (spec.takes)(operation.action));
    let takers: Vec<_> = takers.map(|spec| format!("--spec {}", spec.name)).collect();
    let advice = match takers.as_slice() {
        [] => "no specification here does".to_owned(),
        takers => format!("try {}", takers.join(" or ")),
    };
    format!(
        "specification {} does not say what `{action}` means (operation {}, of process {} on key {}); \
         {advice}",
        spec.name,
        id.0,
        history.process(operation.process),
        history.key(operation.key),
    )
}

/// What keys hold at first, by key, without a search through the list for each.
fn initial_values(problem: &Problem<'_>) -> Vec<crate::history::ValueId> {
    let mut values = vec![problem.initial; problem.history.keys.len()];
    // The first entry of a key holds, as in `Problem::initial`.
    for (key, value) in problem.history.initial.iter().rev() {
        if let Some(slot) = values.get_mut(key.0 as usize) {
            *slot = *value;
        }
    }
    values
}

#[cfg(test)]
mod tests;
