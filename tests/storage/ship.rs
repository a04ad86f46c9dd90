//! Shipping: a replica that is behind gets the suffix of another's file, or all of it.

use crate::storage_support::*;
use consistency_lab::base::{KeptLog, Op, ReplicaId, Timestamp};
use consistency_lab::storage::{
    Absorbed, Damage, Finish, Install, LogFile, MemDisk, Opened, StorageError, Store, open,
};
use proptest::prelude::*;

fn run_all(store: &mut Store, ops: &[(Op, u64)]) {
    for (op, at) in ops {
        execute(store, op, *at);
    }
}

fn compact(store: &Store, log: &mut LogFile<MemDisk>) {
    let mut compaction = log.begin_compaction().expect("it begins");
    compaction.run(|records| Some(store.are_live(records))).expect("it runs");
    let finished = log.finish_compaction(compaction).expect("it ends");
    assert!(matches!(finished, Finish::Done(_)));
}

/// Ships everything after the receiver's position in pieces of about `size` bytes.
fn ship(
    from: &LogFile<MemDisk>,
    to: &mut Opened<MemDisk>,
    size: usize,
) -> Result<bool, StorageError> {
    let located = from.locate(to.store.position());
    let mut install = located.full.then(|| Install::begin(&mut to.log, 5)).transpose()?;
    let mut offset = located.offset;
    loop {
        let chunk = from.read_chunk(located.generation, offset, size)?.expect("not replaced");
        match &mut install {
            Some(install) => install.absorb(&chunk.bytes)?,
            None => {
                to.store.absorb(&chunk.bytes)?;
            }
        }
        offset = chunk.next;
        if chunk.end {
            break;
        }
    }
    if let Some(install) = install {
        let pending = [
            (Timestamp::new(1, ReplicaId(1)), b"old".as_slice()),
            (Timestamp::new(9999, ReplicaId(1)), b"new"),
        ];
        let installed =
            install.finish(&mut to.log, 8, &pending, (Timestamp::ZERO, &KeptLog::default()))?;
        to.store.install(installed);
    }
    write(&mut to.store, &mut to.log);
    Ok(located.full)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_shipped_replica_holds_the_same(
        shared in ops(20), missed in ops(20), compacted: bool, more in ops(6), size in 1..400usize,
    ) {
        let (disk, behind) = (MemDisk::new(), MemDisk::new());
        let Opened { mut store, mut log, .. } = fresh(&disk);
        let mut to = fresh(&behind);
        run_all(&mut to.store, &shared);
        write(&mut to.store, &mut to.log);
        store.note_start(1);
        run_all(&mut store, &shared);
        run_all(&mut store, &missed);
        write(&mut store, &mut log);
        if compacted {
            compact(&store, &mut log);
        }
        run_all(&mut store, &more);
        store.note_pending(Timestamp::new(5000, ReplicaId(0)), b"mine alone");
        write(&mut store, &mut log);

        let full = ship(&log, &mut to, size).expect("it is shipped");
        prop_assert_eq!(full, compacted && !missed.is_empty());
        prop_assert_eq!(dump(&to.store), dump(&store));
        let again = open(behind, 1).expect("what was shipped is in the file");
        prop_assert_eq!(again.report.torn, None);
        prop_assert_eq!(dump(&again.store), dump(&store));
        prop_assert_eq!(again.store.incarnation(), if full { 8 } else { 0 }, "starts are one's own");
        let pending: Vec<u64> = again.pending.iter().map(|(at, _)| at.time).collect();
        prop_assert!(!pending.contains(&5000), "so are pending messages");
        prop_assert_eq!(pending.contains(&9999), full);
    }

    #[test]
    fn any_bytes_are_absorbed_or_refused(bytes: Vec<u8>, size: usize) {
        let mut to = fresh(&MemDisk::new());
        let _ = to.store.absorb(&bytes);
        let mut install = Install::begin(&mut to.log, 0).expect("it begins");
        let _ = install.absorb(&bytes);
        let _ = to.log.read_chunk(1, size as u64, size);
    }
}

fn source(ops: u64) -> (Store, LogFile<MemDisk>) {
    let Opened { mut store, mut log, .. } = fresh(&MemDisk::new());
    for i in 1..=ops {
        execute(&mut store, &set(&format!("k{i}"), "v"), 0);
        write(&mut store, &mut log);
    }
    (store, log)
}

#[test]
fn the_index_finds_a_place_close_by() {
    let (_, log) = source(20_000);
    let half = log.locate(10_000);
    assert!(!half.full && half.offset > 0);
    let chunk =
        log.read_chunk(half.generation, half.offset, 200_000).expect("read").expect("there");
    let text = String::from_utf8(chunk.bytes).expect("it is text");
    assert!(text.contains("\nk10001\t"), "within two steps of the index");
    assert!(!chunk.end);
    let end = log.locate(99_999_999);
    let chunk = log.read_chunk(end.generation, end.offset, 1 << 20).expect("read").expect("there");
    assert!(chunk.end && chunk.next == log.len());
}

