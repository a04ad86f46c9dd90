//! Start-up: from the files back to the table.
//!
//! The log ends where its process ended, maybe in the middle of a group that was never acknowledged. So
//! damage in the last group is normal: it is cut off and reported. Anywhere else it means that data which was
//! there is gone: the table is refused and all files are left as they are. The two are told apart by what
//! follows: every record names the length up to which the file had been synced before it was written. If an
//! intact record says that the damaged place had been synced, this is no torn tail. (A system that loses
//! power may have written the later half of a group and not the earlier.)
//!
//! A checkpoint, and a log that another one follows, were complete before anything depended on them: there
//! any damage is refused.

use std::sync::{Condvar, Mutex, OnceLock, RwLock};

use super::commit::Gate;
use super::entries::{Entries, Entry};
use super::error::Damage;
use super::folder::{AppendFile, Folder};
use super::line::{self, Kind};
use super::log::{self, Log};
use super::{CKPT, CKPT_NEW, HashTable, NEXT, Options, TXN, TableError, checkpoint};
use crate::storage::disk::{Blocks, Handle};
use crate::storage::record::shown;

/// What start-up gives.
#[derive(Debug)]
pub struct Opened<F: Folder> {
    /// The table.
    pub table: HashTable<F>,
    /// What there is to tell.
    pub report: Report,
}

/// What there is to tell about a start-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many records of the log were replayed.
    pub log_entries: u64,
    /// What was cut off.
    pub torn: Option<Torn>,
    /// The last process ended during a compaction.
    pub during_compaction: bool,
}

/// The end of a log that was being written when its process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub path: String,
    /// The first line that was cut off, counted from 1.
    pub line: u64,
    /// Where the file was cut.
    pub offset: u64,
    /// How many bytes were cut off.
    pub bytes: u64,
    /// What was wrong with them.
    pub damage: Damage,
}

/// One line of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub number: u64,
    /// Where it begins.
    pub offset: u64,
    /// Without its line feed.
    pub text: &'a [u8],
    /// Whether it had one.
    pub whole: bool,
}

impl Line<'_> {
    pub(super) fn damaged(&self, path: &str, damage: Damage) -> TableError {
        let (path, line, offset) = (path.to_owned(), self.number, self.offset);
        TableError::Damaged { path, line, offset, damage }
    }
}

