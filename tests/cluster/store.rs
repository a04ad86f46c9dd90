//! The hash table's promise under crashes: what was acknowledged is there, what was refused is not, and nothing
//! is there that nobody asked for. The crashes are simulated: at every step, with any part of what was not
//! synced lost; also in the middle of a compaction with changes between any two of its steps.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use consistency_lab::storage::Handle;
use consistency_lab::storage::hash_table::{
    Answer, AppendFile, CommitError, CrashChoice, Damage, Entry, Folder, HashTable, MemFile,
    MemFolder, Opened, Options, RealFolder, TableError, Write,
};
use proptest::prelude::*;

type Model = BTreeMap<String, String>;

fn options(compact_after: u64) -> Options {
    Options { hash_seed: 7, compact_after, max_bytes: usize::MAX }
}

fn insert(key: &str, value: &str) -> Write {
    Write::Insert(Entry::new(key, value))
}

fn remove(key: &str) -> Write {
    Write::Remove(key.into())
}

/// What a table holds; no key may be met twice while nothing changes.
fn contents<F: Folder>(table: &HashTable<F>) -> Model {
    let (mut walk, mut found) = (table.walk(), Vec::new());
    while table.step(&mut walk, &mut found) {}
    let model: Model = found.iter().map(|e| (e.key().to_owned(), e.value().to_owned())).collect();
    assert_eq!(model.len(), found.len(), "a key twice");
    assert_eq!(model.len(), table.size().entries);
    for (key, value) in &model {
        assert_eq!(table.lookup(key).expect("a listed key").value(), value);
    }
    model
}

/// What the changes do to a model, and what they must answer.
fn apply(model: &mut Model, writes: &[Write]) -> Vec<Answer> {
    let answer = |write: &Write| match write {
        Write::Insert(entry) => {
            model.insert(entry.key().to_owned(), entry.value().to_owned());
            Answer::Inserted
        }
        Write::Remove(key) => {
            Answer::Removed(model.remove(&**key).map(|value| Entry::new(key, &value)))
        }
    };
    writes.iter().map(answer).collect()
}

/// What has been acknowledged, and what had no answer when the machine went down.
#[derive(Clone, Debug, Default)]
struct Known {
    model: Model,
    in_flight: Vec<Write>,
}

impl Known {
    /// Every state that a crash may have left.
    fn possible(&self) -> Vec<Model> {
        let mut model = self.model.clone();
        let mut all = vec![model.clone()];
        for write in &self.in_flight {
            apply(&mut model, std::slice::from_ref(write));
            all.push(model.clone());
        }
        all
    }
}

/// Commits and checks the answers.
fn commit<F: Folder>(table: &HashTable<F>, known: &mut Known, writes: &[Write]) {
    match table.commit(writes.to_vec()) {
        Ok(answers) => assert_eq!(answers, apply(&mut known.model, writes)),
        Err(CommitError::Refused(_)) => {}
        Err(CommitError::Failed(_)) => {
            assert!(known.in_flight.is_empty(), "a second group after a failure");
            known.in_flight = writes.to_vec();
        }
    }
}

type Hook = Box<dyn FnMut() + Send>;

/// A folder in memory that calls a hook before each of its operations; not while the hook runs.
#[derive(Clone, Default)]
struct Hooked {
    inner: MemFolder,
    hook: Arc<Mutex<Option<Hook>>>,
}

struct HookedFile {
    inner: MemFile,
    folder: Hooked,
}

impl Hooked {
    fn call(&self) {
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut hook) = hook {
            hook();
            *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
        }
    }

    fn set(&self, hook: Option<Hook>) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = hook;
    }
}

impl Folder for Hooked {
    type File = HookedFile;

    fn path(&self, name: &str) -> String {
        self.inner.path(name)
    }
    fn open(&self, name: &str) -> io::Result<Option<HookedFile>> {
        let file = self.inner.open(name)?;
        Ok(file.map(|inner| HookedFile { inner, folder: self.clone() }))
    }
    fn create(&self, name: &str) -> io::Result<HookedFile> {
        self.call();
        Ok(HookedFile { inner: self.inner.create(name)?, folder: self.clone() })
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call();
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.call();
        self.inner.sync()
    }
}

