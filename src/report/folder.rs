//! The folder of a run.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{FORMATS, FormatError, Report};

/// Why a run's folder could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refused.
    #[error("cannot write {}: {source}; choose another folder with --out", path.display())]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused to read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// What was to be read.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A `summary.json` of something else.
    #[error("{} is no summary of this program ({source}); remove it", path.display())]
    NoSummary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A format could not express the report.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// Makes the folder, with its parents; it may exist.
pub fn prepare(folder: &Path) -> Result<(), FolderError> {
    fs::create_dir_all(folder).map_err(|source| FolderError::Io { path: folder.to_owned(), source })
}

/// Makes a new folder `PREFIX-n` below `root`, with the smallest free n from 1, and returns its name.
pub fn numbered(root: &Path, prefix: &str) -> Result<String, FolderError> {
    prepare(root)?;
    let mut n = 1u64;
    loop {
        let name = format!("{prefix}-{n}");
        // Creating is also the test whether it is free: two runs never get the same folder.
        match fs::create_dir(root.join(&name)) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => n += 1,
            Err(source) => return Err(FolderError::Io { path: root.join(&name), source }),
        }
    }
}

/// Writes a file of each format into the folder, and returns their names.
pub fn write_files(report: &Report, folder: &Path) -> Result<Vec<&'static str>, FolderError> {
    for format in FORMATS {
        write_text(folder, format.file, &(format.write)(report)?)?;
    }
    Ok(FORMATS.iter().map(|format| format.file).collect())
}

/// Writes one file into the folder.
pub fn write_text(folder: &Path, file: &str, text: &str) -> Result<(), FolderError> {
    let path = folder.join(file);
    fs::write(&path, text).map_err(|source| FolderError::Io { path, source })
}
