//! What a replica owns under its lock: the table, its position in the total order, and the lines that
//! are not in the file yet.
//!
//! Pure bookkeeping: nothing here waits, reads or writes. Whoever holds the file takes the lines along
//! ([`Store::take_unwritten`]) and writes them without this lock. Log offsets count all bytes ever
//! appended by this process; compaction does not reset them, so "all up to offset N is on disk" is one
//! comparison for everybody who waits.
//!
//! [`Store::unwritten_bytes`] is for the caller's bound: a replica whose disk cannot follow must stop
//! delivering, because nothing here refuses an operation that has been ordered.

use std::collections::BTreeMap;

use super::compact::Compacted;
use super::entry::Parts;
use super::error::{Damage, StorageError};
use super::install::Installed;
use super::record::{self, Body, Mark, Record};
use super::table::{Change, Table};
use crate::base::{Ballot, LogEntry, Op, Outcome, ReplicaId, Timestamp};

/// A file below this size is never compacted.
pub const COMPACT_ABOVE: u64 = 1024 * 1024;

/// The table and how far in the total order it is; what replay, delivery and shipping all advance.
#[derive(Debug)]
pub(super) struct Progress {
    pub table: Table,
    /// How many operations have been delivered.
    pub position: u64,
    /// The timestamp of the last of them.
    pub last: Timestamp,
    /// The time of the last delivered operation of each replica.
    pub delivered: BTreeMap<ReplicaId, u64>,
    /// Whether entries keep the timestamp of the write that they come from.
    pub versions: bool,
    /// Whether a replica without one order of writes has used the file.
    pub merged: bool,
}

impl Progress {
    pub fn new(hash_seed: u64) -> Self {
        let (last, delivered) = (Timestamp::ZERO, BTreeMap::new());
        Self {
            table: Table::new(hash_seed),
            position: 0,
            last,
            delivered,
            versions: false,
            merged: false,
        }
    }

    /// Notes that the operation of this timestamp is the one at `position`.
    pub fn advance(&mut self, position: u64, timestamp: Timestamp) {
        self.position = position;
        self.last = timestamp;
        self.note_delivered(timestamp);
    }

    pub fn note_delivered(&mut self, timestamp: Timestamp) {
        let time = self.delivered.entry(timestamp.replica).or_insert(0);
        *time = timestamp.time.max(*time);
    }

    /// Changes the table as an ordered record says; `line_length` includes the line feed.
    pub fn apply(&mut self, record: &Record<'_>, line_length: usize) {
        let position = record.position;
        match &record.body {
            Body::Set { key, data, flags, expires, unique } => self.table.put(&Parts {
                key,
                data,
                flags: *flags,
                expires: *expires,
                unique: unique.unwrap_or(position),
                position,
                record_length: u32::try_from(line_length).unwrap_or(u32::MAX),
                version: if self.versions { record.timestamp } else { Timestamp::ZERO },
            }),
            Body::Delete { key } => {
                self.table.remove(key, position);
            }
            Body::FlushAll { at } => self.table.flush(*at, position),
            _ => {}
        }
    }
}

/// Lines on their way to the file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Whole lines, and whole groups of them.
    pub bytes: Vec<u8>,
    /// The log offset at their end.
    pub end: u64,
    /// The position of the last operation that is written once they are.
    pub position: u64,
}

/// What [`Store::absorb`] did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Absorbed {
    /// How many operations were applied.
    pub applied: u64,
    /// How many were known already.
    pub known: u64,
}

/// The state of one replica, and its lines that are not written yet.
#[derive(Debug)]
pub struct Store {
    pub(super) progress: Progress,
    incarnation: u64,
    pub(super) unwritten: Vec<u8>,
    appended: u64,
    file_bytes: u64,
    /// Bytes that the last compaction kept although they are no entries (pending messages).
    kept_notes: u64,
    compacting: bool,
    /// No smaller file is compacted.
    compact_from: u64,
    /// The same, and larger for a while after a compaction has failed.
    compact_above: u64,
}

impl Store {
    pub(super) fn new(progress: Progress, incarnation: u64, file_bytes: u64) -> Self {
        Self {
            progress,
            incarnation,
            unwritten: Vec::new(),
            appended: 0,
            file_bytes,
            kept_notes: 0,
            compacting: false,
            compact_from: COMPACT_ABOVE,
            compact_above: COMPACT_ABOVE,
        }
    }

    /// The table, for reads.
    pub fn table(&self) -> &Table {
        &self.progress.table
    }

    /// How many operations have been delivered.
    pub fn position(&self) -> u64 {
        self.progress.position
    }

    /// The timestamp of the last delivered operation.
    pub fn last(&self) -> Timestamp {
        self.progress.last
    }