impl AppendFile for HookedFile {
    type Handle = HookedHandle;

    fn len(&self) -> u64 {
        self.inner.len()
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.folder.call();
        self.inner.append(bytes)
    }
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.inner.cut(len)
    }
    fn handle(&self) -> HookedHandle {
        HookedHandle { inner: self.inner.handle(), folder: self.folder.clone() }
    }
}

#[derive(Clone)]
struct HookedHandle {
    inner: MemFile,
    folder: Hooked,
}

impl std::fmt::Debug for HookedHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Handle for HookedHandle {
    fn sync(&self) -> io::Result<()> {
        self.folder.call();
        self.inner.sync()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }
}

/// What happens in one life of a server.
#[derive(Clone, Debug)]
enum Action {
    Commit(Vec<Write>),
    /// A compaction, and the batches that are committed before each of its steps.
    Compact(Vec<Vec<Write>>),
    /// So much room and no more, until the next of these.
    Room(Option<usize>),
}

/// Runs until the script or the machine ends.
fn live(folder: &MemFolder, known: Known, script: &[Action]) -> Known {
    let hooked = Hooked { inner: folder.clone(), hook: Arc::default() };
    let opened = match HashTable::open(hooked.clone(), options(100)) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(folder.is_down(), "{error}");
            return known;
        }
    };
    let (table, known) = (Arc::new(opened.table), Arc::new(Mutex::new(known)));
    {
        let mut known = known.lock().expect("a model");
        let found = contents(&table);
        let possible = known.possible();
        assert!(possible.contains(&found), "found {found:?}, possible are {possible:?}");
        *known = Known { model: found, in_flight: Vec::new() };
    }
    for action in script {
        match action {
            Action::Commit(writes) => {
                commit(&table, &mut known.lock().expect("a model"), writes);
            }
            Action::Compact(during) => {
                let mut during = during.clone().into_iter();
                let (its_table, its_known) = (Arc::clone(&table), Arc::clone(&known));
                hooked.set(Some(Box::new(move || {
                    if let Some(writes) = during.next() {
                        commit(&its_table, &mut its_known.lock().expect("a model"), &writes);
                    }
                })));
                let compacted = table.compact();
                hooked.set(None);
                if compacted.is_ok() {
                    let mut names = folder.names();
                    names.sort();
                    assert_eq!(names, ["table.ckpt", "table.txn"]);
                }
            }
            Action::Room(room) => {
                let used: usize = folder
                    .names()
                    .iter()
                    .map(|name| folder.contents(name).map_or(0, |data| data.len()))
                    .sum();
                folder.set_capacity(room.map(|room| used + room));
            }
        }
        let known = known.lock().expect("a model");
        assert_eq!(contents(&table), known.model, "readers see what was acknowledged");
    }
    known.lock().expect("a model").clone()
}

fn fixed_script() -> Vec<Action> {
    let batch = |from: usize| {
        vec![insert(&format!("k{from}"), "1"), remove("k0"), insert("shared", &from.to_string())]
    };
    vec![
        Action::Commit(vec![insert("k0", "[1, 2]"), insert("k1", "{}")]),
        Action::Compact((10..20).map(batch).collect()),
        Action::Commit(vec![remove("k1"), insert("long", &format!("\"{}\"", "x".repeat(100)))]),
        Action::Compact(vec![]),
        Action::Commit(batch(3)),
        Action::Commit(vec![insert("last", "null")]),
    ]
}

