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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        let value = leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(serde_json::Value::from_iter),
            ]
        });
        // Pretty JSON has line feeds, which must not get into a line.
        (value, any::<bool>()).prop_map(|(value, pretty)| {
            if pretty { format!("{value:#}") } else { value.to_string() }
        })
    }

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).expect("JSON")
    }

    fn one_line(out: &[u8]) -> &[u8] {
        let (last, line) = out.split_last().expect("a line");
        assert_eq!((*last, line.contains(&b'\n')), (b'\n', false));
        line
    }

    fn same(json: &str, other: &str) -> bool {
        let parse = |text| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        parse(json) == parse(other)
    }

    #[test]
    fn members_come_in_any_order_and_null_is_a_value() {
        let request =
            Request::parse(br#" { "value" : null, "key":"\u0041\n", "method":"insert" } "#);
        assert!(
            matches!(&request, Ok(Request::Insert { key, value }) if key == "A\n" && value.get() == "null"),
            "{request:?}"
        );
        let reply = Reply::parse(br#"{"result":"success","value":null}"#);
        assert!(matches!(reply, Some(Reply::Success { value: Some(_), matches: None })));
        let reply = Reply::parse(br#"{"result":"success"}"#);
        assert!(matches!(reply, Some(Reply::Success { value: None, matches: None })));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for line in [
            "",
            "{",
            "{}",
            "[]",
            "null",
            r#"{"method":1}"#,
            r#"{"method":"lookup","key":null}"#,
            r#"{"method":"lookup","key":"a","key":"b"}"#,
            r#"{"method":"lookup","key":"\ud800"}"#,
            r#"{"method":"insert","key":"a","value":}"#,
            r#"{"method":"insert","key":"a","value":01}"#,
            r#"{"method":"status"}{"method":"status"}"#,
        ] {
            assert!(Request::parse(line.as_bytes()).is_err(), "{line}");
        }
        for text in [&b"{\"method\":\"lookup\",\"key\":\"\xff\"}"[..], b"\xff"] {
            assert!(Request::parse(text).is_err());
        }
        let value = b"{\"method\":\"insert\",\"key\":\"k\",\"value\":[\"\xc3\"]}";
        assert!(Request::parse(value).is_err(), "half a character");
    }

    /// A value is skipped, not built: how deep it goes costs no stack.
    #[test]
    fn a_deep_value_is_carried() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        let line = format!(r#"{{"method":"insert","key":"k","value":{deep}}}"#);
        let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(move || {
            matches!(Request::parse(line.as_bytes()), Ok(Request::Insert { value, .. }) if value.get() == deep)
        });
        assert!(thread.expect("a thread").join().expect("no overflow"));
    }

    proptest! {
        #[test]
        fn every_request_comes_back(key: String, json in json(), which in 0..5) {
            let request = match which {
                0 => Request::Insert { key: (&*key).into(), value: raw(&json) },
                1 => Request::Lookup { key: (&*key).into() },
                2 => Request::Remove { key: (&*key).into() },
                3 => Request::Scan { regex: (&*key).into() },
                _ => Request::Status,
            };
            let mut out = Vec::new();
            request.write(&mut out);
            let read = Request::parse(one_line(&out)).expect("our own request");
            match (request, read) {
                (Request::Insert { key, value }, Request::Insert { key: other, value: read }) => {
                    prop_assert_eq!(key, other);
                    prop_assert!(same(value.get(), read.get()));
                }
                (Request::Lookup { key }, Request::Lookup { key: other })
                | (Request::Remove { key }, Request::Remove { key: other })
                | (Request::Scan { regex: key }, Request::Scan { regex: other }) => prop_assert_eq!(key, other),
                (Request::Status, Request::Status) => {}
                (sent, read) => prop_assert!(false, "{:?} became {:?}", sent, read),
            }
        }

        #[test]
        fn every_reply_comes_back(pairs in proptest::collection::vec((any::<String>(), json()), 0..5), error: String) {
            let mut out = Vec::new();
            begin_matches(&mut out);
            for (i, (key, json)) in pairs.iter().enumerate() {
                write_match(&mut out, i == 0, key, json);
            }
            end_matches(&mut out);
            let Some(Reply::Success { value: None, matches: Some(read) }) = Reply::parse(one_line(&out)) else {
                return Err(TestCaseError::fail("no matches"));
            };
            prop_assert_eq!(read.len(), pairs.len());
            for ((key, json), (other, value)) in pairs.iter().zip(&read) {
                prop_assert_eq!(key, other);
                prop_assert!(same(json, value.get()));
            }
            for (_, json) in &pairs {
                out.clear();
                write_value(&mut out, json);
                let reply = Reply::parse(one_line(&out));
                let same = matches!(reply, Some(Reply::Success { value: Some(value), .. }) if same(value.get(), json));
                prop_assert!(same);
            }
            for trouble in [Trouble::Failed, Trouble::Invalid, Trouble::Unavailable] {
                out.clear();
                write_trouble(&mut out, trouble, &error);
                let reply = Reply::parse(one_line(&out));
                let same = matches!(reply, Some(Reply::Trouble { trouble: t, error: e }) if t == trouble && e == error);
                prop_assert!(same);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(line: Vec<u8>, text: String) {
            let _ = Request::parse(&line);
            let _ = Reply::parse(&line);
            let _ = Request::parse(text.as_bytes());
            let _ = Reply::parse(text.as_bytes());
        }

        /// One wrong byte in a request: read as something else or refused, never a panic.
        #[test]
        fn a_wrong_byte_is_no_catastrophe(json in json(), at: prop::sample::Index, byte: u8) {
            let mut out = Vec::new();
            Request::Insert { key: "key".into(), value: raw(&json) }.write(&mut out);
            let at = at.index(out.len());
            out[at] = byte;
            let _ = Request::parse(&out);
            let _ = Reply::parse(&out);
        }
    }
}
