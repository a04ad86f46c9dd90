//! The memcached dialect answers what memcached itself answers, byte for byte.

use crate::wire_support::{Model, RealServer, failure, readable};
use consistency_lab::wire::{Dialect, Failure, Form};

/// Conversations; `@` stands for a key that no other conversation uses, `#250#` for so many `k`.
const SESSIONS: &[&str] = &[
    // Lines that are no command.
    "\r\n",
    "\n",
    " \r\n",
    "x\r\n",
    "foo\r\nversion\r\n",
    "GET a\r\n",
    "get\r\nget \r\ngets\r\ngat\r\ntouch\r\nincr\r\ndelete\r\nset\r\ncas\r\nge\r\nset\ta 0 0 1\r\n",
    "\r\r\n",
    // Words without the store.
    "version\r\nversion x y z\r\n",
    "version\nversion\n",
    "quit\r\nversion\r\n",
    "quit x\r\nversion\r\n",
    "verbosity\r\nverbosity 1\r\nverbosity 0 noreply\r\nverbosity noreply\r\nverbosity a\r\n",
    "verbosity 1 2\r\nverbosity 1 2 3\r\n",
    "stats reset\r\nstats items\r\nstats no-such\r\nstats noreply\r\n",
    // Storage commands.
    "set @ 0 0 3\r\nabc\r\nget @\r\n",
    "set @ 0 0 3\nabc\r\nget @\n",
    "set @ 5 0 0\r\n\r\nget @\r\n  get   @   nil  \r\n",
    "set @ 4294967295 0 4\r\n\r\n\r\n\r\nget @ @ @\r\n",
    "set @ 0 0 1 \r\n1\r\nget @ \r\n",
    "set @ +0 +0 +1\r\n1\r\nset @ 00 00 01\r\n2\r\nget @\r\n",
    "set @ 0 0 3 noreply\r\nabc\r\nget @\r\nset @ 0 0 3 xyz\r\nabd\r\nget @\r\n",
    "add @ 0 0 1\r\n1\r\nadd @ 0 0 1\r\n2\r\nreplace @ 7 0 1\r\n3\r\nreplace no-@ 0 0 1\r\n4\r\nget @\r\n",
    "append @ 0 0 1\r\n1\r\nprepend @ 0 0 1\r\n1\r\nset @ 9 0 1\r\n1\r\nappend @ 0 0 2\r\n23\r\n\
     prepend @ 1 0 1\r\n0\r\nget @\r\nappend @ 0 0 1 noreply\r\n4\r\nget @\r\n",
    "add @ 0 0 1 noreply\r\n1\r\nadd @ 0 0 1 noreply\r\n2\r\nreplace @ 0 0 1 noreply\r\n3\r\nget @\r\n",
    "cas @ 0 0 1 1\r\nx\r\nset @ 0 0 1\r\n1\r\ncas @ 0 0 1 18446744073709551615\r\nx\r\n\
     cas @ 0 0 1 18446744073709551615 noreply\r\nx\r\nget @\r\n",
    "cas @ 0 0 1\r\nx\r\n",
    "cas @ 0 0 1 x\r\ny\r\n",
    "cas @ 0 0 1 -1\r\ny\r\n",
    "cas @ 0 0 1 noreply\r\ny\r\n",
    // Storage commands that are wrong.
    "set @ 0 0 3\r\nabcdef\r\nget @\r\n",
    "set @ 0 0 5\r\nab\r\nget @\r\n",
    "set @ 0 0 3 noreply\r\nabcdef\r\nversion\r\n",
    "set @ 0 0 3\r\nabc\rXversion\r\n",
    "set @ 0 0 3\r\nabcX\nversion\r\n",
    "set @ 0 0 -1\r\nabc\r\nversion\r\n",
    "set @ 0 0 x\r\nabc\r\nversion\r\n",
    "set @ x 0 3\r\nabc\r\nversion\r\n",
    "set @ 0 x 3\r\nabc\r\nversion\r\n",
    "set @ -1 0 3\r\nabc\r\nversion\r\n",
    "set @ 1a 0 3\r\nabc\r\nversion\r\n",
    "set @ 0x0 0 3\r\nabc\r\nversion\r\n",
    "set @ 0 0 2147483646\r\nabc\r\nversion\r\n",
    "set @ 0 0 99999999999999999999999\r\nabc\r\nversion\r\n",
    "set @ x 0 3 noreply\r\nversion\r\n",
    "set @ 0 0 -1 noreply\r\nversion\r\n",
    "set @ 0 0 3 x y\r\nabc\r\n",
    "set @ 0 0\r\nset @\r\n",
    "set @ 0 0 3\r\nab",
    "set @ 0 0 3\r\nabc",
    "set @ 0 0 3\r\nabc\r",
    "set @ 0 0 3",
    // Keys of the greatest length, and longer ones.
    "set #250# 0 0 3\r\nabc\r\nget #250#\r\ndelete #250#\r\n",
    "set #251# 0 0 3\r\nabc\r\nversion\r\n",
    "set #251# 0 0 3 noreply\r\nabc\r\nversion\r\n",
    // One a conversation: memcached also forgets the replies to what was pipelined before such a get.
    "get #251#\r\nversion\r\n",
    "get a #251#\r\nversion\r\n",
    "gats 0 #251#\r\nversion\r\n",
    "delete #251#\r\nincr #251# 1\r\ntouch #251# 1\r\nversion\r\n",
    "delete #251# noreply\r\nincr #251# 1 noreply\r\ntouch #251# 1 noreply\r\nversion\r\n",
    // Counting.
    "incr @ 1\r\nset @ 0 0 2\r\n10\r\nincr @ 5\r\ndecr @ 1\r\nget @\r\ndecr @ 1000\r\nincr @ 1 2\r\n",
    "set @ 0 0 20\r\n18446744073709551615\r\nincr @ 2\r\nset @ 0 0 20\r\n18446744073709551616\r\nincr @ 1\r\n",
    "set @ 0 0 1\r\n1\r\nincr @ x\r\nincr @ -1\r\nincr @ 18446744073709551616\r\nincr @\r\nincr @ 1 2 3\r\n\
     incr @ 1 noreply\r\nincr @ x noreply\r\nget @\r\n",
    "set @ 0 0 3\r\nabc\r\nincr @ 1\r\ndecr @ 1\r\nset @ 0 0 2\r\n-1\r\nincr @ 1\r\nset @ 0 0 0\r\n\r\nincr @ 1\r\n",
    // Removing and expiring.
    "set @ 0 0 1\r\n1\r\ndelete @ 0\r\ndelete @\r\ndelete @ 1\r\ndelete @ noreply\r\ndelete @ 0 noreply\r\n\
     delete @ 1 noreply\r\ndelete @ x y\r\ndelete @ 0 0\r\ndelete @ 0 noreply x\r\ndelete noreply\r\n",
    "set @ 0 -1 1\r\n1\r\nget @\r\nset @ 0 2592001 1\r\n1\r\nget @\r\nset @ 0 2592000 1\r\n1\r\nget @\r\n",
    "set @ 0 0 1\r\n1\r\ntouch @ 0\r\ntouch @ 100\r\nget @\r\ntouch no-@ 0\r\ntouch @ x\r\ntouch @\r\n\
     touch @ 0 noreply\r\ntouch @ 0 x\r\ntouch @ 0 x y\r\ntouch @ x noreply\r\ntouch @ -1\r\nget @\r\n",
    "set @ 3 0 1\r\n1\r\ngat 0 @\r\ngat 100 no-@ @\r\ngat x @\r\ngat 10\r\ngats x @\r\nget @\r\n",
    // Many keys, and more words than a command can have.
    "set @ 0 0 1\r\n1\r\nget a b c d e f g h i j k l m n o p q r s t u v w x y z @ a b c d e f @\r\n",
    "touch @ 0 a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f\r\n",
    "set @ 0 0 1 a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f\r\n",
    // As memccapable sends them.
    "set @ 0 0 5 noreply\r\nvalue\r\nreplace @ 0 0 4 noreply\r\nvalu\r\nget @\r\ndelete @ noreply\r\nget @\r\n",
    "flush_all\r\nflush_all 0\r\nflush_all x\r\nflush_all noreply\r\nflush_all 0 noreply\r\nflush_all x noreply\r\n\
     flush_all 0 0\r\nflush_all 1 2 3\r\nflush_all -1\r\nversion\r\n",
];

