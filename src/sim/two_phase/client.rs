//! The clients: each asks the coordinator one thing after the other and notes how it ended.
//!
//! A command ends `Fail` only where it has definitely not happened: the port is closed, or the answer is an error
//! of the coordinator's that means that. A deletion of several keys is recorded as one operation a key, in
//! lanes beside each other (`c0`, `c0+1`), that are one command ([`Together`]).

use super::plan::{Ask, MS, Step};
use super::world::{Event, World};
use crate::check::agreement;
use crate::history::{OpId, Outcome, Together, ValueId};
use crate::protocol::two_phase::{Blob, Change, Key, TxnId};
use crate::sim::client::key_name;
use crate::sim::plan::Delay;
use crate::sim::random::{Concern, Stream};
use crate::sim::record::Asks;
use crate::sim::verdict::Kind;
use crate::sim::world::Phase;

/// How long a client that insists waits before it asks again.
const RETRY_AFTER: u64 = 50 * MS;

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It is stored.
    Ok,
    /// The value.
    Value(Option<String>),
    /// So many keys were removed.
    Removed(u64),
    /// It has not happened, for this reason.
    Error(String),
    /// The coordinator does not know.
    Unknown,
    /// The port is closed.
    Refused,
    /// The connection broke.
    Reset,
}

/// One command of one client.
#[derive(Debug)]
pub(super) struct Request {
    client: u32,
    pub ask: Ask,
    /// The life of the coordinator that it has come to.
    pub life: Option<u32>,
    /// Its number in the order of arrival.
    pub arrived: u64,
    /// Its operations in the history.
    pub operations: Vec<OpId>,
    /// Where in the order of all commands it probably took effect.
    pub hint: Option<u64>,
    /// Which transaction it probably is, if that is known from what participants did.
    txn: Option<TxnId>,
    /// The coordinator has answered it.
    pub ended: bool,
}

/// A client.
pub(super) struct Client {
    name: String,
    steps: Vec<Step>,
    next: usize,
    /// How often the present step has been refused.
    attempt: u32,
    /// The request under way, and since when.
    open: Option<(u32, u64)>,
    stream: Stream,
    timer: bool,
    /// It goes on asking until it is answered.
    insists: bool,
}

impl Client {
    pub fn new(seed: u64, number: u32, name: String, steps: Vec<Step>) -> Self {
        Self {
            name,
            steps,
            next: 0,
            attempt: 0,
            open: None,
            stream: Stream::new(seed, Concern::Client(u64::from(number))),
            timer: false,
            insists: false,
        }
    }

    fn takes(&mut self, delay: Delay) -> u64 {
        delay.base + self.stream.time(delay.shape, delay.jitter)
    }

    /// Since when it waits for an answer.
    pub fn waits_since(&self) -> Option<u64> {
        self.open.map(|(_, since)| since)
    }
}

/// A key as the machines know it.
pub(super) fn key_bytes(key: u16) -> Key {
    key_name(key).as_bytes().into()
}

/// A value as the machines know it.
pub(super) fn value_bytes(value: u32) -> Blob {
    value.to_string().into_bytes().into()
}

