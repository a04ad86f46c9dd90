//! JSON Lines: one JSON object a line each way; the shard lab's messages, the cluster lab's requests, and what is said to
//! the gossip lab's watchdogs.
//!
//! A line is handed in without its line end and in full; how long it may be is the port's bound. Values are
//! carried as the text that came ([`serde_json::value::RawValue`]), skipped over and never built up: how
//! deep one goes costs neither stack nor memory.

pub mod adjacent;
pub mod cluster;
pub mod shard;
pub mod watchdog;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Appends a message as one line.
pub fn write(out: &mut Vec<u8>, message: &impl Serialize) {
    // Writing into memory does not fail, and these are always JSON.
    let _ = serde_json::to_writer(&mut *out, message);
    out.push(b'\n');
}

/// Reads a line.
///
/// # Errors
/// It is no JSON, or not of the expected shape.
pub fn parse<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(line)
}

/// Appends a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing into memory does not fail, and a string is always JSON.
    let _ = serde_json::to_writer(out, text);
}

/// Reads a member that may be any JSON, `null` too (which an `Option` would take for a member that is not there).
fn some_json<'de, D: Deserializer<'de>>(input: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(input).map(Some)
}

/// Appends JSON without the line feeds that may stand between its parts.
fn write_raw(out: &mut Vec<u8>, json: &str) {
    if json.contains(['\n', '\r']) {
        out.extend(json.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    } else {
        out.extend_from_slice(json.as_bytes());
    }
}
