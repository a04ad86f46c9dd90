//! Runs of a simulated store: writes are broadcast in total order and reads are local, so every run is
//! sequentially consistent and few are linearizable.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::base::ReplicaId;
use crate::history::{Delivery, KeyId};

const REPLICAS: usize = 3;

/// What run to simulate.
#[derive(Clone, Copy, Debug)]
struct Run {
    seed: u64,
    operations: usize,
    clients: u64,
    keys: u64,
    /// Of ten operations, how many change something.
    writes: u64,
    /// How much longer a delivery takes at each next replica.
    lag: u64,
    /// Of a thousand writes, how many are given up.
    unknown: u64,
    /// How many values there are; 0 for unique ones.
    values: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Register,
    Cas,
    Append,
}

const USUAL: Run = Run {
    seed: 1,
    operations: 2_000,
    clients: 6,
    keys: 10,
    writes: 5,
    lag: 40,
    unknown: 10,
    values: 0,
    kind: Kind::Register,
};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Begin(u64),
    /// The change of this index gets its place in the total order.
    Order(usize),
    /// A read is answered.
    Answer(u64, KeyId),
    /// The change of this index is applied at the client's replica.
    Applied(usize),
    /// The client gives up.
    GiveUp(u64),
}

struct Change {
    client: u64,
    op: OpId,
    key: KeyId,
    action: Action,
    given_up: bool,
    swapped: bool,
}

struct Replica {
    /// When each change of the log is applied.
    applied_at: Vec<u64>,
    applied: usize,
    states: Vec<ValueId>,
}

struct Store {
    run: Run,
    random: Random,
    builder: Builder,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    count: u64,
    changes: Vec<Change>,
    log: Vec<usize>,
    /// What keys hold at the end of the log.
    states: Vec<ValueId>,
    replicas: Vec<Replica>,
    begun: usize,
    next_value: u64,
}

/// The history of a run, with the deliveries of its replicas.
fn simulate(run: Run) -> History {
    let mut builder = Builder::new(Clock::Steps);
    for key in 0..run.keys {
        builder.key(&format!("k{key}"));
    }
    let states = vec![ValueId::NIL; run.keys as usize];
    let replica = || Replica { applied_at: Vec::new(), applied: 0, states: states.clone() };
    let mut store = Store {
        run,
        random: Random(run.seed),
        builder,
        events: BinaryHeap::new(),
        count: 0,
        changes: Vec::new(),
        log: Vec::new(),
        replicas: (0..REPLICAS).map(|_| replica()).collect(),
        states,
        begun: 0,
        next_value: 0,
    };
    for client in 0..run.clients {
        store.at(client, Event::Begin(client));
    }
    while let Some(Reverse((now, _, event))) = store.events.pop() {
        store.handle(now, event);
    }
    store.finish()
}

impl Store {
    fn at(&mut self, time: u64, event: Event) {
        self.count += 1;
        self.events.push(Reverse((time, self.count, event)));
    }

    fn replica_of(client: u64) -> usize {
        client as usize % REPLICAS
    }

    fn handle(&mut self, now: u64, event: Event) {
        match event {
            Event::Begin(client) if self.begun < self.run.operations => self.begin(now, client),
            Event::Begin(_) => {}
            Event::Order(change) => self.order(now, change),
            Event::Answer(client, key) => {
                let value = self.state(Self::replica_of(client), now)[key.0 as usize];
                self.complete(now, client, Outcome::Ok, Told::Value(value));
            }
            Event::Applied(index) => {
                self.state(Self::replica_of(self.changes[index].client), now);
                let change = &self.changes[index];
                let told = match change.action {
                    Action::Cas { .. } => Told::Swapped(change.swapped),
                    _ => Told::Nothing,
                };
                if !change.given_up {
                    self.complete(now, change.client, Outcome::Ok, told);
                }
            }
            Event::GiveUp(client) => self.complete(now, client, Outcome::Unknown, Told::Nothing),
        }
    }

    fn complete(&mut self, now: u64, client: u64, outcome: Outcome, told: Told) {
        let process = &format!("p{client}");
        let completion = Completion { process, outcome, told, at: None };
        self.builder.complete(completion).expect("it is open");
        let pause = self.random.below(30);
        self.at(now + pause, Event::Begin(client));
    }

