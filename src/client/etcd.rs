//! A client of etcd's version 3 interface, through its HTTP gateway: `/v3/kv/put`, `/v3/kv/range` and
//! `/v3/kv/deleterange`, JSON in the body, keys and values in base64.
//!
//! It is here so that etcd can be measured with the same load generator as ours. The connection stays open, and a
//! batch is written at once; the gateway then answers one request after the other. Reads are linearizable, as they
//! are by default. What the gateway costs beside gRPC is part of what is measured.
//!
//! The bounds are the decoder's: [`MAX_REPLY`] a response. An error of the server that leaves the outcome open, by its
//! gRPC code, is unknown.

use std::borrow::Cow;

use base64::{Engine, encoded_len, prelude::BASE64_STANDARD};
use serde::Deserialize;

use super::session::printable;
use super::{Ask, ClientError, Connection, Options, Reply, Request};
use crate::wire::http::{HttpError, Response, ResponseDecoder};
use crate::wire::number;

/// The longest response. etcd takes requests of 1.5 MiB by default.
const MAX_REPLY: usize = 64 << 20;

/// The gRPC codes of requests that were refused before anything was done: invalid argument, not found, already
/// exists, permission denied, failed precondition, out of range, unimplemented, unauthenticated.
const REFUSALS: [i64; 8] = [3, 5, 6, 7, 9, 11, 12, 16];

/// A blocking client: one connection.
#[derive(Debug)]
pub struct EtcdClient {
    options: Options,
    /// The address, for each request's head.
    host: String,
    connection: Connection,
    decoder: ResponseDecoder,
    /// A body that came in chunks.
    joined: Vec<u8>,
    /// The value that was read last.
    value: Vec<u8>,
    /// Set once nothing further can be attributed, or the server has said that it closes.
    broken: bool,
}

/// What every answer that is no error holds.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    revision: Cow<'a, str>,
}

/// The answer to any of the three requests.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    header: Header<'a>,
    #[serde(borrow, default)]
    kvs: Vec<KeyValue<'a>>,
    #[serde(borrow, default)]
    deleted: Cow<'a, str>,
}

#[derive(Deserialize)]
struct KeyValue<'a> {
    /// An empty value is left out.
    #[serde(borrow, default)]
    value: Cow<'a, str>,
}

/// The body of an error.
#[derive(Default, Deserialize)]
struct Trouble<'a> {
    #[serde(borrow, default)]
    error: Cow<'a, str>,
    #[serde(default)]
    code: i64,
}

/// What a response means.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Done,
    Value,
    Missing,
}

impl EtcdClient {
    /// Connects to `to` (HOST:PORT).
    pub fn connect(to: &str, options: Options) -> Result<Self, ClientError> {
        Ok(Self {
            options,
            host: to.to_owned(),
            connection: Connection::open(to, &options)?,
            decoder: ResponseDecoder::new(MAX_REPLY),
            joined: Vec::new(),
            value: Vec::new(),
            broken: false,
        })
    }

    /// Drops the connection and opens a new one to the same address.
    pub fn reconnect(&mut self) -> Result<(), ClientError> {
        *self = Self::connect(&self.host, self.options)?;
        Ok(())
    }

    /// Queues a request behind those already queued.
    pub fn queue(&mut self, request: Request<'_>) {
        put_request(&mut self.connection.output, &self.host, request);
    }

    /// Sends all queued requests in one write. Each has then to be [received](Self::receive).
    pub fn send(&mut self) -> Result<(), ClientError> {
        if self.broken {
            self.connection.output.clear();
            return Err(ClientError::Closed { to: self.host.clone() });
        }
        self.connection.send().inspect_err(|_| self.broken = true)
    }