fn expand(session: &str, number: usize) -> Vec<u8> {
    let session = session.replace('@', &format!("key-{number}"));
    let session = session.replace("#250#", &"k".repeat(250)).replace("#251#", &"k".repeat(251));
    session.into_bytes()
}

/// Whole, and one byte at a time.
fn ours(input: &[u8]) -> Vec<u8> {
    let whole = Model::default().talk(Dialect::Memcached, input, input.len());
    if input.len() < 10_000 {
        let slow = Model::default().talk(Dialect::Memcached, input, 1);
        assert_eq!(readable(&whole), readable(&slow), "cut to bytes: {}", readable(input));
    }
    whole
}

/// Replaces the version, which is nobody's business but the server's.
fn without_version(reply: &[u8]) -> String {
    let reply = readable(reply);
    let words = reply.split("VERSION ").enumerate().map(|(at, part)| match part.find("\\r") {
        Some(end) if at > 0 => format!("VERSION v{}", &part[end..]),
        _ => part.to_owned(),
    });
    words.collect()
}

#[test]
fn every_conversation_goes_as_with_memcached() {
    let Some(memcached) = RealServer::memcached() else { return };
    for (number, session) in SESSIONS.iter().enumerate() {
        let input = expand(session, number);
        let expected = without_version(&memcached.talk(&input));
        assert_eq!(without_version(&ours(&input)), expected, "after {}", readable(&input));
    }
}

