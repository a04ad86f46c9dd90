//! The RESP dialect answers what redis itself answers, byte for byte.

use crate::wire_support::{Model, RealServer, failure, readable};
use consistency_lab::wire::{Dialect, Failure, Form, RespVersion, command};

/// Conversations, a command a line, words apart by spaces; `@` stands for a key that no other conversation
/// uses.
const SESSIONS: &[&str] = &[
    "ping|PING hi|ping a b|echo a|echo|ECHO a b",
    "get|get a b|get @|set @ 1|get @|set @ 2|get @",
    "set @|set @ 1 nx|set @ 2 NX|set @ 3 xx|set no-@ 1 XX|get @|set @ 1 NX XX|set @ 1 NX NX|set @ 1 foo",
    "set @ 1 EX 100|get @|set @ 1 EX 0|set @ 1 EX -1|set @ 1 EX x|set @ 1 EX|set @ 1 PX 0|set @ 1 EXAT 0",
    "set @ 1 EX 10 PX 10|set @ 1 EX 9223372036854775807|set @ 1 PX 9223372036854775807|set @ 1 NX EX 10",
    "set @ 1 EXAT 1|get @|set @ 1 PXAT 1|get @|set @ 1 EXAT 99999999999|get @|set @ 1 xx PXAT 99999999999999",
    "setnx @ 1|setnx @ 2|get @|setnx @",
    "setex @ 10 v|get @|setex @ 0 v|setex @ x v|psetex @ 0 v|psetex @ 10000 w|get @|setex @ 10",
    "mset a-@ 1 b-@|mset|mset a-@ 1|mset a-@ 1 b-@ 2|mget a-@ no-@ b-@|mget|mset a-@ 1 a-@ 2|get a-@",
    "del|set @ 1|del @ @ no-@|set @ 1|unlink @ x-@|set @ 1|exists @ @ no-@|exists|exists no-@",
    "incr @|incrby @ 5|incrby @ x|decr @|decrby @ 3|decrby @ -9223372036854775808|incrby @ 9223372036854775807|get @",
    "set @ abc|incr @|append @ def|get @|strlen @|strlen no-@|append|append new-@ x|get new-@",
    "set @ 9223372036854775807|incr @|set @ -0|incr @|set @ 01|incr @|set @ +1|incr @|incrby @ 99999999999999999999",
    "decrby @ 1|decrby @ 01|incrby @ -1|incrby @ +1|get @",
    "set key-@-1 1|set key-@-2 2|keys|keys no-such-*|keys a b",
    "dbsize x|flushall x|flushall async|flushdb sync|flushdb ASYNC x|dbsize|set @ 1|dbsize|flushall|get @|dbsize",
    "foo|foo bar baz|set-@|get-@ x",
    "command docs no-such|command info no-such|command x",
    "hello 4|hello x|hello 2 foo|hello 2 setname",
    "client|client getname|client setname me|client getname|client foo|client getname x|client setname|client id x",
    "config get save|config get appendonly|config get no-such|config get|config resetstat|config set a b|config foo",
    "config GET save|config set a|config resetstat x",
    "select 0|select 99|select x|select|select 0 0",
    "set @ 1|expire @ 100|get @|expire no-@ 10|expire @ x|expire @|expire @ 9223372036854775807|expire @ -1|get @",
    "set @ 1|pexpire @ 100000|expireat @ 99999999999|pexpireat @ 1|get @|pexpire @ x",
    "auth x|reset|quit",
    "quit x|ping",
];

