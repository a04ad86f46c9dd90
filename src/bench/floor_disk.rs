//! The disk's floor: the least that an acknowledged write can cost which has to be on the disk first.
//!
//! A bare `write` at the end of a file and `fdatasync`, no more. As a log does it, the file grows; so the file
//! system has its size to write down as well, which is most of the cost on some of them. The file is on the
//! disk of the directory that is given, and is gone when this is dropped.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::report::Tally;

/// A file to append to.
#[derive(Debug)]
pub struct DiskFloor {
    file: File,
    record: Vec<u8>,
}

impl DiskFloor {
    /// A file without a name in `directory`; each record has `length` bytes.
    ///
    /// # Errors
    /// The system refuses a file there.
    pub fn new(directory: &Path, length: usize) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(directory)?, record: vec![b'v'; length] })
    }

    /// Appends and syncs one record, and says how long it took.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub fn append(&mut self) -> io::Result<Duration> {
        let begun = Instant::now();
        self.file.write_all(&self.record)?;
        self.file.sync_data()?;
        Ok(begun.elapsed())
    }

    /// Appends and syncs `count` records, one after the other.
    ///
    /// # Errors
    /// As for [`DiskFloor::append`].
    pub fn measure(&mut self, count: u64) -> io::Result<Tally> {
        let mut tally = Tally::default();
        for _ in 0..count {
            tally.record(self.append()?);
        }
        Ok(tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_counted_and_the_file_has_them_all() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut floor = DiskFloor::new(folder.path(), 40).expect("a file");
        assert_eq!(floor.measure(3).expect("a disk").succeeded(), 3);
        assert_eq!(floor.file.metadata().expect("metadata").len(), 120);
        let mut names = std::fs::read_dir(folder.path()).expect("the folder");
        assert!(names.next().is_none(), "the file has no name");
    }
}
