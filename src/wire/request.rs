//! What the two client dialects have in common: a request, the form in which its reply is written, and
//! what is answered when the store cannot say how a request ended.
//!
//! A decoder turns bytes into a [`Request`]: a [`Call`], which says what to do in words that know of no
//! protocol, and a [`Form`], a small `Copy` value that remembers how this client wants to hear of it. The
//! session does what the call says and hands the result to the form; it never looks at the dialect.
//!
//! Writing replies allocates nothing but room in the caller's buffer.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::lab::Lab;
use super::{number, simple_resp};
use crate::base::limits::MAX_LINE;
use crate::base::{Expiry, Limits, Op, Outcome, Read};

/// The longest `get` or `gets` line in bytes. Other lines end at [`MAX_LINE`]; clients that read many
/// keys at once put them all on one line, and memcached sets such lines no bound.
pub const MAX_GET_LINE: usize = 1024 * 1024;

/// The most bytes a decoder ever asks its caller to hold: the longest line or the longest value with its
/// line, and as much again as a `MSET` may add to one value.
pub fn max_request(limits: &Limits) -> usize {
    const { assert!(MAX_GET_LINE >= MAX_LINE + 2) };
    limits.max_value.saturating_add(MAX_GET_LINE)
}

/// The protocol that a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The memcached text protocol.
    #[default]
    Memcached,
    /// RESP, the protocol of redis: version 2, and version 3 for clients that ask for it.
    Resp,
}

impl Dialect {
    /// The dialect of a connection that begins with this byte: `*` is RESP, all else memcached.
    pub fn of_first_byte(byte: u8) -> Self {
        if byte == b'*' { Self::Resp } else { Self::Memcached }
    }

    /// The error line, without RESP's `-`, that says that a write was ordered and its outcome is not
    /// known. Servers write exactly this and clients look for exactly this.
    pub fn outcome_unknown(self) -> &'static [u8] {
        match self {
            Self::Memcached => b"SERVER_ERROR timeout, outcome unknown",
            Self::Resp => b"TIMEOUT outcome unknown",
        }
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "memcached" => Ok(Self::Memcached),
            "resp" => Ok(Self::Resp),
            _ => Err("expected memcached or resp".to_owned()),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memcached => "memcached",
            Self::Resp => "resp",
        })
    }
}

/// What a decoder makes of the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The bytes are not a whole request yet.
    NeedMore {
        /// How many bytes there must be, counted from the start of the buffer, before it pays to ask
        /// again; more than there are, and never more than [`max_request`]. It is what the client has
        /// announced, not what it has sent: grow the buffer as bytes come.
        at_least: usize,
    },
    /// A request.
    Request {
        /// The request.
        request: Request<'a>,
        /// How many bytes it took.
        consumed: usize,
    },
    /// Bytes that mean nothing: the value of a command that was refused, an empty RESP array.
    Skip {
        /// How many; at least one.
        consumed: usize,
    },
    /// Nothing after this can be understood: send the reply, then close.
    Fatal {
        /// The last words.
        reply: Cow<'static, [u8]>,
    },
}

