//! `kvstore2pcsystem` from outside: its arguments and files, and what clients of `mode server` see.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process_support::client::Client;
use crate::process_support::{LONG, Server, ends, eventually, kvstore};
use tempfile::TempDir;

/// Servers that name each other, and their files.
struct Servers {
    folder: TempDir,
    addresses: Vec<SocketAddr>,
    running: Vec<Server>,
}

/// Ports that are free now. Someone else may take one before it is used.
fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("an address")).collect()
}

fn write_file(path: &Path, own: SocketAddr, peers: &[SocketAddr]) {
    let mut text = format!("! A server of a test.\nmode server\nserver_info {own}\n");
    for peer in peers.iter().filter(|peer| **peer != own) {
        text.push_str(&format!("peer_info {peer}\n"));
    }
    std::fs::write(path, text).expect("it can be written");
}

impl Servers {
    /// So many servers, each with a folder for its data if `durable`.
    fn start(count: usize, durable: bool) -> Servers {
        for _ in 0..20 {
            let folder = tempfile::tempdir().expect("a folder");
            let addresses = free_addresses(count);
            for (i, own) in addresses.iter().enumerate() {
                write_file(&folder.path().join(format!("{i}.conf")), *own, &addresses);
            }
            let mut servers = Servers { folder, addresses, running: Vec::new() };
            match (0..count).try_for_each(|i| servers.begin(i, durable)) {
                Ok(()) => return servers,
                Err(why) => assert!(why.contains("cannot listen"), "{why}"),
            }
        }
        panic!("no ports that stay free");
    }

    fn begin(&mut self, i: usize, durable: bool) -> Result<(), String> {
        let folder = self.folder.path();
        let text = |name: String| folder.join(name).to_str().expect("a path in UTF-8").to_owned();
        let (file, data, temporary) =
            (text(format!("{i}.conf")), text(format!("data-{i}")), text(format!("temporary-{i}")));
        let mut arguments = vec!["--config_path", &file];
        if durable {
            arguments.extend(["--data", &data]);
        }
        std::fs::create_dir_all(&temporary).map_err(|error| error.to_string())?;
        let mut program = kvstore(&arguments);
        self.running.push(Server::try_start_program(program.env("TMPDIR", temporary))?);
        Ok(())
    }

    fn client(&self, i: usize) -> Client {
        Client::connect(self.addresses[i])
    }
}

/// A request as clients send it.
fn request(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len());
    for word in words {
        out.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    out.into_bytes()
}

/// Reads an array of strings, or another reply as its line.
fn reply(client: &mut Client) -> String {
    let line = client.line();
    let Some(count) = line.strip_prefix('*') else { return line };
    let words: Vec<String> = (0..count.parse().expect("a count"))
        .map(|_| {
            let length = client.line();
            let word = client.line();
            assert_eq!(length, format!("${}", word.len()));
            word
        })
        .collect();
    words.join(" ")
}

fn ask(client: &mut Client, words: &[&str]) -> String {
    client.send(request(words));
    reply(client)
}

/// Waits until a server shows this value.
fn shows(client: &mut Client, key: &str, value: &str) {
    eventually(&format!("{key} is {value}"), LONG, || {
        (ask(client, &["GET", key]) == value).then_some(())
    });
}