#[test]
fn a_reader_of_an_older_generation_starts_over() {
    let (store, mut log) = source(100);
    let located = log.locate(50);
    compact(&store, &mut log);
    assert_eq!(log.read_chunk(located.generation, located.offset, 100).expect("read"), None);
    assert!(log.locate(50).full);
    let end = log.locate(100);
    assert!(!end.full, "nothing is missing at the base");
    let chunk = log.read_chunk(end.generation, end.offset, 100).expect("read").expect("there");
    assert!(chunk.bytes.is_empty() && chunk.end);
}

#[test]
fn a_gap_a_divergence_and_half_an_operation_are_refused() {
    let (_, log) = source(5);
    let all = log.read_chunk(1, 0, 1 << 20).expect("read").expect("there").bytes;
    let lines: Vec<&[u8]> = all.split_inclusive(|&byte| byte == b'\n').collect();
    let damage = |store: &mut Store, bytes: &[u8]| match store.absorb(bytes) {
        Err(StorageError::Shipped { damage, .. }) => damage,
        other => panic!("{other:?}"),
    };
    let mut to = fresh(&MemDisk::new());
    let wanted = Damage::Position { expected: 1, found: 2 };
    assert_eq!(damage(&mut to.store, lines[2]), wanted);

    assert_eq!(
        to.store.absorb(&lines[..4].concat()).expect("fine"),
        Absorbed { applied: 3, known: 0 }
    );
    assert_eq!(to.store.absorb(&all).expect("fine"), Absorbed { applied: 2, known: 3 });

    let mut other = fresh(&MemDisk::new());
    other.store.execute(Timestamp::new(1, ReplicaId(2)), 0, &set("k1", "other"));
    assert!(matches!(damage(&mut other.store, &all), Damage::Diverged { position: 1, .. }));

    let mut group = fresh(&MemDisk::new());
    let pairs = (0..3u8).map(|i| (vec![i].into(), Default::default())).collect();
    execute(&mut group.store, &Op::StoreMany(pairs), 0);
    let batch = group.store.take_unwritten();
    let mut empty = fresh(&MemDisk::new());
    let half = &batch.bytes[..batch.bytes.len() / 2];
    let half = &half[..half.iter().rposition(|&byte| byte == b'\n').expect("a line") + 1];
    assert_eq!(damage(&mut empty.store, half), Damage::Group { position: 1 });
    assert_eq!((empty.store.position(), empty.store.unwritten_bytes()), (0, 0), "nothing of it");
}

#[test]
fn an_installation_takes_the_place_of_a_compaction_under_way() {
    let (store, mut log) = source(50);
    compact(&store, &mut log);
    let file = log.read_chunk(log.locate(0).generation, 0, 1 << 20).expect("read").expect("there");
    let disk = MemDisk::new();
    let mut to = fresh(&disk);
    execute(&mut to.store, &set("own", "1"), 0);
    write(&mut to.store, &mut to.log);
    let mut compaction = to.log.begin_compaction().expect("it begins");
    let mut install = Install::begin(&mut to.log, 0).expect("it begins");
    compaction.run(|records| Some(to.store.are_live(records))).expect("it runs");
    let error = to.log.finish_compaction(compaction).expect_err("it was given up");
    assert!(matches!(error, StorageError::Replaced { .. }), "{error}");
    install.absorb(&file.bytes).expect("a whole file");
    let installed = install
        .finish(&mut to.log, 1, &[], (Timestamp::ZERO, &KeptLog::default()))
        .expect("nothing is in its way");
    to.store.install(installed);
    assert_eq!(contents(&to.store, 0), contents(&store, 0));
    let again = open(MemDisk::with_contents(disk.contents()), 0).expect("it opens");
    assert_eq!(contents(&again.store, 0), contents(&store, 0));
}

#[test]
fn an_installation_given_up_or_incomplete_changes_nothing() {
    let (store, mut log) = source(50);
    compact(&store, &mut log);
    let file = log.read_chunk(log.locate(0).generation, 0, 1 << 20).expect("read").expect("there");
    let disk = MemDisk::new();
    let mut to = fresh(&disk);
    execute(&mut to.store, &set("own", "1"), 0);
    write(&mut to.store, &mut to.log);
    let before = disk.contents();
    let mut install = Install::begin(&mut to.log, 0).expect("it begins");
    install.absorb(&file.bytes[..file.bytes.len() / 3]).expect_err("a line is torn");
    drop(install);
    let lines: Vec<&[u8]> = file.bytes.split_inclusive(|&byte| byte == b'\n').collect();
    let mut install = Install::begin(&mut to.log, 0).expect("it begins");
    install.absorb(&lines[..20].concat()).expect("so far so good");
    let error = install
        .finish(&mut to.log, 1, &[], (Timestamp::ZERO, &KeptLog::default()))
        .expect_err("the base is missing")
        .to_string();
    assert!(error.contains("without its #base line"), "{error}");
    assert_eq!(disk.contents(), before);

    let (_, older) = source(0);
    let file = older.read_chunk(1, 0, 1 << 20).expect("read").expect("there");
    let mut install = Install::begin(&mut to.log, 0).expect("it begins");
    install.absorb(&file.bytes).expect("it is a file");
    let error = install
        .finish(&mut to.log, 1, &[], (Timestamp::ZERO, &KeptLog::default()))
        .expect_err("we know more");
    assert!(matches!(error, StorageError::Older { shipped: 0, own: 1 }), "{error}");
}