/// One request of a client.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What to do.
    pub call: Call<'a>,
    /// How to write what came of it.
    pub form: Form,
}

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// Order this write, then [`Form::outcome`].
    Write(Op),
    /// Order [`Op::Touch`] of the keys, then answer as [`Read::Get`] (memcached `gat`, `gats`).
    TouchThenGet {
        /// The keys, at least one.
        keys: Vec<&'a [u8]>,
        /// The new expiry.
        expires: Expiry,
    },
    /// Answer from the local copy: [`Form::begin_values`], [`Form::value`] a key and [`Form::end_values`]
    /// for [`Read::Get`]; [`Form::keys`] for [`Read::Keys`]; [`Form::count`] for the others.
    Read(Read<'a>),
    /// memcached `stats`, with its argument or nothing: [`Form::stats`], or [`Form::no_such_stats`] where
    /// the argument is unknown, or [`Form::stats_reset`] for `reset`.
    Stats(&'a [u8]),
    /// RESP `INFO`, with the section or nothing: [`Form::stats`].
    Info(&'a [u8]),
    /// One of the gossip lab's commands: answered as `wire/lab.rs` says.
    Lab(Lab<'a>),
    /// An answer that does not need the store, ready to be sent; may be empty.
    Static(Cow<'a, [u8]>),
    /// Send these last words (memcached has none), then close.
    Quit(&'static [u8]),
}

impl Call<'_> {
    /// An answer that is always the same.
    pub(crate) const fn fixed(reply: &'static [u8]) -> Self {
        Call::Static(Cow::Borrowed(reply))
    }
}

/// A value as it is sent to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The bytes.
    pub data: &'a [u8],
    /// memcached's flags.
    pub flags: u32,
    /// The cas unique; changes with every write of the entry.
    pub unique: u64,
}

/// Why a request has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The write was ordered, but whether and when it takes effect is not known in time.
    #[error("timeout, outcome unknown")]
    OutcomeUnknown,
    /// The request definitely has no effect, and why.
    #[error("{0}")]
    Refused(Cow<'static, str>),
}

/// The version of RESP that a client has asked for. In what a store of strings answers they differ in two
/// things: how null is written, and that version 3 has maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RespVersion {
    /// RESP2, how every connection begins.
    #[default]
    Two,
    /// RESP3, after `HELLO 3`.
    Three,
}

impl RespVersion {
    pub(crate) fn null(self) -> &'static [u8] {
        match self {
            RespVersion::Two => b"$-1\r\n",
            RespVersion::Three => b"_\r\n",
        }
    }

    /// The head of a list of so many pairs.
    pub(crate) fn map(self, out: &mut Vec<u8>, pairs: usize) {
        match self {
            RespVersion::Two => header(out, b'*', 2 * pairs),
            RespVersion::Three => header(out, b'%', pairs),
        }
    }
}

/// How the reply to one request is written. All methods append to `out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// memcached with `noreply`: nothing, whatever happens.
    Silent,
    /// memcached, the outcome of a write in its words: `STORED`, `DELETED`, a number, …
    Word,
    /// memcached `flush_all`: `OK`.
    Done,
    /// memcached values: `VALUE …` lines, then `END`.
    Values {
        /// Whether each is followed by its cas unique (`gets`, `gats`).
        unique: bool,
    },
    /// memcached `stats`: `STAT …` lines, then `END`.
    Stats,
    /// RESP: `+OK`, or null where a rule forbade it.
    Status(RespVersion),
    /// RESP: an integer.
    Integer,
    /// RESP: one bulk string, null where there is no such key.
    Bulk(RespVersion),
    /// RESP: an array of bulk strings, null where there is no such key.
    Array(RespVersion),
    /// RESP `INFO`: one bulk string of `name:value` lines.
    Info,
    /// Simplified RESP, whatever was asked: see [`simple_resp`].
    Simple,
}

const TOO_LARGE: &[u8] = b"SERVER_ERROR object too large for cache\r\n";
const NOT_NUMERIC: &[u8] = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";

impl Form {
    /// The dialect it belongs to, or to a part of which.
    pub fn dialect(self) -> Dialect {
        match self {
            Form::Silent | Form::Word | Form::Done | Form::Values { .. } | Form::Stats => {
                Dialect::Memcached
            }
            Form::Status(_)
            | Form::Integer
            | Form::Bulk(_)
            | Form::Array(_)
            | Form::Info
            | Form::Simple => Dialect::Resp,
        }
    }

    /// The version of RESP in which the reply is written, where it shows.
    pub fn resp_version(self) -> RespVersion {
        match self {
            Form::Status(version) | Form::Bulk(version) | Form::Array(version) => version,
            _ => RespVersion::Two,
        }
    }

    /// How a write ended.
    pub fn outcome(self, out: &mut Vec<u8>, outcome: &Outcome) {
        match self {
            Form::Silent => {}
            Form::Done => out.extend_from_slice(b"OK\r\n"),
            Form::Word | Form::Values { .. } | Form::Stats => word(out, outcome),
            Form::Status(version) | Form::Bulk(version) | Form::Array(version) => {
                status(out, outcome, version);
            }
            Form::Integer | Form::Info => integer(out, outcome),
            Form::Simple => match outcome {
                Outcome::Stored => simple_resp::put_ok(out),
                Outcome::Deleted(count) => simple_resp::put_count(out, *count),
                _ => out.extend_from_slice(simple_resp::ERROR),
            },
        }
    }

