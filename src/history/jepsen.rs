//! What the formats of Jepsen's family have in common: the meaning of an operation map.
//!
//! `:type` is invoke, ok, fail or info; `:process` an id, or `nemesis` for faults; `:f` and `:value` say what.
//! An operation without `:key` is one on the key [`ONE_KEY`], or its value is a tuple `[key value]`, as
//! Jepsen's `independent` writes it. Transactions of one micro-operation are operations; the models here know
//! no others, and an error says so.

use std::borrow::Cow;

use super::error::{Place, ReadError, shown};
use super::nemesis::Nemesis;
use super::term::Term;
use super::{Action, Builder, Clock, History, KeyId, Outcome, ProcessId, Told, ValueId, agree};
use crate::base::ReplicaId;

/// The key of histories that are of one register.
pub(super) const ONE_KEY: &str = "x";

/// An operation map, taken apart.
#[derive(Debug, Default)]
pub(super) struct Event<'a> {
    pub kind: Option<Term<'a>>,
    pub process: Option<Term<'a>>,
    pub f: Option<Term<'a>>,
    pub key: Option<Term<'a>>,
    pub value: Option<Term<'a>>,
    pub time: Option<Term<'a>>,
    pub replica: Option<Term<'a>>,
}

impl<'a> Event<'a> {
    /// The fields of a map; those of other names are ignored.
    pub fn of(entries: Vec<(Term<'a>, Term<'a>)>) -> Self {
        let mut event = Event::default();
        for (name, value) in entries {
            let field = match name.name() {
                Some("type") => &mut event.kind,
                Some("process") => &mut event.process,
                Some("f") => &mut event.f,
                Some("key") => &mut event.key,
                Some("value") => &mut event.value,
                Some("time") => &mut event.time,
                Some("replica") => &mut event.replica,
                _ => continue,
            };
            *field = Some(value);
        }
        event
    }
}

/// An operation as an event says it.
struct Said {
    key: Option<String>,
    /// Whether the value was a tuple with the key in it.
    tuple: bool,
    action: Action,
    /// What it read or wrote; `None` where it says nothing.
    told: Option<ValueId>,
}

/// Takes events, one after the other.
pub(super) struct Recorder {
    builder: Builder,
    clock: Option<Clock>,
    nemesis: Nemesis,
    /// By process, whether its open operation has its key within its value.
    tuples: Vec<bool>,
}

impl Recorder {
    pub fn new() -> Self {
        Self {
            builder: Builder::new(Clock::default()),
            clock: None,
            nemesis: Nemesis::default(),
            tuples: Vec::new(),
        }
    }

    /// The history, when there are no more events.
    pub fn finish(mut self, source: &str) -> Result<History, ReadError> {
        if self.clock.is_none() {
            let found = "no operation in it";
            return Err(ReadError::Empty { file: source.to_owned(), found });
        }
        let history = self.builder.history_mut();
        history.clock = self.clock.unwrap_or_default();
        history.faults = self.nemesis.faults;
        Ok(self.builder.finish())
    }

