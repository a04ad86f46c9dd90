//! Small scopes, exhaustively: every interleaving of a few operations on the total-order core.
//!
//! The simulator samples long runs; this explores short ones completely. A state is the machines themselves
//! (the production code), the frames on every link, and where each client stands; from each state every
//! next step is taken: the next frame of some link comes (alone, or all that wait there in one batch),
//! some client asks, some deadline passes. States that were seen before are not entered again, so the number
//! of states is finite and printed.
//!
//! Checked in every state: the deliveries of all replicas are prefixes of one sequence. Checked at every end:
//! all writes are delivered everywhere, and the clients' answers are sequentially consistent, by the checker.
//!
//! Cost: a state is cloned and hashed (128 bits of its printed form) once for each step that leads to it; two
//! different states are taken for one with a probability of about 10⁻²⁸ at a million states.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::{self, Write as _};
use std::hash::Hasher;
use std::time::Duration;

use foldhash::quality::FixedState;
use hashbrown::HashSet;
use thiserror::Error;

use crate::base::{Now, Op, ReplicaId, StoreRule, Timestamp, Value};
use crate::check::spec::SPECS;
use crate::check::{self, Answer, Budget, Problem};
use crate::history::{
    Action, Builder, Clock, Completion, History, Invocation, Outcome, Told, ValueId,
};
use crate::protocol::total_order::{Lamport, TotalOrder};
use crate::protocol::{Backlog, Effects, Protocol, Recovered, Setup, Tail};
use crate::wire::peer::Frame;

/// What one client does, in order: a write of its own value, or a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Writes this value.
    Write(u8),
    /// Reads.
    Read,
}

/// A scope: replicas, and clients with what they do. All ask for one key; writes are answered at delivery.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// What it is, in words.
    pub name: &'static str,
    /// How many replicas.
    pub replicas: u16,
    /// Each client's replica and script.
    pub clients: &'static [(u16, &'static [Ask])],
}

/// The scopes that are explored.
pub const SCOPES: &[Scope] = &[
    Scope {
        name: "2 writes and 2 reads on 3 replicas, each client reading what it wrote",
        replicas: 3,
        clients: &[(0, &[Ask::Write(1), Ask::Read]), (1, &[Ask::Write(2), Ask::Read])],
    },
    Scope {
        name: "2 writes and 2 reads on 3 replicas, the reads at the third",
        replicas: 3,
        clients: &[(0, &[Ask::Write(1)]), (1, &[Ask::Write(2)]), (2, &[Ask::Read, Ask::Read])],
    },
    Scope {
        name: "3 writes on 2 replicas",
        replicas: 2,
        clients: &[(0, &[Ask::Write(1)]), (0, &[Ask::Write(2)]), (1, &[Ask::Write(3)])],
    },
];

/// What was explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    /// Distinct states.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// Distinct ends, by what the clients were told and the order of deliveries.
    pub ends: usize,
}

/// What no state may show.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Wrong {
    /// Two replicas delivered in different orders.
    #[error("the replicas' deliveries are not prefixes of one sequence: {0}\n{1}")]
    Disagreement(String, String),
    /// It came to rest with something undone.
    #[error("all is quiet, and something is left undone: {0}\n{1}")]
    Stuck(String, String),
    /// What the clients were told is not sequentially consistent.
    #[error("the answers are not sequentially consistent: {0}\n{1}")]
    NotSequential(String, String),
    /// A machine refused what another sent.
    #[error("replica {0} refused a frame: {1}\n{2}")]
    Refused(ReplicaId, String, String),
    /// There are more states than were allowed.
    #[error("more than {0} states; allow more")]
    TooMany(usize),
}

