//! A replica under control, by the commands on its client port.

use std::process::Stdio;

use crate::process_support::client::Client;
use crate::process_support::{LONG, Server, eventually, servers};

fn controlled(id: u16, data: &std::path::Path, more: &[&str]) -> Server {
    let (id, data) = (id.to_string(), data.to_str().expect("UTF-8").to_owned());
    let mut arguments = vec!["--consistency=session", "--replicas", "3", "--only", &id];
    arguments.extend(["--client-port", "0", "--broadcast-port", "0", "--data", &data]);
    arguments.extend(more);
    Server::start(&arguments)
}

/// Sends words as RESP; gives the first line of the reply, and the next where that is a bulk string's length.
fn ask(client: &mut Client, words: &str) -> String {
    send(client, words);
    reply(client)
}

fn send(client: &mut Client, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    let mut request = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
    client.send(request);
}

fn reply(client: &mut Client) -> String {
    let line = client.line();
    match line.strip_prefix('$') {
        Some("-1") => "null".to_owned(),
        Some(_) => client.line(),
        None => line,
    }
}

#[test]
fn links_come_and_go_as_they_are_told() {
    let data = tempfile::tempdir().expect("a folder");
    let all = [0, 1, 2].map(|id| controlled(id, data.path(), &["--control"]));
    let mut clients = [0, 1, 2].map(|id: usize| Client::connect(all[id].clients(0)));
    let link = |id: usize| format!("lab.link {id} {}", all[id].places[0].broadcast);
    assert_eq!(ask(&mut clients[0], "lab.links"), "");
    assert_eq!(ask(&mut clients[1], "lab.set k v -"), "+1.1");
    // Both sides are told; each answers when the link is up. The one that dials may be the first.
    for (dials, other) in [(1, 0), (2, 0)] {
        send(&mut clients[dials], &link(other));
        send(&mut clients[other], &link(dials));
        assert_eq!(
            (reply(&mut clients[dials]), reply(&mut clients[other])),
            ("+OK".into(), "+OK".into())
        );
    }
    assert_eq!(ask(&mut clients[0], "lab.links"), "1 2");
    assert_eq!(ask(&mut clients[2], "lab.links"), "0");
    assert_eq!(ask(&mut clients[2], "lab.await 1.1 30000"), "+OK", "over replica 0");
    assert_eq!(ask(&mut clients[2], "lab.clock"), "1.1");
    assert_eq!(ask(&mut clients[2], &link(0)), "+OK", "once more changes nothing");
    assert_eq!(ask(&mut clients[0], "lab.unlink 2"), "+OK");
    assert_eq!(ask(&mut clients[0], "lab.links"), "1");
    // The other side still wants it, and is refused.
    let second = ask(&mut clients[1], "lab.set k w 1.1");
    assert_eq!(ask(&mut clients[0], &format!("lab.await {} 30000", &second[1..])), "+OK");
    let behind = ask(&mut clients[2], &format!("lab.get k {}", &second[1..]));
    let expected =
        format!("-DEP replica 2 is behind: it has 1.1 and the session has seen {}", &second[1..]);
    assert_eq!(behind, expected);
    assert_eq!(ask(&mut clients[2], &format!("lab.await {} 20", &second[1..])), expected);
    assert_eq!(ask(&mut clients[2], "lab.unlink 0"), "+OK");
    assert_eq!(ask(&mut clients[2], "lab.links"), "");
    for server in all {
        server.stop();
    }
}

#[test]
fn a_server_that_is_stopped_while_it_dials_stops_at_once() {
    let data = tempfile::tempdir().expect("a folder");
    let server = controlled(2, data.path(), &["--control"]);
    let mut client = Client::connect(server.clients(0));
    // Somebody who takes the connection and never greets.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let at = silent.local_addr().expect("bound");
    send(&mut client, &format!("lab.link 0 {at}"));
    let held = silent.accept().expect("it dials");
    let (status, time) = server.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(time.as_secs() < 2, "{time:?}");
    drop(held);
}

#[test]
fn what_is_wrong_is_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let server = controlled(1, data.path(), &["--control"]);
    let mut client = Client::connect(server.clients(0));
    for (words, begin) in [
        (
            "lab.link 1 127.0.0.1:1",
            "-ERR expected another replica of 0 to 2 than this one, found 1",
        ),
        ("lab.unlink 3", "-ERR expected another replica"),
        ("lab.link 0 nowhere", "-ERR expected HOST:PORT"),
        ("lab.get k 1", "-ERR expected what was seen"),
        ("lab.await -", "-ERR wrong number of arguments"),
        ("lab.get none -", "null"),
    ] {
        let answer = ask(&mut client, words);
        assert!(answer.starts_with(begin), "{words}: {answer}");
    }
    server.stop();
    let other = tempfile::tempdir().expect("a folder");
    let data = other.path().to_str().expect("UTF-8");
    let ports = ["--client-port", "0", "--broadcast-port", "0", "--data", data];
    let server = Server::start(&[&["--consistency=sequential"][..], &ports].concat());
    let mut client = Client::connect(server.clients(0));
    let answer = ask(&mut client, "lab.set k v -");
    assert!(answer.starts_with("-ERR lab.set needs --consistency=session or causal"), "{answer}");
    let answer = ask(&mut client, "lab.unlink 1");
    assert!(answer.contains("start the server with --control"), "{answer}");
    server.stop();
}

#[test]
fn a_server_ends_with_its_standard_input() {
    let data = tempfile::tempdir().expect("a folder");
    let data = data.path().to_str().expect("UTF-8");
    let mut command =
        servers(&["--consistency=session", "--replicas", "2", "--only", "0", "--data", data]);
    command.args(["--client-port", "0", "--broadcast-port", "0", "--control", "--until-eof"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
    eventually("it has a store", LONG, || std::fs::metadata(format!("{data}/0/storage.txt")).ok());
    assert!(child.try_wait().expect("a child").is_none());
    drop(child.stdin.take());
    let status = eventually("it ends", LONG, || child.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0), "{status}");
}
