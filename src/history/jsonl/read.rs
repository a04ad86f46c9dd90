//! Reads the lab's own format.

use std::borrow::Cow;
use std::io::BufRead;

use serde_json::Value;

use super::super::agree;
use super::super::error::{Place, ReadError, shown};
use super::super::lines::{Line, Lines};
use super::super::{
    Action, Builder, Clock, Fault, History, KeyId, Message, OpId, Outcome, ProcessId, Together,
    Told, ValueId,
};
use super::fields::{Fields, Found, KINDS, Kind, Object, Text, scalar};
use super::put::Order;
use super::scan::scan;
use crate::base::ReplicaId;

/// Reads a history in the lab's own format.
///
/// # Errors
/// Where the input is not one.
pub fn read(input: &mut dyn BufRead, source: &str) -> Result<History, ReadError> {
    let mut lines = Lines::new(input, source);
    let mut reader = Reader::new();
    while let Some(line) = lines.next()? {
        reader.line(line)?;
    }
    reader.finish(source)
}

/// An event that waits to be sorted by time.
struct Pending {
    time: u64,
    line: u64,
    process: ProcessId,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Begin { key: KeyId, action: Action, replica: Option<ReplicaId> },
    End { outcome: Outcome, told: Told },
}

/// Takes lines, one after the other.
pub(in crate::history) struct Reader {
    builder: Builder,
    /// What the times are, once that is known: from the header, or from the first event.
    clock: Option<Clock>,
    order: Order,
    /// Whether a line said anything.
    begun: bool,
    pending: Vec<Pending>,
    /// What is one command, and the number of the line that says so.
    together: Vec<(u64, Together)>,
    /// By process, the time of its last event, where lines are to be sorted.
    last: Vec<Option<u64>>,
}

impl Reader {
    pub fn new() -> Self {
        Self {
            builder: Builder::new(Clock::default()),
            clock: None,
            order: Order::Lines,
            begun: false,
            pending: Vec::new(),
            together: Vec::new(),
            last: Vec::new(),
        }
    }

