//! Two-phase commit under random faults, in virtual time: nothing that was answered is lost, nothing half-done is
//! seen, no old copy comes back, and when all faults are over everything goes on.

use std::collections::BTreeMap;

use crate::two_phase_support::{MS, World, delete, get, set, text};
use consistency_lab::protocol::two_phase::{
    Answer, Members, PresumedAbort, Rules, View, Violation,
};

/// What one client does to a pair of keys that only it writes: 3i+1 sets the first, 3i+2 the second, 3i+3 deletes
/// both. Others read. `low` is the number of the last write to each key that has certainly happened.
#[derive(Default)]
struct Pair {
    names: [String; 2],
    step: u64,
    /// Those that have certainly not happened.
    failed: Vec<u64>,
    low: [u64; 2],
    writing: Option<u64>,
}

/// A read under way: of which key, and what had certainly happened when it began.
struct Read {
    pair: usize,
    key: usize,
    low: u64,
}

#[derive(Default)]
struct Clients {
    pairs: Vec<Pair>,
    writes: BTreeMap<u64, (usize, u64)>,
    reads: BTreeMap<u64, Read>,
    answered: usize,
    ok: usize,
    unknown: usize,
}

fn touches(step: u64, key: usize) -> bool {
    step.is_multiple_of(3) || step % 3 == key as u64 + 1
}

impl Pair {
    fn happened(&mut self, step: u64) {
        for key in 0..2 {
            if touches(step, key) {
                self.low[key] = self.low[key].max(step);
            }
        }
    }
}

impl Clients {
    fn new(n: usize) -> Self {
        let pair = |i| Pair { names: [format!("a{i}"), format!("b{i}")], ..Pair::default() };
        Self { pairs: (0..n).map(pair).collect(), ..Self::default() }
    }

    fn write<R: Rules>(&mut self, world: &mut World<R>, pair: usize) {
        let ticket = world.unique();
        let it = &mut self.pairs[pair];
        if it.writing.is_some() {
            return;
        }
        it.step += 1;
        it.writing = Some(it.step);
        let value = it.step.to_string();
        let command = match it.step % 3 {
            0 => delete(&[&it.names[0], &it.names[1]]),
            k => set(&it.names[k as usize - 1], &value),
        };
        self.writes.insert(ticket, (pair, it.step));
        world.submit(ticket, command);
    }

    fn read<R: Rules>(&mut self, world: &mut World<R>, pair: usize, key: usize) {
        let ticket = world.unique();
        let low = self.pairs[pair].low[key];
        self.reads.insert(ticket, Read { pair, key, low });
        world.submit(ticket, get(&self.pairs[pair].names[key]));
    }

    /// All connections of clients are lost.
    fn lose(&mut self) {
        for (_, (pair, _)) in std::mem::take(&mut self.writes) {
            self.pairs[pair].writing = None;
        }
        self.reads.clear();
    }

    fn take<R: Rules>(&mut self, world: &mut World<R>) {
        if std::mem::take(&mut world.fresh) {
            self.pairs.iter_mut().for_each(|pair| pair.low = [0, 0]);
            self.reads.values_mut().for_each(|read| read.low = 0);
        }
        for (ticket, answer) in std::mem::take(&mut world.answers) {
            self.answered += 1;
            if let Some((pair, step)) = self.writes.remove(&ticket) {
                self.pairs[pair].writing = None;
                match answer {
                    Answer::Ok | Answer::Removed(_) => {
                        self.ok += 1;
                        self.pairs[pair].happened(step);
                    }
                    Answer::Error(_) => self.pairs[pair].failed.push(step),
                    Answer::Unknown => self.unknown += 1,
                    Answer::Value(_) => panic!("a value for a write"),
                }
            } else if let Some(read) = self.reads.remove(&ticket) {
                self.judge(&read, answer);
            }
        }
    }

    fn judge(&mut self, read: &Read, answer: Answer) {
        let Answer::Value(value) = answer else {
            assert!(!matches!(answer, Answer::Ok | Answer::Removed(_)), "{answer:?} for a read");
            return;
        };
        let pair = &mut self.pairs[read.pair];
        let name = &pair.names[read.key];
        let step = match value {
            Some(value) => {
                let step: u64 = text(&value).parse().expect("a step");
                assert!(step >= read.low, "{name} was {step}, after {} had happened", read.low);
                assert!(!pair.failed.contains(&step), "{name} was {step}, which had failed");
                step
            }
            None => {
                let could = |step: &u64| step.is_multiple_of(3) && !pair.failed.contains(step);
                (read.low..=pair.step)
                    .find(could)
                    .unwrap_or_else(|| panic!("{name} was none, after {} had happened", read.low))
            }
        };
        pair.happened(step);
    }
}

