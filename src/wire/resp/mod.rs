//! RESP, the protocol of redis, server side: version 2, and version 3 for clients that ask for it.
//!
//! A request is an array of bulk strings, `*2\r\n$3\r\nGET\r\n$1\r\nx\r\n`, or, typed by hand, a line of
//! words. `array` finds where requests begin and end; `command` and `connection` say what they mean. Replies
//! and errors are those of redis 7, byte for byte (`tests/wire/resp.rs` asks both the same and compares), with these
//! differences, all on purpose:
//!
//! - what follows a number or a bulk string must be CRLF; redis takes any two bytes, and so reads on after
//!   a wrong length as if nothing had happened;
//! - a number longer than any that could be right, or with a bare LF behind it, is refused at once, where redis
//!   waits for 64 KiB of it;
//! - at most [`MAX_ARGUMENTS`] arguments, keys of at most 250 bytes, values of at most `max_value`; a
//!   request that is larger is answered with an error and swallowed, and the connection stays in step;
//! - lines of words know no quotes.
//!
//! Source: the RESP2 and RESP3 specifications, and `networking.c` of redis.

pub(super) mod array;
mod command;
mod connection;

use std::borrow::Cow;

use memchr::memchr;

use super::request::{Call, Request, Step, max_request, resp_error};
use crate::base::Limits;
use crate::base::limits::{HIGHEST_MAX_VALUE, MAX_ARGUMENTS, MAX_LINE};
pub(super) use array::Arguments;
use array::{ArrayDecoder, ArrayStep, Bounds, Fault, LONGEST_HEAD};
use command::STATUS;
use connection::Session;

/// The version of redis whose answers these are; clients decide by it what they may expect.
pub const VERSION: &str = "7.0.0";

/// An incremental decoder of RESP requests; see [`super::Decoder::next`] for how it is called.
#[derive(Debug)]
pub struct Decoder {
    session: Session,
    array: ArrayDecoder,
    /// How much of a line of words has been searched for its end.
    searched: usize,
}

impl Decoder {
    /// A decoder for the connection of this number.
    pub fn new(connection: u64) -> Self {
        let session = Session::new(connection);
        Self { session, array: ArrayDecoder::default(), searched: 0 }
    }

    /// See [`super::Decoder::next`].
    pub fn next<'a>(&mut self, buf: &'a [u8], now_unix_ms: u64, limits: &Limits) -> Step<'a> {
        if buf.len() < self.array.needed() {
            return Step::NeedMore { at_least: self.array.needed() };
        }
        if !self.array.is_inside() && buf[0] != b'*' {
            return self.inline(buf, now_unix_ms, limits);
        }
        let bounds = Bounds {
            arguments: MAX_ARGUMENTS,
            kept: MAX_ARGUMENTS,
            bulk: limits.max_value,
            skipped: HIGHEST_MAX_VALUE,
            // The head of the argument that goes beyond it must still fit the buffer.
            bytes: max_request(limits) - LONGEST_HEAD,
        };
        match self.array.next(buf, &bounds) {
            ArrayStep::NeedMore { at_least } => Step::NeedMore { at_least },
            ArrayStep::Whole { consumed } => self.finish(buf, now_unix_ms, limits, consumed),
            // An empty request, or a null one, is no request.
            ArrayStep::Empty { consumed, .. } | ArrayStep::Skip { consumed } => {
                Step::Skip { consumed }
            }
            ArrayStep::Refused { length, consumed } => {
                let call = Call::Static(too_large(length, &bounds));
                Step::Request { request: Request { call, form: STATUS }, consumed }
            }
            ArrayStep::Fault(fault) => protocol_error(match fault {
                Fault::Count => format_args!("invalid multibulk length"),
                Fault::Length => format_args!("invalid bulk length"),
                Fault::LineEnd => format_args!("expected CRLF after a bulk string"),
                Fault::Element(byte) => {
                    return protocol_error(format_args!("expected '$', got '{}'", printable(byte)));
                }
            }),
        }
    }

    /// A line of words.
    fn inline<'a>(&mut self, buf: &'a [u8], now_unix_ms: u64, limits: &Limits) -> Step<'a> {
        let window = &buf[..buf.len().min(MAX_LINE + 1)];
        let Some(end) = memchr(b'\n', window.get(self.searched..).unwrap_or_default()) else {
            if buf.len() > MAX_LINE {
                return protocol_error("too big inline request");
            }
            self.searched = buf.len();
            return Step::NeedMore { at_least: buf.len() + 1 };
        };
        let end = std::mem::take(&mut self.searched) + end;
        let line = buf[..end].strip_suffix(b"\r").unwrap_or(&buf[..end]);
        if line.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
            let text = resp_error(format_args!("quotes in a line of words are not understood"));
            let request = Request { call: Call::Static(text), form: STATUS };
            return Step::Request { request, consumed: end + 1 };
        }
        self.array.take_words(line);
        if self.array.count() == 0 {
            return Step::Skip { consumed: end + 1 };
        }
        self.finish(buf, now_unix_ms, limits, end + 1)
    }

    /// All arguments are there.
    fn finish<'a>(
        &mut self,
        buf: &'a [u8],
        now_unix_ms: u64,
        limits: &Limits,
        consumed: usize,
    ) -> Step<'a> {
        let arguments = self.array.arguments(buf);
        let (call, form) = command::parse(&arguments, &mut self.session, now_unix_ms, limits);
        self.array.reset();
        Step::Request { request: Request { call, form }, consumed }
    }
}

fn too_large(length: usize, bounds: &Bounds) -> Cow<'static, [u8]> {
    if length > bounds.bulk {
        let most = bounds.bulk;
        resp_error(format_args!(
            "string exceeds maximum allowed size: {length} bytes, at most {most} (--max-value)"
        ))
    } else {
        let most = bounds.bytes;
        resp_error(format_args!("request exceeds maximum allowed size: at most {most} bytes"))
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
