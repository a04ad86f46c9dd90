//! The open `storage.txt`: appends, and the shipping of its suffix to a replica that is behind.
//!
//! Lives behind its own lock, apart from the replica's. Whoever has that lock is the file's one writer.
//! A sync needs no lock ([`LogFile::sync_handle`]), and neither does the long part of a compaction.
//!
//! A sparse index (position -> offset, one entry for about 64 KiB of file) finds where a suffix begins.
//! Offsets are only good for one *generation* of the file: each replacement (compaction, installation)
//! begins a new one, and a reader with an older one is told to locate again.

use super::disk::{Disk, Handle};
use super::error::StorageError;
use super::journal::Batch;
use super::record;

/// How far apart entries of the index are, at the least.
const INDEX_STEP: u64 = 64 * 1024;

/// Position -> offset, for the ordered part of the file.
#[derive(Debug, Default, Clone)]
pub(super) struct Index {
    /// `(position, offset)`: the operations after `position` begin at `offset` or behind it.
    places: Vec<(u64, u64)>,
}

impl Index {
    /// Notes that all operations up to `position` end before `offset`, where that helps.
    pub fn note(&mut self, position: u64, offset: u64) {
        let far_enough = self.places.last().is_none_or(|&(_, last)| offset >= last + INDEX_STEP);
        if far_enough {
            self.places.push((position, offset));
        }
    }

    /// Where to begin reading for the operations after `position`; `None` where they are not all there.
    fn locate(&self, position: u64) -> Option<u64> {
        let behind = self.places.partition_point(|&(place, _)| place <= position);
        self.places[..behind].last().map(|&(_, offset)| offset)
    }

    /// The index of the file that a compaction made: the part behind `cut` moves to `start`.
    pub fn moved(&self, base_position: u64, cut: u64, start: u64) -> Index {
        let mut moved = Index { places: vec![(base_position, start)] };
        let tail = self.places.iter().filter(|&&(_, offset)| offset > cut);
        tail.for_each(|&(position, offset)| moved.note(position, offset - cut + start));
        moved
    }
}

/// Where the suffix after a position begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// The generation of the file that the offset is good for.
    pub generation: u64,
    /// Where to begin reading.
    pub offset: u64,
    /// Whether the whole file must be shipped, because compaction has dropped what was asked for. The
    /// receiver then needs an [`super::Install`] instead of [`super::Store::absorb`].
    pub full: bool,
}

/// A piece of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whole lines, and whole groups of them.
    pub bytes: Vec<u8>,
    /// Where the next piece begins.
    pub next: u64,
    /// Whether that is the end of the file at this moment.
    pub end: bool,
}

/// The open file, for its one writer.
#[derive(Debug)]
pub struct LogFile<D: Disk> {
    pub(super) disk: D,
    pub(super) index: Index,
    pub(super) generation: u64,
    pub(super) position: u64,
    pub(super) written: u64,
    /// How many replacements have been begun; only the last can become the file.
    pub(super) begun: u64,
    /// Set once a replacement failed half-way: nobody knows which file a restart will find.
    pub(super) broken: bool,
}

impl<D: Disk> LogFile<D> {
    pub(super) fn new(disk: D, index: Index, position: u64) -> Self {
        Self { disk, index, generation: 1, position, written: 0, begun: 0, broken: false }
    }

    /// What to call the file in messages.
    pub fn path(&self) -> &str {
        self.disk.path()
    }

    /// The length in bytes.
    pub fn len(&self) -> u64 {
        self.disk.len()
    }

    /// Never: a storage file has at least its first line.
    pub fn is_empty(&self) -> bool {
        self.disk.is_empty()
    }

