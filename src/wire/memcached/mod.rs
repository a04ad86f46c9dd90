//! The memcached text protocol, server side.
//!
//! A request is a line of words; storage commands are followed by a block: as many bytes as the line
//! announced, then a line end. Replies and their errors are those of memcached 1.6, byte for byte
//! (`tests/wire/memcached.rs` asks both the same and compares), with these differences, all on purpose:
//!
//! - a bare LF ends the block as well as CRLF, and `set KEY BYTES` stands for `set KEY 0 0 BYTES`
//!   (likewise for the other storage commands), so that a person can type commands into `nc`;
//! - keys with control characters are refused, where memcached takes them;
//! - numbers that do not fit (flags over 32 bits, lengths over 31) are refused, where memcached silently
//!   drops the upper bits; a length over 2 GiB is thus a bad line instead of another length;
//! - a line that is too long is answered before the connection is closed;
//! - a refused `set` leaves the old value alone, where memcached deletes it when the new one is too large;
//! - `gat` with an expiry in the past answers nothing, where memcached shows the value a last time;
//! - an `append` that would make a value too large says so, where memcached says `NOT_STORED`;
//! - `PING` is answered `+PONG`: redis-benchmark begins a connection with it, before any `*`.
//!
//! Where a block is not followed by a line end, memcached takes the announced bytes and the two after
//! them, answers `CLIENT_ERROR bad data chunk`, and reads on; whatever follows is the next command. So do
//! we. A command whose *line* is refused has no block: what the client sends as one is read as commands.
//!
//! Source: `doc/protocol.txt` and `proto_text.c` of memcached.

mod line;

use memchr::memchr;

use super::request::{Call, Form, MAX_GET_LINE, Request, Step};
use crate::base::limits::MAX_LINE;
use crate::base::{End, Limits, Op, StoreRule, Value};
use line::{Block, Line, Verb};

/// The version of memcached whose answers these are, then our own: clients decide by the first number what
/// they may expect (memccapable, for one, wants other answers of servers before 1.6).
pub const VERSION: &str = concat!("1.6.18-consistency-lab-", env!("CARGO_PKG_VERSION"));

const TOO_LONG: &[u8] = b"CLIENT_ERROR line too long\r\n";
const TOO_LARGE: &[u8] = b"SERVER_ERROR object too large for cache\r\n";
const BAD_CHUNK: &[u8] = b"CLIENT_ERROR bad data chunk\r\n";

/// An incremental decoder of memcached commands; see [`super::Decoder::next`] for how it is called.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The buffer holds no line end before this position.
    scanned: usize,
    /// With fewer bytes than this the request at the front cannot be whole.
    needed: usize,
    swallow: Swallow,
}

/// What is left of a block that belongs to a refused command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Swallow {
    #[default]
    Nothing,
    /// So many bytes, then the line end.
    Bytes(usize),
    /// The line end.
    LineEnd,
}

/// Where the line at the front of the buffer ends.
enum LineEnd {
    /// At this position is its LF.
    At(usize),
    NotYet,
    TooLong,
}