/// Explores a scope completely, up to `most` states.
///
/// # Errors
/// What is wrong, with the steps that lead there.
pub fn explore(scope: &Scope, most: usize) -> Result<Explored, Wrong> {
    let mut seen: HashSet<u128, FixedState> = HashSet::default();
    let mut ends = BTreeSet::new();
    let first = State::joined(scope)?;
    seen.insert(first.fingerprint());
    // Depth first: the list of open states stays short.
    let mut open = vec![first];
    let mut steps = 0;
    while let Some(state) = open.pop() {
        let moves = state.moves(scope);
        if moves.is_empty() {
            ends.insert(state.end(scope)?);
            continue;
        }
        for step in moves {
            let mut next = state.clone();
            next.take(scope, step)?;
            steps += 1;
            if seen.insert(next.fingerprint()) {
                if seen.len() > most {
                    return Err(Wrong::TooMany(most));
                }
                open.push(next);
            }
        }
    }
    Ok(Explored { states: seen.len(), steps, ends: ends.len() })
}

/// One thing that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The first frame of a link comes, or all that wait there at once.
    Come { from: usize, to: usize, all: bool },
    /// A client asks for the next thing on its list.
    Ask(usize),
    /// The replica's deadline passes.
    Deadline(usize),
}

#[derive(Clone, Debug)]
struct Client {
    /// Whom it asks.
    replica: usize,
    /// How far it is in its script.
    asked: usize,
    /// The write whose delivery it waits for.
    waits_for: Option<Timestamp>,
    /// What its reads were told.
    told: Vec<Option<u8>>,
}

#[derive(Clone, Debug)]
struct Replica {
    machine: TotalOrder,
    /// How often its deadline has passed; its time.
    now: Duration,
    /// What it has delivered, in order.
    delivered: Vec<(Timestamp, u8)>,
}

#[derive(Clone)]
struct State {
    replicas: Vec<Replica>,
    /// By sender and receiver.
    links: Vec<VecDeque<Frame>>,
    clients: Vec<Client>,
    /// How it came here; not a part of what the state is.
    path: Vec<Step>,
}

impl State {
    /// All replicas started, linked and live, before anybody has asked for anything.
    fn joined(scope: &Scope) -> Result<Self, Wrong> {
        let n = usize::from(scope.replicas);
        let replica = |me: u16| Replica {
            machine: TotalOrder::<Lamport>::new(Setup {
                me: ReplicaId(me),
                replicas: scope.replicas,
                life: u64::from(me) + 1,
                write_delay: Duration::ZERO,
                remember_own: false,
                backlog: Backlog::default(),
                tail: Tail::default(),
                patience: Duration::ZERO,
                recovered: Recovered::default(),
            }),
            now: Duration::ZERO,
            delivered: Vec::new(),
        };
        let client = |(replica, _): &(u16, &[Ask])| {
            let replica = usize::from(*replica);
            Client { replica, asked: 0, waits_for: None, told: Vec::new() }
        };
        let mut state = Self {
            replicas: (0..scope.replicas).map(replica).collect(),
            links: vec![VecDeque::new(); n * n],
            clients: scope.clients.iter().map(client).collect(),
            path: Vec::new(),
        };
        for i in 0..n {
            for j in (0..n).filter(|j| *j != i) {
                state.drive(i, |machine, _, fx| {
                    machine.connected(ReplicaId(j as u16), fx);
                    Ok(())
                })?;
            }
        }
        loop {
            let Some((from, to)) = state.busy().next() else { break };
            state.come(from, to, true)?;
        }
        state.path.clear();
        Ok(state)
    }

    fn busy(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let n = self.replicas.len();
        self.links
            .iter()
            .enumerate()
            .filter(|(_, link)| !link.is_empty())
            .map(move |(at, _)| (at / n, at % n))
    }

    /// All that can happen next.
    fn moves(&self, scope: &Scope) -> Vec<Step> {
        let n = self.replicas.len();
        let mut moves = Vec::new();
        for (from, to) in self.busy() {
            moves.push(Step::Come { from, to, all: false });
            if self.links[from * n + to].len() > 1 {
                moves.push(Step::Come { from, to, all: true });
            }
        }
        for (c, client) in self.clients.iter().enumerate() {
            if client.waits_for.is_none() && client.asked < scope.clients[c].1.len() {
                moves.push(Step::Ask(c));
            }
        }
        let due = |i: &usize| self.replicas[*i].machine.deadline().is_some();
        moves.extend((0..n).filter(due).map(Step::Deadline));
        moves
    }

