//! The two client protocols as a client sees them: how a command is written, and where its reply ends.
//!
//! A reply is parsed against the command it answers, which makes it one look at the first byte and one
//! search for the line's end. The parser is incremental in the simplest way: it is asked again, from the
//! reply's start, when more bytes have come. That is cheap because only the first line is searched; the
//! value behind it is skipped by its length.

use std::{fmt, str::FromStr};

use crate::base::limits::{HIGHEST_MAX_VALUE, MAX_LINE};

/// A client protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The memcached text protocol.
    #[default]
    Memcached,
    /// RESP2, the protocol of Redis.
    Resp,
}

/// What a command asks for; a reply can be understood only next to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The value of one key.
    Get,
    /// That a value be stored.
    Set,
    /// That a key be removed.
    Delete,
}

/// What a complete reply says. Positions count from the reply's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The write was done.
    Done,
    /// The value lies at `from..to`.
    Value {
        /// Its first byte.
        from: usize,
        /// The byte behind its last.
        to: usize,
    },
    /// There is no such key.
    Missing,
    /// An error line at `0..to`: the operation was refused.
    Refused {
        /// The end of the line, without its CRLF.
        to: usize,
    },
    /// An error line at `0..to`: whether the operation takes effect is not known.
    Unknown {
        /// The end of the line, without its CRLF.
        to: usize,
    },
}

/// The result of looking at what has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A reply of this many bytes.
    Reply(usize, Shape),
    /// More bytes are needed.
    Incomplete,
    /// No reply of this protocol begins like that; this was expected.
    Malformed(&'static str),
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "memcached" => Ok(Self::Memcached),
            "resp" => Ok(Self::Resp),
            _ => Err("expected memcached or resp".to_owned()),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memcached => "memcached",
            Self::Resp => "resp",
        })
    }
}

impl Protocol {
    /// Appends a command that reads one key.
    pub fn write_get(self, out: &mut Vec<u8>, key: &[u8]) {
        match self {
            Self::Memcached => join(out, &[b"get ", key, b"\r\n"]),
            Self::Resp => write_resp(out, &[b"GET", key]),
        }
    }

    /// Appends a command that stores a value.
    pub fn write_set(self, out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        match self {
            Self::Memcached => {
                join(out, &[b"set ", key, b" 0 0 "]);
                write_number(out, value.len());
                join(out, &[b"\r\n", value, b"\r\n"]);
            }
            Self::Resp => write_resp(out, &[b"SET", key, value]),
        }
    }

    /// Appends a command that removes a key.
    pub fn write_delete(self, out: &mut Vec<u8>, key: &[u8]) {
        match self {
            Self::Memcached => join(out, &[b"delete ", key, b"\r\n"]),
            Self::Resp => write_resp(out, &[b"DEL", key]),
        }
    }

    /// The length in bytes of the reply to a `get` that finds a value of `value` bytes.
    pub fn value_reply_length(self, key: usize, value: usize) -> usize {
        let mut digits = Vec::new();
        write_number(&mut digits, value);
        match self {
            Self::Memcached => b"VALUE  0 \r\n\r\nEND\r\n".len() + key + digits.len() + value,
            Self::Resp => b"$\r\n\r\n".len() + digits.len() + value,
        }
    }

    /// The length in bytes of the reply to a `set` that succeeds.
    pub fn stored_reply_length(self) -> usize {
        match self {
            Self::Memcached => b"STORED\r\n".len(),
            Self::Resp => b"+OK\r\n".len(),
        }
    }

    /// Looks for the reply to `ask` at the start of `input`.
    pub fn parse(self, ask: Ask, input: &[u8]) -> Parsed {
        let Some(end) = memchr::memchr(b'\n', &input[..input.len().min(MAX_LINE)]) else {
            return if input.len() >= MAX_LINE {
                Parsed::Malformed("a reply line of at most 64 KiB")
            } else {
                Parsed::Incomplete
            };
        };
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        match self {
            Self::Memcached => parse_memcached(ask, input, line, end + 1),
            Self::Resp => parse_resp(ask, input, line, end + 1),
        }
    }
}

