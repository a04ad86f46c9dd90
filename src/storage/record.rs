//! One line of `storage.txt` <-> one [`Record`].
//!
//! ```text
//! KEY \t VALUE \t POSITION \t TIME.REPLICA \t FLAGS \t EXPIRES \t CRC32 \n
//! ```
//! - KEY and VALUE are escaped (`\t`, `\n`, `\r`, `\\`, `\xNN`); a key's first `#` is written `\x23`.
//! - POSITION counts the operations that this replica has delivered, from 1. An operation that changes
//!   several keys writes several records of one position; all but the last carry a `+` behind it.
//! - TIME.REPLICA is the operation's Lamport timestamp.
//! - FLAGS is memcached's number, ` unique=N` behind it where the cas unique is not the position (after a
//!   touch), or `deleted`.
//! - EXPIRES is in milliseconds since 1970, 0 is never.
//! - CRC32 (IEEE, 8 lower-case hex digits) covers the line up to the tab before it.
//!
//! Lines whose KEY begins with `#` are the replica's own notes, in the same seven columns:
//!
//! | note | VALUE | meaning |
//! |---|---|---|
//! | `#storage.txt v1: KEY` | | first line of the file: the version and the names of the columns |
//! | `#storage.txt v1 compacted: KEY` | | first line of a compacted file: the lines up to `#base` are what was kept, positions have gaps |
//! | `#flush_all` | time, 0 is now | ordered: everything is gone, now or then |
//! | `#none` | | ordered: the operation changed nothing; keeps positions contiguous |
//! | `#start` | incarnation | a start of the replica's process |
//! | `#merged` | | session and causal mode: this replica has no one order of writes; TIME.REPLICA is an entry's version |
//! | `#pending` | a message | broadcast by this replica, not delivered yet |
//! | `#vote` | `TERM REPLICA`, `TERM -` or `joining` | linearizable mode: how this replica voted last, if it has a vote; the latest holds |
//! | `#entry` | a log entry | linearizable mode: an entry of the Raft log (POSITION is its index, TIME its place) that may not be agreed upon yet; replaces all from its index on |
//! | `#base` | timestamps | end of that part: all up to this position is accounted for; VALUE is the last delivered timestamp of each replica |

use std::borrow::Cow;

use super::escape::{escape, hex, unescape};
use crate::base::{Ballot, ReplicaId, Timestamp};

/// The version of the format.
pub const VERSION: u32 = 1;

/// What the first line of every version begins with.
pub(super) const HEADER_START: &[u8] = b"#storage.txt v";

/// The first line, but for its checksum.
const HEADER: &[u8] = b"#storage.txt v1: KEY\tVALUE\tPOSITION\tTIME.REPLICA\tFLAGS\tEXPIRES";

/// The first line of a compacted file, but for its checksum.
const HEADER_COMPACTED: &[u8] =
    b"#storage.txt v1 compacted: KEY\tVALUE\tPOSITION\tTIME.REPLICA\tFLAGS\tEXPIRES";

/// No position or time is greater: a count from 1 does not get there, and adding to one cannot overflow.
const GREATEST: u64 = u64::MAX / 2;

/// What a line says, without its place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// The key has this entry from here on.
    Set {
        /// The key.
        key: Cow<'a, [u8]>,
        /// The value.
        data: Cow<'a, [u8]>,
        /// memcached's opaque number.
        flags: u32,
        /// When the entry ends; 0 is never.
        expires: u64,
        /// The cas unique where it is not the record's position.
        unique: Option<u64>,
    },
    /// The key is gone.
    Delete {
        /// The key.
        key: Cow<'a, [u8]>,
    },
    /// Everything is gone (0) or will be.
    FlushAll {
        /// When.
        at: u64,
    },
    /// An ordered operation that changed nothing.
    Nothing,
    /// The first line.
    Header {
        /// Whether the lines up to `#base` are what a compaction kept.
        compacted: bool,
    },
    /// A start of the replica's process.
    Start {
        /// Which one.
        incarnation: u64,
    },
    /// The replica has no one order of writes.
    Merged,
    /// A broadcast of this replica that is not delivered yet; the record's timestamp is the message's.
    Pending {
        /// The message, opaque.
        message: Cow<'a, [u8]>,
    },
    /// How the replica stands in elections.
    Vote(Ballot),
    /// An entry of the Raft log; the record's position is its index, the time of its timestamp its place.
    Entry {
        /// What it says, opaque.
        data: Cow<'a, [u8]>,
    },
    /// End of what a compaction kept.
    Base {
        /// The last delivered timestamp of each replica.
        delivered: Vec<Timestamp>,
    },
}