    fn take(&mut self, scope: &Scope, step: Step) -> Result<(), Wrong> {
        self.path.push(step);
        match step {
            Step::Come { from, to, all } => self.come(from, to, all)?,
            Step::Ask(client) => self.ask(scope, client)?,
            Step::Deadline(i) => {
                let replica = &mut self.replicas[i];
                replica.now = replica.machine.deadline().unwrap_or(replica.now).max(replica.now);
                self.drive(i, |_, _, _| Ok(()))?;
            }
        }
        self.agree()
    }

    fn come(&mut self, from: usize, to: usize, all: bool) -> Result<(), Wrong> {
        let link = &mut self.links[from * self.replicas.len() + to];
        let count = if all { link.len() } else { 1 };
        let frames: Vec<Frame> = link.drain(..count).collect();
        self.drive(to, |machine, now, fx| {
            frames.into_iter().try_for_each(|frame| {
                let received = machine.receive(now, ReplicaId(from as u16), frame, fx);
                received.map_err(|violation| violation.to_string())
            })
        })
    }

    fn ask(&mut self, scope: &Scope, c: usize) -> Result<(), Wrong> {
        let (_, script) = scope.clients[c];
        let i = self.clients[c].replica;
        let ask = script[self.clients[c].asked];
        self.clients[c].asked += 1;
        match ask {
            Ask::Read => {
                let value = self.replicas[i].delivered.last().map(|(_, value)| *value);
                self.clients[c].told.push(value);
                Ok(())
            }
            Ask::Write(value) => {
                let mut drawn = None;
                self.drive(i, |machine, now, fx| {
                    let ts = machine.submit(now, store(value), false, fx);
                    drawn = Some(ts.map_err(|refusal| refusal.to_string())?);
                    Ok(())
                })?;
                let delivered = self.replicas[i].delivered.iter().any(|(ts, _)| Some(*ts) == drawn);
                self.clients[c].waits_for = drawn.filter(|_| !delivered);
                Ok(())
            }
        }
    }

    /// Gives a machine an input, and takes what comes of it.
    fn drive(
        &mut self,
        i: usize,
        input: impl FnOnce(&mut TotalOrder, Now, &mut Effects) -> Result<(), String>,
    ) -> Result<(), Wrong> {
        let n = self.replicas.len();
        let replica = &mut self.replicas[i];
        let now = Now { since_start: replica.now, unix_ms: 0 };
        let mut fx = Effects::new(n as u16);
        let result = input(&mut replica.machine, now, &mut fx);
        if let Err(why) = result {
            return Err(Wrong::Refused(ReplicaId(i as u16), why, self.told_path()));
        }
        let replica = &mut self.replicas[i];
        replica.machine.finish(now, &mut fx);
        while let Some(message) = replica.machine.deliver(now) {
            replica.delivered.push((message.ts, value_of(&message.op)));
            for client in self.clients.iter_mut().filter(|client| client.replica == i) {
                client.waits_for = client.waits_for.filter(|ts| *ts != message.ts);
            }
        }
        for to in (0..n).filter(|to| *to != i) {
            let bytes = std::mem::take(fx.frames_mut(ReplicaId(to as u16)));
            let mut rest = &bytes[..];
            while let Ok(Some((frame, used))) = Frame::decode(rest) {
                rest = &rest[used..];
                self.links[i * n + to].push_back(frame);
            }
            if !rest.is_empty() {
                let why = "a frame that a machine encoded does not decode".to_owned();
                return Err(Wrong::Refused(ReplicaId(to as u16), why, self.told_path()));
            }
        }
        Ok(())
    }

    /// Deliveries of all replicas are prefixes of the longest.
    fn agree(&self) -> Result<(), Wrong> {
        let longest = self.replicas.iter().map(|r| &r.delivered).max_by_key(|d| d.len());
        let agrees = |r: &Replica| longest.is_none_or(|longest| longest.starts_with(&r.delivered));
        if self.replicas.iter().all(agrees) {
            return Ok(());
        }
        let orders: Vec<String> =
            self.replicas.iter().map(|r| format!("{:?}", values(&r.delivered))).collect();
        Err(Wrong::Disagreement(orders.join(" "), self.told_path()))
    }