    /// Takes one event.
    pub fn event(&mut self, event: &Event<'_>, place: &dyn Fn() -> Place) -> Result<(), ReadError> {
        let known = "one of invoke, ok, fail and info as `type`";
        let outcome = match event.kind.as_ref().and_then(Term::name) {
            Some("invoke") => None,
            Some("ok") => Some(Outcome::Ok),
            // It has not happened. Should a reader take a failed compare-and-set for one that was
            // executed and found another value, this is the line: `Ok`, with `Told::Swapped(false)`.
            Some("fail") => Some(Outcome::Fail),
            Some("info") => Some(Outcome::Unknown),
            _ => return Err(malformed(place, known, event.kind.as_ref())),
        };
        let at = self.time(event, place)?;
        let process: Cow<'_, str> = match &event.process {
            Some(Term::Number(digits)) => Cow::Borrowed(digits),
            Some(Term::Keyword(name) | Term::Text(name)) if name == "nemesis" => {
                let now = at.unwrap_or(u64::from(self.builder.events()));
                self.nemesis.event(event.f.as_ref(), event.value.as_ref(), now);
                return Ok(());
            }
            Some(Term::Text(name) | Term::Keyword(name)) => Cow::Borrowed(name),
            other => {
                let expected = "a number, a string or a keyword as `process`";
                return Err(malformed(place, expected, other.as_ref()));
            }
        };
        let process = self.builder.process(&process);
        match outcome {
            None => self.invoke(event, process, at, place),
            Some(outcome) => self.complete(event, process, outcome, at, place),
        }
    }

    fn time(
        &mut self,
        event: &Event<'_>,
        place: &dyn Fn() -> Place,
    ) -> Result<Option<u64>, ReadError> {
        let time = match &event.time {
            None | Some(Term::Nil) => None,
            Some(Term::Number(digits)) => {
                let expected = "nanoseconds, a whole number from 0, as `time`";
                let wrong = || malformed(place, expected, event.time.as_ref());
                Some(digits.parse().map_err(|_| wrong())?)
            }
            other => {
                return Err(malformed(place, "a number of nanoseconds as `time`", other.as_ref()));
            }
        };
        let clock = *self.clock.get_or_insert(match time {
            Some(_) => Clock::Nanoseconds,
            None => Clock::Steps,
        });
        match (clock, time) {
            (Clock::Nanoseconds, None) => {
                let expected = "nanoseconds as `time`, as the operations before have it";
                Err(malformed(place, expected, None))
            }
            (Clock::Nanoseconds, time) => Ok(time),
            _ => Ok(None),
        }
    }

    fn invoke(
        &mut self,
        event: &Event<'_>,
        process: ProcessId,
        at: Option<u64>,
        place: &dyn Fn() -> Place,
    ) -> Result<(), ReadError> {
        let said = self.said(event, None, place)?;
        let key = KeyId(self.builder.key(said.key.as_deref().unwrap_or(ONE_KEY)).0);
        let replica = match &event.replica {
            Some(Term::Number(digits)) => digits.parse().ok().map(ReplicaId),
            _ => None,
        };
        let slot = process.0 as usize;
        if self.tuples.len() <= slot {
            self.tuples.resize(slot + 1, false);
        }
        let built = self.builder.begin(process, key, said.action, replica, at);
        built.map_err(|error| ReadError::Build { place: place(), error })?;
        self.tuples[slot] = said.tuple;
        Ok(())
    }

    fn complete(
        &mut self,
        event: &Event<'_>,
        process: ProcessId,
        outcome: Outcome,
        at: Option<u64>,
        place: &dyn Fn() -> Place,
    ) -> Result<(), ReadError> {
        let mut told = Told::Nothing;
        // What did not end ok has an error for its value, or what the invocation said.
        if let (Outcome::Ok, Some(open)) = (outcome, self.builder.open(process)) {
            let (open, tuple) = (*open, self.tuples[process.0 as usize]);
            let said = self.said(event, Some((open.action, tuple)), place)?;
            let key = said.key.as_deref();
            if key.is_some_and(|key| key != self.builder.history().key(open.key)) {
                let name = self.builder.history().key(open.key);
                let expected = format!("the key {name}, as it was invoked");
                return Err(malformed(place, &expected, key.map(text_term).as_ref()));
            }
            told = match (said.action, said.told) {
                (Action::Read(_), value) => Told::Value(value.unwrap_or(ValueId::NIL)),
                // Some tests do not repeat the value.
                (action, None) if same_kind(action, open.action) => Told::Nothing,
                (action, _) => Told::Action(action),
            };
            if let (Told::Value(_), action) = (told, open.action)
                && !matches!(action, Action::Read(_) | Action::Other(_))
            {
                told = Told::Action(Action::Read(ValueId::NIL));
            }
            agree::check(&self.builder, process, told, place)?;
        }
        let built = self.builder.end(process, outcome, told, at);
        built.map(|_| ()).map_err(|error| ReadError::Build { place: place(), error })
    }

    /// What an event says. A completion may leave out what its invocation said.
    fn said(
        &mut self,
        event: &Event<'_>,
        open: Option<(Action, bool)>,
        place: &dyn Fn() -> Place,
    ) -> Result<Said, ReadError> {
        let value = event.value.as_ref().filter(|value| **value != Term::Nil);
        let f = match event.f.as_ref().map(|f| (f.name(), f)) {
            Some((Some(name), _)) => name,
            None if is_transaction(value) => "txn",
            None if open.is_some() => "",
            found => {
                let expected = "the name of a function as `f`";
                return Err(malformed(place, expected, found.map(|(_, f)| f)));
            }
        };
        if f == "txn" {
            return self.transaction(value, place);
        }
        let mut key = event.key.as_ref().map(|key| plain(key).into_owned());
        let (within, value, tuple) = match (untuple(f, value, &key, open), value) {
            (Some((within, value)), _) => (Some(plain(within).into_owned()), value, true),
            (None, value) => (None, value, false),
        };
        key = key.or(within);
        let (action, told) = self.action(f, value, open.map(|(action, _)| action), place)?;
        Ok(Said { key, tuple, action, told })
    }

    fn action(
        &mut self,
        f: &str,
        value: Option<&Term<'_>>,
        open: Option<Action>,
        place: &dyn Fn() -> Place,
    ) -> Result<(Action, Option<ValueId>), ReadError> {
        let value = value.filter(|value| **value != Term::Nil);
        let id =
            |recorder: &mut Self| value.map(|value| recorder.builder.value(Some(&text(value))));
        let (make, missing): (fn(ValueId) -> Action, _) = match (f, open) {
            ("", Some(Action::Read(_))) | ("read" | "get" | "r", _) => (Action::Read, None),
            ("write" | "put" | "set" | "w", _) => (Action::Write, None),
            ("append", open) => (Action::Append, Some(open)),
            ("delete" | "del", _) => return Ok((Action::Write(ValueId::NIL), None)),
            ("cas" | "compare-and-set", _) => return self.cas(value, open, place),
            ("", Some(action)) => return Ok((action, None)),
            (other, _) => return Ok((Action::Other(self.builder.value(Some(other))), None)),
        };
        match (id(self), missing) {
            (None, Some(None)) => Err(malformed(place, "the text to append as `value`", None)),
            (id, _) => Ok((make(id.unwrap_or(ValueId::NIL)), id)),
        }
    }

    fn cas(
        &mut self,
        value: Option<&Term<'_>>,
        open: Option<Action>,
        place: &dyn Fn() -> Place,
    ) -> Result<(Action, Option<ValueId>), ReadError> {
        match (value, open) {
            (Some(Term::List(two)), _) if two.len() == 2 => {
                let from = self.stored(&two[0]);
                let to = self.stored(&two[1]);
                Ok((Action::Cas { from, to, swapped: true }, Some(to)))
            }
            (None, Some(_)) => {
                let nil = ValueId::NIL;
                Ok((Action::Cas { from: nil, to: nil, swapped: true }, None))
            }
            (other, _) => Err(malformed(place, "two values [from to] as `value` of cas", other)),
        }
    }

    fn stored(&mut self, term: &Term<'_>) -> ValueId {
        match term {
            Term::Nil => ValueId::NIL,
            term => self.builder.value(Some(&text(term))),
        }
    }

    /// A transaction of one micro-operation `[f key value]`.
    fn transaction(
        &mut self,
        value: Option<&Term<'_>>,
        place: &dyn Fn() -> Place,
    ) -> Result<Said, ReadError> {
        let several = "a transaction of one micro-operation (the models here are of single \
                       operations; a history with real time cannot be taken apart into them)";
        let operation = match value {
            Some(Term::List(operations)) => match operations.as_slice() {
                [one] => one,
                _ => {
                    let found = format!("one of {}", operations.len());
                    let (place, expected) = (place(), several.to_owned());
                    return Err(ReadError::Malformed { place, expected, found });
                }
            },
            other => return Err(malformed(place, several, other)),
        };
        let shape = "a micro-operation [r key value], [w key value] or [append key value]";
        let Term::List(parts) = operation else {
            return Err(malformed(place, shape, Some(operation)));
        };
        let (f, key, value) = match parts.as_slice() {
            [f, key] => (f.name(), key, &Term::Nil),
            [f, key, value] => (f.name(), key, value),
            _ => return Err(malformed(place, shape, Some(operation))),
        };
        let told = match value {
            Term::Nil => None,
            // A list that was appended to, as the text that its elements were joined to.
            Term::List(elements) => {
                let joined: String = elements.iter().map(element).collect();
                Some(self.builder.value(Some(&joined)))
            }
            term if f == Some("append") => Some(self.builder.value(Some(&element(term)))),
            term => Some(self.stored(term)),
        };
        let action = match (f, told) {
            (Some("r" | "read"), told) => Action::Read(told.unwrap_or(ValueId::NIL)),
            (Some("w" | "write"), told) => Action::Write(told.unwrap_or(ValueId::NIL)),
            (Some("append"), Some(value)) => Action::Append(value),
            _ => return Err(malformed(place, shape, Some(operation))),
        };
        Ok(Said { key: Some(plain(key).into_owned()), tuple: false, action, told })
    }
}

