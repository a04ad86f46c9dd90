//! The one list of formats, and how to tell them apart.

use std::io::{self, BufRead, Read, Write};

use serde_json::Value;

use super::error::{ReadError, shown};
use super::lines::text;
use super::{History, dbcop, edn, elle, jsonl, log, shiviz};

/// Reads a history of one format; the name of the source is for messages.
pub type ReadHistory = fn(&mut dyn BufRead, &str) -> Result<History, ReadError>;

/// Writes a history in one format.
pub type WriteHistory = fn(&History, &mut dyn Write) -> io::Result<()>;

/// A format of recorded histories.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// Reads it.
    pub read: ReadHistory,
    /// Writes it, where that is of use.
    pub write: Option<WriteHistory>,
    /// Whether a file that begins like this is one; at most one format says yes.
    recognise: fn(&Head<'_>) -> bool,
}

/// The one list of formats.
pub const FORMATS: &[Format] = &[
    Format {
        name: "jsonl",
        what: "JSON Lines, the lab's own",
        read: jsonl::read,
        write: Some(jsonl::write),
        recognise: |head| matches!(head.json(), Json::Own),
    },
    Format {
        name: "edn",
        what: "Jepsen's EDN, one map a line or one vector",
        read: edn::read,
        write: Some(edn::write),
        recognise: |head| head.is_edn(),
    },
    Format {
        name: "log",
        what: "Jepsen's older text log",
        read: log::read,
        write: None,
        recognise: |head| head.json() == Json::None && head.lines().any(log::is_operation),
    },
    Format {
        name: "elle",
        what: "elle-cli's JSON, one array or one object behind the other",
        read: elle::read,
        write: Some(elle::write),
        recognise: |head| matches!(head.json(), Json::Elle),
    },
    Format {
        name: "dbcop",
        what: "the text of dbcop and Plume, r(key,value,session,transaction)",
        read: dbcop::read,
        write: None,
        recognise: |head| {
            head.first().starts_with(['r', 'w']) && head.first()[1..].trim_start().starts_with('(')
        },
    },
    Format {
        name: "shiviz",
        what: "ShiViz, as this lab writes it",
        read: shiviz::read,
        write: Some(shiviz::write),
        recognise: |head| shiviz::is_expression(head.first()) || shiviz::is_stamp(head.first()),
    },
];

/// The format of this name.
pub fn find(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

/// Reads a history in the format that is named, or in the one that its beginning shows.
///
/// # Errors
/// Where the input is of no known format, or not as its format asks.
pub fn read_any(
    input: &mut dyn BufRead,
    source: &str,
    format: Option<&Format>,
) -> Result<History, ReadError> {
    let mut head = Vec::new();
    let begun = Read::take(&mut *input, HEAD).read_to_end(&mut head);
    begun.map_err(|error| ReadError::Io { file: source.to_owned(), error })?;
    let text = head_text(&head, source)?;
    if head.len() < HEAD as usize && text.trim_ascii().is_empty() {
        let found = if head.is_empty() { "an empty file" } else { "nothing but blanks" };
        return Err(ReadError::Empty { file: source.to_owned(), found });
    }
    let format = match format {
        Some(format) => format,
        None => recognise(text).ok_or_else(|| {
            let names: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
            let (file, known) = (source.to_owned(), names.join(", "));
            ReadError::Unrecognised { file, known, found: shown(Head { text }.first()) }
        })?,
    };
    (format.read)(&mut head.as_slice().chain(input), source)
}

/// How much of a file its format is recognised by.
const HEAD: u64 = 1 << 16;

/// The beginning as text. The last character may be cut off.
fn head_text<'a>(head: &'a [u8], source: &str) -> Result<&'a str, ReadError> {
    let whole = match std::str::from_utf8(head) {
        Err(error) if error.error_len().is_none() && head.len() == HEAD as usize => {
            &head[..error.valid_up_to()]
        }
        _ => head,
    };
    text(whole, source, 0)
}

/// The format of a file that begins with this text.
pub fn recognise(text: &str) -> Option<&'static Format> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    FORMATS.iter().find(|format| (format.recognise)(&Head { text }))
}

/// The beginning of a file.
struct Head<'a> {
    text: &'a str,
}

/// What an input that looks like JSON is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Json {
    None,
    Own,
    Elle,
}

impl<'a> Head<'a> {
    fn lines(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text.lines().map(str::trim).filter(|line| !line.is_empty())
    }

