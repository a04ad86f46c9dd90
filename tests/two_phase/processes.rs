//! The coordinator and the participants from outside, a process each, killed, restarted and cut off.

use std::io::Read;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::process_support::client::Client;
use crate::process_support::two_phase::{Kv, Lab, read_reply, request};
use crate::process_support::{LONG, eventually};

/// Numbers that look random and are the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % sides
    }
}

#[test]
fn commands_and_their_replies() {
    let lab = Lab::start(3);
    let mut client = lab.client();
    assert_eq!(client.ask(&["GET", "CS06142"]), "nil");
    assert_eq!(client.ask(&["SET", "CS06142", "Cloud", "Computing"]), "+OK");
    assert_eq!(client.ask(&["GET", "CS06142"]), "Cloud Computing");
    assert_eq!(client.ask(&["DEL", "CS06142", "CS162"]), ":1");
    assert_eq!(client.ask(&["GET", "CS06142"]), "nil");
    for words in [&["set", "k", "v"][..], &["SET", "k"], &["GET"], &["DEL"], &["PING"]] {
        assert_eq!(client.ask(words), "-ERROR", "{words:?}");
    }
    // Byte by byte, and many at once; the replies keep the order of the requests.
    for byte in request(&["SET", "k", "0"]) {
        client.inner().send([byte]);
    }
    assert_eq!(read_reply(client.inner()).expect("a reply"), "+OK");
    let mut all = Vec::new();
    for i in 0..3000 {
        all.extend(request(&["SET", "k", &i.to_string()]));
        all.extend(request(&["GET", "k"]));
        all.extend(request(&["GET", &format!("missing{i}")]));
        all.extend(request(&["nothing"]));
    }
    client.inner().send(all);
    for i in 0..3000 {
        let replies = [(); 4].map(|()| read_reply(client.inner()).expect("a reply"));
        assert_eq!(replies, ["+OK", &i.to_string(), "nil", "-ERROR"]);
    }
    // As `printf … | nc` does: all is sent, nothing more will come, and the replies still do.
    let mut half = Client::connect(lab.address());
    half.send([request(&["SET", "k", "v"]), request(&["GET", "k"])].concat());
    half.stream().shutdown(Shutdown::Write).expect("half of it closes");
    let mut rest = String::new();
    half.stream().read_to_string(&mut rest).expect("the replies");
    assert_eq!(rest, "+OK\r\n*1\r\n$1\r\nv\r\n");
    // What cannot be understood, and what comes to the wrong port.
    let mut stranger = Client::connect(lab.address());
    assert_eq!(stranger.ask("hello\r\n"), "-ERROR");
    assert!(stranger.is_closed(LONG));
    let mut stranger = Client::connect(lab.participant_address(0));
    assert_eq!(stranger.ask(request(&["GET", "k"])), "-ERROR");
    assert!(stranger.is_closed(LONG));
    lab.stop();
}

#[test]
fn a_large_value_and_a_client_that_does_not_read() {
    let lab = Lab::start(3);
    let mut client = lab.client();
    let value = "v".repeat(8 << 20);
    assert_eq!(client.ask(&["SET", "large", &value]), "+OK");
    // So many that they do not fit into the sockets' buffers; others go on meanwhile.
    let mut greedy = Client::connect(lab.address());
    greedy.send(request(&["GET", "large"]).repeat(20));
    for i in 0..100 {
        assert_eq!(client.ask(&["SET", "small", &i.to_string()]), "+OK");
    }
    for _ in 0..20 {
        assert_eq!(read_reply(&mut greedy).expect("the value").len(), value.len());
    }
    assert_eq!(client.ask(&["DEL", "large"]), ":1");
    lab.stop();
}

/// Writes to keys of its own until it is told to stop, and checks what it can know.
fn write_and_delete(mut client: Kv, name: usize, stop: &AtomicBool, done: &AtomicUsize) {
    let [a, b] = ["a", "b"].map(|half| format!("{half}{name}"));
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let value = n.to_string();
        client.insist(&["SET", &a, &value]);
        client.insist(&["SET", &b, &value]);
        assert_eq!(client.insist(&["GET", &a]), value);
        // It may have happened although nobody said so; then it is not done again.
        if let Ok(reply) = client.try_ask(&["DEL", &a, &b])
            && reply != "-ERROR"
        {
            assert_eq!(reply, ":2");
            assert_eq!(client.insist(&["GET", &a]), "nil");
        }
        let halves = [client.insist(&["GET", &a]), client.insist(&["GET", &b])];
        assert_eq!(halves[0], halves[1], "half a deletion");
        done.fetch_add(1, Ordering::Relaxed);
    }
    client.insist(&["SET", &a, "last"]);
    client.insist(&["SET", &b, "last"]);
}

