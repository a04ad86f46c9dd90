//! One line each into a byte buffer.
//!
//! Texts are escaped as JSON asks, and numbers go through `itoa`; nothing is allocated but room in the buffer.
//! Keys and values that are bytes become text by [`super::super::text_of`] first.

use super::super::{Clock, Fault, Message, Outcome, Together};
use crate::base::ReplicaId;

/// In which order the lines of a file stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In the order of the events.
    #[default]
    Lines,
    /// In any; their times order the events. For recorders that gather lines by session.
    Time,
}

/// The first line of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The model that is claimed.
    pub claim: Option<String>,
    /// What the times are.
    pub clock: Clock,
    /// In which order the lines stand.
    pub order: Order,
    /// What keys held at the beginning; `None` for an absent key.
    pub initial: Vec<(String, Option<String>)>,
}

/// What an operation asks for. A value that is `None` is the absent one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// The value of the key.
    Read,
    /// That the key hold this; `None` deletes it.
    Write(Option<&'a str>),
    /// That the key hold `to` where it holds `from`.
    Cas {
        /// What it is to hold.
        from: Option<&'a str>,
        /// What it is to hold then.
        to: Option<&'a str>,
    },
    /// That this be joined to the end of the value.
    Append(&'a str),
    /// Something else, of this name.
    Other(&'a str),
}

/// An invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvocationLine<'a> {
    /// Who asks.
    pub process: &'a str,
    /// What about.
    pub key: &'a str,
    /// What for.
    pub asked: Asked<'a>,
    /// Whom.
    pub replica: Option<ReplicaId>,
    /// When.
    pub time: Option<u64>,
}

/// What the answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported<'a> {
    /// Nothing beyond how it ended.
    Nothing,
    /// The value that was read; `None` for an absent key.
    Value(Option<&'a str>),
    /// Whether the compare-and-set found what it was to find.
    Swapped(bool),
    /// That the operation turned out to be this one.
    Was(Asked<'a>),
    /// That it turned out to be this compare-and-set, which found another value.
    WasNotSwapped {
        /// What the key was to hold.
        from: Option<&'a str>,
        /// What it would have held then.
        to: Option<&'a str>,
    },
}

/// A completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletionLine<'a> {
    /// Whose.
    pub process: &'a str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was answered.
    pub reported: Reported<'a>,
    /// When.
    pub time: Option<u64>,
    /// Why it did not end well, in words.
    pub error: Option<&'a str>,
}

/// Appends the header.
pub fn put_header(out: &mut Vec<u8>, header: &Header) {
    out.extend_from_slice(b"{\"history\":1");
    if let Some(claim) = &header.claim {
        put_field(out, b",\"claim\":", claim);
    }
    put_field(out, b",\"clock\":", clock_name(header.clock));
    let order = match header.order {
        Order::Lines => "lines",
        Order::Time => "time",
    };
    put_field(out, b",\"order\":", order);
    if !header.initial.is_empty() {
        out.extend_from_slice(b",\"initial\":");
        let mut before = b'{';
        for (key, value) in &header.initial {
            out.push(before);
            put_string(out, key);
            out.push(b':');
            put_value(out, value.as_deref());
            before = b',';
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"}\n");
}

/// How a clock is called in a header.
pub(super) fn clock_name(clock: Clock) -> &'static str {
    match clock {
        Clock::Nanoseconds => "ns",
        Clock::Steps => "steps",
        Clock::ProcessOrder => "process-order",
    }
}

/// Appends an invocation.
pub fn put_invocation(out: &mut Vec<u8>, line: &InvocationLine<'_>) {
    put_field(out, b"{\"type\":\"invoke\",\"process\":", line.process);
    put_asked(out, line.asked, Some(line.key));
    if let Some(replica) = line.replica {
        put_number(out, b",\"replica\":", u64::from(replica.0));
    }
    put_end(out, line.time);
}

/// Appends a completion.
pub fn put_completion(out: &mut Vec<u8>, line: &CompletionLine<'_>) {
    let start: &[u8] = match line.outcome {
        Outcome::Ok => b"{\"type\":\"ok\",\"process\":",
        Outcome::Fail => b"{\"type\":\"fail\",\"process\":",
        Outcome::Unknown => b"{\"type\":\"info\",\"process\":",
    };
    put_field(out, start, line.process);
    match line.reported {
        Reported::Nothing => {}
        Reported::Value(value) => {
            out.extend_from_slice(b",\"value\":");
            put_value(out, value);
        }
        Reported::Swapped(true) => out.extend_from_slice(b",\"swapped\":true"),
        Reported::Swapped(false) => out.extend_from_slice(b",\"swapped\":false"),
        Reported::Was(asked) => put_asked(out, asked, None),
        Reported::WasNotSwapped { from, to } => {
            put_asked(out, Asked::Cas { from, to }, None);
            out.extend_from_slice(b",\"swapped\":false");
        }
    }
    if let Some(error) = line.error {
        put_field(out, b",\"error\":", error);
    }
    put_end(out, line.time);
}

/// Appends a delivery: this replica applied the write of this value.
pub fn put_delivery(
    out: &mut Vec<u8>,
    replica: ReplicaId,
    key: &str,
    value: Option<&str>,
    time: u64,
) {
    put_number(out, b"{\"type\":\"deliver\",\"replica\":", u64::from(replica.0));
    put_field(out, b",\"key\":", key);
    out.extend_from_slice(b",\"value\":");
    put_value(out, value);
    put_end(out, Some(time));
}

/// Appends a fault.
pub fn put_fault(out: &mut Vec<u8>, fault: &Fault) {
    put_field(out, b"{\"type\":\"fault\",\"name\":", &fault.name);
    out.extend_from_slice(b",\"replicas\":[");
    for (i, replica) in fault.replicas.iter().enumerate() {
        put_number(out, if i == 0 { b"" } else { b"," }, u64::from(replica.0));
    }
    put_number(out, b"],\"from\":", fault.from);
    if let Some(until) = fault.until {
        put_number(out, b",\"until\":", until);
    }
    out.extend_from_slice(b"}\n");
}

/// Appends what replicas are called, by their numbers.
pub fn put_replica_names(out: &mut Vec<u8>, names: &[String]) {
    out.extend_from_slice(b"{\"type\":\"replicas\",\"names\":[");
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        put_string(out, name);
    }
    out.extend_from_slice(b"]}\n");
}

