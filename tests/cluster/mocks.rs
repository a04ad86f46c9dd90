//! The cluster's client against servers that misbehave on purpose.

use std::thread;
use std::time::Duration;

use crate::mock_tables::{Manner, Manners, MockCatalog, Tables, json};
use crate::process_support::{LONG, eventually};
use consistency_lab::client::cluster::{ClusterClient, ClusterError, Locate};
use consistency_lab::client::{Certainty, ClientError};
use md5::{Digest, Md5};
use proptest::prelude::*;

fn impatient() -> Manners {
    Manners { give_up_after: Some(Duration::from_millis(30)), ..Manners::default() }
}

/// A key whose primary is this server, so that its copies are known.
fn key_on(client: &ClusterClient, primary: usize) -> String {
    let keys = (0..).map(|n| format!("key{n}"));
    keys.into_iter().find(|key| client.copies_of(key)[0] == primary).expect("md5 spreads keys")
}

/// Waits until `done`.
fn until(what: &str, done: impl Fn() -> bool) {
    eventually(what, LONG, || done().then_some(()));
}

fn value(found: Result<Option<Box<serde_json::value::RawValue>>, ClusterError>) -> Option<String> {
    found.expect("an answer").map(|value| value.get().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn exactly_k_servers_hold_a_key(
        (n, k) in (1usize..=6).prop_flat_map(|n| (Just(n), 1..=n)),
        keys in prop::collection::btree_set(any::<String>(), 1..20),
    ) {
        let tables = Tables::start(n);
        let mut client = tables.client(k, Manners::default());
        for key in &keys {
            client.insert(key, &json("{\"a\": [1, null]}")).expect("written");
            let digest = u128::from_be_bytes(Md5::digest(key).into());
            let primary = (digest % n as u128) as usize;
            let mut expected: Vec<usize> = (0..k).map(|step| (primary + step) % n).collect();
            prop_assert_eq!(&client.copies_of(key), &expected);
            expected.sort_unstable();
            prop_assert_eq!(tables.holders(key), expected);
        }
        let found = client.scan("").expect("found");
        prop_assert!(found.iter().map(|(key, _)| key).eq(&keys), "sorted, and each once");
        for key in &keys {
            prop_assert_eq!(value(client.lookup(key)), Some("{\"a\": [1, null]}".to_owned()));
            prop_assert!(value(client.remove(key)).is_some());
            prop_assert_eq!(tables.holders(key), Vec::<usize>::new());
            prop_assert_eq!(value(client.remove(key)), None);
        }
    }
}

#[test]
fn a_read_succeeds_while_one_copy_is_up() {
    let mut tables = Tables::start(3);
    let mut writer = tables.client(2, Manners::default());
    let keys: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    keys.iter().for_each(|key| writer.insert(key, &json("1")).expect("written"));
    for down in 0..3 {
        tables.servers[down].down();
        let mut client = tables.client(2, impatient());
        for key in &keys {
            assert_eq!(value(client.lookup(key)).as_deref(), Some("1"));
        }
        // Each server is some key's primary, so it was missed; it was told once.
        assert_eq!(tables.events().last(), Some(&format!("away t-{down}")));
        assert_eq!(tables.events().iter().filter(|e| **e == format!("away t-{down}")).count(), 1);
        tables.servers[down].up();
    }
}

#[test]
fn that_a_copy_has_no_such_key_is_an_answer() {
    let tables = Tables::start(2);
    let mut client = tables.client(2, impatient());
    let key = key_on(&client, 0);
    tables.servers[1].put(&key, "7");
    assert_eq!(value(client.lookup(&key)), None);
    // But a remove is of all copies, and one of them had it.
    assert_eq!(value(client.remove(&key)).as_deref(), Some("7"));
    assert_eq!(tables.holders(&key), [0; 0]);
}

#[test]
fn a_write_waits_for_its_copy_and_others_do_not() {
    let mut tables = Tables::start(3);
    let mut other = tables.client(2, impatient());
    let mut client = tables.client(2, Manners::default());
    let (waits, goes_on) = (key_on(&client, 0), key_on(&client, 2));
    tables.servers[1].down();
    let its_key = waits.clone();
    let writer = thread::spawn(move || client.insert(&its_key, &json("1")));
    until("it waits", || tables.events() == ["waits for t-1"]);
    // Servers 2 and 0 hold this one.
    other.insert(&goes_on, &json("2")).expect("not affected");
    assert_eq!(tables.holders(&waits), [0], "written in turn");
    // Tries that fail are not told again.
    thread::sleep(Duration::from_millis(50));
    assert!(!writer.is_finished());
    tables.servers[1].up();
    writer.join().expect("no panic").expect("written at last");
    assert_eq!(tables.events(), ["waits for t-1", "back t-1"]);
    assert_eq!(tables.holders(&waits), [0, 1]);
}

#[test]
fn a_read_that_no_copy_answers_starts_over() {
    let mut tables = Tables::start(3);
    let mut client = tables.client(2, Manners::default());
    let key = key_on(&client, 0);
    client.insert(&key, &json("1")).expect("written");
    tables.servers[0].down();
    tables.servers[1].down();
    let its_key = key.clone();
    let reader = thread::spawn(move || value(client.lookup(&its_key)));
    until("it waits", || tables.events() == ["waits for t-0", "waits for t-1"]);
    tables.servers[1].up();
    assert_eq!(reader.join().expect("no panic").as_deref(), Some("1"));
}

#[test]
fn giving_up_tells_what_is_known_of_a_write() {
    let mut tables = Tables::start(3);
    let mut client = tables.client(2, impatient());
    let (first_down, second_down) = (key_on(&client, 1), key_on(&client, 0));
    tables.servers[1].down();

    let error = client.insert(&first_down, &json("1")).expect_err("its primary is down");
    assert_eq!(error.certainty(), Certainty::Fail, "{error}");
    assert_eq!(tables.holders(&first_down), [0; 0], "copies are written in turn");

    let error = client.insert(&second_down, &json("1")).expect_err("its second copy is down");
    assert_eq!(error.certainty(), Certainty::Unknown, "{error}");
    assert!(matches!(&error, ClusterError::GaveUp { reached, .. } if *reached == ["t-0"]));
    assert!(error.to_string().ends_with("; done on t-0, but not on all copies"), "{error}");

    let error = client.scan("").expect_err("a server is down");
    assert_eq!(error.certainty(), Certainty::Fail, "{error}");
    assert!(error.to_string().contains("t-1 does not answer: nothing listens on 127.0.0.1:"));
}

#[test]
fn a_write_whose_reply_was_lost_is_unknown_though_nothing_listens_then() {
    let mut tables = Tables::start(1);
    let mut client = tables.client(1, impatient());
    client.insert("a", &json("1")).expect("connected");
    tables.servers[0].behave(Manner::HangUp);
    let error = client.insert("b", &json("1")).expect_err("no reply");
    assert_eq!(error.certainty(), Certainty::Unknown, "{error}");
    assert!(tables.servers[0].holds("b").is_some(), "it did happen");
    tables.servers[0].down();
    let error = client.insert("c", &json("1")).expect_err("nothing listens");
    assert_eq!(error.certainty(), Certainty::Fail, "never sent: {error}");

    // Within one operation: the first try is lost, all later ones find nobody.
    tables.servers[0].up();
    tables.servers[0].behave(Manner::Serve);
    let mut client = tables.client(
        1,
        Manners {
            retry_wait: Duration::from_millis(100),
            give_up_after: Some(Duration::from_secs(1)),
            ..Manners::default()
        },
    );
    client.insert("a", &json("1")).expect("connected");
    tables.servers[0].behave(Manner::HangUp);
    let writer = thread::spawn(move || client.insert("d", &json("1")));
    until("it is carried out", || tables.servers[0].holds("d").is_some());
    tables.servers[0].down();
    let error = writer.join().expect("no panic").expect_err("nobody answers");
    assert_eq!(error.certainty(), Certainty::Unknown, "{error}");
}

#[test]
fn what_is_wrong_is_not_tried_again() {
    let tables = Tables::start(2);
    let mut client = tables.client(2, Manners::default());
    let key = key_on(&client, 0);
    tables.servers[0].behave(Manner::Refuse);
    let error = client.insert(&key, &json("1")).expect_err("refused");
    assert!(matches!(error, ClusterError::Refused { ref source, .. }
        if matches!(source, ClientError::Refused { line } if line == "too long")));
    assert_eq!(error.certainty(), Certainty::Fail, "{error}");
    assert_eq!(tables.servers[1].requests(), 0);
    assert!(client.scan("(").is_err());
    assert!(client.lookup(&key).is_err());

    // The copies may differ in what they take.
    tables.servers[0].behave(Manner::Serve);
    tables.servers[1].behave(Manner::Refuse);
    let error = client.insert(&key, &json("1")).expect_err("refused by the second");
    assert_eq!(error.certainty(), Certainty::Unknown, "{error}");
    assert_eq!(tables.holders(&key), [0]);
    assert_eq!(tables.events(), [""; 0], "all of them answer");
}

#[test]
fn what_cannot_be_done_now_is_tried_again() {
    for manner in [Manner::Unavailable, Manner::Babble, Manner::HangUp] {
        let tables = Tables::start(1);
        let mut client = tables.client(1, Manners::default());
        tables.servers[0].behave(manner);
        let writer = thread::spawn(move || client.insert("a", &json("1")));
        until("it waits", || tables.events() == ["waits for t-0"]);
        tables.servers[0].behave(Manner::Serve);
        writer.join().expect("no panic").expect("written at last");
        assert_eq!(tables.events(), ["waits for t-0", "back t-0"], "{manner:?}");
    }
}

#[test]
fn a_server_that_hangs_is_waited_for_once() {
    let tables = Tables::start(2);
    let mut client =
        tables.client(2, Manners { timeout: Duration::from_millis(1500), ..Manners::default() });
    let key = key_on(&client, 0);
    client.insert(&key, &json("1")).expect("written");
    tables.servers[0].behave(Manner::Silent);
    let before = tables.servers[0].requests();
    for _ in 0..100 {
        assert_eq!(value(client.lookup(&key)).as_deref(), Some("1"));
    }
    assert_eq!(tables.servers[0].requests(), before + 1, "asked once, and then last");
    assert_eq!(tables.events(), ["away t-0"]);
    // Where no other copy answers it is asked all the same.
    tables.servers[0].behave(Manner::Serve);
    tables.servers[1].behave(Manner::Unavailable);
    assert_eq!(value(client.lookup(&key)).as_deref(), Some("1"));
    assert_eq!(tables.events(), ["away t-0", "back t-0", "away t-1"]);
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_opened_again_at_once() {
    let mut tables = Tables::start(2);
    let mut client = tables.client(2, impatient());
    client.insert("a", &json("1")).expect("written");
    for server in &mut tables.servers {
        server.down();
        server.up();
    }
    client.insert("a", &json("2")).expect("written");
    assert_eq!(client.scan("a").expect("found").len(), 1);
    assert_eq!(tables.events(), [""; 0]);
}

#[test]
fn a_scan_shows_what_a_read_would_find_first() {
    let tables = Tables::start(3);
    let mut client = tables.client(3, impatient());
    let keys: Vec<String> = (0..3).map(|primary| key_on(&client, primary)).collect();
    for key in &keys {
        (0..3).for_each(|n| tables.servers[n].put(key, &n.to_string()));
    }
    for (primary, key) in keys.iter().enumerate() {
        let found = client.scan(key).expect("found");
        let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.get())).collect();
        assert_eq!(found, [(key.as_str(), primary.to_string().as_str())]);
        assert_eq!(value(client.lookup(key)), Some(primary.to_string()));
    }
}

