//! Bytes that a client sends, in the memcached dialect.

#![no_main]

#[allow(dead_code)]
#[path = "../entries/wire.rs"]
mod wire;

use consistency_lab::wire::Dialect;

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::requests(Dialect::Memcached, data));
