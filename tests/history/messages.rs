//! What is wrong with a file is said with the place, what was expected and what was found.

use std::fs;
use std::path::Path;

use consistency_lab::history::formats;

/// Reads a text as this format, and returns what is said.
fn message(format: Option<&str>, text: &str) -> String {
    let format = format.map(|name| formats::find(name).expect("a known format"));
    match formats::read_any(&mut text.as_bytes(), "f", format) {
        Ok(history) => format!("{} operations", history.operations.len()),
        Err(error) => error.to_string(),
    }
}

fn assert_messages(name: &str, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(message(Some(name), text), *expected, "{text}");
    }
}

const INVOKE: &str = r#"{"type":"invoke","process":"a","f":"write","key":"x","value":"1"}"#;

#[test]
fn the_own_format() {
    let open = format!("{INVOKE}\n{INVOKE}");
    let other =
        format!("{INVOKE}\n{{\"type\":\"ok\",\"process\":\"a\",\"f\":\"write\",\"value\":\"2\"}}");
    let late = format!("{INVOKE}\n{{\"history\":1}}");
    let back = "{\"history\":1,\"order\":\"time\"}\n\
                {\"type\":\"invoke\",\"process\":\"a\",\"f\":\"read\",\"key\":\"x\",\"time\":5}\n\
                {\"type\":\"ok\",\"process\":\"a\",\"value\":\"2\",\"time\":5}";
    assert_messages(
        "jsonl",
        &[
            (
                "{\"type\":\"ok\",\"process\":\"a\"}",
                "f:1:1: process a completes an operation that it has not invoked",
            ),
            (
                &open,
                "f:2:1: process a invokes an operation while its last one is still open; expected a \
                 completion (ok, fail or info) first",
            ),
            (
                &other,
                "f:2:1: expected the completion of what process a invoked (write x 1), found write x 2",
            ),
            (
                "{\"type\":\"ok\",\"process\":\"a\"",
                "f:1:26: expected a JSON object, found `\"` (EOF while parsing an object)",
            ),
            ("[1]", "f:1:1: expected a JSON object, found `[1]`"),
            (
                "{\"type\":\"begin\"}",
                "f:1:2: expected invoke, ok, fail, info, deliver, fault, message, replicas, together or x-… as `type`, found \
                 `\"begin\"`",
            ),
            (
                "{\"type\":\"invoke\",\"process\":\"a\",\"f\":\"write\",\"key\":\"x\",\"value\":true}",
                "f:1:54: expected a string, a number, null, or two of these in an array, as `value`, found \
                 `true`",
            ),
            (
                "{\"type\":\"invoke\",\"process\":\"a\",\"f\":\"cas\",\"key\":\"x\",\"value\":\"1\"}",
                "f:1:52: expected an array of two values, from and to, as `value` of cas, found `\"1\"`",
            ),
            (
                "{\"type\":\"invoke\",\"process\":\"a\",\"f\":\"read\"}",
                "f:1:1: expected the key of the operation as `key`, found an event without it: \
                 `{\"type\":\"invoke\",\"process\":\"a\",\"f\":\"read\"}`",
            ),
            (
                "{\"type\":\"invoke\",\"process\":\"a\",\"f\":\"read\",\"key\":\"ü\",\"time\":-1}",
                "f:1:53: expected a whole number from 0 to 2^64-1 as `time`, found `-1`",
            ),
            (&late, "f:2:1: expected an event, found a second header, or one behind events"),
            (
                "{\"history\":2}",
                "f:1:2: expected 1, the version of the format, as `history`, found `2`",
            ),
            (back, "f:3:40: expected a time after 5, that of the last line of process a, found 5"),
        ],
    );
}

#[test]
fn jepsens_edn_and_log() {
    assert_messages(
        "edn",
        &[
            (
                "{:process 0, :type :ok, :f :read}",
                "f:1:1: process 0 completes an operation that it has not invoked",
            ),
            (
                "; c\n[{:process 0, :type :invoke, :f :write, :value 1}\n {:process 0, :type :ok, :f :write, :value 2}]",
                "f:3:2: expected the completion of what process 0 invoked (write x 1), found write x 2",
            ),
            (
                "{:process 0, :type :invoke, :f :read}\n{:process 0, :type :ok, :f :write, :value 2}",
                "f:2:1: expected the completion of what process 0 invoked (read x), found write x 2",
            ),
            (
                "{:process 0, :type :start}",
                "f:1:1: expected one of invoke, ok, fail and info as `type`, found `:start`",
            ),
            (
                "{:process 0, :type :invoke, :f}",
                "f:1:1: expected a map with a value for each key, found `{:process 0, :type :invoke, :f}`",
            ),
            (
                "[{:process 0, :type :invoke, :f :cas, :value 1}]",
                "f:1:2: expected two values [from to] as `value` of cas, found `1`",
            ),
            ("{:process 0,\n :type #}", "f:2:9: expected a tag, found `}`"),
            ("; nothing", "f: expected a recorded history, found no operation in it"),
        ],
    );
    assert_messages(
        "log",
        &[
            (
                "INFO  jepsen.util - 0\t:invok\t:read\tnil",
                "f:1:1: expected an operation: PROCESS :invoke|:ok|:fail|:info FUNCTION VALUE, found \
                 `INFO  jepsen.util - 0\\t:invok\\t:read\\tnil`",
            ),
            (
                "INFO  jepsen.util - 0\t:invoke\t:cas\t[1 2",
                "f:1:36: expected a value (a form that is closed), found `[1 2`",
            ),
            (
                "INFO x\nwhat is this",
                "f:2:1: expected a line of a Jepsen log, found `what is this`",
            ),
            (
                "INFO jepsen.core - hello",
                "f: expected a recorded history, found no operation in it",
            ),
        ],
    );
}