fn choices() -> Vec<CrashChoice> {
    let mut all = Vec::new();
    for renames in [0, 0b1, 0b10, 0b11, 0b100, u64::MAX] {
        for bytes in [0, 1, 30, 90, 100_000] {
            for holes in [0, 0b01, 0b10, 0b0110] {
                all.push(CrashChoice { renames, bytes, holes });
            }
        }
    }
    all
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_every_step() {
    let whole = MemFolder::new();
    live(&whole, Known::default(), &fixed_script());
    let steps = whole.steps();
    assert!(steps > 50, "{steps}");
    for step in 1..=steps {
        let folder = MemFolder::new();
        folder.crash_at(step);
        let known = live(&folder, Known::default(), &fixed_script());
        assert!(folder.is_down(), "step {step}");
        live(&folder.after_kill(), known.clone(), &[]);
        for choice in choices() {
            let found = live(&folder.restart(&choice), known.clone(), &fixed_script()[..3]);
            assert!(!found.model.is_empty());
        }
    }
}

#[test]
fn a_crash_during_recovery_loses_nothing_either() {
    for step in (1..90).step_by(3) {
        let first = MemFolder::new();
        first.crash_at(step);
        let known = live(&first, Known::default(), &fixed_script());
        for choice in choices().iter().step_by(7) {
            for second_step in 1..12 {
                let second = first.restart(choice);
                second.crash_at(second_step);
                let later = live(&second, known.clone(), &[]);
                for second_choice in choices().iter().step_by(11) {
                    live(&second.restart(second_choice), later.clone(), &[]);
                }
            }
        }
    }
}

fn any_write() -> impl Strategy<Value = Write> {
    let key = 0..12u8;
    prop_oneof![
        3 => (key.clone(), any::<u16>()).prop_map(|(k, v)| insert(&format!("key {k}"), &v.to_string())),
        1 => (key.clone(), 0..300usize)
            .prop_map(|(k, n)| insert(&format!("key {k}"), &format!("\"{}\"", "y".repeat(n)))),
        2 => key.prop_map(|k| remove(&format!("key {k}"))),
    ]
}

fn any_batch() -> impl Strategy<Value = Vec<Write>> {
    proptest::collection::vec(any_write(), 1..6)
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => any_batch().prop_map(Action::Commit),
        2 => proptest::collection::vec(any_batch(), 0..12).prop_map(Action::Compact),
        1 => proptest::option::of(0..400usize).prop_map(Action::Room),
    ]
}

fn any_choice() -> impl Strategy<Value = CrashChoice> {
    (prop_oneof![Just(0), 0..8u64, Just(u64::MAX)], 0..400usize, prop_oneof![Just(0), any::<u64>()])
        .prop_map(|(renames, bytes, holes)| CrashChoice { renames, bytes, holes })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Several lives, each ended by a crash at any step, or by a kill.
    #[test]
    fn what_was_acknowledged_survives_any_crashes(
        lives in proptest::collection::vec(
            (proptest::collection::vec(any_action(), 0..12), 1..120u64, proptest::option::of(any_choice())),
            1..6,
        )
    ) {
        let (mut folder, mut known) = (MemFolder::new(), Known::default());
        for (script, crash_at, choice) in lives {
            folder.crash_at(crash_at);
            known = live(&folder, known, &script);
            folder = match choice {
                Some(choice) => folder.restart(&choice),
                None => folder.after_kill(),
            };
        }
        live(&folder, known, &[]);
    }
}

fn open(folder: &MemFolder) -> HashTable<MemFolder> {
    HashTable::open(folder.clone(), options(100)).expect("an intact folder").table
}

/// A table with a checkpoint and a log of three groups.
fn compacted() -> MemFolder {
    let folder = MemFolder::new();
    let table = open(&folder);
    table.commit(vec![insert("a", "1"), insert("b", "2")]).expect("room");
    table.compact().expect("room");
    for key in ["c", "d", "e"] {
        table.commit(vec![insert(key, "[3]")]).expect("room");
    }
    folder
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let folder = compacted();
    let intact = contents(&open(&folder.after_kill()));
    for name in ["table.txn", "table.ckpt"] {
        let data = folder.contents(name).expect("it is there");
        let last = data[..data.len() - 1].iter().rposition(|b| *b == b'\n').expect("lines") + 1;
        for at in 0..data.len() {
            let damaged = folder.after_kill();
            let mut data = data.clone();
            data[at] ^= 1;
            damaged.put(name, data);
            match HashTable::open(damaged.clone(), options(100)) {
                // The end of the log cannot be told from a group that was never acknowledged.
                Ok(opened) => {
                    assert!(name == "table.txn" && at + 1 >= last, "{name}, byte {at}");
                    assert!(opened.report.torn.is_some());
                    let mut expected = intact.clone();
                    expected.remove("e");
                    if at + 1 == last {
                        expected.remove("d");
                    }
                    assert_eq!(contents(&opened.table), expected);
                }
                Err(TableError::Damaged { path, .. } | TableError::Header { path, .. }) => {
                    assert!(path.starts_with(name), "{path}");
                    assert_eq!(damaged.names(), folder.names(), "all is left as it is");
                }
                Err(other) => panic!("{name}, byte {at}: {other}"),
            }
        }
    }
}