impl World<'_> {
    /// A client goes on: now, or when its next step may be asked.
    pub fn on_next(&mut self, client: u32) {
        let (now, hub) = (self.now, self.hub());
        let this = &mut self.clients[client as usize];
        if this.open.is_some() {
            return;
        }
        let Some(step) = this.steps.get(this.next) else {
            self.busy_clients -= 1;
            return;
        };
        if step.at > now {
            let at = step.at;
            return self.schedule(at, Event::Next { client });
        }
        let mut ask = step.ask.clone();
        if let Ask::Set { value, .. } = &mut ask {
            // A value that was refused is not written again: values are unique.
            *value += this.attempt;
        }
        let request = self.requests.len() as u32;
        this.open = Some((request, now));
        let delay = this.takes(self.plan.client_delay);
        let arms = !std::mem::replace(&mut this.timer, true);
        let written;
        let asks = match &ask {
            Ask::Get { .. } => Asks::Read,
            Ask::Del { .. } => Asks::Delete,
            Ask::Set { value, .. } => {
                written = value.to_string();
                Asks::Write(&written)
            }
        };
        let mut operations = Vec::new();
        for (lane, key) in ask.keys().iter().enumerate() {
            let name = lane_name(&this.name, lane);
            operations.push(self.recorder.invoked(now, &name, &key_name(*key), asks, hub).0);
        }
        if matches!(ask, Ask::Del { .. }) {
            let together = Together { operations: operations.clone(), found: None };
            self.recorder.builder.history_mut().together.push(together);
        }
        self.requests.push(Request {
            client,
            ask,
            life: None,
            arrived: 0,
            operations,
            hint: None,
            txn: None,
            ended: false,
        });
        self.schedule(now + delay, Event::Ask { request });
        if arms {
            self.schedule(now.saturating_add(self.plan.client_timeout), Event::Timeout { client });
        }
    }

    /// The coordinator answers; the answer is on its way.
    pub fn answer(&mut self, request: u32, reply: Reply) {
        let client = self.requests[request as usize].client as usize;
        let delay = self.clients[client].takes(self.plan.client_delay);
        self.schedule(self.now + delay, Event::Answer { request, reply });
    }

    pub fn on_answer(&mut self, request: u32, reply: Reply) {
        let client = self.requests[request as usize].client;
        if self.clients[client as usize].open.is_none_or(|(open, _)| open != request) {
            return;
        }
        let fits = match &self.requests[request as usize].ask {
            Ask::Set { .. } => !matches!(reply, Reply::Value(_) | Reply::Removed(_)),
            Ask::Get { .. } => !matches!(reply, Reply::Ok | Reply::Removed(_)),
            Ask::Del { .. } => !matches!(reply, Reply::Ok | Reply::Value(_)),
        };
        if !fits {
            return self.violate(Kind::Protocol, || format!("{reply:?} answers something else"));
        }
        let (outcome, value) = match reply {
            Reply::Ok => (Outcome::Ok, None),
            Reply::Value(value) => {
                let value = self.recorder.builder.value(value.as_deref());
                (Outcome::Ok, Some(value))
            }
            Reply::Removed(count) => {
                self.note_count(request, count);
                (Outcome::Ok, None)
            }
            Reply::Error(_) | Reply::Refused => (Outcome::Fail, None),
            Reply::Unknown | Reply::Reset => (Outcome::Unknown, None),
        };
        self.ended(client, request, outcome, value);
    }

    fn note_count(&mut self, request: u32, count: u64) {
        let first = self.requests[request as usize].operations.first().copied();
        let together = &mut self.recorder.builder.history_mut().together;
        let own = |command: &&mut Together| command.operations.first().copied() == first;
        if let Some(command) = together.iter_mut().rfind(own) {
            command.found = Some(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Notes the end of a command and goes on.
    fn ended(&mut self, client: u32, request: u32, outcome: Outcome, value: Option<ValueId>) {
        let now = self.now;
        for operation in self.requests[request as usize].operations.clone() {
            self.recorder.completed(now, operation, outcome, value);
        }
        let this = &mut self.clients[client as usize];
        this.open = None;
        if this.insists && outcome != Outcome::Ok {
            this.attempt += 1;
            return self.schedule(now + RETRY_AFTER, Event::Next { client });
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
        let Some((request, since)) = this.open else { return };
        let until = since.saturating_add(timeout);
        if until > self.now {
            this.timer = true;
            return self.schedule(until, Event::Timeout { client });
        }
        self.ended(client, request, Outcome::Unknown, None);
    }

    /// The coordinator has died: its clients find their connections broken.
    pub fn reset_clients(&mut self, life: u32) {
        let open = |client: &Client| client.open.map(|(request, _)| request);
        let requests: Vec<u32> = self.clients.iter().filter_map(open).collect();
        for request in requests {
            if self.requests[request as usize].life == Some(life) {
                self.answer(request, Reply::Reset);
            }
        }
    }

    /// A participant carried out a change: some command has taken effect, perhaps one that is never answered.
    pub fn note_effect(&mut self, txn: TxnId, change: &Change) {
        self.hints += 1;
        let hint = self.hints;
        let is = |request: &Request| match (&request.ask, change) {
            (Ask::Set { key, value }, Change::Set { key: k, value: v }) => {
                key_bytes(*key) == *k && value_bytes(*value) == *v
            }
            (Ask::Del { keys }, Change::Delete { keys: k }) => {
                keys.iter().map(|key| key_bytes(*key)).eq(k.iter().cloned())
            }
            _ => false,
        };
        let Some(life) = self.names.life(txn) else { return };
        if self.requests.iter().any(|request| request.txn == Some(txn)) {
            return;
        }
        let open = |request: &&mut Request| {
            is(request) && request.life == Some(life) && request.txn.is_none() && !request.ended
        };
        // Locks are given in the order in which commands arrive.
        let first = self.requests.iter_mut().filter(open).min_by_key(|request| request.arrived);
        if let Some(request) = first {
            request.txn = Some(txn);
            request.hint = Some(hint);
        }
    }

    /// All copies are gone: what anybody wrote may be gone too, at any later time.
    pub fn everything_is_lost(&mut self) {
        self.watch = agreement::Watch::default();
        let (now, hub) = (self.now, self.hub());
        let mut operations = Vec::new();
        for key in 0..self.keys {
            let name = lane_name("loss of all copies", usize::from(key));
            let id = self.recorder.invoked(now, &name, &key_name(key), Asks::Delete, hub).0;
            self.recorder.completed(now, id, Outcome::Unknown, None);
            operations.push(id);
        }
        self.hints += 1;
        self.losses.push((operations[0], self.hints));
        let together = Together { operations, found: None };
        self.recorder.builder.history_mut().together.push(together);
    }

    /// Has every key written by a client that insists.
    pub fn ask_after_healing(&mut self) {
        let mut value = self.plan.last_value().saturating_add(1_000_000);
        for key in 0..self.keys {
            value = value.saturating_add(1_000_000);
            let step = Step { at: self.now, ask: Ask::Set { key, value } };
            self.newcomer(format!("heal{key}"), vec![step]);
        }
    }

    /// Has every key read by a client that has never asked before.
    pub fn read_everything(&mut self) {
        let read = |key| Step { at: self.now, ask: Ask::Get { key } };
        let steps = (0..self.keys).map(read).collect();
        self.newcomer("end".to_owned(), steps);
    }

    fn newcomer(&mut self, name: String, steps: Vec<Step>) {
        let number = self.clients.len() as u32;
        let mut client = Client::new(self.plan.seed, number, name, steps);
        client.insists = self.phase != Phase::Faults;
        self.clients.push(client);
        self.busy_clients += 1;
        self.schedule(self.now, Event::Next { client: number });
    }
}

fn lane_name(client: &str, lane: usize) -> String {
    if lane == 0 { client.to_owned() } else { format!("{client}+{lane}") }
}
