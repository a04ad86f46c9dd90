//! The commands by which the gossip lab's master and clients speak to a replica, next to redis's own on the client
//! port.
//!
//! A client carries what it has seen from replica to replica, as a vector clock (`SEEN`, such as `13.0,9.2`; `-` for
//! nothing). With that any replica can tell whether it would show the client something older than it has seen:
//!
//! | command | reply |
//! |---|---|
//! | `lab.get KEY SEEN` | array: the version and the value (null: deleted); null where nobody wrote the key; `-DEP …` |
//! | `lab.set KEY VALUE SEEN` | `+VERSION`, later than all that was seen |
//! | `lab.clock` | bulk: what the replica has |
//! | `lab.await SEEN MS` | `+OK` as soon as the replica has all of that; `-DEP …` after the time |
//! | `lab.links` | bulk: the replicas that it is linked to |
//! | `lab.link ID HOST:PORT` | `+OK` when there is a link to that replica |
//! | `lab.unlink ID` | `+OK` when there is none any more, and none will come |
//!
//! Here is what the commands mean and how their replies are written; `resp/command.rs` tells them apart.

use std::time::Duration;

use super::request::{RespVersion, bulk, header};
use crate::base::limits::MAX_REPLICAS;
use crate::base::{Op, ReplicaId, Timestamp, VectorClock};

/// The longest wait that a client can ask for.
pub const LONGEST_AWAIT: Duration = Duration::from_secs(60);

/// The longest text of a clock: the longest entry of each replica.
const LONGEST_CLOCK: usize = MAX_REPLICAS as usize * 26;

/// The longest `HOST:PORT`.
const LONGEST_ADDRESS: usize = 300;

/// What the error line of a replica that is behind begins with, behind RESP's `-`.
pub const BEHIND: &[u8] = b"DEP ";

/// One of the lab's commands.
#[derive(Debug, PartialEq, Eq)]
pub enum Lab<'a> {
    /// What does the key hold, where the replica has all of `seen`?
    Get {
        /// The key.
        key: &'a [u8],
        /// What the client has seen.
        seen: VectorClock,
    },
    /// Order this write, later than all of `seen`.
    Set {
        /// The write.
        op: Op,
        /// What the client has seen.
        seen: VectorClock,
    },
    /// What does the replica have?
    Clock,
    /// Answer as soon as the replica has all of `seen`.
    Await {
        /// What it shall have.
        seen: VectorClock,
        /// How long to wait at the most.
        within: Duration,
    },
    /// To whom is the replica linked?
    Links,
    /// Have a link to this replica.
    Link {
        /// Which.
        peer: ReplicaId,
        /// Its broadcast port.
        address: &'a str,
    },
    /// Have no link to this replica.
    Unlink {
        /// Which.
        peer: ReplicaId,
    },
}

/// Reads a clock; the error says what was expected.
pub(super) fn clock(text: &[u8]) -> Result<VectorClock, String> {
    let expected = "expected what was seen as in 12.0,9.2, or - for nothing";
    match std::str::from_utf8(text) {
        Ok(text) if text.len() <= LONGEST_CLOCK => {
            text.parse().map_err(|_| format!("{expected}, found {text:?}"))
        }
        _ => Err(format!("{expected}, found {} bytes that are neither", text.len())),
    }
}

/// Reads the number of a replica.
pub(super) fn replica(number: i64) -> Result<ReplicaId, String> {
    match u16::try_from(number) {
        Ok(id) if id < MAX_REPLICAS => Ok(ReplicaId(id)),
        _ => Err(format!("expected a replica of 0 to {}, found {number}", MAX_REPLICAS - 1)),
    }
}

/// Reads an address; whether the host exists is asked only when it is connected to.
pub(super) fn address(text: &[u8]) -> Result<&str, String> {
    let fits = |text: &&str| {
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        text.len() <= LONGEST_ADDRESS
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
    };
    std::str::from_utf8(text)
        .ok()
        .filter(fits)
        .ok_or_else(|| "expected HOST:PORT, such as 127.0.0.1:10052".to_owned())
}

/// Appends the answer to `lab.get`: what the key holds, and since which write. `None` for the value of a key that was
/// deleted.
pub fn put_found(out: &mut Vec<u8>, version: Timestamp, value: Option<&[u8]>, resp: RespVersion) {
    header(out, b'*', 2);
    bulk(out, version.to_string().as_bytes());
    match value {
        Some(value) => bulk(out, value),
        None => out.extend_from_slice(resp.null()),
    }
}

/// Appends the answer to `lab.set`.
pub fn put_version(out: &mut Vec<u8>, version: Timestamp) {
    out.extend_from_slice(format!("+{version}\r\n").as_bytes());
}

/// Appends a text, such as that of a clock.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    bulk(out, text.as_bytes());
}

