//! Start-up: from the lines of `storage.txt` back to the table.
//!
//! A file ends where its process ended, maybe in the middle of a line. So at the end of the file, and
//! only there, damage is normal: an incomplete or damaged last line, or an operation whose records are
//! not all there, is cut off and reported. Anywhere else damage means that data which was there is gone:
//! the file is refused and left as it is. The two are told apart by reading on: if an intact line
//! follows, the damage is in the middle. A missing position, or damage in the part that a compaction
//! wrote (which was complete before it became the file), is never a torn tail.
//!
//! Cost: one sequential read in blocks of 1 MiB; for each line a checksum, a scan for tabs and one table
//! look-up. Memory: the table, one block, and the records of one operation.

use std::collections::BTreeMap;

use super::disk::{Blocks, Disk, Handle};
use super::error::{Damage, StorageError};
use super::journal::{Progress, Store};
use super::log_file::{Index, LogFile};
use super::mem_disk::MemDisk;
use super::record::{self, Body, HEADER_START, Record, RecordError, VERSION};
use crate::base::{KeptLog, LogEntry, LogPlace, Timestamp};

/// What start-up found.
#[derive(Debug)]
pub struct Opened<D: Disk> {
    /// The state.
    pub store: Store,
    /// The open file.
    pub log: LogFile<D>,
    /// Own broadcasts that were not delivered, in timestamp order.
    pub pending: Vec<(Timestamp, Box<[u8]>)>,
    /// What is kept of a Raft log besides.
    pub kept: KeptLog,
    /// What there is to tell.
    pub report: Report,
}

/// What there is to tell about a start-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many bytes were read.
    pub bytes: u64,
    /// How many lines were read, the header included.
    pub lines: u64,
    /// What was cut off.
    pub torn: Option<TornTail>,
}

/// The end of a file that was being written when its process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The first line that was cut off, counted from 1.
    pub line: u64,
    /// Where the file was cut.
    pub offset: u64,
    /// How many bytes were cut off.
    pub bytes: u64,
    /// What was wrong with them.
    pub damage: Damage,
}

/// Opens a store: replays the file, cuts off a torn tail, begins the file where there is none. The seed
/// goes to [`super::Table::new`].
pub fn open<D: Disk>(disk: D, hash_seed: u64) -> Result<Opened<D>, StorageError> {
    open_as(disk, hash_seed, false)
}

/// The same, for replicas without one order if `versions`: each entry keeps the timestamp of the write that it
/// comes from ([`super::merge`]).
///
/// # Errors
/// As [`open`].
pub fn open_as<D: Disk>(
    mut disk: D,
    hash_seed: u64,
    versions: bool,
) -> Result<Opened<D>, StorageError> {
    let mut report = Report { bytes: disk.len(), ..Report::default() };
    if let Some(torn) = check_header(&disk)? {
        cut(&mut disk, 0)?;
        report.torn = Some(torn);
    }
    if disk.is_empty() {
        begin_file(&mut disk)?;
    }
    let mut scan = Scan::new(hash_seed);
    scan.replay.progress.versions = versions;
    let mut blocks = Blocks::new(disk.handle(), disk.path(), 0, disk.len());
    while let Some((offset, lines)) = blocks.next()? {
        scan.block(offset, lines).map_err(|error| error.in_file(disk.path()))?;
    }
    report.lines = scan.line;
    let (mut replay, index, torn) = scan.finish(&mut disk)?;
    // A process that was killed may have written this without syncing it, and a loss of power would still take
    // it back. From here on it counts as kept, so it has to be.
    disk.handle().sync().map_err(StorageError::io("sync", disk.path()))?;
    report.torn = report.torn.or(torn);
    let pending = replay.undelivered();
    let kept = std::mem::take(&mut replay.kept);
    let position = replay.progress.position;
    let store = Store::new(replay.progress, replay.incarnation, disk.len());
    let log = LogFile::new(disk, index, position);
    Ok(Opened { store, log, pending, kept, report })
}

/// Replays any bytes as if they were a file; for fuzzing and for tools. Never panics.
pub fn replay_bytes(bytes: &[u8]) -> Result<Opened<MemDisk>, StorageError> {
    open(MemDisk::with_contents(bytes.to_vec()), 0)
}

/// The first line of a file.
fn header() -> Vec<u8> {
    let mut line = Vec::new();
    let body = Body::Header { compacted: false };
    record::encode(&Record::new(body, 0, Timestamp::ZERO), &mut line);
    line
}

fn begin_file<D: Disk>(disk: &mut D) -> Result<(), StorageError> {
    let appended = disk.append(&header());
    appended.map_err(StorageError::io("begin", disk.path()))?;
    disk.handle().sync().map_err(StorageError::io("sync", disk.path()))
}

fn cut<D: Disk>(disk: &mut D, len: u64) -> Result<(), StorageError> {
    let done = disk.cut(len);
    done.map_err(StorageError::io("cut the torn tail off", disk.path()))
}

