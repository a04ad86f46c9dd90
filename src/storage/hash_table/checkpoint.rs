//! The checkpoint: the whole table in one file, written beside running changes.

use super::entries::{Entries, Entry, Walk};
use super::error::Damage;
use super::folder::{AppendFile, Folder};
use super::line::{self, CheckpointLine, Kind};
use super::recover::{Line, each_line};
use super::{CKPT, CKPT_NEW, TableError};
use crate::storage::disk::Handle;
use crate::storage::record::shown;

/// How much is gathered before it is written.
const BUFFER: usize = 1 << 20;

/// How much is written before it is synced. Much more at once would make the log's syncs wait: a file system
/// may have to write the data of all files to commit one.
const SYNC_EVERY: usize = 4 << 20;

/// Writes a checkpoint that holds all of the logs up to `part`, durably but for its name; `step` hands out the
/// entries.
pub(super) fn write<F: Folder>(
    folder: &F,
    part: u64,
    mut walk: Walk,
    mut step: impl FnMut(&mut Walk, &mut Vec<Entry>) -> Result<bool, TableError>,
) -> Result<(), TableError> {
    let path = folder.path(CKPT_NEW);
    let result = (|| {
        let file = folder.create(CKPT_NEW).map_err(TableError::io("create", &path))?;
        let mut out = Output { file, path: &path, buffer: Vec::new(), unsynced: 0 };
        line::write_header(Kind::Checkpoint, part, &mut out.buffer);
        let (mut found, mut count) = (Vec::new(), 0);
        while step(&mut walk, &mut found)? {
            count += found.len() as u64;
            for entry in found.drain(..) {
                line::write_entry(&entry, &mut out.buffer);
            }
            out.flush_large()?;
        }
        line::write_end(count, &mut out.buffer);
        out.flush()?;
        out.sync()
    })();
    result.inspect_err(|_| {
        // A disk that is full needs the room; what stays is removed at the next try.
        let _ = folder.remove(CKPT_NEW);
    })
}

struct Output<'a, L> {
    file: L,
    path: &'a str,
    buffer: Vec<u8>,
    unsynced: usize,
}

impl<L: AppendFile> Output<'_, L> {
    fn flush_large(&mut self) -> Result<(), TableError> {
        if self.buffer.len() < BUFFER {
            return Ok(());
        }
        self.flush()?;
        if self.unsynced >= SYNC_EVERY { self.sync() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), TableError> {
        self.file.append(&self.buffer).map_err(TableError::io("write", self.path))?;
        self.unsynced += self.buffer.len();
        self.buffer.clear();
        self.buffer.shrink_to(2 * BUFFER);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), TableError> {
        self.unsynced = 0;
        self.file.handle().sync().map_err(TableError::io("sync", self.path))
    }
}

/// Why a checkpoint has not taken its place.
#[derive(Debug)]
pub(super) enum InstallError {
    /// It has not.
    Rename(TableError),
    /// It may have, and may be the old one again after a crash.
    Sync(TableError),
}

/// Gives a complete checkpoint its name, durably.
pub(super) fn install<F: Folder>(folder: &F) -> Result<(), InstallError> {
    let path = folder.path(CKPT_NEW);
    let renamed = folder.rename(CKPT_NEW, CKPT).map_err(TableError::io("rename", &path));
    renamed.map_err(InstallError::Rename)?;
    let synced = folder.sync().map_err(TableError::io("sync the folder of", &path));
    synced.map_err(InstallError::Sync)
}

/// Reads the checkpoint into an empty table; gives the part up to which it holds everything, `None` where
/// there is no checkpoint.
pub(super) fn read<F: Folder>(
    folder: &F,
    entries: &mut Entries,
) -> Result<Option<u64>, TableError> {
    let path = folder.path(CKPT);
    let file = folder.open(CKPT).map_err(TableError::io("open", &path))?;
    let Some(file) = file else { return Ok(None) };
    let (mut part, mut count, mut end) = (None, 0, None);
    let mut last = (1, 0);
    each_line(&file, &path, |line: Line<'_>| {
        last = (line.number, line.offset);
        if part.is_none() {
            part = line::parse_header(Kind::Checkpoint, line.text).filter(|_| line.whole);
            return part.map(|_| ()).ok_or_else(|| TableError::Header {
                path: path.clone(),
                expected: Kind::Checkpoint.example(),
                found: shown(line.text),
            });
        }
        let damaged = |damage| line.damaged(&path, damage);
        if end.is_some() {
            return Err(damaged(Damage::BehindEnd));
        }
        if !line.whole {
            return Err(damaged(Damage::Columns { expected: 3 }));
        }
        match line::parse_checkpoint(line.text).map_err(damaged)? {
            CheckpointLine::Entry(key, value) => {
                count += 1;
                entries.insert(Entry::new(&key, value));
            }
            CheckpointLine::End(expected) => {
                end = Some(expected);
                if expected != count {
                    return Err(damaged(Damage::Count { expected, found: count }));
                }
            }
        }
        Ok(())
    })?;
    if end.is_none() {
        let (line, offset) = last;
        return Err(TableError::Damaged { path, line, offset, damage: Damage::NoEnd });
    }
    Ok(part)
}
