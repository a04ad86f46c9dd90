//! Where a request that is an array of bulk strings begins and ends. Both server-side dialects that are made
//! of such arrays read them here; each says what the arguments mean and how a fault is worded.
//!
//! Nothing is allocated from a number that a client announced: the decoder keeps the positions of the
//! arguments that have arrived, eight bytes each, and reuses the room for the next request. A byte that has
//! been looked at is not looked at again when the next one arrives.

use std::ops::Range;

use memchr::memchr;

use crate::wire::number;

/// The longest line that can hold a count or a length: a type byte, 20 characters, CRLF.
pub(crate) const LONGEST_HEAD: usize = 23;

/// Room for this many argument positions is kept from one request to the next.
const KEPT_ARGUMENTS: usize = 1024;

/// How large a request may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The most arguments; a greater count is a fault.
    pub arguments: usize,
    /// Of so many arguments the positions are kept; the others are only counted.
    pub kept: usize,
    /// The longest bulk string; a longer one is refused and skipped.
    pub bulk: usize,
    /// The longest bulk string that is skipped; a greater length is a fault.
    pub skipped: usize,
    /// The longest request; what goes beyond is refused and skipped. Less than 4 GiB.
    pub bytes: usize,
}

/// An incremental decoder of arrays of bulk strings.
#[derive(Debug, Default)]
pub(crate) struct ArrayDecoder {
    /// The arguments of the request at the front that have arrived, as positions in the buffer.
    arguments: Vec<Range<u32>>,
    /// How many have arrived, those counted that are not kept.
    arrived: usize,
    /// How many arguments that request has; 0 while its first line is not there.
    expected: usize,
    /// Where in the buffer to go on.
    at: usize,
    /// With fewer bytes than this there is nothing new to find.
    needed: usize,
    discard: Discard,
}

/// What is left of a request that was refused.
#[derive(Clone, Copy, Debug, Default)]
struct Discard {
    /// Bytes of the argument that was being read, with its line end.
    bytes: usize,
    /// Whole arguments after it.
    arguments: usize,
}

/// What the bytes at hand are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ArrayStep {
    /// Not a whole request yet.
    NeedMore {
        /// How many bytes there must be before it pays to ask again.
        at_least: usize,
    },
    /// A whole request; [`ArrayDecoder::arguments`] has it until [`ArrayDecoder::reset`], which is due then.
    Whole {
        /// How many bytes it takes.
        consumed: usize,
    },
    /// An array without elements.
    Empty {
        /// The count that it announced, 0 or less.
        count: i64,
        /// How many bytes it took.
        consumed: usize,
    },
    /// A request that is too large; what follows of it comes as [`ArrayStep::Skip`].
    Refused {
        /// The length of the argument that was too much.
        length: usize,
        /// How many bytes have been taken so far.
        consumed: usize,
    },
    /// A part of a request that was refused.
    Skip {
        /// How many bytes.
        consumed: usize,
    },
    /// Not such an array; nothing after this can be understood.
    Fault(Fault),
}

/// What is wrong with bytes that are no array of bulk strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The count of the elements.
    Count,
    /// An element begins with this byte in place of `$`.
    Element(u8),
    /// The length of a bulk string.
    Length,
    /// No CRLF behind a bulk string.
    LineEnd,
}

/// A line that holds a number behind its type byte.
enum Head {
    /// The number, and where the line after it begins.
    Number(i64, usize),
    NotYet,
    Wrong,
}

/// The arguments of one whole request.
pub(crate) struct Arguments<'a, 'd> {
    buf: &'a [u8],
    ranges: &'d [Range<u32>],
}

impl<'a> Arguments<'a, '_> {
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The argument at `index`, empty where there is none.
    pub(crate) fn get(&self, index: usize) -> &'a [u8] {
        self.ranges.get(index).map(|range| slice(self.buf, range)).unwrap_or_default()
    }

    /// The arguments from `index` on.
    pub(crate) fn from(&self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.ranges.get(index..).unwrap_or_default().iter().map(|range| slice(self.buf, range))
    }

    /// Where in the buffer what follows the argument at `index` begins.
    pub(crate) fn behind(&self, index: usize) -> usize {
        self.ranges.get(index).map_or(0, |range| range.end as usize + 2)
    }
}

fn slice<'a>(buf: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    buf.get(range.start as usize..range.end as usize).unwrap_or_default()
}

impl ArrayDecoder {
    /// Whether the bytes that come next belong to a request that has begun, or was refused.
    pub(crate) fn is_inside(&self) -> bool {
        self.expected > 0 || self.is_discarding()
    }

    fn is_discarding(&self) -> bool {
        self.discard.bytes > 0 || self.discard.arguments > 0
    }

    /// How many bytes there must be before there is anything new to find; at least 1.
    pub(crate) fn needed(&self) -> usize {
        if self.is_discarding() { 1 } else { self.needed.max(1) }
    }

