//! The client's side of HTTP/1.1: a response at the front of a buffer, on a connection that goes on.
//!
//! A response ends after `Content-Length` bytes or with the last of its chunks (RFC 9112, section 6). One that
//! only the end of the connection would end is refused, as is all that two readers could understand in two ways:
//! two lengths, a length beside chunks, bare line feeds, folded lines. Interim responses (1xx) and trailers are not
//! taken: nobody here asks for them.
//!
//! Cost: the decoder remembers how far it came, so a response that arrives in pieces is gone over once. Bounds: the
//! head, the line that begins a chunk, and the whole response; nothing is allocated from a number that the server
//! announced.

use std::ops::Range;

use memchr::{memchr, memmem};

/// The longest status line with all header lines.
pub const MAX_HEAD: usize = 16 * 1024;

/// The longest line that begins a chunk: its size, and extensions that nobody looks at.
const MAX_CHUNK_LINE: usize = 256;

/// Why bytes are no response that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// They are not HTTP, or not in a form that has one meaning.
    Malformed,
    /// The response is longer than it may be.
    TooLarge,
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code, such as 200.
    pub status: u16,
    /// How many bytes it has, head and body.
    pub length: usize,
    /// Whether the server ends the connection behind it.
    pub closes: bool,
    body: Range<usize>,
    chunked: bool,
}

impl Response {
    /// The body; `whole` are the response's bytes. A body in chunks is put together in `joined`.
    pub fn body<'a>(&self, whole: &'a [u8], joined: &'a mut Vec<u8>) -> &'a [u8] {
        let body = whole.get(self.body.clone()).unwrap_or_default();
        if !self.chunked {
            return body;
        }
        joined.clear();
        let mut at = 0;
        while let Ok(Some(chunk)) = chunk(body, at) {
            joined.extend_from_slice(&body[chunk.clone()]);
            at = chunk.end + 2;
        }
        joined
    }
}

/// What the head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    closes: bool,
    /// `None`: in chunks.
    length: Option<usize>,
}

/// Finds responses of one connection.
#[derive(Debug)]
pub struct ResponseDecoder {
    most: usize,
    /// No head ends before here.
    searched: usize,
    head: Option<Head>,
    /// Behind the head, or behind the chunks that are here.
    at: usize,
    body: usize,
}

impl ResponseDecoder {
    /// A decoder of responses of at most `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { most, searched: 0, head: None, at: 0, body: 0 }
    }

    /// The response at the front of `buf`, of which the same bytes are handed again until it is whole: `None` until
    /// then.
    ///
    /// # Errors
    /// What comes is no response, or too long a one; nothing behind it can be understood.
    pub fn next(&mut self, buf: &[u8]) -> Result<Option<Response>, HttpError> {
        let head = match self.head {
            Some(head) => head,
            None => match self.find_head(buf)? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        let end = match head.length {
            Some(length) => self.body.checked_add(length).ok_or(HttpError::TooLarge)?,
            None => match self.last_chunk(buf)? {
                Some(end) => end,
                None => return self.go_on(buf.len()),
            },
        };
        if end > self.most {
            return Err(HttpError::TooLarge);
        }
        if buf.len() < end {
            return Ok(None);
        }
        let response = Response {
            status: head.status,
            length: end,
            closes: head.closes,
            body: self.body..end,
            chunked: head.length.is_none(),
        };
        *self = Self::new(self.most);
        Ok(Some(response))
    }

    fn go_on(&self, here: usize) -> Result<Option<Response>, HttpError> {
        if here.max(self.at) > self.most { Err(HttpError::TooLarge) } else { Ok(None) }
    }

    fn find_head(&mut self, buf: &[u8]) -> Result<Option<Head>, HttpError> {
        let Some(found) = memmem::find(&buf[self.searched.min(buf.len())..], b"\r\n\r\n") else {
            if buf.len() > MAX_HEAD {
                return Err(HttpError::TooLarge);
            }
            // What a server says that does not speak HTTP must not be waited upon.
            let version = b"HTTP/1.";
            let both = buf.len().min(version.len());
            if buf[..both] != version[..both] {
                return Err(HttpError::Malformed);
            }
            self.searched = buf.len().saturating_sub(3);
            return Ok(None);
        };
        let end = self.searched + found;
        if end > MAX_HEAD {
            return Err(HttpError::TooLarge);
        }
        let head = parse_head(&buf[..end]).ok_or(HttpError::Malformed)?;
        self.head = Some(head);
        self.at = end + 4;
        self.body = self.at;
        Ok(Some(head))
    }

    /// The end of the body, once the last chunk is here.
    fn last_chunk(&mut self, buf: &[u8]) -> Result<Option<usize>, HttpError> {
        loop {
            let Some(chunk) = chunk(buf, self.at)? else { return Ok(None) };
            if chunk.start > self.most || chunk.len() > self.most - chunk.start {
                return Err(HttpError::TooLarge);
            }
            match buf.get(chunk.end..).unwrap_or_default() {
                [b'\r', b'\n', ..] => {}
                [] | [b'\r'] => return Ok(None),
                _ => return Err(HttpError::Malformed),
            }
            self.at = chunk.end + 2;
            if chunk.is_empty() {
                return Ok(Some(self.at));
            }
        }
    }
}

