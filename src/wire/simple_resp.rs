//! The simplified RESP of the two-phase commit lab, server side.
//!
//! ```text
//! request    *N\r\n, then N bulk strings $LENGTH\r\n…\r\n
//!            SET key string…      stores all the strings behind the key, at least one
//!            GET key              gives back the same array of strings
//!            DEL key…             says how many of them there were
//! reply      +OK\r\n   -ERROR\r\n   :N\r\n   an array; nil is *1\r\n$3\r\nnil\r\n
//! ```
//!
//! Commands are case sensitive, and there are no others: `set`, `PING` and what `redis-cli` asks when it starts
//! (`COMMAND DOCS`) are answered with `-ERROR`, and the connection goes on. After bytes that are no array of bulk
//! strings nothing can be understood: `-ERROR`, and the connection ends. There is one error and it has no text.
//!
//! A value is kept as the array that the reply to a GET is, so that a GET copies bytes and looks at nothing. The
//! numbers in front of counts and strings have one form each, as in redis, so what comes back is what was sent.
//! (Therefore nil and a value of the one string `nil` look the same. That is the dialect.)
//!
//! A request has at most [`MAX_REQUEST`] bytes. A larger one is answered as soon as that shows, and what follows
//! of it is skipped where it says how long it is. A DEL names at most [`MAX_KEYS`] keys: each costs more memory
//! than the six bytes that a client needs to send one.

use std::sync::Arc;

use super::number;
use super::request::header;
use super::resp::Arguments;
use super::resp::array::{ArrayDecoder, ArrayStep, Bounds};

/// The longest request in bytes: 512 MB of strings, and the room for what is around them.
pub const MAX_REQUEST: usize = 512 * 1024 * 1024 + 64 * 1024;

/// The most keys of one DEL.
pub const MAX_KEYS: usize = 16 * 1024 * 1024;

/// The one error.
pub const ERROR: &[u8] = b"-ERROR\r\n";

/// The reply to a SET that was done.
pub const OK: &[u8] = b"+OK\r\n";

/// The value of a key that is not there.
pub const NIL: &[u8] = b"*1\r\n$3\r\nnil\r\n";

/// The shortest bulk string, `$0\r\n\r\n`.
const SHORTEST: usize = 6;

const BOUNDS: Bounds = Bounds {
    arguments: MAX_REQUEST / SHORTEST,
    // The name of the command, and keys.
    kept: 1 + MAX_KEYS,
    bulk: MAX_REQUEST,
    skipped: u32::MAX as usize,
    bytes: MAX_REQUEST,
};

/// What a client asks for. Keys lie in the buffer that was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Store a value.
    Set {
        /// The key.
        key: &'a [u8],
        /// The strings behind the key, as an array: the reply to a GET.
        value: Arc<Vec<u8>>,
    },
    /// Give back the value of a key.
    Get {
        /// The key.
        key: &'a [u8],
    },
    /// Remove keys.
    Del {
        /// The keys, at least one; a client may name one twice.
        keys: Vec<&'a [u8]>,
    },
}

/// What the bytes at the front of the buffer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Not a whole request.
    NeedMore {
        /// How many bytes there must be, counted from the start of the buffer, before it pays to ask again; at
        /// most [`MAX_REQUEST`] and the line that shows that it is more. It is what the client has announced,
        /// not what it has sent: grow the buffer as bytes come.
        at_least: usize,
    },
    /// A request.
    Command {
        /// The request.
        command: Command<'a>,
        /// How many bytes it took.
        consumed: usize,
    },
    /// A request that is to be answered with [`ERROR`], and the connection goes on.
    Refused {
        /// How many bytes it has taken so far.
        consumed: usize,
    },
    /// More of a request that was refused; no answer.
    Skip {
        /// How many bytes; at least one.
        consumed: usize,
    },
    /// Nothing after this can be understood: send [`ERROR`], then close.
    Fatal,
}

/// An incremental decoder of requests, one a connection.
///
/// Between two calls the caller drops what was consumed from the front of the buffer and appends what has
/// arrived at its end, nothing else. After [`Step::Fatal`] it does not call again.
#[derive(Debug, Default)]
pub struct Decoder {
    array: ArrayDecoder,
}

impl Decoder {
    /// Takes the next step at the front of `buf`.
    pub fn next<'a>(&mut self, buf: &'a [u8]) -> Step<'a> {
        if buf.len() < self.array.needed() {
            return Step::NeedMore { at_least: self.array.needed() };
        }
        if !self.array.is_inside() && buf[0] != b'*' {
            return Step::Fatal;
        }
        match self.array.next(buf, &BOUNDS) {
            ArrayStep::NeedMore { at_least } => Step::NeedMore { at_least },
            ArrayStep::Whole { consumed } => {
                let count = self.array.count();
                let command = command(&self.array.arguments(buf), count, &buf[..consumed]);
                self.array.reset();
                match command {
                    Some(command) => Step::Command { command, consumed },
                    None => Step::Refused { consumed },
                }
            }
            // An array without a command is one that nobody knows. A null array is no array.
            ArrayStep::Empty { count: 0, consumed } | ArrayStep::Refused { consumed, .. } => {
                Step::Refused { consumed }
            }
            ArrayStep::Skip { consumed } => Step::Skip { consumed },
            ArrayStep::Empty { .. } | ArrayStep::Fault(_) => Step::Fatal,
        }
    }
}

