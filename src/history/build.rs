//! Building a history out of its events, one at a time, in the order in which they happened.
//!
//! Every reader and every recorder goes through here, so there is one place that knows what a well-formed
//! history is: a process has at most one open operation, and completes only what it has invoked.

use hashbrown::HashMap;
use thiserror::Error;

use super::{
    Action, Clock, Delivery, History, KeyId, NEVER, NIL_TEXT, Names, OpId, Operation, Outcome,
    ProcessId, ValueId,
};
use crate::base::ReplicaId;

/// Why an event does not fit the history so far.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// A second invocation.
    #[error(
        "process {process} invokes an operation while its last one is still open; expected a \
         completion (ok, fail or info) first"
    )]
    StillOpen {
        /// Whose.
        process: String,
    },
    /// A completion of nothing.
    #[error("process {process} completes an operation that it has not invoked")]
    NotInvoked {
        /// Whose.
        process: String,
    },
    /// More events than there are numbers.
    #[error("the history has more than {} events", u32::MAX - 1)]
    TooLong,
}

/// An invocation.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// Who asks.
    pub process: &'a str,
    /// What about.
    pub key: KeyId,
    /// What for. What a read returns is not known yet; any value will do.
    pub action: Action,
    /// Whom, where that is known.
    pub replica: Option<ReplicaId>,
    /// When; `None` where the format has no times.
    pub at: Option<u64>,
}

/// What a completion tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing beyond what the invocation said.
    Nothing,
    /// The value that was read.
    Value(ValueId),
    /// Whether a compare-and-set found what it was to find.
    Swapped(bool),
    /// The operation turned out to be this one (an increment that says what it made of the value).
    Action(Action),
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// Whose.
    pub process: &'a str,
    /// How it ended.
    pub outcome: Outcome,
    /// What it told.
    pub told: Told,
    /// When; `None` where the format has no times.
    pub at: Option<u64>,
}

/// A history in the making.
#[derive(Debug)]
pub struct Builder {
    history: History,
    /// The open operation of each process.
    open: Vec<Option<OpId>>,
    events: u32,
    by_write: HashMap<(KeyId, ValueId), OpId, foldhash::fast::FixedState>,
}

impl Builder {
    /// An empty history whose times are these.
    pub fn new(clock: Clock) -> Self {
        let mut values = Names::default();
        values.id(NIL_TEXT);
        let history = History { clock, values, ..History::default() };
        Self { history, open: Vec::new(), events: 0, by_write: HashMap::default() }
    }

    /// The history so far; names, the claim, faults and messages may be added to it directly.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// The number of a key.
    pub fn key(&mut self, text: &str) -> KeyId {
        KeyId(self.history.keys.id(text))
    }

    /// The number of a value. A present value that reads `nil` is told apart from the absent one.
    pub fn value(&mut self, text: Option<&str>) -> ValueId {
        match text {
            None => ValueId::NIL,
            Some(NIL_TEXT) => ValueId(self.history.values.id("\"nil\"")),
            Some(text) => ValueId(self.history.values.id(text)),
        }
    }

    fn process(&mut self, name: &str) -> ProcessId {
        let id = self.history.processes.id(name);
        self.open.resize(self.history.processes.len(), None);
        ProcessId(id)
    }

    fn event(&mut self) -> Result<u32, BuildError> {
        let number = self.events;
        if number >= NEVER - 1 {
            return Err(BuildError::TooLong);
        }
        self.events += 1;
        Ok(number)
    }

