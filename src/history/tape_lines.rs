//! The events of a tape as lines of the own format.
//!
//! [`super::jsonl`] says how a line looks. Nearly all lines that are recorded under load are of a few kinds, and
//! their keys and values plain text. For these the beginning of the line is made once a process, and one look
//! at the bytes tells that they can be copied; that takes a third of the time. A test holds both ways to
//! the same lines.

use std::fmt::Write as _;

use super::jsonl::{
    Asked, CompletionLine, InvocationLine, Reported, put_completion, put_delivery, put_invocation,
};
use super::tape::{
    APPEND, BEGUN, COUNTED, DELETE, DELIVERED, DELIVERED_DELETE, DONE, Event, FAILED, FOUND,
    MISSING, OTHER, READ, UNKNOWN, WHOLE_READ, WRITE,
};
use super::{Outcome, text_of};
use crate::base::ReplicaId;

/// Whose tape it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    process: String,
    replica: Option<ReplicaId>,
    /// How its lines begin: a read, a write, a completion, a delivery.
    read: Vec<u8>,
    write: Vec<u8>,
    done: Vec<u8>,
    delivery: Vec<u8>,
    /// What stands before the time of an invocation.
    tail: Vec<u8>,
}

impl Owner {
    /// The name of the process, and the replica that it asks; or no name, and the replica whose deliveries
    /// these are.
    pub fn new(process: &str, replica: Option<ReplicaId>) -> Self {
        let asked = |asked| {
            let mut out = Vec::new();
            let line = InvocationLine { process, key: "", asked, replica, time: None };
            put_invocation(&mut out, &line);
            out
        };
        // `…"key":""` and what follows it: the replica, and the end of the line.
        let whole = asked(Asked::Read);
        let mut bare = Vec::new();
        let line =
            InvocationLine { process, key: "", asked: Asked::Read, replica: None, time: None };
        put_invocation(&mut bare, &line);
        let key_at = bare.len() - END.len() - 1;
        let tail = whole[key_at..whole.len() - END.len()].to_vec();
        let cut = |line: Vec<u8>, behind: usize| line[..line.len() - behind].to_vec();
        let write = asked(Asked::Write(Some("")));
        let write_tail = b"\",\"value\":\"".len() + tail.len() + END.len();
        let mut done = Vec::new();
        let outcome = Outcome::Ok;
        let reported = Reported::Nothing;
        let line = CompletionLine { process, outcome, reported, time: None, error: None };
        put_completion(&mut done, &line);
        let mut delivery = Vec::new();
        put_delivery(&mut delivery, replica.unwrap_or_default(), "", None, 0);
        let delivery_tail = b"\",\"value\":null,\"time\":0".len() + END.len();
        Self {
            process: process.to_owned(),
            replica,
            read: cut(whole, tail.len() + END.len()),
            write: cut(write, write_tail),
            done: cut(done, END.len()),
            delivery: cut(delivery, delivery_tail),
            tail,
        }
    }
}

/// How a line ends.
const END: &[u8] = b"}\n";

/// Writes events as lines.
#[derive(Debug, Default)]
pub struct LineWriter {
    name: String,
}

impl LineWriter {
    /// Appends the line of the event that starts at `at`.
    pub fn put(&mut self, out: &mut Vec<u8>, owner: &Owner, bytes: &[u8], at: usize) {
        let Some(event) = Event::at(bytes, at) else { return };
        if event.tag & WHOLE_READ != 0 {
            return self.put_read(out, owner, event);
        }
        if event.lane == 0 && is_plain(event.key) && is_plain(event.value) {
            let time = event.order >> 1;
            let (key, value) = (event.key, event.value);
            match event.tag {
                WRITE => {
                    let parts = [&owner.write, key, VALUE, value, &owner.tail];
                    return join(out, &parts, time);
                }
                DONE => return join(out, &[&owner.done], time),
                FOUND => return join(out, &[&owner.done, &VALUE[1..], value, QUOTE], time),
                MISSING => return join(out, &[&owner.done, b",\"value\":null"], time),
                DELIVERED => {
                    return join(out, &[&owner.delivery, key, VALUE, value, QUOTE], time);
                }
                _ => {}
            }
        }
        self.put_any(out, owner, &event);
    }

