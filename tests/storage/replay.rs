//! Start-up: any cut at the end is survived, any damage in the middle is refused, nothing panics.

#[path = "../../fuzz/entries/storage.rs"]
mod entry;
use crate::storage_support::*;
use consistency_lab::base::{ReplicaId, Timestamp};
use consistency_lab::storage::{
    Damage, Handle, MemDisk, Opened, RealDisk, StorageError, open, replay_bytes,
};
use proptest::prelude::*;

fn replayed(bytes: &[u8]) -> Opened<MemDisk> {
    replay_bytes(bytes).unwrap_or_else(|error| panic!("{error}"))
}

fn lines(file: &[u8]) -> usize {
    file.iter().filter(|&&byte| byte == b'\n').count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_file_cut_anywhere_gives_a_prefix_of_whole_operations(ops in ops(12)) {
        let (states, file) = history(&ops);
        let mut last = 0;
        for cut in 0..=file.len() {
            let mut opened = replayed(&file[..cut]);
            let position = opened.store.position() as usize;
            prop_assert_eq!(dump(&opened.store), &states[position][..], "cut at {}", cut);
            prop_assert!(position >= last, "a longer file never holds less");
            last = position;
            // What was cut off is gone for good: the store goes on behind it.
            execute(&mut opened.store, &set("on", "1"), 0);
            write(&mut opened.store, &mut opened.log);
            let (again, wanted) = (opened.log.sync_handle(), dump(&opened.store));
            let again = open(again, 3).expect("a file that was opened once opens again");
            prop_assert_eq!(again.report.torn, None);
            prop_assert_eq!(dump(&again.store), wanted);
        }
        prop_assert_eq!(last, ops.len());
    }

    #[test]
    fn a_flipped_byte_is_refused_with_its_line_or_cut_off_at_the_end(
        ops in ops(10),
        place: prop::sample::Index,
        flip in 1..=255u8,
    ) {
        let (states, mut file) = history(&ops);
        let at = place.index(file.len());
        let line = lines(&file[..at]) as u64 + 1;
        file[at] ^= flip;
        match replay_bytes(&file) {
            Ok(opened) => {
                let torn = opened.report.torn.expect("the damage was seen");
                prop_assert!(torn.line <= line);
                let position = opened.store.position() as usize;
                prop_assert_eq!(dump(&opened.store), &states[position][..]);
                prop_assert!(position < ops.len());
            }
            Err(StorageError::Damaged { line: found, .. }) => prop_assert_eq!(found, line),
            Err(error) => prop_assert_eq!(line, 1, "{}", error),
        }
    }

    #[test]
    fn a_removed_line_is_missed(ops in ops(10), place: prop::sample::Index) {
        let (_, file) = history(&ops);
        let all: Vec<&[u8]> = file.split_inclusive(|&byte| byte == b'\n').collect();
        let gone = place.index(all.len());
        let rest = [&all[..gone], &all[gone + 1..]].concat().concat();
        match replay_bytes(&rest) {
            Ok(opened) => {
                let last = gone + 1 == all.len();
                let one_of_several = String::from_utf8_lossy(all[gone]).contains("+\t");
                prop_assert!(last || one_of_several, "positions have no gaps");
                prop_assert!(one_of_several || opened.store.position() < ops.len().max(1) as u64);
            }
            Err(StorageError::Damaged { line, .. }) => {
                prop_assert!(line >= gone as u64 && line <= gone as u64 + 2)
            }
            Err(error) => prop_assert_eq!(gone, 0, "{}", error),
        }
    }

    #[test]
    fn any_bytes_are_replayed_or_refused(bytes: Vec<u8>) {
        let _ = replay_bytes(&bytes);
    }

    #[test]
    fn any_lines_behind_a_header_are_replayed_or_refused(bytes: Vec<u8>) {
        let (_, mut file) = history(&[]);
        file.extend_from_slice(&bytes);
        let _ = replay_bytes(&file);
    }

    #[test]
    fn any_key_and_value_come_back(key: Vec<u8>, data: Vec<u8>, flags: u32) {
        let disk = MemDisk::new();
        let Opened { mut store, mut log, .. } = fresh(&disk);
        let value = consistency_lab::base::Value { data: data.clone().into(), flags, expires: 0 };
        let key: Box<[u8]> = key.into();
        execute(&mut store, &consistency_lab::base::Op::StoreMany(vec![(key.clone(), value)]), 0);
        write(&mut store, &mut log);
        let opened = replayed(&disk.contents());
        let found = opened.store.table().get(&key, 0).expect("it was stored");
        prop_assert_eq!((found.data, found.flags), (&data[..], flags));
    }
}

