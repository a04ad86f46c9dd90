//! What the tests of the store share: any operations, and stores driven by them.
#![allow(dead_code)]

use consistency_lab::base::{Arithmetic, End, Op, Outcome, ReplicaId, StoreRule, Timestamp, Value};
use consistency_lab::storage::{Disk, LogFile, MemDisk, Opened, Store, open};
use proptest::prelude::*;

/// The keys that [`op`] uses.
pub const KEYS: [&[u8]; 5] = [b"a", b"b", b"c", b"#d", b""];

fn key() -> impl Strategy<Value = Box<[u8]>> {
    proptest::sample::select(KEYS.to_vec()).prop_map(Box::from)
}

fn value() -> impl Strategy<Value = Value> {
    let data = prop_oneof!["[0-9]{1,3}", Just("9223372036854775807".to_owned()), "[a-z\\t]{0,3}"];
    // Canonical numbers only; the others are tested beside the code.
    let data = data.prop_filter("no leading zero", |text| text == "0" || !text.starts_with('0'));
    (data, 0..3u32, prop_oneof![3 => Just(0), 2 => 0..60u64])
        .prop_map(|(data, flags, expires)| Value { data: data.into_bytes().into(), flags, expires })
}

/// Any operation on a few keys, with times of expiry below 60.
pub fn op() -> impl Strategy<Value = Op> {
    let rule = prop_oneof![
        Just(StoreRule::Always),
        Just(StoreRule::IfAbsent),
        Just(StoreRule::IfPresent),
        (0..30u64).prop_map(StoreRule::IfUnique),
    ];
    let by = prop_oneof![
        (0..9u64).prop_map(Arithmetic::WrappingAdd),
        (0..9u64).prop_map(Arithmetic::SaturatingSub),
        (-9..9i64).prop_map(Arithmetic::Signed),
    ];
    let end = prop_oneof![Just(End::Back), Just(End::Front)];
    let keys = || proptest::collection::vec(key(), 1..4);
    prop_oneof![
        6 => (key(), value(), rule).prop_map(|(key, value, rule)| Op::Store { key, value, rule }),
        2 => proptest::collection::vec((key(), value()), 0..4).prop_map(Op::StoreMany),
        2 => (key(), "[a-z]{0,3}", end, any::<bool>(), 0..8usize).prop_map(
            |(key, data, end, create, max_value)| {
                Op::Concat { key, data: data.into_bytes().into(), end, create, max_value }
            }
        ),
        3 => (key(), by).prop_map(|(key, by)| Op::Count { key, by }),
        2 => (keys(), prop_oneof![Just(0), 0..60u64])
            .prop_map(|(keys, expires)| Op::Touch { keys, expires }),
        2 => keys().prop_map(|keys| Op::Delete { keys }),
        1 => prop_oneof![Just(0), 0..60u64].prop_map(|at| Op::FlushAll { at }),
    ]
}

/// Any operations, each with the wall clock of its origin.
pub fn ops(most: usize) -> impl Strategy<Value = Vec<(Op, u64)>> {
    proptest::collection::vec((op(), 0..50u64), 0..most)
}

/// `set key data`.
pub fn set(key: &str, data: &str) -> Op {
    let value = Value { data: data.as_bytes().into(), flags: 0, expires: 0 };
    Op::Store { key: key.as_bytes().into(), value, rule: StoreRule::Always }
}

/// The timestamp that these tests give the operation at a position; three replicas take turns.
pub fn timestamp(position: u64) -> Timestamp {
    Timestamp::new(position * 2, ReplicaId((position % 3) as u16))
}

/// Opens an empty disk.
pub fn fresh(disk: &MemDisk) -> Opened<MemDisk> {
    open(disk.clone(), 7).expect("an empty disk opens")
}

/// Executes the next operation.
pub fn execute(store: &mut Store, op: &Op, at: u64) -> Outcome {
    store.execute(timestamp(store.position() + 1), at, op)
}

/// Writes what there is to write.
pub fn write<D: Disk>(store: &mut Store, log: &mut LogFile<D>) {
    log.write(&store.take_unwritten()).expect("the disk takes it");
}

/// All that a store holds, fit to compare.
pub fn dump(store: &Store) -> String {
    let table = store.table();
    let mut text = format!(
        "position {} last {} delivered {:?} flush {:?}\n",
        store.position(),
        store.last(),
        (0..3).map(|replica| store.delivered(ReplicaId(replica))).collect::<Vec<_>>(),
        table.flush_at(),
    );
    text += &contents(store, 0);
    text
}

/// The entries of a store as a reader at this time sees them.
pub fn contents(store: &Store, now: u64) -> String {
    let table = store.table();
    let lines = table.keys_matching(b"*", now).into_iter().map(|key| {
        let found = table.get(&key, now).expect("a listed key is there");
        format!("{} = {found:?}\n", key.escape_ascii())
    });
    lines.collect()
}

/// The states after each number of operations, from none to all, and the file that held them all.
pub fn history(ops: &[(Op, u64)]) -> (Vec<String>, Vec<u8>) {
    let disk = MemDisk::new();
    let Opened { mut store, mut log, .. } = fresh(&disk);
    let mut states = vec![dump(&store)];
    for (op, at) in ops {
        execute(&mut store, op, *at);
        states.push(dump(&store));
    }
    write(&mut store, &mut log);
    (states, disk.contents())
}
