//! Properties of the wire layer on generated input, and the corpus of the fuzz targets run without a
//! fuzzer.

use std::path::Path;

use crate::wire_support::entries::{
    Ending, decode, replies, requests, simple_requests, simple_transcript,
};
use consistency_lab::base::{Limits, Op, Outcome, Read, StoreRule, Value};
use consistency_lab::wire::simple_resp;
use consistency_lab::wire::{
    Call, Dialect, Form, Found, Reply, ReplyDecoder, ReplyError, ReplyStep, RespVersion, command,
};
use proptest::prelude::*;

const ARRAY: Form = Form::Array(RespVersion::Two);
const STATUS: Form = Form::Status(RespVersion::Two);

/// Text that looks more like the two protocols than random bytes do.
fn protocol_like() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "get",
            "gets",
            "gat",
            "set",
            "cas",
            "append",
            "delete",
            "incr",
            "touch",
            "flush_all",
            "stats",
            "noreply",
            "0",
            "1",
            "3",
            "63",
            "64",
            "65",
            "-1",
            "x",
            "99999999999",
            "abc",
            "*1",
            "*2",
            "*3",
            "$3",
            "$1",
            "$0",
            "$-1",
            "$65",
            "SET",
            "GET",
            "MSET",
            "PING",
            "QUIT",
            "VALUE",
            "STAT",
            "END",
            "STORED",
            "ERROR",
            "+OK",
            "-ERR",
            ":12",
            "*-1",
            "*0",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
        (0usize..80).prop_map(|length| vec![b'v'; length]),
    ];
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", " ", " ", " ", "\n", "\r", ""]);
    prop::collection::vec((word, end), 0..40).prop_map(|parts| {
        parts.into_iter().flat_map(|(word, end)| [word, end.as_bytes().to_vec()].concat()).collect()
    })
}

/// The words of a request in simplified RESP; often a right one.
fn simple_request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let name = prop::sample::select(vec!["SET", "GET", "DEL", "SET", "DEL", "get", "PING", ""]);
    let word = prop::collection::vec(any::<u8>(), 0..12);
    (name, prop::collection::vec(word, 0..5)).prop_map(|(name, mut words)| {
        words.insert(0, name.as_bytes().to_vec());
        words
    })
}

/// An array of bulk strings, by hand.
fn array(words: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend(format!("${}\r\n", word.len()).into_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// What a request in simplified RESP means.
fn understood(words: &[Vec<u8>]) -> String {
    let (name, rest) = words.split_first().expect("a request has a word");
    let command = match (name.as_slice(), rest) {
        (b"SET", [key, value @ ..]) if !value.is_empty() => {
            simple_resp::Command::Set { key, value: array(value).into() }
        }
        (b"GET", [key]) => simple_resp::Command::Get { key },
        (b"DEL", [_, ..]) => {
            simple_resp::Command::Del { keys: rest.iter().map(Vec::as_slice).collect() }
        }
        _ => return "refused".to_owned(),
    };
    format!("{command:?}")
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![b'!'..=b'~', 0x80u8..], 1..=250)
}

/// The one request that these bytes are.
fn only_request(dialect: Dialect, bytes: &[u8]) -> Call<'static> {
    let mut calls = Vec::new();
    let ending = decode(
        dialect,
        bytes,
        &Limits::default(),
        || 7,
        |request| {
            calls.push(match request.call {
                Call::Write(op) => Call::Write(op),
                Call::Read(Read::Get(keys)) => {
                    let keys = keys.iter().map(|key| &*key.to_vec().leak());
                    Call::Read(Read::Get(keys.collect()))
                }
                other => panic!("not expected: {other:?}"),
            });
            true
        },
    );
    assert_eq!(ending, Ending::Open(0));
    assert_eq!(calls.len(), 1);
    calls.remove(0)
}

