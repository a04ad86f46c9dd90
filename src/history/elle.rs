//! The JSON that elle-cli reads: Jepsen's operation maps, in one array or one behind the other.
//!
//! See `super::jepsen` for what a map means. Elle's transactions are supported where they are of one
//! micro-operation. The elements of a list that is appended to become one text, each followed by a comma: a
//! read of `[1,2]` is a read of `1,2,`, and so the append specification checks list-append as well.

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

use super::error::{ReadError, shown};
use super::events::{Event as Happened, events};
use super::forms::{Forms, Syntax};
use super::jepsen::{Event, Recorder};
use super::term::Term;
use super::{Action, Clock, History, Outcome, ValueId};

/// Reads a history in elle-cli's JSON.
///
/// # Errors
/// Where the input is not one.
pub fn read(input: &mut dyn BufRead, source: &str) -> Result<History, ReadError> {
    let mut forms = Forms::new(input, source, Syntax::Json);
    let mut recorder = Recorder::new();
    while let Some(form) = forms.next()? {
        let value: Value = serde_json::from_str(form.text).map_err(|error| {
            let (line, column) = (error.line().max(1), error.column().max(1));
            let before =
                form.text.split_inclusive('\n').take(line - 1).map(str::len).sum::<usize>();
            let at = (before + column - 1).min(form.text.len());
            let at = (0..=at).rev().find(|at| form.text.is_char_boundary(*at)).unwrap_or(0);
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
            let rest = form.text[at..].lines().next().unwrap_or_default();
            form.malformed(at, "JSON", format!("{} ({reason})", shown(rest)))
        })?;
        let Term::Map(entries) = Term::of_json(value) else {
            return Err(form.malformed(0, "an operation, which is an object", shown(form.text)));
        };
        recorder.event(&Event::of(entries), &|| form.place(0))?;
    }
    recorder.finish(source)
}

/// Writes a history for elle-cli, one object a line: reads and writes as transactions of one
/// micro-operation, which its `rw-register` model takes, all else as plain operations.
///
/// The claim, initial values, deliveries, messages and faults have no place in it. A compare-and-set that found
/// another value is a `fail`.
///
/// # Errors
/// When the output fails.
pub fn write(history: &History, out: &mut dyn Write) -> io::Result<()> {
    for (index, event) in events(history).into_iter().enumerate() {
        let operation = history.operation(event.id());
        let invoked = matches!(event, Happened::Invoked(_));
        let kind = match (invoked, operation.outcome, operation.action) {
            (true, ..) => "invoke",
            (_, Outcome::Ok, Action::Cas { swapped: false, .. }) | (_, Outcome::Fail, _) => "fail",
            (_, Outcome::Ok, _) => "ok",
            (_, Outcome::Unknown, _) => "info",
        };
        let key = history.key(operation.key);
        let text = |id| history.stored_text(id);
        let found = |id| if invoked { None } else { text(id) };
        let mut line = json!({ "type": kind });
        match operation.action {
            Action::Read(value) => {
                line["f"] = "txn".into();
                line["value"] = json!([["r", key, found(value)]]);
            }
            // A transaction cannot remove a key.
            Action::Write(ValueId::NIL) => {
                line["f"] = "delete".into();
                line["key"] = key.into();
            }
            Action::Write(value) => {
                line["f"] = "txn".into();
                line["value"] = json!([["w", key, text(value)]]);
            }
            Action::Cas { from, to, .. } => {
                line["f"] = "cas".into();
                line["key"] = key.into();
                line["value"] = json!([text(from), text(to)]);
            }
            Action::Append(value) => {
                line["f"] = "append".into();
                line["key"] = key.into();
                line["value"] = json!(text(value));
            }
            Action::Other(name) => {
                line["f"] = json!(text(name));
                line["key"] = key.into();
            }
        }
        line["process"] = process(history.process(operation.process));
        if let (true, Some(replica)) = (invoked, operation.replica) {
            line["replica"] = replica.0.into();
        }
        if history.clock == Clock::Nanoseconds {
            line["time"] = event.at(history).into();
        }
        line["index"] = index.into();
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// A process that is named by a number is a number.
fn process(name: &str) -> Value {
    match name.parse::<u64>() {
        Ok(number) if number.to_string() == name => number.into(),
        _ => name.into(),
    }
}