    /// Receives the response to the oldest request sent and not yet answered; `ask` is what it asked for.
    pub fn receive(&mut self, ask: Ask) -> Result<Reply<'_>, ClientError> {
        if self.broken {
            return Err(ClientError::Closed { to: self.host.clone() });
        }
        let response = self.whole().inspect_err(|_| self.broken = true)?;
        self.broken = response.closes;
        let at = self.connection.consume(response.length);
        let bytes = self.connection.bytes(at, at + response.length);
        let body = response.body(bytes, &mut self.joined);
        if response.status != 200 {
            return Err(trouble(ask, response.status, body));
        }
        match hear(ask, body, &mut self.value) {
            Ok(Heard::Done) => Ok(Reply::Done),
            Ok(Heard::Value) => Ok(Reply::Value(&self.value)),
            Ok(Heard::Missing) => Ok(Reply::Missing),
            Err(expected) => {
                self.broken = true;
                Err(self.connection.malformed(body, expected))
            }
        }
    }

    /// Reads until a whole response is here.
    fn whole(&mut self) -> Result<Response, ClientError> {
        loop {
            let expected = match self.decoder.next(self.connection.unread()) {
                Ok(Some(response)) => return Ok(response),
                Ok(None) => {
                    self.connection.fill()?;
                    continue;
                }
                Err(HttpError::Malformed) => "an HTTP response",
                Err(HttpError::TooLarge) => "a shorter response",
            };
            return Err(self.connection.malformed(self.connection.unread(), expected));
        }
    }
}

/// Appends a request to the server at `to`.
fn put_request(out: &mut Vec<u8>, to: &str, request: Request<'_>) {
    const KEY: &[u8] = b"{\"key\":\"";
    const VALUE: &[u8] = b"\",\"value\":\"";
    const END: &[u8] = b"\"}";
    let (path, key, value) = match request {
        Request::Get(key) => ("/v3/kv/range", key, None),
        Request::Set(key, value) => ("/v3/kv/put", key, Some(value)),
        Request::Delete(key) => ("/v3/kv/deleterange", key, None),
    };
    let of_value = value.map_or(0, |value| VALUE.len() + base64_length(value));
    let length = KEY.len() + base64_length(key) + of_value + END.len();
    for part in [
        "POST ",
        path,
        " HTTP/1.1\r\nHost: ",
        to,
        "\r\nContent-Type: application/json\r\nContent-Length: ",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    number::push(out, length);
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(KEY);
    put_base64(out, key);
    if let Some(value) = value {
        out.extend_from_slice(VALUE);
        put_base64(out, value);
    }
    out.extend_from_slice(END);
}

fn base64_length(bytes: &[u8]) -> usize {
    encoded_len(bytes.len(), true).expect("what is in memory has a length in base64")
}

fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + base64_length(bytes), 0);
    let written = BASE64_STANDARD.encode_slice(bytes, &mut out[start..]);
    assert_eq!(written, Ok(out.len() - start), "the length is computed as the text is");
}

/// Understands the body of a success; a value is left in `value`. Else what was expected.
fn hear(ask: Ask, body: &[u8], value: &mut Vec<u8>) -> Result<Heard, &'static str> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| "an answer of etcd")?;
    // Proof that this is etcd, not any server that answers any request with an object.
    answer.header.revision.parse::<u64>().map_err(|_| "a revision")?;
    match (ask, answer.kvs.as_slice()) {
        (Ask::Set, []) => Ok(Heard::Done),
        (Ask::Delete, []) if answer.deleted.is_empty() => Ok(Heard::Missing),
        (Ask::Delete, []) => match answer.deleted.parse::<u64>() {
            Ok(1..) => Ok(Heard::Done),
            _ => Err("a number of deleted keys"),
        },
        (Ask::Get, []) => Ok(Heard::Missing),
        (Ask::Get, [one]) => {
            value.clear();
            BASE64_STANDARD.decode_vec(&*one.value, value).map_err(|_| "a value in base64")?;
            Ok(Heard::Value)
        }
        _ => Err("at most one value"),
    }
}