impl Body<'_> {
    /// Whether it is a note about the replica that wrote the file, and says nothing about the data.
    pub(super) fn is_of_one_replica(&self) -> bool {
        use Body::{Entry, Merged, Pending, Start, Vote};
        matches!(self, Start { .. } | Merged | Pending { .. } | Vote(_) | Entry { .. })
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it says.
    pub body: Body<'a>,
    /// The position of the operation; 0 for notes that have none.
    pub position: u64,
    /// Whether further records of the same operation follow.
    pub more: bool,
    /// The timestamp of the operation; zero for notes that have none.
    pub timestamp: Timestamp,
}

impl<'a> Record<'a> {
    /// A line that stands alone.
    pub fn new(body: Body<'a>, position: u64, timestamp: Timestamp) -> Self {
        Self { body, position, more: false, timestamp }
    }

    /// Whether the line is part of the total order (and not a note of one replica).
    pub fn is_ordered(&self) -> bool {
        matches!(
            self.body,
            Body::Set { .. } | Body::Delete { .. } | Body::FlushAll { .. } | Body::Nothing
        )
    }
}

/// Why a line is not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The line has no checksum column, or too few or too many others.
    #[error("expected 7 columns separated by tabs")]
    Columns,
    /// The checksum is another one.
    #[error("the checksum of the line is {computed:08x}, but it says `{found}`")]
    Checksum {
        /// What the bytes amount to.
        computed: u32,
        /// What stands there, escaped.
        found: String,
    },
    /// A column holds something else than its name says.
    #[error("column {name} holds `{found}`")]
    Column {
        /// The column.
        name: &'static str,
        /// What stands there, escaped.
        found: String,
    },
}

impl RecordError {
    fn column(name: &'static str, found: &[u8]) -> Self {
        Self::Column { name, found: shown(found) }
    }
}

/// A few bytes of something that was not expected, fit for a message.
pub(super) fn shown(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    escape(&bytes[..bytes.len().min(40)], &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Where a line was encoded, so that [`mark_more`] can still change it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    start: usize,
    after_position: usize,
}

/// Appends a line.
pub fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    encode_marked(record, out);
}

/// Appends a line and says where it is.
pub(super) fn encode_marked(record: &Record<'_>, out: &mut Vec<u8>) -> Mark {
    let start = out.len();
    if let Body::Header { compacted } = record.body {
        out.extend_from_slice(if compacted { HEADER_COMPACTED } else { HEADER });
        seal(out, start);
        return Mark { start, after_position: start };
    }
    key_and_value(&record.body, out);
    out.push(b'\t');
    number(out, record.position);
    let after_position = out.len();
    if record.more {
        out.push(b'+');
    }
    out.push(b'\t');
    timestamp(out, record.timestamp);
    out.push(b'\t');
    flags_and_expires(&record.body, out);
    seal(out, start);
    Mark { start, after_position }
}

/// Turns the last line of `out` into one that further records of its operation follow.
pub(super) fn mark_more(mark: Mark, out: &mut Vec<u8>) {
    out.truncate(out.len() - SEAL);
    out.insert(mark.after_position, b'+');
    seal(out, mark.start);
}

fn key_and_value(body: &Body<'_>, out: &mut Vec<u8>) {
    match body {
        Body::Set { key, data, .. } => {
            escape_key(key, out);
            out.push(b'\t');
            escape(data, out);
        }
        Body::Delete { key } => {
            escape_key(key, out);
            out.push(b'\t');
        }
        Body::FlushAll { at } => {
            out.extend_from_slice(b"#flush_all\t");
            number(out, *at);
        }
        Body::Nothing => out.extend_from_slice(b"#none\t"),
        Body::Header { .. } => out.push(b'#'),
        Body::Merged => out.extend_from_slice(b"#merged\t"),
        Body::Start { incarnation } => {
            out.extend_from_slice(b"#start\t");
            number(out, *incarnation);
        }
        Body::Pending { message } => {
            out.extend_from_slice(b"#pending\t");
            escape(message, out);
        }
        Body::Vote(ballot) => {
            out.extend_from_slice(b"#vote\t");
            match ballot {
                Ballot::Joining => out.extend_from_slice(b"joining"),
                Ballot::Voter { term, vote } => {
                    number(out, *term);
                    out.push(b' ');
                    match vote {
                        Some(replica) => number(out, u64::from(replica.0)),
                        None => out.push(b'-'),
                    }
                }
            }
        }
        Body::Entry { data } => {
            out.extend_from_slice(b"#entry\t");
            escape(data, out);
        }
        Body::Base { delivered } => {
            out.extend_from_slice(b"#base\t");
            for (i, last) in delivered.iter().enumerate() {
                if i > 0 {
                    out.push(b' ');
                }
                timestamp(out, *last);
            }
        }
    }
}