    /// The Lamport time of the last delivered operation of a replica; 0 if there is none.
    pub fn delivered(&self, replica: ReplicaId) -> u64 {
        self.progress.delivered.get(&replica).copied().unwrap_or(0)
    }

    /// The number of the last start of this replica's process; 0 on an empty disk.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The log offset behind all lines so far, written or not.
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// How many bytes wait to be written.
    pub fn unwritten_bytes(&self) -> usize {
        self.unwritten.len()
    }

    /// Executes the next operation of the total order: applies it, and appends its records.
    pub fn execute(&mut self, timestamp: Timestamp, at_unix_ms: u64, op: &Op) -> Outcome {
        let position = self.progress.position + 1;
        let before = self.unwritten.len();
        let mut group = Group { out: &mut self.unwritten, position, timestamp, last: None };
        let table = &mut self.progress.table;
        let outcome = table.execute(op, position, at_unix_ms, &mut |change| group.add(change));
        group.finish();
        self.progress.advance(position, timestamp);
        self.count_from(before);
        outcome
    }

    /// Notes a start of the replica's process.
    pub fn note_start(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
        self.note(Record::new(Body::Start { incarnation }, 0, Timestamp::ZERO));
    }

    /// Notes an own broadcast that is not delivered yet. Once the line is written, a restart brings the
    /// message back ([`super::Opened::pending`]) until an operation of its timestamp is delivered.
    pub fn note_pending(&mut self, timestamp: Timestamp, message: &[u8]) {
        self.note(Record::new(Body::Pending { message: message.into() }, 0, timestamp));
    }

    /// Notes how the replica stands in elections; the last such note holds.
    pub fn note_ballot(&mut self, ballot: Ballot) {
        self.note(Record::new(Body::Vote(ballot), 0, Timestamp::ZERO));
    }

    /// Notes an entry of the Raft log. Once the line is written, a restart brings it back
    /// ([`super::Opened::kept`]) until an operation at its index is delivered or another entry replaces it.
    pub fn note_entry(&mut self, entry: &LogEntry) {
        let ts = Timestamp::new(entry.place.time(), ReplicaId(0));
        let data = (&entry.data).into();
        self.note(Record::new(Body::Entry { data }, entry.place.index, ts));
    }

    fn note(&mut self, record: Record<'_>) {
        let before = self.unwritten.len();
        record::encode(&record, &mut self.unwritten);
        self.count_from(before);
    }

    pub(super) fn count_from(&mut self, before: usize) {
        let more = (self.unwritten.len() - before) as u64;
        self.appended += more;
        self.file_bytes += more;
    }

    /// Hands out the lines that are not written yet; empty when there are none.
    pub fn take_unwritten(&mut self) -> Batch {
        let bytes = std::mem::take(&mut self.unwritten);
        Batch { bytes, end: self.appended, position: self.progress.position }
    }

    /// Takes over records that another replica shipped: those that continue the own position are applied
    /// and appended to the own log, known ones are skipped, the other's notes are ignored. Expects whole
    /// lines and whole groups, as [`super::LogFile::read_chunk`] gives them. Refuses a gap and anything
    /// damaged; what came before it in the same call has been taken over.
    pub fn absorb(&mut self, lines: &[u8]) -> Result<Absorbed, StorageError> {
        let mut done = Absorbed::default();
        let mut number = 0;
        self.absorb_lines(lines, &mut number, &mut done)
            .map_err(|damage| StorageError::Shipped { line: number, damage })?;
        Ok(done)
    }

