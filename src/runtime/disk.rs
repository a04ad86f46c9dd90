//! The disk side of a replica: `storage.txt` behind a lock of its own, and the answers that wait for it.
//!
//! Lines gather in a queue in the order the node produced them. Whoever needs them written takes the file's
//! lock and writes all that is there in one go. With `--sync always` the answers are then left to the disk
//! thread, which hands out after each fdatasync all that it covered: one sync for all that wait.
//!
//! A disk that cannot be written ends the replica: nothing is answered from then on.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tracing::warn;

use super::ports::Owner;
use super::replica::{Replica, Source};
use super::slot::Ticket;
use super::sync::{lock, wait_for};
use super::{Opened, Settings, SyncPolicy};
use crate::node::{InstallResult, LogWrite, NodeLog, Reply};
use crate::protocol::Reads;
use crate::storage::{self, Compacted, Compaction, Finish, Handle, RealDisk, StorageError};
use crate::wire::peer::{Chunk, Fetch, Message};

/// How long after a write `--sync batch` syncs it.
const BATCH_INTERVAL: Duration = Duration::from_millis(10);

/// How often it is looked whether a compaction is due.
const COMPACTION_INTERVAL: Duration = Duration::from_millis(100);

/// About how many bytes of `storage.txt` are sent to a peer at once.
const CHUNK_SIZE: usize = 256 * 1024;

#[derive(Debug, Default)]
struct Queue {
    writes: Vec<LogWrite>,
    /// The log offset behind the last line.
    end: u64,
}

struct File {
    log: NodeLog<RealDisk>,
    /// How an installation has ended; the node is to be told.
    installed: Option<InstallResult>,
}

/// The disk side of one replica.
pub(super) struct Disk {
    policy: SyncPolicy,
    queue: Mutex<Queue>,
    file: Mutex<File>,
    /// The log offset up to which all is in the file.
    written: AtomicU64,
    /// The position up to which all is as safe as the policy wants it before it is shown.
    durable: AtomicU64,
    /// The log offset up to which all is synced.
    synced: AtomicU64,
    /// Answers that wait for a sync.
    deferred: Mutex<Vec<Reply<Ticket>>>,
    /// Signalled, with the lock of `deferred`, when something is to be synced or has been.
    changed: Condvar,
    dirty: AtomicBool,
    failed: OnceLock<String>,
    pub(super) syncs: AtomicU64,
}

/// Opens the store in a folder, which is created if need be.
pub(super) fn open(folder: &Path, settings: &Settings) -> Result<Opened, StorageError> {
    let versions = settings.mode.has_versions();
    let mut opened = storage::open_as(RealDisk::open(folder)?, settings.hash_seed, versions)?;
    opened.store.compact_from(settings.compact_above);
    if let Some(torn) = &opened.report.torn {
        let (bytes, line, damage) = (torn.bytes, torn.line, &torn.damage);
        warn!(
            "{}: cut off {bytes} bytes from line {line} on, which a crash had left unfinished: {damage}",
            folder.join("storage.txt").display()
        );
    }
    let mut pending = Vec::new();
    for (_, bytes) in &opened.pending {
        // The line's checksum held, so this is a note of another version, or a fault of ours.
        match Message::decode(bytes) {
            Ok(message) => pending.push(message),
            Err(error) => warn!("{}: skipped a pending write: {error}", folder.display()),
        }
    }
    let position = opened.store.position();
    let log = NodeLog::new(opened.log, settings.hash_seed);
    let disk = Disk {
        policy: settings.sync,
        queue: Mutex::default(),
        written: AtomicU64::new(log.file.written()),
        durable: AtomicU64::new(position),
        synced: AtomicU64::new(log.file.written()),
        file: Mutex::new(File { log, installed: None }),
        deferred: Mutex::default(),
        changed: Condvar::new(),
        dirty: AtomicBool::new(false),
        failed: OnceLock::new(),
        syncs: AtomicU64::new(0),
    };
    Ok(Opened { store: opened.store, pending, kept: opened.kept, disk })
}

impl Disk {
    /// Takes lines (and steps of an installation) in; gives the offset behind all that has been taken in.
    pub(super) fn enqueue(&self, writes: &mut Vec<LogWrite>) -> u64 {
        let mut queue = lock(&self.queue);
        for write in writes.drain(..) {
            let LogWrite::Append(batch) = write else {
                queue.writes.push(write);
                continue;
            };
            queue.end = batch.end;
            if let Some(LogWrite::Append(last)) = queue.writes.last_mut() {
                last.bytes.extend_from_slice(&batch.bytes);
                (last.end, last.position) = (batch.end, batch.position);
            } else {
                queue.writes.push(LogWrite::Append(batch));
            }
        }
        queue.end
    }