/// Appends a key so that it cannot be taken for a note.
pub(super) fn escape_key(key: &[u8], out: &mut Vec<u8>) {
    let rest = match key {
        [b'#', rest @ ..] => {
            hex(out, b'#');
            rest
        }
        whole => whole,
    };
    escape(rest, out);
}

fn flags_and_expires(body: &Body<'_>, out: &mut Vec<u8>) {
    match body {
        Body::Set { flags, expires, unique, .. } => {
            number(out, u64::from(*flags));
            if let Some(unique) = unique {
                out.extend_from_slice(b" unique=");
                number(out, *unique);
            }
            out.push(b'\t');
            number(out, *expires);
        }
        Body::Delete { .. } => out.extend_from_slice(b"deleted\t0"),
        _ => out.extend_from_slice(b"0\t0"),
    }
}

pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn timestamp(out: &mut Vec<u8>, timestamp: Timestamp) {
    number(out, timestamp.time);
    out.push(b'.');
    number(out, u64::from(timestamp.replica.0));
}

/// A tab, eight hex digits and a line feed.
const SEAL: usize = 10;

/// Ends the line that began at `start` with its checksum.
pub(super) fn seal(out: &mut Vec<u8>, start: usize) {
    let digits = checksum_digits(crc32fast::hash(&out[start..]));
    out.push(b'\t');
    out.extend_from_slice(&digits);
    out.push(b'\n');
}

fn checksum_digits(checksum: u32) -> [u8; 8] {
    std::array::from_fn(|i| b"0123456789abcdef"[(checksum >> (28 - 4 * i)) as usize & 15])
}

/// Takes the checksum off a line (without its line feed), if it is the right one.
pub(super) fn unseal(line: &[u8]) -> Result<&[u8], RecordError> {
    let Some((rest, [b'\t', found @ ..])) = line.split_last_chunk::<9>() else {
        return Err(RecordError::Columns);
    };
    let computed = crc32fast::hash(rest);
    if checksum_digits(computed) != *found {
        return Err(RecordError::Checksum { computed, found: shown(found) });
    }
    Ok(rest)
}

/// Reads a line (without its line feed).
pub fn parse_line(line: &[u8]) -> Result<Record<'_>, RecordError> {
    let rest = unseal(line)?;
    if rest.starts_with(HEADER_START) && (rest == HEADER || rest == HEADER_COMPACTED) {
        let compacted = rest == HEADER_COMPACTED;
        return Ok(Record::new(Body::Header { compacted }, 0, Timestamp::ZERO));
    }
    let (rest, expires) = last_column(rest)?;
    let (rest, flags) = last_column(rest)?;
    let (rest, when) = last_column(rest)?;
    let (rest, place) = last_column(rest)?;
    let key_end = memchr::memchr(b'\t', rest).ok_or(RecordError::Columns)?;
    let (key, value) = (&rest[..key_end], &rest[key_end + 1..]);

    let (place, more) = match place {
        [place @ .., b'+'] => (place, true),
        place => (place, false),
    };
    let position = parse_number(place)
        .filter(|&place| place <= GREATEST)
        .ok_or_else(|| RecordError::column("POSITION", place))?;
    let timestamp =
        parse_timestamp(when).ok_or_else(|| RecordError::column("TIME.REPLICA", when))?;
    let body = match key {
        [b'#', ..] => parse_note(key, value)?,
        key => parse_entry(key, value, flags, expires)?,
    };
    Ok(Record { body, position, more, timestamp })
}

/// Splits off the last column; the columns searched this way are short.
fn last_column(line: &[u8]) -> Result<(&[u8], &[u8]), RecordError> {
    let tab = line.iter().rposition(|&byte| byte == b'\t').ok_or(RecordError::Columns)?;
    Ok((&line[..tab], &line[tab + 1..]))
}

