//! The client's side: commands, in either dialect, appended to what is about to be sent.
//!
//! Keys and values are sent as they are given; memcached has no way to write a key that holds a space, a
//! control character or nothing at all, so check with [`is_sendable`] where keys come from outside.

use super::number;
use super::request::{Dialect, bulk, header};
use crate::base::limits::MAX_KEY;

/// Whether a key can be said in this dialect.
pub fn is_sendable(dialect: Dialect, key: &[u8]) -> bool {
    match dialect {
        Dialect::Memcached => {
            (1..=MAX_KEY).contains(&key.len())
                && key.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
        }
        Dialect::Resp => key.len() <= MAX_KEY,
    }
}

/// Asks for the value of a key.
pub fn get(out: &mut Vec<u8>, dialect: Dialect, key: &[u8]) {
    match dialect {
        Dialect::Memcached => words(out, &[b"get", key]),
        Dialect::Resp => resp(out, &[b"GET", key]),
    }
}

/// Stores a value, without flags and for ever.
pub fn set(out: &mut Vec<u8>, dialect: Dialect, key: &[u8], data: &[u8]) {
    match dialect {
        Dialect::Memcached => {
            out.reserve(key.len() + data.len() + 40);
            out.extend_from_slice(b"set ");
            out.extend_from_slice(key);
            out.extend_from_slice(b" 0 0 ");
            number::push(out, data.len());
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
        Dialect::Resp => resp(out, &[b"SET", key, data]),
    }
}

/// Removes a key.
pub fn delete(out: &mut Vec<u8>, dialect: Dialect, key: &[u8]) {
    match dialect {
        Dialect::Memcached => words(out, &[b"delete", key]),
        Dialect::Resp => resp(out, &[b"DEL", key]),
    }
}

/// Asks the server about itself.
pub fn stats(out: &mut Vec<u8>, dialect: Dialect) {
    match dialect {
        Dialect::Memcached => words(out, &[b"stats"]),
        Dialect::Resp => resp(out, &[b"INFO"]),
    }
}

/// Any RESP command.
pub fn resp(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    header(out, b'*', arguments.len());
    arguments.iter().for_each(|argument| bulk(out, argument));
}

/// Any memcached command that is a line.
pub fn words(out: &mut Vec<u8>, words: &[&[u8]]) {
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
    out.extend_from_slice(b"\r\n");
}
