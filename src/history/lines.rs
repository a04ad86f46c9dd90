//! The lines of an input: bounded, checked to be text, and without a copy where the input's buffer holds
//! the whole line.

use std::io::{BufRead, ErrorKind};

use super::error::{Place, ReadError};

/// The longest line, in bytes.
pub(super) const MAX_LINE: usize = 64 << 20;

/// One line without its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub text: &'a str,
    /// Which, from 1.
    pub number: u64,
    pub file: &'a str,
}

impl Line<'_> {
    /// The place of the byte at `offset`.
    pub fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let column = before.chars().count() as u64 + 1;
        Place { file: self.file.to_owned(), line: self.number, column }
    }

    /// That something else stands at `offset` than should.
    pub fn malformed(
        &self,
        offset: usize,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> ReadError {
        let place = self.place(offset);
        ReadError::Malformed { place, expected: expected.into(), found: found.into() }
    }
}

/// The lines of an input.
pub(super) struct Lines<'r> {
    input: &'r mut dyn BufRead,
    file: &'r str,
    limit: usize,
    number: u64,
    /// How many bytes came before the current line.
    offset: u64,
    /// How many bytes of the input's buffer belong to the current line.
    taken: usize,
    /// The current line where the input's buffer does not hold all of it.
    spill: Vec<u8>,
}

impl<'r> Lines<'r> {
    pub fn new(input: &'r mut dyn BufRead, file: &'r str) -> Self {
        Self::bounded(input, file, MAX_LINE)
    }

    fn bounded(input: &'r mut dyn BufRead, file: &'r str, limit: usize) -> Self {
        Self { input, file, limit, number: 0, offset: 0, taken: 0, spill: Vec::new() }
    }

    /// The next line, if there is one.
    pub fn next(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        self.input.consume(self.taken);
        let started = self.offset;
        (self.taken, self.number) = (0, self.number + 1);
        self.spill.clear();
        loop {
            let buffer = fill(self.input, self.file)?;
            let end = memchr::memchr(b'\n', buffer);
            let available = end.unwrap_or(buffer.len());
            if self.spill.len() + available > self.limit {
                let place = Place { file: self.file.to_owned(), line: self.number, column: 1 };
                return Err(ReadError::TooLong { place, what: "a line", limit: self.limit });
            }
            if end.is_some() && self.spill.is_empty() {
                self.taken = available + 1;
                self.offset = started + self.taken as u64;
                break;
            }
            let at_end = buffer.is_empty();
            self.spill.extend_from_slice(&buffer[..available]);
            let consumed = available + usize::from(end.is_some());
            self.input.consume(consumed);
            self.offset += consumed as u64;
            if at_end && self.spill.is_empty() {
                return Ok(None);
            }
            if at_end || end.is_some() {
                break;
            }
        }
        let bytes = match self.taken {
            0 => self.spill.as_slice(),
            // The buffer is as it was: nothing was consumed since.
            taken => &fill(self.input, self.file)?[..taken - 1],
        };
        let text = text(bytes, self.file, started)?;
        let text = text.strip_suffix('\r').unwrap_or(text);
        let text = if self.number == 1 { without_mark(text) } else { text };
        Ok(Some(Line { text, number: self.number, file: self.file }))
    }
}

/// Some editors begin a file with a byte order mark.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// What the input's buffer holds, filled where it is empty.
pub(super) fn fill<'a>(input: &'a mut dyn BufRead, file: &str) -> Result<&'a [u8], ReadError> {
    loop {
        match input.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(ReadError::Io { file: file.to_owned(), error }),
            Ok(_) => break,
        }
    }
    // Asked twice because the borrow checker does not let the first answer leave the loop; the buffer is
    // full, so that this costs nothing.
    input.fill_buf().map_err(|error| ReadError::Io { file: file.to_owned(), error })
}

/// The bytes as text, where they are.
pub(super) fn text<'a>(bytes: &'a [u8], file: &str, offset: u64) -> Result<&'a str, ReadError> {
    let binary = |at: usize, what: &'static str| ReadError::Binary {
        file: file.to_owned(),
        offset: offset + at as u64,
        what,
    };
    if let Some(at) = memchr::memchr(0, bytes) {
        return Err(binary(at, "a zero byte"));
    }
    std::str::from_utf8(bytes)
        .map_err(|error| binary(error.valid_up_to(), "a byte that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn all(bytes: &[u8], capacity: usize, limit: usize) -> Result<Vec<String>, String> {
        let mut input = BufReader::with_capacity(capacity, bytes);
        let mut lines = Lines::bounded(&mut input, "f", limit);
        let mut all = Vec::new();
        loop {
            match lines.next() {
                Ok(Some(line)) => all.push(line.text.to_owned()),
                Ok(None) => return Ok(all),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    #[test]
    fn lines_are_the_same_whatever_the_buffer() {
        for capacity in 1..12 {
            let lines = all("\u{feff}a\r\n\nbcdé\n\nlast".as_bytes(), capacity, 9);
            assert_eq!(lines.expect("text"), ["a", "", "bcdé", "", "last"]);
            assert_eq!(all(b"a\n", capacity, 9).expect("text"), ["a"]);
            assert_eq!(all(b"", capacity, 9).expect("text"), [""; 0]);
        }
    }

    #[test]
    fn binary_and_endless_lines_are_named() {
        for capacity in 1..12 {
            let binary = all(b"abc\nd\0\n", capacity, 9).expect_err("a zero");
            assert_eq!(binary, "f: expected text, found a binary file (a zero byte at byte 5)");
            let binary = all(b"abc\nde\xff\n", capacity, 9).expect_err("no text");
            assert!(binary.contains("a byte that is not UTF-8 at byte 6"), "{binary}");
            let long = all(b"abc\n0123456789\n", capacity, 9).expect_err("too long");
            assert!(long.starts_with("f:2:1: expected a line of at most"), "{long}");
        }
    }
}