#[test]
fn elle_and_its_transactions() {
    assert_messages(
        "elle",
        &[
            (
                "[{\"type\":\"invoke\",\"f\":\"txn\",\"process\":0,\"value\":[[\"r\",\"x\",null],[\"w\",\"y\",1]]}]",
                "f:1:2: expected a transaction of one micro-operation (the models here are of single \
                 operations; a history with real time cannot be taken apart into them), found one of 2",
            ),
            (
                "{\"type\":\"invoke\",\"f\":\"txn\",\"process\":0,\"value\":[[\"inc\",\"x\",1]]}",
                "f:1:1: expected a micro-operation [r key value], [w key value] or [append key value], \
                 found `[\"inc\" \"x\" 1]`",
            ),
            (
                "{\"type\":\"invoke\",\n \"f\":txn}",
                "f:2:7: expected JSON, found `xn}` (expected ident)",
            ),
            (
                "[{\"type\":\"invoke\",\"f\":\"read\",\"process\":0,\"time\":5},\n{\"type\":\"ok\",\"f\":\"read\",\"process\":0}]",
                "f:2:1: expected nanoseconds as `time`, as the operations before have it, found none",
            ),
        ],
    );
}

#[test]
fn dbcop_and_shiviz() {
    assert_messages(
        "dbcop",
        &[
            (
                "w(1,1,0,0)\nr(1,1,0)",
                "f:2:1: expected r(KEY,VALUE,SESSION,TRANSACTION) or w(KEY,VALUE,SESSION,TRANSACTION), found \
                 3 parts: `r(1,1,0)`",
            ),
            ("w(1,1,0,a)", "f:1:9: expected the number of a transaction, found `a`"),
            ("w(1,,0,1)", "f:1:1: expected a value, found nothing: `w(1,,0,1)`"),
        ],
    );
    assert_messages(
        "shiviz",
        &[
            (
                "a {\"a\":2}\n{\"type\":\"x-\"}",
                "f:1:3: expected 1 as the own entry of host a (it starts at 1 and steps by 1), found 2",
            ),
            (
                "a {\"a\":1}\n{\"type\":\"x-\"}\nb {\"a\":1,\"b\":1}\n{\"type\":\"x-\"}\nb {\"b\":2}\n{\"type\":\"x-\"}",
                "f:5:3: expected at least 1 as the entry of a (entries never go back), found 0",
            ),
            (
                "a {\"a\":1,\"b\":3}\n{\"type\":\"x-\"}\nb {\"b\":1}\n{\"type\":\"x-\"}",
                "f:1:1: expected at most 1 as the entry of b, which has so many events, found 3",
            ),
            (
                "a {\"a\":1}\nSending a heartbeat",
                "f:2:1: expected an event as this lab writes it, one line of its own format (a ShiViz log of \
                 another program has no operations to read), found `Sending a heartbeat`",
            ),
            ("a\nb", "f:1:1: expected a host and its vector clock: HOST {\"HOST\":1}, found `a`"),
        ],
    );
}

#[test]
fn no_history_at_all() {
    assert_eq!(message(None, ""), "f: expected a recorded history, found an empty file");
    assert_eq!(message(None, " \n\n"), "f: expected a recorded history, found nothing but blanks");
    assert_eq!(
        message(None, "once upon a time"),
        "f:1:1: expected a history in one of the formats jsonl, edn, log, elle, dbcop, shiviz, found `once \
         upon a time`; name the format if it is one of them"
    );
}

/// Every small history is of the format that its name says, and holds what it is to hold.
#[test]
fn the_small_histories_are_recognised_and_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for folder in ["good", "bad"] {
        for entry in fs::read_dir(root.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            let text = fs::read_to_string(&path).expect("text");
            let extension = name.rsplit('.').next().expect("an extension");
            let expected = match extension {
                "json" => "elle",
                "txt" => "dbcop",
                other => other,
            };
            let format = formats::recognise(&text).map_or("none", |format| format.name);
            assert_eq!(format, expected, "{name}");
            let history = formats::read_any(&mut text.as_bytes(), &name, None);
            let history = history.unwrap_or_else(|error| panic!("{error}"));
            assert!((1..=8).contains(&history.operations.len()), "{name} is small");
            seen.push((folder, format));
        }
    }
    for format in formats::FORMATS {
        for folder in ["good", "bad"] {
            assert!(seen.contains(&(folder, format.name)), "no {folder} {}", format.name);
        }
    }
}

#[test]
fn a_read_that_does_not_say_what_it_found_says_nothing() {
    let text = "{\"type\":\"invoke\",\"process\":\"a\",\"f\":\"read\",\"key\":\"x\"}\n\
                {\"type\":\"ok\",\"process\":\"a\"}";
    let history = formats::read_any(&mut text.as_bytes(), "f", None).expect("a history");
    assert!(!history.operations[0].matters());
}
