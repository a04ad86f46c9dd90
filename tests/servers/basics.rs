//! `servers` as a process: how it starts, what it refuses to start with, how it ends, and what it keeps.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process_support::client::Client;
use crate::process_support::cluster::free_port;
use crate::process_support::{LONG, Server, contents, converged, eventually, refused, three};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn storages(data: &Path) -> Vec<PathBuf> {
    (0..3).map(|i| data.join(i.to_string()).join("storage.txt")).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// It ends with this code, says one line on stderr that holds all of these words, and nothing on stdout.
#[track_caller]
fn assert_refused(arguments: &[&str], code: i32, words: &[&str]) {
    let output = refused(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?}: expected {word:?} in {stderr}");
    }
    assert!(output.stdout.is_empty(), "{arguments:?}: {:?}", output.stdout);
}

// What the modes show.

#[test]
fn it_says_where_its_replicas_are() {
    let data = folder();
    let server = three("sequential", data.path(), &["--init", "x=0"]);
    assert_eq!(server.places.len(), 3);
    assert_eq!(server.stdout().len(), 4, "{:?}", server.stdout());
    assert_eq!(server.stdout()[3], "ready");
    for (i, place) in server.places.iter().enumerate() {
        assert!(server.stdout()[i].starts_with(&format!("replica {i}: clients 127.0.0.1:")));
        assert_eq!(Path::new(&place.storage), storages(data.path())[i]);
        // Ready means ready: the initial value is there, and writes are taken.
        let mut client = Client::connect(place.clients);
        assert_eq!(client.text("x").as_deref(), Some("0"));
        assert_eq!(client.set("y", i.to_string()), "STORED");
    }
    server.stop();
}

#[test]
fn eventual_answers_at_once_and_reads_the_old_value() {
    let data = folder();
    let server = three("eventual", data.path(), &["--init", "x=0", "--write-delay", "700ms"]);
    let mut client = Client::connect(server.clients(0));
    let start = Instant::now();
    assert_eq!(client.set("x", "42"), "STORED");
    assert_eq!(client.text("x").as_deref(), Some("0"));
    assert!(start.elapsed() < Duration::from_millis(600), "{:?}", start.elapsed());
    for i in 0..3 {
        let mut client = Client::connect(server.clients(i));
        eventually("the write arrives", LONG, || (client.text("x")? == "42").then_some(()));
    }
    assert!(start.elapsed() >= Duration::from_millis(700), "{:?}", start.elapsed());
}

#[test]
fn sequential_answers_when_delivered_and_others_may_still_read_the_old_value() {
    let data = folder();
    let server = three("sequential", data.path(), &["--init", "x=0", "--write-delay", "700ms"]);
    let mut writer = Client::connect(server.clients(0));
    let mut reader = Client::connect(server.clients(1));
    let start = Instant::now();
    writer.send("set x 0 0 2\r\n42\r\n");
    assert_eq!(reader.text("x").as_deref(), Some("0"));
    assert!(start.elapsed() < Duration::from_millis(600), "{:?}", start.elapsed());
    assert_eq!(writer.line(), "STORED");
    assert!(start.elapsed() >= Duration::from_millis(700), "{:?}", start.elapsed());
    assert_eq!(writer.text("x").as_deref(), Some("42"));
    eventually("the write arrives", LONG, || (reader.text("x")? == "42").then_some(()));
}

// How it ends, and what it keeps.

#[test]
fn both_signals_end_it_within_a_second_also_while_clients_wait() {
    for signal in ["TERM", "INT"] {
        let data = folder();
        let mut server = three("sequential", data.path(), &["--write-delay", "20s"]);
        let mut waiting = Client::connect(server.clients(0));
        waiting.send("set k 0 0 1\r\nv\r\n");
        let mut other = Client::connect(server.clients(0));
        eventually("the write is under way", LONG, || {
            (other.stat("waiting_clients") == "1").then_some(())
        });
        let mut halfway = Client::connect(server.clients(1));
        halfway.send("set half 0 0 100\r\n");
        server.signal(signal);
        let start = Instant::now();
        let status = server.wait(LONG);
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        assert!(start.elapsed() < Duration::from_secs(1), "{signal}: {:?}", start.elapsed());
    }
}