    /// Makes sure that everything up to this offset is in the file.
    ///
    /// # Errors
    /// The disk has failed, now or before.
    pub(super) fn write_through(&self, end: u64) -> Result<(), String> {
        if self.written() >= end && lock(&self.queue).writes.is_empty() {
            return self.check();
        }
        let mut file = lock(&self.file);
        let writes = std::mem::take(&mut lock(&self.queue).writes);
        if writes.is_empty() {
            // Whoever had the file before has written these lines as well.
            return self.check();
        }
        self.check()?;
        for write in writes {
            match file.log.carry_out(write) {
                Ok(None) => {}
                Ok(ended) => file.installed = ended,
                Err(error) => {
                    let _ = self.failed.set(error.to_string());
                    return self.check();
                }
            }
        }
        self.written.store(file.log.file.written(), Ordering::Release);
        if self.policy != SyncPolicy::Always {
            self.durable.store(file.log.file.position(), Ordering::Release);
        }
        drop(file);
        if self.policy != SyncPolicy::Os && !self.dirty.swap(true, Ordering::AcqRel) {
            let _guard = lock(&self.deferred);
            self.changed.notify_all();
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        self.failed.get().map_or(Ok(()), |why| Err(why.clone()))
    }

    /// Hands answers out, or leaves them to the next sync.
    pub(super) fn hand_out(&self, replies: Vec<Reply<Ticket>>) {
        if replies.is_empty() {
            return;
        }
        if self.policy == SyncPolicy::Always {
            let synced = self.synced.load(Ordering::Acquire);
            let (covered, rest): (Vec<_>, Vec<_>) =
                replies.into_iter().partition(|reply| reply.after <= synced);
            for reply in covered {
                reply.ticket.answer(reply.outcome, reply.version);
            }
            if !rest.is_empty() {
                let mut deferred = lock(&self.deferred);
                deferred.extend(rest);
                self.dirty.store(true, Ordering::Release);
                self.changed.notify_all();
            }
        } else {
            for reply in replies {
                reply.ticket.answer(reply.outcome, reply.version);
            }
        }
    }

    /// Up to where the log is kept as the policy wants it. Where that is short of `end`, it will be soon.
    fn kept(&self, end: u64) -> u64 {
        if self.policy != SyncPolicy::Always {
            return self.written();
        }
        let synced = self.synced.load(Ordering::Acquire);
        if synced < end && !self.dirty.swap(true, Ordering::AcqRel) {
            let _guard = lock(&self.deferred);
            self.changed.notify_all();
        }
        synced
    }

    /// A state that has been installed since the last call.
    pub(super) fn take_installed(&self) -> Option<InstallResult> {
        lock(&self.file).installed.take()
    }

    /// The log offset up to which all is in the file.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Whether what was written at this position may be shown.
    pub(super) fn is_durable(&self, position: u64) -> bool {
        self.durable.load(Ordering::Acquire) >= position
    }

    /// Waits for the disk thread to make a position durable.
    pub(super) fn wait_synced(&self, position: u64, deadline: Instant) -> bool {
        let mut guard = lock(&self.deferred);
        while !self.is_durable(position) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.failed.get().is_some() {
                return false;
            }
            guard = wait_for(&self.changed, guard, left);
        }
        true
    }

    /// Syncs what has been written, and hands out the answers that it covers.
    fn sync(&self) -> Result<(), String> {
        self.check()?;
        let (handle, written, position) = {
            let file = lock(&self.file);
            (file.log.file.sync_handle(), file.log.file.written(), file.log.file.position())
        };
        if let Err(error) = handle.sync() {
            let _ = self.failed.set(format!("cannot sync the store: {error}"));
            return self.check();
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.synced.fetch_max(written, Ordering::AcqRel);
        if self.policy == SyncPolicy::Always {
            self.durable.store(position, Ordering::Release);
        }
        let mut deferred = lock(&self.deferred);
        // They stand here as threads came by, which is not the order of the log.
        for reply in deferred.extract_if(.., |reply| reply.after <= written) {
            reply.ticket.answer(reply.outcome, reply.version);
        }
        self.changed.notify_all();
        Ok(())
    }

    /// The part of the file that a peer asks for.
    pub(super) fn read_chunk(&self, fetch: Fetch) -> Result<Chunk, StorageError> {
        lock(&self.file).log.read_chunk(fetch, CHUNK_SIZE)
    }

    /// The last write and the last sync. A disk that failed before has been reported and is left alone.
    pub(super) fn close(&self) {
        if self.failed.get().is_some() {
            return;
        }
        let result = self.write_through(u64::MAX).and_then(|()| self.sync());
        if let Err(why) = result {
            warn!("the store could not be closed in order: {why}");
        }
    }
}

impl Replica {
    /// Makes sure that lines are in the file; the replica ends if they cannot be.
    pub(super) fn write_through(&self, end: u64) {
        if let Err(why) = self.disk.write_through(end) {
            self.fail(&why);
        }
    }

