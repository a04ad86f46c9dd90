//! Compaction: the same state from a smaller file, whatever runs beside it and wherever it is killed.

use crate::storage_support::*;
use consistency_lab::base::{ReplicaId, Timestamp};
use consistency_lab::storage::{
    Compacted, Disk, Finish, LogFile, MemDisk, Opened, RealDisk, StorageError, Store, open,
};
use proptest::prelude::*;

/// Compacts in one go, and takes `meanwhile` between the two passes.
fn compact<D: Disk>(
    store: &mut Store,
    log: &mut LogFile<D>,
    meanwhile: impl FnOnce(&mut Store),
) -> Result<Compacted, StorageError> {
    let mut compaction = log.begin_compaction()?;
    store.compaction_started();
    let mut meanwhile = Some(meanwhile);
    let run = compaction.run(|records| {
        // The table runs ahead of the file while it is asked.
        if let Some(meanwhile) = meanwhile.take() {
            meanwhile(store);
        }
        Some(store.are_live(records))
    });
    if let Some(meanwhile) = meanwhile.take() {
        meanwhile(store);
    }
    run?;
    loop {
        match log.finish_compaction(compaction)? {
            Finish::Done(done) => {
                store.compaction_ended(Some(done));
                return Ok(done);
            }
            Finish::NotYet(again) => {
                log.write(&store.take_unwritten())?;
                compaction = again;
            }
        }
    }
}

fn run_all(store: &mut Store, ops: &[(consistency_lab::base::Op, u64)]) {
    for (op, at) in ops {
        execute(store, op, *at);
    }
}