/// Bytes as they are, and what may be wrong with them.
const RAW: &[&[u8]] = &[
    b"*0\r\n*1\r\n$4\r\nPING\r\n",
    b"*-1\r\n*1\r\n$4\r\nPING\r\n",
    b"*-5\r\n*1\r\n$4\r\nPING\r\n",
    b"*x\r\n",
    b"*99999999999999999999\r\n",
    b"*+1\r\n$4\r\nPING\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"* 1\r\n",
    b"*\r\n",
    b"*1\r\nPING\r\n",
    b"*1\r\n:4\r\n",
    b"*1\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$x\r\n",
    b"*1\r\n$\r\n",
    b"*1\r\n$600000000\r\n",
    b"*1\r\n$4\nPING\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"*2\r\n$4\r\nECHO\r\n$8\r\n\0\r\n\xff\"'*$\r\n",
    b"*3\r\n$3\r\nSET\r\n$6\r\na\r\n\0 b\r\n$4\r\n\r\n\r\n\r\n*2\r\n$3\r\nGET\r\n$6\r\na\r\n\0 b\r\n",
    b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$1\r\n1\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
    b"*2\r\n$3\r\nfoo\r\n$3\r\na\r\n\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$4\r\nPING\r\nPING\r\nPING\n\r\n  get   nil  \r\nset inline-key 5\r\nget inline-key\r\n",
    b"*1\r\n$4\r\nPING\r\nfoo bar\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$4\r\nPI",
    b"*3\r\n$3\r\nSET\r\n",
    b"*",
];

fn expand(session: &str, number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for line in session.replace('@', &format!("key-{number}")).split('|') {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        command::resp(&mut out, &words);
    }
    out
}

/// Whole, and one byte at a time.
fn ours(input: &[u8]) -> Vec<u8> {
    let whole = Model::default().talk(Dialect::Resp, input, input.len());
    let slow = Model::default().talk(Dialect::Resp, input, 1);
    assert_eq!(readable(&whole), readable(&slow), "cut to bytes: {}", readable(input));
    whole
}

fn said(session: &str) -> String {
    String::from_utf8(ours(&expand(session, 0))).expect("replies to these are text")
}

#[test]
fn every_conversation_goes_as_with_redis() {
    let Some(redis) = RealServer::redis() else { return };
    for (number, session) in SESSIONS.iter().enumerate() {
        // What one conversation leaves behind must not be seen in the next one's DBSIZE.
        redis.talk(&expand("flushall", 0));
        let input = expand(session, number);
        assert_eq!(readable(&ours(&input)), readable(&redis.talk(&input)), "after {session}");
    }
}

#[test]
fn version_3_goes_as_with_redis() {
    let session = "get no-@|hello 3|get no-@|set @ 1|set @ 2 NX|set @ 3 XX|get @|mget @ no-@|\
                   client getname|config get save|config get no-such|command docs no-such|\
                   command info no-such|exists @|keys no-such-*|hello 4|get no-@|hello|get no-@|\
                   hello 2|get no-@|hello 3|reset|get no-@";
    let input = expand(session, 0);
    // How a server introduces itself is its own business.
    let without_greeting = |reply: &[u8]| {
        let reply = String::from_utf8(reply.to_vec()).expect("text");
        let mut parts = reply.split("$6\r\nserver\r\n").map(|part| {
            let proto = part.find("$5\r\nproto\r\n:").map_or("", |at| &part[at..at + 13]);
            let end = part.find("modules\r\n*0\r\n").unwrap_or(0);
            [proto, &part[end..]].concat()
        });
        [parts.next().unwrap_or_default(), parts.collect::<Vec<_>>().join("|")].join("|")
    };
    let said = without_greeting(&ours(&input));
    assert!(said.starts_with("$-1\r\n%7\r\n|$5\r\nproto\r\n:3modules\r\n*0\r\n_\r\n"), "{said}");
    if let Some(redis) = RealServer::redis() {
        assert_eq!(said, without_greeting(&redis.talk(&input)));
    }
}

#[test]
fn bytes_that_are_no_request_end_as_with_redis() {
    let Some(redis) = RealServer::redis() else { return };
    for input in RAW {
        assert_eq!(readable(&ours(input)), readable(&redis.talk(input)), "{}", readable(input));
    }
}

#[test]
fn a_line_of_words_without_end_is_refused_as_redis_does() {
    let input = [b"*1\r\n$4\r\nPING\r\n".as_slice(), &[b'x'; 70_000]].concat();
    let reply = ours(&input);
    let expected = "+PONG\r\n-ERR Protocol error: too big inline request\r\n";
    assert_eq!(String::from_utf8_lossy(&reply), expected);
    if let Some(redis) = RealServer::redis() {
        assert_eq!(String::from_utf8_lossy(&redis.talk(&input)), expected);
    }
}

