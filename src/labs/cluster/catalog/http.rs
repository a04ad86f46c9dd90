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
        out.bytes.extend(self.answer(first));
        Ok(Flow::Close)
    }

    fn refusal(&self, refusal: Refusal) -> Vec<u8> {
        let status = match refusal {
            Refusal::TooLong(_) => "431 Request Header Fields Too Large",
            _ => "503 Service Unavailable",
        };
        response(status, "text/plain", &format!("{refusal}\n"), false)
    }
}

impl Pages {
    fn answer(&self, request: &str) -> Vec<u8> {
        let plain = |status: &str, body: &str| response(status, "text/plain", body, false);
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
        let Some(page) = Page::of(path) else {
            return plain("404 Not Found", "there are /query.json, /query.text and /\n");
        };
        let now = (self.now)();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.expire(now);
        let body = page.write(&table, now);
        drop(table);
        response("200 OK", page.content_type(), &body, method == "HEAD")
    }
}

fn response(status: &str, content_type: &str, body: &str, head_only: bool) -> Vec<u8> {
    let length = body.len();
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Access-Control-Allow-Origin: *\r\n{allow}Connection: close\r\n\r\n"
    );
    if head_only { head.into_bytes() } else { (head + body).into_bytes() }
}
