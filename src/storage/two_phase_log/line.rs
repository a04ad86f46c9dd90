//! One line of `2pc.log` <-> one record.
//!
//! ```text
//! #2pc.log v1: RECORD \t ... \t BACK \t CRC32
//! incarnation \t 1700000000000000000 \t 0 \t 1a2b3c4d
//! view \t 3.1700000000000000000 \t 0,1,2 \t 1 \t 44 \t 5e6f7a8b         epoch.maker, members, own place
//! prepared \t 1700000000000000000.7 \t set \t CS06142 \t *1\r\n$5\r\nCloud\r\n \t 0 \t 99aabbcc
//! committed \t 1700000000000000000.7 \t 0 \t 0badcafe
//! prepared \t 1700000000000000000.8 \t del \t CS06142 \t CS162 \t 0 \t ...
//! aborted \t 1700000000000000000.8 \t 0 \t ...
//! finished \t 1700000000000000000.8 \t 0 \t ...                        all before it are finished everywhere
//! cleared \t 0 \t ...                                                  copy, promises and view are dropped
//! copied \t KEY \t VALUE \t 0 \t ...                                   from the copy of another one
//! ```
//! - A transaction is INCARNATION.SEQUENCE. KEY and VALUE are escaped (`\t`, `\n`, `\r`, `\\`, `\xNN`).
//! - BACK is how many bytes before this line the group begins that is written and synced with it: what lies in
//!   front of the group had been synced. It tells a torn tail from damage, and stays right when lines are copied.
//! - CRC32 (IEEE, 8 lower-case hex digits) covers the line up to the tab before it.

use crate::protocol::two_phase::{Change, Key, Members, Record, TxnId, View, ViewId};
use crate::storage::error::Damage;
use crate::storage::escape::{escape, unescape};
use crate::storage::record::{self, RecordError, number, parse_number, seal, unseal};

/// What every log begins with.
pub(super) const HEADER: &str = "#2pc.log v1:";

/// Appends the first line.
pub(super) fn write_header(out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(HEADER.as_bytes());
    out.extend_from_slice(b" RECORD\t...\tBACK");
    seal(out, start);
}

/// Whether this is a first line (without its line feed).
pub(super) fn is_header(line: &[u8]) -> bool {
    unseal(line).is_ok_and(|rest| rest.starts_with(HEADER.as_bytes()))
}

/// Appends the lines of a record; its group begins in `out` at `group`.
pub(super) fn write(record: &Record, group: usize, out: &mut Vec<u8>) {
    if let Record::Copied(entries) = record {
        for (key, value) in entries {
            line(group, out, b"copied", |out| {
                bytes(out, key);
                bytes(out, value);
            });
        }
        return;
    }
    match record {
        Record::Prepared { txn, change } => line(group, out, b"prepared", |out| {
            id(out, *txn);
            match change {
                Change::Set { key, value } => {
                    out.extend_from_slice(b"\tset");
                    bytes(out, key);
                    bytes(out, value);
                }
                Change::Delete { keys } => {
                    out.extend_from_slice(b"\tdel");
                    keys.iter().for_each(|key| bytes(out, key));
                }
            }
        }),
        Record::Committed(txn) => line(group, out, b"committed", |out| id(out, *txn)),
        Record::Aborted(txn) => line(group, out, b"aborted", |out| id(out, *txn)),
        Record::Finished(txn) => line(group, out, b"finished", |out| id(out, *txn)),
        Record::View { view, me } => line(group, out, b"view", |out| {
            pair(out, view.id.epoch, view.id.maker);
            let members: Vec<String> = view.members.iter().map(|p| p.to_string()).collect();
            out.push(b'\t');
            out.extend_from_slice(members.join(",").as_bytes());
            out.push(b'\t');
            number(out, u64::from(*me));
        }),
        Record::Incarnation(seen) => line(group, out, b"incarnation", |out| {
            out.push(b'\t');
            number(out, *seen);
        }),
        Record::Cleared => line(group, out, b"cleared", |_| ()),
        Record::Copied(_) => {}
    }
}

fn line(group: usize, out: &mut Vec<u8>, kind: &[u8], columns: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(kind);
    columns(out);
    out.push(b'\t');
    number(out, (start - group) as u64);
    seal(out, start);
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'\t');
    escape(bytes, out);
}

