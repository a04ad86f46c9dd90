//! What a replica keeps: the table in memory, and `storage.txt`, the append-only text file from which
//! the table is rebuilt at start-up.
//!
//! ```text
//! decide     what an operation answers, given the entry it meets       (pure)
//! entry      one entry, packed into one allocation
//! table      the key-value state machine                               (pure, deterministic)
//! session    what a client's session remembers, as an entry's value  (pure)
//! glob       the patterns of KEYS                                      (pure)
//! escape     bytes <-> printable text                                  (pure)
//! record     one line of storage.txt <-> one Record                    (pure)
//! journal    Store: table + position + the lines not written yet       (pure; under the replica's lock)
//! replay     lines -> table; start-up, torn tails, damage
//! merge      the same table without one order: the latest version of each key wins
//! install    a whole state from another replica, built beside the old
//! log_file   the open file: appends, sparse index, chunks to ship      (behind its own lock)
//! compact    drops the garbage beside running appends
//! disk       the Disk trait and the real disk; mem_disk: one in memory that crashes on demand
//! hash_table another store: a table with a log and a checkpoint, for the cluster lab
//! two_phase_log  what a participant of the two-phase commit lab has promised and done
//! ```
//!
//! A write's way: [`Store::execute`] changes the table and appends its records to a buffer, under the
//! replica's lock; whoever holds the file takes that buffer ([`Store::take_unwritten`]) and appends it
//! ([`LogFile::write`]); a sync goes through [`LogFile::sync_handle`] and needs neither lock.
//!
//! Nothing here asks for the time or for random numbers: both come as arguments.

pub mod compact;
mod decide;
pub mod disk;
mod entry;
pub mod error;
mod escape;
pub mod glob;
pub mod hash_table;
pub mod install;
pub mod journal;
pub mod log_file;
pub mod mem_disk;
pub mod merge;
pub mod record;
pub mod replay;
pub mod session;
pub mod table;
pub mod two_phase_log;

pub use compact::{Compacted, Compaction, Finish};
pub use disk::{Disk, Handle, RealDisk, Replacement};
pub use error::{Damage, StorageError};
pub use install::{Install, Installed};
pub use journal::{Absorbed, Batch, COMPACT_ABOVE, Store};
pub use log_file::{Chunk, Located, LogFile};
pub use mem_disk::MemDisk;
pub use replay::{Opened, Report, TornTail, open, open_as, replay_bytes};
pub use table::{Change, Found, Table};
