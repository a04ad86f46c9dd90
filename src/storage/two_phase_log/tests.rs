//! Logs that end anywhere, are damaged anywhere, and are compacted while the machine loses power.

use std::sync::Arc;

use super::*;
use crate::protocol::two_phase::{Change, Members, TxnId, View, ViewId};
use crate::storage::MemDisk;

fn txn(sequence: u64) -> TxnId {
    TxnId { incarnation: 5, sequence }
}

fn set(sequence: u64, key: &str, value: &str) -> Record {
    let change = Change::Set {
        key: key.as_bytes().into(),
        value: Arc::new(format!("*1\r\n${}\r\n{value}\r\n", value.len()).into_bytes()),
    };
    Record::Prepared { txn: txn(sequence), change }
}

fn view(epoch: u64) -> Record {
    let view = View { id: ViewId { epoch, maker: 5 }, members: Members::first(3) };
    Record::View { view, me: 1 }
}

/// Groups of a participant's life.
fn groups() -> Vec<Vec<Record>> {
    let delete = Change::Delete { keys: vec![(*b"a").into(), (*b"b").into()] };
    let copied = vec![
        ((*b"c").into(), Arc::new(b"one".to_vec())),
        ((*b"d").into(), Arc::new(b"\xfftwo\n".to_vec())),
    ];
    vec![
        vec![Record::Incarnation(5), Record::Cleared],
        vec![Record::Copied(copied), view(1)],
        vec![set(1, "a", "1"), set(2, "b", "2"), set(3, "z", "3")],
        vec![Record::Committed(txn(2)), Record::Committed(txn(1)), Record::Aborted(txn(3))],
        vec![
            Record::Finished(txn(2)),
            Record::Prepared { txn: txn(4), change: delete },
            view(2),
            set(5, "e", "5"),
        ],
    ]
}

fn folded(records: impl IntoIterator<Item = Record>) -> Recovered {
    let mut state = Recovered::default();
    records.into_iter().for_each(|record| state.apply(record));
    state
}

/// A disk that holds the groups, and where each ends.
fn written() -> (MemDisk, Vec<u64>) {
    let disk = MemDisk::new();
    let mut log = TwoPhaseLog::open(disk.clone()).expect("an empty disk").log;
    let mut ends = vec![log.len()];
    for group in groups() {
        log.write(group.into_iter()).expect("the disk works");
        ends.push(log.len());
    }
    (disk, ends)
}

fn open(contents: Vec<u8>) -> Result<Opened<MemDisk>, StorageError> {
    TwoPhaseLog::open(MemDisk::with_contents(contents))
}