    /// The first line with anything on it.
    fn first(&self) -> &'a str {
        self.lines().next().unwrap_or_default()
    }

    /// The text from the first map or vector on, where nothing but EDN's comments stands before it.
    fn opening(&self) -> Option<&'a str> {
        let mut rest = self.text.trim_start();
        while rest.starts_with(';') {
            rest = rest.split_once('\n').map_or("", |(_, behind)| behind).trim_start();
        }
        rest.starts_with(['{', '[', '(', '#']).then_some(rest)
    }

    fn is_edn(&self) -> bool {
        let Some(mut rest) = self.opening() else { return false };
        if self.json() != Json::None {
            return false;
        }
        // Down to the first thing that is no bracket, comment or tag.
        loop {
            rest = rest.trim_start_matches(|letter: char| letter == ',' || letter.is_whitespace());
            rest = match rest.chars().next() {
                Some('{' | '[' | '(') => &rest[1..],
                Some(';') => rest.split_once('\n').map_or("", |(_, behind)| behind),
                Some('#') => {
                    let Some(bracket) = rest.find(['{', '[', '(']) else { return false };
                    &rest[bracket..]
                }
                Some(':' | ']' | ')') => return true,
                Some(_) => return false,
                None => return true,
            };
        }
    }

    /// The lab's own format has `key` where elle-cli's maps have none, and no array around its lines.
    fn json(&self) -> Json {
        let Some(rest) = self.opening() else { return Json::None };
        let inner = rest.trim_start_matches(|letter: char| letter == '[' || letter.is_whitespace());
        let begins = inner.strip_prefix('{').map(str::trim_start);
        if !begins.is_some_and(|inner| inner.starts_with('"')) {
            return Json::None;
        }
        if rest.starts_with('[') {
            return Json::Elle;
        }
        // Its header may be longer than what is looked at here; it begins with its own name.
        let name = inner.trim_start_matches('{').trim_start();
        if name.strip_prefix("\"history\"").is_some_and(|rest| rest.trim_start().starts_with(':')) {
            return Json::Own;
        }
        match serde_json::from_str(self.first()) {
            Ok(Value::Object(line)) if line.contains_key("history") => Json::Own,
            Ok(Value::Object(line)) => match line.get("type").and_then(Value::as_str) {
                Some("invoke") if !line.contains_key("key") => Json::Elle,
                _ if line.contains_key("index") => Json::Elle,
                _ => Json::Own,
            },
            // A map that spans lines, or several on one.
            _ if self.first().contains("\"f\"") && self.first().contains("\"key\"") => Json::Own,
            _ => Json::Elle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_recognised_by_one_format() {
        for (text, name) in [
            ("{\"history\":1}\n", "jsonl"),
            ("\n{\"type\":\"invoke\",\"process\":0,\"f\":\"read\",\"key\":\"x\"}\n", "jsonl"),
            ("{\"type\":\"invoke\",\"process\":0,\"f\":\"read\",\"value\":null}\n", "elle"),
            (" [\n {\"type\":\"invoke\",\"process\":0,\"f\":\"read\",\"key\":\"x\"}\n", "elle"),
            ("{\n \"type\": \"invoke\",\n", "elle"),
            (
                "{\"type\":\"invoke\",\"f\":\"cas\",\"key\":\"x\",\"value\":[1,2],\"index\":0}\n",
                "elle",
            ),
            ("; comment\n[{:process 1}]", "edn"),
            ("{:process 1, :x \"INFO a :invoke :read\"}", "edn"),
            ("({:type :ok", "edn"),
            ("#jepsen.history.Op{:index 0", "edn"),
            ("[]", "edn"),
            ("INFO  jepsen.util - 4\t:invoke\t:read\tnil\n", "log"),
            ("INFO jepsen.core - starting\nINFO  jepsen.util - 4\t:invoke\t:read\tnil\n", "log"),
            ("w(1,1,0,0)\n", "dbcop"),
            ("r(1, 1, 0, 0)\n", "dbcop"),
            ("(?<host>\\S*) (?<clock>{.*})\\n(?<event>.*)\n\n", "shiviz"),
            ("c0 {\"c0\":1}\n{\"type\":", "shiviz"),
        ] {
            let head = Head { text };
            let names: Vec<_> = FORMATS
                .iter()
                .filter(|format| (format.recognise)(&head))
                .map(|format| format.name)
                .collect();
            assert_eq!(names, [name], "{text}");
        }
        for text in ["hello\n", "write x 1\n", "# Title\n", "", "\"a\"", "{}\n1", "w"] {
            assert_ne!(recognise(text).map(|format| format.name), Some("jsonl"), "{text}");
        }
        assert!(recognise("hello\n").is_none());
        assert!(recognise("# Title\n").is_none());
    }

    #[test]
    fn names_are_found() {
        for format in FORMATS {
            assert_eq!(find(format.name).map(|found| found.what), Some(format.what));
        }
        assert!(find("xml").is_none());
    }
}
