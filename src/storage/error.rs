//! What can go wrong between the table and the disk, said so that a person knows what to do next.

use std::io;

use super::record::{RecordError, VERSION};

/// Why a line cannot be taken, wherever it came from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The line itself is broken.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// An ordered record is missing, or stands twice.
    #[error("expected the record of position {expected}, found that of position {found}")]
    Position {
        /// The position that had to follow.
        expected: u64,
        /// The position that stands there.
        found: u64,
    },
    /// The records of one operation are not all there.
    #[error("the records of position {position} are not complete")]
    Group {
        /// The position of the operation.
        position: u64,
    },
    /// The record at the position we share is not the one we have.
    #[error("position {position} is {found} there and {own} here: the two logs have diverged")]
    Diverged {
        /// The shared position.
        position: u64,
        /// The timestamp that was found.
        found: String,
        /// Our own timestamp.
        own: String,
    },
    /// There are fewer or more columns than a record of this kind has.
    #[error("expected the columns of a known kind of record")]
    Kind,
    /// A record says that more had been synced before it than there is.
    #[error("the record says that it follows {back} bytes of its group, which are not there")]
    Misplaced {
        /// How far the group goes back.
        back: u64,
    },
    /// A note stands where it makes no sense.
    #[error("a {name} line is out of place")]
    OutOfPlace {
        /// The first column of the line.
        name: &'static str,
    },
    /// The compacted part of the file does not reach its end mark.
    #[error("the compacted part ends without its #base line")]
    NoBase,
}

/// Why the store cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the folder.
    #[error(
        "{path} is in use by another process: stop that process, or choose another data folder"
    )]
    InUse {
        /// The lock file.
        path: String,
    },
    /// The file is something else.
    #[error(
        "{path} is not a storage file: expected a first line that starts with `#storage.txt v{VERSION}:`, \
         found `{found}`; move the file away to start with an empty store"
    )]
    NotStorage {
        /// The file.
        path: String,
        /// Its first bytes, escaped.
        found: String,
    },
    /// The file is no log of a participant.
    #[error(
        "{path} is not a log of this version: expected a first line that starts with `{expected}`, found \
         `{found}`; move the file away to start with an empty log"
    )]
    NotLog {
        /// The file.
        path: String,
        /// What every log begins with.
        expected: &'static str,
        /// Its first bytes, escaped.
        found: String,
    },
    /// The file is from another version of this program.
    #[error(
        "{path} has format version {found}, expected version {VERSION}: open it with the program that \
         wrote it, or move it away to start with an empty store"
    )]
    Version {
        /// The file.
        path: String,
        /// The version it says it has.
        found: String,
    },
    /// The file is damaged in its middle; nothing was changed on disk.
    #[error(
        "{path} is damaged at line {line}, byte offset {offset}: {damage}. Intact records may follow, so \
         nothing was cut off. Restore the file from a copy, or move it away: the replica then fetches the \
         whole state from a live one"
    )]
    Damaged {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: u64,
        /// Where the line begins.
        offset: u64,
        /// What is wrong with it.
        damage: Damage,
    },
    /// What another replica shipped cannot be taken.
    #[error("line {line} of the records shipped by another replica cannot be taken: {damage}")]
    Shipped {
        /// The line within what was shipped, counted from 1.
        line: u64,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A shipped state is older than the own one.
    #[error(
        "the shipped state ends at position {shipped}, but this replica is at {own}: keep the own state"
    )]
    Older {
        /// Where the shipped state ends.
        shipped: u64,
        /// Where this replica is.
        own: u64,
    },
    /// A compaction was given up because its caller wanted it so.
    #[error("the compaction was interrupted; the file is as it was")]
    Interrupted,
    /// A compaction or a transfer was begun on a file that has been replaced since.
    #[error("{path} was replaced meanwhile: start over")]
    Replaced {
        /// The file.
        path: String,
    },
}

impl StorageError {
    /// Names what was tried and on which file.
    pub(super) fn io(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> StorageError {
        let path = path.to_owned();
        move |source| StorageError::Io { action, path, source }
    }
}
