//! Cuts an input of operation maps, in EDN or in JSON, into one text a map, without reading the whole input
//! into memory.
//!
//! The maps may stand one behind the other or within one vector, list or array, with anything from one line
//! for all of them to many lines for each.

use std::io::BufRead;

use super::error::{Place, ReadError, shown};
use super::lines::{MAX_LINE, fill, text};

/// How many bytes are taken from the input at a time.
const CHUNK: usize = 1 << 15;

/// What the input is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Edn,
    Json,
}

/// One map, from its opening brace to its closing one.
pub(super) struct Form<'a> {
    pub text: &'a str,
    file: &'a str,
    line: u64,
    /// Where it begins on its line, in characters from 1.
    column: u64,
}

impl Form<'_> {
    /// The place of the byte at `offset`.
    pub fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let lines = before.matches('\n').count() as u64;
        let column = match before.rfind('\n') {
            None => self.column + before.chars().count() as u64,
            Some(at) => before[at + 1..].chars().count() as u64 + 1,
        };
        Place { file: self.file.to_owned(), line: self.line + lines, column }
    }

    /// That something else stands at `offset` than should.
    pub fn malformed(&self, offset: usize, expected: &str, found: impl Into<String>) -> ReadError {
        let place = self.place(offset);
        ReadError::Malformed { place, expected: expected.to_owned(), found: found.into() }
    }
}

/// Where the cutter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between maps.
    Between,
    /// In a comment between maps.
    Comment,
    /// In the tag in front of a map.
    Tag,
    /// In a map.
    Within,
    WithinString,
    /// Behind a backslash in a string.
    StringEscape,
    WithinComment,
    /// Behind a backslash outside of strings: a character of EDN.
    Character,
}

/// The maps of an input.
pub(super) struct Forms<'r> {
    input: &'r mut dyn BufRead,
    file: &'r str,
    syntax: Syntax,
    state: State,
    /// The bracket that closes the vector around all maps, where there is one.
    around: Option<u8>,
    /// Whether the vector is closed.
    closed: bool,
    /// Whether anything but blanks and comments came.
    begun: bool,
    depth: usize,
    chunk: Vec<u8>,
    /// How much of the chunk was taken.
    at: usize,
    form: Vec<u8>,
    /// How many bytes were taken.
    offset: u64,
    line: u64,
    column: u64,
    started: (u64, u64, u64),
}

impl<'r> Forms<'r> {
    pub fn new(input: &'r mut dyn BufRead, file: &'r str, syntax: Syntax) -> Self {
        Self {
            input,
            file,
            syntax,
            state: State::Between,
            around: None,
            closed: false,
            begun: false,
            depth: 0,
            chunk: Vec::new(),
            at: 0,
            form: Vec::new(),
            offset: 0,
            line: 1,
            column: 1,
            started: (0, 1, 1),
        }
    }