    /// Begins the answer to a read of `n` keys.
    pub fn begin_values(self, out: &mut Vec<u8>, n: usize) {
        if let Form::Array(_) = self {
            header(out, b'*', n);
        }
    }

    /// The value of one key, or that there is none.
    pub fn value(self, out: &mut Vec<u8>, key: &[u8], found: Option<Found<'_>>) {
        match (self, found) {
            (Form::Values { unique }, Some(found)) => {
                out.reserve(key.len() + found.data.len() + 64);
                out.extend_from_slice(b"VALUE ");
                out.extend_from_slice(key);
                out.push(b' ');
                number::push(out, found.flags);
                out.push(b' ');
                number::push(out, found.data.len());
                if unique {
                    out.push(b' ');
                    number::push(out, found.unique);
                }
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(found.data);
                out.extend_from_slice(b"\r\n");
            }
            (Form::Values { .. }, None) | (Form::Silent, _) => {}
            (Form::Simple, found) => simple_resp::put_value(out, found.map(|found| found.data)),
            (_, Some(found)) => bulk(out, found.data),
            (Form::Bulk(version) | Form::Array(version) | Form::Status(version), None) => {
                out.extend_from_slice(version.null());
            }
            (_, None) => out.extend_from_slice(RespVersion::Two.null()),
        }
    }

    /// How many bytes follow the value in what [`Form::value`] appends.
    pub fn behind_value(self) -> usize {
        if self == Form::Simple { 0 } else { 2 }
    }

    /// Ends the answer to a read.
    pub fn end_values(self, out: &mut Vec<u8>) {
        if let Form::Values { .. } = self {
            out.extend_from_slice(b"END\r\n");
        }
    }

    /// A number of things (`EXISTS`, `STRLEN`, `DBSIZE`).
    pub fn count(self, out: &mut Vec<u8>, count: u64) {
        match self.dialect() {
            Dialect::Resp => header(out, b':', count),
            Dialect::Memcached => line(out, count),
        }
    }

    /// A list of keys.
    pub fn keys<'k>(self, out: &mut Vec<u8>, keys: impl ExactSizeIterator<Item = &'k [u8]>) {
        header(out, b'*', keys.len());
        keys.for_each(|key| bulk(out, key));
    }

    /// Names and values that describe the server. A name that begins with `#` titles the section that
    /// follows; memcached has no sections and leaves it out.
    pub fn stats<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        self,
        out: &mut Vec<u8>,
        stats: impl Iterator<Item = (N, V)>,
    ) {
        if self.dialect() == Dialect::Memcached {
            for (name, value) in stats.filter(|(name, _)| !name.as_ref().starts_with(b"#")) {
                out.extend_from_slice(b"STAT ");
                out.extend_from_slice(name.as_ref());
                out.push(b' ');
                out.extend_from_slice(value.as_ref());
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"END\r\n");
        } else {
            let mut text = Vec::new();
            for (name, value) in stats {
                text.extend_from_slice(name.as_ref());
                if !name.as_ref().starts_with(b"#") {
                    text.push(b':');
                    text.extend_from_slice(value.as_ref());
                }
                text.extend_from_slice(b"\r\n");
            }
            bulk(out, &text);
        }
    }

    /// The answer to `stats` with an argument that means nothing to the server.
    pub fn no_such_stats(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"ERROR\r\n");
    }

    /// The answer to `stats reset`.
    pub fn stats_reset(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"RESET\r\n");
    }

    /// That the request has no outcome, and why. Nothing for `noreply`, as for every other reply: a client
    /// that does not read would take the line for the answer to its next command.
    pub fn failure(self, out: &mut Vec<u8>, failure: &Failure) {
        match self {
            Form::Silent => return,
            Form::Simple => return out.extend_from_slice(simple_resp::ERROR),
            _ => {}
        }
        match (self.dialect(), failure) {
            (dialect, Failure::OutcomeUnknown) => {
                if dialect == Dialect::Resp {
                    out.push(b'-');
                }
                out.extend_from_slice(dialect.outcome_unknown());
                out.extend_from_slice(b"\r\n");
            }
            (Dialect::Memcached, Failure::Refused(why)) => one_line(out, b"SERVER_ERROR ", why),
            (Dialect::Resp, Failure::Refused(why)) => one_line(out, b"-ERR ", why),
        }
    }
}

