//! The bytes of a `storage.txt`.

#![no_main]

#[path = "../entries/storage.rs"]
mod storage;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(storage::replay(data)));
