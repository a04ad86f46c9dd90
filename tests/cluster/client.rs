//! The cluster's client against real servers in this process: where copies go, and what it does when servers
//! die, hang, and come back elsewhere.

#![allow(clippy::unwrap_used, reason = "a test: what goes wrong shall fail it")]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use consistency_lab::client::catalog::Catalog;
use consistency_lab::client::cluster::{ClusterClient, ClusterConfig, ClusterError, Event, Locate};
use consistency_lab::client::routing::Retry;
use consistency_lab::client::{Certainty, Options, TableClient};
use consistency_lab::labs::cluster::catalog::server::CatalogServer;
use consistency_lab::labs::cluster::server::{ClusterServer, ServerOptions};
use consistency_lab::runtime::line_server::Bounds;
use proptest::prelude::*;
use serde_json::value::RawValue;
use tempfile::TempDir;

use crate::process_support::{LONG, eventually};

const SOON: Duration = Duration::from_millis(20);

/// Servers `t-0`, `t-1`, ... that can be stopped and started again.
struct Servers {
    folder: TempDir,
    catalog: Option<String>,
    running: Vec<Option<ClusterServer>>,
}

impl Servers {
    fn start(count: usize, catalog: Option<&CatalogServer>) -> Self {
        let catalog = catalog.map(|catalog| catalog.address().to_string());
        let folder = tempfile::tempdir().unwrap();
        let mut servers = Self { folder, catalog, running: Vec::new() };
        for index in 0..count {
            servers.running.push(None);
            servers.restart(index);
        }
        servers
    }

    fn restart(&mut self, index: usize) {
        let options = ServerOptions {
            name: format!("t-{index}"),
            host: "127.0.0.1".to_owned(),
            port: 0,
            dir: self.folder.path().join(index.to_string()),
            catalog: self.catalog.clone(),
            compact_after: 100,
            bounds: Bounds::default(),
        };
        self.running[index] = Some(ClusterServer::start(options).unwrap());
    }

    fn stop(&mut self, index: usize) {
        self.running[index] = None;
    }

    fn addresses(&self) -> Vec<String> {
        let address = |server: &Option<ClusterServer>| server.as_ref().unwrap().address();
        self.running.iter().map(|server| address(server).to_string()).collect()
    }

    /// Which servers have the key, asked one by one.
    fn holders(&self, key: &str) -> BTreeSet<usize> {
        let has = |address: &String| {
            TableClient::open(address, &Options::default()).unwrap().lookup(key).unwrap().is_some()
        };
        let found = self.addresses().iter().map(has).collect::<Vec<_>>();
        (0..found.len()).filter(|index| found[*index]).collect()
    }
}

fn config(servers: usize, copies: usize, locate: Locate) -> ClusterConfig {
    ClusterConfig {
        name: "t".to_owned(),
        servers,
        copies,
        locate,
        retry: Retry { wait: SOON, give_up_after: None },
        options: Options::default(),
    }
}

fn at(servers: &Servers, count: usize, copies: usize) -> ClusterClient {
    let addresses = servers.addresses()[..count].to_vec();
    ClusterClient::new(config(count, copies, Locate::At(addresses))).unwrap()
}

fn json(text: &str) -> Box<RawValue> {
    serde_json::from_str(text).unwrap()
}

fn text(value: Option<Box<RawValue>>) -> Option<String> {
    value.map(|value| value.get().to_owned())
}

/// A key whose primary is this server.
fn key_of(client: &ClusterClient, primary: usize) -> String {
    let mut keys = (0..).map(|number| format!("key{number}"));
    keys.find(|key| client.copies_of(key)[0] == primary).unwrap()
}

/// Waits until the catalog lists each of these servers at its address.
fn listed(catalog: &CatalogServer, servers: &Servers) {
    let catalog = Catalog::new(&catalog.address().to_string());
    let is_listed = |index: usize| {
        let port = servers.running[index].as_ref().unwrap().address().port();
        let found = catalog.find(&format!("t-{index}"), "hashtable").unwrap();
        found.iter().any(|one| one.port == port)
    };
    let all = || (0..servers.running.len()).all(is_listed).then_some(());
    eventually("the servers are listed", LONG, all);
}

