//! The client's side: replies, in either dialect, taken apart as they come in.
//!
//! A reply is found in two passes. The first only looks for its end; it remembers how far it came, so it
//! goes over each byte once however the reply was cut into pieces. The second says what the whole reply
//! is and borrows from it. Only RESP arrays are allocated: values and statistics of memcached are lists
//! that are taken apart as they are walked, so that a load generator pays for no reply but its bytes.
//! Nothing is allocated from a number that the server announced.

use memchr::{memchr, memrchr};

use super::number;
use super::request::{Dialect, Found};
use crate::base::limits::MAX_LINE;

/// How deeply arrays may be nested in a RESP reply.
pub const MAX_DEPTH: usize = 8;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A word or a line: `STORED`, `NOT_FOUND`, `VERSION 1.6`; RESP `+OK` without its `+`.
    Status(&'a [u8]),
    /// An error line: `ERROR`, `SERVER_ERROR …`; RESP `-ERR …` without its `-`.
    Error(&'a [u8]),
    /// A number.
    Number(i128),
    /// memcached values, each with its key; the cas unique is 0 where it was not asked for. An answer
    /// that is nothing but `END` is an empty list of these.
    Values(Values<'a>),
    /// memcached statistics, names with values.
    Stats(Stats<'a>),
    /// A RESP bulk string; `None` is null, in either version.
    Bulk(Option<&'a [u8]>),
    /// A RESP array; `None` is null. Sets and pushes of RESP3 are arrays too, and so are its maps: keys
    /// and values in turn.
    Array(Option<Vec<Reply<'a>>>),
}

/// The values of a memcached reply, each with its key, in the order of the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values<'a>(&'a [u8]);

/// The statistics of a memcached reply, names with values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = (&'a [u8], Found<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (line, rest) = split_line(self.0)?;
        let ValueLine { key, flags, length, unique } = parse_value(line)?;
        let (data, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest.get(2..)?;
        Some((key, Found { data, flags, unique }))
    }
}

impl<'a> Iterator for Stats<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (line, rest) = split_line(self.0)?;
        self.0 = rest;
        let stat = line.strip_prefix(b"STAT ")?;
        let end = memchr(b' ', stat).unwrap_or(stat.len());
        Some((&stat[..end], stat.get(end + 1..).unwrap_or_default()))
    }
}

impl<'a> Reply<'a> {
    /// What a whole reply says, its length found by [`ReplyDecoder::measure`]. `None` for bytes that are
    /// not exactly one reply.
    pub fn of_whole(dialect: Dialect, whole: &'a [u8]) -> Option<Self> {
        match dialect {
            Dialect::Memcached => build_memcached(whole),
            Dialect::Resp => match build_resp(whole, 0)? {
                (reply, []) => Some(reply),
                _ => None,
            },
        }
    }

    /// Whether the server refused, or could not say how it ended.
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// Whether this says that a write was ordered but its outcome is not known: it may still happen.
    pub fn is_unknown(&self) -> bool {
        match self {
            Reply::Error(text) => {
                let says = |dialect: Dialect| *text == dialect.outcome_unknown();
                says(Dialect::Memcached) || says(Dialect::Resp)
            }
            _ => false,
        }
    }
}

/// Why bytes are not a reply; the connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The bytes are not in the protocol that was spoken.
    #[error("expected a {dialect} reply, found {found:?}; does the server speak another protocol?")]
    Malformed {
        /// The protocol, in words.
        dialect: Dialect,
        /// The beginning of what came.
        found: String,
    },
    /// The reply is longer than the client is willing to hold.
    #[error("expected a reply of at most {most} bytes, found one that is longer")]
    TooLarge {
        /// The bound.
        most: usize,
    },
}

/// What a decoder makes of the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub enum ReplyStep<'a> {
    /// The bytes are not a whole reply yet.
    NeedMore {
        /// How many bytes there must be before it pays to ask again.
        at_least: usize,
    },
    /// A reply.
    Reply {
        /// The reply.
        reply: Reply<'a>,
        /// How many bytes it took.
        consumed: usize,
    },
}

/// An incremental decoder of replies. The caller keeps the buffer, as for [`super::Decoder::next`].
#[derive(Debug)]
pub struct ReplyDecoder {
    dialect: Dialect,
    /// The longest reply in bytes.
    most: usize,
    /// Where the item that is not whole yet begins.
    at: usize,
    /// There is no line end between `at` and here.
    scanned: usize,
    /// With fewer bytes than this there is nothing new to find.
    needed: usize,
    /// RESP: how many elements each of the open arrays lacks.
    open: [usize; MAX_DEPTH],
    depth: usize,
}