#[derive(Clone, Copy)]
struct Faults {
    durable: bool,
    kill_participants: bool,
    kill_coordinator: bool,
    cut: bool,
    /// The most participants that are down or cut off at once.
    most: u64,
}

fn unavailable<R: Rules>(world: &World<R>) -> u64 {
    world.nodes.iter().filter(|node| node.machine.is_none() || node.is_cut).count() as u64
}

fn fault<R: Rules>(world: &mut World<R>, clients: &mut Clients, faults: Faults) {
    let p = world.random.below(world.nodes.len() as u64) as u16;
    let node = &world.nodes[usize::from(p)];
    let (alive, is_cut) = (node.machine.is_some(), node.is_cut);
    let room = unavailable(world) < faults.most;
    match world.random.below(6) {
        0 | 1 if !alive => world.start(p),
        0 if faults.kill_participants && room => world.kill(p),
        2 | 3 if is_cut => world.heal(p),
        2 if faults.cut && room => world.cut(p),
        3 if faults.cut => world.break_link(p),
        4 if faults.kill_coordinator && world.coordinator.is_some() => {
            world.kill_coordinator();
            clients.lose();
            world.answers.clear();
        }
        4 | 5 if world.coordinator.is_none() => world.start_coordinator(),
        _ => {}
    }
}

fn dump<R: Rules>(world: &World<R>, p: usize) -> BTreeMap<String, String> {
    let machine = world.nodes[p].machine.as_ref().expect("it runs");
    machine.table().iter().map(|(key, value)| (text(key), text(value))).collect()
}

/// One run; whether it served at the end.
fn run<R: Rules>(n: u16, seed: u64, faults: Faults) -> bool {
    let mut world: World<R> = World::new(n, faults.durable, seed);
    world.delay = world.random.below(8);
    world.start_all();
    let mut clients = Clients::new(6);
    world.run(300 * MS);
    let pace = 1 + world.random.below(300);
    for _ in 0..8000 {
        let pair = world.random.below(6) as usize;
        let k = world.random.below(2) as usize;
        match world.random.below(4) {
            0 => clients.write(&mut world, pair),
            1 => clients.read(&mut world, pair, k),
            _ => {}
        }
        if world.random.below(pace) == 0 {
            fault(&mut world, &mut clients, faults);
        }
        world.run(MS);
        clients.take(&mut world);
    }
    for (p, why) in &world.cuts {
        assert!(matches!(why, Violation::Silent | Violation::Replaced), "P{p}: {why}");
    }
    for p in 0..n {
        world.heal(p);
        if world.nodes[usize::from(p)].machine.is_none() {
            world.start(p);
        }
    }
    if world.coordinator.is_none() {
        world.start_coordinator();
    }
    world.run(4000 * MS);
    clients.take(&mut world);
    assert!(clients.writes.is_empty() && clients.reads.is_empty(), "all are answered");
    let status = world.coordinator.as_ref().expect("it runs").status();
    if !status.serving {
        return false;
    }
    assert_eq!(status.view.members.len(), usize::from(n), "all are members again");
    for pair in 0..6 {
        clients.read(&mut world, pair, 0);
        clients.read(&mut world, pair, 1);
    }
    world.run(100 * MS);
    clients.take(&mut world);
    assert!(clients.reads.is_empty());
    let first = dump(&world, 0);
    for p in 0..usize::from(n) {
        assert_eq!(dump(&world, p), first, "P0 and P{p} hold the same");
        assert!(world.nodes[p].machine.as_ref().expect("it runs").prepared().is_empty());
    }
    true
}

