//! One line of the memcached text protocol, taken apart.
//!
//! What is checked, in which order, and what each mistake is answered, follows `proto_text.c`: first the
//! number of words (`ERROR`), then `noreply`, the key, and the numbers (`CLIENT_ERROR`, not sent where the
//! line says `noreply`).

use super::VERSION;
use crate::base::limits::MAX_KEY;
use crate::base::{Arithmetic, Expiry, Op, Read, StoreRule};
use crate::wire::number;
use crate::wire::request::{Call, Form};

/// Relative expiry times reach this far, in seconds (30 days); greater ones are seconds since 1970.
const LONGEST_RELATIVE: i64 = 60 * 60 * 24 * 30;

/// The longest block that a line may announce at all; what fits a signed 32-bit number in memcached.
const LONGEST_BLOCK: u64 = i32::MAX as u64 - 3;

const ERROR: &[u8] = b"ERROR\r\n";
const BAD_LINE: &[u8] = b"CLIENT_ERROR bad command line format\r\n";
const BAD_DELTA: &[u8] = b"CLIENT_ERROR invalid numeric delta argument\r\n";
const BAD_EXPTIME: &[u8] = b"CLIENT_ERROR invalid exptime argument\r\n";
const BAD_DELETE: &[u8] =
    b"CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n";

/// What a line is.
pub(super) enum Line<'a> {
    /// A whole request.
    Call(Call<'a>, Form),
    /// The head of a storage command.
    Block(Block<'a>),
}

/// The head of a storage command.
pub(super) struct Block<'a> {
    pub verb: Verb,
    pub key: &'a [u8],
    pub flags: u32,
    pub expires: Expiry,
    /// How many bytes follow the line.
    pub length: usize,
    /// The cas unique; of `cas` only.
    pub unique: u64,
    pub form: Form,
}

/// The storage commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Store(StoreRule),
    Append,
    Prepend,
    Cas,
}

/// The words of a line; enough of them for every command but those that take a list of keys.
struct Words<'a> {
    list: [&'a [u8]; Words::MOST],
    /// How many there are; `MOST` also stands for more.
    count: usize,
}

impl<'a> Words<'a> {
    const MOST: usize = 8;

    fn of(line: &'a [u8]) -> Self {
        let mut words = Words { list: [&[]; Words::MOST], count: 0 };
        for (slot, word) in words.list.iter_mut().zip(split(line)) {
            *slot = word;
            words.count += 1;
        }
        words
    }

    /// Whether the last word is `noreply`.
    fn noreply(&self) -> bool {
        self.count > 1 && self.list[self.count - 1] == b"noreply"
    }
}

fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

/// Understands one line, without its line end.
pub(super) fn parse(line: &[u8], now_unix_ms: u64) -> Line<'_> {
    let mut rest = split(line);
    let verb = match rest.next().unwrap_or_default() {
        b"get" => return get(rest, false),
        b"gets" => return get(rest, true),
        b"gat" => return get_and_touch(rest, false, now_unix_ms),
        b"gats" => return get_and_touch(rest, true, now_unix_ms),
        b"set" => Verb::Store(StoreRule::Always),
        b"add" => Verb::Store(StoreRule::IfAbsent),
        b"replace" => Verb::Store(StoreRule::IfPresent),
        b"append" => Verb::Append,
        b"prepend" => Verb::Prepend,
        b"cas" => Verb::Cas,
        b"delete" => return delete(&Words::of(line)),
        b"incr" => return count(&Words::of(line), Arithmetic::WrappingAdd),
        b"decr" => return count(&Words::of(line), Arithmetic::SaturatingSub),
        b"touch" => return touch(&Words::of(line), now_unix_ms),
        b"flush_all" => return flush(&Words::of(line), now_unix_ms),
        b"stats" => {
            return Line::Call(Call::Stats(rest.next().unwrap_or_default()), Form::Stats);
        }
        b"verbosity" => return verbosity(&Words::of(line)),
        b"version" => {
            let reply = format!("VERSION {VERSION}\r\n").into_bytes();
            return Line::Call(Call::Static(reply.into()), Form::Word);
        }
        b"quit" => return Line::Call(Call::Quit(b""), Form::Word),
        b"PING" => return Line::Call(Call::fixed(b"+PONG\r\n"), Form::Word),
        _ => return error(ERROR),
    };
    store(verb, &Words::of(line), now_unix_ms)
}

fn store<'a>(verb: Verb, words: &Words<'a>, now_unix_ms: u64) -> Line<'a> {
    let noreply = words.noreply();
    let extra = usize::from(verb == Verb::Cas);
    let [_, key, a, b, c, d, ..] = words.list;
    // Like memcached, the full form lets any word stand where `noreply` may.
    let (flags, exptime, length, unique) = match words.count - extra {
        5 | 6 => (a, b, c, d),
        3 => (&b"0"[..], &b"0"[..], a, b),
        4 if noreply => (&b"0"[..], &b"0"[..], a, b),
        _ => return error(ERROR),
    };
    let form = form(noreply);
    let numbers = || {
        let flags = number::unsigned(flags).and_then(|flags| u32::try_from(flags).ok())?;
        let expires = expiry(number::signed(exptime)?, now_unix_ms);
        let length = number::unsigned(length).filter(|length| *length <= LONGEST_BLOCK)?;
        let unique = if verb == Verb::Cas { number::unsigned(unique)? } else { 0 };
        Some((flags, expires, usize::try_from(length).ok()?, unique))
    };
    match numbers() {
        Some((flags, expires, length, unique)) if is_key(key) => {
            Line::Block(Block { verb, key, flags, expires, length, unique, form })
        }
        _ => refuse(BAD_LINE, noreply),
    }
}