#[test]
fn a_key_is_on_its_primary_and_the_next_servers_and_nowhere_else() {
    let servers = Servers::start(5, None);
    proptest!(ProptestConfig::with_cases(60), |(n in 1usize..=5, k in 1usize..=5, key in ".{0,20}")| {
        prop_assume!(k <= n);
        let mut client = at(&servers, n, k);
        client.insert(&key, &json("1")).unwrap();
        let copies: BTreeSet<usize> = client.copies_of(&key).into_iter().collect();
        prop_assert_eq!(copies.len(), k);
        prop_assert_eq!(&servers.holders(&key), &copies);
        prop_assert_eq!(text(client.lookup(&key).unwrap()), Some("1".to_owned()));
        let found = client.scan("").unwrap();
        prop_assert_eq!(found.len(), 1, "a key with several copies is found once");
        prop_assert_eq!(text(client.remove(&key).unwrap()), Some("1".to_owned()));
        prop_assert_eq!(servers.holders(&key), BTreeSet::new());
        prop_assert_eq!(text(client.remove(&key).unwrap()), None);
    });
}

#[test]
fn n_and_k_out_of_range_are_refused() {
    for (servers, copies) in [(0, 0), (0, 1), (3, 0), (3, 4), (1001, 1)] {
        let refused = ClusterClient::new(config(servers, copies, Locate::At(Vec::new())));
        assert!(matches!(refused, Err(ClusterError::Shape { .. })), "{servers} {copies}");
    }
    let refused = ClusterClient::new(config(2, 1, Locate::At(vec!["127.0.0.1:1".to_owned()])));
    assert!(matches!(refused, Err(ClusterError::Addresses { servers: 2, found: 1 })));
}

#[test]
fn with_one_server_down_all_reads_and_the_other_writes_go_on() {
    let mut servers = Servers::start(3, None);
    let mut client = at(&servers, 3, 2);
    let keys: Vec<String> = (0..3).map(|primary| key_of(&client, primary)).collect();
    for key in &keys {
        client.insert(key, &json("1")).unwrap();
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    client.observe(move |event: &Event| heard.lock().unwrap().push(event.to_string()));
    servers.stop(1);
    for _ in 0..3 {
        for key in &keys {
            assert_eq!(text(client.lookup(key).unwrap()), Some("1".to_owned()));
        }
    }
    // Copies on 2 and 0: the server that is down has nothing to do with it.
    client.insert(&keys[2], &json("2")).unwrap();
    assert_eq!(text(client.lookup(&keys[2]).unwrap()), Some("2".to_owned()));
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "said once: {told:?}");
    assert!(told[0].starts_with("t-1 does not answer: "), "{told:?}");
}

#[test]
fn an_affected_write_waits_until_the_server_is_back_on_another_port() {
    let catalog = CatalogServer::start("127.0.0.1", 0, Duration::from_secs(900)).unwrap();
    let mut servers = Servers::start(3, Some(&catalog));
    listed(&catalog, &servers);
    let locate = Locate::Catalog(Catalog::new(&catalog.address().to_string()));
    let mut client = ClusterClient::new(config(3, 2, locate)).unwrap();
    let key = key_of(&client, 0);
    client.insert(&key, &json("1")).unwrap();
    servers.stop(1);
    let (away, is_away) = crossbeam_channel::bounded(10);
    client.observe(move |event: &Event| away.send(event.clone()).unwrap());
    let its_key = key.clone();
    let writer = thread::spawn(move || {
        client.insert(&its_key, &json("2")).unwrap();
        client
    });
    let event = is_away.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(matches!(&event, Event::Away { server, wait: Some(_), .. } if server == "t-1"));
    servers.restart(1);
    let mut client = writer.join().unwrap();
    let event = is_away.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(matches!(&event, Event::Back { server } if server == "t-1"));
    assert_eq!(servers.holders(&key), BTreeSet::from([0, 1]));
    assert_eq!(text(client.lookup(&key).unwrap()), Some("2".to_owned()));
    assert_eq!(text(client.server(1).unwrap().lookup(&key).unwrap()), Some("2".to_owned()));
}