    /// Takes the next step at the front of `buf`, which holds at least [`ArrayDecoder::needed`] bytes.
    pub(crate) fn next(&mut self, buf: &[u8], bounds: &Bounds) -> ArrayStep {
        if self.is_discarding() {
            return self.discard(buf, bounds);
        }
        if self.expected == 0 {
            match head(buf, 0) {
                Head::NotYet => return self.wait(buf.len() + 1),
                Head::Number(count @ ..=0, consumed) => {
                    self.reset();
                    return ArrayStep::Empty { count, consumed };
                }
                Head::Number(count, after) => match usize::try_from(count) {
                    Ok(count) if count <= bounds.arguments => {
                        self.expected = count;
                        self.at = after;
                    }
                    _ => return ArrayStep::Fault(Fault::Count),
                },
                Head::Wrong => return ArrayStep::Fault(Fault::Count),
            }
        }
        while self.arrived < self.expected {
            if let Some(step) = self.argument(buf, bounds) {
                return step;
            }
        }
        ArrayStep::Whole { consumed: self.at }
    }

    /// Takes the next argument, or says what is in the way.
    fn argument(&mut self, buf: &[u8], bounds: &Bounds) -> Option<ArrayStep> {
        match buf.get(self.at) {
            None => return Some(self.wait(self.at + 1)),
            Some(b'$') => {}
            Some(other) => return Some(ArrayStep::Fault(Fault::Element(*other))),
        }
        let (length, start) = match head(buf, self.at) {
            Head::NotYet => return Some(self.wait(buf.len() + 1)),
            Head::Number(length, start) => (length, start),
            Head::Wrong => return Some(ArrayStep::Fault(Fault::Length)),
        };
        let length = match usize::try_from(length) {
            Ok(length) if length <= bounds.skipped => length,
            _ => return Some(ArrayStep::Fault(Fault::Length)),
        };
        let stop = start + length;
        if length > bounds.bulk || stop + 2 > bounds.bytes {
            return Some(self.refuse(length, start));
        }
        match buf.get(stop..stop + 2) {
            None => return Some(self.wait(stop + 2)),
            Some(b"\r\n") => {}
            Some(_) => return Some(ArrayStep::Fault(Fault::LineEnd)),
        }
        if self.arguments.len() < bounds.kept {
            let (Ok(from), Ok(to)) = (u32::try_from(start), u32::try_from(stop)) else {
                return Some(self.refuse(length, start));
            };
            self.arguments.push(from..to);
        }
        self.arrived += 1;
        self.at = stop + 2;
        None
    }

    /// Arranges for the rest of a request that is too large to be thrown away.
    fn refuse(&mut self, length: usize, start: usize) -> ArrayStep {
        let rest = self.expected - self.arrived - 1;
        self.reset();
        self.discard = Discard { bytes: length + 2, arguments: rest };
        ArrayStep::Refused { length, consumed: start }
    }

    fn discard(&mut self, buf: &[u8], bounds: &Bounds) -> ArrayStep {
        let Some(first) = buf.first() else { return ArrayStep::NeedMore { at_least: 1 } };
        if self.discard.bytes > 0 {
            let consumed = self.discard.bytes.min(buf.len());
            self.discard.bytes -= consumed;
            return ArrayStep::Skip { consumed };
        }
        if *first != b'$' {
            return ArrayStep::Fault(Fault::Element(*first));
        }
        match head(buf, 0) {
            Head::NotYet => ArrayStep::NeedMore { at_least: buf.len() + 1 },
            Head::Number(length, consumed) => match usize::try_from(length) {
                Ok(length) if length <= bounds.skipped => {
                    self.discard.arguments -= 1;
                    self.discard.bytes = length + 2;
                    ArrayStep::Skip { consumed }
                }
                _ => ArrayStep::Fault(Fault::Length),
            },
            Head::Wrong => ArrayStep::Fault(Fault::Length),
        }
    }

    fn wait(&mut self, needed: usize) -> ArrayStep {
        self.needed = needed;
        ArrayStep::NeedMore { at_least: needed }
    }

    /// The arguments of the request that is whole.
    pub(crate) fn arguments<'a, 'd>(&'d self, buf: &'a [u8]) -> Arguments<'a, 'd> {
        Arguments { buf, ranges: &self.arguments }
    }

    /// How many arguments it has.
    pub(crate) fn count(&self) -> usize {
        self.arrived
    }

    /// Takes the words of a line for the arguments. It is at most [`super::MAX_LINE`] long.
    pub(crate) fn take_words(&mut self, line: &[u8]) {
        let mut start = 0;
        for word in line.split(u8::is_ascii_whitespace) {
            if !word.is_empty() {
                // Positions in a line fit.
                self.arguments.push(start as u32..(start + word.len()) as u32);
            }
            start += word.len() + 1;
        }
        self.arrived = self.arguments.len();
    }

    /// Ends with a request.
    pub(crate) fn reset(&mut self) {
        self.arguments.clear();
        self.arguments.shrink_to(KEPT_ARGUMENTS);
        self.arrived = 0;
        self.expected = 0;
        self.at = 0;
        self.needed = 0;
    }
}

/// Reads the number behind the type byte at `at`.
fn head(buf: &[u8], at: usize) -> Head {
    let rest = &buf[at..];
    let line = &rest[..rest.len().min(LONGEST_HEAD)];
    match memchr(b'\r', line) {
        Some(end) => match (number::canonical(&line[1..end]), rest.get(end + 1)) {
            (None, _) => Head::Wrong,
            (Some(_), None) => Head::NotYet,
            (Some(number), Some(b'\n')) => Head::Number(number, at + end + 2),
            (Some(_), Some(_)) => Head::Wrong,
        },
        // Behind a bare LF no CR can make it a number.
        None if line.len() == LONGEST_HEAD || line.contains(&b'\n') => Head::Wrong,
        None => Head::NotYet,
    }
}
