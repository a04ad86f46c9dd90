//! What is recorded of an operation of the store: which facts of a history it is.
//!
//! | operation | recorded as |
//! |---|---|
//! | `get` of a key | `read`, nil where there is no such key |
//! | `get` of several keys, `MGET` | a read of each, side by side in lanes (see [`super::tape`]) |
//! | `set`, and `add`, `replace`, `cas` that were told `STORED` | `write` |
//! | a conditional store that was not done | `fail` |
//! | `MSET` | a write of each, side by side |
//! | `append` | `append` |
//! | `delete` of one key or several that found any | `delete` of each; `fail` where it found none |
//! | `incr`, `decr` | `cas` from the old number to the new, where the old value is known exactly; else `other` |
//! | `prepend`, `touch`, `flush_all`, a store with an expiry time | `other`, by its name |
//! | refused | `fail` |
//! | not known in time | `info` |
//!
//! Reads that are no `get` (`EXISTS`, `STRLEN`, `KEYS`, `DBSIZE`) change nothing and are left out. That the reads
//! of one `MGET` saw one moment, and that the writes of one `MSET` became visible together, is not recorded:
//! each is a true fact alone, and a history with fewer facts is never found at fault wrongly.
//!
//! An `other` keeps a checker from a verdict wherever it may have had an effect: it does not know the meaning.
//! `flush_all` is recorded with the key `*`; it concerns all keys.
//!
//! **Answers before delivery.** In a mode that answers at submission, an answer is what the local copy
//! says, and the operation is broadcast all the same. 'It changed nothing' does not mean there that it never
//! will anywhere, so it is recorded as `info`.
//!
//! **The old value of a counter.** memcached counts from `007` and from `7 ` as from `7`. So the old value is
//! known exactly only while every number that was ever stored was written plainly; [`PlainNumbers`] watches
//! that. RESP counts from plain numbers only, and from 0 where there is no value: that one is not exact.

use std::sync::atomic::{AtomicBool, Ordering};

use super::tape::{Ending, Request, Tape};
use crate::base::{Arithmetic, End, Op, Outcome};

/// Whether every number in the store is written as it would be printed.
#[derive(Debug)]
pub struct PlainNumbers(AtomicBool);

impl PlainNumbers {
    /// They are, as far as `known`: what the store holds from before can be seen, and nobody else writes.
    pub fn new(known: bool) -> Self {
        Self(AtomicBool::new(known))
    }

    /// Takes notice of a value that is stored. Called before it can be counted on.
    pub fn note(&self, value: &[u8]) {
        let counts = value.first().is_some_and(u8::is_ascii_digit)
            && value.len() <= 20
            && value.trim_ascii_end().iter().all(u8::is_ascii_digit);
        let plain = !value.last().is_some_and(u8::is_ascii_whitespace)
            && (value.len() == 1 || value.first() != Some(&b'0'));
        if counts && !plain {
            self.0.store(false, Ordering::SeqCst);
        }
    }

    /// Takes notice of bytes that are joined to a value nobody looks at.
    fn note_joined(&self, data: &[u8]) {
        if data.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace()) {
            self.0.store(false, Ordering::SeqCst);
        }
    }

    fn hold(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What has to be known of an operation whose invocation is recorded, to record how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invoked {
    lane: u32,
    lanes: u32,
    counts: Option<Arithmetic>,
}

/// How an operation ended for the one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended<'a> {
    /// It was executed. With `here` only on the copy that answered: it is delivered later.
    Outcome(Outcome, Certain),
    /// It was refused, for this reason.
    Refused(&'a str),
    /// Nobody knows.
    Unknown,
}

/// What an outcome is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certain {
    /// It is the outcome at delivery, the same everywhere.
    Everywhere,
    /// It is what the copy says that answered; the delivery is still to come.
    Here,
}

