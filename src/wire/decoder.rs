//! One decoder a connection, of what the port speaks.

use std::sync::Arc;

use super::request::{Call, Dialect, Form, Request, Step};
use super::{memcached, resp, simple_resp};
use crate::base::limits::LONGEST_KEY;
use crate::base::{Limits, Op, Read, StoreRule, Value};

/// What a client port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tongue {
    /// memcached's text protocol and RESP; the first byte of a connection says which.
    #[default]
    Either,
    /// The simplified RESP of the two-phase commit lab, see [`simple_resp`].
    Simple,
}

/// The decoder of one client connection.
#[derive(Debug)]
pub enum Decoder {
    /// The memcached text protocol.
    Memcached(memcached::Decoder),
    /// RESP.
    Resp(Box<resp::Decoder>),
    /// Simplified RESP.
    Simple(simple_resp::Decoder),
}

impl Tongue {
    /// The decoder for a connection that begins with `byte`. `connection` is the number that RESP clients
    /// are told as their own (`CLIENT ID`).
    pub fn decoder(self, byte: u8, connection: u64) -> Decoder {
        match self {
            Self::Either => Decoder::of_first_byte(byte, connection),
            Self::Simple => Decoder::Simple(simple_resp::Decoder::default()),
        }
    }
}

impl Decoder {
    /// The decoder for a connection of [`Tongue::Either`].
    pub fn of_first_byte(byte: u8, connection: u64) -> Self {
        match Dialect::of_first_byte(byte) {
            Dialect::Memcached => Self::Memcached(memcached::Decoder::default()),
            Dialect::Resp => Self::Resp(Box::new(resp::Decoder::new(connection))),
        }
    }

    /// The dialect it decodes, or the one of which it decodes a part.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Memcached(_) => Dialect::Memcached,
            Self::Resp(_) | Self::Simple(_) => Dialect::Resp,
        }
    }

    /// Takes the next step at the front of `buf`. Expiry times are counted from `now_unix_ms`.
    ///
    /// Between two calls the caller drops what was consumed from the front of the buffer and appends what
    /// has arrived at its end, nothing else. After [`Step::Fatal`] it does not call again.
    pub fn next<'a>(&mut self, buf: &'a [u8], now_unix_ms: u64, limits: &Limits) -> Step<'a> {
        match self {
            Self::Memcached(decoder) => decoder.next(buf, now_unix_ms, limits),
            Self::Resp(decoder) => decoder.next(buf, now_unix_ms, limits),
            Self::Simple(decoder) => simple(decoder.next(buf)),
        }
    }
}

/// A step of the simplified dialect in the words of the others.
fn simple(step: simple_resp::Step<'_>) -> Step<'_> {
    let (call, consumed) = match step {
        simple_resp::Step::NeedMore { at_least } => return Step::NeedMore { at_least },
        simple_resp::Step::Skip { consumed } => return Step::Skip { consumed },
        simple_resp::Step::Fatal => return Step::Fatal { reply: simple_resp::ERROR.into() },
        simple_resp::Step::Refused { consumed } => (None, consumed),
        simple_resp::Step::Command { command, consumed } => (call(command), consumed),
    };
    let call = call.unwrap_or(Call::fixed(simple_resp::ERROR));
    Step::Request { request: Request { call, form: Form::Simple }, consumed }
}

/// What a command asks of the store; `None` where a key is too long for it.
fn call(command: simple_resp::Command<'_>) -> Option<Call<'_>> {
    use simple_resp::Command;
    let fits = |key: &&[u8]| key.len() <= LONGEST_KEY;
    match command {
        Command::Get { key } => fits(&key).then(|| Call::Read(Read::Get(vec![key]))),
        Command::Set { key, value } => fits(&key).then(|| {
            // No one else has it yet, so it is taken and not copied.
            let data = Arc::unwrap_or_clone(value).into_boxed_slice();
            let value = Value { data, ..Value::default() };
            Call::Write(Op::Store { key: key.into(), value, rule: StoreRule::Always })
        }),
        Command::Del { keys } => keys
            .iter()
            .all(fits)
            .then(|| Call::Write(Op::Delete { keys: keys.into_iter().map(Box::from).collect() })),
    }
}
