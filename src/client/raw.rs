//! Where a reply ends when nothing is known of the command: for the interactive client.

use super::Protocol;
use super::protocol::{is_memcached_error, number};

/// How deep RESP arrays may nest.
const MAX_DEPTH: usize = 16;

/// The result of looking for the end of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawReply {
    /// The reply is this many bytes long.
    Complete(usize),
    /// More bytes are needed.
    Incomplete,
    /// No reply of this protocol begins like that; this was expected.
    Malformed(&'static str),
}

/// Looks for the end of one reply, to whatever command, at the start of `input`.
///
/// memcached: `VALUE` blocks and `STAT` lines go on until `END`; every other line is a reply.
/// RESP: one value, with all that it contains.
pub fn raw_reply(protocol: Protocol, input: &[u8]) -> RawReply {
    match protocol {
        Protocol::Memcached => memcached(input),
        Protocol::Resp => {
            let mut at = 0;
            resp(input, &mut at, MAX_DEPTH).map_or_else(|stop| stop, |()| RawReply::Complete(at))
        }
    }
}

fn memcached(input: &[u8]) -> RawReply {
    let mut at = 0;
    loop {
        let (line, next) = match line(input, at) {
            Some(found) => found,
            None => return RawReply::Incomplete,
        };
        at = next;
        if line.starts_with(b"VALUE ") {
            let Some(length) = line.split(|b| *b == b' ').nth(3).and_then(number) else {
                return RawReply::Malformed("VALUE <key> <flags> <bytes>");
            };
            at = at.saturating_add(length).saturating_add(2);
        } else if !line.starts_with(b"STAT ") || is_memcached_error(line) {
            return RawReply::Complete(at);
        }
        if at >= input.len() {
            return RawReply::Incomplete;
        }
    }
}

/// The line at `at` without its end, and where the next begins.
fn line(input: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = input.get(at..)?;
    let end = memchr::memchr(b'\n', rest)?;
    Some((rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]), at + end + 1))
}

/// Moves `at` behind one RESP value.
fn resp(input: &[u8], at: &mut usize, depth: usize) -> Result<(), RawReply> {
    if depth == 0 {
        return Err(RawReply::Malformed("arrays that nest at most 16 deep"));
    }
    let (line, next) = line(input, *at).ok_or(RawReply::Incomplete)?;
    *at = next;
    let (kind, rest) = line.split_first().ok_or(RawReply::Malformed("a RESP type byte"))?;
    match kind {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Ok(()),
        b'$' | b'=' | b'*' | b'%' | b'~' | b'>' if rest == b"-1" => Ok(()),
        b'$' | b'=' => {
            let length = number(rest).ok_or(RawReply::Malformed("$<length>"))?;
            *at = at.saturating_add(length).saturating_add(2);
            if *at > input.len() { Err(RawReply::Incomplete) } else { Ok(()) }
        }
        b'*' | b'%' | b'~' | b'>' => {
            let count = number(rest).ok_or(RawReply::Malformed("*<count>"))?;
            let values = if *kind == b'%' { count.saturating_mul(2) } else { count };
            for _ in 0..values {
                resp(input, at, depth - 1)?;
            }
            Ok(())
        }
        _ => Err(RawReply::Malformed("a RESP type byte: one of + - : $ *")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends_only_at_its_end(protocol: Protocol, reply: &[u8]) {
        for cut in 0..reply.len() {
            assert_eq!(raw_reply(protocol, &reply[..cut]), RawReply::Incomplete, "cut at {cut}");
        }
        let mut longer = reply.to_vec();
        longer.extend_from_slice(b"STORED\r\n");
        assert_eq!(raw_reply(protocol, &longer), RawReply::Complete(reply.len()));
    }

    #[test]
    fn replies_end_where_they_end() {
        for reply in [
            &b"STORED\r\n"[..],
            b"END\r\n",
            b"VALUE x 0 5\r\nEND\r\n\r\nVALUE y 0 1\r\n1\r\nEND\r\n",
            b"STAT a 1\r\nSTAT b 2\r\nEND\r\n",
            b"43\r\n",
            b"CLIENT_ERROR bad data chunk\r\n",
        ] {
            ends_only_at_its_end(Protocol::Memcached, reply);
        }
        for reply in [
            &b"+OK\r\n"[..],
            b"$-1\r\n",
            b"$4\r\na\r\nb\r\n",
            b"*2\r\n$1\r\na\r\n*1\r\n:3\r\n",
            b"*0\r\n",
            b"-ERR no\r\n",
        ] {
            ends_only_at_its_end(Protocol::Resp, reply);
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(input in "[*$+:0-9a-zA-Z \r\n-]{0,80}") {
            raw_reply(Protocol::Memcached, input.as_bytes());
            raw_reply(Protocol::Resp, input.as_bytes());
        }
    }
}