/// Refuses what is no storage file, or one of another version, before all of it is read. A file that
/// breaks off within its first line was just being begun.
fn check_header<D: Disk>(disk: &D) -> Result<Option<TornTail>, StorageError> {
    let header = header();
    let mut head = vec![0; header.len()];
    let mut filled = 0;
    while filled < head.len() {
        let read = disk.handle().read_at(filled as u64, &mut head[filled..]);
        match read.map_err(StorageError::io("read", disk.path()))? {
            0 => break,
            more => filled += more,
        }
    }
    head.truncate(filled);
    if filled < header.len() && header.starts_with(&head) {
        let damage = Damage::Record(RecordError::Columns);
        let torn = TornTail { line: 1, offset: 0, bytes: filled as u64, damage };
        return Ok((filled > 0).then_some(torn));
    }
    let path = disk.path().to_owned();
    let Some(behind) = head.strip_prefix(HEADER_START) else {
        return Err(StorageError::NotStorage { path, found: record::shown(&head) });
    };
    let digits = behind.iter().position(|byte| b": ".contains(byte)).unwrap_or(behind.len());
    let version = &behind[..digits];
    if version != VERSION.to_string().as_bytes() {
        return Err(StorageError::Version { path, found: record::shown(version) });
    }
    Ok(None)
}

/// Which part of a file the next line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The first line.
    Header,
    /// What a compaction kept: ordered records with gaps between them.
    Kept,
    /// Every operation from here on.
    Ordered,
}

/// Takes line after line; what start-up and installation share.
#[derive(Debug)]
pub(super) struct Replay {
    pub progress: Progress,
    pub incarnation: u64,
    pending: BTreeMap<Timestamp, Box<[u8]>>,
    kept: KeptLog,
    part: Part,
    /// The greatest position in the kept part.
    kept_to: u64,
    /// The lines of an operation whose last record has not come yet.
    group: Vec<u8>,
    group_position: u64,
}

impl Replay {
    pub fn new(hash_seed: u64) -> Self {
        Self {
            progress: Progress::new(hash_seed),
            incarnation: 0,
            pending: BTreeMap::new(),
            kept: KeptLog::default(),
            part: Part::Header,
            kept_to: 0,
            group: Vec::new(),
            group_position: 0,
        }
    }

    /// Whether a cut before the next line would leave whole operations.
    pub fn at_boundary(&self) -> bool {
        self.group.is_empty()
    }

    /// Whether the lines that come now hold every operation.
    pub fn in_ordered_part(&self) -> bool {
        self.part == Part::Ordered
    }

    /// Takes a line (without its line feed); whether it is a note about the replica that wrote the file
    /// rather than about the data.
    pub fn take(&mut self, line: &[u8]) -> Result<bool, Damage> {
        let record = record::parse_line(line)?;
        if self.part == Part::Header && !matches!(record.body, Body::Header { .. }) {
            return Err(Damage::OutOfPlace { name: "record before the first" });
        }
        if !self.at_boundary() && (!record.is_ordered() || record.position != self.group_position) {
            return Err(Damage::Group { position: self.group_position });
        }
        match record.body {
            Body::Header { compacted } if self.part == Part::Header => {
                self.part = if compacted { Part::Kept } else { Part::Ordered };
            }
            Body::Header { .. } => return Err(Damage::OutOfPlace { name: "#storage.txt" }),
            Body::Base { ref delivered } => self.base(&record, delivered)?,
            Body::Merged => self.progress.merged = true,
            Body::Start { incarnation } => self.incarnation = self.incarnation.max(incarnation),
            Body::Pending { ref message } => {
                self.pending.insert(record.timestamp, message.as_ref().into());
            }
            Body::Vote(ballot) => self.kept.ballot = Some(ballot),
            Body::Entry { ref data } => {
                let place = LogPlace::of(record.timestamp);
                self.kept.put(LogEntry { place, data: data.to_vec() });
            }
            _ if self.part == Part::Kept => {
                self.kept_to = self.kept_to.max(record.position);
                self.progress.apply(&record, line.len() + 1);
            }
            _ => return self.ordered(&record, line).map(|()| false),
        }
        Ok(record.body.is_of_one_replica())
    }

    fn base(&mut self, record: &Record<'_>, delivered: &[Timestamp]) -> Result<(), Damage> {
        if self.part != Part::Kept {
            return Err(Damage::OutOfPlace { name: "#base" });
        }
        if record.position < self.kept_to {
            let (expected, found) = (self.kept_to, record.position);
            return Err(Damage::Position { expected, found });
        }
        delivered.iter().for_each(|&last| self.progress.note_delivered(last));
        self.progress.advance(record.position, record.timestamp);
        self.kept.deliver(record.timestamp);
        self.part = Part::Ordered;
        Ok(())
    }

