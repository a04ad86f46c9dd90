//! Replicas without one order, in a process each: they go on alone, and come to hold the same when they meet.

use std::fs;
use std::path::Path;

use consistency_lab::storage::replay_bytes;

use crate::process_support::cluster::Cluster;
use crate::process_support::{LONG, eventually};

const MODES: [&str; 2] = ["session", "causal"];

/// Keys and values in a `storage.txt`.
fn entries(storage: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let bytes = fs::read(storage).unwrap_or_default();
    let opened = replay_bytes(&bytes).unwrap_or_else(|error| panic!("{storage:?}: {error}"));
    let table = opened.store.table();
    let keys = table.keys_matching(b"*", 0);
    let entry = |key: &[u8]| Some((key.to_vec(), table.get(key, 0)?.data.to_vec()));
    keys.iter().filter_map(|key| entry(key)).collect()
}

/// Waits until all replicas of a cluster hold the same so many entries; gives them.
fn converged(cluster: &Cluster, count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    eventually("the stores are equal", LONG, || {
        let mut all: Vec<_> = (0..3).map(|i| entries(&cluster.storage(i))).collect();
        let last = all.pop()?;
        (last.len() == count && all.iter().all(|one| *one == last)).then_some(last)
    })
}

#[test]
fn each_goes_on_alone_and_the_later_write_holds() {
    for mode in MODES {
        let mut cluster = Cluster::start(mode, &[]);
        assert_eq!(cluster.connect(0).set("shared", "before"), "STORED");
        converged(&cluster, 1);
        cluster.kill(1);
        cluster.kill(2);
        assert_eq!(cluster.connect(0).set("shared", "alone"), "STORED", "{mode}: nobody is needed");
        assert_eq!(cluster.connect(0).text("shared").as_deref(), Some("alone"));
        cluster.restart(2);
        let shared = |i: usize| cluster.connect(i).text("shared");
        eventually("it comes to who was away", LONG, || (shared(2)? == "alone").then_some(()));
        assert_eq!(cluster.connect(2).ask("delete shared\r\n"), "DELETED");
        assert_eq!(cluster.connect(2).set("other", "1"), "STORED");
        cluster.restart(1);
        let left = converged(&cluster, 1);
        assert_eq!(left, [(b"other".to_vec(), b"1".to_vec())], "{mode}");
    }
}

#[test]
fn who_was_away_for_long_or_lost_its_disk_gets_what_differs() {
    for mode in MODES {
        let mut cluster = Cluster::start(mode, &[]);
        let mut writer = cluster.connect(0);
        let value = vec![b'v'; 2_000];
        for n in 0..50 {
            assert_eq!(writer.set(&format!("key{n}"), &value), "STORED");
        }
        converged(&cluster, 50);
        cluster.kill(2);
        // More than the log of writes holds; and more than half of it is garbage, so files are compacted.
        for n in 0..12_000 {
            assert_eq!(writer.set(&format!("new{}", n % 100), &value), "STORED");
        }
        assert_eq!(writer.ask("delete key7\r\n"), "DELETED");
        cluster.restart(2);
        converged(&cluster, 149);
        cluster.kill(1);
        fs::remove_dir_all(cluster.data(1)).expect("the folder goes");
        cluster.restart(1);
        converged(&cluster, 149);
        assert_eq!(cluster.connect(1).set("from", "the empty one"), "STORED");
        converged(&cluster, 150);
    }
}
