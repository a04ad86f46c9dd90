//! Compaction: drops the garbage of `storage.txt` beside running appends.
//!
//! The file up to a *cut* is read again; of its records only those are kept that still hold their key's
//! entry. Behind them a `#base` line says up to which position everything is accounted for; then follows
//! the rest of the old file, as it is.
//!
//! ```text
//! old:  header | records .............. | cut | records appended meanwhile
//! new:  header, compacted  | kept .. | #start, #pending, #vote, #entry | #base | the same records
//! ```
//! Pass 1 ([`Compaction::run`]) needs no lock but the replica's, shortly, once for each batch of 256
//! records. Pass 2 ([`LogFile::finish_compaction`]) needs the file's writer: it copies what was appended
//! meanwhile, syncs and renames. A crash at any instant leaves the old or the new file, both complete.
//!
//! **The trap.** Liveness is asked of the table, and the table may be ahead of the file: the record that
//! made an old one garbage may still be in a buffer. Were the new file to become visible before that
//! record is written, a crash between the two would lose both. So pass 2 waits ([`Finish::NotYet`]) until
//! the file holds every operation that the table had executed when it was last asked.
//!
//! Deleted keys vanish altogether. Cost: one read and at most one write of the file; memory: one block,
//! and the pending messages.

use std::collections::BTreeMap;

use super::disk::{Blocks, Disk, Handle, Replacement};
use super::error::{Damage, StorageError};
use super::log_file::LogFile;
use super::record::{self, Body, Record};
use super::replay::Found;
use crate::base::{KeptLog, LogEntry, LogPlace, ReplicaId, Timestamp};

/// How many records are asked about at once.
const BATCH: usize = 256;

/// How much is gathered before it is written, and how much is copied at once.
const BUFFER: usize = 1 << 20;

/// A compaction that has become the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The length of the new file.
    pub file_len: u64,
    /// The log offset up to which it holds everything.
    pub log_offset: u64,
    /// How many bytes it holds that are neither entries nor garbage (pending messages).
    pub note_bytes: u64,
}

/// How [`LogFile::finish_compaction`] ended.
#[derive(Debug)]
pub enum Finish<D: Disk> {
    /// The new file is in place, durably.
    Done(Compacted),
    /// The file lacks operations that liveness was judged by: write the store's lines, then try again.
    NotYet(Box<Compaction<D>>),
}

/// A compaction under way.
#[derive(Debug)]
pub struct Compaction<D: Disk> {
    handle: D::Handle,
    path: String,
    generation: u64,
    /// The number of the replacement.
    number: u64,
    cut: u64,
    out: Output<D::Replacement>,
    /// How far the old file has been copied.
    copied: u64,
    /// Where the tail begins in the new file.
    tail_start: u64,
    notes: Notes,
    note_bytes: u64,
    /// The table's position when it was last asked.
    seen: u64,
    ran: bool,
}

#[derive(Debug)]
struct Output<R> {
    replacement: R,
    buffer: Vec<u8>,
    length: u64,
}

/// What the prefix says besides entries.
#[derive(Debug, Default)]
struct Notes {
    position: u64,
    last: Timestamp,
    delivered: BTreeMap<ReplicaId, u64>,
    flush: Option<(u64, u64, Timestamp)>,
    incarnation: u64,
    merged: bool,
    pending: BTreeMap<Timestamp, Vec<u8>>,
    kept: KeptLog,
}

impl<D: Disk> LogFile<D> {
    /// Begins a compaction of the file as it is now. An earlier one that is not finished is given up.
    pub fn begin_compaction(&mut self) -> Result<Box<Compaction<D>>, StorageError> {
        let (replacement, number) = self.begin_replacement()?;
        Ok(Box::new(Compaction {
            handle: self.disk.handle(),
            path: self.path().to_owned(),
            generation: self.generation,
            number,
            cut: self.len(),
            out: Output { replacement, buffer: Vec::new(), length: 0 },
            copied: self.len(),
            tail_start: 0,
            notes: Notes::default(),
            note_bytes: 0,
            seen: 0,
            ran: false,
        }))
    }