#[test]
fn a_restart_keeps_the_data_under_every_sync_policy() {
    for policy in ["always", "batch", "os"] {
        let data = folder();
        let more = ["--sync", policy, "--init", "x=0"];
        let server = three("sequential", data.path(), &more);
        let mut client = Client::connect(server.clients(0));
        assert_eq!(client.set("x", "1"), "STORED");
        let binary: Vec<u8> = (0..=255).collect();
        assert_eq!(client.set("binary", &binary), "STORED");
        assert_eq!(client.set("gone", "soon"), "STORED");
        assert_eq!(client.ask("delete gone\r\n"), "DELETED");
        if policy == "always" {
            assert_ne!(client.stat("storage_syncs"), "0");
        }
        server.stop();
        // `x` is there, so its initial value is not written again.
        let server = three("sequential", data.path(), &more);
        for i in 0..3 {
            let mut client = Client::connect(server.clients(i));
            assert_eq!(client.text("x").as_deref(), Some("1"), "{policy}");
            assert_eq!(client.get("binary"), Some(binary.clone()), "{policy}");
            assert_eq!(client.get("gone"), None, "{policy}");
        }
        server.stop();
    }
}

#[test]
fn a_delivered_write_is_soon_in_the_file() {
    let data = folder();
    let server = three("sequential", data.path(), &[]);
    let mut client = Client::connect(server.clients(0));
    assert_eq!(client.set("seen", "here"), "STORED");
    // Its own replica has delivered it, so its file has it already; the others follow within 10 ms
    // (measured by hand; here is room for a busy machine).
    let own = fs::read_to_string(&storages(data.path())[0]).expect("the file");
    assert!(own.contains("seen\there\t"), "{own}");
    for storage in storages(data.path()) {
        eventually("the line is in the file", Duration::from_secs(2), || {
            fs::read_to_string(&storage).ok()?.contains("seen\there\t").then_some(())
        });
    }
}

#[test]
fn concurrent_writers_with_sync_always_leave_equal_stores() {
    let data = folder();
    let server = three("sequential", data.path(), &["--sync", "always"]);
    std::thread::scope(|scope| {
        for writer in 0..6 {
            let to = server.clients(writer % 3);
            scope.spawn(move || {
                let mut client = Client::connect(to);
                for n in 0..30 {
                    let (key, value) = (format!("{writer}-{n}"), format!("{n}"));
                    assert_eq!(client.set(&key, &value), "STORED");
                    assert_eq!(client.text(&key), Some(value));
                }
            });
        }
    });
    assert_eq!(converged(&storages(data.path()), LONG).len(), 180);
    server.stop();
}

#[test]
fn a_torn_tail_is_cut_off_and_a_damaged_middle_refused() {
    let data = folder();
    let server = three("sequential", data.path(), &[]);
    let mut client = Client::connect(server.clients(0));
    for n in 0..10 {
        assert_eq!(client.set(&format!("key{n}"), "value"), "STORED");
    }
    converged(&storages(data.path()), LONG);
    server.stop();

    let storage = &storages(data.path())[1];
    let whole = fs::read(storage).expect("the file");
    fs::write(storage, &whole[..whole.len() - 7]).expect("a torn file");
    let server = three("sequential", data.path(), &[]);
    let cut = server.said("cut off");
    assert_eq!(cut.len(), 1, "{:?}", server.stderr());
    assert!(cut[0].contains(text(storage)), "{cut:?}");
    // What was cut off comes back from the others.
    eventually("the write is back", LONG, || {
        (Client::connect(server.clients(1)).text("key9")? == "value").then_some(())
    });
    converged(&storages(data.path()), LONG);
    server.stop();

    let whole = fs::read(storage).expect("the file");
    let offset = whole.windows(5).position(|bytes| bytes == b"key4\t").expect("key4 is there");
    let line = 1 + whole[..offset].iter().filter(|byte| **byte == b'\n').count();
    let mut damaged = whole.clone();
    damaged[offset + 6] ^= 1;
    fs::write(storage, &damaged).expect("a damaged file");
    let arguments = ["--consistency=sequential", "--client-port", "0", "--broadcast-port", "0"];
    let arguments = [&arguments[..], &["--data", text(data.path())]].concat();
    let (line, offset) = (format!("line {line}"), format!("offset {offset}"));
    assert_refused(&arguments, 1, &["replica 1", text(storage), &line, &offset, "checksum"]);
    assert_eq!(fs::read(storage).expect("the file"), damaged, "it is left as it is");
}

// What it refuses to start with.