fn sweep(n: u16, faults: Faults) -> (u64, u64) {
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let first: u64 = std::env::var("FIRST_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut served = 0;
    for seed in first..first + seeds {
        let result = std::panic::catch_unwind(|| run::<PresumedAbort>(n, seed, faults));
        match result {
            Ok(serves) => served += u64::from(serves),
            Err(panic) => {
                eprintln!("n {n}, FIRST_SEED={seed} SEEDS=1");
                std::panic::resume_unwind(panic);
            }
        }
    }
    (served, seeds)
}

const NONE: Faults = Faults {
    durable: false,
    kill_participants: false,
    kill_coordinator: false,
    cut: false,
    most: 0,
};

#[test]
fn without_faults_everything_is_served() {
    let (served, seeds) = sweep(3, NONE);
    assert_eq!(served, seeds);
}

#[test]
fn cut_links_and_lost_coordinators_lose_nothing() {
    let faults = Faults { kill_coordinator: true, cut: true, most: 9, ..NONE };
    for n in 1..=4 {
        let (served, seeds) = sweep(n, faults);
        assert_eq!(served, seeds, "nobody has lost its memory, so the data is there: n {n}");
    }
}

#[test]
fn participants_with_a_log_lose_nothing() {
    let faults = Faults {
        durable: true,
        kill_participants: true,
        kill_coordinator: true,
        cut: true,
        most: 9,
    };
    for n in 1..=4 {
        let (served, seeds) = sweep(n, faults);
        assert_eq!(served, seeds, "the disks have it all: n {n}");
    }
}

#[test]
fn participants_in_memory_come_back_from_those_that_live() {
    let faults = Faults { kill_participants: true, cut: true, most: 1, ..NONE };
    for n in 2..=4 {
        let (served, seeds) = sweep(n, faults);
        println!("n {n}: served at the end {served} of {seeds}");
    }
}

#[test]
fn no_old_copy_comes_back_whatever_is_lost() {
    let faults = Faults {
        durable: false,
        kill_participants: true,
        kill_coordinator: true,
        cut: true,
        most: 9,
    };
    for n in 1..=4 {
        let (served, seeds) = sweep(n, faults);
        println!("n {n}: served at the end {served} of {seeds}");
    }
}

/// Defines a variant that is wrong on purpose: one rule is another. Those that are seen by chance only are the
/// simulator's.
macro_rules! mutant {
    ($name:ident, $seeds:expr, $n:expr, $faults:expr, $rule:item) => {
        mod $name {
            use super::*;

            #[derive(Clone, Copy, Debug)]
            struct Mutant;

            impl Rules for Mutant {
                $rule
            }

            #[test]
            fn is_noticed() {
                let wrong = |seed: &u64| {
                    std::panic::catch_unwind(|| run::<Mutant>($n, *seed, $faults)).is_err()
                };
                assert!((1..=$seeds).any(|seed| wrong(&seed)), "nobody noticed the mutant");
            }
        }
    };
}

const ALL: Faults =
    Faults { durable: true, kill_participants: true, kill_coordinator: true, cut: true, most: 9 };

mutant!(
    forgets_its_promise,
    40,
    3,
    ALL,
    fn keeps_promise() -> bool {
        false
    }
);
mutant!(
    commits_without_all_votes,
    40,
    3,
    ALL,
    fn may_commit(_: Members) -> bool {
        true
    }
);
mutant!(
    serves_before_it_has_caught_up,
    40,
    3,
    ALL,
    fn has_caught_up(_: bool) -> bool {
        true
    }
);
mutant!(
    aborts_what_somebody_committed,
    40,
    3,
    ALL,
    fn resolves_to_commit(_: bool) -> bool {
        false
    }
);
mutant!(
    takes_the_older_view,
    40,
    3,
    ALL,
    fn newer(one: View, other: View) -> View {
        if other.id < one.id { other } else { one }
    }
);
mutant!(
    guesses_which_is_newest,
    40,
    3,
    ALL,
    fn is_certain(_: bool, _: bool) -> bool {
        true
    }
);
mutant!(
    forgets_what_was_removed,
    200,
    2,
    ALL,
    fn remembers_removed() -> bool {
        false
    }
);
mutant!(
    answers_before_all_are_done,
    40,
    3,
    ALL,
    fn waits_for_done() -> bool {
        false
    }
);

#[test]
fn a_hundred_thousand_keys_are_copied_while_commands_go_on() {
    let mut world: World = World::new(2, false, 1);
    world.start_all();
    world.run(100 * MS);
    for i in 0..100_000 {
        world.submit(i, set(&format!("key{i:06}"), "a value of some length, as values have"));
        if i % 1000 == 999 {
            world.pump();
        }
    }
    world.pump();
    assert_eq!(std::mem::take(&mut world.answers).len(), 100_000);
    world.kill(1);
    world.run(700 * MS);
    world.start(1);
    world.delay = 1;
    for i in 0..400 {
        world.submit(i, set(&format!("key{:06}", i * 200), "new"));
        world.submit(i, delete(&[&format!("key{:06}", i * 200 + 1)]));
        world.run(MS);
    }
    world.run(20 * MS);
    assert_eq!(world.answers.len(), 800);
    let status = world.coordinator.as_ref().expect("it runs").status();
    assert_eq!(status.view.members, Members::first(2), "it has caught up");
    assert_eq!(dump(&world, 0).len(), 100_000 - 400);
    assert!(dump(&world, 0) == dump(&world, 1), "both hold the same");
}
