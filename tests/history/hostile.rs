//! Whatever bytes a file of a history holds, reading it ends with a history or with a message.

#[path = "../../fuzz/entries/history.rs"]
mod entry;

use std::fs;
use std::path::Path;

use consistency_lab::history::formats;
use proptest::prelude::*;

/// All small histories of this repository.
fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let mut files: Vec<_> = ["good", "bad"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("a folder of histories"))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a readable file")).collect()
}

#[test]
fn the_corpus_goes_through_the_fuzz_entry() {
    for bytes in corpus() {
        entry::read(&bytes);
    }
}

#[test]
fn deep_and_long_input_is_refused() {
    for opening in
        ["[", "(", "{", "[{:a ", "{\"a\":", "{\"type\":[", "#a ", "#_", "\"", "{:a \"", ";"]
    {
        entry::read(opening.repeat(50_000).as_bytes());
    }
    entry::read(&b"x".repeat(200_000));
    entry::read(&[b'\n'; 200_000]);
}

#[test]
fn a_binary_file_is_named_as_such_with_the_offset() {
    let message = |bytes: &[u8]| {
        let error = formats::read_any(&mut &*bytes, "core", None).expect_err("no history");
        error.to_string()
    };
    assert_eq!(
        message(b"\x7fELF\x02\x01\x01\0\0"),
        "core: expected text, found a binary file (a zero byte at byte 7)"
    );
    assert_eq!(
        message(b"{\"history\":1}\n\xff\xfe"),
        "core: expected text, found a binary file (a byte that is not UTF-8 at byte 14)"
    );
    let mut late = b"{\"history\":1}\n".to_vec();
    late.extend(b"{\"type\":\"x-filler\",\"text\":\"0123456789\"}\n".repeat(10_000));
    let offset = late.len() as u64;
    late.push(0xff);
    assert_eq!(
        message(&late),
        format!(
            "core: expected text, found a binary file (a byte that is not UTF-8 at byte {offset})"
        )
    );
}

/// Small changes to bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8),
    Remove(usize, usize),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..4),
        proptest::sample::select(vec![
            "null",
            "nil",
            "[",
            "]",
            "{",
            "}",
            "\"",
            "\\",
            "0",
            "-1",
            "99999999999999999999",
            "1.5",
            "\"type\":\"ok\"",
            ":type :info",
            ":process :nemesis",
            "\n",
            ",",
            ":",
            "\"time\":0",
            "[1 2]",
            "\t:invoke\t",
            "(",
            ")",
            "é",
            "\u{feff}",
            "\r",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<usize>(), 1..40_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<usize>(), piece).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<usize>(), 1..80_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let place = |at: usize| at % (bytes.len() + 1);
    match change {
        Change::Set(at, byte) => {
            let at = place(*at);
            if let Some(slot) = bytes.get_mut(at) {
                *slot = *byte;
            }
        }
        Change::Remove(at, length) => {
            let (at, end) = (place(*at), (place(*at) + length).min(bytes.len()));
            bytes.drain(at..end);
        }
        Change::Insert(at, piece) => {
            let at = place(*at);
            bytes.splice(at..at, piece.iter().copied());
        }
        Change::Repeat(at, length) => {
            let at = place(*at);
            let piece = bytes[at..(at + length).min(bytes.len())].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        entry::read(&bytes);
    }

    #[test]
    fn changed_histories_are_read_or_refused(
        file in any::<prop::sample::Index>(),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        let corpus = corpus();
        let mut bytes = file.get(&corpus).clone();
        for change in &changes {
            apply(&mut bytes, change);
        }
        entry::read(&bytes);
    }
}
