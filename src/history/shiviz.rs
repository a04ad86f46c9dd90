//! ShiViz: a host with its vector clock on one line, what happened on the next.
//!
//! [ShiViz](https://bestchai.bitbucket.io/shiviz/) draws such logs as space-time diagrams. Its rules: a host's
//! own entry starts at 1 and steps by 1, no entry ever goes back, and no entry is ahead of its host.
//!
//! A history is written with a host a process and a host a replica; messages between replicas carry the clocks.
//! What happened is one line of the lab's own format, so that the history can be read back. Logs of other
//! programs have no operations in them, and are refused with a word that says so.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, BufRead, Write};

use hashbrown::HashMap;
use serde_json::{Value, json};

use super::error::{ReadError, shown};
use super::events::{Event, events};
use super::jsonl::{Reader, header, put_delivery, put_event, put_fault, put_header, put_message};
use super::lines::{Line, Lines};
use super::{History, Message};

/// The expression that ShiViz is to read the log by; the first line of a log.
pub(super) const EXPRESSION: &str = r"(?<host>\S*) (?<clock>{.*})\n(?<event>.*)";

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Reads a ShiViz log that this lab wrote.
///
/// # Errors
/// Where the input is none, breaks the rules of its clocks, or was written by another program.
pub fn read(input: &mut dyn BufRead, source: &str) -> Result<History, ReadError> {
    let mut lines = Lines::new(input, source);
    let mut clocks = Clocks::default();
    let mut reader = Reader::new();
    // Whether the next line says what happened.
    let mut inside = false;
    while let Some(line) = lines.next()? {
        let preamble = line.number == 1 && is_expression(line.text);
        if inside {
            if !line.text.starts_with('{') {
                let expected = "an event as this lab writes it, one line of its own format (a \
                                ShiViz log of another program has no operations to read)";
                return Err(line.malformed(0, expected, shown(line.text)));
            }
            reader.line(line)?;
            inside = false;
        } else if !preamble && !line.text.trim_ascii().is_empty() {
            clocks.stamp(line)?;
            inside = true;
        }
    }
    clocks.finish(source)?;
    reader.finish(source)
}

/// Whether a line is the expression that a log begins with.
pub(super) fn is_expression(line: &str) -> bool {
    ["(?<host>", "(?<clock>", "(?<event>"].iter().all(|group| line.contains(group))
}

/// Whether a line is a host and its clock.
pub(super) fn is_stamp(line: &str) -> bool {
    let Some((host, clock)) = line.split_once(' ') else { return false };
    !host.is_empty()
        && !host.starts_with(['{', '[', '(', ';'])
        && matches!(serde_json::from_str(clock), Ok(Value::Object(_)))
}

/// The clocks of all hosts, to keep the rules.
#[derive(Default)]
struct Clocks {
    last: Map<String, BTreeMap<String, u64>>,
    /// By host, the greatest entry that another host has for it, with its place.
    seen: BTreeMap<String, (u64, u64)>,
}

impl Clocks {
    fn stamp(&mut self, line: Line<'_>) -> Result<(), ReadError> {
        let shape = r#"a host and its vector clock: HOST {"HOST":1}"#;
        let wrong = || line.malformed(0, shape, shown(line.text));
        let (host, clock) = line.text.split_once(' ').ok_or_else(wrong)?;
        let Ok(Value::Object(clock)) = serde_json::from_str::<Value>(clock) else {
            return Err(wrong());
        };
        let mut entries = BTreeMap::new();
        for (name, value) in clock {
            let Some(value) = value.as_u64() else {
                let expected = format!("a whole number as the entry of {name}");
                let found = shown(&value.to_string());
                return Err(line.malformed(host.len() + 1, expected, found));
            };
            entries.insert(name, value);
        }
        let at = host.len() + 1;
        let nothing = BTreeMap::new();
        let last = self.last.get(host).unwrap_or(&nothing);
        let own = last.get(host).copied().unwrap_or(0).saturating_add(1);
        let found = entries.get(host).copied();
        if found != Some(own) {
            let expected =
                format!("{own} as the own entry of host {host} (it starts at 1 and steps by 1)");
            let found = found.map_or("none".to_owned(), |found| found.to_string());
            return Err(line.malformed(at, expected, found));
        }
        for (name, before) in last {
            let now = entries.get(name).copied().unwrap_or(0);
            if now < *before {
                let expected =
                    format!("at least {before} as the entry of {name} (entries never go back)");
                return Err(line.malformed(at, expected, now.to_string()));
            }
        }
        for (name, value) in &entries {
            let seen = self.seen.entry(name.clone()).or_default();
            if *value > seen.0 {
                *seen = (*value, line.number);
            }
        }
        self.last.insert(host.to_owned(), entries);
        Ok(())
    }

    /// When all lines are read: nobody knows of an event that never was.
    fn finish(&self, source: &str) -> Result<(), ReadError> {
        for (name, (value, number)) in &self.seen {
            let own = self.last.get(name).and_then(|clock| clock.get(name)).copied().unwrap_or(0);
            if *value > own {
                let expected =
                    format!("at most {own} as the entry of {name}, which has so many events,");
                let line = Line { text: "", number: *number, file: source };
                return Err(line.malformed(0, expected, value.to_string()));
            }
        }
        Ok(())
    }
}