/// Appends that the replica lacks something of what was seen.
pub fn put_behind(out: &mut Vec<u8>, me: ReplicaId, has: &VectorClock, seen: &VectorClock) {
    out.extend_from_slice(b"-");
    out.extend_from_slice(BEHIND);
    let text = format!("replica {me} is behind: it has {has} and the session has seen {seen}\r\n");
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Limits, StoreRule, Value};
    use crate::wire::{Call, Dialect, Reply, Step, command, resp};
    use proptest::prelude::*;

    /// What the words of a command are understood as; an error's text where they are refused.
    fn parse(words: &[&[u8]], check: impl FnOnce(Result<Lab<'_>, String>)) {
        let mut bytes = Vec::new();
        command::resp(&mut bytes, words);
        let mut decoder = resp::Decoder::new(1);
        let step = decoder.next(&bytes, 0, &Limits::default());
        let Step::Request { request, consumed } = step else { panic!("a request: {step:?}") };
        assert_eq!(consumed, bytes.len());
        check(match request.call {
            Call::Lab(lab) => Ok(lab),
            Call::Static(reply) => Err(String::from_utf8_lossy(&reply).into_owned()),
            other => panic!("a command of the lab or an error, found {other:?}"),
        });
    }

    fn seen(text: &str) -> VectorClock {
        text.parse().expect("a clock")
    }

    #[test]
    fn each_command_is_understood() {
        let words = |line: &'static str| line.split(' ').map(str::as_bytes).collect::<Vec<_>>();
        let op = || Op::Store {
            key: b"k"[..].into(),
            value: Value { data: b"v"[..].into(), ..Value::default() },
            rule: StoreRule::Always,
        };
        let understood: Vec<(&str, Lab<'_>)> = vec![
            ("lab.get k 4.0,2.1", Lab::Get { key: b"k", seen: seen("4.0,2.1") }),
            ("LAB.SET k v -", Lab::Set { op: op(), seen: seen("-") }),
            ("lab.clock", Lab::Clock),
            (
                "lab.await 9.1 250",
                Lab::Await { seen: seen("9.1"), within: Duration::from_millis(250) },
            ),
            ("lab.await - 99999999", Lab::Await { seen: seen("-"), within: LONGEST_AWAIT }),
            ("lab.links", Lab::Links),
            ("lab.link 4 localhost:80", Lab::Link { peer: ReplicaId(4), address: "localhost:80" }),
            ("lab.unlink 0", Lab::Unlink { peer: ReplicaId(0) }),
        ];
        for (line, lab) in understood {
            parse(&words(line), |found| assert_eq!(found, Ok(lab), "{line}"));
        }
        for line in [
            "lab.get k",
            "lab.get k 4",
            "lab.get k 4.0,",
            "lab.set k v 1.128",
            "lab.await - x",
            "lab.await - -1",
            "lab.clock x",
            "lab.link 4",
            "lab.link 128 a:1",
            "lab.link -1 a:1",
            "lab.link 1 a",
            "lab.link 1 :1",
            "lab.link 1 a:0",
            "lab.unlink",
        ] {
            parse(&words(line), |found| {
                let why = found.expect_err(line);
                assert!(why.starts_with("-ERR ") && why.ends_with("\r\n"), "{line}: {why}");
            });
        }
        let long = [b"9.1,".repeat(10_000), b"9.1".to_vec()].concat();
        parse(&[b"lab.get", b"k", &long], |found| {
            assert!(found.expect_err("too long").len() < 200)
        });
        parse(&[b"lab.get", &[b'k'; 251], b"-"], |found| assert!(found.is_err()));
    }

    #[test]
    fn replies_are_whole_resp() {
        let version = Timestamp::new(13, ReplicaId(2));
        let mut out = Vec::new();
        put_found(&mut out, version, Some(b"a\r\nb"), RespVersion::Two);
        let array =
            |value| Reply::Array(Some(vec![Reply::Bulk(Some(b"13.2")), Reply::Bulk(value)]));
        assert_eq!(Reply::of_whole(Dialect::Resp, &out), Some(array(Some(b"a\r\nb"))));
        out.clear();
        put_found(&mut out, version, None, RespVersion::Two);
        assert_eq!(Reply::of_whole(Dialect::Resp, &out), Some(array(None)));
        out.clear();
        put_behind(&mut out, ReplicaId(1), &seen("4.0,2.1"), &seen("9.0"));
        let text = "DEP replica 1 is behind: it has 4.0,2.1 and the session has seen 9.0";
        assert_eq!(Reply::of_whole(Dialect::Resp, &out), Some(Reply::Error(text.as_bytes())));
    }

    proptest! {
        #[test]
        fn any_words_are_a_command_or_one_error_line(
            name in "lab\\.(get|set|clock|await|links|link|unlink)",
            rest in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4),
        ) {
            let mut words = vec![name.as_bytes()];
            words.extend(rest.iter().map(Vec::as_slice));
            parse(&words, |found| {
                if let Err(why) = found {
                    assert_eq!(why.matches('\n').count(), 1, "{why:?}");
                }
            });
        }
    }
}
