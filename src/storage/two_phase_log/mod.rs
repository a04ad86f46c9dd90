//! `2pc.log`: what a participant of the two-phase commit lab has promised and done, so that it knows it again after
//! it was killed. Text, one record a line (see `line`), made for `cat` and `grep`.
//!
//! Records come in groups: a group is written at once and synced once, before anything that follows from it is said
//! to anybody ([`TwoPhaseLog::write`]). A start reads all of it and folds it into a [`Recovered`].
//!
//! **Torn or damaged.** The last group may be there in part: that was never told to anybody and is cut off. Damage
//! in front of what had been synced means that promises are lost; then the log is refused, with the line, and left
//! as it is. Every record says how far back its own group begins, so the two can be told apart even where the
//! later half of a group reached the disk and the earlier did not.
//!
//! **Compaction.** When more than half of the file is garbage, the state is written beside it, then what was
//! appended meanwhile, and the new file takes the old one's place in one step.
//!
//! Costs: the references to all keys and values are copied when a compaction begins; otherwise one block of
//! buffer. A disk that fails once is not used again.

mod line;

use super::disk::{Blocks, Disk, Handle, Replacement};
use super::error::{Damage, StorageError};
use super::record::shown;
use crate::protocol::two_phase::{Record, Recovered};

/// How much garbage there may be however little else there is.
const SPARE: u64 = 16 * 1024 * 1024;

/// How much is gathered before it is written, how much is copied at once, and how much of a buffer is kept.
const BUFFER: usize = 1 << 20;

/// The open log.
#[derive(Debug)]
pub struct TwoPhaseLog<D: Disk> {
    disk: D,
    buffer: Vec<u8>,
    /// How long the file would be without garbage, when that was last known.
    live: u64,
    failed: Option<&'static str>,
}

/// What opening gives.
#[derive(Debug)]
pub struct Opened<D: Disk> {
    /// The log.
    pub log: TwoPhaseLog<D>,
    /// What it says.
    pub recovered: Recovered,
    /// What was cut off.
    pub torn: Option<Torn>,
}

/// The end of a log that was being written when its process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The first line that was cut off, counted from 1.
    pub line: u64,
    /// Where the file was cut.
    pub offset: u64,
    /// How many bytes were cut off.
    pub bytes: u64,
    /// What was wrong with them.
    pub damage: Damage,
}

/// A compaction under way.
#[derive(Debug)]
pub struct Compaction<D: Disk> {
    state: Recovered,
    replacement: D::Replacement,
    path: String,
    buffer: Vec<u8>,
    written: u64,
    /// From here on, the old file holds what the state does not.
    cut: u64,
}

impl<D: Disk> TwoPhaseLog<D> {
    /// Reads the log of a disk, or begins one.
    ///
    /// # Errors
    /// The disk cannot be used, or holds something else, or is damaged.
    pub fn open(mut disk: D) -> Result<Opened<D>, StorageError> {
        let path = disk.path().to_owned();
        let mut found = Replay::default();
        found.read(&disk, &path)?;
        let torn = found.torn.take().map(|(line, offset, damage)| Torn {
            line,
            offset,
            bytes: disk.len() - offset,
            damage,
        });
        if let Some(torn) = &torn {
            disk.cut(torn.offset).map_err(StorageError::io("cut the torn tail off", &path))?;
        }
        if disk.is_empty() {
            let mut header = Vec::new();
            line::write_header(&mut header);
            disk.append(&header).map_err(StorageError::io("begin", &path))?;
        }
        // A process that was killed may have written it without syncing it; from here on it is relied upon.
        disk.handle().sync().map_err(StorageError::io("sync", &path))?;
        let recovered = found.state;
        let live = recovered.bytes() as u64;
        let log = Self { disk, live, buffer: Vec::new(), failed: None };
        Ok(Opened { log, recovered, torn })
    }

    /// Appends records and makes them durable; without any, does nothing.
    ///
    /// # Errors
    /// The disk fails. What it holds is not known then, and every later call fails too.
    pub fn write(&mut self, records: impl Iterator<Item = Record>) -> Result<(), StorageError> {
        self.check()?;
        for record in records {
            line::write(&record, 0, &mut self.buffer);
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        let appended = self.disk.append(&self.buffer).map_err(|error| ("append to", error));
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER);
        appended
            .and_then(|()| self.disk.handle().sync().map_err(|error| ("sync", error)))
            .map_err(|(action, error)| self.fail(action, error))
    }

    fn check(&self) -> Result<(), StorageError> {
        let again = || std::io::Error::other("it has failed before");
        let failed = |action| Err(StorageError::io(action, self.disk.path())(again()));
        self.failed.map_or(Ok(()), failed)
    }

    fn fail(&mut self, action: &'static str, error: std::io::Error) -> StorageError {
        self.failed = Some(action);
        StorageError::io(action, self.disk.path())(error)
    }

    /// The length of the file.
    pub fn len(&self) -> u64 {
        self.disk.len()
    }

    /// Whether nothing was ever written; never, because of the first line.
    pub fn is_empty(&self) -> bool {
        self.disk.is_empty()
    }