#[test]
fn a_compaction_that_cannot_be_synced_leaves_the_file_as_it_was() {
    let disk = MemDisk::new();
    let Opened { mut store, mut log, .. } = fresh(&disk);
    run_all(&mut store, &vec![(set("x", "1"), 0); 100]);
    write(&mut store, &mut log);
    let before = disk.contents();
    disk.fail_syncs(true);
    let error = compact(&mut store, &mut log, |_| ()).expect_err("the disk fails").to_string();
    assert!(error.starts_with("cannot sync the replacement of storage.txt"), "{error}");
    store.compaction_ended(None);
    assert_eq!(disk.contents(), before);
    disk.fail_syncs(false);
    compact(&mut store, &mut log, |_| ()).expect("the disk works again");
    assert!(disk.contents().len() < before.len());
    assert_eq!(dump(&open(disk.restart(0, true), 0).expect("it opens").store), dump(&store));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_file_holds_the_same(before in ops(40), during in ops(10), after in ops(10)) {
        let disk = MemDisk::new();
        let Opened { mut store, mut log, .. } = fresh(&disk);
        run_all(&mut store, &before);
        write(&mut store, &mut log);
        for round in 0..2 {
            compact(&mut store, &mut log, |store| run_all(store, &during)).expect("it compacts");
            write(&mut store, &mut log);
            let again = open(disk.restart(usize::MAX, true), 9).expect("it opens");
            prop_assert_eq!(again.report.torn, None);
            prop_assert_eq!(dump(&again.store), dump(&store), "round {}", round);
        }
        run_all(&mut store, &after);
        write(&mut store, &mut log);
        let again = open(disk.restart(usize::MAX, true), 9).expect("it opens");
        prop_assert_eq!(dump(&again.store), dump(&store));
    }

    #[test]
    fn a_crash_at_any_step_loses_nothing_that_was_synced(before in ops(20), during in ops(6), seed: usize) {
        for step in 1.. {
            let disk = MemDisk::new();
            let Opened { mut store, mut log, .. } = fresh(&disk);
            run_all(&mut store, &before);
            write(&mut store, &mut log);
            consistency_lab::storage::Handle::sync(&log.sync_handle()).expect("no crash yet");
            let synced = store.position();
            let base = disk.steps();
            disk.crash_at(base + step);
            let result = compact(&mut store, &mut log, |store| run_all(store, &during));
            let mut states = Vec::new();
            let replayed = |disk: MemDisk| open(disk, 4).expect("old or new, the file is complete");
            for keep_rename in [false, true] {
                for unsynced in [0, seed % 97, usize::MAX] {
                    let found = replayed(disk.restart(unsynced, keep_rename));
                    prop_assert!(found.store.position() >= synced);
                    states.push((found.store.position(), dump(&found.store)));
                }
            }
            // Whatever position a restart is at, it holds what the operations up to there amount to.
            let all = [&before[..], &during[..]].concat();
            for (position, text) in states {
                let alone = MemDisk::new();
                let Opened { store: mut wanted, .. } = fresh(&alone);
                run_all(&mut wanted, &all[..position as usize]);
                prop_assert_eq!(text, dump(&wanted), "step {}", step);
            }
            if result.is_ok() {
                break;
            }
        }
    }

    #[test]
    fn a_compacted_file_is_refused_rather_than_read_wrongly(
        before in ops(30),
        place: prop::sample::Index,
        flip in 0..=255u8,
    ) {
        let disk = MemDisk::new();
        let Opened { mut store, mut log, .. } = fresh(&disk);
        run_all(&mut store, &before);
        write(&mut store, &mut log);
        compact(&mut store, &mut log, |_| {}).expect("it compacts");
        let mut file = disk.contents();
        let at = place.index(file.len());
        if flip == 0 {
            file.truncate(at);
        } else {
            file[at] ^= flip;
        }
        match open(MemDisk::with_contents(file), 0) {
            // Cut within its first word there is nothing to tell it from a file just begun.
            Ok(found) => prop_assert!(flip == 0 && at < 20 && found.store.position() == 0),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn compaction_is_wanted_when_half_of_a_large_file_is_garbage() {
    let disk = MemDisk::new();
    let Opened { mut store, mut log, .. } = fresh(&disk);
    let value = "v".repeat(1000);
    let mut wanted_at = Vec::new();
    for i in 0..4000 {
        execute(&mut store, &set(&format!("k{}", i % 100), &value), 0);
        write(&mut store, &mut log);
        if store.wants_compaction() {
            let before = log.len();
            assert!(before > 1 << 20 && store.garbage_bytes() > before / 2);
            let done = compact(&mut store, &mut log, |_| {}).expect("it compacts");
            assert_eq!(done.file_len, log.len());
            assert!(store.garbage_bytes() < 1000 && !store.wants_compaction());
            wanted_at.push(i);
        }
    }
    assert_eq!(wanted_at.len(), 4, "{wanted_at:?}");
    assert_eq!(log.len() + store.unwritten_bytes() as u64, disk.contents().len() as u64);
}

#[test]
fn a_failed_compaction_is_not_tried_again_at_once() {
    let disk = MemDisk::new();
    let Opened { mut store, mut log, .. } = fresh(&disk);
    let value = "v".repeat(1000);
    let fill = |store: &mut Store, log: &mut LogFile<MemDisk>| {
        for _ in 0..1200 {
            execute(store, &set("k", &value), 0);
        }
        write(store, log);
    };
    fill(&mut store, &mut log);
    assert!(store.wants_compaction());
    disk.set_capacity(Some(500));
    let error = compact(&mut store, &mut log, |_| {}).expect_err("the disk is full");
    assert!(error.to_string().contains("cannot write the replacement of"), "{error}");
    store.compaction_ended(None);
    disk.set_capacity(None);
    assert!(!store.wants_compaction());
    fill(&mut store, &mut log);
    assert!(store.wants_compaction());
    compact(&mut store, &mut log, |_| {}).expect("now it fits");
    assert!(log.len() < 2000);
}

#[test]
fn pending_messages_and_the_last_start_survive_compaction() {
    let own = |time| Timestamp::new(time, ReplicaId(1));
    let disk = MemDisk::new();
    let Opened { mut store, mut log, .. } = fresh(&disk);
    for incarnation in 1..4 {
        store.note_start(incarnation);
    }
    for time in [4, 8] {
        store.note_pending(own(time), b"m");
    }
    store.execute(own(4), 0, &set("x", "own"));
    store.execute(Timestamp::new(6, ReplicaId(0)), 0, &set("x", "other"));
    write(&mut store, &mut log);
    for _ in 0..2 {
        compact(&mut store, &mut log, |_| {}).expect("it compacts");
        let text = String::from_utf8(disk.contents()).expect("it is text");
        assert_eq!(text.matches("#pending").count(), 1, "{text}");
        assert_eq!(text.matches("#start\t3\t").count(), 1, "{text}");
        let again = open(disk.restart(0, true), 0).expect("it opens");
        assert_eq!(again.pending, [(own(8), b"m".as_slice().into())]);
        assert_eq!(again.store.delivered(ReplicaId(1)), 4, "though its record is gone");
        assert_eq!(again.store.incarnation(), 3);
    }
}

#[test]
fn deleted_keys_vanish_and_a_delayed_flush_stays() {
    use consistency_lab::base::Op;
    let disk = MemDisk::new();
    let Opened { mut store, mut log, .. } = fresh(&disk);
    execute(&mut store, &set("gone", "1"), 0);
    execute(&mut store, &Op::FlushAll { at: 99 }, 0);
    execute(&mut store, &Op::Delete { keys: vec![b"gone".as_slice().into()] }, 0);
    execute(&mut store, &set("x", "1"), 0);
    write(&mut store, &mut log);
    compact(&mut store, &mut log, |_| {}).expect("it compacts");
    let text = String::from_utf8(disk.contents()).expect("it is text");
    assert!(!text.contains("gone"), "{text}");
    let again = open(disk, 0).expect("it opens");
    assert_eq!(again.store.table().flush_at(), Some(99));
    assert_eq!(again.store.position(), 4);
}

#[test]
fn on_a_real_disk_the_rename_leaves_no_trace() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let leftover = folder.path().join("storage.txt.new");
    std::fs::write(&leftover, b"half a compaction").expect("it can be written");
    let disk = RealDisk::open(folder.path()).expect("it is free");
    assert!(!leftover.exists(), "an unfinished replacement is removed");
    let Opened { mut store, mut log, .. } = open(disk, 1).expect("it opens");
    for i in 0..5000 {
        execute(&mut store, &set(&format!("k{}", i % 10), &i.to_string()), 0);
    }
    write(&mut store, &mut log);
    let before = log.len();
    compact(&mut store, &mut log, |store| {
        execute(store, &set("late", "1"), 0);
    })
    .expect("it compacts");
    execute(&mut store, &set("later", "2"), 0);
    write(&mut store, &mut log);
    assert!(log.len() < before / 100 && !leftover.exists());
    let wanted = dump(&store);
    drop(log);
    let again = open(RealDisk::open(folder.path()).expect("free again"), 2).expect("it opens");
    assert_eq!(dump(&again.store), wanted);
}

#[test]
fn an_older_compaction_cannot_replace_a_newer_file() {
    let disk = MemDisk::new();
    let Opened { mut store, mut log, .. } = fresh(&disk);
    execute(&mut store, &set("x", "1"), 0);
    write(&mut store, &mut log);
    let mut old = log.begin_compaction().expect("it begins");
    old.run(|records| Some(store.are_live(records))).expect("it runs");
    compact(&mut store, &mut log, |_| {}).expect("a second one overtakes it");
    let error = log.finish_compaction(old).expect_err("too late");
    assert!(matches!(error, StorageError::Replaced { .. }), "{error}");
}
