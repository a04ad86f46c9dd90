//! What comes over the port that no client of ours sends: a node answers clearly and goes on.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use consistency_lab::client::Options;
use consistency_lab::labs::shard::settings::loopback_nodes;
use consistency_lab::labs::shard::{Handler, LocalNodes, SendError, Settings, ShardClient};
use consistency_lab::wire::lines::shard::MAX_BODY;

fn nodes() -> LocalNodes {
    let mut settings = Settings::new(loopback_nodes(5));
    settings.handler = Handler::FaultTolerant;
    settings.replicas = 2;
    LocalNodes::start(&settings).unwrap()
}

struct Raw(BufReader<TcpStream>);

impl Raw {
    fn ask(&mut self, line: &[u8]) -> String {
        self.0.get_mut().write_all(line).unwrap();
        self.0.get_mut().write_all(b"\n").unwrap();
        let mut reply = String::new();
        self.0.read_line(&mut reply).unwrap();
        reply
    }
}

fn connect(nodes: &LocalNodes, node: usize) -> Raw {
    let stream = TcpStream::connect(nodes.address(node).unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    Raw(BufReader::new(stream))
}

#[test]
fn lines_that_make_no_sense_are_answered() {
    let nodes = nodes();
    let mut raw = connect(&nodes, 1);
    let deep = "[".repeat(100_000);
    for (line, expected) in [
        (&b""[..], "expected a message such as"),
        (b"hello", "expected a message such as"),
        (b"\xff\xfe", "expected a message such as"),
        (b"{\"type\":\"READ\"}", "missing field `body`"),
        (b"{\"type\":\"READ\",\"body\":7}", "invalid type"),
        (b"{\"type\":\"READ\",\"body\":\"x\",\"home\":-1}", "invalid value"),
        (b"{\"type\":\"READ_REPLY\",\"body\":\"x\"}", "expected a message of type UPDATE or READ"),
        (b"{\"type\":\"UPDATE\",\"body\":\"x:1\",\"home\":3}", "node 1 holds no copies of what belongs to node 3"),
        (b"{\"type\":\"UPDATE\",\"body\":\"x:1\",\"home\":65535}", "holds no copies"),
        (deep.as_bytes(), "expected a message such as"),
        (b"{\"HELLO\":{\"from\":9}}", "no pairs in common"),
        (b"{\"KEEP\":{\"from\":0,\"copies\":[{\"home\":3,\"key\":\"k\",\"value\":\"v\",\"time\":1,\"node\":0}]}}", "holds no copies"),
        (b"{\"KEEP\":{\"from\":0,\"copies\":[{\"home\":0,\"key\":\"k\",\"value\":\"v\",\"time\":18446744073709551615,\"node\":0}]}}", "no such version"),
        (b"{\"COMPARE\":{\"from\":0,\"home\":0,\"digests\":[1]}}", "expected 256 digests"),
        (b"{\"PULL\":{\"from\":0,\"home\":0,\"buckets\":[65535],\"after\":[9,\"x\"]}}", "\"copies\":[]"),
    ] {
        let reply = raw.ask(line);
        assert!(reply.contains(expected), "{}: {reply}", line[..line.len().min(90)].escape_ascii());
    }
    assert!(raw.ask(b"{\"type\":\"UPDATE\",\"body\":\"x:1\"}").contains("Success"));
}

#[test]
fn what_is_too_long_is_refused_on_both_sides() {
    let nodes = nodes();
    let settings = nodes.settings().clone();
    let mut client = ShardClient::new(&settings, Options::default());
    let value = "v".repeat(100 * 1024 * 1024);
    let error = client.update("1", &value).unwrap_err();
    assert!(matches!(error, SendError::TooLong(_)), "{error}");
    let mut raw = connect(&nodes, 1);
    let line = format!("{{\"type\":\"UPDATE\",\"body\":\"1:{value}\"}}");
    assert!(raw.ask(line.as_bytes()).contains("the request is longer than 16777216 bytes"));
    let line = format!("{{\"type\":\"UPDATE\",\"body\":\"1:{}\"}}", &value[..MAX_BODY]);
    assert!(raw.ask(line.as_bytes()).contains("more than 1048576"));
    // As long as may be, and every character of it escaped.
    let longest = "\u{1}".repeat(MAX_BODY - 2);
    assert!(client.update("1", &longest).unwrap().is_success());
    assert_eq!(client.read("1").unwrap().body, longest);
    assert_eq!(
        client
            .send_to("scutter03", consistency_lab::wire::lines::shard::Kind::Read, "1")
            .unwrap()
            .body,
        longest
    );
}