    fn ordered(&mut self, record: &Record<'_>, line: &[u8]) -> Result<(), Damage> {
        let expected = self.progress.position.saturating_add(1);
        if record.position != expected {
            return Err(Damage::Position { expected, found: record.position });
        }
        if record.more {
            self.group_position = record.position;
            self.group.extend_from_slice(line);
            self.group.push(b'\n');
            return Ok(());
        }
        if !self.group.is_empty() {
            let lines = std::mem::take(&mut self.group);
            for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                let record = record::parse_line(line)?;
                self.progress.apply(&record, line.len() + 1);
                self.progress.note_delivered(record.timestamp);
            }
        }
        self.progress.apply(record, line.len() + 1);
        self.progress.advance(record.position, record.timestamp);
        self.kept.deliver(record.timestamp);
        // Own messages are delivered in the order of their timestamps: forget them one by one.
        while let Some(first) = self.pending.first_entry()
            && first.key().replica == record.timestamp.replica
            && *first.key() <= record.timestamp
        {
            first.remove();
        }
        Ok(())
    }

    /// What is missing at the end of the lines, if anything.
    pub fn missing(&self) -> Option<Damage> {
        match self.part {
            Part::Header => Some(Damage::OutOfPlace { name: "missing first" }),
            Part::Kept => Some(Damage::NoBase),
            _ if !self.at_boundary() => Some(Damage::Group { position: self.group_position }),
            _ => None,
        }
    }

    /// The pending messages whose operations have not been delivered.
    pub fn undelivered(&self) -> Vec<(Timestamp, Box<[u8]>)> {
        let delivered = |at: &Timestamp| {
            self.progress.delivered.get(&at.replica).is_some_and(|&time| at.time <= time)
        };
        let pending = self.pending.iter().filter(|(at, _)| !delivered(at));
        pending.map(|(at, message)| (*at, message.clone())).collect()
    }
}

/// A place in a file.
#[derive(Clone, Copy, Debug)]
struct Place {
    line: u64,
    offset: u64,
}

/// Damage that was found at a place.
#[derive(Clone, Debug)]
pub(super) struct Found {
    line: u64,
    offset: u64,
    damage: Damage,
}

impl Found {
    pub fn at(line: u64, offset: u64, damage: Damage) -> Self {
        Self { line, offset, damage }
    }

    /// The error that refuses the file.
    pub fn in_file(self, path: &str) -> StorageError {
        let Self { line, offset, damage } = self;
        StorageError::Damaged { path: path.to_owned(), line, offset, damage }
    }
}

/// The walk through a file.
struct Scan {
    replay: Replay,
    index: Index,
    line: u64,
    /// Where the last whole operation ends.
    boundary: Place,
    /// Damage that is a torn tail unless an intact line follows.
    damaged: Option<Found>,
}

impl Scan {
    fn new(hash_seed: u64) -> Self {
        Self {
            replay: Replay::new(hash_seed),
            index: Index::default(),
            line: 0,
            boundary: Place { line: 1, offset: 0 },
            damaged: None,
        }
    }

    fn block(&mut self, offset: u64, lines: &[u8]) -> Result<(), Found> {
        let mut at = 0;
        while at < lines.len() {
            let end = memchr::memchr(b'\n', &lines[at..]).map(|length| at + length);
            let line = &lines[at..end.unwrap_or(lines.len())];
            self.line += 1;
            self.one(offset + at as u64, line, end.is_some())?;
            at = end.unwrap_or(lines.len()) + 1;
        }
        Ok(())
    }

    fn one(&mut self, offset: u64, line: &[u8], terminated: bool) -> Result<(), Found> {
        if let Some(damaged) = &self.damaged {
            let intact = record::parse_line(line).is_ok();
            return if intact { Err(damaged.clone()) } else { Ok(()) };
        }
        if self.replay.at_boundary() {
            self.boundary = Place { line: self.line, offset };
            if self.replay.in_ordered_part() {
                self.index.note(self.replay.progress.position, offset);
            }
        }
        let may_be_torn = self.replay.in_ordered_part();
        let taken = match terminated {
            true => self.replay.take(line).map(|_| ()),
            false => Err(Damage::Record(RecordError::Columns)),
        };
        match taken {
            Ok(()) => Ok(()),
            Err(damage @ Damage::Record(_)) if may_be_torn => {
                self.damaged = Some(Found::at(self.line, offset, damage));
                Ok(())
            }
            Err(damage) => Err(Found::at(self.line, offset, damage)),
        }
    }

    /// Cuts off what is torn.
    fn finish<D: Disk>(
        self,
        disk: &mut D,
    ) -> Result<(Replay, Index, Option<TornTail>), StorageError> {
        let Self { mut replay, mut index, line, boundary, damaged } = self;
        let damage = match (damaged, replay.missing()) {
            (Some(found), _) => found.damage,
            (None, Some(damage @ Damage::Group { .. })) => damage,
            (None, Some(damage)) => {
                return Err(Found::at(line, disk.len(), damage).in_file(disk.path()));
            }
            (None, None) => {
                index.note(replay.progress.position, disk.len());
                return Ok((replay, index, None));
            }
        };
        replay.group.clear();
        let Place { line, offset } = boundary;
        let torn = TornTail { line, offset, bytes: disk.len() - offset, damage };
        cut(disk, offset)?;
        index.note(replay.progress.position, offset);
        Ok((replay, index, Some(torn)))
    }
}
