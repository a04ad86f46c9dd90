//! Bytes that a peer sends behind the preface.

#![no_main]

#[allow(dead_code)]
#[path = "../entries/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(frames::between_replicas(data)));
