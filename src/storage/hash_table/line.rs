//! One line of `table.txn` or `table.ckpt` <-> what it says.
//!
//! ```text
//! table.txn                                          table.ckpt
//! #table.txn v1 part 7: KEY \t VALUE \t SYNCED \t CRC32     #table.ckpt v1 up to part 6: KEY \t VALUE \t CRC32
//! zebra \t {"weight":100} \t 57 \t 1a2b3c4d                 lion \t [1,2] \t 99aabbcc
//! lion \t removed \t 98 \t 5e6f7a8b                         #end \t 1 \t 0badcafe
//! ```
//! - KEY is escaped (`\t`, `\n`, `\r`, `\\`, `\xNN`); a first `#` is written `\x23`.
//! - VALUE is JSON as it came, without line feeds and tabs between its parts (inside a JSON string they are
//!   always escaped); `removed`, which is no JSON, says that the key is gone.
//! - SYNCED is how many bytes of the file were on disk for certain when the record was written: where its
//!   group begins. It tells a torn tail from damage: what lies in front of it had been synced.
//! - CRC32 (IEEE, 8 lower-case hex digits) covers the line up to the tab before it.

use std::borrow::Cow;

use super::entries::Entry;
use super::error::Damage;
use crate::storage::escape::unescape;
use crate::storage::record::{self, RecordError, escape_key, number, seal};

/// The version of both formats.
const VERSION: u32 = 1;

/// VALUE of a key that is gone.
const REMOVED: &[u8] = b"removed";

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Log,
    Checkpoint,
}

impl Kind {
    fn columns(self) -> usize {
        match self {
            Self::Log => 4,
            Self::Checkpoint => 3,
        }
    }

    /// A first line, without its checksum.
    fn head(self, part: &str) -> String {
        match self {
            Self::Log => format!("#table.txn v{VERSION} part {part}: KEY\tVALUE\tSYNCED"),
            Self::Checkpoint => format!("#table.ckpt v{VERSION} up to part {part}: KEY\tVALUE"),
        }
    }

    /// What to tell of a file that begins otherwise.
    pub(super) fn example(self) -> String {
        self.head("1").replace('\t', " ")
    }
}

/// Appends a first line.
pub(super) fn write_header(kind: Kind, part: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(kind.head(&part.to_string()).as_bytes());
    seal(out, start);
}

/// The part that a first line (without its line feed) names.
pub(super) fn parse_header(kind: Kind, line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(record::unseal(line).ok()?).ok()?;
    let head = kind.head("#");
    let (before, behind) = head.split_once("part #")?;
    let rest = text.strip_prefix(before)?.strip_prefix("part ")?;
    record::parse_number(rest.strip_suffix(behind)?.as_bytes())
}

/// Appends a log record; `None` says that the key is gone.
pub(super) fn write_log(key: &str, value: Option<&str>, synced: u64, out: &mut Vec<u8>) {
    let start = out.len();
    escape_key(key.as_bytes(), out);
    out.push(b'\t');
    out.extend_from_slice(value.map_or(REMOVED, str::as_bytes));
    out.push(b'\t');
    number(out, synced);
    seal(out, start);
}

/// Appends an entry of a checkpoint.
pub(super) fn write_entry(entry: &Entry, out: &mut Vec<u8>) {
    let start = out.len();
    escape_key(entry.key().as_bytes(), out);
    out.push(b'\t');
    out.extend_from_slice(entry.value().as_bytes());
    seal(out, start);
}

/// Appends a checkpoint's last line.
pub(super) fn write_end(entries: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(b"#end\t");
    number(out, entries);
    seal(out, start);
}

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogRecord<'a> {
    pub key: Cow<'a, str>,
    /// `None`: the key is gone.
    pub value: Option<&'a str>,
    pub synced: u64,
}

/// A line of a checkpoint behind the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CheckpointLine<'a> {
    Entry(Cow<'a, str>, &'a str),
    End(u64),
}

/// Takes the checksum off.
fn unsealed(kind: Kind, line: &[u8]) -> Result<&[u8], Damage> {
    record::unseal(line).map_err(|error| match error {
        RecordError::Columns => Damage::Columns { expected: kind.columns() },
        other => Damage::Record(other),
    })
}

fn column(name: &'static str, found: &[u8]) -> Damage {
    Damage::Record(RecordError::Column { name, found: record::shown(found) })
}

fn parse_key(text: &[u8]) -> Result<Cow<'_, str>, Damage> {
    let no_text = Damage::NoText { name: "KEY" };
    match unescape(text).ok_or_else(|| column("KEY", text))? {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| no_text),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| no_text),
    }
}

fn parse_value(text: &[u8]) -> Result<&str, Damage> {
    if text.is_empty() || text.contains(&b'\t') {
        return Err(column("VALUE", text));
    }
    std::str::from_utf8(text).map_err(|_| Damage::NoText { name: "VALUE" })
}

