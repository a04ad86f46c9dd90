//! GET over lines: enough of HTTP/1 for three pages. One request a connection, which is then closed.
//!
//! The bounds are the port's: the length of a line, the number of connections, the time that a silent client
//! holds one. The number of header lines is bounded here.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::pages::Page;
use super::table::Table;
use crate::runtime::line_server::{Flow, Refusal, Replies, Service};

/// The most header lines of a request.
const MAX_HEADERS: usize = 100;

/// The pages of a table.
pub(super) struct Pages {
    pub table: Arc<Mutex<Table>>,
    /// Seconds since 1970.
    pub now: fn() -> u64,
}

/// What has come of a request.
#[derive(Default)]
pub(super) struct Request {
    first: Option<String>,
    headers: usize,
}

impl Service for Pages {
    type Session = Request;

    fn open(&self, _peer: SocketAddr) -> Request {
        Request::default()
    }

    fn line(&self, request: &mut Request, line: &[u8], out: &mut Replies<'_>) -> io::Result<Flow> {
        let Some(first) = &request.first else {
            request.first = Some(String::from_utf8_lossy(line).into_owned());
            return Ok(Flow::GoOn);
        };
        if !line.is_empty() && request.headers < MAX_HEADERS {
            request.headers += 1;
            return Ok(Flow::GoOn);
        }
        match page_of(first) {
            Ok((page, head_only)) => self.write(page, head_only, out)?,
            Err(refused) => out.bytes.extend(refused),
        }
        Ok(Flow::Close)
    }

    fn refusal(&self, refusal: Refusal) -> Vec<u8> {
        let status = match refusal {
            Refusal::TooLong(_) => "431 Request Header Fields Too Large",
            _ => "503 Service Unavailable",
        };
        response(status, "text/plain", &format!("{refusal}\n"))
    }

    /// What follows could not be told from another request.
    fn after_refusal(&self) -> Flow {
        Flow::Close
    }
}

impl Pages {
    /// Sends a page as it is written, a registration at a time: a client that reads slowly costs little memory and
    /// holds nobody up. A server that registers meanwhile may be on it or not.
    fn write(&self, page: Page, head_only: bool, out: &mut Replies<'_>) -> io::Result<()> {
        let now = (self.now)();
        let lock = || self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let count = {
            let mut table = lock();
            table.expire(now);
            table.len()
        };
        out.bytes.extend(head("200 OK", page.content_type()));
        if head_only {
            return Ok(());
        }
        let mut text = String::new();
        page.begin(&mut text, count);
        let (mut last, mut first) = (None, true);
        loop {
            match lock().next(last.as_ref()) {
                None => break,
                Some((key, entry)) => {
                    page.entry(&mut text, first, entry, now);
                    (last, first) = (Some(key.clone()), false);
                }
            }
            out.bytes.extend_from_slice(text.as_bytes());
            text.clear();
            out.flush_large()?;
        }
        page.end(&mut text);
        out.bytes.extend(text.into_bytes());
        Ok(())
    }
}

/// The page that a request asks for, and whether only for its head; or the answer to another request.
fn page_of(request: &str) -> Result<(Page, bool), Vec<u8>> {
    let plain = |status: &str, body: &str| Err(response(status, "text/plain", body));
    let mut words = request.split_ascii_whitespace();
    let (method, path, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(path)) = (method, path) else {
        return plain("400 Bad Request", "expected GET PATH HTTP/1.1\n");
    };
    if !version.is_some_and(|version| version.starts_with("HTTP/1.")) {
        return plain("400 Bad Request", "expected HTTP/1.1\n");
    }
    if !matches!(method, "GET" | "HEAD") {
        return plain("405 Method Not Allowed", "expected GET or HEAD\n");
    }
    match Page::of(path) {
        Some(page) => Ok((page, method == "HEAD")),
        None => plain("404 Not Found", "there are /query.json, /query.text and /\n"),
    }
}

fn response(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    let mut all = head(status, content_type);
    all.extend_from_slice(body.as_bytes());
    all
}

/// The end of the connection is the end of the body.
fn head(status: &str, content_type: &str) -> Vec<u8> {
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nAccess-Control-Allow-Origin: *\r\n\
         {allow}Connection: close\r\n\r\n"
    )
    .into_bytes()
}