/// Where the bytes are of the chunk that begins at `at`; they need not be here. `None` while its first line is not.
fn chunk(buf: &[u8], at: usize) -> Result<Option<Range<usize>>, HttpError> {
    let rest = buf.get(at..).unwrap_or_default();
    let Some(end) = memchr(b'\n', &rest[..rest.len().min(MAX_CHUNK_LINE)]) else {
        return if rest.len() < MAX_CHUNK_LINE { Ok(None) } else { Err(HttpError::Malformed) };
    };
    let line = rest[..end].strip_suffix(b"\r").ok_or(HttpError::Malformed)?;
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    // Seven digits are 256 MiB: no sum overflows.
    if size.is_empty() || size.len() > 7 || !size.iter().all(u8::is_ascii_hexdigit) {
        return Err(HttpError::Malformed);
    }
    let size = std::str::from_utf8(size).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
    let start = at + end + 1;
    Ok(Some(start..start + size.ok_or(HttpError::Malformed)?))
}

fn parse_head(text: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.split("\r\n");
    let rest = lines.next()?.strip_prefix("HTTP/1.")?;
    let (minor, rest) = rest.split_once(' ')?;
    let code = rest.split(' ').next()?;
    if !matches!(minor, "0" | "1") || code.len() != 3 {
        return None;
    }
    // `parse` alone would take a sign.
    let status = code.bytes().all(|byte| byte.is_ascii_digit()).then(|| code.parse().ok())??;
    let mut head = Head { status, closes: minor == "0", length: None };
    let mut chunked = false;
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let value = value.trim_matches([' ', '\t']);
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_graphic())
            || value.contains(['\r', '\n'])
        {
            return None;
        }
        if name.eq_ignore_ascii_case("content-length") {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            if !digits || head.length.replace(value.parse().ok()?).is_some() {
                return None;
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case("chunked") {
                return None;
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case("connection") {
            let mut words = value.split(',').map(str::trim);
            head.closes |= words.any(|word| word.eq_ignore_ascii_case("close"));
        }
    }
    match (status, chunked, head.length) {
        (200.., true, None) | (200.., false, Some(_)) => Some(head),
        (204 | 304, false, None) => Some(Head { length: Some(0), ..head }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, body and what is left of the input, which comes in pieces of this size.
    fn decode(input: &str, piece: usize) -> Result<Option<(u16, String, usize)>, HttpError> {
        let input = input.as_bytes();
        let mut decoder = ResponseDecoder::new(2000);
        let mut here = 0;
        loop {
            here = input.len().min(here + piece);
            if let Some(response) = decoder.next(&input[..here])? {
                let mut joined = Vec::new();
                let body = response.body(&input[..response.length], &mut joined);
                let text = String::from_utf8(body.to_vec()).expect("text");
                return Ok(Some((response.status, text, input.len() - response.length)));
            }
            if here == input.len() {
                return Ok(None);
            }
        }
    }

    /// The same outcome however the input was cut.
    fn whole(input: &str) -> Result<Option<(u16, String, usize)>, HttpError> {
        let found = decode(input, input.len());
        for piece in [1, 2, 3, 7] {
            assert_eq!(decode(input, piece), found, "in pieces of {piece}: {input:?}");
        }
        found
    }

    fn some(
        status: u16,
        body: &str,
        rest: usize,
    ) -> Result<Option<(u16, String, usize)>, HttpError> {
        Ok(Some((status, body.to_owned(), rest)))
    }

    #[test]
    fn a_length_ends_a_response() {
        let one = "HTTP/1.1 200 OK\r\nDate: now\r\ncontent-length:  2\r\n\r\n{}";
        assert_eq!(whole(one), some(200, "{}", 0));
        assert_eq!(whole(&format!("{one}HTTP/1.1")), some(200, "{}", 8), "the next one is left");
        assert_eq!(whole("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), some(503, "", 0));
        assert_eq!(whole("HTTP/1.1 204 \r\nA: b\r\n\r\n"), some(204, "", 0));
        assert_eq!(whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}"), Ok(None));
        assert_eq!(whole("HTTP/1.1 200 OK\r\nContent-Le"), Ok(None));
    }

    #[test]
    fn chunks_are_put_together() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = format!("{head}3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\n\r\n");
        assert_eq!(whole(&body), some(200, "abc0123456789", 0));
        assert_eq!(whole(&format!("{body}more")), some(200, "abc0123456789", 4));
        for (cut, _) in body.char_indices() {
            assert_eq!(decode(&body[..cut], 1), Ok(None), "cut at {cut}");
        }
        for bad in [
            "x\r\n",
            "\r\n",
            "-1\r\n",
            "3\nabc",
            "3\r\nabcd\r\n",
            "0\r\nTrailer: x\r\n\r\n",
            "12345678\r\n",
        ] {
            assert_eq!(whole(&format!("{head}{bad}")), Err(HttpError::Malformed), "{bad:?}");
        }
        let endless = format!("{head}{}", "9".repeat(MAX_CHUNK_LINE));
        assert_eq!(whole(&endless), Err(HttpError::Malformed));
    }

    #[test]
    fn too_long_a_response_is_refused_before_it_is_here() {
        let long = "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n";
        assert_eq!(whole(long), Err(HttpError::TooLarge));
        let vast = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", u64::MAX);
        assert_eq!(whole(&vast), Err(HttpError::TooLarge));
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n";
        assert_eq!(whole(chunks), Err(HttpError::TooLarge));
        let head = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(MAX_HEAD));
        assert_eq!(whole(&head), Err(HttpError::TooLarge));
    }

    #[test]
    fn what_has_no_one_meaning_is_refused() {
        for bad in [
            "STORED\r\n",
            "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n folded: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 1\r\n\r\n",
        ] {
            assert_eq!(whole(bad), Err(HttpError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_server_says_that_it_closes() {
        let closes = |text: &str| {
            ResponseDecoder::new(1000).next(text.as_bytes()).expect("HTTP").expect("whole").closes
        };
        assert!(!closes("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(closes("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n"));
        assert!(closes("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
    }
}
