//! A folder in memory that crashes on demand, for tests and simulations.
//!
//! Every call that changes something is a step; [`MemFolder::crash_at`] lets a given step fail half-done and
//! every later one fail at once. [`MemFolder::restart`] gives the folder that a machine would find after
//! losing power: of each file what was synced, and of the rest any pieces; the names as they were at the
//! last sync, with any of the changes since.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::folder::{AppendFile, Folder};
use crate::storage::disk::Handle;

/// Unsynced bytes survive or vanish (as zeros) in pieces of this size.
const SECTOR: usize = 16;

#[derive(Clone, Debug, Default)]
struct Contents {
    data: Vec<u8>,
    synced: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Name(String, usize),
    /// This very file, whatever else had the old name before.
    Rename(String, String, usize),
    Remove(String),
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Name(name, file) => drop(names.insert(name.clone(), *file)),
        Change::Rename(from, to, file) => {
            if names.get(from) == Some(file) {
                names.remove(from);
            }
            names.insert(to.clone(), *file);
        }
        Change::Remove(name) => drop(names.remove(name)),
    }
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Changes of names since the last sync of the folder.
    changes: Vec<Change>,
    steps: u64,
    crash_at: Option<u64>,
    crashed: bool,
    /// How many bytes all files may take together.
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

    fn change(&mut self, change: Change) -> io::Result<()> {
        // A crash in the middle of it: it may have happened.
        let crashed = self.whole_step();
        apply(&mut self.names, &change);
        self.changes.push(change);
        crashed
    }

    fn used(&self) -> usize {
        self.names.values().map(|file| self.files[*file].data.len()).sum()
    }
}

/// What a loss of power leaves of what was not synced.
#[derive(Clone, Debug, Default)]
pub struct CrashChoice {
    /// Which of the unsynced changes of names happened: bit `i` is the change `i` modulo 64.
    pub renames: u64,
    /// How many unsynced bytes each file keeps.
    pub bytes: usize,
    /// Which pieces of them are zeros: bit `i` is the piece `i` modulo 64.
    pub holes: u64,
}

/// The folder; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemFolder {
    state: Arc<Mutex<State>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing in here panics between two related changes.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemFolder {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a file holds now.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        state.names.get(name).map(|file| state.files[*file].data.clone())
    }

    /// Puts a file there, durably.
    pub fn put(&self, name: &str, data: Vec<u8>) {
        let mut state = lock(&self.state);
        let (file, synced) = (state.files.len(), data.len());
        state.files.push(Contents { data, synced });
        state.names.insert(name.to_owned(), file);
        state.durable.insert(name.to_owned(), file);
    }

    /// The names, sorted.
    pub fn names(&self) -> Vec<String> {
        lock(&self.state).names.keys().cloned().collect()
    }

    /// How many steps were taken so far.
    pub fn steps(&self) -> u64 {
        lock(&self.state).steps
    }

    /// Crashes in the middle of the given step, counted from 1.
    pub fn crash_at(&self, step: u64) {
        lock(&self.state).crash_at = Some(step);
    }

    /// Whether the crash has come.
    pub fn is_down(&self) -> bool {
        lock(&self.state).crashed
    }

    /// Makes the disk full at so many bytes.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        lock(&self.state).capacity = bytes;
    }

    /// Makes every sync fail, or none.
    pub fn fail_syncs(&self, fail: bool) {
        lock(&self.state).sync_fails = fail;
    }

    /// The folder after a loss of power.
    pub fn restart(&self, choice: &CrashChoice) -> Self {
        let state = lock(&self.state);
        let mut names = state.durable.clone();
        for (i, change) in state.changes.iter().enumerate() {
            if choice.renames >> (i % 64) & 1 == 1 {
                apply(&mut names, change);
            }
        }
        let fresh = Self::default();
        for (name, file) in names {
            let Contents { data, synced } = &state.files[file];
            let end = synced.saturating_add(choice.bytes).min(data.len());
            let mut kept = data[..end].to_vec();
            for (i, piece) in kept[*synced..].chunks_mut(SECTOR).enumerate() {
                if choice.holes >> (i % 64) & 1 == 1 {
                    piece.fill(0);
                }
            }
            fresh.put(&name, kept);
        }
        fresh
    }

    /// The folder after kill -9: the system goes on, so all that was written is there, durable or not.
    pub fn after_kill(&self) -> Self {
        let state = lock(&self.state);
        let fresh = Self::default();
        {
            let mut copy = lock(&fresh.state);
            copy.files.clone_from(&state.files);
            copy.names.clone_from(&state.names);
            copy.durable.clone_from(&state.durable);
            copy.changes.clone_from(&state.changes);
        }
        fresh
    }

    fn sync_state(state: &mut State) -> io::Result<()> {
        state.whole_step()?;
        if state.sync_fails { Err(io::Error::other("simulated failure of a sync")) } else { Ok(()) }
    }
}

impl Folder for MemFolder {
    type File = MemFile;

    fn path(&self, name: &str) -> String {
        format!("{name} (in memory)")
    }

    fn open(&self, name: &str) -> io::Result<Option<MemFile>> {
        let file = lock(&self.state).names.get(name).copied();
        Ok(file.map(|file| MemFile { state: Arc::clone(&self.state), file }))
    }

    fn create(&self, name: &str) -> io::Result<MemFile> {
        let mut state = lock(&self.state);
        let file = state.files.len();
        state.files.push(Contents::default());
        state.change(Change::Name(name.to_owned(), file))?;
        Ok(MemFile { state: Arc::clone(&self.state), file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        let file = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change(Change::Rename(from.to_owned(), to.to_owned(), file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        if !state.names.contains_key(name) {
            return Ok(());
        }
        state.change(Change::Remove(name.to_owned()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        Self::sync_state(&mut state)?;
        state.durable = state.names.clone();
        state.changes.clear();
        Ok(())
    }
}

/// A file in memory, and a handle on it.
#[derive(Clone, Debug)]
pub struct MemFile {
    state: Arc<Mutex<State>>,
    file: usize,
}

impl AppendFile for MemFile {
    type Handle = MemFile;

    fn len(&self) -> u64 {
        lock(&self.state).files[self.file].data.len() as u64
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = lock(&self.state);
        let torn = state.step()?;
        let full = state.capacity.is_some_and(|capacity| state.used() + bytes.len() > capacity);
        let data = &mut state.files[self.file].data;
        if torn {
            data.extend_from_slice(&bytes[..bytes.len() / 2]);
            return Err(io::Error::other("simulated crash"));
        }
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        data.extend_from_slice(bytes);
        Ok(())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        MemFolder::sync_state(&mut state)?;
        let file = &mut state.files[self.file];
        file.data.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        file.synced = file.data.len();
        Ok(())
    }

    fn handle(&self) -> MemFile {
        self.clone()
    }
}

impl Handle for MemFile {
    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        MemFolder::sync_state(&mut state)?;
        let file = &mut state.files[self.file];
        file.synced = file.data.len();
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = lock(&self.state);
        let data = &state.files[self.file].data;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
        let length = (data.len() - start).min(buffer.len());
        buffer[..length].copy_from_slice(&data[start..start + length]);
        Ok(length)
    }
}
