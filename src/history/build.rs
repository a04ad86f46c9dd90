//! Building a history out of its events, one at a time, in the order in which they happened.
//!
//! Every reader and every recorder goes through here, so there is one place that knows what a well-formed
//! history is: a process has at most one open operation, and completes only what it has invoked.

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
}

impl Builder {
    /// An empty history whose times are these.
    pub fn new(clock: Clock) -> Self {
        let mut values = Names::default();
        values.id(NIL_TEXT);
        let history = History { clock, values, ..History::default() };
        Self { history, open: Vec::new(), events: 0 }
    }

    /// The history so far; names, the claim, faults and messages may be added to it directly.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// The history so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The number of a key.
    pub fn key(&mut self, text: &str) -> KeyId {
        KeyId(self.history.keys.id(text))
    }

    /// The number of a value. A present value that reads `nil` is told apart from the absent one.
    pub fn value(&mut self, text: Option<&str>) -> ValueId {
        match text {
            None => ValueId::NIL,
            Some(text) if reads_nil(text) => {
                ValueId(self.history.values.id(&format!("\"{text}\"")))
            }
            Some(text) => ValueId(self.history.values.id(text)),
        }
    }

    /// How many invocations and completions there are so far, which is the number of the next one.
    pub fn events(&self) -> u32 {
        self.events
    }

    /// The number of a process.
    pub(super) fn process(&mut self, name: &str) -> ProcessId {
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
        let Invocation { key, action, replica, at, .. } = invocation;
        self.begin(process, key, action, replica, at)
    }

    /// Adds the invocation of a process whose number is known.
    pub(super) fn begin(
        &mut self,
        process: ProcessId,
        key: KeyId,
        action: Action,
        replica: Option<ReplicaId>,
        at: Option<u64>,
    ) -> Result<OpId, BuildError> {
        let slot = process.0 as usize;
        if self.open[slot].is_some() {
            let process = self.history.process(process).to_owned();
            return Err(BuildError::StillOpen { process });
        }
        let invoked = self.event()?;
        let id = OpId(self.history.operations.len() as u32);
        self.open[slot] = Some(id);
        self.history.operations.push(Operation {
            process,
            key,
            action,
            outcome: Outcome::Unknown,
            replica,
            invoked,
            completed: NEVER,
            invoked_at: at.unwrap_or(u64::from(invoked)),
            completed_at: None,
        });
        Ok(id)
    }

    /// Adds a completion.
    ///
    /// # Errors
    /// When the process has no open operation, or the history is too long.
    pub fn complete(&mut self, completion: Completion<'_>) -> Result<OpId, BuildError> {
        let process = self.process(completion.process);
        self.end(process, completion.outcome, completion.told, completion.at)
    }

    /// Adds the completion of a process whose number is known.
    pub(super) fn end(
        &mut self,
        process: ProcessId,
        outcome: Outcome,
        told: Told,
        at: Option<u64>,
    ) -> Result<OpId, BuildError> {
        let Some(id) = self.open[process.0 as usize].take() else {
            let process = self.history.process(process).to_owned();
            return Err(BuildError::NotInvoked { process });
        };
        let completed = self.event()?;
        let operation = &mut self.history.operations[id.index()];
        operation.outcome = outcome;
        operation.completed_at = Some(at.unwrap_or(u64::from(completed)));
        if outcome != Outcome::Unknown {
            operation.completed = completed;
        }
        match (told, &mut operation.action) {
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

    /// The open operation of a process whose number is known.
    pub(super) fn open(&self, process: ProcessId) -> Option<&Operation> {
        let id = (*self.open.get(process.0 as usize)?)?;
        Some(self.history.operation(id))
    }

    /// Adds a delivery. Which operation it delivers is found in the end: one that wrote this value to this
    /// key, if there is one.
    pub fn deliver(&mut self, replica: ReplicaId, key: KeyId, value: ValueId, at: u64) {
        self.history.deliveries.push(Delivery { replica, operation: None, key, value, at });
    }

    /// The history; operations that are still open are `Unknown`.
    pub fn finish(mut self) -> History {
        super::deliveries::resolve(&self.history.operations, &mut self.history.deliveries);
        self.history
    }
}

/// Whether a present value looks like the absent one, but for quotes. Such a text gets another pair of
/// quotes, so that no two values share a text.
pub(super) fn reads_nil(text: &str) -> bool {
    text.trim_matches('"') == NIL_TEXT
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
        let texts = ["nil", "\"nil\"", "\"\"nil\"\"", "\"nil", "nill", "\"x\"", "\"", ""];
        let ids = texts.map(|text| builder.value(Some(text)));
        let history = builder.finish();
        assert_eq!(history.stored_text(ValueId::NIL), None);
        assert_eq!(ids.map(|id| history.stored_text(id)), texts.map(Some));
        assert_eq!(history.values.len(), texts.len() + 1, "no two share a text");
    }

    #[test]
    fn deliveries_find_their_operations_in_the_end() {
        let mut builder = Builder::new(Clock::Steps);
        let (key, one, two) =
            (builder.key("x"), builder.value(Some("1")), builder.value(Some("2")));
        builder.deliver(ReplicaId(0), key, one, 0);
        for (process, value) in [("a", one), ("b", two), ("c", one)] {
            let action = Action::Write(value);
            builder.invoke(Invocation { action, ..read(process) }).expect("none is open");
        }
        builder.deliver(ReplicaId(1), key, one, 3);
        for (value, at) in [(one, 4), (one, 5), (two, 6), (ValueId::NIL, 7)] {
            builder.deliver(ReplicaId(0), key, value, at);
        }
        let history = builder.finish();
        let found: Vec<_> = history.deliveries.iter().map(|d| d.operation.map(|id| id.0)).collect();
        assert_eq!(found, [Some(0), Some(0), Some(2), Some(2), Some(1), None]);
    }
}