/// How far the first pass came.
enum Scan {
    /// The reply ends here.
    End(usize),
    /// So many bytes are needed to go on.
    NeedMore(usize),
    Malformed,
    TooLarge,
}

/// What one step of the first pass came to.
type Item = Result<usize, Scan>;

impl ReplyDecoder {
    /// A decoder of replies of at most `most` bytes.
    pub fn new(dialect: Dialect, most: usize) -> Self {
        Self { dialect, most, at: 0, scanned: 0, needed: 0, open: [0; MAX_DEPTH], depth: 0 }
    }

    /// Takes the reply at the front of `buf`.
    pub fn next<'a>(&mut self, buf: &'a [u8]) -> Result<ReplyStep<'a>, ReplyError> {
        match self.measure(buf)? {
            None => Ok(ReplyStep::NeedMore { at_least: self.needed.max(1) }),
            Some(consumed) => match Reply::of_whole(self.dialect, &buf[..consumed]) {
                Some(reply) => Ok(ReplyStep::Reply { reply, consumed }),
                None => Err(self.malformed(buf)),
            },
        }
    }

    /// Only the length of the reply at the front of `buf`; `None` while it is not whole. For a caller
    /// that goes on to read into the buffer until [`Reply::of_whole`] can have it.
    pub fn measure(&mut self, buf: &[u8]) -> Result<Option<usize>, ReplyError> {
        if buf.len() < self.needed.max(1) {
            return Ok(None);
        }
        let scan = match self.dialect {
            Dialect::Memcached => self.scan_memcached(buf),
            Dialect::Resp => self.scan_resp(buf),
        };
        match scan {
            Scan::End(end) if end <= self.most => {
                (self.at, self.scanned, self.needed, self.depth) = (0, 0, 0, 0);
                Ok(Some(end))
            }
            Scan::NeedMore(at_least) if at_least <= self.most => {
                self.needed = at_least;
                Ok(None)
            }
            Scan::End(_) | Scan::NeedMore(_) | Scan::TooLarge => {
                Err(ReplyError::TooLarge { most: self.most })
            }
            Scan::Malformed => Err(self.malformed(buf)),
        }
    }

    fn malformed(&self, buf: &[u8]) -> ReplyError {
        let rest = buf.get(self.at..).unwrap_or_default();
        let found = String::from_utf8_lossy(&rest[..rest.len().min(40)]).into_owned();
        ReplyError::Malformed { dialect: self.dialect, found }
    }

    fn scan_memcached(&mut self, buf: &[u8]) -> Scan {
        loop {
            let after = match self.line_end(buf) {
                Ok(after) => after,
                Err(scan) => return scan,
            };
            let text = &buf[self.at..after];
            // A list is of one kind: all of its lines begin as its first does.
            let in_list = |kind: &[u8]| text.starts_with(kind) && buf.starts_with(kind);
            if in_list(b"VALUE ") {
                let Some(value) = parse_value(trim(text)) else { return Scan::Malformed };
                match block_end(buf, after, value.length) {
                    Ok(end) => self.at = end,
                    Err(scan) => return scan,
                }
            } else if in_list(b"STAT ") {
                self.at = after;
            } else if self.at == 0 && text[0].is_ascii_alphanumeric()
                || trim(text) == b"END"
                || is_error(trim(text))
            {
                return Scan::End(after);
            } else {
                return Scan::Malformed;
            }
        }
    }

    fn scan_resp(&mut self, buf: &[u8]) -> Scan {
        loop {
            let after = match self.line_end(buf) {
                Ok(after) => after,
                Err(scan) => return scan,
            };
            let text = trim(&buf[self.at..after]);
            let (kind, rest) = text.split_first().unwrap_or((&0, &[]));
            match (kind, number::canonical(rest)) {
                (b'+' | b'-' | b'_' | b'#' | b',' | b'(', _)
                | (b':', Some(_))
                | (b'$' | b'*', Some(-1))
                | (b'*' | b'%' | b'~' | b'>', Some(0)) => self.at = after,
                (b'$' | b'=', Some(length @ 0..)) => {
                    match block_end(buf, after, length.unsigned_abs()) {
                        Ok(end) => self.at = end,
                        Err(scan) => return scan,
                    }
                }
                (b'*' | b'%' | b'~' | b'>', Some(count @ 1..)) => {
                    if self.depth == MAX_DEPTH {
                        return Scan::Malformed;
                    }
                    let Some(count) = elements(*kind, count) else { return Scan::TooLarge };
                    self.open[self.depth] = count;
                    self.depth += 1;
                    self.at = after;
                    continue;
                }
                _ => return Scan::Malformed,
            }
            while self.depth > 0 {
                self.open[self.depth - 1] -= 1;
                if self.open[self.depth - 1] > 0 {
                    break;
                }
                self.depth -= 1;
            }
            if self.depth == 0 {
                return Scan::End(self.at);
            }
        }
    }

    /// Where the line that begins at `at` ends, its line end included.
    fn line_end(&mut self, buf: &[u8]) -> Item {
        let from = self.scanned.max(self.at);
        match memchr(b'\n', buf.get(from..).unwrap_or_default()) {
            Some(offset) => {
                self.scanned = from + offset;
                Ok(from + offset + 1)
            }
            None if buf.len().saturating_sub(self.at) > MAX_LINE => Err(Scan::TooLarge),
            None => {
                self.scanned = buf.len();
                Err(Scan::NeedMore(buf.len().max(self.at) + 1))
            }
        }
    }
}