    /// Adds an invocation.
    ///
    /// # Errors
    /// When the process has an open operation, or the history is too long.
    pub fn invoke(&mut self, invocation: Invocation<'_>) -> Result<OpId, BuildError> {
        let process = self.process(invocation.process);
        let slot = process.0 as usize;
        if self.open[slot].is_some() {
            return Err(BuildError::StillOpen { process: invocation.process.to_owned() });
        }
        let invoked = self.event()?;
        let id = OpId(self.history.operations.len() as u32);
        self.open[slot] = Some(id);
        self.history.operations.push(Operation {
            process,
            key: invocation.key,
            action: invocation.action,
            outcome: Outcome::Unknown,
            replica: invocation.replica,
            invoked,
            completed: NEVER,
            invoked_at: invocation.at.unwrap_or(u64::from(invoked)),
            completed_at: None,
        });
        if let Action::Write(value) | Action::Append(value) | Action::Cas { to: value, .. } =
            invocation.action
        {
            self.by_write.insert((invocation.key, value), id);
        }
        Ok(id)
    }

    /// Adds a completion.
    ///
    /// # Errors
    /// When the process has no open operation, or the history is too long.
    pub fn complete(&mut self, completion: Completion<'_>) -> Result<OpId, BuildError> {
        let process = self.process(completion.process);
        let Some(id) = self.open[process.0 as usize].take() else {
            return Err(BuildError::NotInvoked { process: completion.process.to_owned() });
        };
        let completed = self.event()?;
        let operation = &mut self.history.operations[id.index()];
        operation.outcome = completion.outcome;
        operation.completed_at = Some(completion.at.unwrap_or(u64::from(completed)));
        if completion.outcome != Outcome::Unknown {
            operation.completed = completed;
        }
        match (completion.told, &mut operation.action) {
            (Told::Nothing, _) => {}
            (Told::Value(found), Action::Read(value)) => *value = found,
            (Told::Swapped(did), Action::Cas { swapped, .. }) => *swapped = did,
            (Told::Action(told), action) => *action = told,
            (Told::Value(_) | Told::Swapped(_), _) => {}
        }
        Ok(id)
    }

    /// The open operation of a process, to look at what its invocation said.
    pub fn open_operation(&mut self, process: &str) -> Option<&Operation> {
        let slot = self.history.processes.find(process)? as usize;
        let id = (*self.open.get(slot)?)?;
        Some(self.history.operation(id))
    }

    /// Adds a delivery. The operation is the last one that wrote this value to this key, if there is one.
    pub fn deliver(&mut self, replica: ReplicaId, key: KeyId, value: ValueId, at: u64) {
        let operation = self.by_write.get(&(key, value)).copied();
        self.history.deliveries.push(Delivery { replica, operation, key, value, at });
    }

    /// The history; operations that are still open are `Unknown`.
    pub fn finish(self) -> History {
        self.history
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(process: &str) -> Invocation<'_> {
        let action = Action::Read(ValueId::NIL);
        Invocation { process, key: KeyId(0), action, replica: None, at: None }
    }

    fn ok(process: &str) -> Completion<'_> {
        Completion { process, outcome: Outcome::Ok, told: Told::Nothing, at: None }
    }

    #[test]
    fn a_process_has_one_open_operation_and_completes_only_that() {
        let mut builder = Builder::new(Clock::Steps);
        builder.key("x");
        builder.invoke(read("a")).expect("the first");
        builder.invoke(read("b")).expect("another process");
        let still_open = BuildError::StillOpen { process: "a".to_owned() };
        assert_eq!(builder.invoke(read("a")), Err(still_open));
        builder.complete(ok("a")).expect("it is open");
        assert_eq!(
            builder.complete(ok("a")),
            Err(BuildError::NotInvoked { process: "a".to_owned() })
        );
        let history = builder.finish();
        assert_eq!(history.operations[0].completed, 2);
        assert_eq!(history.operations[1].completed, NEVER, "what is open at the end is unknown");
    }

    #[test]
    fn a_value_that_reads_nil_is_not_the_absent_one() {
        let mut builder = Builder::new(Clock::Steps);
        assert_eq!(builder.value(None), ValueId::NIL);
        assert_ne!(builder.value(Some("nil")), ValueId::NIL);
    }
}