#[test]
fn another_server_on_a_port_that_was_known_is_not_taken_for_the_one_that_is_looked_for() {
    let catalog = CatalogServer::start("127.0.0.1", 0, Duration::from_secs(900)).unwrap();
    let servers = Servers::start(2, Some(&catalog));
    listed(&catalog, &servers);
    // A registration that is left over from an earlier start, and is fresher than the right one.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = servers.running[1].as_ref().unwrap().address().port();
    let forged = format!(r#"{{"type":"hashtable","port":{port},"project":"t-0"}}"#);
    let known = Catalog::new(&catalog.address().to_string());
    socket.send_to(forged.as_bytes(), catalog.address()).unwrap();
    eventually("the forged one is listed", LONG, || {
        (known.find("t-0", "hashtable").unwrap().len() == 2).then_some(())
    });
    let mut client = ClusterClient::new(config(2, 1, Locate::Catalog(known))).unwrap();
    let key = key_of(&client, 0);
    client.insert(&key, &json("1")).unwrap();
    assert_eq!(servers.holders(&key), BTreeSet::from([0]));
}

#[test]
fn a_server_that_hangs_costs_one_timeout_and_not_one_a_read() {
    let servers = Servers::start(2, None);
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = at(&servers, 2, 2);
    let key = key_of(&client, 0);
    client.insert(&key, &json("1")).unwrap();
    let timeout = Duration::from_millis(300);
    let addresses = vec![hangs.local_addr().unwrap().to_string(), servers.addresses()[1].clone()];
    let mut client = ClusterClient::new(ClusterConfig {
        retry: Retry { wait: Duration::from_secs(3600), give_up_after: None },
        options: Options { connect_timeout: timeout, timeout },
        ..config(2, 2, Locate::At(addresses))
    })
    .unwrap();
    let begun = Instant::now();
    assert_eq!(text(client.lookup(&key).unwrap()), Some("1".to_owned()));
    assert!(begun.elapsed() >= timeout, "the primary was asked first");
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(text(client.lookup(&key).unwrap()), Some("1".to_owned()));
    }
    assert!(begun.elapsed() < 20 * timeout, "the silent copy was asked last");
}

#[test]
fn giving_up_says_what_is_known_of_the_operation() {
    let mut servers = Servers::start(2, None);
    let addresses = servers.addresses();
    servers.stop(1);
    let retry = Retry { wait: SOON, give_up_after: Some(Duration::from_millis(60)) };
    let bounded = ClusterConfig { retry, ..config(2, 2, Locate::At(addresses)) };
    let mut client = ClusterClient::new(bounded).unwrap();
    let (first, second) = (key_of(&client, 0), key_of(&client, 1));
    let gave_up = client.insert(&first, &json("1")).unwrap_err();
    assert_eq!(gave_up.certainty(), Certainty::Unknown, "one copy has it: {gave_up}");
    let gave_up = client.insert(&second, &json("1")).unwrap_err();
    assert_eq!(gave_up.certainty(), Certainty::Fail, "no copy has it: {gave_up}");
    assert!(gave_up.to_string().contains("t-1 does not answer"), "{gave_up}");
    let gave_up = client.scan("").unwrap_err();
    assert_eq!(gave_up.certainty(), Certainty::Fail, "{gave_up}");
    servers.stop(0);
    assert!(matches!(client.lookup(&first), Err(ClusterError::GaveUp { .. })));
}

#[test]
fn an_invalid_expression_is_refused_at_once() {
    let servers = Servers::start(2, None);
    let refused = at(&servers, 2, 1).scan("a(").unwrap_err();
    assert!(matches!(refused, ClusterError::Refused { .. }));
    assert!(refused.to_string().contains("a("), "{refused}");
}
