//! What can go wrong when a history is read; each names the place.

use std::fmt;
use std::io;

use thiserror::Error;

use super::BuildError;

/// A place in a file, for people: lines and columns start at 1, columns count characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why a history cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The input failed.
    #[error("{file}: cannot be read: {error}")]
    Io {
        /// The file.
        file: String,
        /// What the system says.
        error: io::Error,
    },
    /// There is nothing in it.
    #[error("{file}: expected a recorded history, found {found}")]
    Empty {
        /// The file.
        file: String,
        /// How it is empty.
        found: &'static str,
    },
    /// It is no text.
    #[error("{file}: expected text, found a binary file ({what} at byte {offset})")]
    Binary {
        /// The file.
        file: String,
        /// Where, in bytes from the start of the file.
        offset: u64,
        /// What shows it.
        what: &'static str,
    },
    /// It is text of no format known here.
    #[error(
        "{file}:1:1: expected a history in one of the formats {known}, found {found}; name the \
         format if it is one of them"
    )]
    Unrecognised {
        /// The file.
        file: String,
        /// The formats.
        known: String,
        /// How it begins.
        found: String,
    },
    /// A line, or an operation that spans lines, has no end within the bound.
    #[error("{place}: expected {what} of at most {} MiB, found a longer one", limit >> 20)]
    TooLong {
        /// Where it begins.
        place: Place,
        /// What is too long.
        what: &'static str,
        /// The bound in bytes.
        limit: usize,
    },
    /// Something else stands there than should.
    #[error("{place}: expected {expected}, found {found}")]
    Malformed {
        /// Where.
        place: Place,
        /// What should stand there.
        expected: String,
        /// What does.
        found: String,
    },
    /// The event is well-formed and cannot be true.
    #[error("{place}: {error}")]
    Build {
        /// Where the event stands.
        place: Place,
        /// Why not.
        error: BuildError,
    },
}

/// Some input as a message shows it: in backticks, on one line, cut short.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 48;
    if text.is_empty() {
        return "the end of the line".to_owned();
    }
    let mut out = String::from("`");
    for (count, letter) in text.chars().enumerate() {
        if count == MOST {
            out.push('…');
            break;
        }
        if letter.is_control() {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out.push('`');
    out
}