/// The key and the value of a tuple. Without a field for the key, a pair is a tuple where a single value is
/// expected; a read's completion is one where its invocation was.
fn untuple<'t, 'a>(
    f: &str,
    value: Option<&'t Term<'a>>,
    key: &Option<String>,
    open: Option<(Action, bool)>,
) -> Option<(&'t Term<'a>, Option<&'t Term<'a>>)> {
    let Some(Term::List(pair)) = value else { return None };
    let [within, value] = pair.as_slice() else { return None };
    let is_tuple = match (open, f) {
        _ if key.is_some() => false,
        (Some((_, tuple)), _) => tuple,
        (None, "cas" | "compare-and-set") => matches!(value, Term::List(_)),
        (None, "read" | "get" | "r") => *value == Term::Nil,
        (None, "write" | "put" | "set" | "w" | "append" | "delete" | "del") => true,
        (None, _) => false,
    };
    is_tuple.then_some((within, Some(value)))
}

fn is_transaction(value: Option<&Term<'_>>) -> bool {
    match value {
        Some(Term::List(operations)) => {
            operations.first().is_some_and(|first| matches!(first, Term::List(_)))
        }
        _ => false,
    }
}

fn same_kind(one: Action, other: Action) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

/// A value as text: strings and numbers as they are, all else as EDN.
fn text<'t>(term: &'t Term<'_>) -> Cow<'t, str> {
    match term {
        Term::Number(text) | Term::Text(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// A key as text: as [`text`], and keywords without their colon, as JSON writes them.
fn plain<'t>(term: &'t Term<'_>) -> Cow<'t, str> {
    match term {
        Term::Keyword(name) => Cow::Borrowed(name),
        other => text(other),
    }
}

fn text_term(text: &str) -> Term<'_> {
    Term::Text(Cow::Borrowed(text))
}

/// What appending an element joins to the text of a list: `1,`. No two lists have the same text.
fn element(term: &Term<'_>) -> String {
    text(term).replace('\\', "\\\\").replace(',', "\\,") + ","
}

fn malformed(place: &dyn Fn() -> Place, expected: &str, found: Option<&Term<'_>>) -> ReadError {
    let found = match found {
        None => "none".to_owned(),
        Some(term) => shown(&term.to_string()),
    };
    ReadError::Malformed { place: place(), expected: expected.to_owned(), found }
}