#[test]
fn the_coordinator_is_killed_fifty_times_under_load() {
    let mut lab = Lab::start(3);
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for name in 0..6 {
            let client = lab.retrying();
            let (stop, done) = (&stop, &done);
            scope.spawn(move || write_and_delete(client, name, stop, done));
        }
        for round in 0..50 {
            // At any moment of the work: after so many rounds of it.
            let wanted = done.load(Ordering::Relaxed) + 3 + round % 7;
            eventually("the clients get on", LONG, || {
                (done.load(Ordering::Relaxed) >= wanted || stop.load(Ordering::Relaxed))
                    .then_some(())
            });
            lab.kill_coordinator();
            lab.start_coordinator();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut client = lab.client();
    for name in 0..6 {
        for half in ["a", "b"] {
            assert_eq!(client.insist(&["GET", &format!("{half}{name}")]), "last");
        }
    }
    lab.stop();
}

/// Stores `n` keys, many at once.
fn fill(lab: &Lab, n: usize) {
    let mut client = Client::connect(lab.address());
    for from in (0..n).step_by(1000) {
        let mut all = Vec::new();
        for i in from..from + 1000 {
            all.extend(request(&["SET", &format!("key{i}"), &format!("value{i}")]));
        }
        client.send(all);
        for _ in 0..1000 {
            assert_eq!(read_reply(&mut client).expect("a reply"), "+OK");
        }
    }
}

/// Reads them all.
fn check(lab: &Lab, n: usize) {
    let mut client = Client::connect(lab.address());
    for from in (0..n).step_by(1000) {
        let mut all = Vec::new();
        (from..from + 1000).for_each(|i| all.extend(request(&["GET", &format!("key{i}")])));
        client.send(all);
        for i in from..from + 1000 {
            assert_eq!(read_reply(&mut client).expect("a reply"), format!("value{i}"));
        }
    }
}

#[test]
fn a_participant_that_is_killed_is_out_soon_and_comes_back_with_everything() {
    const KEYS: usize = 100_000;
    let mut lab = Lab::start(3);
    lab.members("{0, 1, 2}");
    fill(&lab, KEYS);
    let mut client = lab.client();
    lab.kill_participant(1);
    let killed = Instant::now();
    // It may wait for the one that is dead, but not long, and nobody is told that it failed.
    assert_eq!(client.ask(&["SET", "k", "without 1"]), "+OK");
    let out = killed.elapsed();
    lab.members("{0, 2}");
    let stop = AtomicBool::new(false);
    let back = thread::scope(|scope| {
        let mut writer = lab.client();
        let stop = &stop;
        scope.spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                assert_eq!(writer.ask(&["SET", &format!("new{n}"), "v"]), "+OK");
            }
            assert_eq!(writer.ask(&["SET", "new", &n.to_string()]), "+OK");
        });
        let begun = Instant::now();
        lab.start_participant(1);
        lab.members("{0, 1, 2}");
        stop.store(true, Ordering::Relaxed);
        begun.elapsed()
    });
    eprintln!("out after {out:?}, back with {KEYS} keys after {back:?}");
    assert!(out < Duration::from_secs(3), "{out:?}");
    assert!(back < Duration::from_secs(10), "{back:?}");
    // The others go: it alone has everything.
    lab.kill_participant(0);
    lab.kill_participant(2);
    lab.members("{1}");
    check(&lab, KEYS);
    assert_eq!(client.ask(&["GET", "k"]), "without 1");
    let n: usize = client.ask(&["GET", "new"]).parse().expect("a number");
    for i in 1..=n {
        assert_eq!(client.ask(&["GET", &format!("new{i}")]), "v");
    }
    lab.kill_participant(1);
    eventually("all are dead", LONG, || (client.ask(&["GET", "k"]) == "-ERROR").then_some(()));
    assert_eq!(client.ask(&["SET", "k", "v"]), "-ERROR");
    lab.stop();
}

