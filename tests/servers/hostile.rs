//! What clients and strangers can do to a server: each gets the protocol's own error or a closed
//! connection, memory stays bounded, and nobody else notices.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::process_support::client::Client;
use crate::process_support::cluster::Cluster;
use crate::process_support::{LONG, Server, eventually, three};
use consistency_lab::base::{Op, ReplicaId, StoreRule, Timestamp, Value};
use consistency_lab::wire::peer::{
    Chunk, Fetch, Frame, Greeting, Hello, MAX_FRAME, Message, PREFACE, StreamPlace, Synced,
};

fn server() -> (tempfile::TempDir, Server) {
    let data = tempfile::tempdir().expect("a folder");
    let server = three("sequential", data.path(), &["--init", "x=0"]);
    (data, server)
}

/// Everyone else is served as if nothing had happened.
#[track_caller]
fn assert_serves(server: &Server) {
    for i in 0..3 {
        let mut client = Client::connect(server.clients(i));
        assert_eq!(client.set("others", i.to_string()), "STORED");
        assert_eq!(client.text("others"), Some(i.to_string()));
    }
    assert!(server.said("panicked").is_empty(), "{:?}", server.stderr());
}

// Clients.

#[test]
fn wrong_lines_get_memcacheds_own_errors() {
    let (_data, server) = server();
    let mut client = Client::connect(server.clients(0));
    let long_key = "k".repeat(251);
    for (request, replies) in [
        ("nonsense\r\n", &["ERROR"][..]),
        ("\r\n", &["ERROR"]),
        ("get\r\n", &["ERROR"]),
        ("set k 0 0 -1\r\n", &["CLIENT_ERROR bad command line format"]),
        ("set k 0 0 99999999999999999999\r\n", &["CLIENT_ERROR bad command line format"]),
        ("set k 0 0 2000000000\r\n", &["SERVER_ERROR object too large for cache"]),
        ("set k 0 0 x\r\n", &["CLIENT_ERROR bad command line format"]),
        ("set k -1 0 1\r\n", &["CLIENT_ERROR bad command line format"]),
        ("incr x minus\r\n", &["CLIENT_ERROR invalid numeric delta argument"]),
        // Longer than announced: what follows is the next command.
        ("set k 0 0 3\r\nabcdef\r\n", &["CLIENT_ERROR bad data chunk"]),
        // Shorter: the next line is taken for the value.
        ("set k 0 0 9\r\nabc\r\nget x\r\n", &["CLIENT_ERROR bad data chunk"]),
        (&format!("get {long_key}\r\n"), &["CLIENT_ERROR bad command line format"]),
        (&format!("set {long_key} 0 0 1\r\n"), &["CLIENT_ERROR bad command line format"]),
    ] {
        let mut client = Client::connect(server.clients(0));
        assert_eq!(client.lines(request, replies.len()), replies, "{request:?}");
        // The connection goes on or is closed, and whatever it says ends.
        client.stream().shutdown(Shutdown::Write).expect("no more requests");
        assert!(client.is_closed(LONG), "{request:?}");
    }
    assert_eq!(client.get("k"), None);
    // A value that is too large is read past, and the connection goes on.
    let large = "v".repeat(1024 * 1024 + 1);
    assert_eq!(client.set("large", large), "SERVER_ERROR object too large for cache");
    assert_eq!(client.text("x").as_deref(), Some("0"));
    assert_serves(&server);
}

#[test]
fn keys_with_control_characters_do_no_harm() {
    let (data, server) = server();
    let mut client = Client::connect(server.clients(0));
    for byte in (1..=31u8).chain([127, 128, 255]).filter(|byte| *byte != b'\n') {
        let key = [b"a", &[byte][..], b"b"].concat();
        let request = [b"set ", &key[..], b" 0 0 1\r\nv\r\n"].concat();
        let reply = client.ask(request);
        let known = reply == "STORED" || reply == "ERROR" || reply.starts_with("CLIENT_ERROR");
        assert!(known, "{byte}: {reply}");
        client = Client::connect(server.clients(0));
    }
    assert_serves(&server);
    server.stop();
    // Whatever was stored comes back.
    let again = three("sequential", data.path(), &[]);
    assert_serves(&again);
}

