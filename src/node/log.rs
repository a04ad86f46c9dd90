//! Carrying out what a node wants done to its `storage.txt`, on any disk.
//!
//! Both kinds of driver use this: the runtime on the real disk, behind the file's lock, and the drivers in
//! virtual time on disks in memory. So what an installation does, and which faults are the peer's and
//! which the own disk's, is the same in all of them.

use super::{InstallStep, LogWrite};
use crate::storage::{Disk, Install, Installed, LogFile, StorageError};
use crate::wire::peer::{Chunk, Fetch};

/// What came of an installation: the node is to be told ([`super::Node::installed`] or
/// [`super::Node::install_failed`]).
pub type InstallResult = Result<Installed, String>;

/// A node's log file, and the installation that may be under way beside it.
#[derive(Debug)]
pub struct NodeLog<D: Disk> {
    /// The file.
    pub file: LogFile<D>,
    install: Option<Install<D>>,
    hash_seed: u64,
}

impl<D: Disk> NodeLog<D> {
    /// The log in this file; tables that are installed are seeded with `hash_seed`.
    pub fn new(file: LogFile<D>, hash_seed: u64) -> Self {
        Self { file, install: None, hash_seed }
    }

    /// Whether an installation is under way.
    pub fn is_installing(&self) -> bool {
        self.install.is_some()
    }

    /// Does one thing. Gives the end of an installation, good or bad.
    ///
    /// # Errors
    /// The own disk has failed. That a peer's state cannot be taken is no error but a result.
    pub fn carry_out(&mut self, write: LogWrite) -> Result<Option<InstallResult>, StorageError> {
        let step = match write {
            LogWrite::Append(batch) => {
                self.file.write(&batch)?;
                return Ok(None);
            }
            LogWrite::Install(step) => step,
        };
        let result = match step {
            InstallStep::Begin => {
                self.install = Some(Install::begin(&mut self.file, self.hash_seed)?);
                return Ok(None);
            }
            InstallStep::Abandon => {
                self.install = None;
                return Ok(None);
            }
            InstallStep::Lines(lines) => match &mut self.install {
                Some(install) => install.absorb(&lines).map(|()| None),
                None => Ok(None),
            },
            InstallStep::Finish { incarnation, pending, own, kept } => match self.install.take() {
                Some(install) => {
                    let pending: Vec<_> = pending.iter().map(|(ts, b)| (*ts, &b[..])).collect();
                    let finished =
                        install.finish(&mut self.file, incarnation, &pending, (own, &kept));
                    finished.map(Some)
                }
                None => Ok(None),
            },
        };
        match result {
            Ok(installed) => Ok(installed.map(Ok)),
            Err(error @ (StorageError::Shipped { .. } | StorageError::Older { .. })) => {
                self.install = None;
                Ok(Some(Err(error.to_string())))
            }
            Err(error) => Err(error),
        }
    }

    /// The part of the file that a peer asks for, about `size` bytes of it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_chunk(&self, fetch: Fetch, size: usize) -> Result<Chunk, StorageError> {
        if fetch.generation != 0
            && let Some(chunk) = self.file.read_chunk(fetch.generation, fetch.offset, size)?
        {
            return Ok(Chunk {
                generation: fetch.generation,
                next: chunk.next,
                first: false,
                full: false,
                end: chunk.end,
                lines: chunk.bytes,
            });
        }
        let located = self.file.locate(fetch.after);
        let chunk = self.file.read_chunk(located.generation, located.offset, size)?;
        let (lines, next, end) = chunk.map_or((Vec::new(), 0, true), |c| (c.bytes, c.next, c.end));
        Ok(Chunk {
            generation: located.generation,
            next,
            first: true,
            full: located.full,
            end,
            lines,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{self, MemDisk};

    fn log(disk: &MemDisk) -> NodeLog<MemDisk> {
        NodeLog::new(storage::open(disk.clone(), 7).expect("an empty disk opens").log, 7)
    }

    #[test]
    fn a_peers_damaged_state_is_its_fault_and_leaves_the_own_file_alone() {
        let disk = MemDisk::new();
        let mut log = log(&disk);
        let before = disk.contents();
        let begun = log.carry_out(LogWrite::Install(InstallStep::Begin));
        assert!(begun.expect("the disk works").is_none());
        let lines = b"not a line of storage.txt\n".to_vec();
        let ended = log.carry_out(LogWrite::Install(InstallStep::Lines(lines)));
        assert!(matches!(ended, Ok(Some(Err(_)))), "the node is told: {ended:?}");
        assert!(!log.is_installing());
        assert_eq!(disk.contents(), before);
    }

    #[test]
    fn an_own_disk_that_fails_is_an_error() {
        let disk = MemDisk::new();
        let mut log = log(&disk);
        disk.set_capacity(Some(disk.contents().len()));
        let batch = storage::Batch { bytes: b"x\n".to_vec(), end: 2, position: 0 };
        assert!(log.carry_out(LogWrite::Append(batch)).is_err());
    }
}
