//! Writes the lab's own format.

use std::io::{self, Write};

use super::super::events::{Event, events};
use super::super::{Action, Clock, History, OpId, Outcome};
use super::put::{
    Asked, CompletionLine, Header, InvocationLine, Order, Reported, put_completion, put_delivery,
    put_fault, put_header, put_invocation, put_message, put_replica_names, put_together,
};

/// Writes a history in the lab's own format; [`super::read`] reads it back as it was.
///
/// # Errors
/// When the output fails.
pub fn write(history: &History, out: &mut dyn Write) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(1 << 16);
    put_header(&mut buffer, &header(history));
    if !history.replica_names.is_empty() {
        put_replica_names(&mut buffer, &history.replica_names);
    }
    let mut writer = Interleaved { history, deliveries: 0, messages: 0, faults: 0 };
    for (number, event) in events(history).into_iter().enumerate() {
        writer.until(&mut buffer, event.at(history));
        put_event(&mut buffer, history, event, number as u64);
        if buffer.len() > 1 << 15 {
            out.write_all(&buffer)?;
            buffer.clear();
        }
    }
    writer.until(&mut buffer, u64::MAX);
    history.together.iter().for_each(|together| put_together(&mut buffer, together));
    out.write_all(&buffer)
}

/// The header of a history.
pub(in crate::history) fn header(history: &History) -> Header {
    let text = |id| history.stored_text(id).map(str::to_owned);
    let initial = history.initial.iter();
    Header {
        claim: history.claim.clone(),
        clock: history.clock,
        order: Order::Lines,
        initial: initial.map(|(key, value)| (history.key(*key).to_owned(), text(*value))).collect(),
    }
}

/// Appends the line of an event that is the `number`th of the file.
pub(in crate::history) fn put_event(
    out: &mut Vec<u8>,
    history: &History,
    event: Event,
    number: u64,
) {
    let operation = history.operation(event.id());
    let process = history.process(operation.process);
    let at = event.at(history);
    // Without a clock, times are the numbers of events, and known to the reader.
    let time = (history.clock == Clock::Nanoseconds || at != number).then_some(at);
    match event {
        Event::Invoked(_) => {
            let asked = asked(history, operation.action);
            let key = history.key(operation.key);
            let replica = operation.replica;
            put_invocation(out, &InvocationLine { process, key, asked, replica, time });
        }
        Event::Completed(id) => {
            let (reported, error) = (reported(history, id), None);
            let outcome = operation.outcome;
            put_completion(out, &CompletionLine { process, outcome, reported, time, error });
        }
    }
}

/// What an action asks, as a line says it.
fn asked(history: &History, action: Action) -> Asked<'_> {
    match action {
        Action::Read(_) => Asked::Read,
        Action::Write(value) => Asked::Write(history.stored_text(value)),
        Action::Cas { from, to, .. } => {
            Asked::Cas { from: history.stored_text(from), to: history.stored_text(to) }
        }
        Action::Append(value) => Asked::Append(history.stored_text(value).unwrap_or_default()),
        Action::Other(name) => Asked::Other(history.stored_text(name).unwrap_or_default()),
    }
}

fn reported(history: &History, id: OpId) -> Reported<'_> {
    let operation = history.operation(id);
    match (operation.outcome, operation.action) {
        (Outcome::Ok, Action::Read(value)) => Reported::Value(history.stored_text(value)),
        (Outcome::Ok, Action::Cas { swapped: false, .. }) => Reported::Swapped(false),
        _ => Reported::Nothing,
    }
}

/// What stands between the events: each list in its own order, and near the events of its time.
struct Interleaved<'a> {
    history: &'a History,
    deliveries: usize,
    messages: usize,
    faults: usize,
}

impl Interleaved<'_> {
    /// Appends what happened up to a time.
    fn until(&mut self, out: &mut Vec<u8>, time: u64) {
        let history = self.history;
        while let Some(fault) = history.faults.get(self.faults)
            && fault.from <= time
        {
            put_fault(out, fault);
            self.faults += 1;
        }
        while let Some(message) = history.messages.get(self.messages)
            && message.sent <= time
        {
            put_message(out, message);
            self.messages += 1;
        }
        while let Some(delivery) = history.deliveries.get(self.deliveries)
            && delivery.at <= time
        {
            let (key, value) = (history.key(delivery.key), history.stored_text(delivery.value));
            put_delivery(out, delivery.replica, key, value, delivery.at);
            self.deliveries += 1;
        }
    }
}
