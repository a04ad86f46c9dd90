//! The clients: each asks one thing after the other and notes how it ended.
//!
//! An operation ends `Fail` only where it has definitely not happened: a refusal, or a port that is closed. A
//! connection that breaks, or an answer that does not come in time, ends it `Unknown`. What is asked of
//! another replica than the client's first belongs to another process of the history, because the modes
//! here promise something to a client of one replica; but for sessions, which carry what they have seen along.

use std::collections::BTreeMap;

use super::plan::{MS, Step};
use super::random::{Concern, Stream};
use super::record::Asks;
use super::world::{Event, Phase, World};
use crate::base::{Op, StoreRule, Timestamp, Value, VectorClock};
use crate::history::{KeyId, OpId, Outcome, ValueId};
use crate::protocol::Reads;

/// How long a client waits before it asks again elsewhere.
const RETRY_AFTER: u64 = 5 * MS;

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The write is done.
    Done,
    /// The key has the value that this request wrote, or none.
    Value(Option<u32>),
    /// It was refused, or the port is closed: it has not happened.
    Refused,
    /// The connection broke.
    Reset,
}

/// One request of one client: an operation of the history.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub client: u32,
    pub replica: u16,
    pub key: u16,
    /// The value to write.
    pub write: Option<Box<str>>,
    /// The life of the replica that the connection is to; `None` while it is not connected.
    pub life: Option<u32>,
    /// Whether it has come there.
    arrived: bool,
    /// When it was asked, and when the client heard how it ended.
    pub asked_at: u64,
    pub ended_at: u64,
    pub operation: OpId,
    pub key_id: KeyId,
    pub value_id: ValueId,
    /// The write that it is, or whose value it read, where replicas have no one order.
    pub version: Option<Timestamp>,
    /// How it ended, for the client.
    pub outcome: Option<Outcome>,
    /// Which request wrote what it read, where it is a read that ended well.
    pub read: Option<Option<u32>>,
}

impl Request {
    /// The operation to be ordered.
    pub fn op(&self) -> Op {
        let data = self.write.as_deref().unwrap_or_default().as_bytes().into();
        Op::Store {
            key: key_name(self.key).as_bytes().into(),
            value: Value { data, ..Value::default() },
            rule: StoreRule::Always,
        }
    }
}

/// The name of a key: `x`, `y`, `z`, `k3`, `k4` …
pub(super) fn key_name(key: u16) -> std::borrow::Cow<'static, str> {
    match key {
        0 => "x".into(),
        1 => "y".into(),
        2 => "z".into(),
        more => format!("k{more}").into(),
    }
}

/// A client.
pub(super) struct Client {
    name: String,
    steps: Vec<Step>,
    next: usize,
    /// How often the present step has been refused.
    attempt: u16,
    /// The request under way.
    open: Option<u32>,
    asked_at: u64,
    /// The life of each replica that it has a connection to.
    connections: Vec<Option<u32>>,
    stream: Stream,
    timer: bool,
    /// It goes on asking until it is answered.
    pub insists: bool,
    /// What it has written and read, where sessions carry that from replica to replica.
    seen: VectorClock,
    /// The latest version of each key that it has written or read.
    pub latest: BTreeMap<u16, Timestamp>,
}

impl Client {
    pub fn new(seed: u64, number: u32, name: String, replicas: u16, steps: Vec<Step>) -> Self {
        Self {
            name,
            steps,
            next: 0,
            attempt: 0,
            open: None,
            asked_at: 0,
            connections: vec![None; usize::from(replicas)],
            stream: Stream::new(seed, Concern::Client(u64::from(number))),
            timer: false,
            insists: false,
            seen: VectorClock::new(),
            latest: BTreeMap::new(),
        }
    }

    fn takes(&mut self, delay: super::plan::Delay) -> u64 {
        delay.base + self.stream.time(delay.shape, delay.jitter)
    }

    fn home(&self) -> u16 {
        self.steps.first().map_or(0, |step| step.replica)
    }
}

