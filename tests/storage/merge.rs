//! Replicas without one order: whatever order writes come in, the same table, the same file's worth, the same clock.

use consistency_lab::base::{
    Arithmetic, End, Op, Outcome, ReplicaId, StoreRule, Timestamp, Value, VectorClock, Versioned,
};
use consistency_lab::storage::{LogFile, MemDisk, Store, open_as};
use proptest::prelude::*;
use proptest::sample::subsequence;

/// A store with its file.
struct Kept {
    store: Store,
    log: LogFile<MemDisk>,
    disk: MemDisk,
}

impl Kept {
    fn new() -> Self {
        Self::open(MemDisk::new())
    }

    fn open(disk: MemDisk) -> Self {
        let opened = open_as(disk.clone(), 7, true).expect("an intact store");
        Self { store: opened.store, log: opened.log, disk }
    }

    fn merge(&mut self, ts: Timestamp, op: &Op) {
        self.store.merge(ts, op, |new, old| new > old);
    }

    /// The same store after its process was killed.
    fn restarted(mut self) -> Self {
        let batch = self.store.take_unwritten();
        self.log.write(&batch).expect("the disk works");
        Self::open(self.disk.after_kill())
    }

    /// Every entry, ended or not.
    fn entries(&self) -> Vec<Versioned> {
        let table = self.store.table();
        let keys = table.beyond(&VectorClock::new());
        let mut entries: Vec<_> = keys.iter().filter_map(|key| table.versioned(key)).collect();
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        entries
    }
}

fn at(time: u64, replica: u16) -> Timestamp {
    Timestamp::new(time, ReplicaId(replica))
}

fn value(data: &[u8]) -> Value {
    Value { data: data.into(), ..Value::default() }
}

fn set(key: &[u8], value: Value) -> Op {
    Op::Store { key: key.into(), value, rule: StoreRule::Always }
}

fn writes() -> impl Strategy<Value = Vec<(Timestamp, Op)>> {
    let key = || prop_oneof![Just(b"a".to_vec()), Just(b"b".to_vec()), Just(b"c".to_vec())];
    let value = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..4).prop_map(|data| value(&data)),
        1 => Just(Value::deleted()),
    ];
    let op = prop_oneof![
        4 => (key(), value.clone()).prop_map(|(key, value)| set(&key, value)),
        1 => proptest::collection::vec((key().prop_map(Vec::into_boxed_slice), value), 0..3)
            .prop_map(|mut pairs| {
                pairs.sort_by(|one, other| one.0.cmp(&other.0));
                pairs.dedup_by(|one, other| one.0 == other.0);
                Op::StoreMany(pairs)
            }),
    ];
    proptest::collection::btree_map((1u64..8, 0u16..3), op, 0..14)
        .prop_map(|all| all.into_iter().map(|((time, id), op)| (at(time, id), op)).collect())
}

proptest! {
    #[test]
    fn any_order_gives_the_same_entries_also_after_a_restart(
        writes in writes(),
        shuffled in Just(()).prop_perturb(|(), mut rng| rng.random::<u64>()),
    ) {
        let mut mixed = writes.clone();
        mixed.sort_by_key(|(ts, _)| (ts.time ^ u64::from(ts.replica.0) << 1).wrapping_mul(shuffled | 1));
        let (mut one, mut other) = (Kept::new(), Kept::new());
        writes.iter().for_each(|(ts, op)| one.merge(*ts, op));
        mixed.iter().for_each(|(ts, op)| other.merge(*ts, op));
        prop_assert_eq!(one.entries(), other.entries());
        let clock: VectorClock = writes.iter().map(|(ts, _)| *ts).collect();
        prop_assert_eq!(other.store.clock(), clock.clone());
        let (entries, other) = (other.entries(), other.restarted());
        prop_assert_eq!(other.entries(), entries);
        prop_assert_eq!(other.store.clock(), clock);
    }

    #[test]
    fn what_differs_is_enough(
        (all, some) in writes().prop_flat_map(|all| {
            let n = all.len();
            (Just(all.clone()), subsequence(all, 0..=n))
        }),
    ) {
        // What a replica has is whole streams up to a place: the clock says no more.
        let known: VectorClock = some.iter().map(|(ts, _)| *ts).collect();
        let (mut ahead, mut behind) = (Kept::new(), Kept::new());
        all.iter().for_each(|(ts, op)| ahead.merge(*ts, op));
        all.iter().filter(|(ts, _)| known.has(*ts)).for_each(|(ts, op)| behind.merge(*ts, op));
        let table = ahead.store.table();
        let news: Vec<Versioned> =
            table.beyond(&known).iter().filter_map(|key| table.versioned(key)).collect();
        prop_assert!(news.iter().all(|entry| !known.has(entry.version)));
        behind.store.merge_state(&news, &ahead.store.clock(), |new, old| new > old);
        prop_assert_eq!(behind.entries(), ahead.entries());
        let behind = behind.restarted();
        prop_assert_eq!(behind.entries(), ahead.entries());
        prop_assert_eq!(behind.store.clock(), ahead.store.clock());
    }
}

