//! The fields of a line, by the general JSON parser: exact about what is wrong, and slower than `scan`.

use std::borrow::Cow;

use serde_json::Value;

use super::super::error::{ReadError, shown};
use super::super::lines::Line;

/// A text, a number as text, or nothing.
pub(super) type Text<'a> = Cow<'a, str>;

/// What stands under `value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// One value; `None` is the absent one.
    One(Option<Text<'a>>),
    /// The two values of a compare-and-set.
    Two(Option<Text<'a>>, Option<Text<'a>>),
}

/// What a line says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Invoke,
    Ok,
    Fail,
    Info,
    Deliver,
}

/// The kinds by the name of their `type`.
pub(super) const KINDS: [(&str, Kind); 5] = [
    ("invoke", Kind::Invoke),
    ("ok", Kind::Ok),
    ("fail", Kind::Fail),
    ("info", Kind::Info),
    ("deliver", Kind::Deliver),
];

/// The fields of a line of one of these kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    pub kind: Kind,
    pub process: Option<Text<'a>>,
    pub f: Option<Text<'a>>,
    pub key: Option<Text<'a>>,
    pub value: Option<Found<'a>>,
    pub swapped: Option<bool>,
    pub replica: Option<u16>,
    pub time: Option<u64>,
}

impl Fields<'_> {
    pub fn new(kind: Kind) -> Self {
        Fields {
            kind,
            process: None,
            f: None,
            key: None,
            value: None,
            swapped: None,
            replica: None,
            time: None,
        }
    }
}

/// A line as a JSON object, with what is needed to say where something is wrong.
pub(super) struct Object<'a> {
    pub line: Line<'a>,
    fields: serde_json::Map<String, Value>,
}

impl<'a> Object<'a> {
    pub fn parse(line: Line<'a>) -> Result<Self, ReadError> {
        match serde_json::from_str(line.text) {
            Ok(Value::Object(fields)) => Ok(Self { line, fields }),
            Ok(_) => Err(line.malformed(0, "a JSON object", shown(line.text))),
            Err(error) => {
                // serde_json counts columns in bytes, and stands behind what it found.
                let at = error.column().saturating_sub(1).min(line.text.len());
                let at = (0..=at).rev().find(|at| line.text.is_char_boundary(*at)).unwrap_or(0);
                let found = shown(&line.text[at..]);
                let reason = error.to_string();
                let reason = reason.split(" at line ").next().unwrap_or_default();
                Err(line.malformed(at, "a JSON object", format!("{found} ({reason})")))
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// That a field is not what it should be.
    pub fn wrong(&self, name: &str, expected: &str) -> ReadError {
        let found = match self.fields.get(name) {
            None => format!("an object without `{name}`"),
            Some(value) => shown(&value.to_string()),
        };
        let quoted = format!("\"{name}\"");
        let at = self.line.text.find(&quoted).unwrap_or(0);
        self.line.malformed(at, format!("{expected} as `{name}`"), found)
    }

    /// A field that must be a string.
    pub fn string(&self, name: &str) -> Result<&str, ReadError> {
        self.get(name).and_then(Value::as_str).ok_or_else(|| self.wrong(name, "a string"))
    }

    /// A field that is a whole number, where it is there.
    pub fn number(&self, name: &str) -> Result<Option<u64>, ReadError> {
        let number = |value: &Value| {
            value.as_u64().ok_or_else(|| self.wrong(name, "a whole number from 0 to 2^64-1"))
        };
        self.get(name).map(number).transpose()
    }

    /// A field that is the number of a replica, where it is there.
    pub fn replica(&self, name: &str) -> Result<Option<u16>, ReadError> {
        let Some(number) = self.number(name)? else { return Ok(None) };
        let wrong = || self.wrong(name, "the number of a replica, at most 65535,");
        Ok(Some(u16::try_from(number).map_err(|_| wrong())?))
    }

    /// The fields that an event of this kind has.
    pub fn fields(&self, kind: Kind) -> Result<Fields<'static>, ReadError> {
        let text = |name: &str, expected: &str| {
            let Some(value) = self.get(name) else { return Ok(None) };
            match scalar(value) {
                Some(Some(text)) => Ok(Some(text)),
                _ => Err(self.wrong(name, expected)),
            }
        };
        let value = match self.get("value") {
            None => None,
            Some(value) => {
                let expected = "a string, a number, null, or two of these in an array,";
                Some(found(value).ok_or_else(|| self.wrong("value", expected))?)
            }
        };
        let swapped = match self.get("swapped") {
            None => None,
            Some(Value::Bool(swapped)) => Some(*swapped),
            Some(_) => return Err(self.wrong("swapped", "true or false")),
        };
        Ok(Fields {
            kind,
            process: text("process", "a string or a number")?,
            f: text("f", "the name of a function")?,
            key: text("key", "a string or a number")?,
            value,
            swapped,
            replica: self.replica("replica")?,
            time: self.number("time")?,
        })
    }
}

fn found(value: &Value) -> Option<Found<'static>> {
    match value {
        Value::Array(two) => match two.as_slice() {
            [from, to] => Some(Found::Two(scalar(from)?, scalar(to)?)),
            _ => None,
        },
        one => Some(Found::One(scalar(one)?)),
    }
}

/// The text of a string or a number; `None` within for null.
pub(super) fn scalar(value: &Value) -> Option<Option<Text<'static>>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(Cow::Owned(text.clone()))),
        Value::Number(number) => Some(Some(Cow::Owned(number.to_string()))),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