fn parse_memcached(ask: Ask, input: &[u8], line: &[u8], next: usize) -> Parsed {
    match (ask, line) {
        (Ask::Set, b"STORED") | (Ask::Delete, b"DELETED") => Parsed::Reply(next, Shape::Done),
        (Ask::Get, b"END") | (Ask::Delete, b"NOT_FOUND") => Parsed::Reply(next, Shape::Missing),
        (Ask::Get, _) if line.starts_with(b"VALUE ") => {
            let Some(length) = line.split(|b| *b == b' ').nth(3).and_then(number) else {
                return Parsed::Malformed("VALUE <key> <flags> <bytes>");
            };
            value_then(input, next, length, b"\r\nEND\r\n", "<value> CRLF END CRLF")
        }
        (Ask::Set, b"NOT_STORED" | b"EXISTS" | b"NOT_FOUND") => {
            Parsed::Reply(next, Shape::Refused { to: line.len() })
        }
        _ if line.starts_with(b"SERVER_ERROR ") && says_unknown(line) => {
            Parsed::Reply(next, Shape::Unknown { to: line.len() })
        }
        _ if is_memcached_error(line) => Parsed::Reply(next, Shape::Refused { to: line.len() }),
        (Ask::Get, _) => Parsed::Malformed("VALUE, END or an error line"),
        (Ask::Set, _) => Parsed::Malformed("STORED or an error line"),
        (Ask::Delete, _) => Parsed::Malformed("DELETED, NOT_FOUND or an error line"),
    }
}

fn parse_resp(ask: Ask, input: &[u8], line: &[u8], next: usize) -> Parsed {
    match (ask, line) {
        (Ask::Set, b"+OK") => Parsed::Reply(next, Shape::Done),
        (Ask::Get, b"$-1" | b"_") | (Ask::Delete, b":0") => Parsed::Reply(next, Shape::Missing),
        (Ask::Set, b"$-1" | b"_") => Parsed::Reply(next, Shape::Refused { to: line.len() }),
        (Ask::Delete, [b':', digits @ ..]) if number(digits).is_some() => {
            Parsed::Reply(next, Shape::Done)
        }
        (Ask::Get, [b'$', digits @ ..]) => match number(digits) {
            Some(length) => value_then(input, next, length, b"\r\n", "<value> CRLF"),
            None => Parsed::Malformed("$<length>"),
        },
        (_, [b'-', text @ ..]) if text.starts_with(b"TIMEOUT") || says_unknown(text) => {
            Parsed::Reply(next, Shape::Unknown { to: line.len() })
        }
        (_, [b'-', ..]) => Parsed::Reply(next, Shape::Refused { to: line.len() }),
        (Ask::Get, _) => Parsed::Malformed("$<length> or an error line"),
        (Ask::Set, _) => Parsed::Malformed("+OK or an error line"),
        (Ask::Delete, _) => Parsed::Malformed(":<count> or an error line"),
    }
}

/// Whether a memcached line is an error line.
pub(super) fn is_memcached_error(line: &[u8]) -> bool {
    line == b"ERROR" || line.starts_with(b"CLIENT_ERROR") || line.starts_with(b"SERVER_ERROR")
}

/// Whether an error line says that the outcome is not known.
fn says_unknown(line: &[u8]) -> bool {
    memchr::memmem::find(line, b"outcome unknown").is_some()
}

/// A value of `length` bytes at `from`, and behind it exactly `tail`.
fn value_then(
    input: &[u8],
    from: usize,
    length: usize,
    tail: &[u8],
    expected: &'static str,
) -> Parsed {
    if length > HIGHEST_MAX_VALUE {
        return Parsed::Malformed("a value of at most 512 MiB");
    }
    let to = from + length;
    let end = to + tail.len();
    match input.get(to..end) {
        None => Parsed::Incomplete,
        Some(found) if found == tail => Parsed::Reply(end, Shape::Value { from, to }),
        Some(_) => Parsed::Malformed(expected),
    }
}

