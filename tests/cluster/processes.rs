//! The cluster's client against real processes: killed under load, stopped in their tracks, started elsewhere.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::process_support::{LONG, Server, eventually};
use consistency_lab::client::catalog::Catalog;
use consistency_lab::client::cluster::{ClusterClient, ClusterConfig, Event, Locate};
use consistency_lab::client::routing::Retry;
use consistency_lab::client::{ClientError, Options};
use serde_json::value::RawValue;

/// Waits until it says where it listens; gives the port.
fn port_of(server: &Server) -> u16 {
    eventually("it listens", LONG, || {
        let lines = server.stdout();
        let port = lines.iter().find_map(|line| line.strip_prefix("Listening on port "))?;
        Some(port.trim().parse().expect("a port"))
    })
}

/// Three hash tables and a catalog, each a process.
struct Cluster {
    folder: tempfile::TempDir,
    catalog: String,
    _catalog: Server,
    servers: Vec<Option<Server>>,
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = Server::spawn(&["catalog", "--port", "0"]);
        let address = format!("127.0.0.1:{}", port_of(&catalog));
        let mut cluster = Self { folder, catalog: address, _catalog: catalog, servers: Vec::new() };
        cluster.servers.extend([None, None, None]);
        (0..3).for_each(|index| cluster.start_one(index));
        cluster
    }

    /// On a port of the system's choice, with what it had before.
    fn start_one(&mut self, index: usize) {
        let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let (name, dir) = (format!("t-{index}"), path(&self.folder.path().join(index.to_string())));
        let arguments = ["cluster", &name, "--dir", &dir, "--catalog", &self.catalog];
        let server = Server::spawn(&arguments);
        port_of(&server);
        self.servers[index] = Some(server);
    }

    fn kill(&mut self, index: usize) {
        self.servers[index].take().expect("it runs").kill();
    }

    fn signal(&self, index: usize, name: &str) {
        self.servers[index].as_ref().expect("it runs").signal(name);
    }

    /// A client with two copies of each key.
    fn client(&self, timeout: Duration) -> ClusterClient {
        ClusterClient::new(ClusterConfig {
            name: "t".to_owned(),
            servers: 3,
            copies: 2,
            locate: Locate::Catalog(Catalog::new(&self.catalog)),
            retry: Retry { wait: Duration::from_millis(20), give_up_after: None },
            options: Options { connect_timeout: timeout, timeout },
        })
        .expect("1 <= K <= N")
    }
}

fn json(text: &str) -> Box<RawValue> {
    serde_json::from_str(text).expect("JSON")
}

/// What one server says, asked until it says something.
fn on_server(client: &mut ClusterClient, index: usize, key: &str) -> Option<String> {
    let found = eventually("it answers", LONG, || {
        let asked: Result<_, ClientError> =
            client.server(index).and_then(|server| server.lookup(key));
        asked.ok()
    });
    found.map(|value| value.get().to_owned())
}

#[test]
fn a_server_killed_under_load_holds_up_only_its_writes_and_loses_none() {
    const WRITERS: usize = 3;
    const WRITES: usize = 200;
    let mut cluster = Cluster::start();
    let mut reader = cluster.client(LONG);
    let constant: Vec<String> = (0..12).map(|n| format!("constant{n}")).collect();
    constant.iter().for_each(|key| reader.insert(key, &json("1")).expect("written"));

    let (written, waiting) = (AtomicUsize::new(0), std::sync::Arc::new(AtomicUsize::new(0)));
    let (reads, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let mut client = cluster.client(LONG);
            let (written, waits) = (&written, std::sync::Arc::clone(&waiting));
            client.observe(move |event: &Event| {
                if matches!(event, Event::Away { wait: Some(_), .. }) {
                    waits.fetch_add(1, Ordering::Relaxed);
                }
            });
            scope.spawn(move || {
                for n in 0..WRITES {
                    let value = json(&n.to_string());
                    client.insert(&format!("w{writer}-{n}"), &value).expect("never gives up");
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (reads, done) = (&reads, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                for key in &constant {
                    let found = reader.lookup(key).expect("never gives up");
                    assert_eq!(found.expect("it is there").get(), "1");
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let at_least = |what: &AtomicUsize, least: usize| {
            (what.load(Ordering::Relaxed) >= least).then_some(())
        };
        eventually("writes come through", LONG, || at_least(&written, 60));
        cluster.kill(1);
        eventually("every writer meets it", LONG, || at_least(&waiting, WRITERS));
        let before = reads.load(Ordering::Relaxed);
        eventually("reads go on", LONG, || at_least(reads, before + 100));
        cluster.start_one(1);
        eventually("all is written", LONG, || at_least(&written, WRITERS * WRITES));
        done.store(true, Ordering::Relaxed);
    });

    let mut client = cluster.client(LONG);
    for writer in 0..WRITERS {
        for n in 0..WRITES {
            let key = format!("w{writer}-{n}");
            for index in client.copies_of(&key) {
                let found = on_server(&mut client, index, &key);
                assert_eq!(found, Some(n.to_string()), "{key} on server {index}");
            }
        }
    }
    assert_eq!(client.scan("^w").expect("found").len(), WRITERS * WRITES);
}

#[test]
fn a_server_that_is_stopped_in_its_tracks_is_read_around_and_written_when_it_goes_on() {
    let cluster = Cluster::start();
    let timeout = Duration::from_millis(500);
    let mut client = cluster.client(timeout);
    let keys: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    keys.iter().for_each(|key| client.insert(key, &json("1")).expect("written"));
    cluster.signal(1, "STOP");
    for key in &keys {
        assert_eq!(client.lookup(key).expect("an answer").expect("there").get(), "1");
    }
    for key in keys.iter().filter(|key| !client.copies_of(key).contains(&1)).collect::<Vec<_>>() {
        client.insert(key, &json("2")).expect("not affected");
    }
    let affected = keys.iter().find(|key| client.copies_of(key)[1] == 1).expect("one of thirty");
    // What a client has told once it does not tell again; this one has told nothing.
    let mut client = cluster.client(timeout);
    let (waits, is_waiting) = crossbeam_channel::unbounded();
    client.observe(move |event: &Event| {
        if let Event::Away { server, wait: Some(_), .. } = event {
            let _ = waits.send(server.clone());
        }
    });
    thread::scope(|scope| {
        let client = &mut client;
        let writer = scope.spawn(move || client.insert(affected, &json("3")));
        assert_eq!(is_waiting.recv_timeout(LONG).as_deref(), Ok("t-1"));
        assert!(!writer.is_finished());
        cluster.signal(1, "CONT");
        writer.join().expect("no panic").expect("written at last");
    });
    for index in client.copies_of(affected) {
        assert_eq!(on_server(&mut client, index, affected).as_deref(), Some("3"));
    }
}
