//! The invocations and completions of a history, in the order in which they happened: what a writer writes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

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
        let found = place_those_who_gave_up(history, &keyed, &gave_up);
        keyed.extend(found);
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

/// Gives each that gave up a free number behind its invocation and before the next one of its process: the
/// earliest to the one that gave up first. Where the times contradict the numbers, it stands right before that
/// next invocation.
fn place_those_who_gave_up(
    history: &History,
    keyed: &[(u64, Event)],
    gave_up: &[(u64, OpId)],
) -> Vec<(u64, Event)> {
    let next = next_invocations(history);
    let mut used = keyed.iter().map(|(place, _)| *place).peekable();
    // In the order of invocation, as they were gathered.
    let mut waiting = gave_up.iter().peekable();
    let mut candidates = BinaryHeap::new();
    let mut found = Vec::with_capacity(gave_up.len());
    let mut number = 0;
    loop {
        if let (true, Some((_, id))) = (candidates.is_empty(), waiting.peek()) {
            number = number.max(history.operation(*id).invoked.saturating_add(1));
        }
        while used.next_if(|used| *used < place(number)).is_some() {}
        if used.next_if_eq(&place(number)).is_some() {
            number = number.saturating_add(1);
            continue;
        }
        while let Some((at, id)) =
            waiting.next_if(|(_, id)| history.operation(*id).invoked < number)
        {
            candidates.push(Reverse((*at, next[id.index()], *id)));
        }
        let Some(Reverse((_, before, id))) = candidates.pop() else { return found };
        if number < before {
            found.push((place(number), Event::Completed(id)));
            number = number.saturating_add(1);
        } else {
            found.push((place(before) - 1, Event::Completed(id)));
        }
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
        let script = "a+ b+ c+ b? a? a+ b+ c. a? a+ a. d+ d? c+ a+ a? a+ c?";
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
