//! Jepsen's EDN: one operation map a line, or all of them in one vector or list, with `;` comments.
//!
//! See `super::jepsen` for what a map means. Keys of no meaning here are ignored.

use std::io::{self, BufRead, Write};

use super::error::{ReadError, shown};
use super::events::{Event as Happened, events};
use super::forms::{Forms, Syntax};
use super::jepsen::{Event, Recorder};
use super::term::{Quoted, Term, parse};
use super::{Action, Clock, Fault, History, Outcome, ValueId};

/// Reads a history in Jepsen's EDN.
///
/// # Errors
/// Where the input is not one.
pub fn read(input: &mut dyn BufRead, source: &str) -> Result<History, ReadError> {
    let mut forms = Forms::new(input, source, Syntax::Edn);
    let mut recorder = Recorder::new();
    while let Some(form) = forms.next()? {
        let term = parse(form.text).map_err(|wrong| {
            let rest = form.text.get(wrong.at..).unwrap_or_default();
            let found = shown(rest.lines().next().unwrap_or_default());
            form.malformed(wrong.at, wrong.expected, found)
        })?;
        let Term::Map(entries) = term else {
            return Err(form.malformed(0, "an operation, which is a map", shown(form.text)));
        };
        recorder.event(&Event::of(entries), &|| form.place(0))?;
    }
    recorder.finish(source)
}

/// Writes a history as Jepsen's EDN, one map a line.
///
/// The claim, initial values, deliveries and messages have no place in it. A compare-and-set that found another
/// value is a `:fail`, as Jepsen has it.
///
/// # Errors
/// When the output fails.
pub fn write(history: &History, out: &mut dyn Write) -> io::Result<()> {
    let mut faults = nemesis(history);
    faults.reverse();
    let mut index = 0;
    for event in events(history) {
        let at = event.at(history);
        while let Some((time, text)) = faults.pop_if(|(time, _)| *time <= at) {
            writeln!(out, "{{:process :nemesis, {text}{}}}", Stamp { history, time, index })?;
            index += 1;
        }
        let operation = history.operation(event.id());
        let (kind, action) = match (event, operation.outcome, operation.action) {
            (Happened::Invoked(_), _, Action::Read(_)) => ("invoke", Action::Read(ValueId::NIL)),
            (Happened::Invoked(_), _, action) => ("invoke", action),
            (_, Outcome::Fail, action)
            | (_, Outcome::Ok, action @ Action::Cas { swapped: false, .. }) => ("fail", action),
            (_, Outcome::Ok, action) => ("ok", action),
            (_, Outcome::Unknown, action) => ("info", action),
        };
        let process = Scalar(history.process(operation.process));
        write!(out, "{{:process {process}, :type :{kind}, ")?;
        put_action(out, history, action)?;
        write!(out, ", :key {}", Quoted(history.key(operation.key)))?;
        if let (Happened::Invoked(_), Some(replica)) = (event, operation.replica) {
            write!(out, ", :replica {replica}")?;
        }
        writeln!(out, "{}}}", Stamp { history, time: at, index })?;
        index += 1;
    }
    for (time, text) in faults.into_iter().rev() {
        writeln!(out, "{{:process :nemesis, {text}{}}}", Stamp { history, time, index })?;
        index += 1;
    }
    Ok(())
}

/// A number as it is, all else as a string.
struct Scalar<'a>(&'a str);

impl std::fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.0.strip_prefix('-').unwrap_or(self.0);
        let canonical = !digits.starts_with('0') || self.0 == "0";
        let number = canonical && digits.len() < 18 && !digits.is_empty();
        match number && digits.bytes().all(|digit| digit.is_ascii_digit()) {
            true => f.write_str(self.0),
            false => write!(f, "{}", Quoted(self.0)),
        }
    }
}

/// The time and the index that end a map.
struct Stamp<'a> {
    history: &'a History,
    time: u64,
    index: u64,
}

impl std::fmt::Display for Stamp<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.history.clock == Clock::Nanoseconds {
            write!(f, ", :time {}", self.time)?;
        }
        write!(f, ", :index {}", self.index)
    }
}

fn put_action(out: &mut dyn Write, history: &History, action: Action) -> io::Result<()> {
    let value = |id| match history.stored_text(id) {
        None => "nil".to_owned(),
        Some(text) => Scalar(text).to_string(),
    };
    match action {
        Action::Read(found) => write!(out, ":f :read, :value {}", value(found)),
        Action::Write(id) => write!(out, ":f :write, :value {}", value(id)),
        Action::Append(id) => write!(out, ":f :append, :value {}", value(id)),
        Action::Cas { from, to, .. } => {
            write!(out, ":f :cas, :value [{} {}]", value(from), value(to))
        }
        Action::Other(name) => {
            let name = history.stored_text(name).unwrap_or_default();
            write!(out, ":f {}, :value nil", Quoted(name))
        }
    }
}

/// The records of the nemesis with their times, in order.
fn nemesis(history: &History) -> Vec<(u64, String)> {
    let mut records = Vec::new();
    for Fault { name, replicas, from, until } in &history.faults {
        let replicas: Vec<String> = replicas.iter().map(ToString::to_string).collect();
        let record = |what: &str| {
            let f = format!("{what}-{name}");
            format!(":type :info, :f {}, :value [{}]", Quoted(&f), replicas.join(" "))
        };
        records.push((*from, record("start")));
        records.extend(until.map(|until| (until, record("stop"))));
    }
    // Stable: what ends at the moment it began ends behind its beginning.
    records.sort_by_key(|(time, _)| *time);
    records
}