/// Understands a request of `count` arguments, of which the first ones are at hand.
fn command<'a>(
    arguments: &Arguments<'a, '_>,
    count: usize,
    request: &'a [u8],
) -> Option<Command<'a>> {
    match (arguments.get(0), count) {
        (b"SET", 3..) => {
            let strings = &request[arguments.behind(1)..];
            let mut value = Vec::with_capacity(strings.len() + number_line(count - 2));
            header(&mut value, b'*', count - 2);
            value.extend_from_slice(strings);
            Some(Command::Set { key: arguments.get(1), value: Arc::new(value) })
        }
        (b"GET", 2) => Some(Command::Get { key: arguments.get(1) }),
        (b"DEL", 2..) if arguments.len() == count => {
            Some(Command::Del { keys: arguments.from(1).collect() })
        }
        _ => None,
    }
}

/// How long the line of a type byte and this number is.
fn number_line(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 4
}

/// Appends the reply to a SET that was done.
pub fn put_ok(out: &mut Vec<u8>) {
    out.extend_from_slice(OK);
}

/// Appends the reply to a DEL that removed so many keys.
pub fn put_count(out: &mut Vec<u8>, count: u64) {
    out.push(b':');
    number::push(out, count);
    out.extend_from_slice(b"\r\n");
}

/// Appends the reply to a GET: the value, or nil.
pub fn put_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    out.extend_from_slice(value.unwrap_or(NIL));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(request: &[u8]) -> Step<'_> {
        Decoder::default().next(request)
    }

    #[test]
    fn the_documents_examples() {
        let set = b"*4\r\n$3\r\nSET\r\n$7\r\nCS06142\r\n$5\r\nCloud\r\n$9\r\nComputing\r\n";
        let value = Arc::new(b"*2\r\n$5\r\nCloud\r\n$9\r\nComputing\r\n".to_vec());
        assert_eq!(value.len(), value.capacity());
        let command = Command::Set { key: b"CS06142", value };
        assert_eq!(one(set), Step::Command { command, consumed: set.len() });

        let get = b"*2\r\n$3\r\nGET\r\n$7\r\nCS06142\r\n";
        let command = Command::Get { key: b"CS06142" };
        assert_eq!(one(get), Step::Command { command, consumed: get.len() });

        let del = b"*3\r\n$3\r\nDEL\r\n$7\r\nCS06142\r\n$5\r\nCS162\r\n";
        let command = Command::Del { keys: vec![b"CS06142", b"CS162"] };
        assert_eq!(one(del), Step::Command { command, consumed: del.len() });
    }

    #[test]
    fn a_value_takes_no_more_room_than_its_bytes() {
        for count in [1, 9, 10, 99, 100, 1000] {
            let mut request = format!("*{}\r\n$3\r\nSET\r\n$1\r\nk\r\n", count + 2).into_bytes();
            request.extend_from_slice(&b"$1\r\nv\r\n".repeat(count));
            match one(&request) {
                Step::Command { command: Command::Set { value, .. }, .. } => {
                    assert_eq!(value.len(), value.capacity(), "{count} strings");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_a_command_is_refused_and_the_connection_goes_on() {
        for request in [
            &b"*3\r\n$3\r\nset\r\n$1\r\nk\r\n$1\r\nv\r\n"[..],
            b"*2\r\n$3\r\nSET\r\n$1\r\nk\r\n",
            b"*1\r\n$3\r\nGET\r\n",
            b"*3\r\n$3\r\nGET\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"*1\r\n$3\r\nDEL\r\n",
            b"*2\r\n$7\r\nCOMMAND\r\n$4\r\nDOCS\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"*1\r\n$0\r\n\r\n",
            b"*0\r\n",
        ] {
            let consumed = request.len();
            assert_eq!(one(request), Step::Refused { consumed }, "{}", request.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_array_of_bulk_strings_ends_the_connection() {
        for bytes in [
            &b"GET k\r\n"[..],
            b"\r\n",
            b"*-1\r\n",
            b"*x\r\n",
            b"*02\r\n",
            b"*2\n",
            b"*99999999999\r\n",
            b"*1\r\n+OK\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$99999999999\r\n",
            b"*1\r\n$3\r\nSETxx",
        ] {
            assert_eq!(one(bytes), Step::Fatal, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_request_that_is_too_large_is_skipped() {
        let mut decoder = Decoder::default();
        let start = format!("*4\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", MAX_REQUEST + 1).into_bytes();
        assert_eq!(decoder.next(&start), Step::Refused { consumed: start.len() });
        let piece = vec![0; 1 << 20];
        let mut left = MAX_REQUEST + 1 + 2;
        while left > 0 {
            let consumed = left.min(piece.len());
            assert_eq!(decoder.next(&piece[..consumed]), Step::Skip { consumed });
            left -= consumed;
        }
        assert_eq!(decoder.next(b"$1\r\nv\r\n"), Step::Skip { consumed: 4 });
        assert_eq!(decoder.next(b"v\r\n"), Step::Skip { consumed: 3 });
        let get = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        assert!(matches!(decoder.next(get), Step::Command { .. }));
    }

    #[test]
    fn replies() {
        let mut out = Vec::new();
        put_ok(&mut out);
        put_count(&mut out, 12);
        put_value(&mut out, Some(b"*1\r\n$1\r\nv\r\n"));
        put_value(&mut out, None);
        assert_eq!(out, b"+OK\r\n:12\r\n*1\r\n$1\r\nv\r\n*1\r\n$3\r\nnil\r\n");
    }
}
