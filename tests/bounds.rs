//! What one input may cause is bounded, however small the input.

mod support;

use std::time::Duration;

use consistency_lab::base::{End, Op, StoreRule, Timestamp, Value};
use consistency_lab::protocol::Backlog;
use consistency_lab::wire::peer::{Frame, StreamPlace};
use support::{Cluster, Seen};

fn cluster(mode: &str) -> Cluster {
    let mut cluster = Cluster::new(mode, 3, Duration::ZERO, Backlog::default());
    (0..3).for_each(|i| cluster.start(i));
    cluster.link_all();
    cluster.settle();
    cluster.seen.clear();
    cluster
}

#[test]
fn small_appends_to_a_long_value_are_delivered_in_pieces() {
    let mut cluster = cluster("eventual");
    let data = vec![b'v'; 900_000].into_boxed_slice();
    let value = Value { data, ..Value::default() };
    let key: Box<[u8]> = b"k".to_vec().into();
    let rule = StoreRule::Always;
    cluster.submit(0, Op::Store { key: key.clone(), value, rule }).expect("a live replica");
    for _ in 0..200 {
        let (key, data) = (key.clone(), b"0123456789".to_vec().into());
        let op = Op::Concat { key, data, end: End::Back, create: false, max_value: 1 << 20 };
        cluster.submit(0, op).expect("a live replica");
    }
    cluster.settle();
    for _ in 0..200 {
        cluster.advance(Duration::from_millis(1));
        cluster.settle();
    }
    for i in 0..3 {
        let value = cluster.read(i, "k").expect("the key");
        assert_eq!(value.len(), 900_000 + 2_000, "replica {i} has delivered all of it");
    }
    let largest = cluster.largest_batch;
    assert!(largest < 6 << 20, "one batch wrote {largest} bytes");
}

#[test]
fn a_time_beyond_all_clocks_is_not_believed() {
    let ack = Frame::Ack {
        origin: cluster("sequential").node(2).id(),
        through: StreamPlace { incarnation: 1, time: u64::MAX },
    };
    let delivered = Frame::Delivered(Timestamp { time: u64::MAX, ..Timestamp::ZERO });
    for frame in [ack, delivered] {
        let mut cluster = cluster("sequential");
        cluster.inject(1, 0, frame);
        let cut = |seen: &Seen| matches!(seen, Seen::Cut(0, 1, why) if why.contains("time"));
        assert!(cluster.seen.iter().any(cut), "replica 0 cuts off who sends it");
        assert!(cluster.node(0).status().clock < 100);
    }
}

#[test]
fn a_link_is_not_silent_while_a_long_frame_comes() {
    let mut cluster = cluster("sequential");
    for _ in 0..6 {
        cluster.advance(Duration::from_secs(1));
        cluster.trickle(1, 0);
    }
    let cut_off = |j: usize| move |seen: &Seen| matches!(seen, Seen::Cut(0, k, _) if *k == j);
    assert!(cluster.seen.iter().any(cut_off(2)), "replica 2 was silent");
    assert!(!cluster.seen.iter().any(cut_off(1)), "replica 1 was not");
}
