//! The folder a hash table lives in, as a trait, and the real one.
//!
//! What the trait promises beside what [`crate::storage::Disk`] says of appends and syncs:
//! - a file that is created, renamed or removed may be found as it was before after a crash, until
//!   [`Folder::sync`] has returned; never anything else, and never a mixture of the two files of a rename;
//! - names and contents are synced apart: a synced file whose name is not durable may be gone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::disk::{Handle, RealFile, lock, remove_if_there, sync_folder};
use crate::storage::error::StorageError;

/// A few append-only files under names.
pub trait Folder: Send + Sync + 'static {
    /// One of the files.
    type File: AppendFile;

    /// What to call a file in messages.
    fn path(&self, name: &str) -> String;
    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Option<Self::File>>;
    /// Begins a new file; one that had the name is gone.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Gives a file another name; one that had it is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file, if it is there.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;
}

/// One append-only file.
pub trait AppendFile: Send {
    /// Reads and syncs without the owner's lock.
    type Handle: Handle;

    /// The length in bytes.
    fn len(&self) -> u64;
    /// Whether there is nothing in the file.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Appends all of `bytes`, or nothing: what a failed append has left is gone after the next
    /// successful append or cut.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file to `len` bytes, durably.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// A handle on the file.
    fn handle(&self) -> Self::Handle;
}

impl AppendFile for RealFile {
    type Handle = Arc<File>;

    fn len(&self) -> u64 {
        RealFile::len(self)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        RealFile::append(self, bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        RealFile::cut(self, len)
    }

    fn handle(&self) -> Arc<File> {
        RealFile::handle(self)
    }
}

/// A folder of the system's, held by this process alone.
#[derive(Debug)]
pub struct RealFolder {
    folder: PathBuf,
    /// The lock goes with the process, however it ends.
    _lock: File,
}

impl RealFolder {
    /// Opens a folder, creating it where it is missing, and locks it until this value is dropped.
    ///
    /// # Errors
    /// It cannot be created or written, or another process has it ([`StorageError::InUse`]).
    pub fn open(folder: &Path) -> Result<Self, StorageError> {
        let shown = folder.display().to_string();
        fs::create_dir_all(folder).map_err(StorageError::io("create the folder", &shown))?;
        let lock = lock(&folder.join("lock"))?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }
}

impl Folder for RealFolder {
    type File = RealFile;

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn open(&self, name: &str) -> io::Result<Option<RealFile>> {
        match OpenOptions::new().read(true).write(true).open(self.folder.join(name)) {
            Ok(file) => RealFile::new(file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &str) -> io::Result<RealFile> {
        // A new file, not the old one emptied: whoever still has that one open does no harm.
        self.remove(name)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        RealFile::new(options.open(self.folder.join(name))?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        remove_if_there(&self.folder.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        sync_folder(&self.folder)
    }
}