#[test]
fn a_value_that_is_too_large_is_swallowed_as_memcached_does() {
    let Some(memcached) = RealServer::memcached() else { return };
    let block = "v".repeat(1_500_000);
    for session in [
        format!("set big 0 0 1500000\r\n{block}\r\nversion\r\nget big\r\n"),
        format!("set big 0 0 1500000 noreply\r\n{block}\r\nversion\r\n"),
        format!("set big 0 0 1500000\r\n{block}xxversion\r\n"),
    ] {
        let expected = without_version(&memcached.talk(session.as_bytes()));
        assert_eq!(without_version(&ours(session.as_bytes())), expected);
    }
}

#[test]
fn a_long_list_of_keys_is_read_as_memcached_does() {
    let Some(memcached) = RealServer::memcached() else { return };
    let session = format!("set x 0 0 1\r\n1\r\nget {}x\r\n", "no-such-key ".repeat(20_000));
    assert_eq!(readable(&ours(session.as_bytes())), readable(&memcached.talk(session.as_bytes())));
}

/// The text between `before` and the next line end.
fn after<'a>(reply: &'a str, before: &str) -> &'a str {
    let start = reply.find(before).expect("the reply holds it") + before.len();
    reply[start..].split("\r\n").next().unwrap_or_default()
}

/// Whoever answers.
type Talk = Box<dyn FnMut(&str) -> String>;

#[test]
fn cas_with_the_unique_that_gets_showed() {
    let mut model = Model::default();
    let real = RealServer::memcached();
    let mut talk: Vec<Talk> = vec![Box::new(move |input| {
        String::from_utf8(model.talk(Dialect::Memcached, input.as_bytes(), 1)).expect("text")
    })];
    if let Some(real) = real {
        talk.push(Box::new(move |input| {
            String::from_utf8(real.talk(input.as_bytes())).expect("text")
        }));
    }
    for talk in &mut talk {
        let reply = talk("set x 3 0 2\r\n42\r\ngets x\r\n");
        let unique = after(&reply, "VALUE x 3 2 ").to_owned();
        assert_eq!(reply, format!("STORED\r\nVALUE x 3 2 {unique}\r\n42\r\nEND\r\n"));
        assert_eq!(talk(&format!("cas x 0 0 2 {unique}\r\n43\r\n")), "STORED\r\n");
        assert_eq!(talk(&format!("cas x 0 0 2 {unique}\r\n44\r\n")), "EXISTS\r\n");
        let reply = talk("gats 0 x\r\n");
        let unique = after(&reply, "VALUE x 0 2 ").to_owned();
        assert_eq!(reply, format!("VALUE x 0 2 {unique}\r\n43\r\nEND\r\n"));
    }
}