#[test]
fn a_scan_waits_for_every_server() {
    let mut tables = Tables::start(20);
    let mut client = tables.client(2, Manners::default());
    let keys: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    keys.iter().for_each(|key| client.insert(key, &json("1")).expect("written"));
    tables.servers[3].down();
    tables.servers[17].down();
    let scan = thread::spawn(move || client.scan(""));
    until("it waits", || tables.events() == ["waits for t-3"]);
    tables.servers[3].up();
    until("it waits", || tables.events().contains(&"waits for t-17".to_owned()));
    tables.servers[17].up();
    let found = scan.join().expect("no panic").expect("found at last");
    assert!(found.iter().map(|(key, _)| key).eq(&keys));
}

#[test]
fn a_lab_can_ask_one_server() {
    let tables = Tables::start(3);
    let mut client = tables.client(2, impatient());
    let key = key_on(&client, 2);
    client.server(2).expect("it is there").insert(&key, &json("5")).expect("written");
    assert_eq!(tables.holders(&key), [2]);
    let there = client.server(0).expect("it is there").lookup(&key).expect("an answer");
    assert!(there.is_none());
    let error = client.server(3).expect_err("there are three");
    assert!(error.to_string().contains("t-3"), "{error}");
}

#[test]
fn a_server_is_found_again_where_it_is_now() {
    let mut tables = Tables::start(2);
    let catalog = MockCatalog::start();
    let [zero, one] = [0, 1].map(|n: usize| tables.servers[n].address());
    catalog.list([("t-1", one), ("t-0", zero)]);
    let mut client = tables.client_by(2, Manners::default(), catalog.locate());
    let key = key_on(&client, 0);
    client.insert(&key, &json("1")).expect("written");
    assert_eq!(catalog.queries(), 2, "once a server");

    tables.servers[0].move_away();
    let its_key = key.clone();
    let writer = thread::spawn(move || client.insert(&its_key, &json("2")));
    until("it waits", || tables.events() == ["waits for t-0"]);
    // What has been heard from last may be of no use: nobody, another cluster's server, the wrong one.
    let moved = tables.servers[0].address();
    catalog.list([("t-0", zero), ("t-0", one), ("u-0", one), ("t-0", moved), ("t-1", one)]);
    writer.join().expect("no panic").expect("written at last");
    assert_eq!(tables.servers[0].holds(&key).as_deref(), Some("2"));
    assert_eq!(tables.events(), ["waits for t-0", "back t-0"]);
}

