//! What is kept of the demo: the lines of the diagrams, the history with its messages, the trace.
//!
//! The trace is JSON, one event a line, as the simulator's. Participants are 0 to 2; the coordinator, which clients
//! talk to, is 3.

use serde_json::{Value, json};

use super::DemoError;
use super::draw::{CLIENT, HUB, Lane, NAMES, Row, Sense, What};
use super::words;
use crate::base::ReplicaId;
use crate::faults::Kind;
use crate::history::{
    Action, BuildError, Builder, Clock, Completion, Fault, History, Invocation, Message, Outcome,
    Told, ValueId,
};
use crate::protocol::two_phase::{Answer, Change, Command};

/// Nanoseconds, which the history counts, in a millisecond, which the demo counts.
const NANOS: u64 = 1_000_000;

/// A message under way, by its place in what is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted {
    row: usize,
    message: usize,
}

/// The notes.
#[derive(Debug)]
pub(super) struct Notes {
    /// The time, in milliseconds.
    pub now: u64,
    /// How the processes stand now.
    pub lanes: [Lane; 5],
    /// The lines of the story that is being told.
    pub rows: Vec<Row>,
    builder: Builder,
    trace: String,
}

impl Notes {
    pub fn new() -> Self {
        let mut builder = Builder::new(Clock::Nanoseconds);
        builder.history_mut().claim = Some("linearizable".to_owned());
        Self { now: 0, lanes: [Lane::Idle; 5], rows: Vec::new(), builder, trace: String::new() }
    }

    /// The history and the trace.
    pub fn finish(self) -> (History, String) {
        (self.builder.finish(), self.trace)
    }

    fn nanos(&self) -> u64 {
        self.now * NANOS
    }

    fn trace(&mut self, event: &str, mut more: Value) {
        more["at"] = self.nanos().into();
        more["event"] = event.into();
        self.trace += &more.to_string();
        self.trace.push('\n');
    }

    fn row(&mut self, what: What, text: String) {
        self.rows.push(Row { at: self.now, lanes: self.lanes, what, text });
    }

    /// Something happened to these columns.
    pub fn mark(&mut self, sign: char, columns: &[usize], sense: Sense, text: impl Into<String>) {
        let text = text.into();
        let who: Vec<&str> = columns.iter().map(|column| NAMES[*column]).collect();
        self.trace("happens", json!({ "who": who, "what": text }));
        self.row(What::Mark { sign, columns: columns.to_vec(), sense }, text);
    }

    /// A frame leaves, from column to column.
    pub fn sent(&mut self, from: usize, to: usize, label: String) -> Noted {
        let (sender, receiver) = (node(from), node(to));
        let sent = self.nanos();
        let messages = &mut self.builder.history_mut().messages;
        let message = messages.len();
        let (from_id, to_id) = (ReplicaId(sender), ReplicaId(receiver));
        messages.push(Message {
            from: from_id,
            to: to_id,
            sent,
            received: None,
            label: label.clone(),
        });
        self.trace(
            "send",
            json!({ "from": sender, "to": receiver, "message": message, "frames": [label] }),
        );
        self.row(What::Message { from, to, lost: false }, label);
        Noted { row: self.rows.len() - 1, message }
    }

    /// It arrives.
    pub fn received(&mut self, noted: Noted) {
        let received = self.nanos();
        let message = &mut self.builder.history_mut().messages[noted.message];
        message.received = Some(received);
        let (from, to) = (message.from.0, message.to.0);
        self.trace("receive", json!({ "from": from, "to": to, "message": noted.message }));
    }

    /// It never will.
    pub fn lost(&mut self, noted: Noted) {
        if let Some(Row { what: What::Message { lost, .. }, .. }) = self.rows.get_mut(noted.row) {
            *lost = true;
        }
        self.trace("lose", json!({ "message": noted.message }));
    }

    /// The client asks.
    pub fn asked(&mut self, command: &Command) -> Result<(), DemoError> {
        let at = Some(self.nanos());
        let (key, action) = match command {
            Command::Set { key, value } => {
                (key, Action::Write(self.builder.value(Some(&words::text(value)))))
            }
            Command::Get { key } => (key, Action::Read(ValueId::NIL)),
            Command::Delete { .. } => {
                return Err(DemoError::Machine("nothing is deleted here".to_owned()));
            }
        };
        let key = self.builder.key(&words::text(key));
        let replica = Some(ReplicaId(node(HUB)));
        let asked = Invocation { process: NAMES[CLIENT], key, action, replica, at };
        self.builder.invoke(asked).map_err(order)?;
        let words = words::command(command);
        self.trace("ask", json!({ "what": words }));
        self.row(What::Message { from: CLIENT, to: HUB, lost: false }, words);
        Ok(())
    }

    /// The coordinator answers.
    pub fn answers(&mut self, answer: &Answer) {
        self.row(What::Message { from: HUB, to: CLIENT, lost: false }, said(answer));
    }

    /// The client hears it, or that its connection is broken (`Answer::Unknown`).
    pub fn told(&mut self, answer: &Answer) -> Result<(), DemoError> {
        let at = Some(self.nanos());
        let (outcome, told) = match answer {
            Answer::Ok | Answer::Removed(_) => (Outcome::Ok, Told::Nothing),
            Answer::Value(value) => {
                let text = value.as_ref().map(|value| words::text(value));
                (Outcome::Ok, Told::Value(self.builder.value(text.as_deref())))
            }
            Answer::Error(_) => (Outcome::Fail, Told::Nothing),
            Answer::Unknown => (Outcome::Unknown, Told::Nothing),
        };
        let heard = Completion { process: NAMES[CLIENT], outcome, told, at };
        self.builder.complete(heard).map_err(order)?;
        self.trace("told", json!({ "what": said(answer) }));
        Ok(())
    }

    /// Participant `p` has carried a change out.
    pub fn carried_out(&mut self, p: u16, change: &Change) {
        let at = self.nanos();
        if let Change::Set { key, value } = change {
            let key = self.builder.key(&words::text(key));
            let value = self.builder.value(Some(&words::text(value)));
            self.builder.deliver(ReplicaId(p), key, value, at);
        }
    }

    /// The coordinator has been killed.
    pub fn crash_begins(&mut self) {
        let crash = Fault {
            name: Kind::Crash.name().to_owned(),
            replicas: vec![ReplicaId(node(HUB))],
            from: self.nanos(),
            until: None,
        };
        self.builder.history_mut().faults.push(crash);
    }

    /// It runs again.
    pub fn crash_ends(&mut self) {
        let until = Some(self.nanos());
        if let Some(crash) = self.builder.history_mut().faults.last_mut() {
            crash.until = until;
        }
    }
}

/// What a client reads.
fn said(answer: &Answer) -> String {
    match answer {
        Answer::Ok => "+OK".to_owned(),
        Answer::Value(value) => words::or_nil(value.as_deref()),
        Answer::Removed(count) => format!(":{count}"),
        Answer::Error(_) => "-ERROR".to_owned(),
        Answer::Unknown => "the connection is broken".to_owned(),
    }
}

/// The number of a process in the history, by its column.
fn node(column: usize) -> u16 {
    let participants = NAMES.len() - HUB - 1;
    (if column == HUB { participants } else { column - HUB - 1 }) as u16
}

/// The client asks one thing after the other, so its notes are in order.
fn order(error: BuildError) -> DemoError {
    DemoError::Machine(format!("the notes are out of order: {error}"))
}
