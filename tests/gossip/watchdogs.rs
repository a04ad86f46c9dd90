//! Watchdogs by themselves, and a master that is told where they are.

use std::fs;
use std::net::SocketAddr;

use crate::gossip_support::{master, run};
use crate::process_support::client::Client;
use crate::process_support::{LONG, Server, eventually};

fn watchdog() -> (Server, SocketAddr) {
    let server = Server::spawn(&["watchdog"]);
    let address = eventually("it listens", LONG, || {
        server.stdout().iter().find_map(|line| line.strip_prefix("watchdog: ")?.parse().ok())
    });
    (server, address)
}

const START: &str = "{\"start\":{\"id\":0,\"replicas\":1,\"data\":null,\"host\":\"127.0.0.1\"}}\n";

fn clients_of(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("{\"started\":{\"clients\":\"").expect(line);
    rest.split('"').next().and_then(|address| address.parse().ok()).expect(line)
}

#[test]
fn a_watchdog_starts_and_kills_and_tells_of_a_death() {
    let (watchdog, address) = watchdog();
    let mut control = Client::connect(address);
    assert_eq!(control.ask("{\"kill\":{}}\n"), "{\"killed\":{\"ended\":null}}");
    let server = clients_of(&control.ask(START));
    let mut client = Client::connect(server);
    assert_eq!(client.set("k", "v"), "STORED");
    let again = control.ask(START);
    assert!(again.contains("\"refused\"") && again.contains("runs already"), "{again}");
    assert_eq!(control.ask("{\"kill\":{}}\n"), "{\"killed\":{\"ended\":null}}");
    assert!(client.is_closed(LONG));
    // The data lasts as long as the connection.
    let mut client = Client::connect(clients_of(&control.ask(START)));
    assert_eq!(client.text("k").as_deref(), Some("v"));
    let pid = client.stat("pid").parse().expect("a number");
    crate::gossip_support::signal(pid, "KILL");
    eventually("it is noticed", LONG, || watchdog.said("ended by itself").pop());
    let killed = control.ask("{\"kill\":{}}\n");
    assert!(killed.contains("signal: 9"), "{killed}");
    for nonsense in ["{}\n", "{\"kill\":1}\n", "kill\n"] {
        assert!(
            control.ask(nonsense).starts_with("{\"refused\":{\"why\":\"expected "),
            "{nonsense}"
        );
    }
    // A server ends with the connection that has started it, and the next one may have one.
    let mut client = Client::connect(clients_of(&control.ask(START)));
    drop(control);
    assert!(client.is_closed(LONG));
    let mut control = Client::connect(address);
    let mut client = Client::connect(clients_of(&control.ask(START)));
    assert_eq!(client.text("k"), None, "with its data");
    watchdog.stop();
    assert!(client.is_closed(LONG));
}

#[test]
fn a_master_finds_its_watchdogs_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hosts.toml");
    let path = file.to_str().expect("UTF-8");
    let (first, second) = (watchdog(), watchdog());
    let table = |id, at| format!("[[server]]\nid = {id}\nwatchdog = \"{at}\"\n");
    fs::write(&file, table(1, second.1) + &table(0, first.1)).expect("written");
    let commands = "joinServer 0\njoinServer 1\njoinClient 2 0\nput 2 k v\nkillServer 1\njoinServer 1\nstabilize\n\
                    printStore 1\njoinServer 2\n";
    for _ in 0..2 {
        let (out, errors) = master(&["--config", path], commands);
        assert_eq!(out, ["k:v"]);
        assert_eq!(errors, ["line 9: expected a server of 0 to 1, found 2"]);
    }
    fs::write(&file, table(0, first.1) + "id = 1\n").expect("written");
    let refused = run(&["master", "--config", path], "");
    let why = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(64));
    assert!(why.contains(&format!("{path}:4: ")) && why.lines().count() == 1, "{why}");
    first.0.stop();
    second.0.stop();
}

#[test]
fn wrong_usage_is_one_line_and_64() {
    for arguments in [
        &["master", "--servers", "0"][..],
        &["master", "--servers", "129"],
        &["master", "--config", "/no/such/file"],
        &["master", "commands.txt"],
        &["gossip"],
        &["gossip", "generate"],
        &["gossip", "generate", "--workload", "ring"],
        &["gossip", "generate", "--workload", "tree", "--value-size", "0"],
        &["gossip", "generate", "--workload", "tree", "--min-value-size", "9", "--value-size", "8"],
        &["gossip", "generate", "--workload", "tree", "--servers", "1"],
    ] {
        let refused = run(arguments, "");
        let why = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(64), "{arguments:?}: {why}");
        assert_eq!(why.lines().count(), 1, "{arguments:?}: {why}");
    }
}