#[test]
fn a_catalog_that_knows_nothing_or_is_away_is_asked_again() {
    let tables = Tables::start(1);
    let catalog = MockCatalog::start();
    let mut client = tables.client_by(1, impatient(), catalog.locate());
    let error = client.insert("a", &json("1")).expect_err("nobody knows where");
    assert_eq!(error.certainty(), Certainty::Fail, "{error}");
    let mut client = tables.client_by(1, Manners::default(), catalog.locate());
    let told = tables.events().len();
    let writer = thread::spawn(move || client.insert("a", &json("1")));
    until("it waits", || tables.events().len() > told);
    catalog.list([("t-0", tables.servers[0].address())]);
    writer.join().expect("no panic").expect("written at last");

    let nowhere = consistency_lab::client::catalog::Catalog::new("127.0.0.1:1");
    let mut client = tables.client_by(1, impatient(), Locate::Catalog(nowhere));
    let error = client.lookup("a").expect_err("no catalog");
    assert!(error.to_string().contains("the catalog 127.0.0.1:1"), "{error}");
}

#[test]
fn a_server_that_hangs_is_tried_once_where_it_was() {
    let tables = Tables::start(1);
    let catalog = MockCatalog::start();
    catalog.list([("t-0", tables.servers[0].address())]);
    let once = Manners {
        timeout: Duration::from_millis(200),
        give_up_after: Some(Duration::ZERO),
        ..Manners::default()
    };
    let mut client = tables.client_by(1, once, catalog.locate());
    client.insert("a", &json("1")).expect("written");
    tables.servers[0].behave(Manner::Silent);
    assert!(client.lookup("a").is_err());
    until("connected, written, asked", || tables.servers[0].requests() == 3);
    // Only connecting again is tried, and that once, though the catalog still lists it.
    assert!(client.lookup("a").is_err());
    until("asked who it is", || tables.servers[0].requests() > 3);
    assert_eq!(tables.servers[0].requests(), 4);
}