/// memcached's words for an outcome.
fn word(out: &mut Vec<u8>, outcome: &Outcome) {
    let text: &[u8] = match *outcome {
        Outcome::Stored | Outcome::Length(_) => b"STORED\r\n",
        Outcome::NotStored => b"NOT_STORED\r\n",
        Outcome::Exists => b"EXISTS\r\n",
        Outcome::NotFound | Outcome::Deleted(0) | Outcome::Touched(0) => b"NOT_FOUND\r\n",
        Outcome::Deleted(_) => b"DELETED\r\n",
        Outcome::Touched(_) => b"TOUCHED\r\n",
        Outcome::Number(number) => return line(out, number),
        Outcome::NotANumber | Outcome::Overflow => NOT_NUMERIC,
        Outcome::TooLarge => TOO_LARGE,
        // Not asked for in this dialect, which has no sessions.
        Outcome::NoSession => b"SERVER_ERROR no such session\r\n",
    };
    out.extend_from_slice(text);
}

fn status(out: &mut Vec<u8>, outcome: &Outcome, version: RespVersion) {
    match outcome {
        Outcome::Stored => out.extend_from_slice(b"+OK\r\n"),
        Outcome::NotStored | Outcome::Exists | Outcome::NotFound => {
            out.extend_from_slice(version.null());
        }
        other => integer(out, other),
    }
}

fn integer(out: &mut Vec<u8>, outcome: &Outcome) {
    match *outcome {
        Outcome::Stored => header(out, b':', 1),
        Outcome::NotStored | Outcome::Exists | Outcome::NotFound => header(out, b':', 0),
        Outcome::Deleted(count) | Outcome::Touched(count) | Outcome::Length(count) => {
            header(out, b':', count);
        }
        Outcome::Number(number) => header(out, b':', number),
        Outcome::NotANumber => {
            out.extend_from_slice(b"-ERR value is not an integer or out of range\r\n");
        }
        Outcome::Overflow => {
            out.extend_from_slice(b"-ERR increment or decrement would overflow\r\n");
        }
        Outcome::TooLarge => {
            out.extend_from_slice(b"-ERR string exceeds maximum allowed size (--max-value)\r\n");
        }
        Outcome::NoSession => {
            out.extend_from_slice(b"-NOSESSION no such session, or it has gone on; ");
            out.extend_from_slice(b"whether the write was executed before is not known\r\n");
        }
    }
}

fn line(out: &mut Vec<u8>, number: impl itoa::Integer) {
    number::push(out, number);
    out.extend_from_slice(b"\r\n");
}

/// A RESP type byte, a number and a line end: the head of an array or a bulk string, or an integer.
pub(crate) fn header(out: &mut Vec<u8>, kind: u8, number: impl itoa::Integer) {
    out.push(kind);
    line(out, number);
}

/// A RESP bulk string.
pub(crate) fn bulk(out: &mut Vec<u8>, data: &[u8]) {
    out.reserve(data.len() + 16);
    header(out, b'$', data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// A reason on one line, whatever is in it: a line end inside would be taken for a second reply.
fn one_line(out: &mut Vec<u8>, prefix: &[u8], why: &str) {
    out.extend_from_slice(prefix);
    out.extend(why.bytes().map(|byte| if byte < b' ' { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

/// A RESP error of a text made for the occasion; line ends in it become spaces.
pub(crate) fn resp_error(why: std::fmt::Arguments<'_>) -> Cow<'static, [u8]> {
    let mut text = String::new();
    // Writing to a String cannot fail; what a Display of another type reports is of no use to a client.
    let _ = text.write_fmt(why);
    let mut out = Vec::with_capacity(text.len() + 8);
    one_line(&mut out, b"-ERR ", &text);
    Cow::Owned(out)
}