/// Hands out the lines of a file.
pub(super) fn each_line<L: AppendFile>(
    file: &L,
    path: &str,
    mut take: impl FnMut(Line<'_>) -> Result<(), TableError>,
) -> Result<(), TableError> {
    let mut blocks = Blocks::new(file.handle(), path, 0, file.len());
    let mut number = 0;
    while let Some((offset, lines)) = blocks.next()? {
        let mut at = 0;
        while at < lines.len() {
            let end = memchr::memchr(b'\n', &lines[at..]).map(|length| at + length);
            let text = &lines[at..end.unwrap_or(lines.len())];
            number += 1;
            take(Line { number, offset: offset + at as u64, text, whole: end.is_some() })?;
            at = end.unwrap_or(lines.len()) + 1;
        }
    }
    Ok(())
}

/// A log that was read.
struct Replayed {
    part: u64,
    entries: u64,
    /// Where its intact records end, if not at its end.
    torn: Option<(u64, u64, Damage)>,
}

/// Replays a log; `None` where it has no first line and no record either: it was being begun.
fn replay<L: AppendFile>(
    file: &L,
    path: &str,
    entries: &mut Entries,
) -> Result<Option<Replayed>, TableError> {
    let mut found: Option<Replayed> = None;
    let mut header: Option<String> = None;
    each_line(file, path, |line| {
        let not_a_log = |found: String| {
            let (path, expected) = (path.to_owned(), Kind::Log.example());
            TableError::Header { path, expected, found }
        };
        if let Some(head) = header.take() {
            return Err(not_a_log(head));
        }
        let Some(log) = &mut found else {
            match line::parse_header(Kind::Log, line.text).filter(|_| line.whole) {
                Some(part) => found = Some(Replayed { part, entries: 0, torn: None }),
                None => header = Some(shown(line.text)),
            }
            return Ok(());
        };
        let parsed = match line.whole {
            true => line::parse_log(line.text),
            false => Err(Damage::Columns { expected: 4 }),
        };
        match (parsed, &log.torn) {
            (Ok(record), Some((number, offset, damage))) => {
                if record.synced > *offset {
                    let (path, damage) = (path.to_owned(), damage.clone());
                    let (line, offset) = (*number, *offset);
                    return Err(TableError::Damaged { path, line, offset, damage });
                }
            }
            (Ok(record), None) if record.synced > line.offset => {
                return Err(line.damaged(path, Damage::Misplaced { synced: record.synced }));
            }
            (Ok(record), None) => {
                log.entries += 1;
                match record.value {
                    Some(value) => entries.insert(Entry::new(&record.key, value)),
                    None => drop(entries.remove(&record.key)),
                }
            }
            (Err(damage), None) => log.torn = Some((line.number, line.offset, damage)),
            (Err(_), Some(_)) => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// Cuts a torn tail off, and makes sure that what is left is durable: a process that was killed may have
/// written it without syncing it, and from here on it is shown to readers.
fn settle<L: AppendFile>(
    file: &mut L,
    path: &str,
    log: &Replayed,
    report: &mut Report,
) -> Result<(), TableError> {
    if let Some((line, offset, damage)) = log.torn.clone() {
        let bytes = file.len() - offset;
        file.cut(offset).map_err(TableError::io("cut the torn tail off", path))?;
        report.torn = Some(Torn { path: path.to_owned(), line, offset, bytes, damage });
    }
    report.log_entries += log.entries;
    file.handle().sync().map_err(TableError::io("sync", path))
}

impl<F: Folder> HashTable<F> {
    /// Opens the table of a folder, or begins one.
    ///
    /// # Errors
    /// The folder cannot be used, or its files are damaged or do not belong together.
    pub fn open(folder: F, options: Options) -> Result<Opened<F>, TableError> {
        let mut entries = Entries::new(options.hash_seed);
        let mut report = Report::default();
        let names = |name| folder.path(name);
        folder.remove(CKPT_NEW).map_err(TableError::io("remove", &names(CKPT_NEW)))?;
        let checkpoint = checkpoint::read(&folder, &mut entries)?;
        let txn = folder.open(TXN).map_err(TableError::io("open", &names(TXN)))?;
        let next = folder.open(NEXT).map_err(TableError::io("open", &names(NEXT)))?;
        let log = match txn {
            None => begin(&folder, checkpoint, next.as_ref())?,
            Some(txn) => resume(&folder, checkpoint, txn, next, &mut entries, &mut report)?,
        };
        folder.sync().map_err(TableError::io("sync the folder of", &names(TXN)))?;
        report.during_compaction = log.before.is_some();
        let table = HashTable {
            folder,
            entries: RwLock::new(entries),
            gate: Mutex::new(Gate::new(&log)),
            log: Mutex::new(log),
            served: [Condvar::new(), Condvar::new()],
            between: Condvar::new(),
            due: Condvar::new(),
            compacting: Mutex::new(()),
            failed: OnceLock::new(),
            options,
        };
        Ok(Opened { table, report })
    }
}

fn mismatch(path: String, what: impl Into<String>) -> TableError {
    TableError::Mismatch { path, what: what.into() }
}

/// Begins a table: its log first, and durably, then an empty checkpoint. So a checkpoint without a log says that
/// the log is lost, and a log that holds something without a checkpoint likewise.
fn begin<F: Folder>(
    folder: &F,
    checkpoint: Option<u64>,
    next: Option<&F::File>,
) -> Result<Log<F::File>, TableError> {
    let mut records = Entries::new(0);
    if let Some(next) = next {
        replay(next, &folder.path(NEXT), &mut records)?;
    }
    if checkpoint.is_some() || records.len() > 0 {
        return Err(mismatch(folder.path(TXN), "the log is missing"));
    }
    let file = log::begin_next(folder, 1)?;
    let path = folder.path(TXN);
    folder.rename(NEXT, TXN).map_err(TableError::io("create", &path))?;
    folder.sync().map_err(TableError::io("sync the folder of", &path))?;
    begin_checkpoint(folder)?;
    Ok(Log::new(file, path, 1, 0, None))
}

fn begin_checkpoint<F: Folder>(folder: &F) -> Result<(), TableError> {
    checkpoint::write(folder, 0, Entries::new(0).walk(), |_, _| Ok(false))?;
    checkpoint::install(folder).map_err(|error| match error {
        checkpoint::InstallError::Rename(error) | checkpoint::InstallError::Sync(error) => error,
    })
}

/// Replays the logs over the checkpoint.
fn resume<F: Folder>(
    folder: &F,
    checkpoint: Option<u64>,
    mut txn: F::File,
    next: Option<F::File>,
    entries: &mut Entries,
    report: &mut Report,
) -> Result<Log<F::File>, TableError> {
    let (txn_path, next_path) = (folder.path(TXN), folder.path(NEXT));
    let Some(log) = replay(&txn, &txn_path, entries)? else {
        let (expected, found) = (Kind::Log.example(), "an empty file".to_owned());
        return Err(TableError::Header { path: txn_path, expected, found });
    };
    let after = match &next {
        // An empty one of another part was left behind when this log was begun.
        Some(file) => replay(file, &next_path, entries)?
            .filter(|after| after.entries > 0 || after.part == log.part + 1),
        None => None,
    };
    let base = match checkpoint {
        Some(base) => base,
        // A crash while the table was begun.
        None if log.part == 1 && log.entries == 0 && log.torn.is_none() && after.is_none() => {
            begin_checkpoint(folder)?;
            0
        }
        None => return Err(mismatch(folder.path(CKPT), "the checkpoint is missing")),
    };
    if let (Some(after), Some((line, offset, damage))) = (&after, &log.torn)
        && after.entries > 0
    {
        // The next log was begun when this one was whole.
        let (line, offset, damage) = (*line, *offset, damage.clone());
        return Err(TableError::Damaged { path: txn_path, line, offset, damage });
    }
    let follows = log.part == base + 1 || (log.part == base && after.is_some());
    if !follows {
        let what = format!(
            "it is part {} of the log, but the checkpoint holds the parts up to {base}",
            log.part
        );
        return Err(mismatch(txn_path, what));
    }
    settle(&mut txn, &txn_path, &log, report)?;
    match (next, after) {
        (Some(mut file), Some(after)) => {
            if after.part != log.part + 1 {
                let what =
                    format!("it is part {} of the log, behind part {}", after.part, log.part);
                return Err(mismatch(next_path, what));
            }
            settle(&mut file, &next_path, &after, report)?;
            Ok(Log::new(file, next_path, after.part, after.entries, Some(log.entries)))
        }
        _ => {
            folder.remove(NEXT).map_err(TableError::io("remove", &next_path))?;
            Ok(Log::new(txn, txn_path, log.part, log.entries, None))
        }
    }
}
