//! Linearizable replicas in a process each: what clients see while leaders are killed, judged by the checker; a
//! replica that comes back with nothing; a store of another mode.

#![cfg(feature = "raft")]

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::process_support::client::Client;
use crate::process_support::cluster::Cluster;
use crate::process_support::{LONG, eventually, refused};
use consistency_lab::base::ReplicaId;
use consistency_lab::history::{
    Action, Builder, Clock, Completion, History, Invocation, Outcome, Told,
};
use consistency_lab::labs::simulation::checker;
use consistency_lab::sim::Finding;

/// A recorded load: unique writes and reads of a few keys.
struct Load {
    begun: Instant,
    history: Mutex<Option<Builder>>,
    values: AtomicU64,
    connections: AtomicU64,
    /// When anything was last answered, and the longest time without an answer.
    answers: Mutex<(Instant, Duration)>,
    answered: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    fn new() -> Arc<Load> {
        let begun = Instant::now();
        let mut builder = Builder::new(Clock::Nanoseconds);
        builder.history_mut().claim = Some("linearizable".to_owned());
        Arc::new(Load {
            begun,
            history: Mutex::new(Some(builder)),
            values: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            answers: Mutex::new((begun, Duration::ZERO)),
            answered: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        })
    }

    fn run(&self, replica: usize, to: SocketAddr) {
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(mut client) = Client::try_connect(to) else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            // An outcome that is not known ends a process of the history.
            let name = format!("c{}", self.connections.fetch_add(1, Ordering::Relaxed));
            let mut open = true;
            while open && !self.stop.load(Ordering::Relaxed) {
                open = self.one(&mut client, &name, replica);
            }
        }
    }

    fn at(&self) -> Option<u64> {
        Some(self.begun.elapsed().as_nanos() as u64)
    }

    /// Asks one thing; whether the connection can ask another.
    fn one(&self, client: &mut Client, process: &str, replica: usize) -> bool {
        let n = self.values.fetch_add(1, Ordering::Relaxed);
        let key = ["x", "y", "z"][(n / 2 % 3) as usize];
        let write = n.is_multiple_of(2).then(|| format!("v{n}"));
        let (key_id, value) = {
            let mut history = self.history.lock().expect("no panic");
            let builder = history.as_mut().expect("it is recorded");
            let (key_id, value) = (builder.key(key), builder.value(write.as_deref()));
            let action = if write.is_some() { Action::Write(value) } else { Action::Read(value) };
            let replica = Some(ReplicaId(replica as u16));
            let invocation = Invocation { process, key: key_id, action, replica, at: self.at() };
            builder.invoke(invocation).expect("one at a time");
            (key_id, value)
        };
        let _ = (key_id, value);
        let told = match &write {
            Some(value) => client.try_set(key, value).map(|reply| match &*reply {
                "STORED" => Ok(None),
                reply => Err(reply.to_owned()),
            }),
            None => read(client, key),
        };
        let mut history = self.history.lock().expect("no panic");
        let builder = history.as_mut().expect("it is recorded");
        let (outcome, told) = match told {
            Ok(Ok(found)) if write.is_none() => {
                (Outcome::Ok, Told::Value(builder.value(found.as_deref())))
            }
            Ok(Ok(_)) => (Outcome::Ok, Told::Nothing),
            // Nothing was changed by a read, whatever became of it.
            _ if write.is_none() => (Outcome::Fail, Told::Nothing),
            Ok(Err(why)) if why.contains("not accepted") => (Outcome::Fail, Told::Nothing),
            _ => (Outcome::Unknown, Told::Nothing),
        };
        let completion = Completion { process, outcome, told, at: self.at() };
        builder.complete(completion).expect("it was asked");
        drop(history);
        if outcome == Outcome::Ok {
            let (last, longest) = &mut *self.answers.lock().expect("no panic");
            *longest = (*longest).max(last.elapsed());
            *last = Instant::now();
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        outcome == Outcome::Ok
    }

    fn progress(&self, what: &str) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually(what, LONG, || {
            (self.answered.load(Ordering::Relaxed) > before + 100).then_some(())
        });
    }

    /// The longest time without any answer since this was last asked.
    fn longest_gap(&self) -> Duration {
        std::mem::take(&mut self.answers.lock().expect("no panic").1)
    }

    fn history(&self) -> History {
        self.history.lock().expect("no panic").take().expect("it is recorded").finish()
    }
}