impl World<'_> {
    /// A client goes on: now, or when its next step may be asked.
    pub fn on_next(&mut self, client: u32) {
        let now = self.now;
        let replicas = self.replicas_count();
        let this = &mut self.clients[client as usize];
        if this.open.is_some() {
            return;
        }
        let Some(step) = this.steps.get(this.next).copied() else {
            self.busy_clients -= 1;
            return;
        };
        if step.at > now {
            return self.schedule(step.at, Event::Next { client });
        }
        let moved = if this.insists { 0 } else { this.attempt };
        let replica = (step.replica + moved) % replicas;
        let request = self.requests.len() as u32;
        this.open = Some(request);
        this.asked_at = now;
        let life = this.connections[usize::from(replica)];
        let home = this.home();
        let write = step.write.map(|value| {
            // A value that was refused is not written again: values are unique.
            format!("{value}{}", "'".repeat(usize::from(this.attempt))).into_boxed_str()
        });
        let moves = self.mode.reads == Reads::Seen;
        let name = if replica == home || this.insists || moves {
            std::borrow::Cow::Borrowed(&this.name)
        } else {
            std::borrow::Cow::Owned(format!("{}@{replica}", this.name))
        };
        let asks = write.as_deref().map_or(Asks::Read, Asks::Write);
        let noted = self.recorder.invoked(now, &name, &key_name(step.key), asks, replica);
        let (operation, key_id, value_id) = noted;
        let delay = this.takes(self.plan.client_delay);
        // Whoever is not connected connects first.
        let delay = if life.is_some() { delay } else { 3 * delay };
        let arms = !std::mem::replace(&mut this.timer, true);
        if let Some(value) = &write {
            self.judge.written(value, request);
        }
        self.requests.push(Request {
            client,
            replica,
            key: step.key,
            write,
            life,
            arrived: false,
            asked_at: now,
            ended_at: u64::MAX,
            operation,
            key_id,
            value_id,
            version: None,
            outcome: None,
            read: None,
        });
        self.schedule(now + delay, Event::Ask { request });
        if arms {
            self.schedule(now.saturating_add(self.plan.client_timeout), Event::Timeout { client });
        }
    }

    /// What the client of a request has seen, where sessions carry that.
    pub fn seen_by(&self, request: u32) -> VectorClock {
        let client = self.requests[request as usize].client;
        match self.mode.reads {
            Reads::Seen => self.clients[client as usize].seen.clone(),
            _ => VectorClock::new(),
        }
    }

    /// Notes that a request has come to its replica.
    pub fn note_arrival(&mut self, request: u32, life: u32) {
        let asked = &mut self.requests[request as usize];
        (asked.arrived, asked.life) = (true, Some(life));
    }

    /// A replica answers; the answer is on its way.
    pub fn answer(&mut self, request: u32, answer: Answer) {
        let client = self.requests[request as usize].client as usize;
        let delay = self.clients[client].takes(self.plan.client_delay);
        self.schedule(self.now + delay, Event::Answer { request, answer });
    }

    pub fn on_answer(&mut self, request: u32, answer: Answer) {
        let asked = &self.requests[request as usize];
        let (client, replica, life) = (asked.client, usize::from(asked.replica), asked.life);
        let this = &mut self.clients[client as usize];
        let connected = matches!(answer, Answer::Done | Answer::Value(_));
        if connected {
            this.connections[replica] = life;
        } else if this.connections[replica] == life {
            this.connections[replica] = None;
        }
        if this.open != Some(request) {
            return;
        }
        let (outcome, value) = match answer {
            Answer::Done => (Outcome::Ok, None),
            Answer::Value(value) => (Outcome::Ok, Some(value)),
            Answer::Refused => (Outcome::Fail, None),
            Answer::Reset => (Outcome::Unknown, None),
        };
        self.ended(client, request, outcome, value);
    }

    /// Notes the end of an operation and goes on.
    fn ended(&mut self, client: u32, request: u32, outcome: Outcome, read: Option<Option<u32>>) {
        let asked = &mut self.requests[request as usize];
        (asked.outcome, asked.read) = (Some(outcome), read);
        asked.ended_at = self.now;
        let remembers = asked.write.is_some() || self.duties.sessions_remember_reads;
        if outcome == Outcome::Ok && remembers {
            asked.version.into_iter().for_each(|ts| self.clients[client as usize].seen.observe(ts));
        }
        if outcome == Outcome::Ok && self.mode.reads == Reads::Seen {
            self.judge_session(client, request);
        }
        let operation = self.requests[request as usize].operation;
        let value = read.map(|source| {
            source.map_or(ValueId::NIL, |write| self.requests[write as usize].value_id)
        });
        self.recorder.completed(self.now, operation, outcome, value);
        let replicas = self.replicas_count();
        let this = &mut self.clients[client as usize];
        this.open = None;
        let step = this.steps[this.next];
        let again = if this.insists {
            outcome != Outcome::Ok
        } else {
            outcome == Outcome::Fail && step.retry && this.attempt + 1 < replicas
        };
        if again {
            this.attempt += 1;
            return self.schedule(self.now + RETRY_AFTER, Event::Next { client });
        }
        this.attempt = 0;
        this.next += 1;
        self.on_next(client);
    }

    /// Looks whether a client has waited too long. One timer a client runs all the time that it is busy.
    pub fn on_timeout(&mut self, client: u32) {
        let timeout = self.plan.client_timeout;
        let this = &mut self.clients[client as usize];
        this.timer = false;
        let Some(request) = this.open else { return };
        let until = this.asked_at.saturating_add(timeout);
        if until > self.now {
            this.timer = true;
            return self.schedule(until, Event::Timeout { client });
        }
        let replica = usize::from(self.requests[request as usize].replica);
        this.connections[replica] = None;
        self.ended(client, request, Outcome::Unknown, None);
    }

    /// A replica has died: its clients find their connections broken.
    pub fn reset_clients(&mut self, replica: u16, life: u32) {
        for client in 0..self.clients.len() {
            let Some(request) = self.clients[client].open else { continue };
            let asked = &self.requests[request as usize];
            if asked.replica == replica && asked.arrived && asked.life == Some(life) {
                self.answer(request, Answer::Reset);
            }
        }
    }

    /// Has every replica take a write, from a client of its own that insists.
    pub fn probe(&mut self) {
        let written = self.plan.clients.iter().flat_map(|client| &client.steps);
        let last = written.filter_map(|step| step.write).max().unwrap_or(0);
        for replica in 0..self.replicas_count() {
            let key = replica % self.keys;
            let write = Some(last.saturating_add(1 + u32::from(replica)));
            let step = Step { at: self.now, replica, key, write, retry: false };
            self.newcomer(format!("heal{replica}"), vec![step]);
        }
    }

    /// Has every replica read by a client that has never asked before.
    pub fn read_everything(&mut self) {
        for replica in 0..self.replicas_count() {
            let read = |key| Step { at: self.now, replica, key, write: None, retry: false };
            let steps = (0..self.keys).map(read).collect();
            self.newcomer(format!("end{replica}"), steps);
        }
    }

    fn newcomer(&mut self, name: String, steps: Vec<Step>) {
        let (number, n) = (self.clients.len() as u32, self.replicas_count());
        let mut client = Client::new(self.plan.seed, number, name, n, steps);
        client.insists = self.phase != Phase::Faults;
        self.clients.push(client);
        self.busy_clients += 1;
        self.schedule(self.now, Event::Next { client: number });
    }
}