    /// The position of the last operation in the file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The log offset up to which everything is in the file.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Appends a batch, whole or not at all. Batches come in the order in which the store handed them
    /// out. One that is older than an installed state is dropped: that state holds what it says.
    pub fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.check_usable()?;
        if !batch.bytes.is_empty() && batch.position >= self.position {
            self.index.note(self.position, self.disk.len());
            let appended = self.disk.append(&batch.bytes);
            appended.map_err(StorageError::io("append to", self.disk.path()))?;
            self.position = batch.position;
        }
        self.written = self.written.max(batch.end);
        Ok(())
    }

    pub(super) fn check_usable(&self) -> Result<(), StorageError> {
        if !self.broken {
            return Ok(());
        }
        let source = std::io::Error::other("an earlier replacement of the file failed; restart");
        Err(StorageError::Io { action: "go on with", path: self.path().to_owned(), source })
    }

    /// Begins a replacement, and gives its number. One that is under way is thereby given up.
    pub(super) fn begin_replacement(&mut self) -> Result<(D::Replacement, u64), StorageError> {
        self.check_usable()?;
        // Counted in any case: the one before is lost even where this one cannot be had.
        self.begun += 1;
        let begun = self.disk.begin_replacement();
        let replacement = begun.map_err(StorageError::io("begin a replacement of", self.path()))?;
        Ok((replacement, self.begun))
    }

    /// Makes a synced replacement the file; `index` describes it.
    pub(super) fn replace(
        &mut self,
        replacement: D::Replacement,
        number: u64,
        index: Index,
    ) -> Result<(), StorageError> {
        if number != self.begun {
            return Err(StorageError::Replaced { path: self.path().to_owned() });
        }
        let committed = self.disk.commit(replacement);
        self.broken = committed.is_err();
        committed.map_err(StorageError::io("replace", self.disk.path()))?;
        self.index = index;
        self.generation += 1;
        Ok(())
    }

    /// A handle to sync with, without this file's lock: take it after the write that it is to cover.
    pub fn sync_handle(&self) -> D::Handle {
        self.disk.handle()
    }

    /// Where the operations after `position` begin.
    pub fn locate(&self, after_position: u64) -> Located {
        let generation = self.generation;
        match self.index.locate(after_position) {
            Some(offset) => Located { generation, offset, full: false },
            None => Located { generation, offset: 0, full: true },
        }
    }

    /// Reads whole groups of lines from `offset` on, about `max_bytes` of them, but at least one group.
    /// `None` where the file has been replaced since that generation: locate again.
    pub fn read_chunk(
        &self,
        generation: u64,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Option<Chunk>, StorageError> {
        if generation != self.generation || offset > self.disk.len() {
            return Ok(None);
        }
        let (handle, len) = (self.disk.handle(), self.disk.len());
        let mut bytes = Vec::new();
        let mut wanted = max_bytes.max(1);
        loop {
            read_to(&handle, offset, wanted.min(to_usize(len - offset)), &mut bytes)
                .map_err(StorageError::io("read", self.disk.path()))?;
            let at_end = offset + bytes.len() as u64 >= len || bytes.len() < wanted;
            let whole = whole_groups(&bytes);
            if whole > 0 || at_end {
                bytes.truncate(whole);
                let next = offset + whole as u64;
                return Ok(Some(Chunk { bytes, next, end: whole == 0 || next >= len }));
            }
            wanted = wanted.saturating_mul(2);
        }
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Reads until `bytes` holds `wanted` bytes or the file ends.
fn read_to<H: Handle>(
    handle: &H,
    offset: u64,
    wanted: usize,
    bytes: &mut Vec<u8>,
) -> std::io::Result<()> {
    let mut filled = bytes.len();
    bytes.resize(wanted.max(filled), 0);
    while filled < bytes.len() {
        match handle.read_at(offset + filled as u64, &mut bytes[filled..])? {
            0 => break,
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    Ok(())
}

/// How many bytes at the front are whole lines that do not end within a group.
fn whole_groups(bytes: &[u8]) -> usize {
    let mut end = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
    while end > 0 {
        let start = memchr::memrchr(b'\n', &bytes[..end - 1]).map_or(0, |at| at + 1);
        if !record::says_more(&bytes[start..end - 1]) {
            return end;
        }
        end = start;
    }
    0
}
