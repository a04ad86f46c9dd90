//! The data of the picture: one JSON object of columns.
//!
//! A column is a list of numbers, one an operation (or a delivery, a message). Names are numbers too, into lists
//! of texts that hold only what is shown. Times are counted from the page's time 0; in a column they
//! are written as differences to the row before, which keeps them short. An operation takes about 30 bytes.
//!
//! ```text
//! clock       "ns" | "steps" | "order"
//! total       operations of the whole history
//! processes, keys, values, labels      texts
//! ids         the operations' numbers in the whole history; only where it is not shown as a whole
//! ops         p process, k key, a kind * 3 + outcome, v value, w value that a compare-and-set sets,
//!             r replica or -1, s start (difference), d duration or -1 where it has no end
//! deliveries  r replica, o row of its operation or -1, k key, v value, t time (difference)
//! messages    f from, t to, l label, s sent (difference), d duration or -1 where it was lost
//! nodes       what replicas are called, by number; empty where they have no names
//! faults      [name, [replicas], from, until or null]
//! witness     rows of `ops`; culprit: one of them or -1
//! ```
//!
//! Kinds: 0 read, 1 write, 2 compare-and-set, 3 the same that found another value, 4 append, 5 other. Outcomes:
//! 0 ok, 1 fail, 2 unknown.

use std::io::{self, Write};

use super::Page;
use super::part::Part;
use super::text::{bound, cut, json, named};
use crate::history::{Action, Clock, History, Names, OpId, Operation, Outcome, ValueId};

/// The most faults on one page.
const MAX_FAULTS: usize = 2_000;

/// Old numbers to new ones, given out as they are asked for.
struct Renumbered {
    new: Vec<u32>,
    old: Vec<u32>,
}

const NO_NUMBER: u32 = u32::MAX;

impl Renumbered {
    fn of(count: usize) -> Self {
        Self { new: vec![NO_NUMBER; count], old: Vec::new() }
    }

    fn id(&mut self, old: u32) -> i128 {
        let Some(slot) = self.new.get_mut(old as usize) else { return 0 };
        if *slot == NO_NUMBER {
            *slot = self.old.len() as u32;
            self.old.push(old);
        }
        i128::from(*slot)
    }

    fn write(&self, names: &Names, name: &str, out: &mut dyn Write) -> io::Result<()> {
        let max = bound(self.old.len());
        let texts = self.old.iter().map(|old| names.text(*old));
        write_texts(name, texts, max, out)
    }
}

fn write_texts<'a>(
    name: &str,
    texts: impl Iterator<Item = &'a str>,
    max: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    write!(out, "\"{name}\":[")?;
    for (at, text) in texts.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(out, "{comma}{}", json(&cut(named(text), max)))?;
    }
    out.write_all(b"],\n")
}

/// Columns in the making.
struct Columns<const N: usize> {
    names: [&'static str; N],
    columns: [Vec<i128>; N],
}

impl<const N: usize> Columns<N> {
    fn new(names: [&'static str; N]) -> Self {
        Self { names, columns: std::array::from_fn(|_| Vec::new()) }
    }

    fn push(&mut self, row: [i128; N]) {
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(value);
        }
    }

    fn write(&self, name: &str, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "\"{name}\":{{")?;
        for (at, (name, column)) in self.names.iter().zip(&self.columns).enumerate() {
            let comma = if at == 0 { "" } else { ",\n" };
            write!(out, "{comma}\"{name}\":[")?;
            for (row, value) in column.iter().enumerate() {
                let comma = if row == 0 { "" } else { "," };
                write!(out, "{comma}{value}")?;
            }
            out.write_all(b"]")?;
        }
        out.write_all(b"},\n")
    }
}

/// Differences of times to the one before, the first to the origin.
struct Differences {
    last: i128,
}

impl Differences {
    fn from(origin: u64) -> Self {
        Self { last: i128::from(origin) }
    }

    fn next(&mut self, at: u64) -> i128 {
        let at = i128::from(at);
        let difference = at - self.last;
        self.last = at;
        difference
    }
}

/// From one time to a later one; 0 where it is not later, -1 where it never comes.
fn duration(from: u64, until: Option<u64>) -> i128 {
    until.map_or(-1, |until| i128::from(until.saturating_sub(from)))
}

/// Writes the data as JSON that may stand in a script element.
pub(super) fn write_data(page: &Page<'_>, part: &Part, out: &mut dyn Write) -> io::Result<()> {
    let history = page.history;
    let clock = match history.clock {
        Clock::Nanoseconds => "ns",
        Clock::Steps => "steps",
        Clock::ProcessOrder => "order",
    };
    let total = history.operations.len();
    writeln!(out, "{{\"clock\":\"{clock}\",\"total\":{total},")?;
    let mut texts = Texts::of(history);
    write_operations(history, part, &mut texts, out)?;
    write_deliveries(history, part, &mut texts, out)?;
    write_messages(history, part, out)?;
    texts.processes.write(&history.processes, "processes", out)?;
    texts.keys.write(&history.keys, "keys", out)?;
    texts.values.write(&history.values, "values", out)?;
    let names = history.replica_names.iter().map(String::as_str);
    write_texts("nodes", names, bound(history.replica_names.len()), out)?;
    write_faults(history, part, out)?;
    let row = |id: &OpId| part.operations.binary_search(id).ok();
    let mut witness: Vec<usize> = page.witness.iter().filter_map(row).collect();
    witness.sort_unstable();
    witness.dedup();
    let culprit = page.culprit.as_ref().and_then(row).map_or(-1, |row| row as i64);
    writeln!(out, "\"witness\":{witness:?},\"culprit\":{culprit}}}")
}