    fn begin(&mut self, now: u64, client: u64) {
        self.begun += 1;
        let key = KeyId(self.random.below(self.run.keys) as u32);
        let is_change = self.random.below(10) < self.run.writes;
        let action = if is_change { self.action(key) } else { Action::Read(ValueId::NIL) };
        let process = &format!("p{client}");
        let invocation = Invocation { process, key, action, replica: None, at: None };
        let op = self.builder.invoke(invocation).expect("its process is free");
        let delay = 1 + self.random.below(20);
        if !is_change {
            return self.at(now + delay, Event::Answer(client, key));
        }
        let given_up = self.random.below(1000) < self.run.unknown;
        let change = Change { client, op, key, action, given_up, swapped: true };
        self.changes.push(change);
        if given_up {
            self.at(now + 100, Event::GiveUp(client));
        }
        if !given_up || self.random.below(2) == 0 {
            let late = if given_up { self.random.below(300) } else { 0 };
            self.at(now + delay + late, Event::Order(self.changes.len() - 1));
        }
    }

    fn action(&mut self, key: KeyId) -> Action {
        self.next_value += 1;
        let value = match self.run.values {
            0 => self.next_value,
            values => 1 + self.random.below(values),
        };
        let value = self.builder.value(Some(&format!("{value}.")));
        match self.run.kind {
            Kind::Append => Action::Append(value),
            Kind::Cas if self.random.below(2) == 0 => {
                let from = self.states[key.0 as usize];
                Action::Cas { from, to: value, swapped: true }
            }
            _ => Action::Write(value),
        }
    }

    fn order(&mut self, now: u64, index: usize) {
        let change = &mut self.changes[index];
        let state = &mut self.states[change.key.0 as usize];
        match change.action {
            Action::Write(value) => *state = value,
            Action::Cas { from, to, .. } => {
                change.swapped = *state == from;
                *state = if change.swapped { to } else { *state };
            }
            Action::Append(_) => *state = joined(&mut self.builder, *state, change.action),
            _ => {}
        }
        self.log.push(index);
        let own = Self::replica_of(change.client);
        for number in 0..REPLICAS {
            let delay = self.random.below(10 + self.run.lag * number as u64);
            let replica = &mut self.replicas[number];
            let last = replica.applied_at.last().copied().unwrap_or(0);
            replica.applied_at.push(last.max(now + delay));
            if number == own {
                self.at(last.max(now + delay), Event::Applied(index));
            }
        }
    }

    /// What a replica holds now.
    fn state(&mut self, replica: usize, now: u64) -> &[ValueId] {
        let Replica { applied_at, applied, states } = &mut self.replicas[replica];
        while applied_at.get(*applied).is_some_and(|at| *at <= now) {
            let change = &self.changes[self.log[*applied]];
            let state = &mut states[change.key.0 as usize];
            match change.action {
                Action::Write(value) => *state = value,
                Action::Cas { to, .. } if change.swapped => *state = to,
                Action::Append(_) => *state = joined(&mut self.builder, *state, change.action),
                _ => {}
            }
            *applied += 1;
        }
        states
    }

    fn finish(self) -> History {
        let mut deliveries = Vec::new();
        for (number, replica) in self.replicas.iter().enumerate() {
            for index in &self.log[..replica.applied] {
                let Change { op, key, action, .. } = self.changes[*index];
                let (Action::Write(value) | Action::Append(value) | Action::Cas { to: value, .. }) =
                    action
                else {
                    continue;
                };
                let replica = ReplicaId(number as u16);
                deliveries.push(Delivery { replica, operation: Some(op), key, value, at: 0 });
            }
        }
        History { deliveries, ..self.builder.finish() }
    }
}

fn joined(builder: &mut Builder, state: ValueId, action: Action) -> ValueId {
    let Action::Append(value) = action else { return state };
    let history = builder.history_mut();
    let head = if state == ValueId::NIL { "" } else { history.value(state) };
    let text = format!("{head}{}", history.value(value));
    builder.value(Some(&text))
}