    /// Takes one line; empty ones say nothing.
    pub fn line(&mut self, line: Line<'_>) -> Result<(), ReadError> {
        if let Some(fields) = scan(line.text) {
            self.begun = true;
            return self.event(line, &fields);
        }
        if line.text.trim_ascii().is_empty() {
            return Ok(());
        }
        let object = Object::parse(line)?;
        if object.get("history").is_some() {
            self.header(&object)?;
            self.begun = true;
            return Ok(());
        }
        self.begun = true;
        let name = object.string("type")?;
        if let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == name) {
            return self.event(line, &object.fields(*kind)?);
        }
        match name {
            "fault" => self.fault(&object),
            "message" => self.message(&object),
            "together" => self.together(&object),
            "replicas" => self.replica_names(&object),
            _ if name.starts_with("x-") => Ok(()),
            _ => {
                let known =
                    "invoke, ok, fail, info, deliver, fault, message, replicas, together or x-…";
                Err(object.wrong("type", known))
            }
        }
    }

    fn header(&mut self, object: &Object<'_>) -> Result<(), ReadError> {
        if self.begun {
            let found = "a second header, or one behind events";
            return Err(object.line.malformed(0, "an event", found));
        }
        if object.number("history")? != Some(1) {
            return Err(object.wrong("history", "1, the version of the format,"));
        }
        if object.get("claim").is_some_and(|claim| !claim.is_null()) {
            self.builder.history_mut().claim = Some(object.string("claim")?.to_owned());
        }
        if object.get("clock").is_some() {
            self.clock = Some(match object.string("clock")? {
                "ns" => Clock::Nanoseconds,
                "steps" => Clock::Steps,
                "process-order" => Clock::ProcessOrder,
                _ => return Err(object.wrong("clock", "ns, steps or process-order")),
            });
        }
        if object.get("order").is_some() {
            self.order = match object.string("order")? {
                "lines" => Order::Lines,
                "time" => Order::Time,
                _ => return Err(object.wrong("order", "lines or time")),
            };
        }
        match object.get("initial") {
            None => Ok(()),
            Some(Value::Object(initial)) => {
                for (key, value) in initial {
                    let expected = "a string, a number or null for each key";
                    let value = scalar(value).ok_or_else(|| object.wrong("initial", expected))?;
                    let entry = (self.builder.key(key), self.builder.value(value.as_deref()));
                    self.builder.history_mut().initial.push(entry);
                }
                Ok(())
            }
            Some(_) => Err(object.wrong("initial", "an object from keys to values")),
        }
    }

    fn event(&mut self, line: Line<'_>, fields: &Fields<'_>) -> Result<(), ReadError> {
        let clock = *self.clock.get_or_insert(match fields.time {
            Some(_) => Clock::Nanoseconds,
            None => Clock::Steps,
        });
        let must = clock == Clock::Nanoseconds || self.order == Order::Time;
        if must && fields.time.is_none() {
            return Err(missing(line, "time", "the time of the event, as on the other lines,"));
        }
        match fields.kind {
            Kind::Deliver => self.deliver(line, fields),
            Kind::Invoke => {
                let process = self.process(line, fields)?;
                let name = fields.key.as_deref();
                let key = name.ok_or_else(|| missing(line, "key", "the key of the operation"))?;
                let key = self.builder.key(key);
                let action = self.action(line, fields)?;
                let replica = fields.replica.map(ReplicaId);
                self.push(line, fields.time, process, What::Begin { key, action, replica })
            }
            Kind::Ok | Kind::Fail | Kind::Info => {
                let process = self.process(line, fields)?;
                let outcome = match fields.kind {
                    Kind::Ok => Outcome::Ok,
                    Kind::Fail => Outcome::Fail,
                    _ => Outcome::Unknown,
                };
                let told = match outcome {
                    Outcome::Ok => self.told(line, fields)?,
                    Outcome::Fail | Outcome::Unknown => Told::Nothing,
                };
                self.push(line, fields.time, process, What::End { outcome, told })
            }
        }
    }

    fn process(&mut self, line: Line<'_>, fields: &Fields<'_>) -> Result<ProcessId, ReadError> {
        match fields.process.as_deref() {
            Some(name) => Ok(self.builder.process(name)),
            None => Err(missing(line, "process", "who asked, a string or a number,")),
        }
    }

    fn value(&mut self, text: &Option<Text<'_>>) -> ValueId {
        self.builder.value(text.as_deref())
    }

    fn action(&mut self, line: Line<'_>, fields: &Fields<'_>) -> Result<Action, ReadError> {
        let Some(f) = fields.f.as_deref() else {
            return Err(missing(line, "f", "the name of the operation"));
        };
        let wrong = |expected: &str| wrong_value(line, fields, f, expected);
        Ok(match (f, &fields.value) {
            ("read", None | Some(Found::One(_))) => Action::Read(ValueId::NIL),
            ("write", Some(Found::One(value))) => Action::Write(self.value(value)),
            ("append", Some(Found::One(Some(value)))) => {
                Action::Append(self.builder.value(Some(value)))
            }
            ("delete", None | Some(Found::One(None))) => Action::Write(ValueId::NIL),
            ("cas", Some(Found::Two(from, to))) => {
                let (from, to) = (self.value(from), self.value(to));
                Action::Cas { from, to, swapped: fields.swapped.unwrap_or(true) }
            }
            ("read", _) => return Err(wrong("no value, or null,")),
            ("write", _) => return Err(wrong("the value to write")),
            ("append", _) => return Err(wrong("the text to append")),
            ("delete", _) => return Err(wrong("no value, or null,")),
            ("cas", _) => return Err(wrong("an array of two values, from and to,")),
            (other, _) => Action::Other(self.builder.value(Some(other))),
        })
    }

    fn told(&mut self, line: Line<'_>, fields: &Fields<'_>) -> Result<Told, ReadError> {
        Ok(match (fields.f.as_deref(), &fields.value, fields.swapped) {
            (Some("read") | None, Some(Found::One(value)), _) => Told::Value(self.value(value)),
            (None, Some(Found::Two(from, to)), swapped) => {
                let (from, to) = (self.value(from), self.value(to));
                Told::Action(Action::Cas { from, to, swapped: swapped.unwrap_or(true) })
            }
            (Some(_), _, _) => Told::Action(self.action(line, fields)?),
            (None, _, Some(swapped)) => Told::Swapped(swapped),
            (None, _, None) => Told::Nothing,
        })
    }

    fn push(
        &mut self,
        line: Line<'_>,
        time: Option<u64>,
        process: ProcessId,
        what: What,
    ) -> Result<(), ReadError> {
        if self.order == Order::Lines {
            return self.build(process, what, time, || line.place(0));
        }
        // `event` has seen to it that there is one.
        let time = time.unwrap_or_default();
        let slot = process.0 as usize;
        if self.last.len() <= slot {
            self.last.resize(slot + 1, None);
        }
        if let Some(last) = self.last[slot]
            && last >= time
        {
            let name = self.builder.history_mut().process(process);
            let expected = format!("a time after {last}, that of the last line of process {name}");
            return Err(line.malformed(field(line, "time"), expected, time.to_string()));
        }
        self.last[slot] = Some(time);
        self.pending.push(Pending { time, line: line.number, process, what });
        Ok(())
    }

    fn build(
        &mut self,
        process: ProcessId,
        what: What,
        at: Option<u64>,
        place: impl Fn() -> Place,
    ) -> Result<(), ReadError> {
        let built = match what {
            What::Begin { key, action, replica } => {
                self.builder.begin(process, key, action, replica, at)
            }
            What::End { outcome, told } => {
                agree::check(&self.builder, process, told, &place)?;
                let open = self.builder.open(process);
                let read = open.is_some_and(|open| matches!(open.action, Action::Read(_)));
                // A read that does not say what it found says nothing.
                let silent = read && outcome == Outcome::Ok && told == Told::Nothing;
                let outcome = if silent { Outcome::Unknown } else { outcome };
                self.builder.end(process, outcome, told, at)
            }
        };
        built.map(|_| ()).map_err(|error| ReadError::Build { place: place(), error })
    }

    fn deliver(&mut self, line: Line<'_>, fields: &Fields<'_>) -> Result<(), ReadError> {
        let Some(replica) = fields.replica else {
            return Err(missing(line, "replica", "the number of a replica"));
        };
        let Some(key) = fields.key.as_deref() else {
            return Err(missing(line, "key", "the key that was written"));
        };
        let key = self.builder.key(key);
        let value = match &fields.value {
            Some(Found::One(value)) => self.builder.value(value.as_deref()),
            _ => return Err(wrong_value(line, fields, "deliver", "the value that was written")),
        };
        let at = fields.time.unwrap_or(u64::from(self.builder.events()));
        self.builder.deliver(ReplicaId(replica), key, value, at);
        Ok(())
    }

    fn fault(&mut self, object: &Object<'_>) -> Result<(), ReadError> {
        let expected = "an array of the numbers of replicas";
        let replica = |value: &Value| {
            let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
            number.map(ReplicaId).ok_or_else(|| object.wrong("replicas", expected))
        };
        let replicas = match object.get("replicas") {
            None => Vec::new(),
            Some(Value::Array(replicas)) => {
                replicas.iter().map(replica).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(object.wrong("replicas", expected)),
        };
        let name = object.string("name")?.to_owned();
        let from = required(object, "from", object.number("from")?)?;
        let fault = Fault { name, replicas, from, until: object.number("until")? };
        self.builder.history_mut().faults.push(fault);
        Ok(())
    }

    fn message(&mut self, object: &Object<'_>) -> Result<(), ReadError> {
        let message = Message {
            from: ReplicaId(required(object, "from", object.replica("from")?)?),
            to: ReplicaId(required(object, "to", object.replica("to")?)?),
            sent: required(object, "sent", object.number("sent")?)?,
            received: object.number("received")?,
            label: match object.get("label") {
                None => String::new(),
                Some(_) => object.string("label")?.to_owned(),
            },
        };
        self.builder.history_mut().messages.push(message);
        Ok(())
    }

    fn replica_names(&mut self, object: &Object<'_>) -> Result<(), ReadError> {
        let Some(Value::Array(names)) = object.get("names") else {
            return Err(object.wrong("names", "an array of texts"));
        };
        let name = |name: &Value| {
            name.as_str()
                .map(str::to_owned)
                .ok_or_else(|| object.wrong("names", "an array of texts"))
        };
        let names = names.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        if names.len() > usize::from(u16::MAX) {
            return Err(object.wrong("names", "at most 65535 texts"));
        }
        self.builder.history_mut().replica_names = names;
        Ok(())
    }

    fn together(&mut self, object: &Object<'_>) -> Result<(), ReadError> {
        let expected = "an array of the numbers of operations, rising,";
        let Some(Value::Array(numbers)) = object.get("operations") else {
            return Err(object.wrong("operations", expected));
        };
        let number = |value: &Value| {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.map(OpId).ok_or_else(|| object.wrong("operations", expected))
        };
        let operations = numbers.iter().map(number).collect::<Result<Vec<_>, _>>()?;
        if !operations.is_sorted_by(|a, b| a < b) || operations.is_empty() {
            return Err(object.wrong("operations", expected));
        }
        let found = object.number("found")?.map(|found| u32::try_from(found).unwrap_or(u32::MAX));
        self.together.push((object.line.number, Together { operations, found }));
        Ok(())
    }

    /// Operations that are one command exist, and are of one command only.
    fn check_together(&mut self, source: &str) -> Result<(), ReadError> {
        let mut taken = vec![false; self.builder.history().operations.len()];
        for (line, together) in std::mem::take(&mut self.together) {
            for id in &together.operations {
                if taken.get(id.index()).is_none_or(|taken| *taken) {
                    let place = Place { file: source.to_owned(), line, column: 1 };
                    let expected =
                        "the numbers of operations that no other line puts together".to_owned();
                    return Err(ReadError::Malformed { place, expected, found: id.0.to_string() });
                }
                taken[id.index()] = true;
            }
            self.builder.history_mut().together.push(together);
        }
        Ok(())
    }

    /// The history, when there are no more lines.
    pub fn finish(mut self, source: &str) -> Result<History, ReadError> {
        if !self.begun {
            let found = "an empty file";
            return Err(ReadError::Empty { file: source.to_owned(), found });
        }
        self.builder.history_mut().clock = self.clock.unwrap_or_default();
        // Stable: each process' own events stay in their order. What began at the same moment as
        // something ended overlapped it, as far as anybody can tell.
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_by_key(|event| (event.time, matches!(event.what, What::End { .. })));
        for event in pending {
            let place = || Place { file: source.to_owned(), line: event.line, column: 1 };
            self.build(event.process, event.what, Some(event.time), place)?;
        }
        self.check_together(source)?;
        if self.order == Order::Time {
            self.builder.history_mut().deliveries.sort_by_key(|delivery| delivery.at);
        }
        Ok(self.builder.finish())
    }
}

fn required<T>(object: &Object<'_>, name: &str, found: Option<T>) -> Result<T, ReadError> {
    found.ok_or_else(|| object.wrong(name, "a number"))
}

/// Where a field stands on its line, or the start.
fn field(line: Line<'_>, name: &str) -> usize {
    line.text.find(&format!("\"{name}\"")).unwrap_or(0)
}

fn missing(line: Line<'_>, name: &str, expected: &str) -> ReadError {
    let found = format!("an event without it: {}", shown(line.text));
    line.malformed(0, format!("{expected} as `{name}`"), found)
}

fn wrong_value(line: Line<'_>, fields: &Fields<'_>, f: &str, expected: &str) -> ReadError {
    let one = |value: &Option<Text<'_>>| match value {
        None => Cow::Borrowed("null"),
        Some(text) => Cow::Owned(format!("{text:?}")),
    };
    let found = match &fields.value {
        None => "no `value`".to_owned(),
        Some(Found::One(value)) => shown(&one(value)),
        Some(Found::Two(from, to)) => shown(&format!("[{},{}]", one(from), one(to))),
    };
    line.malformed(field(line, "value"), format!("{expected} as `value` of {f}"), found)
}