#[test]
fn wrong_counts_get_rediss_own_errors() {
    let (_data, server) = server();
    for (request, reply) in [
        ("*x\r\n", "-ERR Protocol error: invalid multibulk length"),
        ("*99999999999\r\n", "-ERR Protocol error: invalid multibulk length"),
        ("*2\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'"),
        ("*1\r\n$-9\r\n", "-ERR Protocol error: invalid bulk length"),
        ("*1\r\n$99999999999\r\n", "-ERR Protocol error: invalid bulk length"),
    ] {
        let mut client = Client::connect(server.clients(1));
        assert_eq!(client.ask(request), reply, "{request:?}");
        assert!(client.is_closed(LONG), "{request:?}");
    }
    let mut client = Client::connect(server.clients(1));
    assert!(
        client.ask("*2\r\n$3\r\nSET\r\n$1\r\nk\r\n").starts_with("-ERR wrong number of arguments")
    );
    assert!(client.ask("*1\r\n$4\r\nWHAT\r\n").starts_with("-ERR unknown command"));
    assert_eq!(client.ask("*-1\r\n*0\r\n*1\r\n$4\r\nPING\r\n"), "+PONG");
    assert_serves(&server);
}

#[test]
fn a_line_without_end_is_cut_off() {
    let (_data, server) = server();
    for start in ["get ", "*3\r\n$3\r\nSET\r\n$", "*"] {
        let mut client = Client::connect(server.clients(0));
        let _ = client.try_send(start);
        let mut sent = 0;
        while sent < 10_000_000 && client.try_send([b'1'; 10_000]).is_ok() {
            sent += 10_000;
        }
        assert!(sent < 10_000_000, "{start:?}: it takes all that comes");
        assert!(client.is_closed(LONG), "{start:?}");
    }
    assert_serves(&server);
}

#[test]
fn a_client_that_vanishes_in_the_middle_of_a_value_stores_nothing() {
    let (_data, server) = server();
    for half in [
        "set half 0 0 1000\r\nabc",
        "set half 0 0 3\r\nabc",
        "*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$9\r\na",
    ] {
        let mut client = Client::connect(server.clients(0));
        client.send(half);
        drop(client);
    }
    // One that resets the connection, with a reply on its way.
    let mut client = Client::connect(server.clients(0));
    client.send("get x\r\n".repeat(1000));
    drop(client);
    let mut observer = Client::connect(server.clients(0));
    eventually("the sessions have ended", LONG, || {
        (observer.stat("curr_connections") == "1").then_some(())
    });
    assert_eq!(observer.get("half"), None);
    assert_serves(&server);
}

#[test]
fn clients_that_never_read_hold_bounded_memory() {
    let (_data, server) = server();
    let big = vec![b'v'; 1024 * 1024];
    assert_eq!(Client::connect(server.clients(0)).set("big", &big), "STORED");
    eventually("the value is everywhere", LONG, || Client::connect(server.clients(2)).get("big"));
    let before = server.resident_kib();
    let mut greedy = Vec::new();
    // One line asks for a hundred times the value; one pipeline for all of it again and again.
    let many = format!("get{}\r\n", " big".repeat(100));
    let mget = format!("*1001\r\n$4\r\nMGET\r\n{}", "$3\r\nbig\r\n".repeat(1000));
    for request in [many.repeat(10), "get big\r\n".repeat(1000), mget] {
        for _ in 0..20 {
            let client = Client::connect(server.clients(0));
            let stream = client.stream();
            stream.set_nonblocking(true).expect("non-blocking");
            // As much as fits; the server stops reading once its replies are not read.
            let _ = (&mut &*stream).write_all(request.as_bytes());
            greedy.push(client);
        }
    }
    let start = Instant::now();
    let mut most = 0;
    while start.elapsed() < Duration::from_millis(1500) {
        most = most.max(server.resident_kib());
        let mut client = Client::connect(server.clients(0));
        assert_eq!(client.text("x").as_deref(), Some("0"));
        assert_eq!(client.set("y", "1"), "STORED");
    }
    assert!(most - before < 400 * 1024, "{before} KiB became {most} KiB");
    assert_serves(&server);
}

#[test]
fn stalled_large_values_hold_bounded_memory() {
    let (_data, server) = server();
    let before = server.resident_kib();
    let head = "set k 0 0 1000000\r\n";
    let body = vec![b'v'; 999_000];
    let mut stalled = Vec::new();
    for _ in 0..500 {
        let mut client = Client::connect(server.clients(0));
        if client.try_send(head).and_then(|()| client.try_send(&body)).is_ok() {
            stalled.push(client);
        }
    }
    let after = server.resident_kib();
    assert!(after - before < 500 * 1024, "{before} KiB became {after} KiB");
    assert_serves(&server);
    drop(stalled);
    // What they held is there again.
    eventually("a large value is taken", LONG, || {
        let mut client = Client::connect(server.clients(0));
        (client.try_set("k", &body).ok()? == "STORED").then_some(())
    });
}