    /// The next map, if there is one.
    pub fn next(&mut self) -> Result<Option<Form<'_>>, ReadError> {
        self.form.clear();
        loop {
            if self.at == self.chunk.len() && !self.refill()? {
                return self.end();
            }
            let mut complete = false;
            while self.at < self.chunk.len() && !complete {
                complete = self.byte(self.chunk[self.at])?;
                self.at += 1;
            }
            if self.form.len() > MAX_LINE {
                let place = self.start();
                return Err(ReadError::TooLong { place, what: "an operation", limit: MAX_LINE });
            }
            if complete {
                let (offset, line, column) = self.started;
                let text = text(&self.form, self.file, offset)?;
                return Ok(Some(Form { text, file: self.file, line, column }));
            }
        }
    }

    /// Takes the next bytes of the input; false where it has ended.
    fn refill(&mut self) -> Result<bool, ReadError> {
        let buffer = fill(self.input, self.file)?;
        let length = buffer.len().min(CHUNK);
        self.chunk.clear();
        self.chunk.extend_from_slice(&buffer[..length]);
        self.at = 0;
        self.input.consume(length);
        if let Some(at) = memchr::memchr(0, &self.chunk) {
            let (file, what) = (self.file.to_owned(), "a zero byte");
            return Err(ReadError::Binary { file, offset: self.offset + at as u64, what });
        }
        Ok(length > 0)
    }

    fn here(&self) -> Place {
        Place { file: self.file.to_owned(), line: self.line, column: self.column }
    }

    fn start(&self) -> Place {
        let (_, line, column) = self.started;
        Place { file: self.file.to_owned(), line, column }
    }

    /// The input has ended.
    fn end(&mut self) -> Result<Option<Form<'_>>, ReadError> {
        let malformed = |place, expected: &str| {
            let (expected, found) = (expected.to_owned(), "the end of the file".to_owned());
            Err(ReadError::Malformed { place, expected, found })
        };
        match self.state {
            State::Between | State::Comment if self.around.is_some() && !self.closed => {
                malformed(self.here(), "another operation, or the bracket that closes the history")
            }
            State::Between | State::Comment => Ok(None),
            State::Tag => malformed(self.here(), "a map behind the tag"),
            _ => malformed(self.start(), "an operation that is closed"),
        }
    }

    /// Takes one byte; says whether it completed a map.
    fn byte(&mut self, byte: u8) -> Result<bool, ReadError> {
        match self.state {
            State::Between => self.between(byte)?,
            State::Tag if byte == b'{' => self.open(byte),
            State::Tag if byte.is_ascii_whitespace() => self.state = State::Between,
            State::Comment if byte == b'\n' => self.state = State::Between,
            State::Tag | State::Comment => {}
            _ => {
                self.form.push(byte);
                self.within(byte);
            }
        }
        let complete = self.state == State::Within && self.depth == 0;
        if complete {
            self.state = State::Between;
        }
        self.offset += 1;
        if byte == b'\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else if byte & 0xc0 != 0x80 {
            // The first byte of a character.
            self.column += 1;
        }
        Ok(complete)
    }

    fn open(&mut self, byte: u8) {
        self.started = (self.offset, self.line, self.column);
        self.form.push(byte);
        (self.state, self.depth, self.begun) = (State::Within, 1, true);
    }

    fn between(&mut self, byte: u8) -> Result<(), ReadError> {
        let edn = self.syntax == Syntax::Edn;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b',' if edn || self.around.is_some() => {}
            // A byte order mark.
            0xef | 0xbb | 0xbf if self.offset < 3 => self.column = 0,
            b';' if edn => self.state = State::Comment,
            b'{' if !self.closed => self.open(byte),
            b'#' if edn && !self.closed => self.state = State::Tag,
            b'[' if !self.begun => (self.around, self.begun) = (Some(b']'), true),
            b'(' if edn && !self.begun => (self.around, self.begun) = (Some(b')'), true),
            _ if self.around == Some(byte) && !self.closed => self.closed = true,
            _ => {
                let expected = match (self.closed, self.around) {
                    (true, _) => "nothing behind the history",
                    (false, Some(_)) => "an operation, which is a map, or the closing bracket",
                    (false, None) => "an operation, which is a map",
                };
                let found = match byte {
                    0x20..0x7f => shown(char::from(byte).encode_utf8(&mut [0; 4])),
                    _ => format!("the byte {byte:#04x}"),
                };
                let (place, expected) = (self.here(), expected.to_owned());
                return Err(ReadError::Malformed { place, expected, found });
            }
        }
        Ok(())
    }

    fn within(&mut self, byte: u8) {
        let edn = self.syntax == Syntax::Edn;
        self.state = match (self.state, byte) {
            (State::WithinString, b'\\') => State::StringEscape,
            (State::WithinString, b'"') => State::Within,
            (State::StringEscape, _) => State::WithinString,
            (State::WithinComment, b'\n') | (State::Character, _) => State::Within,
            (State::Within, b'"') => State::WithinString,
            (State::Within, b';') if edn => State::WithinComment,
            (State::Within, b'\\') if edn => State::Character,
            (State::Within, b'{' | b'[' | b'(') => {
                self.depth += 1;
                State::Within
            }
            (State::Within, b'}' | b']' | b')') => {
                self.depth -= 1;
                State::Within
            }
            (state, _) => state,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn all(text: &str, capacity: usize, syntax: Syntax) -> Result<Vec<String>, String> {
        let mut input = BufReader::with_capacity(capacity, text.as_bytes());
        let mut forms = Forms::new(&mut input, "f", syntax);
        let mut all = Vec::new();
        loop {
            match forms.next() {
                Ok(Some(form)) => all.push(format!("{} {}", form.place(0), form.text)),
                Ok(None) => return Ok(all),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    #[test]
    fn maps_are_cut_out_whatever_the_buffer() {
        let edn = "; c {\n[{:a \"}\\\"\" ; }\n :b \\}} ü"
            .replace(" ü", "\n #op {:c [{}]}, #op{}\n] ; end");
        for capacity in [1, 2, 3, 5, 100] {
            let forms = all(&edn, capacity, Syntax::Edn).expect("EDN");
            assert_eq!(forms.len(), 3);
            assert_eq!(forms[0], "f:2:2 {:a \"}\\\"\" ; }\n :b \\}}");
            assert_eq!(forms[1..], ["f:4:6 {:c [{}]}", "f:4:20 {}"]);
            let json = all("{\"a\":\"ü}\"} {\"b\":[]}\n", capacity, Syntax::Json).expect("JSON");
            assert_eq!(json, ["f:1:1 {\"a\":\"ü}\"}", "f:1:12 {\"b\":[]}"]);
        }
    }

    #[test]
    fn what_is_no_map_is_placed() {
        for (text, expected) in [
            (
                "[{} x]",
                "f:1:5: expected an operation, which is a map, or the closing bracket, found `x`",
            ),
            ("{}\n ü", "f:2:2: expected an operation, which is a map, found the byte 0xc3"),
            (
                "[{}",
                "f:1:4: expected another operation, or the bracket that closes the history, found",
            ),
            ("[{}] {}", "f:1:6: expected nothing behind the history, found `{`"),
            ("{:a", "f:1:1: expected an operation that is closed, found the end of the file"),
        ] {
            let error = all(text, 8, Syntax::Edn).expect_err(text);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
