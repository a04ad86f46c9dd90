//! Jepsen's older text log: `INFO  jepsen.util - 0 :invoke :read nil`, with tabs or blanks.
//!
//! An operation is the word before `:invoke`, `:ok`, `:fail` or `:info`, which is its process, and the two
//! forms behind it, the function and the value. What other loggers wrote is passed over; a line of
//! `jepsen.util` must be an operation. There are no times that could be compared, so the clock is the order of
//! the lines.

use std::io::BufRead;

use super::History;
use super::error::{ReadError, shown};
use super::jepsen::{Event, Recorder};
use super::lines::{Line, Lines};
use super::term::{Term, parse_first};

const TYPES: [&str; 4] = [":invoke", ":ok", ":fail", ":info"];
const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// Reads a history in Jepsen's older text log.
///
/// # Errors
/// Where the input is not one.
pub fn read(input: &mut dyn BufRead, source: &str) -> Result<History, ReadError> {
    let mut lines = Lines::new(input, source);
    let mut recorder = Recorder::new();
    while let Some(line) = lines.next()? {
        if let Some(event) = event(line)? {
            recorder.event(&event, &|| line.place(0))?;
        }
    }
    recorder.finish(source)
}

/// Whether a line is an operation of such a log, for recognising one.
pub(super) fn is_operation(text: &str) -> bool {
    let mut words = text.split_whitespace();
    words.next().is_some_and(|first| !first.starts_with(['{', '[', '(']))
        && words.any(|word| TYPES.contains(&word))
}

fn event(line: Line<'_>) -> Result<Option<Event<'_>>, ReadError> {
    let text = line.text;
    let mut before: Option<&str> = None;
    for word in text.split_ascii_whitespace() {
        if let (true, Some(process)) = (TYPES.contains(&word), before) {
            let behind = word.as_ptr() as usize - text.as_ptr() as usize + word.len();
            return operation(line, process, word, behind).map(Some);
        }
        before = Some(word);
    }
    if text.contains("jepsen.util") {
        let expected = "an operation: PROCESS :invoke|:ok|:fail|:info FUNCTION VALUE";
        return Err(line.malformed(0, expected, shown(text)));
    }
    let other = text.split_ascii_whitespace().any(|word| LEVELS.contains(&word));
    match other || text.trim_ascii().is_empty() {
        true => Ok(None),
        false => Err(line.malformed(0, "a line of a Jepsen log", shown(text))),
    }
}

fn operation<'a>(
    line: Line<'a>,
    process: &'a str,
    kind: &'a str,
    behind: usize,
) -> Result<Event<'a>, ReadError> {
    let mut at = behind;
    let mut form = |expected: &str| {
        let rest = line.text.get(at..).unwrap_or_default();
        match parse_first(rest) {
            Ok(Some((term, length))) => {
                at += length;
                Ok(Some(term))
            }
            Ok(None) => Ok(None),
            Err(wrong) => {
                let found = shown(rest.get(wrong.at..).unwrap_or_default());
                Err(line.malformed(
                    at + wrong.at,
                    format!("{expected} ({})", wrong.expected),
                    found,
                ))
            }
        }
    };
    let f = form("a function")?;
    let value = form("a value")?;
    if f.is_none() {
        return Err(line.malformed(line.text.len(), "a function and a value", ""));
    }
    let process = match process.strip_prefix(':') {
        Some(name) => Term::Keyword(name.into()),
        None if process.bytes().all(|digit| digit.is_ascii_digit()) => Term::Number(process.into()),
        None => {
            let start = line.text.find(process).unwrap_or(0);
            return Err(line.malformed(start, "the number of a process", shown(process)));
        }
    };
    let kind = Term::Keyword(kind.trim_start_matches(':').into());
    Ok(Event { kind: Some(kind), process: Some(process), f, value, ..Event::default() })
}