    /// What the end looks like; an end with something undone is wrong.
    fn end(&self, scope: &Scope) -> Result<String, Wrong> {
        let writes = |(_, script): &(u16, &[Ask])| {
            script.iter().filter(|ask| matches!(ask, Ask::Write(_))).count()
        };
        let all: usize = scope.clients.iter().map(writes).sum();
        let undone = |r: &Replica| r.delivered.len() != all;
        if self.clients.iter().any(|c| c.waits_for.is_some()) || self.replicas.iter().any(undone) {
            return Err(Wrong::Stuck(format!("{:?}", self.clients), self.told_path()));
        }
        let told: Vec<&Vec<Option<u8>>> = self.clients.iter().map(|c| &c.told).collect();
        let end = format!("{told:?} {:?}", values(&self.replicas[0].delivered));
        let history = self.history(scope);
        let problem = Problem {
            history: &history,
            spec: &SPECS[0],
            initial: ValueId::NIL,
            budget: Budget::unlimited(),
        };
        match check::sequential::check(&problem) {
            Answer::Valid => Ok(end),
            _ => Err(Wrong::NotSequential(end, self.told_path())),
        }
    }

    /// What the clients did, each by itself; sequential consistency knows no real time.
    fn history(&self, scope: &Scope) -> History {
        let mut builder = Builder::new(Clock::ProcessOrder);
        let key = builder.key("x");
        for (c, (client, (_, script))) in self.clients.iter().zip(scope.clients).enumerate() {
            let process = format!("c{c}");
            let mut told = client.told.iter();
            for ask in *script {
                let mut value = |v: Option<u8>| builder.value(v.map(|v| v.to_string()).as_deref());
                let action = match ask {
                    Ask::Write(v) => Action::Write(value(Some(*v))),
                    Ask::Read => Action::Read(value(told.next().copied().flatten())),
                };
                let process = process.as_str();
                let begun = Invocation { process, key, action, replica: None, at: None };
                let outcome = Outcome::Ok;
                let done = Completion { process, outcome, told: Told::Nothing, at: None };
                let built = builder.invoke(begun).and_then(|_| builder.complete(done));
                debug_assert!(built.is_ok(), "one operation after the other");
            }
        }
        builder.finish()
    }

    fn fingerprint(&self) -> u128 {
        let mut print = Fingerprint::new();
        let written = write!(print, "{:?}{:?}{:?}", self.replicas, self.links, self.clients);
        debug_assert!(written.is_ok(), "hashing does not fail");
        print.value()
    }

    fn told_path(&self) -> String {
        self.path.iter().map(|step| format!("  {step:?}\n")).collect()
    }
}

fn store(value: u8) -> Op {
    Op::Store {
        key: b"x".to_vec().into(),
        value: Value { data: vec![value].into(), ..Value::default() },
        rule: StoreRule::Always,
    }
}

fn value_of(op: &Op) -> u8 {
    match op {
        Op::Store { value, .. } => value.data.first().copied().unwrap_or(0),
        _ => 0,
    }
}

fn values(delivered: &[(Timestamp, u8)]) -> Vec<u8> {
    delivered.iter().map(|(_, value)| *value).collect()
}

/// 128 bits of what is printed into it.
struct Fingerprint {
    low: foldhash::quality::FoldHasher<'static>,
    high: foldhash::quality::FoldHasher<'static>,
}

impl Fingerprint {
    fn new() -> Self {
        use std::hash::BuildHasher;
        Self {
            low: FixedState::with_seed(1).build_hasher(),
            high: FixedState::with_seed(2).build_hasher(),
        }
    }

    fn value(&self) -> u128 {
        u128::from(self.low.finish()) | u128::from(self.high.finish()) << 64
    }
}

impl fmt::Write for Fingerprint {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.low.write(text.as_bytes());
        self.high.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_scopes_hold() {
        for scope in SCOPES {
            match explore(scope, 20_000_000) {
                Ok(explored) => eprintln!("{}: {explored:?}", scope.name),
                Err(wrong) => panic!("{}: {wrong}", scope.name),
            }
        }
    }
}
