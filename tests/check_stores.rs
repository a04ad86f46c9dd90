//! The checkers of causality and sessions on histories of stores that keep (or break) a model by design, from
//! a few hundred operations to a million. The long ones are measured by hand:
//!
//! ```text
//! cargo test --release --test check_stores -- --ignored --nocapture
//! ```

use consistency_lab::check::order::{Halt, Trace};
use consistency_lab::check::spec::SPECS;
use consistency_lab::check::{Answer, Budget, Problem, causal, pram, session};
use consistency_lab::history::{
    Action, Builder, Clock, Completion, History, Invocation, Outcome, Told, ValueId,
};

/// How a replica holds what it has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    /// Whatever came last, in causal order: causal memory.
    Arrival,
    /// The greatest Lamport timestamp, received in causal order: causal convergence.
    LastWriterWins,
    /// Everybody receives the same order; a writer waits for its own write.
    Sequential,
}

/// How many processes, keys and operations.
#[derive(Clone, Copy, Debug)]
struct Size {
    processes: usize,
    keys: usize,
    operations: usize,
}

/// Small and fast: G. Steele et al., *SplitMix*, 2014.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

struct Write {
    key: usize,
    stamp: (u64, usize),
}

struct Replica {
    /// By key: the write that it holds, from 1.
    held: Vec<usize>,
    /// What it has received, in its order.
    log: Vec<usize>,
    received: Vec<bool>,
    /// By neighbour: how much of its log has been taken over.
    taken: [usize; NEIGHBOURS],
    lamport: u64,
}

const NEIGHBOURS: usize = 3;

struct World {
    store: Store,
    writes: Vec<Write>,
    replicas: Vec<Replica>,
    total: Vec<usize>,
}

impl World {
    fn receive(&mut self, replica: usize, write: usize) {
        let Write { key, stamp } = self.writes[write - 1];
        let here = &mut self.replicas[replica];
        here.lamport = here.lamport.max(stamp.0);
        here.log.push(write);
        if self.store != Store::Sequential {
            here.received[write] = true;
        }
        let held = here.held[key];
        let newer = held == 0 || self.writes[held - 1].stamp < stamp;
        if self.store != Store::LastWriterWins || newer {
            here.held[key] = write;
        }
    }

    /// Takes over from a neighbour what it has, in its order.
    fn pull(&mut self, replica: usize, side: usize) {
        let count = self.replicas.len();
        let from = (replica + [1, 7, count - 1][side]) % count;
        for at in self.replicas[replica].taken[side]..self.replicas[from].log.len() {
            let write = self.replicas[from].log[at];
            if !self.replicas[replica].received[write] {
                self.receive(replica, write);
            }
        }
        self.replicas[replica].taken[side] = self.replicas[from].log.len();
    }

    fn advance(&mut self, replica: usize, by: usize) {
        let done = self.replicas[replica].log.len();
        for at in done..(done + by).min(self.total.len()) {
            self.receive(replica, self.total[at]);
        }
    }

    fn write(&mut self, replica: usize, key: usize) -> usize {
        let stamp = (self.replicas[replica].lamport + 1, replica);
        self.writes.push(Write { key, stamp });
        let write = self.writes.len();
        self.total.push(write);
        if self.store == Store::Sequential {
            self.advance(replica, usize::MAX / 2);
        } else {
            self.receive(replica, write);
        }
        write
    }
}

/// A history of such a store, one process at each replica, half of the operations reads.
fn run(store: Store, size: Size, seed: u64) -> History {
    let Size { processes, keys, operations } = size;
    let mut random = Random(seed);
    let replica = || Replica {
        held: vec![0; keys],
        log: Vec::new(),
        received: vec![false; if store == Store::Sequential { 0 } else { operations + 1 }],
        taken: [0; NEIGHBOURS],
        lamport: 0,
    };
    let replicas = (0..processes).map(|_| replica()).collect();
    let mut world = World { store, writes: Vec::new(), replicas, total: Vec::new() };
    let mut builder = Builder::new(Clock::Steps);
    let names: Vec<String> = (0..processes.max(keys)).map(|name| name.to_string()).collect();
    for _ in 0..operations {
        let here = random.below(processes);
        if store == Store::Sequential {
            let by = random.below(4 * processes);
            world.advance(here, by);
        } else if random.below(8) == 0 {
            let side = random.below(NEIGHBOURS);
            world.pull(here, side);
        }
        let key = random.below(keys);
        let writes = random.below(2) == 0;
        let value = if writes { world.write(here, key) } else { world.replicas[here].held[key] };
        let text = value.to_string();
        let value = if value == 0 { ValueId::NIL } else { builder.value(Some(&text)) };
        let action = if writes { Action::Write(value) } else { Action::Read(value) };
        let process = names[here].as_str();
        let key = builder.key(&names[key]);
        let invocation = Invocation { process, key, action, replica: None, at: None };
        builder.invoke(invocation).expect("one operation at a time");
        let end = Completion { process, outcome: Outcome::Ok, told: Told::Nothing, at: None };
        builder.complete(end).expect("it is open");
    }
    builder.finish()
}