    /// Both lines of a read.
    fn put_read(&mut self, out: &mut Vec<u8>, owner: &Owner, mut event: Event<'_>) {
        let Some((begun, value)) = event.value.split_first_chunk::<BEGUN>() else { return };
        let begun = u64::from_le_bytes(*begun);
        (event.tag, event.value) = (event.tag & !WHOLE_READ, value);
        if event.lane == 0 && is_plain(event.key) && is_plain(value) {
            join(out, &[&owner.read, event.key, &owner.tail], begun);
            let time = event.order >> 1;
            match event.tag {
                FOUND => return join(out, &[&owner.done, &VALUE[1..], value, QUOTE], time),
                MISSING => return join(out, &[&owner.done, b",\"value\":null"], time),
                _ => {}
            }
        } else {
            let order = begun << 1;
            self.put_any(out, owner, &Event { order, tag: READ, value: b"", ..event });
        }
        self.put_any(out, owner, &event);
    }

    /// The line of any event.
    fn put_any(&mut self, out: &mut Vec<u8>, owner: &Owner, event: &Event<'_>) {
        let time = Some(event.order >> 1);
        let process = if event.lane == 0 {
            &owner.process
        } else {
            self.name.clear();
            // Writing to a String cannot fail.
            let _ = write!(self.name, "{}+{}", owner.process, event.lane);
            &self.name
        };
        let (key, value) = (text_of(event.key), text_of(event.value));
        match event.tag {
            READ..=OTHER => {
                let asked = match event.tag {
                    READ => Asked::Read,
                    WRITE => Asked::Write(Some(&value)),
                    DELETE => Asked::Write(None),
                    APPEND => Asked::Append(&value),
                    _ => Asked::Other(&value),
                };
                let replica = owner.replica;
                put_invocation(out, &InvocationLine { process, key: &key, asked, replica, time });
            }
            DELIVERED | DELIVERED_DELETE => {
                let value = (event.tag == DELIVERED).then_some(&*value);
                let replica = owner.replica.unwrap_or_default();
                put_delivery(out, replica, &key, value, event.order >> 1);
            }
            _ => {
                let (outcome, reported, error) = completion(event, &value);
                put_completion(out, &CompletionLine { process, outcome, reported, time, error });
            }
        }
    }
}

const QUOTE: &[u8] = b"\"";

/// What stands between a key and a value.
const VALUE: &[u8] = b"\",\"value\":\"";

/// Appends the parts of a line, its time and its end.
#[inline]
fn join(out: &mut Vec<u8>, parts: &[&[u8]], time: u64) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(b",\"time\":");
    out.extend_from_slice(itoa::Buffer::new().format(time).as_bytes());
    out.extend_from_slice(END);
}

/// Whether these bytes stand in a line as they are: ASCII that can be printed, no quote and no backslash.
/// Looks at all of them, which a processor does many at a time.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, byte| {
        plain & (byte.wrapping_sub(b' ') < 0x5f) & (*byte != b'"') & (*byte != b'\\')
    })
}