fn read(client: &mut Client, key: &str) -> std::io::Result<Result<Option<String>, String>> {
    client.try_send(format!("get {key}\r\n"))?;
    let head = client.try_line()?;
    match &*head {
        "END" => Ok(Ok(None)),
        line if line.starts_with("VALUE ") => {
            let value = client.try_line()?;
            assert_eq!(client.try_line()?, "END");
            Ok(Ok(Some(value)))
        }
        "" => Err(std::io::ErrorKind::UnexpectedEof.into()),
        error => Ok(Err(error.to_owned())),
    }
}

fn leader(cluster: &Cluster, of: usize) -> usize {
    let mut client = cluster.connect(of);
    eventually("there is a leader", LONG, || client.stat("raft_leader").parse().ok())
}

/// Kills the leader under load, again and again; gives the longest time without an answer.
fn kill_leaders(times: usize, more: &[&str]) {
    let mut cluster = Cluster::start("linearizable", more);
    let load = Load::new();
    let clients: Vec<_> = (0..6)
        .map(|n| {
            let (load, to) = (Arc::clone(&load), cluster.clients(n % 3));
            thread::spawn(move || load.run(n % 3, to))
        })
        .collect();
    let mut gaps = Vec::new();
    for _ in 0..times {
        load.progress("the clients are answered");
        let victim = leader(&cluster, 0);
        load.longest_gap();
        cluster.kill(victim);
        load.progress("the others go on");
        gaps.push(load.longest_gap());
        cluster.restart(victim);
        cluster.wait_live(victim, LONG);
    }
    load.stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("a client"));
    println!("without answers for {gaps:?}");
    // An election takes less than a second on a machine that has time for it.
    assert!(gaps.iter().min().is_some_and(|gap| *gap < Duration::from_secs(2)), "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap < Duration::from_secs(10)), "{gaps:?}");
    cluster.converge();
    let history = load.history();
    println!("{} operations", history.operations.len());
    assert_eq!(checker(&history), Finding::Holds);
}

#[test]
fn leaders_are_killed_and_every_read_stays_current() {
    kill_leaders(4, &[]);
}

#[test]
fn sync_always_stays_linearizable_as_well() {
    kill_leaders(2, &["--sync", "always"]);
}

#[test]
fn a_minority_may_be_away_and_without_a_majority_nothing_is_answered() {
    let mut cluster = Cluster::start("linearizable", &["--write-timeout", "1s"]);
    let away = (leader(&cluster, 0) + 1) % 3;
    let stays = leader(&cluster, 0);
    cluster.kill(away);
    let mut client = cluster.connect(stays);
    assert_eq!(client.set("x", "1"), "STORED");
    assert_eq!(client.text("x").as_deref(), Some("1"));
    cluster.kill((0..3).find(|i| *i != away && *i != stays).expect("a third"));
    let reply = client.ask("get x\r\n");
    assert!(reply.starts_with("SERVER_ERROR") && reply.contains("majority"), "{reply}");
    let reply = client.set("x", "2");
    assert!(reply.starts_with("SERVER_ERROR"), "{reply}");
    cluster.restart(away);
    eventually("a majority answers again", LONG, || {
        (client.set("y", "3") == "STORED").then_some(())
    });
}

#[test]
fn a_replica_that_lost_its_disk_gets_its_vote_back_when_it_holds_what_it_promised() {
    let mut cluster = Cluster::start("linearizable", &[]);
    for n in 0..200 {
        assert_eq!(cluster.connect(n % 3).set(&format!("key-{n}"), "value"), "STORED");
    }
    for victim in 0..3 {
        cluster.kill(victim);
        fs::remove_dir_all(cluster.data(victim)).expect("its folder");
        cluster.restart(victim);
        cluster.wait_live(victim, LONG);
        assert_eq!(cluster.connect(victim).text("key-199").as_deref(), Some("value"));
        cluster.converge();
    }
    // Every copy is a new one now, and each has a vote: any two of them elect a leader.
    let gone = leader(&cluster, 0);
    cluster.kill(gone);
    let other = (gone + 1) % 3;
    eventually("the others go on", LONG, || {
        (cluster.connect(other).set("after", "x") == "STORED").then_some(())
    });
}

#[test]
fn a_store_of_another_mode_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (first, then) in [("linearizable", "sequential"), ("sequential", "linearizable")] {
        let data = folder.path().join(first);
        let server = crate::process_support::three(first, &data, &[]);
        assert_eq!(Client::connect(server.clients(0)).set("x", "1"), "STORED");
        server.stop();
        let (mode, data) =
            (format!("--consistency={then}"), data.to_str().expect("UTF-8").to_owned());
        let ports = ["--client-port", "0", "--broadcast-port", "0"];
        let output = refused(&[&[&*mode, "--data", &data][..], &ports].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("was not written in mode") && stderr.contains(then), "{stderr}");
    }
}