fn problem(history: &History) -> Problem<'_> {
    let budget = Budget::unlimited();
    Problem { history, spec: &SPECS[0], initial: ValueId::NIL, budget }
}

type Check = fn(&Problem<'_>) -> Answer;

const CHECKS: [(&str, Check); 8] = [
    ("cc", causal::check_cc),
    ("cm", causal::check_cm),
    ("ccv", causal::check_ccv),
    ("pram", pram::check),
    ("ryw", session::check_read_your_writes),
    ("mr", session::check_monotonic_reads),
    ("mw", session::check_monotonic_writes),
    ("wfr", session::check_writes_follow_reads),
];

/// The names of the models that hold.
fn valid(history: &History) -> Vec<&'static str> {
    let holds = CHECKS.iter().filter(|(_, check)| check(&problem(history)) == Answer::Valid);
    holds.map(|(name, _)| *name).collect()
}

const SMALL: Size = Size { processes: 9, keys: 12, operations: 4000 };

#[test]
fn a_sequential_store_keeps_every_model() {
    for seed in 0..10 {
        let history = run(Store::Sequential, SMALL, seed);
        assert_eq!(valid(&history).len(), CHECKS.len(), "seed {seed}");
    }
}

#[test]
fn a_store_of_arrivals_keeps_causal_memory_but_does_not_converge() {
    for seed in 0..10 {
        let history = run(Store::Arrival, SMALL, seed);
        assert_eq!(valid(&history), ["cc", "cm", "pram", "ryw", "mr", "mw", "wfr"], "seed {seed}");
    }
}

#[test]
fn a_last_writer_wins_store_converges_but_is_no_causal_memory() {
    for seed in 0..10 {
        let history = run(Store::LastWriterWins, SMALL, seed);
        let valid = valid(&history);
        assert!(valid.contains(&"cc") && valid.contains(&"ccv"), "seed {seed}: {valid:?}");
        assert!(!valid.contains(&"cm"), "seed {seed}");
    }
}

#[test]
fn cores_of_long_histories_are_small_and_violate_by_themselves() {
    for (store, seed) in [(Store::Arrival, 1), (Store::LastWriterWins, 2), (Store::Arrival, 3)] {
        let history = run(store, SMALL, seed);
        for (name, check) in CHECKS {
            let Answer::Violation(core) = check(&problem(&history)) else { continue };
            assert!(core.len() < 100, "{store:?} {name}: {} operations", core.len());
            let small = history.restricted(&core);
            assert!(matches!(check(&problem(&small)), Answer::Violation(_)), "{store:?} {name}");
        }
    }
}

/// The processor time of all threads so far, in seconds, where the system tells (it counts a hundredth).
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let user = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(11));
    user.and_then(|ticks| ticks.parse::<f64>().ok()).map_or(f64::NAN, |ticks| ticks / 100.0)
}

fn measured<T>(work: impl FnOnce() -> T) -> (T, f64, f64) {
    let (start, used) = (std::time::Instant::now(), processor_time());
    let result = work();
    (result, start.elapsed().as_secs_f64(), processor_time() - used)
}

type Verdict = fn(&Trace, Budget<'_>) -> Result<(), Halt>;

const VERDICTS: [(&str, Verdict); 8] = [
    ("cc", causal::cc),
    ("cm", causal::cm),
    ("ccv", causal::ccv),
    ("pram", pram::pram),
    ("ryw", session::read_your_writes),
    ("mr", session::monotonic_reads),
    ("mw", session::monotonic_writes),
    ("wfr", session::writes_follow_reads),
];

#[test]
#[ignore = "measures; run it by hand with --release --nocapture"]
fn a_million_operations() {
    for (processes, keys) in [(10, 100), (50, 1000)] {
        let size = Size { processes, keys, operations: 1_000_000 };
        for store in [Store::Sequential, Store::Arrival, Store::LastWriterWins] {
            let history = run(store, size, 7);
            let (trace, wall, cpu) = measured(|| Trace::of(&problem(&history)));
            let trace = trace.expect("values are unique");
            println!("{store:?} {size:?}\n  model    wall s  processor s");
            println!("  trace {wall:7.3} {cpu:7.2}");
            let (mut all_wall, mut all_cpu) = (wall, cpu);
            for (name, verdict) in VERDICTS {
                let (result, wall, cpu) = measured(|| verdict(&trace, Budget::unlimited()));
                let answer = match trace.answer(result) {
                    Answer::Violation(core) => format!("violation by {}", core.len()),
                    other => format!("{other:?}"),
                };
                all_wall += wall;
                all_cpu += cpu;
                println!("  {name:5} {wall:7.3} {cpu:7.2}  {answer}");
            }
            println!("  all   {all_wall:7.3} {all_cpu:7.2}");
        }
    }
}