/// Appends the operations that are one command, by their numbers in the order of invocation.
pub fn put_together(out: &mut Vec<u8>, together: &Together) {
    out.extend_from_slice(b"{\"type\":\"together\",\"operations\":[");
    for (at, id) in together.operations.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(itoa::Buffer::new().format(id.0).as_bytes());
    }
    out.push(b']');
    if let Some(found) = together.found {
        out.extend_from_slice(b",\"found\":");
        out.extend_from_slice(itoa::Buffer::new().format(found).as_bytes());
    }
    out.extend_from_slice(b"}\n");
}

/// Appends a message between replicas.
pub fn put_message(out: &mut Vec<u8>, message: &Message) {
    put_number(out, b"{\"type\":\"message\",\"from\":", u64::from(message.from.0));
    put_number(out, b",\"to\":", u64::from(message.to.0));
    put_number(out, b",\"sent\":", message.sent);
    if let Some(received) = message.received {
        put_number(out, b",\"received\":", received);
    }
    put_field(out, b",\"label\":", &message.label);
    out.extend_from_slice(b"}\n");
}

fn put_asked(out: &mut Vec<u8>, asked: Asked<'_>, key: Option<&str>) {
    let name = match asked {
        Asked::Read => "read",
        Asked::Write(Some(_)) => "write",
        Asked::Write(None) => "delete",
        Asked::Cas { .. } => "cas",
        Asked::Append(_) => "append",
        Asked::Other(name) => name,
    };
    put_field(out, b",\"f\":", name);
    if let Some(key) = key {
        put_field(out, b",\"key\":", key);
    }
    match asked {
        Asked::Write(Some(value)) | Asked::Append(value) => put_field(out, b",\"value\":", value),
        Asked::Cas { from, to } => {
            out.extend_from_slice(b",\"value\":[");
            put_value(out, from);
            out.push(b',');
            put_value(out, to);
            out.push(b']');
        }
        Asked::Read | Asked::Write(None) | Asked::Other(_) => {}
    }
}

fn put_end(out: &mut Vec<u8>, time: Option<u64>) {
    if let Some(time) = time {
        put_number(out, b",\"time\":", time);
    }
    out.extend_from_slice(b"}\n");
}

fn put_field(out: &mut Vec<u8>, before: &[u8], text: &str) {
    out.extend_from_slice(before);
    put_string(out, text);
}

fn put_number(out: &mut Vec<u8>, before: &[u8], number: u64) {
    out.extend_from_slice(before);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(text) => put_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Which bytes a JSON string cannot hold as they are.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special
};

/// Appends a JSON string.
pub(in crate::history) fn put_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            special @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', special]),
            control => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                let digits = [digit(control >> 4), digit(control & 15)];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn lines_are_as_documented() {
        let header = Header {
            claim: Some("sequential".to_owned()),
            clock: Clock::Nanoseconds,
            order: Order::Time,
            initial: vec![("x".to_owned(), Some("0".to_owned())), ("y".to_owned(), None)],
        };
        assert_eq!(
            lines(|out| put_header(out, &header)),
            "{\"history\":1,\"claim\":\"sequential\",\"clock\":\"ns\",\"order\":\"time\",\
             \"initial\":{\"x\":\"0\",\"y\":null}}\n"
        );
        let cas = InvocationLine {
            process: "c0",
            key: "x",
            asked: Asked::Cas { from: None, to: Some("2") },
            replica: Some(ReplicaId(1)),
            time: Some(7),
        };
        assert_eq!(
            lines(|out| put_invocation(out, &cas)),
            "{\"type\":\"invoke\",\"process\":\"c0\",\"f\":\"cas\",\"key\":\"x\",\
             \"value\":[null,\"2\"],\"replica\":1,\"time\":7}\n"
        );
        let timeout = CompletionLine {
            process: "c0",
            outcome: Outcome::Unknown,
            reported: Reported::Nothing,
            time: None,
            error: Some("time\nout"),
        };
        assert_eq!(
            lines(|out| put_completion(out, &timeout)),
            "{\"type\":\"info\",\"process\":\"c0\",\"error\":\"time\\nout\"}\n"
        );
    }

    proptest! {
        #[test]
        fn strings_are_json(text: String) {
            let json = lines(|out| put_string(out, &text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
        }
    }
}