    fn absorb_lines(
        &mut self,
        lines: &[u8],
        number: &mut u64,
        done: &mut Absorbed,
    ) -> Result<(), Damage> {
        let mut group: Vec<(Record<'_>, usize)> = Vec::new();
        let mut group_start = 0;
        let mut at = 0;
        while at < lines.len() {
            *number += 1;
            let length = memchr::memchr(b'\n', &lines[at..]).unwrap_or(lines.len() - at);
            let record = record::parse_line(&lines[at..at + length])?;
            let next = (at + length + 1).min(lines.len());
            if let Some((first, _)) = group.first()
                && (!record.is_ordered() || record.position != first.position)
            {
                return Err(Damage::Group { position: first.position });
            }
            if self.must_apply(&record)? {
                if group.is_empty() {
                    group_start = at;
                }
                let more = record.more;
                group.push((record, length + 1));
                if !more {
                    self.absorb_group(&group, &lines[group_start..next]);
                    group.clear();
                    done.applied += 1;
                }
            } else if record.is_ordered() && !record.more {
                done.known += 1;
            }
            at = next;
        }
        match group.first() {
            Some((first, _)) => Err(Damage::Group { position: first.position }),
            None => Ok(()),
        }
    }

    /// Whether a shipped record is the next one; known ones and notes are not.
    fn must_apply(&self, record: &Record<'_>) -> Result<bool, Damage> {
        let own = self.progress.position;
        match record.body {
            Body::Header { compacted: true } => {
                return Err(Damage::OutOfPlace { name: "#storage.txt compacted" });
            }
            Body::Base { .. } => return Err(Damage::OutOfPlace { name: "#base" }),
            _ if !record.is_ordered() || record.position < own => return Ok(false),
            _ => {}
        }
        if record.position == own {
            if record.timestamp != self.progress.last {
                let (found, own_last) = (record.timestamp.to_string(), self.last().to_string());
                return Err(Damage::Diverged { position: own, found, own: own_last });
            }
            return Ok(false);
        }
        if record.position != own + 1 {
            return Err(Damage::Position { expected: own + 1, found: record.position });
        }
        Ok(true)
    }

    fn absorb_group(&mut self, group: &[(Record<'_>, usize)], lines: &[u8]) {
        for (record, length) in group {
            self.progress.apply(record, *length);
        }
        if let Some((record, _)) = group.last() {
            self.progress.advance(record.position, record.timestamp);
        }
        let before = self.unwritten.len();
        self.unwritten.extend_from_slice(lines);
        if self.unwritten.last() != Some(&b'\n') {
            self.unwritten.push(b'\n');
        }
        self.count_from(before);
    }

    /// Takes over a state that was shipped as a whole and is in the file already
    /// ([`super::Install::finish`]). Lines that were not written yet are dropped: the file holds the own
    /// notes that were passed there, and the shipped state holds the rest.
    pub fn install(&mut self, installed: Installed) {
        let Installed { progress, incarnation, file_len } = installed;
        self.progress = progress;
        self.incarnation = incarnation;
        self.file_bytes = file_len;
        self.kept_notes = 0;
        self.compact_above = self.compact_from;
        self.unwritten.clear();
    }

    /// Which of these `(key, position of the record)` still hold their key's entry, and the own position
    /// at this moment. Compaction asks this in batches.
    pub fn are_live(&self, records: &[(&[u8], u64)]) -> (Vec<bool>, u64) {
        let live = records.iter().map(|(key, at)| self.progress.table.is_live(key, *at)).collect();
        (live, self.progress.position)
    }

    /// How many bytes of the file a compaction would drop, about.
    pub fn garbage_bytes(&self) -> u64 {
        self.file_bytes.saturating_sub(self.progress.table.live_bytes() + self.kept_notes)
    }

    /// Has no file compacted that is smaller than this; [`COMPACT_ABOVE`] where nobody says so.
    pub fn compact_from(&mut self, bytes: u64) {
        (self.compact_from, self.compact_above) = (bytes, bytes);
    }

    /// Whether a compaction is due: none is running, the file is large enough to matter, and more than half of it
    /// is garbage.
    pub fn wants_compaction(&self) -> bool {
        !self.compacting
            && self.file_bytes > self.compact_above
            && self.garbage_bytes() > self.file_bytes / 2
    }

    /// Notes that a compaction runs; no other is wanted until it ends.
    pub fn compaction_started(&mut self) {
        self.compacting = true;
    }

    /// Notes how the compaction ended; after a failure the file must grow by as much again first.
    pub fn compaction_ended(&mut self, result: Option<Compacted>) {
        self.compacting = false;
        match result {
            Some(done) => {
                self.file_bytes = done.file_len + (self.appended - done.log_offset);
                self.kept_notes = done.note_bytes;
                self.compact_above = self.compact_from;
            }
            None => self.compact_above = self.file_bytes + self.compact_from,
        }
    }
}

/// The records of one operation, being appended.
pub(super) struct Group<'a> {
    pub out: &'a mut Vec<u8>,
    pub position: u64,
    /// Of the next record; where the replicas have one order, all records of an operation have the same.
    pub timestamp: Timestamp,
    pub last: Option<Mark>,
}

impl Group<'_> {
    /// Appends the record of a change; how many bytes it takes.
    pub fn add(&mut self, change: Change<'_>) -> usize {
        let body = match change {
            Change::Set { key, data, flags, expires, unique } => Body::Set {
                key: key.into(),
                data: data.into(),
                flags,
                expires,
                unique: (unique != self.position).then_some(unique),
            },
            Change::Delete { key } => Body::Delete { key: key.into() },
            Change::FlushAll { at } => Body::FlushAll { at },
        };
        self.append(body)
    }

    /// Appends a record; how many bytes it takes.
    pub fn append(&mut self, body: Body<'_>) -> usize {
        if let Some(mark) = self.last {
            record::mark_more(mark, self.out);
        }
        let before = self.out.len();
        let record = Record::new(body, self.position, self.timestamp);
        self.last = Some(record::encode_marked(&record, self.out));
        self.out.len() - before
    }

    pub fn finish(mut self) {
        if self.last.is_none() {
            self.append(Body::Nothing);
        }
    }
}
