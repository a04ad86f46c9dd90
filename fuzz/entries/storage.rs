//! What the fuzz target of the store does with its input. The tests include this file too.

use consistency_lab::base::{Op, ReplicaId, StoreRule, Timestamp, Value};
use consistency_lab::storage::{MemDisk, Opened, StorageError, Store, open};

/// All of a table, fit to compare.
fn contents(store: &Store) -> Vec<String> {
    let table = store.table();
    let keys = table.keys_matching(b"*", 0);
    let entry = |key: &[u8]| format!("{:?} = {:?}", key.escape_ascii(), table.get(key, 0));
    keys.iter().map(|key| entry(key)).collect()
}

/// Replays `data` as a `storage.txt`. A refused file is left as it is; one that opens (maybe without its
/// torn tail) opens again as the same, and takes a write that is then there.
pub fn replay(data: &[u8]) -> Result<(), StorageError> {
    let disk = MemDisk::with_contents(data.to_vec());
    let Opened { mut store, mut log, .. } = match open(disk.clone(), 0) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(disk.contents(), data, "a refused file was changed: {error}");
            return Err(error);
        }
    };
    let again = open(MemDisk::with_contents(disk.contents()), 1).expect("it opened before");
    assert_eq!(again.report.torn, None);
    assert_eq!(again.store.position(), store.position());
    assert_eq!(again.store.last(), store.last());
    assert_eq!(contents(&again.store), contents(&store));

    let last = store.last();
    // Numbers end at 2^63, which no lab ever reaches.
    if store.position() < u64::MAX / 4 && last.time < u64::MAX / 4 {
        let value = Value { data: b"new"[..].into(), flags: 0, expires: 0 };
        let op = Op::Store { key: b"fuzz"[..].into(), value, rule: StoreRule::Always };
        store.execute(Timestamp::new(last.time + 1, ReplicaId(0)), 0, &op);
        log.write(&store.take_unwritten()).expect("this disk takes all");
        let more = open(MemDisk::with_contents(disk.contents()), 2).expect("it takes a write");
        assert_eq!(more.store.position(), store.position());
        assert_eq!(contents(&more.store), contents(&store));
    }
    Ok(())
}
