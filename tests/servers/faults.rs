//! Replicas in a process each, and what happens when one of them is killed, frozen, or comes back with
//! nothing: no acknowledged write is lost, and all end with equal contents.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::process_support::client::Client;
use crate::process_support::cluster::Cluster;
use crate::process_support::{LONG, contents, eventually};

const UNKNOWN: &str = "SERVER_ERROR timeout, outcome unknown";

/// What the clients of a test have been told.
#[derive(Default)]
struct Load {
    /// The writes that were acknowledged: each key is written once.
    stored: Mutex<BTreeMap<String, String>>,
    /// The tokens whose append was acknowledged.
    appended: Mutex<Vec<String>>,
    acknowledged: AtomicUsize,
    stop: AtomicBool,
}

impl Load {
    /// Writes as one client until told to stop; connects again whenever its server is gone.
    fn run(&self, name: usize, to: std::net::SocketAddr) {
        let mut n = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let both = Client::try_connect(to).and_then(|c| Ok((c, Client::try_connect(to)?)));
            let Ok((mut client, mut redis)) = both else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            while !self.stop.load(Ordering::Relaxed) {
                n += 1;
                if self.write(&mut client, &mut redis, name, n).is_err() {
                    break;
                }
            }
        }
    }

    fn write(
        &self,
        client: &mut Client,
        redis: &mut Client,
        name: usize,
        n: usize,
    ) -> std::io::Result<()> {
        let token = format!("<{name}.{n}>");
        // Two clients append to each log; a log stays short, since every append writes all of it.
        let (key, log) = (format!("key-{name}-{n}"), format!("log-{}-{}", name % 3, n / 50));
        let reply = client.try_set(&key, &token)?;
        match &*reply {
            "STORED" => drop(self.stored.lock().expect("no panic").insert(key, token.clone())),
            "" => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            reply => assert!(reply.starts_with("SERVER_ERROR"), "{reply}"),
        }
        let append = format!(
            "*3\r\n$6\r\nAPPEND\r\n${}\r\n{log}\r\n${}\r\n{token}\r\n",
            log.len(),
            token.len()
        );
        redis.try_send(append)?;
        match &*redis.try_line()? {
            length if length.starts_with(':') => {
                self.appended.lock().expect("no panic").push(token)
            }
            "" => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            reply => assert!(reply.starts_with('-'), "{reply}"),
        }
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Nothing that was acknowledged is missing, and nothing took effect twice.
    fn check(&self, cluster: &Cluster) {
        let mut client = cluster.connect(0);
        for (key, token) in &*self.stored.lock().expect("no panic") {
            assert_eq!(client.text(key).as_ref(), Some(token), "{key} was acknowledged");
        }
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        let logs = contents(&cluster.storage(0)).1.into_iter().filter(|e| e.starts_with("log-"));
        for log in logs {
            let value = log.split(' ').nth(2).expect("KEY = VALUE …");
            for token in value.split_inclusive('>') {
                *times.entry(token.to_owned()).or_default() += 1;
            }
        }
        for token in &*self.appended.lock().expect("no panic") {
            assert!(times.contains_key(token), "{token} was acknowledged");
        }
        for (token, times) in times {
            assert_eq!(times, 1, "{token} took effect more than once");
        }
    }
}

/// Kills each replica in turn, twice, while clients write at all of them.
fn kill_each_in_turn(mode: &str, more: &[&str]) {
    let mut cluster = Cluster::start(mode, more);
    let load = Arc::new(Load::default());
    let writers: Vec<_> = (0..6)
        .map(|name| {
            let (load, to) = (Arc::clone(&load), cluster.clients(name % 3));
            thread::spawn(move || load.run(name, to))
        })
        .collect();
    let progress = |what: &str, within| {
        let before = load.acknowledged.load(Ordering::Relaxed);
        eventually(what, within, || {
            (load.acknowledged.load(Ordering::Relaxed) > before + 20).then_some(())
        });
    };
    for victim in [0, 1, 2, 2, 0, 1] {
        progress("the clients write", LONG);
        cluster.kill(victim);
        cluster.restart(victim);
        let start = Instant::now();
        let mut client = cluster.connect(victim);
        eventually("a write at the restarted replica", Duration::from_secs(2), || {
            (client.set("after-restart", "x") == "STORED").then_some(())
        });
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        progress("writes go on", Duration::from_secs(2));
    }
    load.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("a writer");
    }
    cluster.converge();
    load.check(&cluster);
}

