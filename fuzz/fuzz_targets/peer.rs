//! Bytes that a peer sends behind the preface.

#![no_main]

#[path = "../entries/peer.rs"]
mod peer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(peer::frames(data)));