fn get<'a>(keys: impl Iterator<Item = &'a [u8]>, unique: bool) -> Line<'a> {
    match collect_keys(keys) {
        Some(keys) if keys.is_empty() => error(ERROR),
        Some(keys) => Line::Call(Call::Read(Read::Get(keys)), Form::Values { unique }),
        None => error(BAD_LINE),
    }
}

fn get_and_touch<'a>(
    mut words: impl Iterator<Item = &'a [u8]>,
    unique: bool,
    now_unix_ms: u64,
) -> Line<'a> {
    let Some(exptime) = words.next() else { return error(ERROR) };
    let Some(seconds) = number::signed(exptime) else { return error(BAD_EXPTIME) };
    let expires = expiry(seconds, now_unix_ms);
    match collect_keys(words) {
        Some(keys) if keys.is_empty() => error(b"END\r\n"),
        Some(keys) => Line::Call(Call::TouchThenGet { keys, expires }, Form::Values { unique }),
        None => error(BAD_LINE),
    }
}

/// The keys, unless one of them is none: then nothing is read at all.
fn collect_keys<'a>(words: impl Iterator<Item = &'a [u8]>) -> Option<Vec<&'a [u8]>> {
    // Most lines name one key; room for just that is the cheapest start.
    let mut keys = Vec::with_capacity(1);
    for key in words {
        if !is_key(key) {
            return None;
        }
        keys.push(key);
    }
    Some(keys)
}

fn delete<'a>(words: &Words<'a>) -> Line<'a> {
    let [_, key, third, ..] = words.list;
    let noreply = words.noreply() && words.count > 2;
    let legal = match words.count {
        2 => true,
        3 => noreply || third == b"0",
        4 => noreply && third == b"0",
        _ => return error(ERROR),
    };
    if !legal {
        return refuse(BAD_DELETE, noreply);
    }
    if !is_key(key) {
        return refuse(BAD_LINE, noreply);
    }
    write(Op::Delete { keys: vec![Box::from(key)] }, noreply)
}

fn count<'a>(words: &Words<'a>, by: fn(u64) -> Arithmetic) -> Line<'a> {
    let [_, key, delta, ..] = words.list;
    let noreply = words.noreply();
    if !matches!(words.count, 3 | 4) {
        return error(ERROR);
    }
    if !is_key(key) {
        return refuse(BAD_LINE, noreply);
    }
    match number::unsigned(delta) {
        Some(delta) => write(Op::Count { key: Box::from(key), by: by(delta) }, noreply),
        None => refuse(BAD_DELTA, noreply),
    }
}

fn touch<'a>(words: &Words<'a>, now_unix_ms: u64) -> Line<'a> {
    let [_, key, exptime, ..] = words.list;
    let noreply = words.noreply();
    if !matches!(words.count, 3 | 4) {
        return error(ERROR);
    }
    if !is_key(key) {
        return refuse(BAD_LINE, noreply);
    }
    match number::signed(exptime) {
        Some(seconds) => {
            let expires = expiry(seconds, now_unix_ms);
            write(Op::Touch { keys: vec![Box::from(key)], expires }, noreply)
        }
        None => refuse(BAD_EXPTIME, noreply),
    }
}

fn flush<'a>(words: &Words<'a>, now_unix_ms: u64) -> Line<'a> {
    let noreply = words.noreply();
    if words.count > 3 {
        return error(ERROR);
    }
    let delay = if words.count == 1 + usize::from(noreply) {
        Some(0)
    } else {
        number::signed(words.list[1])
    };
    let form = if noreply { Form::Silent } else { Form::Done };
    match delay {
        // What should have been flushed in the past is flushed now.
        Some(seconds) if seconds <= 0 => Line::Call(Call::Write(Op::FlushAll { at: 0 }), form),
        Some(seconds) => {
            Line::Call(Call::Write(Op::FlushAll { at: expiry(seconds, now_unix_ms) }), form)
        }
        None => refuse(BAD_EXPTIME, noreply),
    }
}

/// There is nothing to be verbose about; but clients may ask.
fn verbosity<'a>(words: &Words<'a>) -> Line<'a> {
    match words.count {
        2 | 3 if words.noreply() => refuse(b"", true),
        2 | 3 if number::unsigned(words.list[1]).is_some() => error(b"OK\r\n"),
        2 | 3 => error(BAD_LINE),
        _ => error(ERROR),
    }
}

fn write<'a>(op: Op, noreply: bool) -> Line<'a> {
    Line::Call(Call::Write(op), form(noreply))
}

fn form(noreply: bool) -> Form {
    if noreply { Form::Silent } else { Form::Word }
}

fn error<'a>(reply: &'static [u8]) -> Line<'a> {
    Line::Call(Call::fixed(reply), Form::Word)
}

/// An error that `noreply` suppresses.
fn refuse<'a>(reply: &'static [u8], noreply: bool) -> Line<'a> {
    Line::Call(Call::fixed(if noreply { b"" } else { reply }), form(noreply))
}

/// Whether it may be a key: not too long, no control characters (no spaces by how lines are split).
fn is_key(key: &[u8]) -> bool {
    key.len() <= MAX_KEY && key.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

/// When an entry with this exptime ends: 0 never, negative at once, up to 30 days from now, else at that
/// time.
fn expiry(seconds: i64, now_unix_ms: u64) -> Expiry {
    match u64::try_from(seconds) {
        Ok(0) => 0,
        Ok(seconds) => {
            let ms = seconds.saturating_mul(1000);
            if seconds <= LONGEST_RELATIVE as u64 { now_unix_ms.saturating_add(ms) } else { ms }
        }
        Err(_) => 1,
    }
}