#[test]
fn sequential_loses_nothing_when_each_replica_is_killed_in_turn() {
    kill_each_in_turn("sequential", &[]);
}

#[test]
fn eventual_loses_nothing_when_each_replica_is_killed_in_turn() {
    kill_each_in_turn("eventual", &[]);
}

#[test]
fn sync_always_loses_nothing_when_each_replica_is_killed_in_turn() {
    kill_each_in_turn("sequential", &["--sync", "always"]);
}

#[cfg(feature = "raft")]
#[test]
fn linearizable_loses_nothing_when_each_replica_is_killed_in_turn() {
    kill_each_in_turn("linearizable", &[]);
}

#[test]
fn all_replicas_killed_at_once_lose_nothing() {
    let all = if cfg!(feature = "raft") { 3 } else { 2 };
    for mode in &["sequential", "eventual", "linearizable"][..all] {
        let mut cluster = Cluster::start(mode, &[]);
        let mut acknowledged = Vec::new();
        for round in 0..3 {
            for n in 0..30 {
                let key = format!("key-{round}-{n}");
                if cluster.connect(n % 3).set(&key, "value") == "STORED" {
                    acknowledged.push(key);
                }
            }
            (0..3).for_each(|i| cluster.kill(i));
            (0..3).for_each(|i| cluster.restart(i));
            (0..3).for_each(|i| cluster.wait_live(i, LONG));
        }
        assert_eq!(acknowledged.len(), 90, "{mode}");
        cluster.converge();
        let mut client = cluster.connect(2);
        for key in acknowledged {
            assert_eq!(client.text(&key).as_deref(), Some("value"), "{mode}: {key}");
        }
    }
}

#[test]
fn sequential_writes_without_one_replica_end_as_unknown_and_may_take_effect_later() {
    let mut cluster = Cluster::start("sequential", &["--write-timeout", "200ms"]);
    assert_eq!(cluster.connect(0).set("x", "before"), "STORED");
    let mut reader = cluster.connect(1);
    eventually("the write is everywhere", LONG, || (reader.text("x")? == "before").then_some(()));
    cluster.kill(2);

    let mut writer = cluster.connect(0);
    let start = Instant::now();
    assert_eq!(writer.set("x", "during"), UNKNOWN);
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    let mut redis = cluster.connect(1);
    let set = "*3\r\n$3\r\nSET\r\n$1\r\ny\r\n$6\r\nduring\r\n";
    assert_eq!(redis.ask(set), "-TIMEOUT outcome unknown");
    // A pipeline gets one answer a write, in one timeout.
    let start = Instant::now();
    let many = "set p 0 0 1\r\n1\r\n".repeat(50);
    assert!(writer.lines(many, 50).iter().all(|line| line == UNKNOWN));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // Reads go on, and show what was before.
    assert_eq!(writer.text("x").as_deref(), Some("before"));
    assert_eq!(reader.text("x").as_deref(), Some("before"));
    assert_eq!(redis.ask("*2\r\n$6\r\nEXISTS\r\n$1\r\ny\r\n"), ":0");

    cluster.restart(2);
    eventually("the waiting writes take effect", Duration::from_secs(2), || {
        (reader.text("x")? == "during" && reader.text("y")? == "during").then_some(())
    });
    cluster.converge();
    assert_eq!(cluster.connect(2).text("p").as_deref(), Some("1"));
    assert_eq!(writer.set("x", "after"), "STORED");
}