    /// Puts the compacted file in place, if [`Compaction::run`] has ended and the file holds all that it
    /// saw. An error leaves the old file as it is, unless the rename itself failed: then every later
    /// write fails too, because nobody knows which file a restart would find.
    pub fn finish_compaction(
        &mut self,
        mut compaction: Box<Compaction<D>>,
    ) -> Result<Finish<D>, StorageError> {
        self.check_usable()?;
        if compaction.generation != self.generation || compaction.number != self.begun {
            return Err(StorageError::Replaced { path: self.path().to_owned() });
        }
        if !compaction.ran || compaction.seen > self.position {
            return Ok(Finish::NotYet(compaction));
        }
        compaction.catch_up(self.len())?;
        compaction.out.sync(&compaction.path)?;
        let Compaction { out, number, cut, tail_start, notes, note_bytes, .. } = *compaction;
        let index = self.index.moved(notes.position, cut, tail_start);
        let file_len = out.length;
        self.replace(out.replacement, number, index)?;
        Ok(Finish::Done(Compacted { file_len, log_offset: self.written, note_bytes }))
    }
}

impl<D: Disk> Compaction<D> {
    /// Pass 1. `are_live` says which of these `(key, position)` still hold their key's entry, and the
    /// table's position at that moment: [`super::Store::are_live`] under the replica's lock. `None` ends the
    /// compaction with [`StorageError::Interrupted`]; the file stays as it is.
    pub fn run(
        &mut self,
        mut are_live: impl FnMut(&[(&[u8], u64)]) -> Option<(Vec<bool>, u64)>,
    ) -> Result<(), StorageError> {
        self.out.note(Body::Header { compacted: true }, 0, Timestamp::ZERO);
        let mut blocks = Blocks::new(self.handle.clone(), &self.path, 0, self.cut);
        let mut number = 0;
        while let Some((offset, lines)) = blocks.next()? {
            let mut at = 0;
            while at < lines.len() {
                let batch = self.read_batch(&lines[at..], offset + at as u64, &mut number)?;
                at += batch.length;
                self.keep_live(&batch.entries, &mut are_live)?;
            }
        }
        self.write_notes();
        self.out.flush(&self.path)?;
        self.tail_start = self.out.length;
        self.ran = true;
        self.out.sync(&self.path)
    }

    /// Copies what was appended meanwhile, up to this length of the old file; needs no lock, and leaves
    /// less to do for [`LogFile::finish_compaction`].
    pub fn catch_up(&mut self, len: u64) -> Result<(), StorageError> {
        let mut buffer = vec![0; BUFFER];
        while self.copied < len {
            let wanted = usize::try_from(len - self.copied).unwrap_or(BUFFER).min(BUFFER);
            let read = self.handle.read_at(self.copied, &mut buffer[..wanted]);
            let read = read.map_err(StorageError::io("read", &self.path))?;
            if read == 0 {
                return Err(StorageError::Replaced { path: self.path.clone() });
            }
            self.out.buffer.extend_from_slice(&buffer[..read]);
            self.out.flush(&self.path)?;
            self.copied += read as u64;
        }
        Ok(())
    }

