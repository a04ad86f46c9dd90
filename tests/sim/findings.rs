//! What the simulator has found in the real modes, each as the smallest scenario that shows it.

use std::time::Duration;

use crate::support::Cluster;
use consistency_lab::base::{Op, StoreRule, Timestamp, Value};
use consistency_lab::protocol::Backlog;
use consistency_lab::sim::{self, Detail, Plan, Verdict};
use consistency_lab::storage::{self, MemDisk};

fn set(value: &str) -> Op {
    Op::Store {
        key: b"x".to_vec().into(),
        value: Value { data: value.as_bytes().into(), ..Value::default() },
        rule: StoreRule::Always,
    }
}

fn cluster(mode: &str) -> Cluster {
    let mut cluster = Cluster::new(mode, 3, Duration::ZERO, Backlog::default());
    cluster.synced = true;
    (0..3).for_each(|i| cluster.start(i));
    cluster.link_all();
    cluster.settle();
    cluster
}

/// Goes on until a replica has a part of the state that it fetches.
fn fetch_a_part(cluster: &mut Cluster, i: usize) {
    while cluster.node(i).store().position() == 0 {
        for (from, to) in cluster.busy() {
            cluster.step(from, to);
        }
    }
    assert!(!cluster.node(i).status().live, "the state takes several chunks");
}

/// Found as a cluster that never delivered again: later writes were noted with a gap before them.
#[test]
fn an_own_message_that_comes_back_is_noted_again() {
    let mut cluster = cluster("eventual");
    cluster.synced = false;
    cluster.submit(0, set("1")).expect("it is live");
    cluster.step(0, 1).expect("the write is on its way");
    cluster.lose_power(0, 0);
    assert!(!cluster.storage(0).contains("#pending"), "the note was not synced");
    cluster.start(0);
    cluster.link(0, 1);
    while cluster.step(0, 1).is_some() || cluster.step(1, 0).is_some() {}
    assert!(cluster.storage(0).contains("#pending"), "{}", cluster.storage(0));
}

/// Found as a client that read older values than before.
#[test]
fn a_replica_that_dies_while_it_fetches_a_state_does_not_show_a_part_of_it() {
    let mut cluster = cluster("sequential");
    for value in 0..20 {
        cluster.submit(0, set(&value.to_string())).expect("it is live");
        cluster.settle();
    }
    cluster.wipe(2);
    cluster.start(2);
    cluster.link_all();
    fetch_a_part(&mut cluster, 2);
    cluster.kill(2);
    cluster.start(2);
    assert!(cluster.node(2).store().position() > 0 && !cluster.node(2).readable());
    cluster.link_all();
    cluster.settle();
    assert!(cluster.node(2).readable());
}

/// Found as a value that was read and then lost: kill -9, a restart, a read, the loss of power.
#[test]
fn what_a_start_finds_in_the_file_survives_the_loss_of_power() {
    let disk = MemDisk::new();
    let mut opened = storage::open(disk.clone(), 7).expect("an empty disk opens");
    opened.store.execute(Timestamp::new(1, Default::default()), 0, &set("1"));
    opened.log.write(&opened.store.take_unwritten()).expect("there is room");
    let killed = disk.after_kill();
    assert_eq!(storage::open(killed.clone(), 7).expect("it opens").store.position(), 1);
    let found = storage::open(killed.restart(0, true), 7).expect("it opens again");
    assert_eq!(found.store.position(), 1, "it was shown, so it must stay");
}

/// Found as two replicas that delivered different writes: one had taken over a part of a state whose source
/// then lost it, and delivered the same writes once more.
#[test]
fn what_came_before_the_source_of_a_state_died_is_not_delivered_again() {
    let mut cluster = Cluster::new("sequential", 2, Duration::ZERO, Backlog::default());
    cluster.synced = true;
    (0..2).for_each(|i| cluster.start(i));
    cluster.link_all();
    cluster.settle();
    cluster.synced = false;
    for value in 0..20 {
        cluster.submit(0, set(&value.to_string())).expect("it is live");
        cluster.settle();
    }
    cluster.lose_power(1, 0);
    cluster.start(1);
    cluster.link_all();
    fetch_a_part(&mut cluster, 1);
    let taken = cluster.node(1).store().position();
    cluster.lose_power(0, 0);
    cluster.start(0);
    cluster.link_all();
    cluster.settle();
    assert_eq!(cluster.contents(0), cluster.contents(1));
    for i in 0..2 {
        assert_eq!(cluster.node(i).store().position(), taken, "replica {i}");
    }
}

/// Found as a cluster that never delivered again: all who had delivered a write lost it with their unsynced
/// bytes, and the write that its origin had sent behind it waited for it for ever.
#[test]
fn what_lies_behind_a_message_that_all_have_lost_is_delivered() {
    let mut cluster = Cluster::new("sequential", 2, Duration::ZERO, Backlog::default());
    cluster.synced = true;
    (0..2).for_each(|i| cluster.start(i));
    cluster.link_all();
    cluster.settle();
    cluster.synced = false;
    cluster.submit(1, set("lost")).expect("it is live");
    cluster.settle();
    cluster.lose_power(0, 0);
    cluster.submit(1, set("behind")).expect("it is live");
    cluster.start(0);
    cluster.link_all();
    while cluster.node(0).status().pending == 0 {
        for (from, to) in cluster.busy() {
            cluster.step(from, to);
        }
    }
    assert!(!cluster.node(0).status().live, "it has yet to fetch what it lost");
    cluster.lose_power(1, 0);
    cluster.start(1);
    cluster.link_all();
    cluster.settle();
    for i in 0..2 {
        assert_eq!(cluster.node(i).status().pending, 0, "replica {i}");
        assert_eq!(cluster.read(i, "x").as_deref(), Some("behind"), "replica {i}");
    }
}

/// Plans that once made replicas disagree or wait for ever: a message that overtakes an earlier one of its
/// origin, on its way over another replica, while the receiver becomes live.
#[test]
fn plans_that_have_failed_hold() {
    for entry in std::fs::read_dir("tests/plans").expect("the folder of plans") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read(&path).expect("a plan");
        let plan: Plan = serde_json::from_slice(&text).expect("a plan");
        let outcome =
            sim::run(&plan, Detail::History, &sim::no_checker).expect("a plan that can be run");
        assert_eq!(outcome.verdict, Verdict::Holds, "{}", path.display());
    }
}
