//! Bytes that a client sends, in the simplified RESP of the two-phase commit lab.

#![no_main]

#[allow(dead_code)]
#[path = "../entries/wire.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::simple_requests(data));
