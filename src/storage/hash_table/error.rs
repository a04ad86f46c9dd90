//! What can go wrong with a hash table's files, said so that a person knows what to do next.

use crate::storage::error::StorageError;
use crate::storage::record::RecordError;

/// Why a line cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Too few or too many columns, or the line breaks off.
    #[error("expected {expected} columns separated by tabs")]
    Columns {
        /// How many there should be.
        expected: usize,
    },
    /// The checksum or a column is wrong.
    #[error(transparent)]
    Record(RecordError),
    /// A key or a value that is no text.
    #[error("column {name} is no UTF-8")]
    NoText {
        /// The column.
        name: &'static str,
    },
    /// A record says that more had been synced than there is in front of it.
    #[error("the record was written behind byte {synced}, but it stands in front of it")]
    Misplaced {
        /// Where the record's group began.
        synced: u64,
    },
    /// Something follows the end of the checkpoint.
    #[error("something follows the #end line")]
    BehindEnd,
    /// The checkpoint breaks off.
    #[error("the #end line is missing")]
    NoEnd,
    /// The checkpoint does not hold as many entries as it says.
    #[error("the #end line says {expected} entries, there are {found}")]
    Count {
        /// What the line says.
        expected: u64,
        /// What was counted.
        found: u64,
    },
}

impl From<RecordError> for Damage {
    fn from(error: RecordError) -> Self {
        match error {
            // The columns of this file, not those of storage.txt.
            RecordError::Columns => Self::Columns { expected: 4 },
            other => Self::Record(other),
        }
    }
}

/// Why a hash table cannot be opened, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The disk refused, or another process has the folder.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A file is something else, or of another version.
    #[error(
        "{path} is not a file of this program's version: expected a first line like `{expected}`, \
         found `{found}`; open it with the program that wrote it, or move the folder away to start \
         with an empty table"
    )]
    Header {
        /// The file.
        path: String,
        /// What its first line should be like.
        expected: String,
        /// What it is, escaped.
        found: String,
    },
    /// A file is damaged in its middle; nothing was changed on disk.
    #[error(
        "{path} is damaged at line {line}, byte offset {offset}: {damage}. Intact records may follow, \
         so nothing was cut off. Restore the folder from a copy, or move it away to start with an \
         empty table"
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
    /// The files do not belong together: one is missing, or from another time.
    #[error(
        "{path}: {what}. The files of a folder belong together; restore all of them from one copy, or \
         move the folder away to start with an empty table"
    )]
    Mismatch {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// After a failed sync nobody knows what the disk holds.
    #[error("cannot go on: {0}")]
    Failed(String),
}

impl TableError {
    /// Names what was tried and on which file.
    pub(super) fn io(
        action: &'static str,
        path: &str,
    ) -> impl FnOnce(std::io::Error) -> TableError {
        let path = path.to_owned();
        move |source| TableError::Storage(StorageError::Io { action, path, source })
    }
}
