//! The catalog: ours does for servers and clients what cctools' `catalog_server` does, and nobody can stop it by
//! what they send.
//!
//! The comparison needs `catalog_server` (Debian: coop-computing-tools). Where it is missing those tests say SKIP
//! and pass, unless `REQUIRE_CATALOG=1` is set.

#![allow(clippy::unwrap_used, reason = "a test: what goes wrong shall fail it")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::process_support::{LONG, eventually};
use consistency_lab::client::catalog::{Announcement, Catalog};
use consistency_lab::labs::cluster::catalog::Registrar;
use consistency_lab::labs::cluster::catalog::server::CatalogServer;

const LIFETIME: Duration = Duration::from_secs(900);

/// cctools' own catalog, on a port that it chose.
struct Theirs {
    child: Child,
    address: SocketAddr,
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn theirs(folder: &Path) -> Option<Theirs> {
    let port_file = folder.join("port");
    // It picks a port that is free for TCP and ends if it is not free for UDP too, as another test may have it.
    for _ in 0..10 {
        let started = Command::new("catalog_server")
            .args(["-u", "127.0.0.1:9", "-I", "127.0.0.1", "-H"])
            .arg(folder.join("history"))
            .arg("-Z")
            .arg(&port_file)
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            let required = std::env::var("REQUIRE_CATALOG").is_ok_and(|value| value == "1");
            assert!(!required, "REQUIRE_CATALOG=1 is set, but no catalog_server is installed");
            println!("SKIP: no catalog_server (Debian: apt-get install coop-computing-tools)");
            return None;
        };
        let mut theirs = Theirs { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let port = eventually("the catalog says its port, or ends", LONG, || {
            let text = std::fs::read_to_string(&port_file).unwrap_or_default();
            let ended = theirs.child.try_wait().unwrap().is_some();
            text.trim().parse().ok().map(Some).filter(|_| !ended).or_else(|| ended.then_some(None))
        });
        if let Some(port) = port {
            theirs.address.set_port(port);
            eventually("the catalog answers", LONG, || TcpStream::connect(theirs.address).ok());
            return Some(theirs);
        }
    }
    panic!("the catalog server never stays");
}

fn ours() -> CatalogServer {
    CatalogServer::start("127.0.0.1", 0, LIFETIME).unwrap()
}

fn announcement(port: u16, project: &str) -> Announcement {
    Announcement {
        kind: "hashtable".to_owned(),
        owner: "me".to_owned(),
        port,
        project: project.to_owned(),
    }
}

/// One HTTP exchange: the head and the body.
fn get(from: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(from).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // A server that closes with something unread resets the connection behind its answer.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let end = text.find("\r\n\r\n").map(|at| (at, 4)).or(text.find("\n\n").map(|at| (at, 2)));
    let (at, length) = end.unwrap_or_else(|| panic!("a head and a body expected: {text:?}"));
    (text[..at].to_owned(), text[at + length..].to_owned())
}

fn page(from: SocketAddr, path: &str) -> String {
    get(from, &format!("GET {path} HTTP/1.1\r\nHost: catalog\r\n\r\n")).1
}

/// What our servers and clients need of a catalog.
fn serves_our_programs(address: SocketAddr) {
    let catalog = Catalog::new(&address.to_string());
    let _first = Registrar::start(catalog.address(), announcement(9001, "mytable-0"));
    let _second = Registrar::start(catalog.address(), announcement(9002, "mytable-1"));
    for (project, port) in [("mytable-0", 9001), ("mytable-1", 9002)] {
        let found = eventually("the server is listed", LONG, || {
            catalog.find(project, "hashtable").unwrap().into_iter().next()
        });
        assert_eq!((found.address.as_str(), found.port), ("127.0.0.1", port));
        assert_eq!((found.name.as_str(), found.owner.as_str()), ("localhost", "me"));
        assert!(found.lastheardfrom > 1_700_000_000);
    }
    assert_eq!(catalog.find("mytable-2", "hashtable").unwrap(), []);
    assert_eq!(catalog.find("mytable-0", "chirp").unwrap(), []);
}

#[test]
fn our_catalog_serves_our_programs() {
    serves_our_programs(ours().address());
}

#[test]
fn cctools_catalog_serves_our_programs() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(theirs) = theirs(folder.path()) {
        serves_our_programs(theirs.address);
    }
}

