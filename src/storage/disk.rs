//! The one file a store lives in, as a trait, and the real one: `DIR/storage.txt`, or another name.
//!
//! What the trait promises, and what everything above relies on:
//! - an append either happens, or returns an error and leaves the length where it was;
//! - what was there when a sync began survives a crash once that sync has returned. After a **failed**
//!   sync the system may have dropped the pages: do not sync again and go on, stop serving;
//! - a replacement becomes the file in one step, at the commit: a crash leaves the old or the new file,
//!   each complete, and the new one for certain once the commit has returned;
//! - a [`Handle`] works without the owner's lock, from any thread. A sync through a handle taken before
//!   a commit covers what it covered: the commit itself has made all of that durable.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::StorageError;
use crate::base::limits::HIGHEST_MAX_VALUE;

/// One append-only file that can be replaced as a whole.
pub trait Disk: Send {
    /// Reads and syncs without the owner's lock.
    type Handle: Handle;
    /// A file that may take the place of the current one.
    type Replacement: Replacement;

    /// What to call the file in messages.
    fn path(&self) -> &str;
    /// The length in bytes.
    fn len(&self) -> u64;
    /// Whether there is nothing in the file.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Appends all of `bytes`, or nothing.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file to `len` bytes, durably.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// A handle on the current file.
    fn handle(&self) -> Self::Handle;
    /// Begins a replacement; one that was begun before and not committed is gone.
    fn begin_replacement(&mut self) -> io::Result<Self::Replacement>;
    /// Syncs the replacement and makes it the file, durably.
    fn commit(&mut self, replacement: Self::Replacement) -> io::Result<()>;
}

/// Access to a file from any thread.
pub trait Handle: Clone + Debug + Send + Sync + 'static {
    /// Makes durable what has been appended (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// A file being written beside the current one.
pub trait Replacement: Debug + Send {
    /// Appends all of `bytes`.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes durable what has been appended, so that little is left to do at the commit.
    fn sync(&mut self) -> io::Result<()>;
}

/// An append-only file of the system's.
#[derive(Debug)]
pub struct RealFile {
    file: Arc<File>,
    len: u64,
    /// Set while the bytes behind `len` are unknown: an append failed and could not be undone.
    dirty_tail: bool,
}

impl RealFile {
    /// Takes a file that is open for reading and writing.
    ///
    /// # Errors
    /// It is no regular file, or its length cannot be had.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("expected a regular file"));
        }
        Ok(Self { file: Arc::new(file), len: metadata.len(), dirty_tail: false })
    }

    /// The length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Appends all of `bytes`, or nothing.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.dirty_tail {
            self.file.set_len(self.len)?;
            self.dirty_tail = false;
        }
        if let Err(error) = self.file.write_all_at(bytes, self.len) {
            // A part may have been written. It must not be left for a shorter append to lie before.
            self.dirty_tail = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Cuts the file to `len` bytes, durably.
    pub(super) fn cut(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.len = len;
        self.dirty_tail = false;
        self.file.sync_all()
    }

    /// Reads and syncs from any thread.
    pub(super) fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

/// `DIR/NAME`, held by this process alone.
#[derive(Debug)]
pub struct RealDisk {
    folder: PathBuf,
    name: &'static str,
    path: String,
    file: RealFile,
    /// Tells the replacement begun last from older ones.
    replacements: u64,
    /// The lock goes with the process, however it ends.
    _lock: File,
}

impl RealDisk {
    /// Opens `storage.txt` in `folder`; see [`RealDisk::open_file`].
    pub fn open(folder: &Path) -> Result<Self, StorageError> {
        Self::open_file(folder, "storage.txt")
    }

    /// Opens a file in `folder`, creating both where they are missing. The folder is locked until this
    /// value is dropped; a second process gets [`StorageError::InUse`].
    pub fn open_file(folder: &Path, name: &'static str) -> Result<Self, StorageError> {
        let shown = folder.display().to_string();
        fs::create_dir_all(folder).map_err(StorageError::io("create the folder", &shown))?;
        let lock = lock(&folder.join("lock"))?;
        let file_path = folder.join(name);
        let path = file_path.display().to_string();
        // Left behind by a process that ended during a compaction; it was never the file.
        remove_if_there(&replacement_path(folder, name))
            .map_err(StorageError::io("remove the unfinished replacement of", &path))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&file_path).map_err(StorageError::io("open", &path))?;
        sync_folder(folder).map_err(StorageError::io("sync the folder of", &path))?;
        let file = RealFile::new(file).map_err(StorageError::io("use", &path))?;
        Ok(Self { folder: folder.to_owned(), name, path, file, replacements: 0, _lock: lock })
    }
}