/// A decimal number; `None` for anything else, or when it does not fit.
pub(super) fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0usize, |n, digit| {
        let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

fn join(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn write_number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a RESP command: an array of bulk strings.
pub(super) fn write_resp(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.push(b'*');
    write_number(out, words.len());
    for word in words {
        out.extend_from_slice(b"\r\n$");
        write_number(out, word.len());
        join(out, &[b"\r\n", word]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(protocol: Protocol, ask: Ask, input: &[u8]) -> Shape {
        for cut in 0..input.len() {
            assert_eq!(protocol.parse(ask, &input[..cut]), Parsed::Incomplete, "cut at {cut}");
        }
        match protocol.parse(ask, input) {
            Parsed::Reply(length, shape) if length == input.len() => shape,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn memcached_replies_cut_at_every_byte() {
        let m = Protocol::Memcached;
        assert_eq!(whole(m, Ask::Set, b"STORED\r\n"), Shape::Done);
        assert_eq!(whole(m, Ask::Get, b"END\r\n"), Shape::Missing);
        assert_eq!(
            whole(m, Ask::Get, b"VALUE x 0 5\r\na\r\nbc\r\nEND\r\n"),
            Shape::Value { from: 13, to: 18 }
        );
        assert_eq!(whole(m, Ask::Delete, b"DELETED\r\n"), Shape::Done);
        assert_eq!(whole(m, Ask::Delete, b"NOT_FOUND\r\n"), Shape::Missing);
        assert_eq!(
            whole(m, Ask::Set, b"SERVER_ERROR timeout, outcome unknown\r\n"),
            Shape::Unknown { to: 37 }
        );
        assert_eq!(whole(m, Ask::Set, b"SERVER_ERROR full\r\n"), Shape::Refused { to: 17 });
        assert!(matches!(m.parse(Ask::Set, b"END\r\n"), Parsed::Malformed(_)));
        assert!(matches!(m.parse(Ask::Get, b"VALUE x 0 -1\r\n"), Parsed::Malformed(_)));
        assert!(matches!(m.parse(Ask::Get, b"VALUE x 0 1\r\nabEND\r\n\r\n"), Parsed::Malformed(_)));
    }

    #[test]
    fn resp_replies_cut_at_every_byte() {
        let r = Protocol::Resp;
        assert_eq!(whole(r, Ask::Set, b"+OK\r\n"), Shape::Done);
        assert_eq!(whole(r, Ask::Get, b"$-1\r\n"), Shape::Missing);
        assert_eq!(whole(r, Ask::Get, b"$2\r\n42\r\n"), Shape::Value { from: 4, to: 6 });
        assert_eq!(whole(r, Ask::Delete, b":1\r\n"), Shape::Done);
        assert_eq!(whole(r, Ask::Delete, b":0\r\n"), Shape::Missing);
        assert_eq!(whole(r, Ask::Set, b"-TIMEOUT outcome unknown\r\n"), Shape::Unknown { to: 24 });
        assert_eq!(whole(r, Ask::Get, b"-ERR no\r\n"), Shape::Refused { to: 7 });
        assert!(matches!(r.parse(Ask::Get, b"$-2\r\n"), Parsed::Malformed(_)));
        assert!(matches!(r.parse(Ask::Get, b"$99999999999\r\n"), Parsed::Malformed(_)));
    }

    #[test]
    fn the_reply_lengths_are_those_of_real_replies() {
        let get = b"VALUE x 0 10\r\n0123456789\r\nEND\r\n";
        assert_eq!(Protocol::Memcached.value_reply_length(1, 10), get.len());
        assert_eq!(Protocol::Resp.value_reply_length(1, 10), b"$10\r\n0123456789\r\n".len());
    }

    proptest! {
        #[test]
        fn no_input_panics(input in proptest::collection::vec(any::<u8>(), 0..64)) {
            for protocol in [Protocol::Memcached, Protocol::Resp] {
                for ask in [Ask::Get, Ask::Set, Ask::Delete] {
                    if let Parsed::Reply(length, _) = protocol.parse(ask, &input) {
                        prop_assert!(length <= input.len());
                    }
                }
            }
        }
    }
}