/// Reads a log record (without its line feed).
pub(super) fn parse_log(line: &[u8]) -> Result<LogRecord<'_>, Damage> {
    let columns = || Damage::Columns { expected: Kind::Log.columns() };
    let rest = unsealed(Kind::Log, line)?;
    let synced_at = memchr::memrchr(b'\t', rest).ok_or_else(columns)?;
    let (rest, synced) = (&rest[..synced_at], &rest[synced_at + 1..]);
    let synced = record::parse_number(synced).ok_or_else(|| column("SYNCED", synced))?;
    let key_end = memchr::memchr(b'\t', rest).ok_or_else(columns)?;
    let (key, value) = (&rest[..key_end], &rest[key_end + 1..]);
    if key.first() == Some(&b'#') {
        return Err(column("KEY", key));
    }
    let value = if value == REMOVED { None } else { Some(parse_value(value)?) };
    Ok(LogRecord { key: parse_key(key)?, value, synced })
}

/// Reads a line of a checkpoint (without its line feed).
pub(super) fn parse_checkpoint(line: &[u8]) -> Result<CheckpointLine<'_>, Damage> {
    let rest = unsealed(Kind::Checkpoint, line)?;
    let columns = || Damage::Columns { expected: Kind::Checkpoint.columns() };
    let key_end = memchr::memchr(b'\t', rest).ok_or_else(columns)?;
    let (key, value) = (&rest[..key_end], &rest[key_end + 1..]);
    match key {
        b"#end" => record::parse_number(value)
            .map(CheckpointLine::End)
            .ok_or_else(|| column("VALUE", value)),
        [b'#', ..] => Err(column("KEY", key)),
        _ => Ok(CheckpointLine::Entry(parse_key(key)?, parse_value(value)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log(key: &str, value: Option<&str>, synced: u64) -> String {
        let mut out = Vec::new();
        write_log(key, value, synced, &mut out);
        String::from_utf8(out).expect("lines are UTF-8")
    }

    #[test]
    fn lines_are_made_to_be_read() {
        let shown = |line: String| line.rsplit_once('\t').expect("a checksum").0.to_owned();
        assert_eq!(
            shown(log("zebra", Some(r#"{"weight":100}"#), 57)),
            "zebra\t{\"weight\":100}\t57"
        );
        assert_eq!(shown(log("#a\tb", None, 0)), "\\x23a\\tb\tremoved\t0");
        let mut out = Vec::new();
        write_header(Kind::Log, 7, &mut out);
        assert!(out.starts_with(b"#table.txn v1 part 7: KEY\tVALUE\tSYNCED\t"));
        assert_eq!(parse_header(Kind::Log, out.trim_ascii_end()), Some(7));
        assert_eq!(parse_header(Kind::Checkpoint, out.trim_ascii_end()), None);
    }

    #[test]
    fn the_string_removed_is_a_value_of_its_own() {
        let line = log("k", Some(r#""removed""#), 1);
        assert_eq!(
            parse_log(line.trim_end().as_bytes()).map(|r| r.value),
            Ok(Some(r#""removed""#))
        );
    }

    #[test]
    fn intact_checksums_around_nonsense_are_refused() {
        for nonsense in [
            "",
            "\t",
            "a",
            "a\tb",
            "k\t1\t",
            "k\t1\t-1",
            "k\t\t1",
            "k\t1\t2\t3",
            "#k\t1\t0",
            "k\\q\t1\t0",
            "\\xff\t1\t0",
        ] {
            let mut line = nonsense.as_bytes().to_vec();
            seal(&mut line, 0);
            line.pop();
            assert!(parse_log(&line).is_err(), "{nonsense:?}");
        }
        for nonsense in ["", "k", "k\t", "#end\t", "#end\tx", "#else\t1", "k\t1\t2", "\\xff\t1"] {
            let mut line = nonsense.as_bytes().to_vec();
            seal(&mut line, 0);
            line.pop();
            assert!(parse_checkpoint(&line).is_err(), "{nonsense:?}");
        }
    }

    proptest! {
        #[test]
        fn every_record_comes_back(key: String, value: Option<String>, synced: u64) {
            let value = value.map(|text| serde_json::to_string(&text).expect("JSON"));
            let line = log(&key, value.as_deref(), synced);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(line.matches('\t').count(), 3);
            let record = LogRecord { key: key.into(), value: value.as_deref(), synced };
            prop_assert_eq!(parse_log(&line.as_bytes()[..line.len() - 1]), Ok(record));
        }

        #[test]
        fn every_entry_comes_back(key: String, value: String) {
            let value = serde_json::to_string(&value).expect("JSON");
            let mut line = Vec::new();
            write_entry(&Entry::new(&key, &value), &mut line);
            let entry = CheckpointLine::Entry(key.into(), &value);
            prop_assert_eq!(parse_checkpoint(&line[..line.len() - 1]), Ok(entry));
        }

        #[test]
        fn any_flip_of_a_bit_is_seen(key: String, place: prop::sample::Index, bit in 0..8) {
            let mut line = log(&key, Some("1"), 3).into_bytes();
            line.pop();
            let at = place.index(line.len());
            line[at] ^= 1u8 << bit;
            prop_assert!(parse_log(&line).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(line: Vec<u8>) {
            let _ = parse_log(&line);
            let _ = parse_checkpoint(&line);
            let _ = parse_header(Kind::Log, &line);
        }
    }
}
