//! A hash table that survives crashes: keys and JSON values in memory, and in one folder the files from
//! which they are rebuilt.
//!
//! ```text
//! table.txn         the log: one record a change, synced before the table changes
//! table.ckpt        the checkpoint: the table as of the end of an earlier log
//! table.txn.next    while a compaction runs: the log of what comes after table.txn
//! table.ckpt.new    while a compaction runs: the next checkpoint; never read
//! lock              held by the process that has the folder
//! ```
//! **A change's way** ([`HashTable::commit`]): it joins the queue; whoever finds nobody writing takes all that
//! has gathered, appends it to the log in one write, syncs once, changes the table and wakes the others
//! (group commit). For one client that is one append and one fdatasync by its own thread. No reader sees
//! what is not durable.
//!
//! **Compaction** ([`HashTable::compact`]), off the path of requests:
//!
//! 1. An empty `table.txn.next` is made durable; then, between two groups, appends are turned to it.
//! 2. The table is written to `table.ckpt.new` piece by piece beside running changes, synced, and renamed to
//!    `table.ckpt`.
//! 3. `table.txn.next` is renamed to `table.txn`, which drops the old log.
//!
//! Each rename is made durable before the next step. **Recovery** ([`HashTable::open`]) reads the checkpoint,
//! then `table.txn`, then `table.txn.next` where there is one, and leaves the rest of the compaction to the
//! background.
//!
//! **Why a checkpoint of a moving table is right.** A record says what a key has, not how it changed; so
//! replaying records over any state leaves, for each key they name, what its last record says. Take a key
//! when all is replayed. If `next` names it, it has what `next` says last. If not, but the old log names
//! it, it has what that says last, and nothing changed it since. If neither names it, it did not change
//! while the checkpoint was written; the walk met it exactly once (see `entries.rs`) and wrote what it
//! has. A key that moves under the walk is named by `next`, so whether it stands in the checkpoint twice or
//! not at all does not matter. After step 3 the old log is gone: all it says had been applied before the
//! walk began, because appends are turned over only between groups, so the first and the third case are
//! the only ones left. This holds whether the crash falls before or after either rename.
//!
//! The files carry the number of their *part*, so that files which do not belong together are refused.
//!
//! **Costs.** A compaction writes the whole table, however short the log is; who calls it bounds how often
//! (see [`HashTable::wait_until_due`]). Memory: the table, about 80 bytes an entry beside its text, up to
//! [`Options::max_bytes`]; one group (16 MiB and one batch). Start-up reads both files once.
//!
//! **When the disk fails.** An append that fails is undone, durably, and its changes are refused: they did not
//! happen. After a failed sync, or an append that cannot be undone, nobody knows what the disk holds; the
//! table takes no change any more and says why ([`HashTable::failure`]).

mod checkpoint;
mod commit;
mod compact;
mod entries;
mod error;
mod folder;
mod line;
mod log;
mod mem_folder;
mod recover;

pub use commit::{Answer, CommitError, Write};
pub use entries::{Entry, Walk};
pub use error::{Damage, TableError};
pub use folder::{AppendFile, Folder, RealFolder};
pub use mem_folder::{CrashChoice, MemFile, MemFolder};
pub use recover::{Opened, Report, Torn};

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use self::commit::Gate;
use self::entries::Entries;
use self::log::Log;

/// The log's name.
const TXN: &str = "table.txn";
/// The log's name until the compaction that it was begun for has ended.
const NEXT: &str = "table.txn.next";
/// The checkpoint's name.
const CKPT: &str = "table.ckpt";
/// The checkpoint's name until it is complete.
const CKPT_NEW: &str = "table.ckpt.new";

/// The table; all threads share it.
pub struct HashTable<F: Folder> {
    folder: F,
    entries: RwLock<Entries>,
    /// Held by whoever writes a group, from the append until the table has changed.
    log: Mutex<Log<F::File>>,
    gate: Mutex<Gate>,
    /// Where those wait who are served by an even or an odd group.
    served: [Condvar; 2],
    /// Where a compaction waits for the end of a group.
    between: Condvar,
    /// Signalled when a compaction becomes due, or none is wanted any more.
    due: Condvar,
    /// One compaction at a time.
    compacting: Mutex<()>,
    failed: OnceLock<String>,
    options: Options,
}

/// How a table is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Keeps clients from choosing colliding keys; changes no result.
    pub hash_seed: u64,
    /// A compaction is due when the log holds more than so many records.
    pub compact_after: u64,
    /// How much memory the entries may take (about; see [`Size::bytes`]). What would need more is refused.
    pub max_bytes: usize,
}

/// What there is to know about a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How many entries there are.
    pub entries: usize,
    /// About how much memory they take, in bytes.
    pub bytes: usize,
    /// How many records a restart would replay over the checkpoint.
    pub log_entries: u64,
}

impl<F: Folder> HashTable<F> {
    /// The entry of a key.
    pub fn lookup(&self, key: &str) -> Option<Entry> {
        self.read().get(key).cloned()
    }

    /// Begins a walk through all entries; every key that is there throughout is met exactly once.
    pub fn walk(&self) -> Walk {
        self.read().walk()
    }

    /// Appends the next entries of a walk to `out`; `false` at its end.
    pub fn step(&self, walk: &mut Walk, out: &mut Vec<Entry>) -> bool {
        self.read().step(walk, out)
    }

    /// How large it is.
    pub fn size(&self) -> Size {
        let log_entries = lock(&self.gate).log_entries();
        let entries = self.read();
        Size { entries: entries.len(), bytes: entries.bytes(), log_entries }
    }

    /// Why it can take no change any more.
    pub fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    fn check(&self) -> Result<(), TableError> {
        self.failure().map_or(Ok(()), |why| Err(TableError::Failed(why.to_owned())))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Entries> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Folder> std::fmt::Debug for HashTable<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HashTable").field("size", &self.size()).finish_non_exhaustive()
    }
}

/// Locks, also after a panic elsewhere: threads do not panic by design, and if one did, the others finish.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
