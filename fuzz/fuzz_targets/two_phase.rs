//! Bytes that a coordinator or a participant sends behind the preface.

#![no_main]

#[allow(dead_code)]
#[path = "../entries/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(frames::of_two_phase_commit(data)));