fn said(input: &[u8]) -> String {
    String::from_utf8(ours(input)).expect("replies to these are text")
}

#[test]
fn what_a_person_types_into_nc() {
    assert_eq!(said(b"set x 2\n42\nget x\n"), "STORED\r\nVALUE x 0 2\r\n42\r\nEND\r\n");
    assert_eq!(said(b"set x 2 noreply\n42\nget x\n"), "VALUE x 0 2\r\n42\r\nEND\r\n");
    assert_eq!(said(b"set x 1\n42\n\nget x\n"), "CLIENT_ERROR bad data chunk\r\nERROR\r\nEND\r\n");
    assert_eq!(said(b"set x 2\n423\nversion\n"), said(b"set x 0 0 2\n423\nversion\n"));
    assert_eq!(
        said(b"add x 1\n1\nadd x 1\n1\nreplace x 1\n2\nappend x 1\n3\nprepend x 1\n1\nget x\n"),
        "STORED\r\nNOT_STORED\r\nSTORED\r\nSTORED\r\nSTORED\r\nVALUE x 0 3\r\n123\r\nEND\r\n"
    );
    assert_eq!(said(b"set x 1\n1\ncas x 1 1\n2\ncas x 1 1\n3\n"), "STORED\r\nSTORED\r\nEXISTS\r\n");
    assert_eq!(said(b"set x\n"), "ERROR\r\n");
    assert_eq!(said(b"PING\r\n"), "+PONG\r\n", "redis-benchmark begins so");
}

#[test]
fn where_memcached_is_careless_we_are_not() {
    let bad = "CLIENT_ERROR bad command line format\r\n";
    assert_eq!(said(b"get a\x01b\r\n"), bad, "a control character");
    assert_eq!(said(b"get a\tb\r\nget a\x7f\r\n"), format!("{bad}{bad}"));
    assert_eq!(said(b"set a\0 0 0 1\r\n"), bad);
    assert_eq!(said(b"set x 4294967296 0 1\r\n"), bad, "flags of more than 32 bits");
    assert_eq!(said(b"set x 0 0 99999999999\r\n"), bad, "a length of more than 31 bits");
    assert_eq!(said("get \u{e4}\r\n".as_bytes()), "END\r\n", "other bytes are fine in a key");
    let too_long = "CLIENT_ERROR line too long\r\n";
    assert_eq!(said(&[b'x'; 70_000]), too_long);
    assert_eq!(said(&[b"get ".as_slice(), &[b'x'; 1_100_000]].concat()), too_long);
    assert_eq!(said(&[b"gat 0 ".as_slice(), &b"x ".repeat(40_000), b"\n"].concat()), too_long);
}

#[test]
fn a_block_that_was_swallowed_may_end_in_a_bare_lf() {
    let mut model = Model::with_max_value(4);
    for piece in [1, 2, 3, 100] {
        let input = b"set x 0 0 5\n12345\nset x 0 0 5\r\n12345\r\nset x 0 0 4\r\n1234\r\n";
        let reply = model.talk(Dialect::Memcached, input, piece);
        let large = "SERVER_ERROR object too large for cache\r\n";
        assert_eq!(String::from_utf8_lossy(&reply), format!("{large}{large}STORED\r\n"));
    }
    let reply = model.talk(Dialect::Memcached, b"append x 1\n5\nget x\n", 100);
    assert_eq!(
        String::from_utf8_lossy(&reply),
        "SERVER_ERROR object too large for cache\r\nVALUE x 0 4\r\n1234\r\nEND\r\n"
    );
}

#[test]
fn failures() {
    let refused = Failure::Refused("the disk is full\nbuy one".into());
    assert_eq!(
        failure(Form::Word, &Failure::OutcomeUnknown),
        "SERVER_ERROR timeout, outcome unknown\r\n"
    );
    assert_eq!(failure(Form::Word, &refused), "SERVER_ERROR the disk is full buy one\r\n");
    assert_eq!(failure(Form::Silent, &refused), "");
}
