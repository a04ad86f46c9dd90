//! Random schedules of writes, lost links, kills, losses of power and lost disks, from a seed each.
//!
//! Every write appends a word of its own to one string. So the string that all replicas end with shows the
//! total order, and at every moment what a replica shows must be a beginning of it.
//!
//! A longer search: `RUNS=100000 cargo test --release --test random_runs`; one seed: `SEED=17 RUNS=1 …`.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use consistency_lab::base::{End, Op};
use consistency_lab::protocol::Backlog;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use support::{Cluster, Seen};

/// How replicas die in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deaths {
    /// kill -9: what was written stays.
    Kills,
    /// The loss of power, with every answer behind a sync: what was not synced may be gone.
    PowerLoss,
    /// kill -9, and now and then one replica's disk is lost too while all others are well.
    LostDisks,
}

struct Run {
    rng: ChaCha8Rng,
    cluster: Cluster,
    n: usize,
    deaths: Deaths,
    /// The word of each write, by ticket.
    words: BTreeMap<u64, String>,
    answered: Vec<u64>,
    next_word: u64,
    /// Everything a replica has ever shown.
    shown: Vec<String>,
}

impl Run {
    fn new(mode: &str, n: usize, deaths: Deaths, seed: u64) -> Self {
        let mut cluster = Cluster::new(mode, n as u16, Duration::ZERO, Backlog::default());
        cluster.synced = deaths == Deaths::PowerLoss;
        (0..n).for_each(|i| cluster.start(i));
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            cluster,
            n,
            deaths,
            words: BTreeMap::new(),
            answered: Vec::new(),
            next_word: 0,
            shown: Vec::new(),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.rng.next_u64() % bound as u64) as usize
    }

    fn write(&mut self) {
        let at = self.below(self.n);
        if !self.cluster.is_up(at) {
            return;
        }
        let word = format!("{}@{at} ", self.next_word);
        self.next_word += 1;
        let op = Op::Concat {
            key: b"x".to_vec().into(),
            data: word.as_bytes().into(),
            end: End::Back,
            create: true,
            max_value: 1 << 20,
        };
        // A refused write has definitely no effect: its word must never show.
        if let Ok(ticket) = self.cluster.submit(at, op) {
            self.words.insert(ticket, word);
        }
    }

    fn one_event(&mut self) {
        let (i, j) = (self.below(self.n), self.below(self.n));
        match self.below(100) {
            0..25 => self.write(),
            25..85 => {
                let busy = self.cluster.busy();
                if !busy.is_empty() {
                    let (from, to) = busy[self.below(busy.len())];
                    self.cluster.step(from, to);
                }
            }
            85..93 if i != j => self.cluster.link(i, j),
            93..95 if i != j => self.cluster.cut(i, j),
            95 => {
                if self.cluster.is_up(i) {
                    self.die(i);
                }
            }
            96..99 => {
                if !self.cluster.is_up(i) {
                    self.cluster.start(i);
                }
            }
            _ => self.cluster.advance(Duration::from_millis(300)),
        }
        self.look();
    }

    fn die(&mut self, i: usize) {
        match self.deaths {
            Deaths::Kills => self.cluster.kill(i),
            Deaths::PowerLoss => {
                let kept = self.below(200);
                self.cluster.lose_power(i, kept);
            }
            Deaths::LostDisks => {
                // Two lost memories at once may lose what was acknowledged; one may not.
                let others_well = (0..self.n)
                    .filter(|j| *j != i)
                    .all(|j| self.cluster.is_up(j) && self.cluster.node(j).status().live);
                if others_well && self.below(2) == 0 {
                    self.cluster.wipe(i);
                    self.cluster.start(i);
                    // It is whole again before the next one dies.
                    self.heal();
                } else {
                    self.cluster.kill(i);
                }
            }
        }
    }

    /// Notes what clients could see now.
    fn look(&mut self) {
        for seen in std::mem::take(&mut self.cluster.seen) {
            match seen {
                Seen::Answered(_, ticket, _) => self.answered.push(ticket),
                Seen::Cut(i, j, why) if !why.contains("silent") => {
                    panic!("replica {i} cut off {j}: {why}");
                }
                _ => {}
            }
        }
        for i in 0..self.n {
            if self.cluster.is_up(i)
                && self.cluster.node(i).readable()
                && let Some(value) = self.cluster.read(i, "x")
                && !self.shown.contains(&value)
            {
                self.shown.push(value);
            }
        }
    }

    fn heal(&mut self) {
        for i in 0..self.n {
            if !self.cluster.is_up(i) {
                self.cluster.start(i);
            }
        }
        self.cluster.link_all();
        self.cluster.settle();
        // Links that had fallen silent were cut on the way.
        self.cluster.link_all();
        self.cluster.settle();
        self.look();
    }

    fn check(&mut self) {
        self.heal();
        let last = self.cluster.contents(0);
        for i in 0..self.n {
            let status = self.cluster.node(i).status();
            assert!(status.live, "replica {i} is not live after all has healed");
            assert_eq!(status.pending, 0, "replica {i} still has messages pending");
            assert_eq!(self.cluster.contents(i), last, "replica {i} differs from replica 0");
        }
        let text = self.cluster.read(0, "x").unwrap_or_default();
        for ticket in &self.answered {
            let word = &self.words[ticket];
            let times = text.split_inclusive(' ').filter(|w| w == word).count();
            assert_eq!(times, 1, "the acknowledged {word:?} is there {times} times in {text:?}");
        }
        for word in text.split_inclusive(' ') {
            let times = text.split_inclusive(' ').filter(|w| *w == word).count();
            assert_eq!(times, 1, "{word:?} took effect {times} times in {text:?}");
            assert!(self.words.values().any(|w| w == word), "the refused {word:?} took effect");
        }
        for shown in &self.shown {
            assert!(
                text.starts_with(shown.as_str()),
                "{shown:?} was shown, and it ended as {text:?}"
            );
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn search(mode: &str, n: usize, deaths: Deaths) {
    let first = number("SEED", 0);
    for seed in first..first + number("RUNS", 300) {
        let result = std::panic::catch_unwind(|| {
            let mut run = Run::new(mode, n, deaths, seed);
            for _ in 0..300 {
                run.one_event();
            }
            run.check();
        });
        if let Err(panic) = result {
            eprintln!("{mode}, {n} replicas, {deaths:?}: replay with SEED={seed} RUNS=1");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn sequential_survives_kills() {
    search("sequential", 3, Deaths::Kills);
}

#[test]
fn sequential_survives_the_loss_of_power() {
    search("sequential", 3, Deaths::PowerLoss);
}

#[test]
fn sequential_survives_a_lost_disk() {
    search("sequential", 3, Deaths::LostDisks);
}

#[test]
fn sequential_with_two_and_with_five_replicas() {
    search("sequential", 2, Deaths::Kills);
    search("sequential", 5, Deaths::Kills);
}

#[test]
fn eventual_survives_kills() {
    search("eventual", 3, Deaths::Kills);
}

#[test]
fn eventual_survives_the_loss_of_power() {
    search("eventual", 3, Deaths::PowerLoss);
}

#[test]
fn one_replica_alone_works() {
    search("sequential", 1, Deaths::Kills);
    search("eventual", 1, Deaths::Kills);
}
