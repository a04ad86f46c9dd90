//! The open log: groups of records, appended and synced.

use super::commit::{CommitError, Write};
use super::folder::{AppendFile, Folder};
use super::line::{self, Kind};
use super::{NEXT, TXN, TableError};
use crate::storage::disk::Handle;

/// How much of the buffer is kept between groups.
const KEPT: usize = 1 << 20;

/// The file that groups are appended to.
#[derive(Debug)]
pub(super) struct Log<L> {
    file: L,
    path: String,
    /// Its number in the sequence of logs.
    pub part: u64,
    /// How many records it holds.
    pub entries: u64,
    /// Its name is `table.txn.next`, and so many records stand in `table.txn` before it.
    pub before: Option<u64>,
    buffer: Vec<u8>,
}

/// Begins an empty log under the name of the next one, durably but for its name.
pub(super) fn begin_next<F: Folder>(folder: &F, part: u64) -> Result<F::File, TableError> {
    let path = folder.path(NEXT);
    let mut file = folder.create(NEXT).map_err(TableError::io("create", &path))?;
    let mut header = Vec::new();
    line::write_header(Kind::Log, part, &mut header);
    file.append(&header).map_err(TableError::io("begin", &path))?;
    file.handle().sync().map_err(TableError::io("sync", &path))?;
    Ok(file)
}

impl<L: AppendFile> Log<L> {
    pub(super) fn new(file: L, path: String, part: u64, entries: u64, before: Option<u64>) -> Self {
        Self { file, path, part, entries, before, buffer: Vec::new() }
    }

    /// Turns to the next part; the file so far has the name `table.txn`.
    pub(super) fn turn_to<F: Folder<File = L>>(&mut self, folder: &F, next: L) {
        self.file = next;
        self.path = folder.path(NEXT);
        self.part += 1;
        self.before = Some(std::mem::take(&mut self.entries));
    }

    /// The file has become `table.txn`.
    pub(super) fn renamed<F: Folder<File = L>>(&mut self, folder: &F) {
        self.path = folder.path(TXN);
        self.before = None;
    }

    /// Appends a group and syncs it.
    ///
    /// # Errors
    /// [`CommitError::Refused`]: nothing has happened. [`CommitError::Failed`]: it may be in the file or not, and
    /// the file cannot be used any more.
    pub(super) fn write<'a>(
        &mut self,
        writes: impl Iterator<Item = &'a Write>,
    ) -> Result<(), CommitError> {
        let synced = self.file.len();
        let mut records = 0;
        self.buffer.clear();
        for write in writes {
            records += 1;
            let (key, value) = match write {
                Write::Insert(entry) => (entry.key(), Some(entry.value())),
                Write::Remove(key) => (&**key, None),
            };
            line::write_log(key, value, synced, &mut self.buffer);
        }
        let appended = self.file.append(&self.buffer);
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        if let Err(error) = appended {
            // A part of it may be on its way to the disk, and must not come back after a crash.
            self.file.cut(synced).map_err(|cut| {
                let path = &self.path;
                CommitError::Failed(format!(
                    "cannot append to {path}: {error}; nor undo what was appended: {cut}"
                ))
            })?;
            return Err(CommitError::Refused(format!("cannot append to {}: {error}", self.path)));
        }
        self.file
            .handle()
            .sync()
            .map_err(|error| CommitError::Failed(format!("cannot sync {}: {error}", self.path)))?;
        self.entries += records;
        Ok(())
    }
}