#[test]
fn both_catalogs_say_the_same_of_the_same_server() {
    let folder = tempfile::tempdir().unwrap();
    let Some(theirs) = theirs(folder.path()) else { return };
    let ours = ours();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let datagram =
        br#"{"type":"hashtable","owner":"me","port":9900,"project":"t-0","load":1.5,"up":true}"#;
    let both = [ours.address(), theirs.address];
    let [own, other] = both.map(|address| {
        socket.send_to(datagram, address).unwrap();
        eventually("it is listed", LONG, || {
            let json: Vec<serde_json::Map<String, serde_json::Value>> =
                serde_json::from_str(&page(address, "/query.json")).unwrap();
            json.into_iter().find(|one| one.get("project").is_some_and(|name| name == "t-0"))
        })
    });
    let except_time = |mut one: serde_json::Map<String, serde_json::Value>| {
        assert!(one.remove("lastheardfrom").unwrap().is_u64());
        one
    };
    assert_eq!(except_time(own), except_time(other));
    let [own, other] = both.map(|address| {
        let text = page(address, "/query.text");
        let block = text.split("\n\n").find(|block| block.contains("project t-0")).unwrap();
        let lines = block.trim().lines().filter(|line| !line.starts_with("lastheardfrom "));
        lines.map(str::to_owned).collect::<BTreeSet<_>>()
    });
    assert_eq!(own, other);
}

#[test]
fn it_speaks_as_much_http_as_it_needs() {
    let server = ours();
    let status =
        |request: &str| get(server.address(), request).0.lines().next().unwrap().to_owned();
    assert_eq!(status("GET /query.json HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 OK");
    assert_eq!(status("GET /query.json?x=1 HTTP/1.1\n\n"), "HTTP/1.1 200 OK");
    assert_eq!(status("GET /nothing HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
    assert_eq!(status("POST / HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(status("nonsense\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    let (head, body) = get(server.address(), "HEAD / HTTP/1.1\r\n\r\n");
    assert!(head.contains("Content-Type: text/html") && body.is_empty(), "{head}");
    assert!(page(server.address(), "/").starts_with("<!DOCTYPE html>"));
}

#[test]
fn nonsense_and_idle_clients_do_not_stop_it() {
    let server = ours();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in [&b""[..], b"garbage", b"[]", b"\x00\xff", &[b'{'; 9000], &[b'['; 60_000]] {
        socket.send_to(datagram, server.address()).unwrap();
    }
    let _ = rlimit::increase_nofile_limit(4096);
    let idle: Vec<TcpStream> =
        (0..1000).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let mut half = TcpStream::connect(server.address()).unwrap();
    half.write_all(b"GET /query").unwrap();
    let (head, _) = get(server.address(), &format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000)));
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    serves_our_programs(server.address());
    for byte in b".json HTTP/1.1\r\n\r\n" {
        half.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    half.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("mytable-0"), "{answer}");
    drop(idle);
}

#[test]
fn servers_that_cannot_register_keep_trying() {
    // Nothing listens there yet.
    let place = ours().address();
    let _registrar = Registrar::start(&place.to_string(), announcement(9001, "late-0"));
    let _unknown = Registrar::start("no-such-host.invalid:1", announcement(9001, "late-1"));
    let server = eventually("the port is free again", LONG, || {
        CatalogServer::start("127.0.0.1", place.port(), LIFETIME).ok()
    });
    let catalog = Catalog::new(&server.address().to_string());
    eventually("it has registered", LONG, || {
        catalog.find("late-0", "hashtable").unwrap().into_iter().next()
    });
}

#[test]
fn the_program_says_where_it_listens_and_stops_when_told() {
    let mut command = crate::process_support::servers(&["catalog", "--port", "0"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 18];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"Listening on port ");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = eventually("it ends", Duration::from_secs(2), || child.try_wait().unwrap());
    assert!(status.success(), "{status}");
    let taken = ours().address();
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let refused = crate::process_support::refused(&["catalog", "--port", &port]);
    assert_eq!(refused.status.code(), Some(1), "{taken}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{said}");
}