#[test]
fn an_empty_and_a_missing_file_begin_with_a_header() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = folder.path().join("deep").join("0");
    let opened = open(RealDisk::open(&home).expect("it is created"), 1).expect("it is empty");
    assert_eq!((opened.store.position(), opened.store.incarnation()), (0, 0));
    drop(opened);
    let text = std::fs::read_to_string(home.join("storage.txt")).expect("it is text");
    assert!(
        text.starts_with("#storage.txt v1: KEY\tVALUE\tPOSITION\tTIME.REPLICA\tFLAGS\t"),
        "{text}"
    );
    let again = open(RealDisk::open(&home).expect("the lock is free"), 1).expect("it opens again");
    assert_eq!(again.report.lines, 1);
}

#[test]
fn a_folder_is_held_by_one_process() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let held = RealDisk::open(folder.path()).expect("it is free");
    let error = RealDisk::open(folder.path()).expect_err("it is held");
    assert!(matches!(error, StorageError::InUse { .. }), "{error}");
    drop(held);
    RealDisk::open(folder.path()).expect("it is free again");
}

#[test]
fn what_is_no_storage_file_is_refused_and_left_alone() {
    let (_, file) = history(&[(set("x", "1"), 0)]);
    let newer = [b"#storage.txt v2: KEY VALUE", &file[..]].concat();
    let binary: Vec<u8> = (0..=255).cycle().take(5000).collect();
    for (bytes, message) in [
        (newer, "has format version 2, expected version 1"),
        (binary, "is not a storage file"),
        (b"hello\n".to_vec(), "is not a storage file"),
        (vec![0; 4096], "is not a storage file"),
        (b"\xff\xfe".to_vec(), "found `\\xff\\xfe`"),
    ] {
        let disk = MemDisk::with_contents(bytes.clone());
        let error = open(disk.clone(), 0).expect_err("it is refused").to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(disk.contents(), bytes);
    }
}

#[test]
fn damage_in_the_middle_names_the_place_and_what_to_do() {
    let ops: Vec<_> = (0..5).map(|i| (set("key", &format!("value{i}")), 0)).collect();
    let (_, file) = history(&ops);
    let text = String::from_utf8(file).expect("it is text").replace("value2", "value7");
    let offset = text.find("key\tvalue7").expect("the damaged line");
    let error = replay_bytes(text.as_bytes()).expect_err("it is refused").to_string();
    assert!(error.contains(&format!("at line 4, byte offset {offset}: the checksum")), "{error}");
    assert!(error.contains("move it away"), "{error}");
}

#[test]
fn a_torn_group_is_cut_off_whole() {
    let many = |n: u32| {
        let pairs = (0..n).map(|i| (i.to_string().into_bytes().into(), Default::default()));
        consistency_lab::base::Op::StoreMany(pairs.collect())
    };
    let (states, file) = history(&[(set("x", "1"), 0), (many(3), 0)]);
    let text = String::from_utf8(file.clone()).expect("it is text");
    assert_eq!(text.matches("\t2+\t").count(), 2, "{text}");
    let two_of_three = text.trim_end().rfind('\n').expect("several lines") + 1;
    let opened = replayed(&file[..two_of_three]);
    assert_eq!(dump(&opened.store), states[1]);
    let torn = opened.report.torn.expect("it is reported");
    assert_eq!((torn.line, torn.damage), (3, Damage::Group { position: 2 }));
    assert_eq!(torn.offset + torn.bytes, two_of_three as u64);
}