#[test]
fn ten_thousand_connections_at_once() {
    let allowed = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    let wanted = 10_000.min(usize::try_from(allowed).unwrap_or(1024).saturating_sub(500));
    if wanted < 10_000 {
        eprintln!("only {wanted} connections: this process may not open more files");
    }
    let data = tempfile::tempdir().expect("a folder");
    let most = wanted.to_string();
    let server = three("sequential", data.path(), &["--max-connections", &most]);
    let mut clients: Vec<Client> =
        (0..wanted).map(|_| Client::connect(server.clients(0))).collect();
    for (n, client) in clients.iter_mut().enumerate().step_by(97) {
        assert_eq!(client.set("k", n.to_string()), "STORED", "client {n}");
    }
    let last = clients.last_mut().expect("many");
    assert_eq!(last.set("last", "1"), "STORED");
    assert_eq!(last.stat("curr_connections"), most);
    // One more is told so; the other replicas have room of their own.
    let mut more = Client::connect(server.clients(0));
    assert_eq!(more.line(), "SERVER_ERROR too many open connections");
    assert!(more.is_closed(LONG));
    assert_eq!(Client::connect(server.clients(1)).set("k", "v"), "STORED");
    assert!(server.resident_kib() < 400 * 1024, "{} KiB", server.resident_kib());
    clients.truncate(1);
    eventually("their sessions have ended", LONG, || {
        (clients[0].stat("curr_connections") == "1").then_some(())
    });
    assert_serves(&server);
    server.stop();
}

// Strangers on the broadcast port.

fn dial(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("a timeout");
    stream
}

/// Waits until the other side has closed, and passes over what it says.
fn wait_closed(mut stream: &TcpStream) {
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("not closed: {error}"),
        }
    }
}

fn greeting(from: u16, to: u16, mode: &str) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    let (from, to) = (ReplicaId(from), ReplicaId(to));
    Frame::Greeting(Greeting { from, to, replicas: 3, mode: mode.to_owned() }).encode(&mut bytes);
    bytes
}

#[test]
fn garbage_on_the_broadcast_port_is_cut_off_with_one_line() {
    let (_data, server) = server();
    let mut lines = 0;
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"[..],
        &[0; 100],
        &[0xff; 100_000],
        b"consistency-lab peer 2\n",
        &[PREFACE, &[0xff; 100]].concat(),
        &[PREFACE, &[0; 100]].concat(),
        &[PREFACE, &[1, 0, 0, 0, 9]].concat(),
        &greeting(0, 0, "sequential"),
        &greeting(7, 0, "sequential"),
        &greeting(1, 2, "sequential"),
    ] {
        let mut stream = dial(server.places[0].broadcast);
        let _ = stream.write_all(garbage);
        wait_closed(&stream);
        lines += 1;
        let from = format!("peer connection from {}", stream.local_addr().expect("an address"));
        eventually("it is said", LONG, || server.said(&from).pop());
        assert_eq!(server.said("cut off peer connection").len(), lines, "{garbage:?}");
    }
    assert_serves(&server);
    let lost = [server.said("lost the link"), server.said("cut the link")].concat();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn half_greetings_that_stall_are_closed_and_keep_no_peer_out_for_long() {
    let mut cluster = Cluster::start("sequential", &[]);
    cluster.kill(1);
    let half = greeting(1, 0, "sequential");
    let stalled: Vec<TcpStream> = (0..100)
        .map(|n| {
            let mut stream = dial(cluster.broadcast(0));
            // Beyond the bound they are closed at once.
            let _ = stream.write_all(&half[..n % half.len()]);
            stream
        })
        .collect();
    cluster.restart(1);
    let mut client = cluster.connect(0);
    eventually("writes go on", LONG, || (client.set("k", "v") == "STORED").then_some(()));
    stalled.iter().for_each(wait_closed);
    assert!(cluster.server(0).said("panicked").is_empty());
}

#[test]
fn a_peer_of_another_mode_is_refused_on_both_sides_without_a_flood() {
    let cluster = Cluster::start_only("sequential", &["--write-timeout", "100ms"], &[0, 1]);
    let stranger = cluster.start_in_mode(2, "eventual");
    let says =
        |server: &Server| eventually("it says why", LONG, || server.said("sequential").pop());
    for line in [says(cluster.server(0)), says(cluster.server(1)), says(&stranger)] {
        assert!(line.contains("eventual") && line.contains("sequential"), "{line}");
    }
    // It dials 20 times a second; a line each time would bury all others.
    let seen = Instant::now();
    eventually("some seconds", LONG, || (seen.elapsed() > Duration::from_secs(1)).then_some(()));
    for server in [cluster.server(0), cluster.server(1), &stranger] {
        assert!(server.said("WARN").len() <= 3, "{:?}", server.stderr());
    }
    assert_eq!(cluster.connect(0).stat("live"), "0");
}

