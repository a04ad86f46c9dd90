//! RESP, the protocol of redis, server side: version 2, and version 3 for clients that ask for it.
//!
//! A request is an array of bulk strings, `*2\r\n$3\r\nGET\r\n$1\r\nx\r\n`, or, typed by hand, a line of
//! words. This file finds where requests begin and end; `command` and `connection` say what they mean. Replies and errors
//! are those of redis 7, byte for byte (`tests/wire_resp.rs` asks both the same and compares), with these
//! differences, all on purpose:
//!
//! - what follows a number or a bulk string must be CRLF; redis takes any two bytes, and so reads on after
//!   a wrong length as if nothing had happened;
//! - a number longer than any that could be right is refused at once, where redis waits for 64 KiB of it;
//! - at most [`MAX_ARGUMENTS`] arguments, keys of at most 250 bytes, values of at most `max_value`; a
//!   request that is larger is answered with an error and swallowed, and the connection stays in step;
//! - lines of words know no quotes.
//!
//! Nothing is allocated from a number that a client announced: the decoder keeps the positions of the
//! arguments that have arrived, eight bytes each, and reuses the room for the next request.
//!
//! Source: the RESP2 and RESP3 specifications, and `networking.c` of redis.

mod command;
mod connection;

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

use super::number;
use super::request::{Call, Form, Request, Step, max_request, resp_error};
use crate::base::Limits;
use crate::base::limits::{HIGHEST_MAX_VALUE, MAX_ARGUMENTS, MAX_LINE};
use command::STATUS;
use connection::Session;

/// The version of redis whose answers these are; clients decide by it what they may expect.
pub const VERSION: &str = "7.0.0";

/// The longest line that can hold a count or a length: a type byte, 20 characters, CRLF.
const LONGEST_HEAD: usize = 23;

/// Room for this many argument positions is kept from one request to the next.
const KEPT_ARGUMENTS: usize = 1024;

/// An incremental decoder of RESP requests; see [`super::Decoder::next`] for how it is called.
#[derive(Debug)]
pub struct Decoder {
    session: Session,
    /// The arguments of the request at the front that have arrived, as positions in the buffer.
    arguments: Vec<Range<u32>>,
    /// How many arguments that request has; 0 while its first line is not there.
    expected: usize,
    /// Where in the buffer to go on.
    at: usize,
    /// With fewer bytes than this there is nothing new to find.
    needed: usize,
    discard: Discard,
}

/// What is left of a request that was refused.
#[derive(Clone, Copy, Debug, Default)]
struct Discard {
    /// Bytes of the argument that was being read, with its line end.
    bytes: usize,
    /// Whole arguments after it.
    arguments: usize,
}

/// A line that holds a number behind its type byte.
enum Head {
    /// The number, and where the line after it begins.
    Number(i64, usize),
    NotYet,
    Wrong,
}

/// The arguments of one whole request.
pub(super) struct Arguments<'a, 'd> {
    buf: &'a [u8],
    ranges: &'d [Range<u32>],
}

impl<'a> Arguments<'a, '_> {
    fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The argument at `index`, empty where there is none.
    fn get(&self, index: usize) -> &'a [u8] {
        self.ranges.get(index).map(|range| slice(self.buf, range)).unwrap_or_default()
    }

    /// The request that stands behind `index` others of its arguments.
    fn behind(&self, index: usize) -> Self {
        Self { buf: self.buf, ranges: self.ranges.get(index..).unwrap_or_default() }
    }

    /// The arguments from `index` on.
    fn from(&self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.ranges.get(index..).unwrap_or_default().iter().map(|range| slice(self.buf, range))
    }
}

fn slice<'a>(buf: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    buf.get(range.start as usize..range.end as usize).unwrap_or_default()
}

impl Decoder {
    /// A decoder for the connection of this number.
    pub fn new(connection: u64) -> Self {
        Self {
            session: Session::new(connection),
            arguments: Vec::new(),
            expected: 0,
            at: 0,
            needed: 0,
            discard: Discard::default(),
        }
    }

