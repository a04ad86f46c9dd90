//! One decoder a connection, of whichever dialect its first byte announced.

use super::request::{Dialect, Step};
use super::{memcached, resp};
use crate::base::Limits;

/// The decoder of one client connection.
#[derive(Debug)]
pub enum Decoder {
    /// The memcached text protocol.
    Memcached(memcached::Decoder),
    /// RESP.
    Resp(Box<resp::Decoder>),
}

impl Decoder {
    /// The decoder for a connection that begins with `byte`. `connection` is the number that RESP clients
    /// are told as their own (`CLIENT ID`).
    pub fn of_first_byte(byte: u8, connection: u64) -> Self {
        match Dialect::of_first_byte(byte) {
            Dialect::Memcached => Self::Memcached(memcached::Decoder::default()),
            Dialect::Resp => Self::Resp(Box::new(resp::Decoder::new(connection))),
        }
    }

    /// The dialect it decodes.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Memcached(_) => Dialect::Memcached,
            Self::Resp(_) => Dialect::Resp,
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
        }
    }
}