#[test]
fn eventual_writes_go_on_without_one_replica_and_the_backlog_is_bounded() {
    let mut cluster = Cluster::start("eventual", &["--backlog", "100"]);
    cluster.kill(1);
    let mut writer = cluster.connect(0);
    let replies: Vec<String> = (0..150).map(|n| writer.set(&format!("key{n}"), "value")).collect();
    let stored = replies.iter().filter(|reply| *reply == "STORED").count();
    assert_eq!(stored, 100, "{:?}", replies.last());
    assert!(replies[..100].iter().all(|reply| reply == "STORED"));
    for refused in &replies[100..] {
        assert!(refused.starts_with("SERVER_ERROR backlog full"), "{refused}");
        assert!(refused.contains("not accepted"), "{refused}");
    }
    // Another replica has a backlog of its own.
    let mut other = cluster.connect(2);
    assert_eq!(other.set("other", "value"), "STORED");
    let redis = "*3\r\n$3\r\nSET\r\n$1\r\ny\r\n$1\r\n1\r\n";
    assert!(cluster.connect(0).ask(redis).starts_with("-ERR backlog full"));
    cluster.restart(1);
    eventually("writes are taken again", Duration::from_secs(2), || {
        (writer.set("again", "value") == "STORED").then_some(())
    });
    let entries = cluster.converge();
    assert_eq!(entries.len(), 102);
    assert!(entries.iter().any(|entry| entry.starts_with("key99 = value")));
}

#[test]
fn an_empty_folder_is_filled_by_a_live_replica() {
    for mode in ["sequential", "eventual"] {
        let mut cluster = Cluster::start(mode, &["--max-value", "3000000"]);
        let mut writer = cluster.connect(0);
        for n in 0..200 {
            assert_eq!(writer.set(&format!("key{n}"), format!("value {n}")), "STORED");
        }
        for n in 0..100 {
            assert_eq!(writer.ask(format!("delete key{n}\r\n")), "DELETED");
        }
        let big: Vec<u8> = (0..2_000_000u32).map(|n| (n % 251) as u8).collect();
        assert_eq!(writer.set("big", &big), "STORED");
        assert_eq!(writer.set("", ""), "ERROR");
        cluster.converge();
        cluster.kill(2);
        fs::remove_dir_all(cluster.data(2)).expect("the folder goes");
        cluster.restart(2);
        // It must not answer as if there had never been anything.
        let mut reader = cluster.connect(2);
        assert_eq!(reader.text("key150").as_deref(), Some("value 150"), "{mode}");
        assert_eq!(reader.get("key50"), None, "{mode}");
        assert!(reader.get("big").is_some_and(|value| value == big), "{mode}");
        assert_eq!(reader.set("from", "the empty one"), "STORED");
        cluster.converge();
    }
}

#[test]
fn an_empty_folder_is_filled_after_a_compaction_and_under_load() {
    let mut cluster = Cluster::start("sequential", &[]);
    let mut writer = cluster.connect(0);
    // More than half of more than 1 MiB is garbage.
    let value = vec![b'v'; 20_000];
    for n in 0..150 {
        assert_eq!(writer.set(&format!("key{}", n % 5), &value), "STORED");
        if n == 100 {
            assert_eq!(writer.ask("delete key0\r\n"), "DELETED");
        }
    }
    for i in 0..3 {
        eventually("the file is compacted", LONG, || {
            let length = fs::metadata(cluster.storage(i)).ok()?.len();
            (length < 1_500_000).then_some(())
        });
    }
    cluster.converge();
    let load = Arc::new(Load::default());
    let writers: Vec<_> = (0..2)
        .map(|name| {
            let (load, to) = (Arc::clone(&load), cluster.clients(name));
            thread::spawn(move || load.run(name, to))
        })
        .collect();
    for _ in 0..2 {
        cluster.kill(2);
        fs::remove_dir_all(cluster.data(2)).expect("the folder goes");
        cluster.restart(2);
        eventually("writes go on", Duration::from_secs(2), || {
            (cluster.connect(2).set("x", "1") == "STORED").then_some(())
        });
    }
    load.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("a writer");
    }
    cluster.converge();
    load.check(&cluster);
}