/// Records the invocation of an operation that changes the store, in lanes from `lane` on.
pub fn invoke(tape: &mut Tape, numbers: &PlainNumbers, lane: u32, op: &Op) -> Invoked {
    let mut lanes = 0;
    let mut put = |key: &[u8], request: Request<'_>| {
        tape.invoke(lane.saturating_add(lanes), key, request);
        lanes += 1;
    };
    let mut counts = None;
    match op {
        Op::Store { key, value, .. } if value.expires == 0 => {
            numbers.note(&value.data);
            put(key, Request::Write(Some(&value.data)));
        }
        Op::Store { key, value, .. } => {
            numbers.note(&value.data);
            put(key, Request::Other("set with expiry"));
        }
        Op::StoreMany(pairs) => {
            for (key, value) in pairs {
                numbers.note(&value.data);
                let request = match value.expires {
                    0 => Request::Write(Some(&value.data)),
                    _ => Request::Other("set with expiry"),
                };
                put(key, request);
            }
        }
        Op::Concat { key, data, end, .. } => {
            numbers.note_joined(data);
            put(
                key,
                match end {
                    End::Back => Request::Append(data),
                    End::Front => Request::Other("prepend"),
                },
            );
        }
        Op::Count { key, by } => {
            counts = Some(*by);
            put(key, Request::Other("count"));
        }
        Op::Touch { keys, .. } => keys.iter().for_each(|key| put(key, Request::Other("touch"))),
        Op::Delete { keys } => keys.iter().for_each(|key| put(key, Request::Write(None))),
        Op::FlushAll { .. } => put(b"*", Request::Other("flush_all")),
        Op::OpenSession => {}
        Op::Once { op, .. } => return invoke(tape, numbers, lane, op),
    }
    Invoked { lane, lanes, counts }
}

impl Invoked {
    /// The first lane behind those that it uses.
    pub fn next_lane(&self) -> u32 {
        self.lane.saturating_add(self.lanes)
    }

    /// Whether it counts: whether a number in the answer is what the key holds now.
    pub fn counts(&self) -> bool {
        self.counts.is_some()
    }

    /// Records how it ended.
    pub fn complete(&self, tape: &mut Tape, numbers: &PlainNumbers, ended: Ended<'_>) {
        let mut all = |ending: Ending<'_>| {
            (self.lane..self.next_lane()).for_each(|lane| tape.complete(lane, ending));
        };
        let (outcome, certain) = match ended {
            Ended::Outcome(Outcome::NoSession, _) => {
                return all(Ending::Unknown("no session"));
            }
            Ended::Outcome(outcome, certain) => (outcome, certain),
            Ended::Refused(why) => return all(Ending::Failed(why)),
            Ended::Unknown => return all(Ending::Unknown("timeout")),
        };
        match (without_effect(outcome), certain) {
            (Some(why), Certain::Everywhere) => all(Ending::Failed(why)),
            (Some(why), Certain::Here) => all(Ending::Unknown(why)),
            (None, _) => match (outcome, self.counts) {
                (Outcome::Number(new), Some(by)) => {
                    let Some(old) = old_number(new, by).filter(|_| exact(by, numbers)) else {
                        return all(Ending::Done);
                    };
                    let (mut from, mut to) = (itoa::Buffer::new(), itoa::Buffer::new());
                    all(Ending::Counted(from.format(old), to.format(new)));
                }
                _ => all(Ending::Done),
            },
        }
    }
}

/// Why an outcome means that nothing changed, if it does.
fn without_effect(outcome: Outcome) -> Option<&'static str> {
    Some(match outcome {
        Outcome::NotStored => "not stored",
        Outcome::Exists => "changed meanwhile",
        Outcome::NotFound | Outcome::Deleted(0) | Outcome::Touched(0) => "not found",
        Outcome::NotANumber => "not a number",
        Outcome::Overflow => "overflow",
        Outcome::TooLarge => "too large",
        Outcome::NoSession
        | Outcome::Stored
        | Outcome::Deleted(_)
        | Outcome::Touched(_)
        | Outcome::Number(_)
        | Outcome::Length(_) => return None,
    })
}

/// What a counter held, as a number, if the result tells.
fn old_number(new: i128, by: Arithmetic) -> Option<i128> {
    match by {
        Arithmetic::WrappingAdd(n) => {
            let new = u64::try_from(new).ok()?;
            Some(i128::from(new.wrapping_sub(n)))
        }
        // At 0 it may have stopped short.
        Arithmetic::SaturatingSub(n) if new > 0 => new.checked_add(i128::from(n)),
        Arithmetic::SaturatingSub(_) => None,
        // A missing value counts as 0.
        Arithmetic::Signed(n) => new.checked_sub(i128::from(n)).filter(|old| *old != 0),
    }
}

/// Whether the number is all that there is to know of the old value.
fn exact(by: Arithmetic, numbers: &PlainNumbers) -> bool {
    matches!(by, Arithmetic::Signed(_)) || numbers.hold()
}