#[test]
fn what_is_sent_is_what_an_operation_amounts_to_here() {
    let mut kept = Kept::new();
    let key = || Box::<[u8]>::from(*b"k");
    let mut time = 0;
    let mut run = |op: Op| {
        let (outcome, effect) = kept.store.table().effect(op, 1000);
        time += 1;
        kept.merge(at(time, 0), &effect);
        let shows = kept.store.table().get(b"k", 1000).map(|found| found.data.to_vec());
        (outcome, shows.map(|data| String::from_utf8(data).expect("text")))
    };
    let shows = |text: &str| Some(text.to_owned());
    let add = |rule| Op::Store { key: key(), value: value(b"1"), rule };
    let by = Arithmetic::Signed(4);
    assert_eq!(run(add(StoreRule::IfPresent)), (Outcome::NotStored, None));
    assert_eq!(run(add(StoreRule::IfAbsent)), (Outcome::Stored, shows("1")));
    assert_eq!(run(Op::Count { key: key(), by }), (Outcome::Number(5), shows("5")));
    let join =
        |end| Op::Concat { key: key(), data: Box::from(*b"x"), end, create: false, max_value: 3 };
    assert_eq!(run(join(End::Back)), (Outcome::Length(2), shows("5x")));
    assert_eq!(run(join(End::Front)), (Outcome::Length(3), shows("x5x")));
    assert_eq!(run(join(End::Front)), (Outcome::TooLarge, shows("x5x")));
    assert_eq!(run(Op::Count { key: key(), by }), (Outcome::NotANumber, shows("x5x")));
    assert_eq!(
        run(Op::Touch { keys: vec![key()], expires: 2000 }),
        (Outcome::Touched(1), shows("x5x"))
    );
    assert_eq!(run(Op::Touch { keys: vec![key()], expires: 900 }), (Outcome::Touched(1), None));
    assert_eq!(run(add(StoreRule::IfAbsent)), (Outcome::Stored, shows("1")), "it has ended");
    assert_eq!(run(Op::Delete { keys: vec![key()] }), (Outcome::Deleted(1), None));
    assert_eq!(run(Op::Delete { keys: vec![key()] }), (Outcome::Deleted(0), None));
    let twice = [b"1", b"2"].map(|data| (key(), value(data)));
    assert_eq!(run(Op::StoreMany(twice.to_vec())), (Outcome::Stored, shows("2")), "the last holds");
    run(add(StoreRule::Always));
    assert_eq!(run(Op::FlushAll { at: 0 }), (Outcome::Stored, None));
    assert_eq!(run(Op::OpenSession), (Outcome::NoSession, None));
}

#[test]
fn a_deletion_holds_against_an_older_write_until_it_is_forgotten() {
    let mut kept = Kept::new();
    kept.merge(at(5, 0), &Op::StoreMany(vec![(Box::from(*b"k"), Value::deleted())]));
    kept.merge(at(3, 1), &set(b"k", value(b"old")));
    assert_eq!(kept.store.table().get(b"k", 0), None);
    assert_eq!(kept.store.table().len(0), 0, "it is not counted");
    assert_eq!(kept.store.forget(&[at(4, 0)].into_iter().collect(), 1000), 0, "not settled");
    assert_eq!(kept.store.forget(&[at(5, 0)].into_iter().collect(), 1000), 1);
    let kept = kept.restarted();
    assert_eq!(kept.entries(), []);
    assert_eq!(kept.store.clock().to_string(), "5.0,3.1");
}
