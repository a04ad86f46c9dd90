//! A disk in memory that crashes on demand, for tests and simulations.
//!
//! Every call that changes something is a step. [`MemDisk::crash_at`] lets a given step fail half-done
//! and every later one fail at once, as if the process had been killed there. [`MemDisk::restart`] gives
//! the disk that a machine would find after losing power: what was synced, as much of the rest as the
//! test chooses, and the old or the new file where a rename had not been made durable.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, Handle, Replacement};

#[derive(Clone, Debug, Default)]
struct Contents {
    data: Vec<u8>,
    synced: usize,
}

/// A sync that has begun and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncUnderWay {
    /// How much of the file it covers.
    len: usize,
    /// Which file.
    renames: u64,
}

#[derive(Debug, Default)]
struct State {
    file: Contents,
    /// How many replacements have become the file.
    renames: u64,
    /// The file before a rename that is not durable yet.
    renamed_over: Option<Contents>,
    replacements: u64,
    steps: u64,
    crash_at: Option<u64>,
    crashed: bool,
    /// How large files may grow; a full disk.
    capacity: Option<usize>,
    sync_fails: bool,
}

impl State {
    /// Counts a step; `Ok(true)` where the crash comes in the middle of it.
    fn step(&mut self) -> io::Result<bool> {
        if self.crashed {
            return Err(io::Error::other("the simulated machine is down"));
        }
        self.steps += 1;
        self.crashed = self.crash_at == Some(self.steps);
        Ok(self.crashed)
    }

    fn whole_step(&mut self) -> io::Result<()> {
        if self.step()? { Err(io::Error::other("simulated crash")) } else { Ok(()) }
    }
}

/// The disk; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
}

impl MemDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk whose file holds these bytes, durably.
    pub fn with_contents(data: Vec<u8>) -> Self {
        let disk = Self::default();
        let synced = data.len();
        disk.lock().file = Contents { data, synced };
        disk
    }

    /// What is in the file now.
    pub fn contents(&self) -> Vec<u8> {
        self.lock().file.data.clone()
    }

    /// How many bytes of the file are durable.
    pub fn synced_len(&self) -> usize {
        self.lock().file.synced
    }

    /// How many bytes are in the file.
    pub fn file_len(&self) -> usize {
        self.lock().file.data.len()
    }

    /// How many steps were taken so far.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// Crashes in the middle of the given step, counted from 1.
    pub fn crash_at(&self, step: u64) {
        self.lock().crash_at = Some(step);
    }

    /// Whether the crash has come.
    pub fn is_down(&self) -> bool {
        self.lock().crashed
    }

    /// Makes the disk full at so many bytes a file.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.lock().capacity = bytes;
    }

    /// Makes every sync fail, or none.
    pub fn fail_syncs(&self, fail: bool) {
        self.lock().sync_fails = fail;
    }

    /// Begins a sync that takes time: it covers what is in the file now, and nothing before it has ended.
    pub fn begin_sync(&self) -> SyncUnderWay {
        let state = self.lock();
        SyncUnderWay { len: state.file.data.len(), renames: state.renames }
    }

    /// Ends a sync.
    ///
    /// # Errors
    /// It fails, or the disk is down.
    pub fn finish_sync(&self, sync: SyncUnderWay) -> io::Result<()> {
        let mut state = self.lock();
        state.whole_step()?;
        if state.sync_fails {
            return Err(io::Error::other("simulated failure of a sync"));
        }
        // Another file was durable as a whole when it took this one's place.
        if state.renames == sync.renames {
            state.file.synced = state.file.synced.max(sync.len.min(state.file.data.len()));
        }
        Ok(())
    }

    /// Lets the disk go on as if nothing had been asked of it: no crash to come, room, syncs that work.
    pub fn heal(&self) {
        let mut state = self.lock();
        (state.crash_at, state.capacity, state.sync_fails) = (None, None, false);
    }

    /// The disk after a loss of power: the durable part of the file and the first `unsynced` bytes behind
    /// it. `keep_rename` chooses whether a rename that was not made durable happened.
    pub fn restart(&self, unsynced: usize, keep_rename: bool) -> Self {
        let state = self.lock();
        let file = match &state.renamed_over {
            Some(old) if !keep_rename => old,
            _ => &state.file,
        };
        let end = file.synced.saturating_add(unsynced).min(file.data.len());
        Self::with_contents(file.data[..end].to_vec())
    }

    /// The disk after kill -9: the system goes on, so all that was written is there, durable or not.
    pub fn after_kill(&self) -> Self {
        let disk = Self::default();
        disk.lock().file = self.lock().file.clone();
        disk
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two related changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(
    contents: &mut Contents,
    bytes: &[u8],
    torn: bool,
    full: Option<usize>,
) -> io::Result<()> {
    if torn {
        contents.data.extend_from_slice(&bytes[..bytes.len() / 2]);
        return Err(io::Error::other("simulated crash"));
    }
    if full.is_some_and(|full| contents.data.len() + bytes.len() > full) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    contents.data.extend_from_slice(bytes);
    Ok(())
}

impl Disk for MemDisk {
    type Handle = MemDisk;
    type Replacement = MemReplacement;

    fn path(&self) -> &str {
        "storage.txt (in memory)"
    }

    fn len(&self) -> u64 {
        self.lock().file.data.len() as u64
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let torn = state.step()?;
        let full = state.capacity;
        append(&mut state.file, bytes, torn, full)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.whole_step()?;
        let file = &mut state.file;
        file.data.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        file.synced = file.data.len();
        Ok(())
    }

    fn handle(&self) -> MemDisk {
        self.clone()
    }

    fn begin_replacement(&mut self) -> io::Result<MemReplacement> {
        let mut state = self.lock();
        state.whole_step()?;
        state.replacements += 1;
        let number = state.replacements;
        Ok(MemReplacement { state: Arc::clone(&self.state), contents: Contents::default(), number })
    }

    fn commit(&mut self, mut replacement: MemReplacement) -> io::Result<()> {
        replacement.sync()?;
        let mut state = self.lock();
        if replacement.number != state.replacements {
            return Err(io::Error::other("another replacement was begun since"));
        }
        state.whole_step()?;
        let old = std::mem::replace(&mut state.file, replacement.contents);
        state.renamed_over = Some(old);
        state.renames += 1;
        state.whole_step()?;
        state.renamed_over = None;
        Ok(())
    }
}

impl Handle for MemDisk {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.whole_step()?;
        if state.sync_fails {
            return Err(io::Error::other("simulated failure of a sync"));
        }
        state.file.synced = state.file.data.len();
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(state.file.data.len());
        let rest = &state.file.data[start..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// A replacement in memory.
#[derive(Debug)]
pub struct MemReplacement {
    state: Arc<Mutex<State>>,
    contents: Contents,
    number: u64,
}

impl Replacement for MemReplacement {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let torn = state.step()?;
        append(&mut self.contents, bytes, torn, state.capacity)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.whole_step()?;
        if state.sync_fails {
            return Err(io::Error::other("simulated failure of a sync"));
        }
        self.contents.synced = self.contents.data.len();
        Ok(())
    }
}
