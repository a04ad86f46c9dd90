//! Compaction: when it is due, and its three steps (see the module's header for why they are right).

use std::sync::PoisonError;

use super::commit::Gate;
use super::folder::Folder;
use super::{HashTable, NEXT, TXN, TableError, checkpoint, lock, log};

impl Gate {
    /// The log has passed its bound, or a compaction was begun and not ended.
    pub(super) fn compaction_is_due(&self, after: u64) -> bool {
        self.before.is_some() || self.entries > after
    }
}

impl<F: Folder> HashTable<F> {
    /// Waits until the log holds more than `compact_after` records (or a compaction was left unfinished); `false`
    /// once [`HashTable::close`] has been called.
    ///
    /// A compaction costs as much as the table is large. Whoever calls [`HashTable::compact`] in a loop bounds
    /// its share of the time by pausing in between; the log is then longer than the bound.
    pub fn wait_until_due(&self) -> bool {
        let mut gate = lock(&self.gate);
        while !gate.closed && !gate.compaction_is_due(self.options.compact_after) {
            gate = self.due.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
        !gate.closed
    }

    /// Ends the wait for a compaction, and one that is under way at its next step.
    pub fn close(&self) {
        lock(&self.gate).closed = true;
        self.due.notify_all();
    }

    fn check_open(&self) -> Result<(), TableError> {
        self.check()?;
        if lock(&self.gate).closed {
            return Err(crate::storage::StorageError::Interrupted.into());
        }
        Ok(())
    }

    /// Writes a checkpoint and drops the log before it.
    ///
    /// # Errors
    /// The table goes on as it was, and what has been done of it is done: a later call carries on. Only
    /// [`TableError::Failed`] is final.
    pub fn compact(&self) -> Result<(), TableError> {
        let _only_one = lock(&self.compacting);
        self.check_open()?;
        let part = match self.between_groups(|log| (log.part, log.before)) {
            // Step 1 was done before.
            (part, Some(_)) => part,
            (part, None) => {
                self.turn_to_next(part + 1)?;
                part + 1
            }
        };
        let walk = self.walk();
        checkpoint::write(&self.folder, part - 1, walk, |walk, out| {
            self.check_open()?;
            Ok(self.step(walk, out))
        })?;
        checkpoint::install(&self.folder).map_err(|error| self.unsure_of_names(error))?;
        let path = self.folder.path(NEXT);
        self.folder.rename(NEXT, TXN).map_err(TableError::io("rename", &path))?;
        let synced = self.folder.sync().map_err(TableError::io("sync the folder of", &path));
        synced.map_err(|error| self.fail(error))?;
        self.between_groups(|log| log.renamed(&self.folder));
        Ok(())
    }

    /// Step 1: from here on groups are appended to this part.
    fn turn_to_next(&self, part: u64) -> Result<(), TableError> {
        let begun = log::begin_next(&self.folder, part).and_then(|next| {
            let path = self.folder.path(NEXT);
            self.folder.sync().map_err(TableError::io("sync the folder of", &path))?;
            Ok(next)
        });
        let next = begun.inspect_err(|_| {
            // Nothing depends on it yet; if it stays, recovery finds it empty.
            let _ = self.folder.remove(NEXT);
        })?;
        self.between_groups(|log| log.turn_to(&self.folder, next));
        Ok(())
    }

    /// After a failed sync of the folder nobody knows which names the disk holds.
    fn unsure_of_names(&self, error: checkpoint::InstallError) -> TableError {
        match error {
            checkpoint::InstallError::Rename(error) => error,
            checkpoint::InstallError::Sync(error) => self.fail(error),
        }
    }

    fn fail(&self, error: TableError) -> TableError {
        let why = error.to_string();
        let _ = self.failed.set(why.clone());
        TableError::Failed(why)
    }
}