    /// Tells the node how far its log is kept: what it has promised can leave then.
    pub(super) fn tell_kept(&self, source: Source, end: u64) {
        let kept = self.disk.kept(end);
        if !self.failed() && self.look(|node, _| node.waits_for_kept(kept)) {
            self.note_told();
            self.drive_on(source, |node, _| node.kept(kept));
        }
    }

    /// Waits until what was written at this position may be shown; `false` if it may not be.
    pub(super) fn wait_durable(&self, position: u64) -> bool {
        if self.settings.sync == SyncPolicy::Always {
            let deadline = Instant::now() + self.settings.write_timeout;
            return self.disk.wait_synced(position, deadline);
        }
        // The lines are in the queue, or being written by someone else: this waits for either.
        self.write_through(u64::MAX);
        self.disk.is_durable(position)
    }

    /// The body of the disk thread: syncs.
    pub(super) fn run_disk(&self) {
        let disk = &self.disk;
        while !self.stopping() {
            {
                let guard = lock(&disk.deferred);
                if !disk.dirty.load(Ordering::Acquire) {
                    drop(wait_for(&disk.changed, guard, Duration::from_millis(250)));
                }
            }
            if self.settings.sync == SyncPolicy::Batch {
                self.pause(BATCH_INTERVAL);
            }
            if disk.dirty.swap(false, Ordering::AcqRel)
                && let Err(why) = disk.sync()
            {
                return self.fail(&why);
            }
            let mode = self.settings.mode;
            if mode.reads == Reads::Current || mode.has_versions() {
                self.tell_kept(Source::Own, 0);
                self.empty_inbox();
            }
        }
    }

    /// The body of the compaction thread.
    pub(super) fn run_compaction(&self) {
        while !self.stopping() {
            self.pause(COMPACTION_INTERVAL);
            if self.stopping() {
                return;
            }
            if !self.look(|node, _| node.store().wants_compaction()) {
                continue;
            }
            match self.compact() {
                Ok(()) => {}
                // A peer's state is being installed, which leaves nothing to compact; or the replica stops.
                Err(StorageError::Replaced { .. } | StorageError::Interrupted) => {}
                Err(error) => {
                    warn!("replica {}: compaction failed, the file stays: {error}", self.id);
                }
            }
        }
    }

    /// Drops the garbage of the file, beside running appends.
    fn compact(&self) -> Result<(), StorageError> {
        let compaction = {
            let mut file = lock(&self.disk.file);
            if file.log.is_installing() {
                return Ok(());
            }
            file.log.file.begin_compaction()?
        };
        self.tend(|node| node.store_mut().compaction_started());
        let result = self.finish_compaction(compaction);
        self.tend(|node| node.store_mut().compaction_ended(result.as_ref().ok().copied()));
        result.map(|_| ())
    }

    fn finish_compaction(
        &self,
        mut compaction: Box<Compaction<RealDisk>>,
    ) -> Result<Compacted, StorageError> {
        compaction.run(|records| {
            (!self.stopping()).then(|| self.look(|node, _| node.store().are_live(records)))
        })?;
        loop {
            if self.stopping() {
                return Err(StorageError::Interrupted);
            }
            // The new file must not show before the old one holds all that it was judged by.
            self.write_through(u64::MAX);
            let len = lock(&self.disk.file).log.file.len();
            compaction.catch_up(len)?;
            match lock(&self.disk.file).log.file.finish_compaction(compaction)? {
                Finish::Done(compacted) => return Ok(compacted),
                Finish::NotYet(again) => compaction = again,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::{Outcome, Timestamp};
    use crate::runtime::slot::Slot;

    #[test]
    fn a_sync_hands_out_what_it_covers_in_whatever_order_it_came() {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = crate::protocol::mode("sequential").expect("it is built");
        let settings = Settings { sync: SyncPolicy::Always, ..Settings::new(mode) };
        let disk = open(folder.path(), &settings).expect("an empty folder opens").disk;
        let slot = Arc::new(Slot::default());
        let round = slot.begin(3);
        for (index, after) in [u64::MAX, 0, disk.written()].into_iter().enumerate() {
            let ticket = slot.ticket(round, index);
            let version = Timestamp::ZERO;
            disk.hand_out(vec![Reply { ticket, outcome: Outcome::Stored, after, version }]);
        }
        disk.sync().expect("the disk takes it");
        let stored = Some(Outcome::Stored);
        assert_eq!(slot.wait(Instant::now()), [None, stored, stored]);
    }
}