fn parse_entry<'a>(
    key: &'a [u8],
    value: &'a [u8],
    flags: &[u8],
    expires: &[u8],
) -> Result<Body<'a>, RecordError> {
    let key = unescape(key).ok_or_else(|| RecordError::column("KEY", key))?;
    if flags == b"deleted" {
        return Ok(Body::Delete { key });
    }
    let data = unescape(value).ok_or_else(|| RecordError::column("VALUE", value))?;
    let expires = parse_number(expires).ok_or_else(|| RecordError::column("EXPIRES", expires))?;
    let (flags, unique) = parse_flags(flags).ok_or_else(|| RecordError::column("FLAGS", flags))?;
    Ok(Body::Set { key, data, flags, expires, unique })
}

fn parse_note<'a>(key: &'a [u8], value: &'a [u8]) -> Result<Body<'a>, RecordError> {
    let wrong = || RecordError::column("VALUE", value);
    match key {
        b"#flush_all" => Ok(Body::FlushAll { at: parse_number(value).ok_or_else(wrong)? }),
        b"#none" => Ok(Body::Nothing),
        b"#merged" => Ok(Body::Merged),
        b"#start" => Ok(Body::Start { incarnation: parse_number(value).ok_or_else(wrong)? }),
        b"#vote" => Ok(Body::Vote(parse_ballot(value).ok_or_else(wrong)?)),
        b"#entry" => Ok(Body::Entry { data: unescape(value).ok_or_else(wrong)? }),
        b"#pending" => Ok(Body::Pending { message: unescape(value).ok_or_else(wrong)? }),
        b"#base" => {
            let parts = value.split(|&byte| byte == b' ').filter(|part| !part.is_empty());
            let delivered = parts.map(parse_timestamp).collect::<Option<_>>().ok_or_else(wrong)?;
            Ok(Body::Base { delivered })
        }
        _ => Err(RecordError::column("KEY", key)),
    }
}

fn parse_ballot(value: &[u8]) -> Option<Ballot> {
    if value == b"joining" {
        return Some(Ballot::Joining);
    }
    let space = value.iter().position(|&byte| byte == b' ')?;
    let vote = match &value[space + 1..] {
        b"-" => None,
        replica => Some(ReplicaId(u16::try_from(parse_number(replica)?).ok()?)),
    };
    Some(Ballot::Voter { term: parse_number(&value[..space])?, vote })
}

fn parse_flags(flags: &[u8]) -> Option<(u32, Option<u64>)> {
    let end = flags.iter().position(|&byte| byte == b' ').unwrap_or(flags.len());
    let number = u32::try_from(parse_number(&flags[..end])?).ok()?;
    match &flags[end..] {
        [] => Some((number, None)),
        more => Some((number, Some(parse_number(more.strip_prefix(b" unique=")?)?))),
    }
}

pub(super) fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| number.checked_mul(10)?.checked_add(u64::from(digit))).flatten()
    })
}

fn parse_timestamp(text: &[u8]) -> Option<Timestamp> {
    let dot = text.iter().position(|&byte| byte == b'.')?;
    let time = parse_number(&text[..dot])?;
    let replica = u16::try_from(parse_number(&text[dot + 1..])?).ok()?;
    (time <= GREATEST).then(|| Timestamp::new(time, ReplicaId(replica)))
}