#[test]
fn one_fails_comes_back_and_serves_when_the_other_fails() {
    let mut lab = Lab::start(2);
    lab.members("{0, 1}");
    let mut client = lab.client();
    for round in 0..4 {
        let (a, b) = (round % 2, 1 - round % 2);
        let value = round.to_string();
        assert_eq!(client.ask(&["SET", "before", &value]), "+OK");
        lab.kill_participant(a);
        assert_eq!(client.insist(&["SET", "without a", &value]), "+OK");
        lab.members(&format!("{{{b}}}"));
        lab.start_participant(a);
        lab.members("{0, 1}");
        assert_eq!(client.ask(&["SET", "with both", &value]), "+OK");
        lab.kill_participant(b);
        for key in ["before", "without a", "with both"] {
            assert_eq!(client.insist(&["GET", key]), value, "{key}");
        }
        lab.start_participant(b);
        lab.members("{0, 1}");
    }
    lab.stop();
}

#[test]
fn links_are_cut_and_healed_in_any_order() {
    let lab = Lab::start_with(3, false, true);
    lab.members("{0, 1, 2}");
    let mut client = lab.client();
    let mut dice = Dice(7);
    let mut whole = [true; 3];
    for round in 0..12 {
        // One at least keeps its link, and one that has just come back is brought up to date first.
        let p = dice.throw(3);
        let cut = whole[p] && whole.iter().filter(|w| **w).count() > 1;
        whole[p] = !cut;
        if cut {
            lab.cut(p)
        } else {
            lab.heal(p)
        }
        let members: Vec<String> = (0..3).filter(|p| whole[*p]).map(|p| p.to_string()).collect();
        let key = format!("k{}", round % 4);
        assert_eq!(client.insist(&["SET", &key, &round.to_string()]), "+OK");
        lab.members(&format!("{{{}}}", members.join(", ")));
        for k in 0..4.min(round + 1) {
            let newest = (0..=round).rev().find(|r| r % 4 == k).expect("one was written");
            assert_eq!(client.ask(&["GET", &format!("k{k}")]), newest.to_string());
        }
    }
    lab.stop();
}

#[test]
fn an_old_copy_never_wins() {
    let mut lab = Lab::start_with(3, true, false);
    lab.members("{0, 1, 2}");
    let mut client = lab.client();
    assert_eq!(client.ask(&["SET", "k", "old"]), "+OK");
    lab.kill_participant(0);
    assert_eq!(client.insist(&["SET", "k", "newer"]), "+OK");
    lab.members("{1, 2}");
    lab.kill_participant(1);
    assert_eq!(client.insist(&["SET", "k", "newest"]), "+OK");
    lab.members("{2}");
    lab.kill_participant(2);
    lab.kill_coordinator();
    // Nobody who is there knows the newest value, and nobody guesses.
    for p in [0, 1] {
        lab.start_participant(p);
        if p == 0 {
            lab.start_coordinator();
        }
        let mut client = lab.client();
        for _ in 0..3 {
            assert_eq!(client.ask(&["GET", "k"]), "-ERROR");
            assert_eq!(client.ask(&["SET", "k", "wrong"]), "-ERROR");
        }
    }
    lab.start_participant(2);
    let mut client = lab.client();
    assert_eq!(client.insist(&["GET", "k"]), "newest");
    lab.members("{0, 1, 2}");
    lab.kill_participant(2);
    assert_eq!(client.insist(&["GET", "k"]), "newest");
    lab.stop();
}

#[test]
fn what_was_written_is_on_the_disk() {
    let mut lab = Lab::start_with(3, true, false);
    fill(&lab, 2000);
    let mut client = lab.client();
    assert_eq!(client.ask(&["DEL", "key0", "key1"]), ":2");
    lab.kill_coordinator();
    (0..3).for_each(|p| lab.kill_participant(p));
    let log = std::fs::read_to_string(lab.path("data1").join("2pc.log")).expect("text");
    assert!(log.starts_with("#2pc.log v1:"));
    let set = "\tset\tkey7\t*1\\r\\n$6\\r\\nvalue7\\r\\n\t";
    for part in [set, "\tdel\tkey0\tkey1\t", "\ncommitted\t", "\nview\t"] {
        assert!(log.contains(part), "{part}");
    }
    (0..3).for_each(|p| lab.start_participant(p));
    lab.start_coordinator();
    let mut client = lab.client();
    assert_eq!(client.insist(&["GET", "key0"]), "nil");
    assert_eq!(client.ask(&["GET", "key1"]), "nil");
    assert_eq!(client.ask(&["GET", "key1999"]), "value1999");
    assert_eq!(client.ask(&["SET", "key0", "value0"]), "+OK");
    assert_eq!(client.ask(&["SET", "key1", "value1"]), "+OK");
    check(&lab, 2000);
    lab.stop();
}