/// The texts that are shown.
struct Texts {
    processes: Renumbered,
    keys: Renumbered,
    values: Renumbered,
}

impl Texts {
    fn of(history: &History) -> Self {
        Self {
            processes: Renumbered::of(history.processes.len()),
            keys: Renumbered::of(history.keys.len()),
            values: Renumbered::of(history.values.len()),
        }
    }
}

fn kind(operation: &Operation) -> (i128, ValueId, ValueId) {
    let (kind, value, second) = match operation.action {
        Action::Read(value) => (0, value, value),
        Action::Write(value) => (1, value, value),
        Action::Cas { from, to, swapped: true } => (2, from, to),
        Action::Cas { from, to, swapped: false } if operation.outcome == Outcome::Ok => {
            (3, from, to)
        }
        Action::Cas { from, to, swapped: false } => (2, from, to),
        Action::Append(value) => (4, value, value),
        Action::Other(name) => (5, name, name),
    };
    let outcome = match operation.outcome {
        Outcome::Ok => 0,
        Outcome::Fail => 1,
        Outcome::Unknown => 2,
    };
    (kind * 3 + outcome, value, second)
}

fn write_operations(
    history: &History,
    part: &Part,
    texts: &mut Texts,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut columns = Columns::new(["p", "k", "a", "v", "w", "r", "s", "d"]);
    let mut starts = Differences::from(part.origin);
    for id in &part.operations {
        let operation = history.operation(*id);
        let (kind, value, second) = kind(operation);
        let value = texts.values.id(value.0);
        columns.push([
            texts.processes.id(operation.process.0),
            texts.keys.id(operation.key.0),
            kind,
            value,
            // Only a compare-and-set has a second value; for all others a 0 is shortest.
            if matches!(operation.action, Action::Cas { .. }) {
                texts.values.id(second.0)
            } else {
                0
            },
            operation.replica.map_or(-1, |replica| i128::from(replica.0)),
            starts.next(operation.invoked_at),
            duration(operation.invoked_at, operation.completed_at),
        ]);
    }
    if part.operations.len() < history.operations.len() {
        let ids: Vec<u32> = part.operations.iter().map(|id| id.0).collect();
        writeln!(out, "\"ids\":{ids:?},")?;
    }
    columns.write("ops", out)
}

fn write_deliveries(
    history: &History,
    part: &Part,
    texts: &mut Texts,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut columns = Columns::new(["r", "o", "k", "v", "t"]);
    let mut times = Differences::from(part.origin);
    for index in &part.deliveries {
        let delivery = &history.deliveries[*index];
        let row = delivery.operation.and_then(|id| part.operations.binary_search(&id).ok());
        columns.push([
            i128::from(delivery.replica.0),
            row.map_or(-1, |row| row as i128),
            texts.keys.id(delivery.key.0),
            texts.values.id(delivery.value.0),
            times.next(delivery.at),
        ]);
    }
    columns.write("deliveries", out)
}

fn write_messages(history: &History, part: &Part, out: &mut dyn Write) -> io::Result<()> {
    let mut labels = Names::default();
    let mut columns = Columns::new(["f", "t", "l", "s", "d"]);
    let mut times = Differences::from(part.origin);
    for index in &part.messages {
        let message = &history.messages[*index];
        columns.push([
            i128::from(message.from.0),
            i128::from(message.to.0),
            i128::from(labels.id(&message.label)),
            times.next(message.sent),
            duration(message.sent, message.received),
        ]);
    }
    columns.write("messages", out)?;
    let texts = (0..labels.len() as u32).map(|id| labels.text(id));
    write_texts("labels", texts, bound(labels.len()), out)
}

fn write_faults(history: &History, part: &Part, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"\"faults\":[")?;
    // Without a common time there is no place for them.
    let shown = if history.clock == Clock::ProcessOrder { 0 } else { MAX_FAULTS };
    let since = |at: u64| i128::from(at) - i128::from(part.origin);
    for (at, fault) in history.faults.iter().take(shown).enumerate() {
        let comma = if at == 0 { "" } else { ",\n" };
        let name = json(&cut(&fault.name, bound(history.faults.len())));
        let replicas: Vec<u16> = fault.replicas.iter().map(|replica| replica.0).collect();
        let until = fault.until.map_or("null".to_owned(), |until| since(until).to_string());
        write!(out, "{comma}[{name},{replicas:?},{},{until}]", since(fault.from))?;
    }
    out.write_all(b"],\n")
}