/// Whether this intact line (without its line feed) says that further records of its operation follow.
pub(super) fn says_more(line: &[u8]) -> bool {
    let mut columns = line.rsplit(|&byte| byte == b'\t');
    columns.nth(4).is_some_and(|place| place.last() == Some(&b'+'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        encode(record, &mut out);
        String::from_utf8(out).expect("lines are UTF-8")
    }

    fn set<'a>(key: &'a [u8], data: &'a [u8]) -> Record<'a> {
        let (key, data) = (key.into(), data.into());
        let body = Body::Set { key, data, flags: 0, expires: 0, unique: None };
        Record::new(body, 12, Timestamp::new(34, ReplicaId(1)))
    }

    #[test]
    fn lines_are_made_to_be_read() {
        assert_eq!(text(&set(b"x", b"42")), "x\t42\t12\t34.1\t0\t0\t0ffaa8e4\n");
        let cut =
            |record: &Record<'_>| text(record).rsplit_once('\t').expect("7 columns").0.to_owned();
        assert_eq!(cut(&set(b"#a#", b"\0")), "\\x23a#\t\\x00\t12\t34.1\t0\t0");
        let gone = Record { more: true, body: Body::Delete { key: b"x".into() }, ..set(b"", b"") };
        assert_eq!(cut(&gone), "x\t\t12+\t34.1\tdeleted\t0");
        let base = Body::Base { delivered: vec![Timestamp::new(3, ReplicaId(0)), gone.timestamp] };
        assert_eq!(cut(&Record::new(base, 9, gone.timestamp)), "#base\t3.0 34.1\t9\t34.1\t0\t0");
        let header = Body::Header { compacted: false };
        let header = text(&Record::new(header, 0, Timestamp::ZERO));
        assert!(header.starts_with("#storage.txt v1: KEY\tVALUE\tPOSITION\t"), "{header}");
    }

    #[test]
    fn a_line_can_be_marked_after_it_was_written() {
        let mut late = b"before".to_vec();
        let mark = encode_marked(&set(b"k", b"v"), &mut late);
        mark_more(mark, &mut late);
        let at_once = text(&Record { more: true, ..set(b"k", b"v") });
        assert_eq!(late, [b"before", at_once.as_bytes()].concat());
        assert!(says_more(at_once.trim_end().as_bytes()));
        assert!(!says_more(text(&set(b"k+", b"v+")).trim_end().as_bytes()));
    }

    #[test]
    fn intact_checksums_around_nonsense_are_refused() {
        for nonsense in [
            "",
            "\t",
            "a\tb",
            "k\tv\t1\t1.0\t0",
            "k\tv\tx\t1.0\t0\t0",
            "k\tv\t1\t1\t0\t0",
            "k\tv\t1\t1.0\t-1\t0",
            "k\tv\t1\t1.0\t4294967296\t0",
            "k\tv\t1\t1.0\t0 u=1\t0",
            "k\tv\t1\t1.0\t0\tnever",
            "k\\q\tv\t1\t1.0\t0\t0",
            "k\tv\tv\t1\t1.0\t0\t0",
            "#what\tv\t1\t1.0\t0\t0",
            "#start\t-\t0\t0.0\t0\t0",
            "k\tv\t1\t1.65536\t0\t0",
            "k\tv\t18446744073709551616\t1.0\t0\t0",
            "k\tv\t\t1.0\t0\t0",
            "#base\t1\t0\t0.0\t0\t0",
            "k\tv\t9223372036854775808\t1.0\t0\t0",
            "k\tv\t1\t9223372036854775808.0\t0\t0",
        ] {
            let mut line = nonsense.as_bytes().to_vec();
            seal(&mut line, 0);
            line.pop();
            assert!(parse_line(&line).is_err(), "{nonsense:?}");
        }
    }

    fn any_body() -> impl Strategy<Value = Body<'static>> {
        let bytes = || any::<Vec<u8>>().prop_map(Cow::Owned);
        let timestamp = (0..=GREATEST, any::<u16>())
            .prop_map(|(time, replica)| Timestamp::new(time, ReplicaId(replica)));
        prop_oneof![
            (bytes(), bytes(), any::<u32>(), any::<u64>(), any::<Option<u64>>()).prop_map(
                |(key, data, flags, expires, unique)| Body::Set {
                    key,
                    data,
                    flags,
                    expires,
                    unique
                }
            ),
            bytes().prop_map(|key| Body::Delete { key }),
            any::<u64>().prop_map(|at| Body::FlushAll { at }),
            Just(Body::Nothing),
            any::<u64>().prop_map(|incarnation| Body::Start { incarnation }),
            Just(Body::Merged),
            bytes().prop_map(|data| Body::Entry { data }),
            Just(Body::Vote(Ballot::Joining)),
            (0..=GREATEST, proptest::option::of(any::<u16>())).prop_map(|(term, vote)| {
                Body::Vote(Ballot::Voter { term, vote: vote.map(ReplicaId) })
            }),
            bytes().prop_map(|message| Body::Pending { message }),
            proptest::collection::vec(timestamp, 0..4)
                .prop_map(|delivered| Body::Base { delivered }),
        ]
    }

    proptest! {
        #[test]
        fn every_record_comes_back(body in any_body(), position in 0..=GREATEST, more: bool, time in 0..=GREATEST, replica: u16) {
            let timestamp = Timestamp::new(time, ReplicaId(replica));
            let record = Record { body, position, more, timestamp };
            let line = text(&record);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(line.matches('\t').count(), 6);
            prop_assert_eq!(parse_line(line.trim_end_matches('\n').as_bytes()), Ok(record));
        }

        #[test]
        fn any_flip_of_a_bit_is_seen(key: Vec<u8>, data: Vec<u8>, place: prop::sample::Index, bit in 0..8) {
            let mut line = text(&set(&key, &data)).into_bytes();
            line.pop();
            let at = place.index(line.len());
            line[at] ^= 1u8 << bit;
            prop_assert!(parse_line(&line).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(line: Vec<u8>) {
            let _ = parse_line(&line);
            let _ = says_more(&line);
        }
    }
}