fn spec(run: Run) -> &'static str {
    match run.kind {
        Kind::Register => "register",
        Kind::Cas => "cas-register",
        Kind::Append => "append",
    }
}

/// Lets one read return what its key held some writes before.
fn corrupt(history: &mut History, after: usize, back: usize) -> bool {
    let reads = |op: &OpId| history.operation(*op).read().is_some();
    let Some(read) = history.ids().skip(after).find(reads) else { return false };
    let key = history.operation(read).key;
    let earlier = history.operations[..read.index()].iter().rev();
    let mut writes = earlier
        .filter_map(|operation| (operation.key == key).then(|| operation.written()).flatten());
    let Some(value) = writes.nth(back) else { return false };
    history.operations[read.index()].action = Action::Read(value);
    true
}

/// Checks a run with its hints and without.
fn assert_valid(run: Run) {
    let mut history = simulate(run);
    assert_eq!(check(&problem(&history, spec(run))), Answer::Valid, "with hints: {run:?}");
    history.deliveries.clear();
    assert_eq!(check(&problem(&history, spec(run))), Answer::Valid, "without hints: {run:?}");
}

#[test]
fn the_store_is_sequentially_consistent() {
    for seed in 0..4 {
        assert_valid(Run { seed, ..USUAL });
        assert_valid(Run { seed, keys: 1, clients: 4, ..USUAL });
        assert_valid(Run { seed, keys: 50, clients: 10, ..USUAL });
        assert_valid(Run { seed, unknown: 200, ..USUAL });
        assert_valid(Run { seed, kind: Kind::Cas, ..USUAL });
        assert_valid(Run { seed, kind: Kind::Append, operations: 500, ..USUAL });
    }
}

#[test]
fn a_replica_may_lag_far_behind() {
    for seed in 0..4 {
        assert_valid(Run { seed, lag: 2_000, keys: 20, ..USUAL });
        assert_valid(Run { seed, lag: 500, kind: Kind::Append, operations: 500, ..USUAL });
    }
}

#[test]
fn the_deliveries_alone_are_a_proof() {
    for seed in 0..4 {
        let run = Run { seed, values: 3, lag: 300, kind: Kind::Cas, ..USUAL };
        let history = simulate(run);
        let problem = problem(&history, spec(run));
        let machine = Machine::of(&problem).expect("actions of the specification");
        let program = Program::of(&problem, &machine);
        assert!(hint::order(&program).is_some(), "also where values repeat: {run:?}");
        assert!(guess::order(&program).is_none(), "real time alone misleads: {run:?}");
    }
}

#[test]
fn what_is_left_open_is_decided() {
    let run = Run { writes: 9, keys: 20, clients: 9, ..USUAL };
    let history = History { deliveries: Vec::new(), ..simulate(run) };
    let problem = problem(&history, spec(run));
    let machine = Machine::of(&problem).expect("actions of the specification");
    let program = Program::of(&problem, &machine);
    assert!(guess::order(&program).is_none(), "real time alone misleads");
    let sources = Sources::of(&program).expect("nothing comes from thin air");
    let mut relation = Relation::of(&program, &sources).expect("it is small");
    let times = guess::times(&program);
    let answer = by_relation(&program, &sources, &mut relation, &times);
    assert_eq!(answer, Some(Answer::Valid));
}

#[test]
fn a_read_of_the_past_is_found_and_the_proof_is_small() {
    let mut found = 0;
    for seed in 0..6 {
        let run = Run { seed, ..USUAL };
        let mut history = simulate(run);
        assert!(corrupt(&mut history, run.operations / 2, 12), "there is such a read");
        match check(&problem(&history, spec(run))) {
            Answer::Violation(core) => {
                found += 1;
                assert!(core.len() < 60, "{} operations for one read", core.len());
                let part = history.restricted(&core);
                let again = check(&problem(&part, spec(run)));
                assert!(matches!(again, Answer::Violation(_)), "the part is refuted by itself");
            }
            Answer::Valid => {}
            Answer::Unknown(why) => panic!("there is no bound: {why}"),
        }
    }
    assert!(found >= 4, "{found} of 6 were found; the others happen to be in order");
}