    /// See [`super::Decoder::next`].
    pub fn next<'a>(&mut self, buf: &'a [u8], now_unix_ms: u64, limits: &Limits) -> Step<'a> {
        if self.discard.bytes > 0 || self.discard.arguments > 0 {
            return self.discard(buf);
        }
        if buf.len() < self.needed.max(1) {
            return Step::NeedMore { at_least: self.needed.max(1) };
        }
        if self.expected == 0 {
            if buf[0] != b'*' {
                return self.inline(buf, now_unix_ms, limits);
            }
            match head(buf, 0) {
                Head::NotYet => return self.wait(buf.len() + 1),
                // An empty request, or a null one, is no request.
                Head::Number(..=0, after) => return self.skip(after),
                Head::Number(count, after) if count <= MAX_ARGUMENTS as i64 => {
                    self.expected = count as usize;
                    self.at = after;
                }
                Head::Number(..) | Head::Wrong => {
                    return protocol_error("invalid multibulk length");
                }
            }
        }
        while self.arguments.len() < self.expected {
            if let Some(step) = self.argument(buf, limits) {
                return step;
            }
        }
        self.finish(buf, now_unix_ms, limits)
    }

    /// Takes the next argument, or says what is in the way.
    fn argument<'a>(&mut self, buf: &'a [u8], limits: &Limits) -> Option<Step<'a>> {
        match buf.get(self.at) {
            None => return Some(self.wait(self.at + 1)),
            Some(b'$') => {}
            Some(other) => {
                let got = printable(*other);
                return Some(protocol_error(format_args!("expected '$', got '{got}'")));
            }
        }
        let (length, start) = match head(buf, self.at) {
            Head::NotYet => return Some(self.wait(buf.len() + 1)),
            Head::Number(length, start) => (length, start),
            Head::Wrong => return Some(protocol_error("invalid bulk length")),
        };
        let length = match usize::try_from(length) {
            Ok(length) if length <= HIGHEST_MAX_VALUE => length,
            _ => return Some(protocol_error("invalid bulk length")),
        };
        let stop = start + length;
        if length > limits.max_value || stop + 2 > most_bytes(limits) {
            return Some(self.refuse(length, start, limits));
        }
        match buf.get(stop..stop + 2) {
            None => return Some(self.wait(stop + 2)),
            Some(b"\r\n") => {}
            Some(_) => return Some(protocol_error("expected CRLF after a bulk string")),
        }
        let (Ok(from), Ok(to)) = (u32::try_from(start), u32::try_from(stop)) else {
            return Some(self.refuse(length, start, limits));
        };
        self.arguments.push(from..to);
        self.at = stop + 2;
        None
    }

    /// A line of words.
    fn inline<'a>(&mut self, buf: &'a [u8], now_unix_ms: u64, limits: &Limits) -> Step<'a> {
        let window = &buf[..buf.len().min(MAX_LINE + 1)];
        let Some(end) = memchr(b'\n', window.get(self.at..).unwrap_or_default()) else {
            if buf.len() > MAX_LINE {
                return protocol_error("too big inline request");
            }
            self.at = buf.len();
            return self.wait(buf.len() + 1);
        };
        let end = self.at + end;
        let line = buf[..end].strip_suffix(b"\r").unwrap_or(&buf[..end]);
        if line.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
            let text = format_args!("quotes in a line of words are not understood");
            return self.done(Call::Static(resp_error(text)), STATUS, end + 1);
        }
        let mut start = 0;
        for word in line.split(u8::is_ascii_whitespace) {
            if !word.is_empty() {
                // A line is at most MAX_LINE long, so positions in it fit.
                self.arguments.push(start as u32..(start + word.len()) as u32);
            }
            start += word.len() + 1;
        }
        self.at = end + 1;
        if self.arguments.is_empty() {
            return self.skip(end + 1);
        }
        self.finish(buf, now_unix_ms, limits)
    }

    /// All arguments are there.
    fn finish<'a>(&mut self, buf: &'a [u8], now_unix_ms: u64, limits: &Limits) -> Step<'a> {
        let arguments = Arguments { buf, ranges: &self.arguments };
        let (call, form) = command::parse(&arguments, &mut self.session, now_unix_ms, limits);
        self.done(call, form, self.at)
    }

    /// Answers a request that is too large, and arranges for the rest of it to be thrown away.
    fn refuse<'a>(&mut self, length: usize, start: usize, limits: &Limits) -> Step<'a> {
        let rest = self.expected - self.arguments.len() - 1;
        self.discard = Discard { bytes: length + 2, arguments: rest };
        let text = if length > limits.max_value {
            let most = limits.max_value;
            resp_error(format_args!(
                "string exceeds maximum allowed size: {length} bytes, at most {most} (--max-value)"
            ))
        } else {
            let most = most_bytes(limits);
            resp_error(format_args!("request exceeds maximum allowed size: at most {most} bytes"))
        };
        self.done(Call::Static(text), STATUS, start)
    }

    fn discard<'a>(&mut self, buf: &'a [u8]) -> Step<'a> {
        if buf.is_empty() {
            return Step::NeedMore { at_least: 1 };
        }
        if self.discard.bytes > 0 {
            let consumed = self.discard.bytes.min(buf.len());
            self.discard.bytes -= consumed;
            return Step::Skip { consumed };
        }
        if buf[0] != b'$' {
            let got = printable(buf[0]);
            return protocol_error(format_args!("expected '$', got '{got}'"));
        }
        match head(buf, 0) {
            Head::NotYet => Step::NeedMore { at_least: buf.len() + 1 },
            Head::Number(length, after) if (0..=HIGHEST_MAX_VALUE as i64).contains(&length) => {
                self.discard.arguments -= 1;
                self.discard.bytes = length as usize + 2;
                Step::Skip { consumed: after }
            }
            Head::Number(..) | Head::Wrong => protocol_error("invalid bulk length"),
        }
    }

    fn wait<'a>(&mut self, needed: usize) -> Step<'a> {
        self.needed = needed;
        Step::NeedMore { at_least: needed }
    }

    fn skip<'a>(&mut self, consumed: usize) -> Step<'a> {
        self.reset();
        Step::Skip { consumed }
    }

    fn done<'a>(&mut self, call: Call<'a>, form: Form, consumed: usize) -> Step<'a> {
        self.reset();
        Step::Request { request: Request { call, form }, consumed }
    }

    fn reset(&mut self) {
        self.arguments.clear();
        self.arguments.shrink_to(KEPT_ARGUMENTS);
        self.expected = 0;
        self.at = 0;
        self.needed = 0;
    }
}

/// The longest request in bytes. The head of the argument that goes beyond it must still fit the buffer.
fn most_bytes(limits: &Limits) -> usize {
    max_request(limits) - LONGEST_HEAD
}

/// Reads the number behind the type byte at `at`.
fn head(buf: &[u8], at: usize) -> Head {
    let rest = &buf[at..];
    let line = &rest[..rest.len().min(LONGEST_HEAD)];
    match memchr(b'\r', line) {
        Some(end) => match (number::canonical(&line[1..end]), rest.get(end + 1)) {
            (None, _) => Head::Wrong,
            (Some(_), None) => Head::NotYet,
            (Some(number), Some(b'\n')) => Head::Number(number, at + end + 2),
            (Some(_), Some(_)) => Head::Wrong,
        },
        None if line.len() == LONGEST_HEAD => Head::Wrong,
        None => Head::NotYet,
    }
}

fn protocol_error(what: impl std::fmt::Display) -> Step<'static> {
    Step::Fatal { reply: resp_error(format_args!("Protocol error: {what}")) }
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' }
}

/// The reply to hand out for text that lives as long as the program.
fn fixed(reply: &'static [u8]) -> Cow<'static, [u8]> {
    Cow::Borrowed(reply)
}