/// The error that a response with another status than 200 is.
fn trouble(ask: Ask, status: u16, body: &[u8]) -> ClientError {
    let trouble: Trouble<'_> = serde_json::from_slice(body).unwrap_or_default();
    let why = printable(trouble.error.as_bytes());
    let why = why.chars().take(200).collect::<String>();
    let line = format!("HTTP {status} {why}").trim_end().to_owned();
    if ask == Ask::Get || REFUSALS.contains(&trouble.code) {
        ClientError::Refused { line }
    } else {
        ClientError::OutcomeUnknown { line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Certainty;

    const HEADER: &str = r#""header":{"cluster_id":"14841639068965178418","member_id":"10276657743932975437","revision":"12","raft_term":"2"}"#;

    fn heard(ask: Ask, rest: &str) -> Result<(Heard, String), &'static str> {
        let mut value = Vec::new();
        let heard = hear(ask, format!("{{{HEADER}{rest}}}").as_bytes(), &mut value)?;
        Ok((heard, printable(&value)))
    }

    #[test]
    fn requests_are_posts_of_json() {
        let mut out = Vec::new();
        put_request(&mut out, "127.0.0.1:2379", Request::Set(b"foo", b"bar"));
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "POST /v3/kv/put HTTP/1.1\r\nHost: 127.0.0.1:2379\r\nContent-Type: application/json\r\n\
             Content-Length: 29\r\n\r\n{\"key\":\"Zm9v\",\"value\":\"YmFy\"}"
        );
        let mut out = Vec::new();
        put_request(&mut out, "h:1", Request::Get(b"fo"));
        assert!(
            out.ends_with(b"Content-Length: 14\r\n\r\n{\"key\":\"Zm8=\"}"),
            "{}",
            printable(&out)
        );
    }

    #[test]
    fn answers_mean_what_was_asked() {
        let plain = |heard| Ok((heard, String::new()));
        assert_eq!(heard(Ask::Set, ""), plain(Heard::Done));
        assert_eq!(heard(Ask::Get, ""), plain(Heard::Missing));
        let one = r#","kvs":[{"key":"Zm9v","create_revision":"2","mod_revision":"2","version":"1","value":"YmFy"}],"count":"1""#;
        assert_eq!(heard(Ask::Get, one), Ok((Heard::Value, "bar".to_owned())));
        assert_eq!(heard(Ask::Get, r#","kvs":[{"key":"Zm9v"}],"count":"1""#), plain(Heard::Value));
        assert_eq!(heard(Ask::Delete, r#","deleted":"1""#), plain(Heard::Done));
        assert_eq!(heard(Ask::Delete, ""), plain(Heard::Missing));
        for (ask, rest) in [
            (Ask::Get, r#","kvs":[{"value":"YmFy"},{"value":"YmFy"}]"#),
            (Ask::Get, r#","kvs":[{"value":"no base64"}]"#),
            (Ask::Get, r#","kvs":7"#),
            (Ask::Set, r#","kvs":[{"value":"YmFy"}]"#),
            (Ask::Delete, r#","deleted":"some""#),
        ] {
            assert!(heard(ask, rest).is_err(), "{rest}");
        }
        for body in ["", "{}", "[]", r#"{"header":{}}"#, r#"{"header":{"revision":"x"}}"#] {
            assert!(hear(Ask::Set, body.as_bytes(), &mut Vec::new()).is_err(), "{body}");
        }
    }

    #[test]
    fn an_error_is_a_refusal_only_where_its_code_says_so() {
        let error = |ask, code: i64| {
            trouble(ask, 503, format!(r#"{{"error":"why","code":{code}}}"#).as_bytes())
        };
        assert_eq!(error(Ask::Set, 3).certainty(), Certainty::Fail);
        assert_eq!(error(Ask::Set, 14).certainty(), Certainty::Unknown);
        assert_eq!(error(Ask::Get, 14).certainty(), Certainty::Fail, "a read changes nothing");
        assert_eq!(trouble(Ask::Set, 500, b"<html>").certainty(), Certainty::Unknown);
        assert_eq!(error(Ask::Get, 14).to_string(), "the server refused: HTTP 503 why");
    }
}