/// Takes the lock file of a folder; the lock goes with the process, however it ends.
pub(super) fn lock(path: &Path) -> Result<File, StorageError> {
    let shown = path.display().to_string();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.open(path).map_err(StorageError::io("open", &shown))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse { path: shown }),
        Err(TryLockError::Error(error)) => Err(StorageError::io("lock", &shown)(error)),
    }
}

fn replacement_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.new"))
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes creations and renames in the folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

impl Disk for RealDisk {
    type Handle = Arc<File>;
    type Replacement = RealReplacement;

    fn path(&self) -> &str {
        &self.path
    }

    fn len(&self) -> u64 {
        self.file.len()
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.append(bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.file.cut(len)
    }

    fn handle(&self) -> Arc<File> {
        self.file.handle()
    }

    fn begin_replacement(&mut self) -> io::Result<RealReplacement> {
        // A new file, not the old one emptied: whoever still writes to that one does no harm.
        remove_if_there(&replacement_path(&self.folder, self.name))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = options.open(replacement_path(&self.folder, self.name))?;
        self.replacements += 1;
        Ok(RealReplacement { file, len: 0, number: self.replacements })
    }

    fn commit(&mut self, replacement: RealReplacement) -> io::Result<()> {
        if replacement.number != self.replacements {
            return Err(io::Error::other("another replacement was begun since"));
        }
        replacement.file.sync_all()?;
        fs::rename(replacement_path(&self.folder, self.name), self.folder.join(self.name))?;
        self.file =
            RealFile { file: Arc::new(replacement.file), len: replacement.len, dirty_tail: false };
        sync_folder(&self.folder)
    }
}

impl Handle for Arc<File> {
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self.as_ref(), buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// `DIR/NAME.new`.
#[derive(Debug)]
pub struct RealReplacement {
    file: File,
    len: u64,
    number: u64,
}

impl Replacement for RealReplacement {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.len)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads a range of a file in blocks of whole lines.
pub(super) struct Blocks<H> {
    handle: H,
    path: String,
    buffer: Vec<u8>,
    filled: usize,
    /// How many bytes at the front of the buffer were handed out before.
    used: usize,
    offset: u64,
    end: u64,
}

/// How much is read at once, at the least.
const BLOCK: usize = 1 << 20;

/// No line that was ever written is longer: every byte of the greatest value escaped, and the columns.
const MAX_LINE: usize = 4 * HIGHEST_MAX_VALUE + (1 << 16);

impl<H: Handle> Blocks<H> {
    pub fn new(handle: H, path: &str, start: u64, end: u64) -> Self {
        let (buffer, path) = (Vec::new(), path.to_owned());
        Self { handle, path, buffer, filled: 0, used: 0, offset: start, end }
    }

    /// The next whole lines and where they begin. At the end of the range the rest is handed out as it
    /// is, with or without a line feed; then `None`. A line longer than a block makes the block grow.
    pub fn next(&mut self) -> Result<Option<(u64, &[u8])>, StorageError> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.offset += self.used as u64;
        self.used = 0;
        let mut searched = 0;
        loop {
            let at_end = self.fill()?;
            let fresh = &self.buffer[searched..self.filled];
            let line_end = memchr::memrchr(b'\n', fresh).map(|at| searched + at + 1);
            let at_end = at_end || self.filled > MAX_LINE;
            let cut = if at_end { Some(self.filled) } else { line_end };
            if let Some(cut) = cut {
                self.used = cut;
                return Ok((cut > 0).then(|| (self.offset, &self.buffer[..cut])));
            }
            searched = self.filled;
        }
    }

    /// Reads one more block; whether that was the last.
    fn fill(&mut self) -> Result<bool, StorageError> {
        let left = self.end.saturating_sub(self.offset + self.filled as u64);
        let wanted = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        let full = self.filled + wanted;
        if self.buffer.len() < full {
            self.buffer.resize(full, 0);
        }
        while self.filled < full {
            let at = self.offset + self.filled as u64;
            let read = self.handle.read_at(at, &mut self.buffer[self.filled..full]);
            match read.map_err(StorageError::io("read", &self.path))? {
                0 => return Ok(true),
                more => self.filled += more,
            }
        }
        Ok(left as usize == wanted)
    }
}