#[test]
fn a_message_names_the_place_and_the_way_out() {
    let folder = compacted();
    let mut data = folder.contents("table.txn").expect("it is there");
    let second = data.iter().position(|b| *b == b'\n').expect("a header") + 1;
    data[second] = b'x';
    folder.put("table.txn", data);
    let error = HashTable::open(folder, options(100)).expect_err("damage").to_string();
    for part in ["table.txn", "line 2", &format!("byte offset {second}"), "checksum", "Restore"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let old = compacted();
    let new = old.after_kill();
    open(&new).compact().expect("room");
    for (name, broken) in [
        ("table.txn", old.contents("table.txn")),
        ("table.ckpt", old.contents("table.ckpt")),
        ("table.txn", None),
        ("table.ckpt", None),
    ] {
        let folder = new.after_kill();
        match broken {
            Some(data) => folder.put(name, data),
            None => folder.remove(name).expect("it is there"),
        }
        let error = HashTable::open(folder, options(100)).expect_err("a mixture");
        assert!(matches!(error, TableError::Mismatch { .. }), "{name}: {error}");
    }
    let cut = new.after_kill();
    let checkpoint = new.contents("table.ckpt").expect("it is there");
    let end = checkpoint[..checkpoint.len() - 1].iter().rposition(|b| *b == b'\n').expect("lines");
    cut.put("table.ckpt", checkpoint[..=end].to_vec());
    let error = HashTable::open(cut, options(100)).expect_err("half a checkpoint");
    assert!(matches!(error, TableError::Damaged { damage: Damage::NoEnd, .. }), "{error}");
    let foreign = MemFolder::new();
    foreign.put("table.ckpt", b"name,weight\nzebra,100\n".to_vec());
    let error = HashTable::open(foreign, options(100)).expect_err("another file").to_string();
    assert!(error.contains("found `name,weight`"), "{error}");
}

#[test]
fn a_file_that_is_gone_is_missed_from_the_first_record_on() {
    let folder = MemFolder::new();
    let table = open(&folder);
    table.commit(vec![insert("a", "1")]).expect("room");
    drop(table);
    for name in ["table.txn", "table.ckpt"] {
        let without = folder.after_kill();
        without.remove(name).expect("it is there");
        let error = HashTable::open(without, options(100)).expect_err("a file is missing");
        assert!(error.to_string().contains("is missing"), "{name}: {error}");
    }
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let folder = compacted();
    let table = open(&folder);
    let before = contents(&table);
    folder.set_capacity(Some(0));
    let error = table.commit(vec![insert("f", "1")]).expect_err("no room");
    assert!(matches!(&error, CommitError::Refused(why) if why.contains("table.txn")), "{error}");
    table.compact().expect_err("no room");
    assert!(!folder.names().contains(&"table.ckpt.new".to_owned()), "{:?}", folder.names());
    assert_eq!(contents(&table), before);
    assert_eq!(table.failure(), None);
    folder.set_capacity(None);
    table.commit(vec![insert("f", "1")]).expect("room");
    table.compact().expect("room");
    let now = contents(&table);
    assert_eq!(now.len(), before.len() + 1);
    assert_eq!(contents(&open(&folder.restart(&CrashChoice::default()))), now);
}

#[test]
fn a_full_table_refuses_and_goes_on_when_there_is_room() {
    let folder = compacted();
    let full = open(&folder).size().bytes + 100;
    let limited = Options { max_bytes: full, ..options(100) };
    let table = HashTable::open(folder.clone(), limited).expect("an intact folder").table;
    table.commit(vec![insert("f", "1")]).expect("room for a small one");
    let before = contents(&table);
    let error = table.commit(vec![insert("g", "1")]).expect_err("no room");
    assert!(matches!(&error, CommitError::Refused(why) if why.contains("is full")), "{error}");
    assert_eq!(contents(&table), before);
    table.commit(vec![remove("f")]).expect("what makes room needs none");
    table.commit(vec![insert("g", "1")]).expect("room again");
    assert!(table.size().bytes <= full);
}

#[test]
fn after_a_failed_sync_nothing_is_taken_any_more() {
    let folder = compacted();
    let table = open(&folder);
    let before = contents(&table);
    folder.fail_syncs(true);
    let error = table.commit(vec![insert("f", "1")]).expect_err("no sync");
    assert!(matches!(error, CommitError::Failed(_)), "{error}");
    folder.fail_syncs(false);
    let error = table.commit(vec![insert("g", "1")]).expect_err("it has failed");
    assert!(matches!(error, CommitError::Refused(_)), "{error}");
    assert!(matches!(table.compact(), Err(TableError::Failed(_))));
    assert!(table.failure().is_some_and(|why| why.contains("cannot sync table.txn")));
    assert_eq!(contents(&table), before);
}

#[test]
fn whoever_waits_is_served_by_one_sync() {
    let hooked = Hooked::default();
    let table =
        Arc::new(HashTable::open(hooked.clone(), options(100)).expect("an empty folder").table);
    let (entered, has_entered) = crossbeam_channel::bounded::<()>(1);
    let (release, released) = crossbeam_channel::bounded::<()>(0);
    let mut first = true;
    hooked.set(Some(Box::new(move || {
        if std::mem::take(&mut first) {
            entered.send(()).expect("the test waits");
            let _ = released.recv();
        }
    })));
    let commit = |key: String| {
        let table = Arc::clone(&table);
        std::thread::spawn(move || table.commit(vec![insert(&key, "1")]))
    };
    let mut threads = vec![commit("first".to_owned())];
    has_entered.recv().expect("the first one writes");
    threads.extend((0..20).map(|i| commit(format!("key {i}"))));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while table.waiting() < 20 {
        assert!(std::time::Instant::now() < deadline, "{} wait", table.waiting());
        std::thread::yield_now();
    }
    let steps = hooked.inner.steps();
    drop(release);
    for thread in threads {
        assert_eq!(thread.join().expect("a thread"), Ok(vec![Answer::Inserted]));
    }
    assert_eq!(hooked.inner.steps() - steps, 4, "two groups: each an append and a sync");
    assert_eq!(contents(&table).len(), 21);
}

#[test]
fn many_threads_and_a_compaction_without_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = HashTable::open(RealFolder::open(folder.path()).expect("it is ours"), options(1));
    let Opened { table, .. } = opened.expect("an empty folder");
    std::thread::scope(|scope| {
        let compactions = scope.spawn(|| {
            let mut count = 0;
            while table.wait_until_due() {
                match table.compact() {
                    Ok(()) => count += 1,
                    Err(error) => assert!(error.to_string().contains("interrupted"), "{error}"),
                }
            }
            count
        });
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let table = &table;
                scope.spawn(move || {
                    let mut known = Known::default();
                    for i in 0..40 {
                        let key = |i: u32| format!("{thread}.{}", i % 7);
                        let writes = [insert(&key(i), &i.to_string()), remove(&key(i * 3))];
                        commit(table, &mut known, &writes);
                        let mine = table.lookup(&key(i)).map(|e| e.value().to_owned());
                        assert_eq!(mine.as_ref(), known.model.get(&key(i)));
                    }
                    known.model
                })
            })
            .collect();
        let mut expected = Model::new();
        threads.into_iter().for_each(|t| expected.extend(t.join().expect("a thread")));
        table.close();
        assert!(compactions.join().expect("a thread") > 0);
        assert_eq!(contents(&table), expected);
    });
    let expected = contents(&table);
    drop(table);
    let opened = HashTable::open(RealFolder::open(folder.path()).expect("it is ours"), options(1));
    assert_eq!(contents(&opened.expect("it was left in order").table), expected);
}

#[test]
fn one_process_has_the_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = RealFolder::open(folder.path()).expect("it is ours");
    let error = RealFolder::open(folder.path()).expect_err("it is in use").to_string();
    assert!(error.contains("in use by another process"), "{error}");
    drop(first);
    RealFolder::open(folder.path()).expect("it is free again");
}