/// The one reply that these bytes are, checked by `check`.
fn only_reply(dialect: Dialect, bytes: &[u8], check: impl FnOnce(Reply<'_>)) {
    let mut decoder = ReplyDecoder::new(dialect, 1 << 20);
    for end in 0..bytes.len() {
        let step = decoder.next(&bytes[..end]).expect("a prefix of a reply");
        assert!(matches!(step, ReplyStep::NeedMore { at_least } if at_least > end), "{step:?}");
    }
    match decoder.next(bytes).expect("a reply") {
        ReplyStep::Reply { reply, consumed } => {
            assert_eq!(consumed, bytes.len());
            check(reply);
        }
        step => panic!("{step:?}"),
    }
}

proptest! {
    #[test]
    fn no_bytes_and_no_cut_confuse_the_decoders(
        data in prop_oneof![protocol_like(), prop::collection::vec(any::<u8>(), 0..200)],
    ) {
        for dialect in [Dialect::Memcached, Dialect::Resp] {
            requests(dialect, &data);
            replies(dialect, &data);
        }
        simple_requests(&data);
    }

    #[test]
    fn any_cut_of_simplified_requests_gives_the_same_commands(
        requests in prop::collection::vec(simple_request(), 1..8),
        cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        let bytes: Vec<u8> = requests.iter().flat_map(|words| array(words)).collect();
        let mut expected: Vec<String> = requests.iter().map(|words| understood(words)).collect();
        expected.push("0 skipped".to_owned());
        let mut cuts = cuts.into_iter().cycle();
        let pieces = || cuts.next().unwrap_or(1);
        prop_assert_eq!(simple_transcript(&bytes, pieces), expected);
    }

    #[test]
    fn what_the_client_says_is_what_the_server_hears(
        key in key(),
        data in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        for dialect in [Dialect::Memcached, Dialect::Resp] {
            prop_assert!(command::is_sendable(dialect, &key));
            let mut out = Vec::new();
            command::set(&mut out, dialect, &key, &data);
            let value = Value { data: data.clone().into(), ..Value::default() };
            let rule = StoreRule::Always;
            let op = Op::Store { key: key.clone().into(), value, rule };
            prop_assert_eq!(only_request(dialect, &out), Call::Write(op));
            out.clear();
            command::get(&mut out, dialect, &key);
            prop_assert_eq!(only_request(dialect, &out), Call::Read(Read::Get(vec![&key])));
            out.clear();
            command::delete(&mut out, dialect, &key);
            let op = Op::Delete { keys: vec![key.clone().into()] };
            prop_assert_eq!(only_request(dialect, &out), Call::Write(op));
        }
    }

    #[test]
    fn what_the_server_says_is_what_the_client_hears(
        key in key(),
        data in prop::collection::vec(any::<u8>(), 0..300),
        flags: u32,
        unique: u64,
    ) {
        let found = Found { data: &data, flags, unique };
        let mut out = Vec::new();
        let form = Form::Values { unique: true };
        form.begin_values(&mut out, 2);
        form.value(&mut out, &key, Some(found));
        form.value(&mut out, b"missing", None);
        form.end_values(&mut out);
        only_reply(Dialect::Memcached, &out, |reply| {
            let Reply::Values(values) = reply else { panic!("{reply:?}") };
            assert_eq!(values.collect::<Vec<_>>(), [(&key[..], found)]);
        });
        out.clear();
        ARRAY.begin_values(&mut out, 2);
        ARRAY.value(&mut out, &key, Some(found));
        ARRAY.value(&mut out, b"missing", None);
        ARRAY.end_values(&mut out);
        only_reply(Dialect::Resp, &out, |reply| {
            let list = vec![Reply::Bulk(Some(&data)), Reply::Bulk(None)];
            assert_eq!(reply, Reply::Array(Some(list)));
        });
    }
}

#[test]
fn every_outcome_has_its_words_in_both_dialects() {
    let cases: &[(Outcome, &str, &str, &str)] = &[
        (Outcome::Stored, "STORED", "+OK", ":1"),
        (Outcome::NotStored, "NOT_STORED", "$-1", ":0"),
        (Outcome::Exists, "EXISTS", "$-1", ":0"),
        (Outcome::NotFound, "NOT_FOUND", "$-1", ":0"),
        (Outcome::Deleted(0), "NOT_FOUND", ":0", ":0"),
        (Outcome::Deleted(2), "DELETED", ":2", ":2"),
        (Outcome::Touched(0), "NOT_FOUND", ":0", ":0"),
        (Outcome::Touched(1), "TOUCHED", ":1", ":1"),
        (Outcome::Number(u64::MAX as i128), "18446744073709551615", "", ""),
        (Outcome::Number(i64::MIN as i128), "", "", ":-9223372036854775808"),
        (Outcome::Length(3), "STORED", ":3", ":3"),
        (
            Outcome::NotANumber,
            "CLIENT_ERROR cannot increment or decrement non-numeric value",
            "-ERR value is not an integer or out of range",
            "-ERR value is not an integer or out of range",
        ),
        (Outcome::Overflow, "", "", "-ERR increment or decrement would overflow"),
        (Outcome::TooLarge, "SERVER_ERROR object too large for cache", "", ""),
    ];
    for (outcome, word, status, integer) in cases {
        for (form, expected) in
            [(Form::Word, word), (STATUS, status), (Form::Integer, integer), (Form::Silent, &"")]
        {
            let mut out = Vec::new();
            form.outcome(&mut out, outcome);
            let said = String::from_utf8(out).expect("text");
            match form {
                Form::Silent => assert_eq!(said, ""),
                _ if expected.is_empty() => {}
                _ => assert_eq!(said, format!("{expected}\r\n"), "{outcome:?} as {form:?}"),
            }
        }
    }
    let mut out = Vec::new();
    Form::Done.outcome(&mut out, &Outcome::Stored);
    assert_eq!(out, b"OK\r\n");
}

#[test]
fn stats_in_both_dialects() {
    let stats = || [("# Replica", ""), ("mode", "sequential"), ("pid", "1")].into_iter();
    let mut out = Vec::new();
    Form::Stats.stats(&mut out, stats());
    assert_eq!(out, b"STAT mode sequential\r\nSTAT pid 1\r\nEND\r\n");
    only_reply(Dialect::Memcached, &out, |reply| {
        let Reply::Stats(stats) = reply else { panic!("{reply:?}") };
        let text = |bytes| String::from_utf8_lossy(bytes);
        let stats: Vec<_> = stats.map(|(name, value)| (text(name), text(value))).collect();
        assert_eq!(stats, [("mode".into(), "sequential".into()), ("pid".into(), "1".into())]);
    });
    out.clear();
    Form::Info.stats(&mut out, stats());
    assert_eq!(out, b"$35\r\n# Replica\r\nmode:sequential\r\npid:1\r\n\r\n");
}

#[test]
fn replies_of_all_kinds() {
    let memcached: &[(&str, Reply<'_>)] = &[
        ("STORED\r\n", Reply::Status(b"STORED")),
        ("VERSION 1.6.18\r\n", Reply::Status(b"VERSION 1.6.18")),
        ("12\r\n", Reply::Number(12)),
        ("18446744073709551615\r\n", Reply::Number(u64::MAX.into())),
        ("9 \r\n", Reply::Number(9)),
        ("ERROR\r\n", Reply::Error(b"ERROR")),
        ("VALUE x 0 1\r\n1\r\nSERVER_ERROR oh\r\n", Reply::Error(b"SERVER_ERROR oh")),
    ];
    for (text, reply) in memcached {
        only_reply(Dialect::Memcached, text.as_bytes(), |got| assert_eq!(got, *reply));
    }
    only_reply(Dialect::Memcached, b"END\r\n", |got| match got {
        Reply::Values(values) => assert_eq!(values.count(), 0),
        other => panic!("{other:?}"),
    });
    let resp: &[(&str, Reply<'_>)] = &[
        ("+OK\r\n", Reply::Status(b"OK")),
        ("-ERR oh\r\n", Reply::Error(b"ERR oh")),
        (":-5\r\n", Reply::Number(-5)),
        ("$-1\r\n", Reply::Bulk(None)),
        ("$0\r\n\r\n", Reply::Bulk(Some(b""))),
        ("_\r\n", Reply::Bulk(None)),
        ("#t\r\n", Reply::Status(b"t")),
        ("%1\r\n+k\r\n:1\r\n", Reply::Array(Some(vec![Reply::Status(b"k"), Reply::Number(1)]))),
        ("*-1\r\n", Reply::Array(None)),
        ("*0\r\n", Reply::Array(Some(vec![]))),
        (
            "*3\r\n*1\r\n:1\r\n*0\r\n$2\r\n\r\n\r\n",
            Reply::Array(Some(vec![
                Reply::Array(Some(vec![Reply::Number(1)])),
                Reply::Array(Some(vec![])),
                Reply::Bulk(Some(b"\r\n")),
            ])),
        ),
    ];
    for (text, reply) in resp {
        only_reply(Dialect::Resp, text.as_bytes(), |got| assert_eq!(got, *reply));
    }
}

#[test]
fn replies_that_are_none() {
    let error = |dialect, text: &[u8]| ReplyDecoder::new(dialect, 1000).next(text).err();
    let malformed =
        |dialect, text| matches!(error(dialect, text), Some(ReplyError::Malformed { .. }));
    assert!(malformed(Dialect::Memcached, b"+OK\r\n"));
    assert!(malformed(Dialect::Memcached, b"VALUE x 0 z\r\n"));
    assert!(malformed(Dialect::Memcached, b"VALUE x 0 1\r\n12\r\nEND\r\n"));
    assert!(malformed(Dialect::Memcached, b"STAT a 1\r\nVALUE x 0 1\r\n1\r\nEND\r\n"));
    assert!(malformed(Dialect::Resp, b"STORED\r\n"));
    assert!(malformed(Dialect::Resp, b"$-2\r\n"));
    assert!(malformed(Dialect::Resp, b"$1\r\nxyz"));
    assert!(malformed(Dialect::Resp, &b"*1\r\n".repeat(9)), "nested too deeply");
    let large = Some(ReplyError::TooLarge { most: 1000 });
    assert_eq!(error(Dialect::Resp, b"$1000\r\n"), large);
    assert_eq!(error(Dialect::Resp, b"$9223372036854775807\r\n"), large);
    assert_eq!(error(Dialect::Memcached, b"VALUE x 0 1000\r\n"), large);
    assert_eq!(error(Dialect::Memcached, &[b'x'; 1001]), large);
}

#[test]
fn unknown_outcomes_are_recognised() {
    assert!(Reply::Error(b"SERVER_ERROR timeout, outcome unknown").is_unknown());
    assert!(Reply::Error(b"TIMEOUT outcome unknown").is_unknown());
    assert!(!Reply::Error(b"SERVER_ERROR the disk is full").is_unknown());
    assert!(!Reply::Error(b"SERVER_ERROR timeout").is_unknown(), "only the servers' own line");
    assert!(!Reply::Status(b"STORED").is_unknown());
}

#[test]
fn keys_that_memcached_cannot_say() {
    for key in [&b""[..], b"a b", b"a\nb", &[b'k'; 251]] {
        assert!(!command::is_sendable(Dialect::Memcached, key), "{key:?}");
    }
    assert!(command::is_sendable(Dialect::Resp, b"a b\r\n"));
}

/// Runs each file of a folder of the corpus; fails if there is none, which would be a wrong path.
fn each_file(folder: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("a folder of the corpus") {
        run(&std::fs::read(entry.expect("an entry").path()).expect("a file of the corpus"));
        count += 1;
    }
    assert!(count > 0, "nothing in {}", folder.display());
}

#[test]
fn the_corpus_confuses_nobody() {
    each_file("memcached", |data| requests(Dialect::Memcached, data));
    each_file("resp", |data| requests(Dialect::Resp, data));
    each_file("simple_resp", simple_requests);
    for (folder, dialect) in
        [("memcached_reply", Dialect::Memcached), ("resp_reply", Dialect::Resp)]
    {
        each_file(folder, |data| replies(dialect, data));
    }
}