    fn read_batch<'a>(
        &mut self,
        lines: &'a [u8],
        offset: u64,
        number: &mut u64,
    ) -> Result<LineBatch<'a>, StorageError> {
        let mut batch = LineBatch { entries: Vec::new(), length: 0 };
        while batch.length < lines.len() && batch.entries.len() < BATCH {
            let rest = &lines[batch.length..];
            let line = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
            *number += 1;
            let record = record::parse_line(line).map_err(|error| {
                let place = offset + batch.length as u64;
                Found::at(*number, place, Damage::Record(error)).in_file(&self.path)
            })?;
            batch.length += line.len() + 1;
            self.notes.observe(&record);
            if matches!(record.body, Body::Set { .. }) {
                batch.entries.push((record, line));
            }
        }
        Ok(batch)
    }

    fn keep_live(
        &mut self,
        entries: &[(Record<'_>, &[u8])],
        are_live: &mut impl FnMut(&[(&[u8], u64)]) -> Option<(Vec<bool>, u64)>,
    ) -> Result<(), StorageError> {
        if entries.is_empty() {
            return Ok(());
        }
        let asked: Vec<(&[u8], u64)> =
            entries.iter().filter_map(|(record, _)| asked(record)).collect();
        let (live, position) = are_live(&asked).ok_or(StorageError::Interrupted)?;
        self.seen = self.seen.max(position);
        for ((record, line), _) in entries.iter().zip(&live).filter(|(_, live)| **live) {
            if record.more {
                // Its operation's other records may be gone; it stands alone now.
                let alone = Record { more: false, ..record.clone() };
                record::encode(&alone, &mut self.out.buffer);
            } else {
                self.out.buffer.extend_from_slice(line);
                self.out.buffer.push(b'\n');
            }
        }
        if self.out.buffer.len() >= BUFFER { self.out.flush(&self.path) } else { Ok(()) }
    }

    fn write_notes(&mut self) {
        let notes = &self.notes;
        if let Some((at, position, timestamp)) = notes.flush {
            self.out.note(Body::FlushAll { at }, position, timestamp);
        }
        if notes.merged {
            self.out.note(Body::Merged, 0, Timestamp::ZERO);
        }
        if notes.incarnation > 0 {
            let incarnation = notes.incarnation;
            self.out.note(Body::Start { incarnation }, 0, Timestamp::ZERO);
        }
        let before = self.out.buffer.len();
        for (&at, message) in &notes.pending {
            if notes.delivered.get(&at.replica).is_none_or(|&time| at.time > time) {
                self.out.note(Body::Pending { message: message.into() }, 0, at);
            }
        }
        self.out.keep(&notes.kept);
        self.note_bytes = (self.out.buffer.len() - before) as u64;
        let delivered = notes.delivered.iter();
        let delivered = delivered.map(|(&replica, &time)| Timestamp::new(time, replica)).collect();
        self.out.note(Body::Base { delivered }, notes.position, notes.last);
    }
}

struct LineBatch<'a> {
    entries: Vec<(Record<'a>, &'a [u8])>,
    length: usize,
}

fn asked<'a>(record: &'a Record<'_>) -> Option<(&'a [u8], u64)> {
    match &record.body {
        Body::Set { key, .. } => Some((key, record.position)),
        _ => None,
    }
}

impl Notes {
    fn observe(&mut self, record: &Record<'_>) {
        match &record.body {
            Body::Merged => self.merged = true,
            Body::Start { incarnation } => self.incarnation = self.incarnation.max(*incarnation),
            Body::Pending { message } => {
                self.pending.insert(record.timestamp, message.to_vec());
            }
            Body::Vote(ballot) => self.kept.ballot = Some(*ballot),
            Body::Entry { data } => {
                let place = LogPlace::of(record.timestamp);
                self.kept.put(LogEntry { place, data: data.to_vec() });
            }
            Body::Base { delivered } => {
                delivered.iter().for_each(|&last| self.delivered(last));
                self.advance(record);
            }
            Body::FlushAll { at } => {
                self.flush = (*at != 0).then_some((*at, record.position, record.timestamp));
                self.advance(record);
            }
            _ if record.is_ordered() => self.advance(record),
            _ => {}
        }
    }

    fn advance(&mut self, record: &Record<'_>) {
        self.position = record.position;
        self.last = record.timestamp;
        self.kept.deliver(record.timestamp);
        self.delivered(record.timestamp);
    }

    fn delivered(&mut self, last: Timestamp) {
        let time = self.delivered.entry(last.replica).or_insert(0);
        *time = last.time.max(*time);
        // Messages are delivered in the order of their timestamps, so this drops them one by one.
        let done = Timestamp::new(0, last.replica)..=last;
        while let Some((&first, _)) = self.pending.range(done.clone()).next()
            && first.replica == last.replica
        {
            self.pending.remove(&first);
        }
    }
}

impl<R: Replacement> Output<R> {
    fn note(&mut self, body: Body<'_>, position: u64, timestamp: Timestamp) {
        record::encode(&Record::new(body, position, timestamp), &mut self.buffer);
    }

    fn keep(&mut self, kept: &KeptLog) {
        if let Some(ballot) = kept.ballot {
            self.note(Body::Vote(ballot), 0, Timestamp::ZERO);
        }
        for LogEntry { place, data } in &kept.entries {
            let ts = Timestamp::new(place.time(), ReplicaId(0));
            self.note(Body::Entry { data: data.into() }, place.index, ts);
        }
    }

    fn flush(&mut self, path: &str) -> Result<(), StorageError> {
        let appended = self.replacement.append(&self.buffer);
        appended.map_err(StorageError::io("write the replacement of", path))?;
        self.length += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn sync(&mut self, path: &str) -> Result<(), StorageError> {
        self.replacement.sync().map_err(StorageError::io("sync the replacement of", path))
    }
}