#[test]
fn a_replica_that_was_away_catches_up_also_after_the_others_have_compacted() {
    let mut cluster = Cluster::start("eventual", &[]);
    let mut writer = cluster.connect(0);
    let value = vec![b'v'; 20_000];
    assert_eq!(writer.set("old", "value"), "STORED");
    cluster.converge();
    cluster.kill(2);
    for n in 0..150 {
        assert_eq!(writer.set(&format!("key{}", n % 5), &value), "STORED");
    }
    assert_eq!(writer.ask("delete old\r\n"), "DELETED");
    cluster.restart(2);
    let entries = cluster.converge();
    assert_eq!(entries.len(), 5);
    assert!(entries.iter().all(|entry| entry.starts_with("key")));
    assert_eq!(cluster.connect(2).get("key0"), Some(value));
}

#[test]
fn a_frozen_replica_heals_by_itself() {
    let cluster = Cluster::start("sequential", &["--write-timeout", "300ms"]);
    let mut writer = cluster.connect(0);
    assert_eq!(writer.set("x", "before"), "STORED");
    cluster.server(1).signal("STOP");
    let start = Instant::now();
    // Longer than a link may be silent: the others give it up, and it finds its links dead.
    let mut outcomes = Vec::new();
    while start.elapsed() < Duration::from_secs(5) {
        let reply = writer.set(&format!("key{}", outcomes.len()), "during");
        outcomes.push(reply);
        assert_eq!(writer.text("x").as_deref(), Some("before"));
    }
    // Its threads take a moment to stop.
    let late = outcomes.iter().skip_while(|reply| *reply == "STORED");
    assert!(late.clone().count() > 3 && late.clone().all(|reply| reply == UNKNOWN), "{outcomes:?}");
    cluster.server(1).signal("CONT");
    for i in 0..3 {
        let mut client = cluster.connect(i);
        eventually("writes go on", Duration::from_secs(2), || {
            (client.set(&format!("after{i}"), "x") == "STORED").then_some(())
        });
    }
    let entries = cluster.converge();
    assert_eq!(entries.len(), 1 + outcomes.len() + 3, "{entries:?}");
}

#[test]
fn a_replica_stops_within_a_second_while_another_is_frozen() {
    let mut cluster = Cluster::start("sequential", &["--write-timeout", "100ms"]);
    cluster.server(0).signal("STOP");
    // Once it is given up, the others dial it again, and it greets nobody.
    for i in [1, 2] {
        eventually("the link is given up", LONG, || cluster.server(i).said("silent for").pop());
    }
    for i in [1, 2] {
        let (status, took) = cluster.take(i).terminate();
        assert_eq!(status.code(), Some(0));
        assert!(took < Duration::from_secs(1), "replica {i}: {took:?}");
    }
}

#[test]
fn initial_values_wait_for_the_others_and_come_once() {
    let mut cluster = Cluster::start_only("sequential", &["--init", "x=0"], &[1]);
    assert_eq!(cluster.connect(1).stat("live"), "0");
    cluster.restart(0);
    cluster.restart(2);
    let mut client = cluster.connect(2);
    eventually("the initial value is there", LONG, || (client.text("x")? == "0").then_some(()));
    assert_eq!(client.set("x", "1"), "STORED");
    for i in 0..3 {
        cluster.kill(i);
        cluster.restart(i);
        cluster.wait_live(i, LONG);
    }
    assert_eq!(cluster.connect(0).set("y", "1"), "STORED");
    cluster.converge();
    assert_eq!(cluster.connect(0).text("x").as_deref(), Some("1"));
    assert_eq!(contents(&cluster.storage(0)).1.len(), 2);
}
