//! Writes that are sent again are executed once: sessions on real servers, and `lab client --retry`.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use crate::process_support::three;
use consistency_lab::client::{Client, Options, Protocol, RetryingClient};
use consistency_lab::wire::{self, command};

/// Says one RESP command; the reply in words.
fn say(client: &mut Client, words: &[&str]) -> String {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mut bytes = Vec::new();
    command::resp(&mut bytes, &words);
    match client.exchange(&bytes, 4096).expect("a reply").1 {
        wire::Reply::Number(number) => number.to_string(),
        wire::Reply::Error(line) => {
            String::from_utf8_lossy(line).split(' ').next().unwrap_or_default().to_owned()
        }
        wire::Reply::Status(text) | wire::Reply::Bulk(Some(text)) => {
            String::from_utf8_lossy(text).into_owned()
        }
        other => format!("{other:?}"),
    }
}

fn connect(to: SocketAddr) -> Client {
    Client::connect(&to.to_string(), Protocol::Resp, Options::default()).expect("it listens")
}

/// A way to a server that swallows the first `n` replies, each with its connection.
fn swallowing(server: SocketAddr, n: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for (i, client) in listener.incoming().flatten().enumerate() {
            let Ok(server) = TcpStream::connect(server) else { return };
            thread::spawn(move || forward(client, server, i < n));
        }
    });
    address
}

fn forward(mut client: TcpStream, mut server: TcpStream, swallow: bool) {
    let mut buffer = [0; 4096];
    // One request and one reply at a time, as a client without pipelining sends them.
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        let is_write = buffer[..read].windows(8).any(|w| w == b"LAB.ONCE");
        if server.write_all(&buffer[..read]).is_err() {
            return;
        }
        let Ok(read @ 1..) = server.read(&mut buffer) else { return };
        if swallow && is_write {
            let _ = client.shutdown(Shutdown::Both);
            return;
        }
        if client.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}

#[test]
fn a_write_of_a_session_is_executed_once_at_whichever_replica_it_is_sent() {
    let data = tempfile::tempdir().expect("a folder");
    let server = three("sequential", data.path(), &[]);
    let (mut one, mut other) = (connect(server.clients(0)), connect(server.clients(1)));
    let id = say(&mut one, &["LAB.SESSION"]);
    assert_eq!(say(&mut one, &["LAB.ONCE", &id, "1", "INCR", "n"]), "1");
    assert_eq!(say(&mut other, &["LAB.ONCE", &id, "1", "INCR", "n"]), "1", "sent again");
    assert_eq!(say(&mut other, &["LAB.ONCE", &id, "2", "INCRBY", "n", "5"]), "6");
    assert_eq!(say(&mut one, &["LAB.ONCE", &id, "1", "INCR", "n"]), "NOSESSION", "it has gone on");
    assert_eq!(say(&mut one, &["LAB.ONCE", "77", "1", "INCR", "n"]), "NOSESSION", "never opened");
    assert_eq!(say(&mut one, &["GET", "n"]), "6");
    assert_eq!(say(&mut one, &["DBSIZE"]), "1", "sessions are not counted");
    assert_eq!(say(&mut one, &["LAB.ONCE", &id, "3", "GET", "n"]), "ERR", "no write");
    assert_eq!(say(&mut one, &["LAB.ONCE", &id, "3", "INCR"]), "ERR", "not complete");
    assert_eq!(say(&mut one, &["DEL", "\0session:1"]), "ERR", "not a client's key");
    // The state has it, so a restart keeps it.
    drop(server);
    let server = three("sequential", data.path(), &[]);
    let mut one = connect(server.clients(2));
    assert_eq!(say(&mut one, &["LAB.ONCE", &id, "2", "INCRBY", "n", "5"]), "6", "sent again");
    assert_eq!(say(&mut one, &["LAB.ONCE", &id, "3", "INCR", "n"]), "7");
}

#[test]
fn a_mode_that_answers_at_once_refuses_sessions() {
    let data = tempfile::tempdir().expect("a folder");
    let server = three("eventual", data.path(), &[]);
    assert_eq!(say(&mut connect(server.clients(0)), &["LAB.SESSION"]), "NOSESSION");
}

#[test]
fn a_retrying_client_writes_once_although_replies_are_lost() {
    let data = tempfile::tempdir().expect("a folder");
    let server = three("sequential", data.path(), &[]);
    let addresses = [0, 1, 2].map(|n| swallowing(server.clients(n), 2).to_string());
    let patience = Duration::from_secs(20);
    let mut client = RetryingClient::new(addresses.to_vec(), Options::default(), patience);
    client.set(b"x", b"1").expect("through the first that answers");
    client.set(b"x", b"2").expect("over the same connection");
    assert!(client.delete(b"x").expect("it is there"), "and not gone by an earlier try");
    assert_eq!(client.get(b"x").expect("an answer"), None);
}

fn retry(to: &str, words: &[&str]) -> Output {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"));
    lab.args(["client", "--to", to, "--retry", "20s"]).args(words).output().expect("lab runs")
}

#[test]
fn the_command_line_goes_on_to_a_server_that_lives() {
    let data = tempfile::tempdir().expect("a folder");
    let server = three("sequential", data.path(), &[]);
    let nowhere = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
    let to = format!("{},{}", nowhere.expect("a port"), server.clients(1));
    let set = retry(&to, &["set", "x", "42"]);
    assert!(set.status.success(), "{set:?}");
    assert_eq!(retry(&to, &["get", "x"]).stdout, b"42\n");
    let refused = retry(&to, &["set", "x", &"y".repeat(100_000)]);
    assert!(refused.status.success(), "within the bound of values");
}
