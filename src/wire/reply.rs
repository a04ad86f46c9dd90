//! The client's side: replies, in either dialect, taken apart as they come in.
//!
//! A reply is found in two passes. The first only looks for its end; it remembers how far it came, so it
//! goes over each byte once however the reply was cut into pieces. The second runs over the whole reply
//! and borrows from it. Nothing is allocated from a number that the server announced.

use memchr::memchr;

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
    Values(Vec<(&'a [u8], Found<'a>)>),
    /// memcached statistics, names with values.
    Stats(Vec<(&'a [u8], &'a [u8])>),
    /// A RESP bulk string; `None` is null.
    Bulk(Option<&'a [u8]>),
    /// A RESP array; `None` is null.
    Array(Option<Vec<Reply<'a>>>),
}

impl Reply<'_> {
    /// Whether the server refused, or could not say how it ended.
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// Whether this says that a write was ordered but its outcome is not known: it may still happen.
    pub fn is_unknown(&self) -> bool {
        match self {
            Reply::Error(text) => {
                text.starts_with(b"SERVER_ERROR timeout") || text.starts_with(b"TIMEOUT")
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
        dialect: &'static str,
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
        if buf.len() < self.needed.max(1) {
            return Ok(ReplyStep::NeedMore { at_least: self.needed.max(1) });
        }
        let scan = match self.dialect {
            Dialect::Memcached => self.scan_memcached(buf),
            Dialect::Resp => self.scan_resp(buf),
        };
        let consumed = match scan {
            Scan::End(end) if end <= self.most => end,
            Scan::NeedMore(at_least) if at_least <= self.most => {
                self.needed = at_least;
                return Ok(ReplyStep::NeedMore { at_least });
            }
            Scan::End(_) | Scan::NeedMore(_) | Scan::TooLarge => {
                return Err(ReplyError::TooLarge { most: self.most });
            }
            Scan::Malformed => return Err(self.malformed(buf)),
        };
        let reply = match self.dialect {
            Dialect::Memcached => build_memcached(&buf[..consumed]),
            Dialect::Resp => build_resp(&buf[..consumed], 0).map(|(reply, _)| reply),
        };
        let reply = reply.ok_or_else(|| self.malformed(buf))?;
        *self = Self::new(self.dialect, self.most);
        Ok(ReplyStep::Reply { reply, consumed })
    }

    fn malformed(&self, buf: &[u8]) -> ReplyError {
        let rest = buf.get(self.at..).unwrap_or_default();
        let found = String::from_utf8_lossy(&rest[..rest.len().min(40)]).into_owned();
        let dialect = match self.dialect {
            Dialect::Memcached => "memcached",
            Dialect::Resp => "RESP",
        };
        ReplyError::Malformed { dialect, found }
    }

    fn scan_memcached(&mut self, buf: &[u8]) -> Scan {
        loop {
            let after = match self.line_end(buf) {
                Ok(after) => after,
                Err(scan) => return scan,
            };
            let text = &buf[self.at..after];
            if text.starts_with(b"VALUE ") {
                let Some(value) = parse_value(trim(text)) else { return Scan::Malformed };
                match block_end(buf, after, value.length) {
                    Ok(end) => self.at = end,
                    Err(scan) => return scan,
                }
            } else if text.starts_with(b"STAT ") {
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
                (b'+' | b'-', _) | (b':', Some(_)) | (b'$' | b'*', Some(-1)) | (b'*', Some(0)) => {
                    self.at = after;
                }
                (b'$', Some(length @ 0..)) => match block_end(buf, after, length.unsigned_abs()) {
                    Ok(end) => self.at = end,
                    Err(scan) => return scan,
                },
                (b'*', Some(count @ 1..)) => {
                    if self.depth == MAX_DEPTH {
                        return Scan::Malformed;
                    }
                    let Ok(count) = usize::try_from(count) else { return Scan::TooLarge };
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
    let mut words = text.split(|byte| *byte == b' ').skip(1);
    let key = words.next()?;
    let flags = u32::try_from(number::unsigned(words.next()?)?).ok()?;
    let length = number::unsigned(words.next()?)?;
    let unique = words.next().map_or(Some(0), number::unsigned)?;
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

fn build_memcached(mut buf: &[u8]) -> Option<Reply<'_>> {
    let mut values = Vec::new();
    let mut stats = Vec::new();
    loop {
        let (line, rest) = split_line(buf)?;
        buf = rest;
        if line.starts_with(b"VALUE ") {
            let ValueLine { key, flags, length, unique } = parse_value(line)?;
            let (data, rest) = buf.split_at_checked(usize::try_from(length).ok()?)?;
            values.push((key, Found { data, flags, unique }));
            buf = rest.get(2..)?;
        } else if let Some(stat) = line.strip_prefix(b"STAT ") {
            let end = memchr(b' ', stat).unwrap_or(stat.len());
            stats.push((&stat[..end], stat.get(end + 1..).unwrap_or_default()));
        } else if is_error(line) {
            return Some(Reply::Error(line)); // It may break off a list.
        } else if line == b"END" {
            let stats_only = values.is_empty() && !stats.is_empty();
            return Some(if stats_only { Reply::Stats(stats) } else { Reply::Values(values) });
        } else if line.first().is_some_and(u8::is_ascii_digit) {
            // decr pads its number with spaces where the value was longer.
            return number::unsigned(line.trim_ascii_end()).map(|n| Reply::Number(n.into()));
        } else {
            return Some(Reply::Status(line));
        }
    }
}

/// The reply at the front, and what follows it.
fn build_resp(buf: &[u8], depth: usize) -> Option<(Reply<'_>, &[u8])> {
    let (line, mut rest) = split_line(buf)?;
    let (kind, text) = line.split_first()?;
    let reply = match kind {
        b'+' => Reply::Status(text),
        b'-' => Reply::Error(text),
        b':' => Reply::Number(number::canonical(text)?.into()),
        b'$' => match number::canonical(text)? {
            -1 => Reply::Bulk(None),
            length => {
                let (data, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = after.get(2..)?;
                Reply::Bulk(Some(data))
            }
        },
        b'*' if depth < MAX_DEPTH => match number::canonical(text)? {
            -1 => Reply::Array(None),
            count => {
                let mut list = Vec::new();
                for _ in 0..count {
                    let (item, after) = build_resp(rest, depth + 1)?;
                    list.push(item);
                    rest = after;
                }
                Reply::Array(Some(list))
            }
        },
        // An empty array at the greatest depth is a leaf.
        b'*' if text == b"0" => Reply::Array(Some(Vec::new())),
        b'*' if text == b"-1" => Reply::Array(None),
        _ => return None,
    };
    Some((reply, rest))
}
