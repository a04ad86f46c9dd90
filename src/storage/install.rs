//! A whole state from another replica, for one that is too far behind or has lost its disk.
//!
//! The other's file is shipped from its first line on. It is replayed into a new table and copied into a
//! replacement of the own file, both beside the old ones, without any lock; the old state goes on
//! answering reads. Only at the end do the replacement and the new table take their places, in this
//! order. The other replica's own notes (its starts, its pending messages) are left out; the own ones
//! are added. An installation that is dropped half-way has changed nothing.
//!
//! While it runs the replica must not deliver: what it would append belongs behind the new state.

use super::disk::{Disk, Replacement};
use super::error::{Damage, StorageError};
use super::journal::Progress;
use super::log_file::{Index, LogFile};
use super::record::{self, Body, Record};
use super::replay::Replay;
use crate::base::{KeptLog, LogEntry, ReplicaId, Timestamp};

/// How much is gathered before it is written.
const BUFFER: usize = 1 << 20;

/// A state on its way in.
#[derive(Debug)]
pub struct Install<D: Disk> {
    replay: Replay,
    replacement: D::Replacement,
    /// The number of the replacement.
    number: u64,
    buffer: Vec<u8>,
    /// The length of the replacement, with what is buffered.
    length: u64,
    index: Index,
    line: u64,
    path: String,
}

/// A state that is in the file and not yet in the [`super::Store`].
#[derive(Debug)]
pub struct Installed {
    pub(super) progress: Progress,
    pub(super) incarnation: u64,
    pub(super) file_len: u64,
}

impl<D: Disk> Install<D> {
    /// Begins a replacement beside the file. A compaction that is under way is thereby given up.
    pub fn begin(log: &mut LogFile<D>, hash_seed: u64) -> Result<Self, StorageError> {
        let (replacement, number) = log.begin_replacement()?;
        Ok(Self {
            replay: Replay::new(hash_seed),
            replacement,
            number,
            buffer: Vec::new(),
            length: 0,
            index: Index::default(),
            line: 0,
            path: log.path().to_owned(),
        })
    }

    /// How many operations the state holds so far.
    pub fn position(&self) -> u64 {
        self.replay.progress.position
    }

    /// Takes the next piece of the other's file: whole lines, without a gap to the piece before.
    pub fn absorb(&mut self, lines: &[u8]) -> Result<(), StorageError> {
        let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
        if lines.is_empty() {
            return Ok(());
        }
        for line in lines.split(|&byte| byte == b'\n') {
            self.line += 1;
            if self.replay.at_boundary() && self.replay.in_ordered_part() {
                self.index.note(self.replay.progress.position, self.length);
            }
            let taken = self.replay.take(line);
            let note = taken.map_err(|damage| self.shipped(damage))?;
            if !note {
                self.length += line.len() as u64 + 1;
                self.buffer.extend_from_slice(line);
                self.buffer.push(b'\n');
            }
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Puts the replacement in the file's place, durably. `pending` are the own broadcasts to keep noted;
    /// those that the shipped state has delivered are left out; `log_kept` is what is kept of a Raft log, and up to
    /// where the own state went when it was. Behind this, hand the result to
    /// [`super::Store::install`] before anything else is executed or written.
    pub fn finish(
        mut self,
        log: &mut LogFile<D>,
        incarnation: u64,
        pending: &[(Timestamp, &[u8])],
        log_kept: (Timestamp, &KeptLog),
    ) -> Result<Installed, StorageError> {
        if let Some(damage) = self.replay.missing() {
            return Err(self.shipped(damage));
        }
        let shipped = self.position();
        if shipped < log.position() {
            return Err(StorageError::Older { shipped, own: log.position() });
        }
        self.append_note(Body::Start { incarnation }, Timestamp::ZERO);
        let delivered = &self.replay.progress.delivered;
        let kept: Vec<_> = pending
            .iter()
            .filter(|(at, _)| delivered.get(&at.replica).is_none_or(|&time| at.time > time))
            .collect();
        for (at, message) in kept {
            self.append_note(Body::Pending { message: (*message).into() }, *at);
        }
        let (own, kept) = log_kept;
        let kept = kept.behind(own, self.replay.progress.last);
        if let Some(ballot) = kept.ballot {
            self.append_note(Body::Vote(ballot), Timestamp::ZERO);
        }
        for LogEntry { place, data } in &kept.entries {
            let before = self.buffer.len();
            let ts = Timestamp::new(place.time(), ReplicaId(0));
            let body = Body::Entry { data: data.into() };
            record::encode(&Record::new(body, place.index, ts), &mut self.buffer);
            self.length += (self.buffer.len() - before) as u64;
        }
        self.flush()?;
        self.replacement.sync().map_err(StorageError::io("sync the replacement of", &self.path))?;
        self.index.note(shipped, self.length);
        log.replace(self.replacement, self.number, self.index)?;
        log.position = shipped;
        Ok(Installed { progress: self.replay.progress, incarnation, file_len: self.length })
    }

    fn append_note(&mut self, body: Body<'_>, timestamp: Timestamp) {
        let before = self.buffer.len();
        record::encode(&Record::new(body, 0, timestamp), &mut self.buffer);
        self.length += (self.buffer.len() - before) as u64;
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        let appended = self.replacement.append(&self.buffer);
        appended.map_err(StorageError::io("write the replacement of", &self.path))?;
        self.buffer.clear();
        Ok(())
    }

    fn shipped(&self, damage: Damage) -> StorageError {
        StorageError::Shipped { line: self.line, damage }
    }
}