#[test]
fn a_log_that_ends_anywhere_gives_what_its_whole_lines_say() {
    let (disk, ends) = written();
    let contents = disk.contents();
    for end in 0..=contents.len() {
        let opened = open(contents[..end].to_vec()).unwrap_or_else(|why| panic!("{end}: {why}"));
        let header = usize::try_from(ends[0]).expect("small");
        let lines = contents[header.min(end)..end].split_inclusive(|&byte| byte == b'\n');
        let whole = lines.filter_map(|line| line::parse(line.strip_suffix(b"\n")?).ok());
        assert_eq!(opened.recovered, folded(whole.map(|(record, _)| record)), "{end}");
        let last = contents[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        assert_eq!(
            opened.torn.as_ref().map(|torn| torn.bytes),
            match end - last {
                0 => None,
                torn => Some(torn as u64),
            }
        );
        // It goes on from there, and the next start finds all of it.
        let mut log = opened.log;
        log.write([set(9, "later", "9")].into_iter()).expect("the disk works");
        let again = TwoPhaseLog::open(log.disk).expect("it opens again");
        assert_eq!(again.torn, None, "{end}");
        assert!(again.recovered.prepared.contains_key(&txn(9)), "{end}");
    }
}

#[test]
fn all_of_it_comes_back() {
    let (disk, _) = written();
    let recovered = TwoPhaseLog::open(disk).expect("it is intact").recovered;
    assert_eq!(recovered, folded(groups().into_iter().flatten()));
    assert_eq!(recovered.prepared.len(), 2);
}

#[test]
fn a_damaged_byte_is_a_torn_tail_in_the_last_group_and_refused_before() {
    let (disk, ends) = written();
    let contents = disk.contents();
    let last = usize::try_from(ends[ends.len() - 2]).expect("small");
    for at in 0..contents.len() {
        let mut damaged = contents.clone();
        damaged[at] ^= 0x20;
        match open(damaged) {
            Ok(opened) => {
                assert!(at >= last, "{at} had been synced");
                assert!(opened.torn.is_some(), "{at}");
            }
            Err(StorageError::Damaged { line, offset, .. }) => {
                assert!(at < last, "{at} had not been synced");
                let newlines = contents[..at].iter().filter(|&&byte| byte == b'\n').count();
                assert_eq!(line, newlines as u64 + 1, "{at}");
                assert!(offset <= at as u64, "{at}");
            }
            Err(StorageError::NotLog { .. }) => assert!((at as u64) < ends[0], "{at}"),
            Err(other) => panic!("{at}: {other}"),
        }
    }
}

#[test]
fn other_files_are_refused() {
    for other in [&b"#storage.txt v1: KEY\n"[..], b"hello", b"\n", b"\0\0\0\0"] {
        let error = open(other.to_vec()).expect_err("it is no log");
        assert!(matches!(error, StorageError::NotLog { .. }), "{error}");
    }
}

#[test]
fn a_failed_disk_is_not_used_again() {
    for full in [false, true] {
        let (disk, _) = written();
        let mut log = TwoPhaseLog::open(disk.clone()).expect("it is intact").log;
        if full {
            disk.set_capacity(Some(disk.file_len()));
        } else {
            disk.fail_syncs(true);
        }
        log.write([view(3)].into_iter()).expect_err("the disk fails");
        disk.heal();
        log.write([view(4)].into_iter()).expect_err("it has failed");
        log.write([view(4)].into_iter()).expect_err("it has failed");
    }
}

/// Compacts while a group is appended; stops where the disk does.
fn compact(log: &mut TwoPhaseLog<MemDisk>) -> Result<(), StorageError> {
    let state = folded(groups().into_iter().flatten());
    let mut compaction = log.begin_compaction(state)?;
    compaction.run(|| false)?;
    log.write([Record::Committed(txn(4)), set(6, "f", "6")].into_iter())?;
    log.finish_compaction(compaction)
}

#[test]
fn a_compaction_loses_nothing_wherever_the_power_goes() {
    let before = folded(groups().into_iter().flatten());
    let mut after = before.clone();
    after.apply(Record::Committed(txn(4)));
    after.apply(set(6, "f", "6"));
    let steps = {
        let (disk, _) = written();
        let mut log = TwoPhaseLog::open(disk.clone()).expect("intact").log;
        let begun = disk.steps();
        compact(&mut log).expect("the disk works");
        assert_eq!(TwoPhaseLog::open(disk.clone()).expect("it opens").recovered, after);
        disk.steps() - begun
    };
    assert!(steps > 4);
    for step in 1..=steps {
        for (unsynced, keep_rename) in [(0, false), (0, true), (40, false), (usize::MAX, true)] {
            let (disk, _) = written();
            let mut log = TwoPhaseLog::open(disk.clone()).expect("intact").log;
            disk.crash_at(disk.steps() + step);
            let ended = compact(&mut log);
            let opened = TwoPhaseLog::open(disk.restart(unsynced, keep_rename));
            let found = opened.unwrap_or_else(|why| panic!("step {step}: {why}")).recovered;
            let partly = {
                let mut state = before.clone();
                state.apply(Record::Committed(txn(4)));
                state
            };
            assert!(found == after || ended.is_err() && (found == before || found == partly));
        }
    }
}

#[test]
fn a_compaction_comes_when_most_is_garbage() {
    let mut log = TwoPhaseLog::open(MemDisk::new()).expect("an empty disk").log;
    let value = "v".repeat(100_000);
    let mut number = 0;
    let mut state = Recovered::default();
    while !log.wants_compaction() {
        number += 1;
        let group = [set(number, "k", &value), Record::Committed(txn(number))];
        group.iter().for_each(|record| state.apply(record.clone()));
        log.write(group.into_iter()).expect("the disk works");
    }
    assert!(log.len() > SPARE && log.len() < SPARE + 1_000_000, "{}", log.len());
    let mut compaction = log.begin_compaction(state).expect("the disk works");
    compaction.run(|| false).expect("the disk works");
    log.finish_compaction(compaction).expect("the disk works");
    assert!(log.len() < 200_000, "{}", log.len());
    assert!(!log.wants_compaction());
}