/// All that comes until the server closes.
fn rest(client: &Client) -> String {
    let mut all = Vec::new();
    match (&mut client.stream()).read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn what_is_stored_at_one_server_is_found_at_the_others() {
    let servers = Servers::start(3, false);
    let mut clients: Vec<Client> = (0..3).map(|i| servers.client(i)).collect();
    assert_eq!(ask(&mut clients[0], &["GET", "CS06142"]), "nil");
    assert_eq!(ask(&mut clients[0], &["SET", "CS06142", "Cloud", "Computing"]), "+OK");
    for client in &mut clients {
        shows(client, "CS06142", "Cloud Computing");
    }
    // The document's bytes.
    let mut bytes = [0; 30];
    clients[1].send("*2\r\n$3\r\nGET\r\n$7\r\nCS06142\r\n");
    clients[1].stream().read_exact(&mut bytes).expect("the value");
    assert_eq!(&bytes, b"*2\r\n$5\r\nCloud\r\n$9\r\nComputing\r\n");
    assert_eq!(ask(&mut clients[2], &["DEL", "CS06142", "CS162"]), ":1");
    assert_eq!(ask(&mut clients[2], &["DEL", "CS06142", "CS162"]), ":0");
    for client in &mut clients {
        shows(client, "CS06142", "nil");
    }
    // Keys may be longer than memcached's, and empty; strings may be anything.
    let long = "k".repeat(100_000);
    for (key, value) in [(long.as_str(), "v"), ("", ""), ("a b", "*1 $3 nil"), ("x", "\t\u{1}ü")] {
        assert_eq!(ask(&mut clients[0], &["SET", key, value]), "+OK");
        shows(&mut clients[1], key, value);
    }
    assert_eq!(ask(&mut clients[0], &["SET", &"k".repeat(1024 * 1024 + 1), "v"]), "-ERROR");
    for server in servers.running {
        assert!(server.said("panicked").is_empty());
        server.stop();
    }
}

#[test]
fn bytes_may_come_in_any_pieces_and_the_replies_keep_their_order() {
    let servers = Servers::start(1, false);
    let mut client = servers.client(0);
    for byte in [request(&["SET", "k", "a", "b"]), request(&["GET", "k"])].concat() {
        client.send([byte]);
    }
    assert_eq!((reply(&mut client), reply(&mut client)), ("+OK".to_owned(), "a b".to_owned()));

    let mut all = Vec::new();
    for i in 0..1000 {
        all.extend(request(&["SET", "n", &i.to_string()]));
        all.extend(request(&["GET", "n"]));
        all.extend(request(&["set", "n", "wrong"]));
    }
    all.extend(request(&["DEL", "n", "k", "n", "m"]));
    client.send(all);
    for i in 0..1000 {
        assert_eq!(reply(&mut client), "+OK");
        assert_eq!(reply(&mut client), i.to_string());
        assert_eq!(reply(&mut client), "-ERROR");
    }
    assert_eq!(reply(&mut client), ":2");

    // As `printf … | nc` does: all is sent, nothing more will come, and the reply still does.
    let mut client = servers.client(0);
    client.send([request(&["SET", "k", "v"]), request(&["GET", "k"])].concat());
    client.stream().shutdown(Shutdown::Write).expect("half of it closes");
    assert_eq!(rest(&client), "+OK\r\n*1\r\n$1\r\nv\r\n");
}

#[test]
fn wrong_commands_are_errors_and_wrong_bytes_end_the_connection() {
    let servers = Servers::start(1, false);
    let mut client = servers.client(0);
    for words in [
        &["set", "k", "v"][..],
        &["Get", "k"],
        &["SET", "k"],
        &["GET"],
        &["GET", "a", "b"],
        &["DEL"],
        &["PING"],
        &["COMMAND", "DOCS"],
        &["CLIENT", "SETINFO", "LIB-NAME", "x"],
    ] {
        assert_eq!(ask(&mut client, words), "-ERROR", "{words:?}");
    }
    // The connection has gone on.
    assert_eq!(ask(&mut client, &["SET", "k", "v"]), "+OK");
    // 600 MB are too much; they are skipped when they come.
    client.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$600000000\r\n");
    assert_eq!(reply(&mut client), "-ERROR");
    for bytes in ["GET k\r\n", "*1\r\n:5\r\n", "*1\r\n$x\r\n", "config\r\n", "\r\n", "c\r\n"] {
        let mut client = servers.client(0);
        client.send(bytes);
        assert_eq!(rest(&client), "-ERROR\r\n", "{bytes:?}");
    }
    assert!(servers.running[0].said("panicked").is_empty());
}

#[test]
fn it_ends_within_a_second_and_takes_its_store_along() {
    let mut servers = Servers::start(3, false);
    let temporary = servers.folder.path().join("temporary-0");
    let stores = || std::fs::read_dir(&temporary).expect("it is there").count();
    assert_eq!(stores(), 1);
    // A client that says nothing, and one that is in the middle of a request.
    let _silent = servers.client(0);
    let mut slow = servers.client(0);
    slow.send("*2\r\n$3\r\nGET\r\n");
    let (status, time) = servers.running.remove(0).terminate();
    assert_eq!(status.code(), Some(0));
    assert!(time < Duration::from_secs(1), "{time:?}");
    assert_eq!(stores(), 0);

    // What a killed one leaves, the next one takes away.
    servers.begin(0, false).expect("the port is free again");
    servers.running.pop().expect("it runs").kill();
    assert_eq!(stores(), 1);
    servers.begin(0, false).expect("the port is free again");
    assert_eq!(stores(), 1);
    servers.running.pop().expect("it runs").stop();
    assert_eq!(stores(), 0);
}

#[test]
fn with_data_all_of_them_may_stop_and_come_back() {
    let mut servers = Servers::start(3, true);
    assert_eq!(ask(&mut servers.client(1), &["SET", "k", "kept", "for", "ever"]), "+OK");
    for server in servers.running.drain(..) {
        server.stop();
    }
    for i in 0..3 {
        servers.begin(i, true).expect("the port is free again");
    }
    assert_eq!(ask(&mut servers.client(1), &["GET", "k"]), "kept for ever");
}

#[test]
fn servers_with_other_addresses_in_their_files_do_not_mix() {
    let folder = tempfile::tempdir().expect("a folder");
    let begin = |addresses: &[SocketAddr]| {
        // The first two know each other and do not agree who is the third.
        let start = |own: usize, third: usize| {
            let path = folder.path().join(format!("{own}.conf"));
            let peers = [addresses[0], addresses[1], addresses[third]];
            write_file(&path, addresses[own], &peers);
            let path = path.to_str().expect("a path in UTF-8");
            Server::try_start_program(&mut kvstore(&["--config_path", path]))
        };
        Ok::<_, String>((start(0, 2)?, start(1, 3)?))
    };
    let (one, other) = (0..20)
        .find_map(|_| match begin(&free_addresses(4)) {
            Ok(both) => Some(both),
            Err(why) => {
                assert!(why.contains("cannot listen"), "{why}");
                None
            }
        })
        .expect("ports that stay free");
    eventually("one of them says what is wrong", LONG, || {
        let said = [one.said("greets as"), other.said("greets as")].concat();
        said.iter().any(|line| line.contains("addresses ")).then_some(())
    });
}

#[test]
fn usage_and_files_are_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.conf");
    std::fs::write(&file, "mode server\nserver_info nowhere\n").expect("it can be written");
    let coordinator = folder.path().join("coordinator.conf");
    std::fs::write(&coordinator, "mode coordinator\ncoordinator_info h:1\nparticipant_info h:2\n")
        .expect("it can be written");
    let (file, coordinator) = (file.to_str().expect("UTF-8"), coordinator.to_str().expect("UTF-8"));
    for (arguments, words) in [
        (&[][..], "--config_path <FILE>"),
        (&["--config_path"], "a value is required"),
        (&["--config_path", "no/such/file"], "cannot read the configuration file no/such/file"),
        (&["--config_path", file], "wrong.conf:2: expected server_info to be HOST:PORT"),
        (&["--config-path", file], "wrong.conf:2: expected server_info to be HOST:PORT"),
        (&["--config_path", coordinator, "--data", "x"], "the coordinator keeps nothing"),
        (&["--config_path", file, "--no-such"], "unexpected argument"),
    ] {
        let output = ends(&mut kvstore(arguments));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(words), "{said}");
        assert!(output.stdout.is_empty());
    }
    let help = ends(&mut kvstore(&["--help"]));
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(text.contains("kvstore2pcsystem --config_path scripts/2pc/coordinator.conf"), "{text}");
}

