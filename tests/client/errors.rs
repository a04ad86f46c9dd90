//! What a client knows of an operation after each kind of failure.

use std::time::Duration;

use crate::mock_server::{Manner, nowhere, start};
use consistency_lab::client::{Certainty, Client, ClientError, Options, Protocol, Reply, Request};

fn connect(manner: Manner) -> Client {
    let options = Options { timeout: Duration::from_millis(200), ..Options::default() };
    Client::connect(&start(manner), Protocol::Memcached, options).expect("the mock listens")
}

#[test]
fn what_is_set_is_got_until_it_is_deleted() {
    let mut client = connect(Manner::default());
    assert_eq!(client.get(b"x").expect("a reply"), None);
    client.set(b"x", b"4\r\n2").expect("stored");
    assert_eq!(client.get(b"x").expect("a reply").as_deref(), Some(&b"4\r\n2"[..]));
    assert!(client.delete(b"x").expect("a reply"));
    assert!(!client.delete(b"x").expect("a reply"));
}

#[test]
fn a_large_value_crosses_many_reads() {
    let mut client = connect(Manner::default());
    let value: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    client.set(b"x", &value).expect("stored");
    assert_eq!(client.get(b"x").expect("a reply"), Some(value));
}

#[test]
fn a_batch_is_answered_in_order_and_a_refusal_does_not_end_it() {
    let mut client = connect(Manner {
        refuse_every: 2,
        refusal: "SERVER_ERROR out of memory storing object",
        ..Manner::default()
    });
    let requests = [
        Request::Set(b"a", b"1"),
        Request::Set(b"b", b"2"),
        Request::Get(b"a"),
        Request::Get(b"b"),
        Request::Delete(b"a"),
    ];
    let mut replies = Vec::new();
    client.batch(&requests, |index, reply| {
        replies.push(match reply {
            Ok(Reply::Done) => format!("{index} done"),
            Ok(Reply::Value(value)) => format!("{index} {}", String::from_utf8_lossy(value)),
            Ok(Reply::Missing) => format!("{index} missing"),
            Err(error) => format!("{index} {:?}", error.certainty()),
        });
    });
    assert_eq!(replies, ["0 done", "1 Fail", "2 1", "3 missing", "4 done"]);
}

#[test]
fn a_connection_lost_within_a_batch_leaves_the_rest_unknown() {
    let mut client = connect(Manner { hang_up_at: 2, ..Manner::default() });
    let mut certainties = Vec::new();
    client.batch(&[Request::Set(b"a", b"1"); 3], |_, reply| {
        certainties.push(reply.map(|_| ()).map_err(|error| error.certainty()));
    });
    assert_eq!(certainties, [Ok(()), Err(Certainty::Unknown), Err(Certainty::Unknown)]);
    assert!(client.is_broken());
    let closed = client.set(b"a", b"2").expect_err("the connection is lost");
    assert_eq!(closed.certainty(), Certainty::Fail, "this one was never sent");
    client.reconnect().expect("the mock still listens");
    client.set(b"a", b"3").expect("stored");
}

#[test]
fn a_timeout_is_unknown() {
    let mut client = connect(Manner { silent: true, ..Manner::default() });
    let error = client.set(b"x", b"1").expect_err("the mock is silent");
    assert_eq!(error.certainty(), Certainty::Unknown);
    assert!(error.to_string().contains("within 200ms, outcome unknown"), "{error}");
}

#[test]
fn the_servers_own_timeout_is_unknown_and_keeps_the_connection() {
    let refusal = "SERVER_ERROR timeout, outcome unknown";
    let mut client = connect(Manner { refuse_every: 2, refusal, ..Manner::default() });
    client.set(b"x", b"1").expect("stored");
    let error = client.set(b"x", b"2").expect_err("the second is refused");
    assert!(matches!(error, ClientError::OutcomeUnknown { .. }), "{error}");
    assert_eq!(error.certainty(), Certainty::Unknown);
    client.set(b"x", b"3").expect("the connection is still in step");
}

#[test]
fn nobody_there_is_said_with_what_to_do() {
    let to = nowhere();
    let error = Client::connect(&to, Protocol::Memcached, Options::default()).expect_err("nobody");
    assert_eq!(
        error.to_string(),
        format!("nothing listens on {to}; start servers with: scripts/server-normal.sh sequential")
    );
    let error =
        Client::connect("nonsense", Protocol::Memcached, Options::default()).expect_err("no port");
    assert!(error.to_string().contains("expected HOST:PORT"), "{error}");
}

#[test]
fn keys_that_the_protocol_cannot_carry_are_refused_before_anything_is_sent() {
    let mut client = connect(Manner::default());
    for key in [&b""[..], b"a b", b"a\r\nflush_all", &[b'k'; 251]] {
        let error = client.set(key, b"1").expect_err("a bad key");
        assert_eq!(error.certainty(), Certainty::Fail);
    }
    client.set(&[b'k'; 250], b"1").expect("the longest key");
}