/// Where a block of `length` bytes that begins at `start` ends, its line end included.
fn block_end(buf: &[u8], start: usize, length: u64) -> Item {
    let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
    let end = end.and_then(|end| end.checked_add(2)).ok_or(Scan::TooLarge)?;
    match buf.get(end - 2..end) {
        Some(b"\r\n") => Ok(end),
        Some(_) => Err(Scan::Malformed),
        None => Err(Scan::NeedMore(end)),
    }
}

/// A `VALUE` line, taken apart.
struct ValueLine<'a> {
    key: &'a [u8],
    flags: u32,
    length: u64,
    unique: u64,
}

fn parse_value(text: &[u8]) -> Option<ValueLine<'_>> {
    let text = text.strip_prefix(b"VALUE ")?;
    let (key, numbers) = text.split_at(memchr(b' ', text)?);
    let mut numbers = numbers[1..].split(|byte| *byte == b' ').map(number::unsigned);
    let flags = u32::try_from(numbers.next()??).ok()?;
    let length = numbers.next()??;
    let unique = numbers.next().unwrap_or(Some(0))?;
    Some(ValueLine { key, flags, length, unique })
}

fn trim(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn is_error(line: &[u8]) -> bool {
    line == b"ERROR" || line.starts_with(b"CLIENT_ERROR") || line.starts_with(b"SERVER_ERROR")
}

/// Splits the first line off.
fn split_line(buf: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b'\n', buf)?;
    Some((trim(&buf[..end]), &buf[end + 1..]))
}

/// How many elements an array, or what is like one, of this length has: a map has two for each.
fn elements(kind: u8, count: i64) -> Option<usize> {
    usize::try_from(count).ok()?.checked_mul(if kind == b'%' { 2 } else { 1 })
}

fn build_memcached(whole: &[u8]) -> Option<Reply<'_>> {
    let body = whole.strip_suffix(b"\n")?;
    let (values, stats) = (body.starts_with(b"VALUE "), body.starts_with(b"STAT "));
    // Of a list the last line decides: an error may have broken it off.
    let list = if values || stats { memrchr(b'\n', body)? + 1 } else { 0 };
    let (list, line) = (&whole[..list], trim(&body[list..]));
    if line == b"END" {
        Some(if stats { Reply::Stats(Stats(list)) } else { Reply::Values(Values(list)) })
    } else if is_error(line) {
        Some(Reply::Error(line))
    } else if values || stats {
        None
    } else if line.first().is_some_and(u8::is_ascii_digit) {
        // decr pads its number with spaces where the value was longer.
        number::unsigned(line.trim_ascii_end()).map(|n| Reply::Number(n.into()))
    } else {
        Some(Reply::Status(line))
    }
}

/// The reply at the front, and what follows it.
fn build_resp(buf: &[u8], depth: usize) -> Option<(Reply<'_>, &[u8])> {
    let (line, mut rest) = split_line(buf)?;
    let (kind, text) = line.split_first()?;
    let reply = match kind {
        // Booleans, doubles and big numbers of RESP3 are left as they are written.
        b'+' | b'#' | b',' | b'(' => Reply::Status(text),
        b'-' => Reply::Error(text),
        b'_' => Reply::Bulk(None),
        b':' => Reply::Number(number::canonical(text)?.into()),
        b'$' | b'=' => match number::canonical(text)? {
            -1 => Reply::Bulk(None),
            length => {
                let (data, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = after.get(2..)?;
                Reply::Bulk(Some(data))
            }
        },
        b'*' | b'%' | b'~' | b'>' => match number::canonical(text)? {
            -1 => Reply::Array(None),
            // At the greatest depth only an empty array is a leaf.
            1.. if depth == MAX_DEPTH => return None,
            count => {
                let mut list = Vec::new();
                for _ in 0..elements(*kind, count)? {
                    let (item, after) = build_resp(rest, depth + 1)?;
                    list.push(item);
                    rest = after;
                }
                Reply::Array(Some(list))
            }
        },
        _ => return None,
    };
    Some((reply, rest))
}