#[test]
fn a_port_that_is_taken_is_an_error_of_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let own = listener.local_addr().expect("an address");
    let file = folder.path().join("server.conf");
    write_file(&file, own, &[]);
    let output = ends(&mut kvstore(&["--config_path", file.to_str().expect("UTF-8")]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot listen on"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn the_sample_files_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/2pc");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the samples are there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            let config = consistency_lab::labs::two_phase::Config::load(&path);
            assert!(config.is_ok(), "{config:?}");
            count += 1;
        }
    }
    assert_eq!(count, 7);
}

#[test]
fn redis_cli_asks_plain_commands() {
    if Command::new("redis-cli").arg("--version").output().is_err() {
        eprintln!("SKIP  redis-cli is not installed");
        return;
    }
    let servers = Servers::start(1, false);
    let port = servers.addresses[0].port().to_string();
    let cli = |words: &[&str]| {
        let output = ends(Command::new("redis-cli").args(["-p", &port]).args(words));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(cli(&["SET", "a", "b"]), "OK");
    assert_eq!(cli(&["GET", "a"]), "b");
    assert_eq!(cli(&["DEL", "a"]), "1");
    assert_eq!(cli(&["GET", "a"]), "nil");
    assert_eq!(cli(&["get", "a"]), "ERROR");
    // Typed at its prompt.
    let mut child = Command::new("redis-cli")
        .args(["-p", &port])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut typed = child.stdin.take().expect("piped");
    typed.write_all(b"SET a \"Cloud Computing\" x\nGET a\n").expect("it reads");
    drop(typed);
    let output = child.wait_with_output().expect("its output");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "OK\nCloud Computing\nx\n");
}

#[test]
fn values_of_many_megabytes_come_back_whole() {
    let servers = Servers::start(1, false);
    let mut client = servers.client(0);
    let value = vec![b'v'; 20 * 1024 * 1024];
    let head = format!("*4\r\n$3\r\nSET\r\n$3\r\nbig\r\n$1\r\na\r\n${}\r\n", value.len());
    let start = Instant::now();
    client.send(head).send(&value).send("\r\n");
    assert_eq!(reply(&mut client), "+OK");
    client.send(request(&["GET", "big"]));
    assert_eq!(client.line(), "*2");
    assert_eq!((client.line(), client.line()), ("$1".to_owned(), "a".to_owned()));
    assert_eq!(client.line(), format!("${}", value.len()));
    assert!(client.line().as_bytes() == value);
    assert!(start.elapsed() < LONG);
}