fn pair(out: &mut Vec<u8>, a: u64, b: u64) {
    out.push(b'\t');
    number(out, a);
    out.push(b'.');
    number(out, b);
}

fn id(out: &mut Vec<u8>, txn: TxnId) {
    pair(out, txn.incarnation, txn.sequence);
}

/// Reads a line (without its line feed); gives what its record says, and BACK.
pub(super) fn parse(text: &[u8]) -> Result<(Record, u64), Damage> {
    let rest = unseal(text).map_err(|error| match error {
        RecordError::Columns => Damage::Kind,
        other => Damage::Record(other),
    })?;
    let mut columns = rest.split(|&byte| byte == b'\t');
    let kind = columns.next().unwrap_or_default();
    let columns: Vec<&[u8]> = columns.collect();
    let (back, columns) = columns.split_last().ok_or(Damage::Kind)?;
    let back = parse_number(back).ok_or_else(|| wrong("BACK", back))?;
    let record = match (kind, columns) {
        (b"prepared", [txn, b"set", key, value]) => Record::Prepared {
            txn: parse_id(txn)?,
            change: Change::Set { key: parse_key(key)?, value: parse_value(value)? },
        },
        (b"prepared", [txn, b"del", keys @ ..]) => Record::Prepared {
            txn: parse_id(txn)?,
            change: Change::Delete {
                keys: keys.iter().map(|key| parse_key(key)).collect::<Result<_, _>>()?,
            },
        },
        (b"committed", [txn]) => Record::Committed(parse_id(txn)?),
        (b"aborted", [txn]) => Record::Aborted(parse_id(txn)?),
        (b"finished", [txn]) => Record::Finished(parse_id(txn)?),
        (b"view", [id, members, me]) => {
            let (epoch, maker) = parse_pair(id).ok_or_else(|| wrong("VIEW", id))?;
            let members = parse_members(members).ok_or_else(|| wrong("MEMBERS", members))?;
            let place = parse_number(me).and_then(|n| u16::try_from(n).ok());
            let me = place.ok_or_else(|| wrong("ME", me))?;
            Record::View { view: View { id: ViewId { epoch, maker }, members }, me }
        }
        (b"incarnation", [seen]) => {
            Record::Incarnation(parse_number(seen).ok_or_else(|| wrong("INCARNATION", seen))?)
        }
        (b"cleared", []) => Record::Cleared,
        (b"copied", [key, value]) => Record::Copied(vec![(parse_key(key)?, parse_value(value)?)]),
        _ => return Err(Damage::Kind),
    };
    Ok((record, back))
}

fn wrong(name: &'static str, found: &[u8]) -> Damage {
    Damage::Record(RecordError::Column { name, found: record::shown(found) })
}

fn parse_pair(text: &[u8]) -> Option<(u64, u64)> {
    let dot = memchr::memchr(b'.', text)?;
    Some((parse_number(&text[..dot])?, parse_number(&text[dot + 1..])?))
}

fn parse_id(text: &[u8]) -> Result<TxnId, Damage> {
    let (incarnation, sequence) = parse_pair(text).ok_or_else(|| wrong("TRANSACTION", text))?;
    Ok(TxnId { incarnation, sequence })
}

fn parse_members(text: &[u8]) -> Option<Members> {
    if text.is_empty() {
        return Some(Members::default());
    }
    let place = |text| parse_number(text).and_then(|n| u16::try_from(n).ok());
    text.split(|&byte| byte == b',').map(place).collect()
}

fn parse_key(text: &[u8]) -> Result<Key, Damage> {
    unescape(text).map(|key| (&*key).into()).ok_or_else(|| wrong("KEY", text))
}