#[test]
fn what_clients_ask_first() {
    assert!(said("hello").starts_with("*14\r\n$6\r\nserver\r\n"));
    assert_eq!(said("hello 2"), said("HELLO 2 SETNAME me"));
    assert_eq!(said("client setinfo lib-name redis-py|client id"), "+OK\r\n:7\r\n");
    assert_eq!(
        said("client setname me|client getname|reset|client getname"),
        "+OK\r\n$2\r\nme\r\n+RESET\r\n$-1\r\n"
    );
    assert_eq!(said("command docs|command"), "*0\r\n*0\r\n");
    assert_eq!(said("info"), "$0\r\n\r\n");
    assert_eq!(said("keys key-*|set key-1 1|keys key-*"), "*0\r\n+OK\r\n*1\r\n$5\r\nkey-1\r\n");
}

#[test]
fn what_is_not_supported_says_so() {
    let unsupported = "-ERR syntax error: KEEPTTL and GET are not supported\r\n";
    assert_eq!(said("set x 1 KEEPTTL|set x 1 get"), unsupported.repeat(2));
    assert_eq!(said("expire x 10 NX"), "-ERR Unsupported option NX\r\n");
    let key = "k".repeat(251);
    let too_long = "-ERR key is too long: at most 250 bytes\r\n";
    assert_eq!(
        said(&format!("get {key}|set {key} 1|mset a 1 {key} 2|del a {key}")),
        too_long.repeat(4)
    );
    assert_eq!(said(&format!("set {0} 1|get {0}", &key[1..])), "+OK\r\n$1\r\n1\r\n");
}

#[test]
fn where_redis_is_careless_we_are_not() {
    let fatal = |input: &[u8]| String::from_utf8(ours(input)).expect("an error is text");
    let crlf = "-ERR Protocol error: expected CRLF after a bulk string\r\n";
    assert_eq!(fatal(b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n"), crlf);
    let count = "-ERR Protocol error: invalid multibulk length\r\n";
    assert_eq!(fatal(b"*1\rx$4\r\nPING\r\n"), count);
    assert_eq!(fatal(b"*1048577\r\n"), count, "more arguments than any command may have");
    assert_eq!(fatal(&[b"*".as_slice(), &[b'1'; 30]].concat()), count);
}

#[test]
fn a_request_that_is_too_large_is_swallowed() {
    let mut model = Model::with_max_value(8);
    for piece in [1, 2, 3, 1000] {
        let mut input = expand("set x 123456789 EX 100|set x 12345678|get x", 0);
        let reply = model.talk(Dialect::Resp, &input, piece);
        assert_eq!(
            String::from_utf8_lossy(&reply),
            "-ERR string exceeds maximum allowed size: 9 bytes, at most 8 (--max-value)\r\n\
             +OK\r\n$8\r\n12345678\r\n"
        );
        input = expand("set x 123456789", 0);
        input.extend_from_slice(b"*3\r\n$9\r\n123456789\r\n:1\r\n");
        let reply = String::from_utf8(model.talk(Dialect::Resp, &input, piece)).expect("text");
        assert!(reply.ends_with("-ERR Protocol error: expected '$', got ':'\r\n"), "{reply}");
    }
    // Many values, each of which is short enough.
    let mut input = Vec::new();
    let mut arguments: Vec<&[u8]> = vec![b"mset"];
    arguments.extend(std::iter::repeat_n(b"12345678".as_slice(), 200_000));
    command::resp(&mut input, &arguments);
    command::resp(&mut input, &[b"ping"]);
    let reply = String::from_utf8(model.talk(Dialect::Resp, &input, 4096)).expect("text");
    assert!(reply.starts_with("-ERR request exceeds maximum allowed size"), "{reply}");
    assert!(reply.ends_with(" bytes\r\n+PONG\r\n"), "{reply}");
}

#[test]
fn failures() {
    let refused = Failure::Refused("too many writes are waiting".into());
    assert_eq!(
        failure(Form::Status(RespVersion::Two), &Failure::OutcomeUnknown),
        "-TIMEOUT outcome unknown\r\n"
    );
    assert_eq!(failure(Form::Integer, &refused), "-ERR too many writes are waiting\r\n");
}