    /// Whether most of the file is garbage.
    pub fn wants_compaction(&self) -> bool {
        self.failed.is_none() && self.disk.len() > 2 * self.live + SPARE
    }

    /// Begins a compaction to `state`, which is what all records written so far amount to.
    ///
    /// # Errors
    /// The disk fails.
    pub fn begin_compaction(&mut self, state: Recovered) -> Result<Compaction<D>, StorageError> {
        self.check()?;
        let path = self.disk.path().to_owned();
        let replacement = self
            .disk
            .begin_replacement()
            .map_err(StorageError::io("begin the replacement of", &path))?;
        let cut = self.disk.len();
        Ok(Compaction { state, replacement, path, buffer: Vec::new(), written: 0, cut })
    }

    /// Ends a compaction that has run: the new file takes the old one's place.
    ///
    /// # Errors
    /// The disk fails.
    pub fn finish_compaction(&mut self, mut compaction: Compaction<D>) -> Result<(), StorageError> {
        self.check()?;
        let live = compaction.written;
        let (handle, end) = (self.disk.handle(), self.disk.len());
        let mut from = compaction.cut;
        while from < end {
            let most = usize::try_from(end - from).unwrap_or(BUFFER).min(BUFFER);
            let mut piece = vec![0; most];
            let read = handle.read_at(from, &mut piece);
            let read = read.map_err(StorageError::io("read", &compaction.path))?;
            if read == 0 {
                let short = std::io::ErrorKind::UnexpectedEof.into();
                return Err(StorageError::io("read", &compaction.path)(short));
            }
            compaction.append(&piece[..read])?;
            from += read as u64;
        }
        // After a rename that failed nobody knows which file a start would find.
        self.disk
            .commit(compaction.replacement)
            .map_err(|error| self.fail("put in place the replacement of", error))?;
        self.live = live;
        Ok(())
    }
}

impl<D: Disk> Compaction<D> {
    /// Writes the state. Needs no lock.
    ///
    /// # Errors
    /// The disk fails, or it is interrupted.
    pub fn run(&mut self, mut interrupted: impl FnMut() -> bool) -> Result<(), StorageError> {
        let state = std::mem::take(&mut self.state);
        line::write_header(&mut self.buffer);
        for record in state.records() {
            let group = self.buffer.len();
            line::write(&record, group, &mut self.buffer);
            if self.buffer.len() >= BUFFER {
                if interrupted() {
                    return Err(StorageError::Interrupted);
                }
                self.flush()?;
            }
        }
        self.flush()?;
        self.replacement.sync().map_err(StorageError::io("sync the replacement of", &self.path))
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        let buffer = std::mem::take(&mut self.buffer);
        self.append(&buffer)?;
        self.written += buffer.len() as u64;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.replacement
            .append(bytes)
            .map_err(StorageError::io("append to the replacement of", &self.path))
    }
}

/// A log being read.
#[derive(Debug, Default)]
struct Replay {
    state: Recovered,
    lines: u64,
    /// The first line that is none: its number, where it begins, and why.
    torn: Option<(u64, u64, Damage)>,
}

impl Replay {
    fn read<D: Disk>(&mut self, disk: &D, path: &str) -> Result<(), StorageError> {
        let mut blocks = Blocks::new(disk.handle(), path, 0, disk.len());
        while let Some((offset, lines)) = blocks.next()? {
            let mut at = 0;
            while at < lines.len() {
                let end = memchr::memchr(b'\n', &lines[at..]).map(|length| at + length);
                let text = &lines[at..end.unwrap_or(lines.len())];
                self.take(path, offset + at as u64, text, end.is_some())?;
                at = end.unwrap_or(lines.len()) + 1;
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        path: &str,
        offset: u64,
        text: &[u8],
        whole: bool,
    ) -> Result<(), StorageError> {
        self.lines += 1;
        if offset == 0 {
            return self.take_header(path, text, whole);
        }
        let damaged = |line, offset, damage| {
            Err(StorageError::Damaged { path: path.to_owned(), line, offset, damage })
        };
        let parsed = if whole { line::parse(text) } else { Err(Damage::Kind) };
        match (parsed, &self.torn) {
            (Ok((_, back)), _) if back > offset => {
                return damaged(self.lines, offset, Damage::Misplaced { back });
            }
            // What is missing or broken had been synced before this was written.
            (Ok((_, back)), Some((line, at, damage))) if offset - back > *at => {
                return damaged(*line, *at, damage.clone());
            }
            (Ok((record, _)), None) => self.state.apply(record),
            (Err(damage), None) => self.torn = Some((self.lines, offset, damage)),
            (Ok(_) | Err(_), Some(_)) => {}
        }
        Ok(())
    }

    fn take_header(&mut self, path: &str, text: &[u8], whole: bool) -> Result<(), StorageError> {
        if whole && line::is_header(text) {
            return Ok(());
        }
        let mut header = Vec::new();
        line::write_header(&mut header);
        if whole || !header.starts_with(text) {
            let (path, expected) = (path.to_owned(), line::HEADER);
            return Err(StorageError::NotLog { path, expected, found: shown(text) });
        }
        // It was being begun.
        self.torn = Some((1, 0, Damage::Kind));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
