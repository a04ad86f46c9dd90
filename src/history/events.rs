//! The invocations and completions of a history, in the order in which they happened: what a writer writes.

use super::{History, NEVER, OpId, Outcome};

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operation began.
    Invoked(OpId),
    /// Its process heard the answer, or gave up.
    Completed(OpId),
}

impl Event {
    /// Of which operation.
    pub fn id(self) -> OpId {
        match self {
            Event::Invoked(id) | Event::Completed(id) => id,
        }
    }

    /// When, in the history's clock.
    pub fn at(self, history: &History) -> u64 {
        match self {
            Event::Invoked(id) => history.operation(id).invoked_at,
            Event::Completed(id) => history.operation(id).completed_at.unwrap_or(u64::MAX),
        }
    }
}

/// All events in order.
///
/// When a process gave up on an operation has no number of its own ([`super::Operation::completed`] is
/// [`NEVER`]), and orders nothing but that process' next invocation. Such events take the numbers that are
/// left free, in the order of their times: in a history that was read or recorded whole, these are their own.
pub fn events(history: &History) -> Vec<Event> {
    let mut keyed: Vec<(u64, Event)> = Vec::with_capacity(2 * history.operations.len());
    let mut gave_up = Vec::new();
    for id in history.ids() {
        let operation = history.operation(id);
        keyed.push((place(operation.invoked), Event::Invoked(id)));
        match operation.completed_at {
            None => {}
            Some(_) if operation.completed != NEVER => {
                keyed.push((place(operation.completed), Event::Completed(id)));
            }
            Some(at) => {
                debug_assert_eq!(operation.outcome, Outcome::Unknown);
                gave_up.push((at, id));
            }
        }
    }
    keyed.sort_unstable_by_key(|(place, _)| *place);
    if !gave_up.is_empty() {
        let known = keyed.len();
        let next = next_invocations(history);
        gave_up.sort_unstable();
        let mut free = Free { keyed: &keyed, index: 0, number: 0 };
        let mut found = Vec::with_capacity(gave_up.len());
        for (_, id) in gave_up {
            let after = history.operation(id).invoked;
            let before = next[id.index()];
            found.push(match free.peek(after) {
                number if number < before => {
                    free.number = number + 1;
                    (place(number), Event::Completed(id))
                }
                _ => (place(before) - 1, Event::Completed(id)),
            });
        }
        keyed.extend(found);
        debug_assert!(keyed.len() > known);
        keyed.sort_by_key(|(place, _)| *place);
    }
    keyed.into_iter().map(|(_, event)| event).collect()
}

/// Numbers spread out, so that there is room before each.
fn place(number: u32) -> u64 {
    2 * u64::from(number) + 1
}

/// By operation, the number of the next invocation of its process.
fn next_invocations(history: &History) -> Vec<u32> {
    let mut next = vec![NEVER; history.operations.len()];
    let mut latest = vec![NEVER; history.processes.len()];
    for (index, operation) in history.operations.iter().enumerate().rev() {
        if let Some(latest) = latest.get_mut(operation.process.0 as usize) {
            next[index] = *latest;
            *latest = operation.invoked;
        }
    }
    next
}

/// Walks over the numbers that no event has.
struct Free<'a> {
    keyed: &'a [(u64, Event)],
    index: usize,
    number: u32,
}

impl Free<'_> {
    /// The first free number behind `after`.
    fn peek(&mut self, after: u32) -> u32 {
        self.number = self.number.max(after.saturating_add(1));
        while let Some((used, _)) = self.keyed.get(self.index)
            && *used <= place(self.number)
        {
            if *used == place(self.number) {
                self.number = self.number.saturating_add(1);
            }
            self.index += 1;
        }
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Action, Builder, Clock, Completion, Invocation, Told, ValueId};

    #[test]
    fn who_gave_up_keeps_its_place() {
        let mut builder = Builder::new(Clock::Steps);
        let key = builder.key("x");
        let script = "a+ b+ c+ b? a? a+ b+ c. a? a+ a. d+ d?";
        for step in script.split(' ') {
            let (process, what) = step.split_at(1);
            let action = Action::Write(ValueId::NIL);
            let outcome = if what == "." { Outcome::Ok } else { Outcome::Unknown };
            match what {
                "+" => builder.invoke(Invocation { process, key, action, replica: None, at: None }),
                _ => {
                    builder.complete(Completion { process, outcome, told: Told::Nothing, at: None })
                }
            }
            .expect("the script is sound");
        }
        let history = builder.finish();
        let written: Vec<String> = events(&history)
            .iter()
            .map(|event| {
                let operation = history.operation(event.id());
                let what = match (event, operation.outcome) {
                    (Event::Invoked(_), _) => "+",
                    (_, Outcome::Ok) => ".",
                    _ => "?",
                };
                history.process(operation.process).to_owned() + what
            })
            .collect();
        assert_eq!(written.join(" "), script);
    }
}