fn parse_value(text: &[u8]) -> Result<std::sync::Arc<Vec<u8>>, Damage> {
    let value = unescape(text).ok_or_else(|| wrong("VALUE", text))?;
    Ok(std::sync::Arc::new(value.into_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use proptest::prelude::*;

    fn text(record: &Record) -> String {
        let mut out = Vec::new();
        write(record, 0, &mut out);
        String::from_utf8(out).expect("lines are UTF-8")
    }

    fn txn(incarnation: u64, sequence: u64) -> TxnId {
        TxnId { incarnation, sequence }
    }

    #[test]
    fn lines_are_made_to_be_read() {
        let shown = |record| {
            let line = text(&record);
            line.rsplit_once('\t').expect("a checksum").0.to_owned()
        };
        let value = Arc::new(b"*1\r\n$5\r\nCloud\r\n".to_vec());
        let set = Change::Set { key: (*b"CS\t06142").into(), value };
        assert_eq!(
            shown(Record::Prepared { txn: txn(5, 7), change: set }),
            "prepared\t5.7\tset\tCS\\t06142\t*1\\r\\n$5\\r\\nCloud\\r\\n\t0"
        );
        let keys = vec![(*b"a").into(), (*b"b").into()];
        assert_eq!(
            shown(Record::Prepared { txn: txn(5, 8), change: Change::Delete { keys } }),
            "prepared\t5.8\tdel\ta\tb\t0"
        );
        assert_eq!(shown(Record::Committed(txn(5, 7))), "committed\t5.7\t0");
        let view = View { id: ViewId { epoch: 3, maker: 5 }, members: Members::first(3) };
        assert_eq!(shown(Record::View { view, me: 1 }), "view\t3.5\t0,1,2\t1\t0");
        let mut out = Vec::new();
        write_header(&mut out);
        assert!(is_header(out.trim_ascii_end()));
    }

    #[test]
    fn intact_checksums_around_nonsense_are_refused() {
        for nonsense in [
            "",
            "\t",
            "committed\t0",
            "committed\t1\t0",
            "committed\t1.x\t0",
            "committed\t1.2\t-",
            "committed\t1.2\t3\t0",
            "aborted\t1.2",
            "prepared\t1.2\tset\tk\t0",
            "prepared\t1.2\tget\tk\t0",
            "prepared\t1.2\tset\tk\\q\tv\t0",
            "view\t1\t0,1\t0\t0",
            "view\t1.1\t0,,1\t0\t0",
            "view\t1.1\t0\t65536\t0",
            "cleared\t1\t0",
            "copied\tk\t0",
            "#2pc.log v1: RECORD\t...\tBACK",
        ] {
            let mut line = nonsense.as_bytes().to_vec();
            seal(&mut line, 0);
            line.pop();
            assert!(parse(&line).is_err(), "{nonsense:?}");
        }
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let id = || (any::<u64>(), any::<u64>()).prop_map(|(a, b)| txn(a, b));
        let key = || any::<Vec<u8>>().prop_map(Key::from);
        let value = || any::<Vec<u8>>().prop_map(Arc::new);
        let change = prop_oneof![
            (key(), value()).prop_map(|(key, value)| Change::Set { key, value }),
            proptest::collection::vec(key(), 0..4).prop_map(|keys| Change::Delete { keys }),
        ];
        let view = (any::<u64>(), any::<u64>(), any::<u128>(), any::<u16>()).prop_map(
            |(epoch, maker, members, me)| Record::View {
                view: View { id: ViewId { epoch, maker }, members: Members(members) },
                me,
            },
        );
        prop_oneof![
            (id(), change).prop_map(|(txn, change)| Record::Prepared { txn, change }),
            id().prop_map(Record::Committed),
            id().prop_map(Record::Aborted),
            id().prop_map(Record::Finished),
            view,
            any::<u64>().prop_map(Record::Incarnation),
            Just(Record::Cleared),
            (key(), value()).prop_map(|entry| Record::Copied(vec![entry])),
        ]
    }

    proptest! {
        #[test]
        fn every_record_comes_back(record in any_record(), before in 0..1000usize) {
            let mut out = vec![b'-'; before];
            write(&record, 0, &mut out);
            let line = out[before..].strip_suffix(b"\n").expect("a line");
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(parse(line), Ok((record, before as u64)));
        }

        #[test]
        fn any_flip_of_a_bit_is_seen(record in any_record(), place: prop::sample::Index, bit in 0..8) {
            let mut line = text(&record).into_bytes();
            line.pop();
            let at = place.index(line.len());
            line[at] ^= 1u8 << bit;
            prop_assert!(parse(&line).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(line: Vec<u8>) {
            let _ = parse(&line);
            let _ = is_header(&line);
        }
    }
}