#[cfg(test)]
mod tests {
    use super::super::tape::events;
    use super::super::tape_lines::{LineWriter, Owner};
    use super::*;
    use crate::base::{StoreRule, Value};

    fn store(data: &str, expires: u64) -> Op {
        let value = Value { data: data.as_bytes().into(), expires, ..Value::default() };
        Op::Store { key: (*b"x").into(), value, rule: StoreRule::IfAbsent }
    }

    /// What stands in the file behind `"process":"c"`, without times.
    fn recorded(numbers: &PlainNumbers, op: &Op, ended: Ended<'_>) -> Vec<String> {
        let mut tape = Tape::default();
        let invoked = invoke(&mut tape, numbers, 0, op);
        invoked.complete(&mut tape, numbers, ended);
        let owner = Owner::new("c", None);
        let mut out = Vec::new();
        for (_, at) in events(tape.bytes()) {
            LineWriter::default().put(&mut out, &owner, tape.bytes(), at);
        }
        let text = String::from_utf8(out).expect("text");
        let short = |line: &str| {
            let line = line.replace("\"type\":", "").replace("\"process\":", "");
            line[1..line.find(",\"time\"").expect("a time")].replace('"', "")
        };
        text.lines().map(short).collect()
    }

    fn told(op: &Op, outcome: Outcome) -> Vec<String> {
        recorded(&PlainNumbers::new(true), op, Ended::Outcome(outcome, Certain::Everywhere))
    }

    #[test]
    fn what_was_told_decides() {
        let add = store("1", 0);
        assert_eq!(told(&add, Outcome::Stored), ["invoke,c,f:write,key:x,value:1", "ok,c"]);
        assert_eq!(told(&add, Outcome::NotStored)[1], "fail,c,error:not stored");
        let here = Ended::Outcome(Outcome::NotStored, Certain::Here);
        let numbers = PlainNumbers::new(true);
        assert_eq!(recorded(&numbers, &add, here)[1], "info,c,error:not stored");
        assert_eq!(recorded(&numbers, &add, Ended::Unknown)[1], "info,c,error:timeout");
        assert_eq!(recorded(&numbers, &add, Ended::Refused("full"))[1], "fail,c,error:full");
        let expiring = told(&store("1", 9), Outcome::Stored);
        assert_eq!(expiring, ["invoke,c,f:set with expiry,key:x", "ok,c"]);
    }

    #[test]
    fn several_keys_take_a_lane_each() {
        let keys = vec![(*b"x").into(), (*b"y").into()];
        let delete = told(&Op::Delete { keys }, Outcome::Deleted(1));
        assert_eq!(
            delete,
            ["invoke,c,f:delete,key:x", "invoke,c+1,f:delete,key:y", "ok,c", "ok,c+1"]
        );
    }

    #[test]
    fn a_counter_is_a_swap_where_the_old_value_is_known_exactly() {
        let count = |by, new, numbers: &PlainNumbers| {
            let op = Op::Count { key: (*b"x").into(), by };
            let ended = Ended::Outcome(Outcome::Number(new), Certain::Everywhere);
            recorded(numbers, &op, ended).pop().expect("a completion")
        };
        let plain = PlainNumbers::new(true);
        let add = Arithmetic::WrappingAdd;
        assert_eq!(count(add(1), 10, &plain), "ok,c,f:cas,value:[9,10]");
        assert_eq!(count(add(2), 1, &plain), "ok,c,f:cas,value:[18446744073709551615,1]");
        assert_eq!(count(Arithmetic::SaturatingSub(3), 4, &plain), "ok,c,f:cas,value:[7,4]");
        assert_eq!(count(Arithmetic::SaturatingSub(3), 0, &plain), "ok,c", "3, 2, 1 or 0");
        assert_eq!(count(Arithmetic::Signed(1), -4, &plain), "ok,c,f:cas,value:[-5,-4]");
        assert_eq!(count(Arithmetic::Signed(1), 1, &plain), "ok,c", "0 or none");
        for odd in ["007", "7 ", "00"] {
            let numbers = PlainNumbers::new(true);
            for fine in ["7", "0", "70", "x07", "07x", "-07", ""] {
                numbers.note(fine.as_bytes());
            }
            assert_eq!(count(add(1), 8, &numbers), "ok,c,f:cas,value:[7,8]");
            recorded(&numbers, &store(odd, 0), Ended::Unknown);
            assert_eq!(count(add(1), 8, &numbers), "ok,c", "{odd}");
        }
    }
}
