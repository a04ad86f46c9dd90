//! The cluster lab's requests and replies.
//!
//! ```text
//! {"method":"insert","key":"zebra","value":{"weight":100}}   {"result":"success"}
//! {"method":"lookup","key":"zebra"}                           {"result":"success","value":{"weight":100}}
//! {"method":"remove","key":"zebra"}                           {"result":"success","value":{"weight":100}}
//! {"method":"scan","regex":"^z"}                              {"result":"success","matches":[["zebra",{"weight":100}]]}
//! {"method":"status"}                                         {"result":"success","value":{"entries":1, ...}}
//! ```
//! What did not succeed says how it failed, and why in words:
//!
//! | `result` | means | a client |
//! |---|---|---|
//! | `failed` | a valid request that cannot be carried out: there is no such key | reports it |
//! | `invalid` | no request at all, or one that names a wrong regular expression | mends its request |
//! | `unavailable` | the server cannot carry out requests now (its disk is full, it stops); the operation did not happen | tries again |

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{some_json, write_raw, write_string};

/// A request.
#[derive(Clone, Debug)]
pub enum Request<'a> {
    /// The key has this value from here on.
    Insert {
        /// Any string.
        key: Cow<'a, str>,
        /// Any JSON, as it came.
        value: &'a RawValue,
    },
    /// What value has the key?
    Lookup {
        /// The key.
        key: Cow<'a, str>,
    },
    /// The key is gone; answers with the value that it had.
    Remove {
        /// The key.
        key: Cow<'a, str>,
    },
    /// All keys in which the regular expression is found somewhere, with their values.
    Scan {
        /// The expression.
        regex: Cow<'a, str>,
    },
    /// How is the server?
    Status,
}

/// Why a line is no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is no JSON, or not of the expected shape.
    #[error("expected a JSON object such as {{\"method\":\"lookup\",\"key\":\"zebra\"}}: {0}")]
    Json(#[from] serde_json::Error),
    /// There is no such method.
    #[error("expected the method insert, lookup, remove, scan or status, found {0:?}")]
    Method(String),
    /// The method needs a member that is not there.
    #[error("{method} needs the member {member:?}")]
    Missing {
        /// The method.
        method: &'static str,
        /// What is missing.
        member: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "some_json")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    regex: Option<Cow<'a, str>>,
}

impl<'a> Request<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// The line is no request; the message says what was expected.
    pub fn parse(line: &'a [u8]) -> Result<Self, RequestError> {
        let members: Members<'a> = serde_json::from_slice(line)?;
        let need = |method, member| move || RequestError::Missing { method, member };
        Ok(match &*members.method {
            "insert" => Self::Insert {
                key: members.key.ok_or_else(need("insert", "key"))?,
                value: members.value.ok_or_else(need("insert", "value"))?,
            },
            "lookup" => Self::Lookup { key: members.key.ok_or_else(need("lookup", "key"))? },
            "remove" => Self::Remove { key: members.key.ok_or_else(need("remove", "key"))? },
            "scan" => Self::Scan { regex: members.regex.ok_or_else(need("scan", "regex"))? },
            "status" => Self::Status,
            other => return Err(RequestError::Method(other.chars().take(40).collect())),
        })
    }

    /// Appends the request's line, with its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (method, text) = match self {
            Self::Insert { key, .. } => ("insert", Some(("key", key))),
            Self::Lookup { key } => ("lookup", Some(("key", key))),
            Self::Remove { key } => ("remove", Some(("key", key))),
            Self::Scan { regex } => ("scan", Some(("regex", regex))),
            Self::Status => ("status", None),
        };
        out.extend_from_slice(b"{\"method\":\"");
        out.extend_from_slice(method.as_bytes());
        out.push(b'"');
        if let Some((name, text)) = text {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            write_string(out, text);
        }
        if let Self::Insert { value, .. } = self {
            out.extend_from_slice(b",\"value\":");
            write_raw(out, value.get());
        }
        out.extend_from_slice(b"}\n");
    }
}

/// How an operation that did not succeed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A valid request that cannot be carried out.
    Failed,
    /// No valid request.
    Invalid,
    /// Not now; the operation did not happen.
    Unavailable,
}

impl Trouble {
    /// The word of `result`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Appends `{"result":"success"}`.
pub fn write_success(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"result\":\"success\"}\n");
}

/// Appends a success with a value; `value` is JSON.
pub fn write_value(out: &mut Vec<u8>, value: &str) {
    out.extend_from_slice(b"{\"result\":\"success\",\"value\":");
    write_raw(out, value);
    out.extend_from_slice(b"}\n");
}

/// Appends a reply that tells of trouble.
pub fn write_trouble(out: &mut Vec<u8>, trouble: Trouble, error: &str) {
    out.extend_from_slice(b"{\"result\":\"");
    out.extend_from_slice(trouble.word().as_bytes());
    out.extend_from_slice(b"\",\"error\":");
    write_string(out, error);
    out.extend_from_slice(b"}\n");
}

/// Begins the reply to a scan; [`write_match`] for each match, then [`end_matches`].
pub fn begin_matches(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"result\":\"success\",\"matches\":[");
}

/// Appends one match.
pub fn write_match(out: &mut Vec<u8>, first: bool, key: &str, value: &str) {
    if !first {
        out.push(b',');
    }
    out.push(b'[');
    write_string(out, key);
    out.push(b',');
    write_raw(out, value);
    out.push(b']');
}

/// Ends the reply to a scan.
pub fn end_matches(out: &mut Vec<u8>) {
    out.extend_from_slice(b"]}\n");
}

/// A reply, as a client reads it.
#[derive(Clone, Debug)]
pub enum Reply<'a> {
    /// Carried out; a lookup and a remove have a value, a scan has matches.
    Success {
        /// The value, as it was inserted.
        value: Option<&'a RawValue>,
        /// Keys and values.
        matches: Option<Vec<(Cow<'a, str>, &'a RawValue)>>,
    },
    /// Not carried out.
    Trouble {
        /// How.
        trouble: Trouble,
        /// Why, in words.
        error: String,
    },
}

#[derive(Deserialize)]
struct ReplyMembers<'a> {
    #[serde(borrow)]
    result: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "some_json")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    matches: Option<Vec<(Text<'a>, &'a RawValue)>>,
    error: Option<String>,
}

/// A string that is borrowed where it holds no escapes (serde borrows a `Cow` only as a field of its own).
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Reply<'a> {
    /// Reads a line; `None` where it is no reply.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let members: ReplyMembers<'a> = serde_json::from_slice(line).ok()?;
        let trouble = match &*members.result {
            "success" => {
                let matches =
                    members.matches.map(|m| m.into_iter().map(|(k, v)| (k.0, v)).collect());
                return Some(Self::Success { value: members.value, matches });
            }
            "failed" => Trouble::Failed,
            "invalid" => Trouble::Invalid,
            "unavailable" => Trouble::Unavailable,
            _ => return None,
        };
        Some(Self::Trouble { trouble, error: members.error.unwrap_or_default() })
    }
}
