//! Bytes that a server sends, in both dialects.

#![no_main]

#[allow(dead_code)]
#[path = "../entries/wire.rs"]
mod wire;

use consistency_lab::wire::Dialect;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    wire::replies(Dialect::Memcached, data);
    wire::replies(Dialect::Resp, data);
});
