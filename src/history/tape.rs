//! Events as they are recorded: appended to a buffer as bytes, turned into lines later and elsewhere.
//!
//! Recording has to cost a working thread next to nothing, so it copies the event and leaves its text to
//! whoever writes the file. A [`Tape`] holds the events of one thread in the order of their times:
//!
//! ```text
//! order u64 | length u32 | tag u8 | split u8 | lane u32 | key length u16 | key | value
//! ```
//! `order` is twice the time, plus one for a completion: sorted by it, an invocation comes before the
//! completions of the same nanosecond, so that no two operations are said to follow each other that may have
//! overlapped. Times on a tape strictly increase. A read may be recorded at its end, as one event whose order is
//! that of its completion.
//!
//! A process of a history has one open operation at a time. A connection may have several: a pipeline, an
//! operation on several keys. Each of these is then recorded in a *lane*, a process of its own: lane 0 is the
//! process itself, lane 3 of `c7` is called `c7+3`. So each has its true interval. To put them one behind
//! the other inside the interval that they share would invent an order in real time.

/// What is asked for, in the bytes of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// The value of the key.
    Read,
    /// That the key hold this; `None` deletes it.
    Write(Option<&'a [u8]>),
    /// That this be joined to the end of the value.
    Append(&'a [u8]),
    /// Something else, of this name.
    Other(&'a str),
}

/// How it ended, and what was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending<'a> {
    /// Done.
    Done,
    /// Read: this value, `None` where there is none.
    Found(Option<&'a [u8]>),
    /// Counted: from this number to that one, both as text.
    Counted(&'a str, &'a str),
    /// It has definitely had no effect, and why.
    Failed(&'a str),
    /// Nobody knows whether it has an effect, and why.
    Unknown(&'a str),
}

pub(super) const READ: u8 = 0;
pub(super) const WRITE: u8 = 1;
pub(super) const DELETE: u8 = 2;
pub(super) const APPEND: u8 = 3;
pub(super) const OTHER: u8 = 4;
pub(super) const DONE: u8 = 5;
pub(super) const FOUND: u8 = 6;
pub(super) const MISSING: u8 = 7;
pub(super) const COUNTED: u8 = 8;
pub(super) const FAILED: u8 = 9;
pub(super) const UNKNOWN: u8 = 10;
pub(super) const DELIVERED: u8 = 11;
pub(super) const DELIVERED_DELETE: u8 = 12;
/// A read from its invocation to its completion: this and the tag of how it ended. Its value begins with the
/// time of its invocation, [`BEGUN`] bytes.
pub(super) const WHOLE_READ: u8 = 16;

pub(super) const BEGUN: usize = 8;

/// The fixed part of an event.
const HEAD: usize = 20;

/// Where in it the length of the event stands.
const LENGTH: usize = 8;

/// Where in it the length of the first of two numbers stands.
const SPLIT: usize = 13;

/// Events in the order of their times.
#[derive(Debug, Default)]
pub struct Tape {
    bytes: Vec<u8>,
    last: u64,
}

impl Tape {
    /// Notes what the clock shows: events from here on are not earlier.
    #[inline]
    pub fn set_time(&mut self, now: u64) {
        self.last = self.last.max(now.saturating_sub(1));
    }

    /// The bytes of the events.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the events, and leaves this empty buffer for more.
    pub fn take(&mut self, empty: Vec<u8>) -> Vec<u8> {
        std::mem::replace(&mut self.bytes, empty)
    }

    /// When an operation begins that is recorded at its end, where the clock shows `now`.
    pub fn begin(&self, now: u64) -> u64 {
        now.max(self.last + 1)
    }

    /// Appends an invocation.
    #[inline]
    pub fn invoke(&mut self, lane: u32, key: &[u8], request: Request<'_>) {
        let (tag, value) = match request {
            Request::Read => (READ, &b""[..]),
            Request::Write(Some(value)) => (WRITE, value),
            Request::Write(None) => (DELETE, &b""[..]),
            Request::Append(value) => (APPEND, value),
            Request::Other(name) => (OTHER, name.as_bytes()),
        };
        self.push(tag, lane, key, value);
    }

    /// Appends a completion.
    #[inline]
    pub fn complete(&mut self, lane: u32, ending: Ending<'_>) {
        let (tag, value) = ending_bytes(ending);
        let start = self.push(tag, lane, b"", value);
        if let Ending::Counted(from, to) = ending {
            self.bytes[start + SPLIT] = u8::try_from(from.len()).unwrap_or(u8::MAX);
            self.bytes.extend_from_slice(to.as_bytes());
            let length = (self.bytes.len() - start) as u32;
            self.bytes[start + LENGTH..][..4].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// Appends a read, from its beginning ([`Tape::begin`]) to its end now. A read has no effect, so nothing
    /// is missing in the file as long as it is under way; recording it at once is half the work.
    #[inline]
    pub fn read(&mut self, lane: u32, begun: u64, key: &[u8], ending: Ending<'_>) {
        self.last = self.last.max(begun);
        let (tag, value) = ending_bytes(ending);
        self.push_parts(WHOLE_READ | tag, lane, key, &begun.to_le_bytes(), value);
    }

    /// Appends a delivery at the tape's replica; `None` for a deletion.
    pub fn deliver(&mut self, key: &[u8], value: Option<&[u8]>) {
        let tag = if value.is_some() { DELIVERED } else { DELIVERED_DELETE };
        self.push(tag, 0, key, value.unwrap_or_default());
    }

    fn push(&mut self, tag: u8, lane: u32, key: &[u8], value: &[u8]) -> usize {
        self.push_parts(tag, lane, key, b"", value)
    }

    /// Appends an event; gives where it starts.
    #[inline]
    fn push_parts(&mut self, tag: u8, lane: u32, key: &[u8], one: &[u8], two: &[u8]) -> usize {
        self.last += 1;
        // A time is far below 2^63 nanoseconds, which are 292 years.
        let order = self.last << 1 | u64::from((DONE..=UNKNOWN).contains(&(tag & !WHOLE_READ)));
        // Keys are at most 250 bytes long, values far below 4 GiB.
        let key = &key[..key.len().min(usize::from(u16::MAX))];
        let start = self.bytes.len();
        let length = HEAD + key.len() + one.len() + two.len();
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&order.to_le_bytes());
        head[8..12].copy_from_slice(&(length as u32).to_le_bytes());
        head[12] = tag;
        head[14..18].copy_from_slice(&lane.to_le_bytes());
        head[18..].copy_from_slice(&(key.len() as u16).to_le_bytes());
        self.bytes.reserve(length);
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(one);
        self.bytes.extend_from_slice(two);
        start
    }
}

#[inline]
fn ending_bytes(ending: Ending<'_>) -> (u8, &[u8]) {
    match ending {
        Ending::Done => (DONE, b""),
        Ending::Found(Some(value)) => (FOUND, value),
        Ending::Found(None) => (MISSING, b""),
        Ending::Failed(why) => (FAILED, why.as_bytes()),
        Ending::Unknown(why) => (UNKNOWN, why.as_bytes()),
        Ending::Counted(from, _) => (COUNTED, from.as_bytes()),
    }
}

/// The events on a taken tape: for each its order and where it starts.
pub fn events(bytes: &[u8]) -> impl Iterator<Item = (u64, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (head, _) = bytes.get(at..)?.split_first_chunk::<HEAD>()?;
        let found = (u64::from_le_bytes(*head.first_chunk()?), at);
        at += u32::from_le_bytes(*head[LENGTH..].first_chunk()?) as usize;
        Some(found)
    })
}

/// The order of the first event at or behind this time.
pub fn order_of(time: u64) -> u64 {
    time << 1
}

/// One event, taken off a tape.
#[derive(Clone, Copy)]
pub(super) struct Event<'a> {
    pub(super) order: u64,
    pub(super) tag: u8,
    /// Where the second of two numbers begins in the value.
    pub(super) split: usize,
    pub(super) lane: u32,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> Event<'a> {
    #[inline]
    pub(super) fn at(bytes: &'a [u8], at: usize) -> Option<Self> {
        let (head, rest) = bytes.get(at..)?.split_first_chunk::<HEAD>()?;
        let order = u64::from_le_bytes(*head.first_chunk()?);
        let length = u32::from_le_bytes(*head[LENGTH..].first_chunk()?) as usize;
        let lane = u32::from_le_bytes(*head[14..].first_chunk()?);
        let key_length = usize::from(u16::from_le_bytes(*head[18..].first_chunk()?));
        let (key, value) = rest.get(..length.checked_sub(HEAD)?)?.split_at_checked(key_length)?;
        Some(Event { order, tag: head[12], split: usize::from(head[SPLIT]), lane, key, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_comes_before_the_completions_of_its_nanosecond() {
        let (mut one, mut two) = (Tape::default(), Tape::default());
        one.set_time(5);
        one.complete(0, Ending::Done);
        two.set_time(5);
        two.invoke(0, b"x", Request::Read);
        let order = |tape: &Tape| events(tape.bytes()).next().expect("an event").0;
        assert!(order(&two) < order(&one));
        assert_eq!(order(&two), order_of(5));
    }
}