/// Writes a history for ShiViz; [`read`] reads it back as it was.
///
/// # Errors
/// When the output fails.
pub fn write(history: &History, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = Writer {
        history,
        out,
        hosts: Map::default(),
        names: Vec::new(),
        clocks: Vec::new(),
        line: Vec::new(),
        underway: BinaryHeap::new(),
        carried: Map::default(),
        deliveries: 0,
        messages: 0,
    };
    write!(writer.out, "{EXPRESSION}\n\n")?;
    let lab = writer.host("lab");
    put_header(&mut writer.line, &header(history));
    writer.event(lab)?;
    for fault in &history.faults {
        put_fault(&mut writer.line, fault);
        writer.event(lab)?;
    }
    for (number, event) in events(history).into_iter().enumerate() {
        writer.until(event.at(history))?;
        writer.operation(event, number as u64)?;
    }
    writer.until(u64::MAX)
}

struct Writer<'a> {
    history: &'a History,
    out: &'a mut dyn Write,
    /// The number of each host by what it stands for, its name, and its clock.
    hosts: Map<String, usize>,
    names: Vec<String>,
    clocks: Vec<BTreeMap<usize, u64>>,
    /// What happened, to be written.
    line: Vec<u8>,
    /// Messages that were sent, by when they are received.
    underway: BinaryHeap<Reverse<(u64, usize)>>,
    /// By message, the clock that it carries.
    carried: Map<usize, BTreeMap<usize, u64>>,
    deliveries: usize,
    messages: usize,
}

impl Writer<'_> {
    /// The number of a host: `lab`, `process NAME` or `replica N`.
    fn host(&mut self, what: &str) -> usize {
        if let Some(host) = self.hosts.get(what) {
            return *host;
        }
        let plain = what.strip_prefix("process ").unwrap_or(what);
        let blank = |letter: char| letter.is_whitespace() || letter.is_control();
        let mut name = plain.replace(blank, "_");
        // No two hosts share a name, and none looks like something else.
        while name.is_empty()
            || name.starts_with(['{', '[', '(', ';'])
            || self.names.contains(&name)
        {
            name = format!("_{name}");
        }
        self.names.push(name);
        self.clocks.push(BTreeMap::new());
        self.hosts.insert(what.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    /// Writes what happened on a host.
    fn event(&mut self, host: usize) -> io::Result<()> {
        *self.clocks[host].entry(host).or_default() += 1;
        let name = |host: &usize| self.names[*host].clone();
        let clock = self.clocks[host].iter().map(|(host, time)| (name(host), (*time).into()));
        let clock = Value::Object(clock.collect());
        writeln!(self.out, "{} {clock}", self.names[host])?;
        self.out.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }

    fn operation(&mut self, event: Event, number: u64) -> io::Result<()> {
        let process = self.history.operation(event.id()).process;
        let host = self.host(&format!("process {}", self.history.process(process)));
        put_event(&mut self.line, self.history, event, number);
        self.event(host)
    }

    /// Writes what happened between replicas up to a time.
    fn until(&mut self, time: u64) -> io::Result<()> {
        let history = self.history;
        while let Some(message) = history.messages.get(self.messages)
            && message.sent <= time
        {
            self.received(message.sent)?;
            self.send(message)?;
        }
        self.received(time)?;
        while let Some(delivery) = history.deliveries.get(self.deliveries)
            && delivery.at <= time
        {
            let host = self.host(&format!("replica {}", delivery.replica));
            let (key, value) = (history.key(delivery.key), history.stored_text(delivery.value));
            put_delivery(&mut self.line, delivery.replica, key, value, delivery.at);
            self.event(host)?;
            self.deliveries += 1;
        }
        Ok(())
    }

    fn send(&mut self, message: &Message) -> io::Result<()> {
        let host = self.host(&format!("replica {}", message.from));
        put_message(&mut self.line, message);
        self.event(host)?;
        if let Some(received) = message.received {
            // Its clock travels with it: what the receiver learns is what the sender knew.
            self.carried.insert(self.messages, self.clocks[host].clone());
            self.underway.push(Reverse((received, self.messages)));
        }
        self.messages += 1;
        Ok(())
    }

    /// Writes which messages were received up to a time.
    fn received(&mut self, time: u64) -> io::Result<()> {
        while let Some(Reverse((at, index))) = self.underway.peek().copied()
            && at <= time
        {
            self.underway.pop();
            let message = &self.history.messages[index];
            let host = self.host(&format!("replica {}", message.to));
            for (other, known) in self.carried.remove(&index).unwrap_or_default() {
                let entry = self.clocks[host].entry(other).or_default();
                *entry = known.max(*entry);
            }
            let line =
                json!({ "type": "x-received", "from": message.from.0, "label": message.label });
            writeln!(self.line, "{line}")?;
            self.event(host)?;
        }
        Ok(())
    }
}