#[test]
fn starts_and_pending_messages_come_back_until_they_are_delivered() {
    let own = |time| Timestamp::new(time, ReplicaId(1));
    let disk = MemDisk::new();
    let Opened { mut store, mut log, .. } = fresh(&disk);
    store.note_start(3);
    for time in [2, 5, 9] {
        store.note_pending(own(time), format!("message {time}\n").as_bytes());
    }
    store.execute(own(2), 0, &set("x", "1"));
    store.execute(Timestamp::new(7, ReplicaId(0)), 0, &set("x", "2"));
    write(&mut store, &mut log);
    let opened = replayed(&disk.contents());
    assert_eq!(opened.store.incarnation(), 3);
    let left: Vec<_> = opened.pending.iter().map(|(at, bytes)| (at.time, &bytes[..])).collect();
    assert_eq!(left, [(5, b"message 5\n".as_slice()), (9, b"message 9\n")]);
}

#[test]
fn a_full_disk_is_a_clean_error() {
    let disk = MemDisk::new();
    let Opened { mut store, mut log, .. } = fresh(&disk);
    disk.set_capacity(Some(200));
    execute(&mut store, &set("x", &"1".repeat(300)), 0);
    let error = log.write(&store.take_unwritten()).expect_err("it does not fit").to_string();
    assert!(error.starts_with("cannot append to storage.txt"), "{error}");
    assert_eq!(replayed(&disk.contents()).report.torn, None, "nothing is left half-written");
}

#[test]
fn a_sync_makes_durable_what_was_written_before() {
    let disk = MemDisk::new();
    let Opened { mut store, mut log, .. } = fresh(&disk);
    execute(&mut store, &set("x", "1"), 0);
    write(&mut store, &mut log);
    log.sync_handle().sync().expect("the disk works");
    execute(&mut store, &set("y", "2"), 0);
    write(&mut store, &mut log);
    for unsynced in 0..40 {
        let found = open(disk.restart(unsynced, true), 0).expect("a torn tail is cut off");
        let position = found.store.position();
        assert!(position == 1 || (position == 2 && unsynced > 20), "{unsynced}: {position}");
    }
}

#[test]
fn a_failed_sync_makes_nothing_durable_and_loses_nothing_that_was() {
    let disk = MemDisk::new();
    let Opened { mut store, mut log, .. } = fresh(&disk);
    execute(&mut store, &set("x", "1"), 0);
    write(&mut store, &mut log);
    log.sync_handle().sync().expect("the disk works");
    let (durable, wanted) = (disk.synced_len(), dump(&store));
    assert_eq!(durable, disk.contents().len());
    execute(&mut store, &set("x", "2"), 0);
    write(&mut store, &mut log);
    disk.fail_syncs(true);
    log.sync_handle().sync().expect_err("the disk fails");
    assert_eq!(disk.synced_len(), durable);
    let after_power_loss = disk.restart(0, true);
    assert_eq!(dump(&open(after_power_loss, 0).expect("it opens").store), wanted);
}

#[test]
fn long_lines_and_many_blocks_are_read() {
    let ops: Vec<_> = (0..40).map(|i| (set(&format!("k{i}"), &"é\0".repeat(60_000)), 0)).collect();
    let (states, file) = history(&ops);
    assert!(file.len() > 10 << 20);
    assert_eq!(dump(&replayed(&file).store), states[40]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn files_with_a_few_wrong_bytes_are_replayed_or_refused(
        ops in ops(8),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut: prop::sample::Index,
    ) {
        let (_, mut file) = history(&ops);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        file.truncate(file.len() - cut.index(file.len()) / 4);
        let _ = entry::replay(&file);
    }
}

#[test]
fn the_corpus_is_replayed_or_refused() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/storage");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).expect("the corpus is there") {
        let path = file.expect("it can be listed").path();
        let bytes = std::fs::read(&path).expect("it can be read");
        let refused = entry::replay(&bytes).is_err();
        let wanted = path.file_name().expect("a name").to_string_lossy().starts_with("refused");
        assert_eq!(refused, wanted, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 8, "only {seen} files");
}