fn completion<'a>(event: &Event<'_>, value: &'a str) -> (Outcome, Reported<'a>, Option<&'a str>) {
    match event.tag {
        FOUND => (Outcome::Ok, Reported::Value(Some(value)), None),
        MISSING => (Outcome::Ok, Reported::Value(None), None),
        COUNTED => {
            let (from, to) = value.split_at_checked(event.split).unwrap_or((value, ""));
            (Outcome::Ok, Reported::Was(Asked::Cas { from: Some(from), to: Some(to) }), None)
        }
        FAILED => (Outcome::Fail, Reported::Nothing, Some(value)),
        UNKNOWN => (Outcome::Unknown, Reported::Nothing, Some(value)),
        _ => (Outcome::Ok, Reported::Nothing, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tape::{Ending, Request, Tape, events, order_of};
    use super::*;

    fn lines(tape: &Tape) -> Vec<String> {
        let owner = Owner::new("c7", Some(ReplicaId(1)));
        let mut out = Vec::new();
        let mut writer = LineWriter::default();
        for (_, at) in events(tape.bytes()) {
            writer.put(&mut out, &owner, tape.bytes(), at);
        }
        String::from_utf8(out).expect("text").lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_event_becomes_its_line() {
        let mut tape = Tape::default();
        tape.set_time(100);
        tape.invoke(0, b"x", Request::Write(Some(b"1")));
        tape.invoke(2, b"x", Request::Write(None));
        tape.complete(0, Ending::Done);
        tape.set_time(50);
        tape.complete(2, Ending::Failed("NOT_FOUND"));
        tape.invoke(0, b"x", Request::Other("incr"));
        tape.complete(0, Ending::Counted("9", "10"));
        tape.invoke(0, b"\xff", Request::Read);
        tape.complete(0, Ending::Found(Some(b"a\\")));
        tape.deliver(b"x", Some(b"1"));
        tape.deliver(b"x", None);
        let expected = [
            r#"{"type":"invoke","process":"c7","f":"write","key":"x","value":"1","replica":1,"time":100}"#,
            r#"{"type":"invoke","process":"c7+2","f":"delete","key":"x","replica":1,"time":101}"#,
            r#"{"type":"ok","process":"c7","time":102}"#,
            r#"{"type":"fail","process":"c7+2","error":"NOT_FOUND","time":103}"#,
            r#"{"type":"invoke","process":"c7","f":"incr","key":"x","replica":1,"time":104}"#,
            r#"{"type":"ok","process":"c7","f":"cas","value":["9","10"],"time":105}"#,
            r#"{"type":"invoke","process":"c7","f":"read","key":"\\xff","replica":1,"time":106}"#,
            r#"{"type":"ok","process":"c7","value":"a\\\\","time":107}"#,
            r#"{"type":"deliver","replica":1,"key":"x","value":"1","time":108}"#,
            r#"{"type":"deliver","replica":1,"key":"x","value":null,"time":109}"#,
        ];
        assert_eq!(lines(&tape), expected);
    }

    proptest! {
        #[test]
        fn the_fast_way_writes_the_same_lines(
            process in "[a-z\"\\\\é]{0,4}",
            replica in proptest::option::of(0u16..12),
            key in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'~'), any::<u8>()], 0..8),
            value in proptest::collection::vec(prop_oneof![Just(b'1'), Just(b' '), any::<u8>()], 0..40),
            time: u32,
        ) {
            let mut tape = Tape::default();
            tape.set_time(u64::from(time));
            tape.invoke(0, &key, Request::Read);
            tape.invoke(0, &key, Request::Write(Some(&value)));
            tape.invoke(0, &key, Request::Append(&value));
            tape.complete(0, Ending::Done);
            tape.complete(0, Ending::Found(Some(&value)));
            tape.complete(0, Ending::Found(None));
            tape.deliver(&key, Some(&value));
            for ending in [Ending::Found(Some(&value)), Ending::Found(None), Ending::Failed("no")] {
                tape.read(0, tape.begin(0), &key, ending);
            }
            let owner = Owner::new(&process, replica.map(ReplicaId));
            let (mut fast, mut slow) = (Vec::new(), Vec::new());
            let mut writer = LineWriter::default();
            for (_, at) in events(tape.bytes()) {
                writer.put(&mut fast, &owner, tape.bytes(), at);
                let event = Event::at(tape.bytes(), at).expect("an event");
                if event.tag & WHOLE_READ == 0 {
                    writer.put_any(&mut slow, &owner, &event);
                    continue;
                }
                let begun = event.value.first_chunk().map_or(0, |begun| u64::from_le_bytes(*begun));
                let order = order_of(begun);
                writer.put_any(&mut slow, &owner, &Event { order, tag: READ, value: b"", ..event });
                let (tag, value) = (event.tag & !WHOLE_READ, &event.value[BEGUN..]);
                writer.put_any(&mut slow, &owner, &Event { tag, value, ..event });
            }
            prop_assert_eq!(String::from_utf8(fast), String::from_utf8(slow));
        }
    }
}