#[test]
fn wrong_usage_is_one_line_and_64() {
    assert_refused(
        &["--consistency=strict"],
        64,
        &["eventual", "sequential", "invalid value 'strict'"],
    );
    #[cfg(not(feature = "raft"))]
    assert_refused(&["--consistency=linearizable"], 64, &["linearizable", "not built"]);
    assert_refused(&[], 64, &["--consistency"]);
    let with = |more: &[&'static str]| [&["--consistency=eventual"], more].concat();
    for (more, words) in [
        (&["--replicas", "0"][..], &["1 to 128", "found 0"][..]),
        (&["--replicas", "-1"], &["-1"]),
        (&["--replicas", "129"], &["1 to 128", "found 129"]),
        (&["--only", "3"], &["--only", "0 to 2", "found 3"]),
        (&["--only", "1", "--broadcast-port", "0"], &["--only", "port 0"]),
        (&["--client-port", "65535"], &["65535"]),
        (&["--client-port", "70000"], &["70000"]),
        (&["--sync", "never"], &["always, batch or os", "never"]),
        (&["--write-delay", "soon"], &["5s", "soon"]),
        (&["--write-delay", "2days"], &["at most a day"]),
        (&["--init", "x"], &["KEY=VALUE"]),
        (&["--init", "=0"], &["--init", "1 to 250"]),
        (&["--max-value", "0"], &["1 to"]),
        (&["--frobnicate"], &["--frobnicate"]),
        (&["extra"], &["extra"]),
        (&["--cluster", "x.toml", "--replicas", "3"], &["--cluster", "--replicas"]),
    ] {
        assert_refused(&with(more), 64, words);
    }
}

#[test]
fn help_shows_an_example() {
    let output = refused(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(help.contains("Example") && help.contains("--consistency=sequential"), "{help}");
}

#[test]
fn a_wrong_cluster_file_is_one_line_with_its_place() {
    let data = folder();
    let file = data.path().join("cluster.toml");
    let one = "[[replica]]\nid = 0\nhost = \"127.0.0.1\"\nclient_port = 1\nbroadcast_port = 2\n";
    let arguments = ["--consistency=eventual", "--cluster", text(&file)];
    assert_refused(&arguments, 1, &[text(&file), "cannot read"]);
    for (contents, words) in [
        ("[[replica]\n".to_owned(), &[":1:"][..]),
        (format!("{one}colour = \"red\"\n"), &[":6:", "colour"]),
        (one.replace("id = 0", "id = \"zero\""), &[":2:"]),
        (one.replace("client_port = 1", "client_port = 65536"), &[":4:"]),
        (one.replace("client_port = 1\n", ""), &["client_port"]),
        (format!("{one}{one}"), &["ids 0 to 1", "found 0, 0"]),
        (one.replace("id = 0", "id = 1"), &["ids 0 to 0", "found 1"]),
        (String::new(), &["replica"]),
        ("replica = []\n".to_owned(), &["1 to 128", "found 0"]),
        ("\0\u{1}".to_owned(), &[":1:"]),
    ] {
        fs::write(&file, &contents).expect("the file");
        let output = refused(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_ne!(output.status.code(), Some(0), "{contents:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{contents:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{contents:?}: expected {word:?} in {stderr}");
        }
    }
}

#[test]
fn an_occupied_port_is_named_and_nothing_is_served() {
    for flag in ["--client-port", "--broadcast-port"] {
        let data = folder();
        // The port of replica 2: what was opened for 0 and 1 must not be served.
        let base = eventually("three free ports", LONG, || {
            let base = free_port();
            let free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
            (free(base + 1) && free(base + 2)).then_some(base)
        });
        let taken = std::net::TcpListener::bind(("127.0.0.1", base + 2)).expect("free just now");
        let other = ["--client-port", "--broadcast-port"].into_iter().find(|f| *f != flag);
        let (port, base) = ((base + 2).to_string(), base.to_string());
        let arguments = ["--consistency=sequential", "--data", text(data.path()), flag, &base];
        let arguments = [&arguments[..], &[other.expect("the other"), "0"]].concat();
        assert_refused(&arguments, 1, &["replica 2", "cannot listen", &port]);
        assert_eq!(fs::read_dir(data.path()).expect("the folder").count(), 0, "nothing is left");
        drop(taken);
    }
}

#[test]
fn a_folder_that_is_a_file_or_in_use_is_refused() {
    let data = folder();
    let file = data.path().join("file");
    fs::write(&file, "not a folder").expect("a file");
    let ports = ["--consistency=sequential", "--client-port", "0", "--broadcast-port", "0"];
    let arguments = [&ports[..], &["--data", text(&file)]].concat();
    assert_refused(&arguments, 1, &["replica 0", text(&file)]);

    let shared = data.path().join("shared");
    let server = three("sequential", &shared, &[]);
    let arguments = [&ports[..], &["--data", text(&shared)]].concat();
    assert_refused(&arguments, 1, &["replica 0", "in use by another process"]);
    server.stop();

    fs::write(shared.join("0").join("storage.txt"), "my diary\n").expect("another file");
    assert_refused(&arguments, 1, &["replica 0", "not a storage file", "my diary"]);
}

/// A small file system of its own; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Result<Self, String> {
        let mount = ["-t", "tmpfs", "-o", "size=256k", "tmpfs", text(at)];
        let output = Command::new("mount").args(mount).output().map_err(|e| e.to_string())?;
        if output.status.success() {
            Ok(Self(at.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_the_replica_with_one_line_and_no_false_answer() {
    let data = folder();
    let full = data.path().join("1");
    fs::create_dir(&full).expect("a folder");
    let disk = match SmallDisk::mount(&full) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped: a small tmpfs cannot be mounted here: {why}"),
    };
    let more = ["--write-timeout", "300ms"];
    let server = three("sequential", data.path(), &more);
    let mut writer = Client::connect(server.clients(1));
    let value = vec![b'v'; 10_000];
    let mut stored = Vec::new();
    for n in 0.. {
        assert!(n < 100, "the disk has room for less");
        let key = format!("key{n}");
        // At the full disk the connection ends: the outcome is not known.
        match writer.try_set(&key, &value) {
            Ok(reply) if reply == "STORED" => stored.push(key),
            Ok(reply) => {
                assert_eq!(reply, "");
                break;
            }
            Err(_) => break,
        }
    }
    assert!(stored.len() > 5, "{stored:?}");
    let said = eventually("the replica says why", LONG, || server.said("ERROR").pop());
    assert!(said.contains("replica 1") && said.contains("storage.txt"), "{said}");
    assert_eq!(server.said("storage.txt").len(), 1, "{:?}", server.stderr());
    eventually("nobody listens for replica 1", LONG, || {
        let refused = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
        Client::try_connect(server.clients(1)).err().filter(refused)
    });
    // The others answer reads, and hold what was stored.
    let mut other = Client::connect(server.clients(0));
    for key in &stored {
        eventually("a stored value arrives", LONG, || other.get(key).filter(|v| *v == value));
    }
    assert_eq!(other.set("k", "v"), "SERVER_ERROR timeout, outcome unknown");
    server.stop();
    // What was answered is on the full disk.
    let (_, entries) = contents(&full.join("storage.txt"));
    for key in &stored {
        assert!(entries.iter().any(|entry| entry.starts_with(&format!("{key} = "))), "{key}");
    }
    drop(disk);
}

#[test]
fn a_process_whose_replicas_have_all_failed_ends_with_an_error() {
    let data = folder();
    let _disk = match SmallDisk::mount(data.path()) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped: a small tmpfs cannot be mounted here: {why}"),
    };
    let mut server = three("eventual", data.path(), &[]);
    // Eventual writes are noted at once, so each replica runs into the full disk by itself.
    let mut value = vec![b'v'; 10_000];
    for i in 0..3 {
        let Ok(mut writer) = Client::try_connect(server.clients(i)) else { continue };
        for n in 0..2000 {
            match writer.try_set(&format!("key{n}"), &value) {
                Ok(reply) if reply == "STORED" => {}
                _ => break,
            }
        }
        // The next fills what too long a line has left.
        value.truncate(10);
    }
    let status = server.wait(LONG);
    assert_eq!(status.code(), Some(1), "{status}: {:?}", server.stderr());
    assert_eq!(server.said("no replica is left").len(), 1, "{:?}", server.stderr());
}

#[test]
fn it_stops_while_it_waits_for_others_that_never_come() {
    let data = folder();
    let (clients, broadcast) = (free_port().to_string(), free_port().to_string());
    let arguments = ["--consistency=sequential", "--only", "2", "--data", text(data.path())];
    let ports = ["--client-port", &clients, "--broadcast-port", &broadcast];
    let server = Server::start(&[&arguments[..], &ports[..]].concat());
    let mut client = Client::connect(server.clients(0));
    assert_eq!(client.stat("live"), "0");
    let (status, took) = server.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(1), "{took:?}");
}
