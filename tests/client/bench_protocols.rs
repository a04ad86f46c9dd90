//! `lab bench` in the protocols of others: the simplified RESP of the two-phase commit lab, and etcd's HTTP gateway,
//! against servers in threads that are as strict as the real ones.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use assert_cmd::{Command, assert::Assert};
use base64::{Engine, prelude::BASE64_STANDARD};
use consistency_lab::report::Summary;

type Store = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

/// Serves each connection with `serve` in a thread; the address. It ends with the test's process.
fn start(serve: impl Fn(TcpStream, &Store) + Copy + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let store = Store::default();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, store) = (stream.expect("a connection"), Arc::clone(&store));
            stream.set_nodelay(true).expect("TCP_NODELAY");
            thread::spawn(move || serve(stream, &store));
        }
    });
    address
}

/// A line without its line end; `None` at the end of the connection.
fn line(input: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    (input.read_line(&mut line).ok()? > 0).then(|| line.trim_end_matches("\r\n").to_owned())
}

fn number(text: &str, kind: char) -> usize {
    text.strip_prefix(kind).and_then(|digits| digits.parse().ok()).expect("a length")
}

/// SET and GET as the two-phase commit lab says them; no other commands, and none in lower case.
fn simple_resp(mut stream: TcpStream, store: &Store) {
    let mut input = BufReader::new(stream.try_clone().expect("a second handle"));
    while let Some(head) = line(&mut input) {
        let words: Vec<Vec<u8>> = (0..number(&head, '*'))
            .map(|_| {
                let length = number(&line(&mut input).expect("a bulk string"), '$');
                let mut word = vec![0; length + 2];
                input.read_exact(&mut word).expect("its bytes");
                word.truncate(length);
                word
            })
            .collect();
        let mut store = store.lock().expect("no panic");
        let reply = match (words[0].as_slice(), words.len()) {
            (b"SET", 3..) => {
                store.insert(words[1].clone(), words[2..].join(&b' '));
                b"+OK\r\n".to_vec()
            }
            (b"GET", 2) => {
                let value = store.get(&words[1]).map_or(&b"nil"[..], Vec::as_slice);
                let words: Vec<&[u8]> = value.split(|byte| *byte == b' ').collect();
                let mut reply = format!("*{}\r\n", words.len()).into_bytes();
                for word in words {
                    reply.extend(format!("${}\r\n", word.len()).bytes());
                    reply.extend([word, b"\r\n"].concat());
                }
                reply
            }
            _ => b"-ERROR\r\n".to_vec(),
        };
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

/// What the gateway answers: a status and a body.
fn answer(path: &str, body: &serde_json::Value, store: &Store) -> (u16, String) {
    let bytes =
        |name: &str| BASE64_STANDARD.decode(body[name].as_str().expect("text")).expect("base64");
    let header = r#""header":{"cluster_id":"1","member_id":"2","revision":"3","raft_term":"4"}"#;
    let mut store = store.lock().expect("no panic");
    match path {
        "/v3/kv/put" => {
            store.insert(bytes("key"), bytes("value"));
            (200, format!("{{{header}}}"))
        }
        "/v3/kv/range" => match store.get(&bytes("key")) {
            None => (200, format!("{{{header}}}")),
            Some(value) => {
                let value = BASE64_STANDARD.encode(value);
                (200, format!(r#"{{{header},"kvs":[{{"key":"","value":"{value}"}}],"count":"1"}}"#))
            }
        },
        _ => (404, r#"{"error":"no such path","code":5}"#.to_owned()),
    }
}

/// An HTTP server that keeps connections; it answers reads in chunks, as etcd does with long ones.
fn etcd(mut stream: TcpStream, store: &Store) {
    let mut input = BufReader::new(stream.try_clone().expect("a second handle"));
    while let Some(request) = line(&mut input) {
        let path = request.strip_prefix("POST ").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
        let mut length = 0;
        while let Some(header) = line(&mut input).filter(|header| !header.is_empty()) {
            if let Some(digits) = header.strip_prefix("Content-Length: ") {
                length = digits.parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body).expect("a body");
        let body = serde_json::from_slice(&body).expect("JSON of this length");
        let (status, text) = answer(path.expect("a POST"), &body, store);
        let response = if path == Some("/v3/kv/range") {
            let (first, second) = text.split_at(text.len() / 2);
            let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
            format!(
                "HTTP/1.1 {status} OK\r\nTransfer-Encoding: chunked\r\n\r\n{}{}0\r\n\r\n",
                chunk(first),
                chunk(second)
            )
        } else {
            format!("HTTP/1.1 {status} OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
        };
        if stream.write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}

fn bench(folder: &Path, protocol: &str, to: &str, words: &[&str]) -> Assert {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    let given = ["bench", "--protocol", protocol, "--to", to, "--out", "run"];
    command.current_dir(folder).args(given).args(words).assert()
}

fn summary(folder: &Path) -> Summary {
    let text = fs::read_to_string(folder.join("run/summary.json")).expect("a summary");
    serde_json::from_str(&text).expect("a summary of this program")
}

#[test]
fn reads_find_what_was_written_in_each_protocol() {
    for (protocol, to) in [("simple-resp", start(simple_resp)), ("etcd", start(etcd))] {
        for pipeline in ["1", "8"] {
            let folder = tempfile::tempdir().expect("a folder");
            let words = ["--clients", "3", "--ops", "600", "--keys", "100", "--pipeline", pipeline];
            bench(folder.path(), protocol, &to, &words).code(0).stderr("");
            let summary = summary(folder.path());
            let (read, write) = (&summary.kinds["read"], &summary.kinds["write"]);
            assert_eq!(read.ops + write.ops, 600, "{protocol}");
            assert_eq!((read.missing, read.errors + write.errors), (0, 0), "{protocol}");
            assert_eq!(summary.config["protocol"], protocol);
        }
    }
}

#[test]
fn keys_that_are_not_there_are_missing() {
    for (protocol, to) in [("simple-resp", start(simple_resp)), ("etcd", start(etcd))] {
        let folder = tempfile::tempdir().expect("a folder");
        let words = ["--ops", "20", "--reads", "1", "--no-preload"];
        bench(folder.path(), protocol, &to, &words).code(0);
        assert_eq!(summary(folder.path()).kinds["read"].missing, 20, "{protocol}");
    }
}

#[test]
fn the_simplified_dialect_has_floors() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = ["--ops", "60", "--floor", "--rounds", "3"];
    bench(folder.path(), "simple-resp", &start(simple_resp), &words).code(0);
    let floors = summary(folder.path()).floors.expect("floors");
    assert!(floors.figures["write_p50_us"].to_chain.is_some());
}

#[test]
fn a_server_of_another_protocol_is_said_to_be_one() {
    let replica = start(|mut stream, _| drop(stream.write_all(b"ERROR\r\n")));
    for (protocol, expected) in [("simple-resp", "a RESP reply"), ("etcd", "an HTTP response")] {
        let folder = tempfile::tempdir().expect("a folder");
        let assert = bench(folder.path(), protocol, &replica, &["--ops", "1"]).code(1);
        let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(text.contains(expected), "{protocol}: {text}");
        assert_eq!(text.lines().count(), 1, "{protocol}: {text}");
    }
}

#[test]
fn what_a_protocol_cannot_do_is_wrong_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    for (protocol, words, option) in [
        ("etcd", &["--floor"][..], "--floor"),
        ("etcd", &["--history"], "--history"),
        ("simple-resp", &["--pairs", "1"], "--pairs"),
    ] {
        let assert = bench(folder.path(), protocol, "127.0.0.1:1", words).code(64);
        let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        let expected = format!("{option}: expected --protocol memcached or resp, found {protocol}");
        assert!(text.contains(&expected), "{text}");
    }
    let assert = bench(folder.path(), "http", "127.0.0.1:1", &[]).code(64);
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(text.contains("expected one of memcached, resp, simple-resp, etcd"), "{text}");
}
