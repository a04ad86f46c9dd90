//! `servers --history`: what is in the file, and what is in it after a kill, on a full disk, after a restart.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::process_support::client::Client;
use crate::process_support::{LONG, Server, eventually, refused, three};
use consistency_lab::base::ReplicaId;
use consistency_lab::history::{Action, History, Operation, Outcome, ValueId, formats};

fn read(path: &Path) -> History {
    let file = File::open(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    formats::read_any(&mut BufReader::new(file), "history", None)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn recorded(mode: &str, folder: &Path, more: &[&str]) -> (Server, std::path::PathBuf) {
    let file = folder.join("history.jsonl");
    let mut arguments = vec!["--history", file.to_str().expect("a path in UTF-8")];
    arguments.extend(more);
    (three(mode, &folder.join("data"), &arguments), file)
}

/// The operations of a process in words.
fn operations(history: &History, process: &str) -> Vec<String> {
    let of = |operation: &&Operation| history.process(operation.process) == process;
    let words = history.operations.iter().filter(of).map(|operation| {
        let key = history.key(operation.key);
        let action = match operation.action {
            Action::Read(value) => format!("read {key} {}", history.value(value)),
            Action::Write(value) => format!("write {key} {}", history.value(value)),
            Action::Append(value) => format!("append {key} {}", history.value(value)),
            Action::Cas { from, to, .. } => {
                format!("cas {key} {} {}", history.value(from), history.value(to))
            }
            Action::Other(name) => format!("{} {key}", history.value(name)),
        };
        format!("{action} {:?}", operation.outcome)
    });
    words.collect()
}

/// What must hold of every recorded history: times agree with the order, and a value that was read has
/// been written before the end of the read, or was there at the beginning.
#[track_caller]
fn assert_sound(history: &History) {
    let mut written = HashSet::new();
    for (key, value) in &history.initial {
        written.insert((*key, *value));
    }
    let mut last = 0;
    for operation in &history.operations {
        assert!(operation.invoked_at >= last, "sorted by time");
        last = operation.invoked_at;
        assert!(operation.completed_at.is_none_or(|end| end > operation.invoked_at));
        assert!(operation.replica.is_some());
        if let Action::Write(value) = operation.action {
            written.insert((operation.key, value));
        }
    }
    for operation in &history.operations {
        if let Some(value) = operation.read().filter(|value| *value != ValueId::NIL) {
            let text = history.value(value);
            assert!(written.contains(&(operation.key, value)), "{text} was read and never written");
        }
    }
}

#[test]
fn what_clients_ask_and_are_told_is_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let more = ["--init", "x=0", "--history-deliveries", "all"];
    let (server, file) = recorded("sequential", folder.path(), &more);
    let mut one = Client::connect(server.clients(0));
    assert_eq!(one.set("x", "1"), "STORED");
    assert_eq!(one.text("x").as_deref(), Some("1"));
    assert_eq!(one.get("none"), None);
    assert_eq!(one.ask("add x 0 0 1\r\n2\r\n"), "NOT_STORED");
    assert_eq!(one.ask("incr x 4\r\n"), "5");
    assert_eq!(one.ask("append x 0 0 1\r\n1\r\n"), "STORED");
    assert_eq!(one.ask("delete x\r\n"), "DELETED");
    assert_eq!(one.ask("delete x\r\n"), "NOT_FOUND");
    assert_eq!(one.ask("set t 0 60 1\r\n1\r\n"), "STORED");
    let mut two = Client::connect(server.clients(2));
    assert_eq!(two.set("a", "1"), "STORED");
    assert_eq!(two.lines("get a t\r\n", 5)[4], "END");
    two.send("set p 0 0 1 noreply\r\n1\r\nset q 0 0 1\r\n2\r\n");
    assert_eq!(two.line(), "STORED");
    server.stop();

    let history = read(&file);
    assert_eq!(history.claim.as_deref(), Some("sequential"));
    assert_eq!(history.initial.len(), 1);
    assert_eq!(history.value(history.initial[0].1), "0");
    assert_eq!(
        operations(&history, "r0c0"),
        [
            "write x 1 Ok",
            "read x 1 Ok",
            "read none nil Ok",
            "write x 2 Fail",
            "cas x 1 5 Ok",
            "append x 1 Ok",
            "write x nil Ok",
            "write x nil Fail",
            "set with expiry t Ok",
        ]
    );
    assert_eq!(operations(&history, "r2c0")[..2], ["write a 1 Ok", "read a 1 Ok"]);
    assert_eq!(operations(&history, "r2c0+1")[0], "read t 1 Ok", "a key of several has a lane");
    let both = [operations(&history, "r2c0"), operations(&history, "r2c0+1")].concat();
    for pipelined in ["write p 1 Ok", "write q 2 Ok"] {
        assert!(both.iter().any(|operation| operation == pipelined), "{both:?}");
    }
    let orders: Vec<Vec<_>> = (0..3)
        .map(|replica| {
            let of = history.deliveries.iter().filter(|d| d.replica == ReplicaId(replica));
            of.map(|d| (d.key, d.value)).collect()
        })
        .collect();
    // The last writes were answered by replica 2; the others may have less when they are stopped.
    assert!(orders[2].len() >= 7);
    for order in &orders {
        assert!(orders[2].starts_with(order), "one order, of which the others may have less");
    }
}

/// Clients that write values of their own, and read, until the server is gone.
fn load(to: std::net::SocketAddr, client: u64, done: &AtomicU64) {
    let mut connection = Client::connect(to);
    for n in 0.. {
        let key = format!("k{}", n % 7);
        let written = connection.try_set(&key, format!("{client}:{n}"));
        if !written.is_ok_and(|line| line == "STORED") {
            return;
        }
        if connection.try_send(format!("get {key}\r\n")).is_err() {
            return;
        }
        loop {
            match connection.try_line().as_deref() {
                Ok("END") => break,
                // The server is gone.
                Ok("") | Err(_) => return,
                Ok(_) => {}
            }
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_killed_server_leaves_a_prefix_of_the_history() {
    for mode in ["eventual", "sequential"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (server, file) = recorded(mode, folder.path(), &[]);
        let done = AtomicU64::new(0);
        thread::scope(|scope| {
            for client in 0..6 {
                let (to, done) = (server.clients(client as usize % 3), &done);
                scope.spawn(move || load(to, client, done));
            }
            let busy = || (done.load(Ordering::Relaxed) > 3000).then_some(());
            eventually("the clients have done much", LONG, busy);
            server.kill();
        });
        let history = read(&file);
        assert_sound(&history);
        assert!(history.deliveries.iter().all(|delivery| delivery.replica == ReplicaId(0)));
        assert_eq!(history.deliveries.is_empty(), mode == "eventual", "it has no one order");
        let mut open: HashMap<_, u32> = HashMap::new();
        for operation in &history.operations {
            if operation.completed_at.is_none() {
                assert_eq!(operation.outcome, Outcome::Unknown);
                *open.entry(operation.process).or_default() += 1;
            }
        }
        assert!(open.values().all(|count| *count == 1), "what was under way is open");
        assert!(history.operations.len() > 2000, "{}", history.operations.len());
    }
}

#[test]
fn a_history_that_cannot_be_written_ends_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let full = folder.path().join("history.jsonl");
    // The header is written at once, so a disk that is full from the start is told at the start.
    std::os::unix::fs::symlink("/dev/full", &full).expect("a link");
    let path = full.to_str().expect("a path in UTF-8");
    let data = folder.path().join("data");
    let data = data.to_str().expect("a path in UTF-8");
    let output = refused(&[
        "--consistency=eventual",
        "--client-port=0",
        "--broadcast-port=0",
        "--data",
        data,
        "--history",
        path,
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot write the history"), "{stderr}");
    assert!(Path::new("/dev/full").exists());
}

#[test]
fn a_new_run_replaces_the_file_and_begins_with_what_the_stores_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, file) = recorded("sequential", folder.path(), &["--init", "x=0"]);
    Client::connect(server.clients(1)).set("y", b"\xff\\");
    server.stop();
    let (server, _) = recorded("sequential", folder.path(), &["--init", "x=0"]);
    assert_eq!(Client::connect(server.clients(1)).text("x").as_deref(), Some("0"));
    server.stop();
    let history = read(&file);
    let initial: Vec<(&str, &str)> =
        history.initial.iter().map(|(k, v)| (history.key(*k), history.value(*v))).collect();
    assert_eq!(initial, [("x", "0"), ("y", r"\xff\\")]);
    assert_eq!(operations(&history, "r1c0"), ["read x 0 Ok"]);
    assert_eq!(history.operations.len(), 1, "nothing of the run before");

    let (server, _) = recorded("sequential", folder.path(), &[]);
    Client::connect(server.clients(0)).ask("set z 0 3600 1\r\n1\r\n");
    server.stop();
    let data = folder.path().join("data");
    let arguments = ["--consistency=sequential", "--client-port=0", "--broadcast-port=0", "--data"];
    let rest = [data.to_str().expect("text"), "--history", file.to_str().expect("text")];
    let output = refused(&[&arguments[..], &rest].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("vanishes at a time of its own (key z)"), "{stderr}");
}

#[test]
fn a_part_of_a_history_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("h");
    let arguments = ["--consistency=sequential", "--only=1", "--history"];
    let output = refused(&[&arguments[..], &[file.to_str().expect("text")]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("--history with --only"), "{stderr}");
    assert!(!fs::exists(&file).expect("a folder"));
}

#[test]
fn a_history_that_outgrows_the_disk_is_set_aside_and_the_servers_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (folder.path().join("history.jsonl"), folder.path().join("data"));
    // No file may be longer than 256 KiB; reads make the history grow and nothing else.
    let mut child = Command::new("sh")
        .args([
            "-c",
            "ulimit -f 512; trap '' XFSZ; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_servers"),
        ])
        .args(["--consistency=sequential", "--client-port=0", "--broadcast-port=0", "--history"])
        .args([&file, Path::new("--data"), &data])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh is there");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    let address = first.split(&[' ', ','][..]).nth(3).expect("an address").to_owned();
    assert!(lines.any(|line| line.expect("text") == "ready"));
    let mut client = Client::connect(address.parse().expect("HOST:PORT"));
    let incomplete = folder.path().join("history.jsonl.incomplete");
    eventually("the history is set aside", LONG, || {
        client.send("get x\r\n".repeat(100));
        (0..100).for_each(|_| assert_eq!(client.line(), "END"));
        incomplete.exists().then_some(())
    });
    assert!(!file.exists());
    assert_eq!(client.set("x", "1"), "STORED");
    assert_eq!(client.text("x").as_deref(), Some("1"));
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("sh").success());
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("recording has ended, what came before is in "), "{stderr}");
    let history = read(&incomplete);
    assert_sound(&history);
    assert!(history.operations.len() > 500);
}