impl Decoder {
    /// See [`super::Decoder::next`].
    pub fn next<'a>(&mut self, buf: &'a [u8], now_unix_ms: u64, limits: &Limits) -> Step<'a> {
        if self.swallow != Swallow::Nothing {
            return self.swallow(buf);
        }
        if buf.len() < self.needed.max(1) {
            return Step::NeedMore { at_least: self.needed.max(1) };
        }
        let end = match self.line_end(buf) {
            LineEnd::At(end) => end,
            LineEnd::NotYet => return self.wait(buf.len(), buf.len() + 1),
            LineEnd::TooLong => return Step::Fatal { reply: TOO_LONG.into() },
        };
        let text = &buf[..end];
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match line::parse(text, now_unix_ms) {
            Line::Call(call, form) => self.done(call, form, end + 1),
            Line::Block(block) => self.block(buf, end, &block, limits),
        }
    }

    /// A command whose block, as the line announced it, follows at `end + 1`.
    fn block<'a>(
        &mut self,
        buf: &'a [u8],
        end: usize,
        block: &Block<'a>,
        limits: &Limits,
    ) -> Step<'a> {
        let start = end + 1;
        if block.length > limits.max_value {
            self.swallow = Swallow::Bytes(block.length);
            return self.done(block.refusal(TOO_LARGE), block.form, start);
        }
        let stop = start + block.length;
        match buf.get(stop..).unwrap_or_default() {
            [] => self.wait(end, stop + 1),
            [b'\n', ..] => self.done(block.call(&buf[start..stop], limits), block.form, stop + 1),
            [_] => self.wait(end, stop + 2),
            [b'\r', b'\n', ..] => {
                self.done(block.call(&buf[start..stop], limits), block.form, stop + 2)
            }
            [_, _, ..] => self.done(block.refusal(BAD_CHUNK), block.form, stop + 2),
        }
    }

    fn line_end(&self, buf: &[u8]) -> LineEnd {
        let longest = if is_get(buf) { MAX_GET_LINE } else { MAX_LINE };
        let window = &buf[..buf.len().min(longest + 1)];
        // What was scanned cannot be beyond the window: both grow with the same buffer.
        match memchr(b'\n', window.get(self.scanned..).unwrap_or_default()) {
            Some(at) => LineEnd::At(self.scanned + at),
            None if buf.len() > longest => LineEnd::TooLong,
            None => LineEnd::NotYet,
        }
    }

    fn wait<'a>(&mut self, scanned: usize, needed: usize) -> Step<'a> {
        self.scanned = scanned;
        self.needed = needed;
        Step::NeedMore { at_least: needed }
    }

    fn done<'a>(&mut self, call: Call<'a>, form: Form, consumed: usize) -> Step<'a> {
        self.scanned = 0;
        self.needed = 0;
        Step::Request { request: Request { call, form }, consumed }
    }

    /// Throws away what belongs to a refused block. Its line end may be a bare LF; if it is none at all,
    /// two bytes go, as memcached has it.
    fn swallow<'a>(&mut self, buf: &[u8]) -> Step<'a> {
        match (self.swallow, buf) {
            (_, []) => Step::NeedMore { at_least: 1 },
            (Swallow::Bytes(left), _) if left > 0 => {
                let consumed = left.min(buf.len());
                self.swallow = Swallow::Bytes(left - consumed);
                Step::Skip { consumed }
            }
            (_, [b'\n', ..]) => {
                self.swallow = Swallow::Nothing;
                Step::Skip { consumed: 1 }
            }
            (_, [_]) => {
                self.swallow = Swallow::LineEnd;
                Step::NeedMore { at_least: 2 }
            }
            (_, [_, _, ..]) => {
                self.swallow = Swallow::Nothing;
                Step::Skip { consumed: 2 }
            }
        }
    }
}

/// Whether the line that begins here is a `get` or `gets`, which may be longer than others.
fn is_get(buf: &[u8]) -> bool {
    if buf.len() <= MAX_LINE {
        return false; // It does not matter yet.
    }
    let spaces = buf.iter().take(100).take_while(|byte| **byte == b' ').count();
    buf[spaces..].starts_with(b"get ") || buf[spaces..].starts_with(b"gets ")
}

impl Block<'_> {
    /// The operation of a block that arrived whole.
    fn call<'a>(&self, data: &[u8], limits: &Limits) -> Call<'a> {
        let key = Box::from(self.key);
        let end = match self.verb {
            Verb::Store(rule) => return Call::Write(self.store(key, data, rule)),
            Verb::Cas => {
                return Call::Write(self.store(key, data, StoreRule::IfUnique(self.unique)));
            }
            Verb::Append => End::Back,
            Verb::Prepend => End::Front,
        };
        let max_value = limits.max_value;
        Call::Write(Op::Concat { key, data: Box::from(data), end, create: false, max_value })
    }

    fn store(&self, key: Box<[u8]>, data: &[u8], rule: StoreRule) -> Op {
        let value = Value { data: Box::from(data), flags: self.flags, expires: self.expires };
        Op::Store { key, value, rule }
    }

    fn refusal<'a>(&self, why: &'static [u8]) -> Call<'a> {
        Call::fixed(if self.form == Form::Silent { b"" } else { why })
    }
}
