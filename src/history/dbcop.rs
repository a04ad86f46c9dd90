//! The text that dbcop's and Plume's kin read: one operation a line, `w(key,value,session,transaction)` or
//! `r(key,value,session,transaction)`.
//!
//! A session is a process, and its lines are in its order; there is no other order between lines, so that
//! nothing which needs real time can be checked. The models here are of single operations: those of a
//! transaction become operations of their session in the order of their lines. The value 0 (`null` and `nil`
//! too) is that of a key which nobody has written, and transaction -1 gathers what was aborted.

use std::io::BufRead;

use super::error::{ReadError, shown};
use super::lines::{Line, Lines};
use super::{Action, Builder, Clock, Completion, History, Invocation, Outcome, Told, ValueId};

const SHAPE: &str = "r(KEY,VALUE,SESSION,TRANSACTION) or w(KEY,VALUE,SESSION,TRANSACTION)";

/// Reads a history in this text.
///
/// # Errors
/// Where the input is not one.
pub fn read(input: &mut dyn BufRead, source: &str) -> Result<History, ReadError> {
    let mut lines = Lines::new(input, source);
    let mut builder = Builder::new(Clock::ProcessOrder);
    while let Some(line) = lines.next()? {
        if !line.text.trim_ascii().is_empty() {
            operation(line, &mut builder)?;
        }
    }
    if builder.history().operations.is_empty() {
        let found = "no operation in it";
        return Err(ReadError::Empty { file: source.to_owned(), found });
    }
    Ok(builder.finish())
}

fn operation(line: Line<'_>, builder: &mut Builder) -> Result<(), ReadError> {
    let text = line.text.trim_ascii();
    let is_read = text.starts_with('r');
    let inner = text.strip_prefix(['r', 'w']).map(str::trim_ascii);
    let inner = inner.and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'));
    let Some(inner) = inner else { return Err(line.malformed(0, SHAPE, shown(text))) };
    let parts: Vec<&str> = inner.split(',').map(str::trim_ascii).collect();
    let [key, value, process, transaction] = parts[..] else {
        let found = format!("{} parts: {}", parts.len(), shown(text));
        return Err(line.malformed(0, SHAPE, found));
    };
    for (part, what) in [(key, "a key"), (value, "a value"), (process, "a session")] {
        if part.is_empty() {
            return Err(line.malformed(0, what, format!("nothing: {}", shown(text))));
        }
    }
    let Ok(transaction) = transaction.parse::<i64>() else {
        // The last part of the line, so the last place where it stands.
        let at = line.text.rfind(transaction).unwrap_or(0);
        return Err(line.malformed(at, "the number of a transaction", shown(transaction)));
    };
    let key = builder.key(key);
    let value = match value {
        "0" | "null" | "nil" => ValueId::NIL,
        value => builder.value(Some(value)),
    };
    let (action, told) = match is_read {
        true => (Action::Read(ValueId::NIL), Told::Value(value)),
        false => (Action::Write(value), Told::Nothing),
    };
    // Aborted transactions are those whose number is -1.
    let outcome = if transaction == -1 { Outcome::Fail } else { Outcome::Ok };
    let told = if outcome == Outcome::Ok { told } else { Told::Nothing };
    let build = |error| ReadError::Build { place: line.place(0), error };
    let invocation = Invocation { process, key, action, replica: None, at: None };
    builder.invoke(invocation).map_err(build)?;
    builder.complete(Completion { process, outcome, told, at: None }).map_err(build)?;
    Ok(())
}