/// Plays replica 2 towards replica 0, which takes it for one.
fn impostor(cluster: &Cluster) -> TcpStream {
    let mut stream = dial(cluster.broadcast(0));
    stream.write_all(&greeting(2, 0, "sequential")).expect("it reads");
    let mut answer = greeting(0, 2, "sequential");
    let expected = answer.clone();
    stream.read_exact(&mut answer).expect("it greets");
    assert_eq!(answer, expected);
    stream
}

fn encoded(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut bytes));
    bytes
}

#[test]
fn a_peer_that_sends_nonsense_is_cut_off_with_one_line() {
    let cluster = Cluster::start_only("sequential", &["--write-timeout", "100ms"], &[0, 1]);
    let ts = |time| Timestamp::new(time, ReplicaId(2));
    let write = |time, incarnation| {
        let value = Value { data: b"v"[..].into(), flags: 0, expires: 0 };
        let op = Op::Store { key: b"k"[..].into(), value, rule: StoreRule::Always };
        let (ts, prev) = (ts(time), StreamPlace::default());
        Frame::Write(Message { ts, incarnation, prev, at: u64::MAX, prompt: true, op })
    };
    let last = StreamPlace { incarnation: u64::MAX, time: u64::MAX };
    let hello = |n: usize| {
        let (life, position, clock) = (u64::MAX, u64::MAX, u64::MAX);
        Frame::Hello(Hello { life, position, delivered: ts(u64::MAX), clock, have: vec![last; n] })
    };
    let lines = vec![b'x'; 1000];
    let chunk = Chunk { generation: 1, next: 0, first: true, full: true, end: true, lines };
    let fetch = Fetch { generation: u64::MAX, offset: u64::MAX, after: u64::MAX };
    let synced = Frame::Synced(Synced { position: u64::MAX, view: vec![u64::MAX; 3] });
    let other = ReplicaId(u16::MAX);
    let nonsense = [
        ("an oversized length", u32::MAX.to_le_bytes().to_vec()),
        ("no length", vec![0; 4]),
        ("an unknown kind", vec![1, 0, 0, 0, 200]),
        ("a damaged body", vec![3, 0, 0, 0, 3, 1, 2]),
        ("a second greeting", greeting(2, 0, "sequential")[PREFACE.len()..].to_vec()),
        ("a chunk nobody asked for", encoded(&[Frame::Chunk(chunk)])),
        ("a hello of nobody", encoded(&[hello(0)])),
        ("a hello of too many", encoded(&[hello(1000)])),
        ("the end of time", encoded(&[hello(3), write(u64::MAX, u64::MAX), write(1, 1)])),
        ("a write before a hello", encoded(&[write(5, 1), write(4, 1), write(4, 0)])),
        ("an acknowledgement of nobody", encoded(&[Frame::Ack { origin: other, through: last }])),
        ("deliveries from the future", encoded(&[Frame::Delivered(ts(u64::MAX))])),
        ("a sync from the future", encoded(&[hello(3), synced.clone()])),
        ("a sync before a hello", encoded(&[synced])),
        ("a fetch from the future", encoded(&[Frame::Fetch(fetch), Frame::Fetch(fetch)])),
    ];
    for (name, bytes) in &nonsense {
        let mut stream = impostor(&cluster);
        stream.write_all(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let _ = stream.shutdown(Shutdown::Write);
        wait_closed(&stream);
        let server = cluster.server(0);
        assert!(server.said("panicked").is_empty(), "{name}: {:?}", server.stderr());
        let mut client = cluster.connect(0);
        assert_eq!(client.stat("replica"), "0", "{name}");
    }
    let said = cluster.server(0).said("WARN");
    assert!(said.len() <= nonsense.len(), "{said:#?}");
}

#[test]
fn a_long_frame_takes_no_memory_before_it_comes() {
    let cluster = Cluster::start_only("sequential", &[], &[0, 1]);
    let before = cluster.server(0).resident_kib();
    let mut stream = impostor(&cluster);
    stream.write_all(&(MAX_FRAME as u32).to_le_bytes()).expect("it reads");
    stream.write_all(&[8; 1_000_000]).expect("it reads");
    let after = cluster.server(0).resident_kib();
    assert!(after < before + 20 * 1024, "{before} KiB became {after} KiB");
}
