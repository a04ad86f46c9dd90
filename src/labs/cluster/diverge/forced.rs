//! Step by step: the writes of two clients, copy by copy, in an order that chance may bring; and what a third one
//! reads then. Everything is really done on the servers, and recorded.

use std::time::Instant;

use serde_json::value::RawValue;

use super::DivergeError;
use crate::base::ReplicaId;
use crate::client::cluster::ClusterClient;
use crate::history::{
    Action, Builder, Clock, Completion, Fault, History, Invocation, KeyId, Outcome, Told, ValueId,
};
use crate::labs::cluster::fleet::Fleet;

/// The key that both write.
pub const KEY: &str = "zebra";

/// What the key holds before.
const INITIAL: &str = "0";

/// What a history of this claims: what one server alone would keep, and what clients take for granted.
const CLAIM: &str = "linearizable";

/// A line of the diagram: what one of the clients did, and what the copies hold then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// 0 for A, 1 for B, 2 for the reader C; `None` for what happens to a server.
    pub client: Option<usize>,
    /// In words.
    pub what: String,
    /// What each copy holds, copy 1 first; `None` while its server is down.
    pub copies: Vec<Option<String>>,
}

/// What was done and seen.
#[derive(Debug)]
pub struct Forced {
    /// The servers of copy 1 and copy 2.
    pub servers: Vec<usize>,
    /// The steps.
    pub rows: Vec<Row>,
    /// The same as a history.
    pub history: History,
}

impl Forced {
    /// Does it, with clients A, B and C.
    pub(super) fn run(
        fleet: &mut Fleet,
        clients: [ClusterClient; 3],
        observer: ClusterClient,
    ) -> Result<Self, DivergeError> {
        let mut stage = Stage::new(clients, observer);
        stage.observer.insert(KEY, &json(INITIAL)?)?;
        stage.row(None, "before")?;
        let (value_a, value_b) = (json("a")?, json("b")?);
        let (a, b) = (stage.builder.value(Some("a")), stage.builder.value(Some("b")));
        stage.begin(0, Action::Write(a), None)?;
        stage.write_copy(0, 0, &value_a)?;
        stage.begin(1, Action::Write(b), None)?;
        stage.write_copy(1, 0, &value_b)?;
        stage.write_copy(1, 1, &value_b)?;
        stage.end(1, Told::Nothing)?;
        stage.write_copy(0, 1, &value_a)?;
        stage.end(0, Told::Nothing)?;
        // Both were told 'success'. Now C reads, with copy 1's server up, down, and up again.
        stage.read(0)?;
        let first = stage.servers[0];
        let down_from = stage.now();
        fleet.kill(first)?;
        stage.down = Some(first);
        stage.row(None, &format!("server {first} is killed"))?;
        stage.read(1)?;
        fleet.start_again(first)?;
        stage.down = None;
        stage.row(None, &format!("server {first} is back"))?;
        let until = stage.now();
        let name = "crash".to_owned();
        let replicas = vec![replica(first)];
        let fault = Fault { name, replicas, from: down_from, until: Some(until) };
        stage.builder.history_mut().faults.push(fault);
        stage.read(0)?;
        Ok(Self { servers: stage.servers, rows: stage.rows, history: stage.builder.finish() })
    }
}

fn replica(server: usize) -> ReplicaId {
    ReplicaId(u16::try_from(server).unwrap_or(u16::MAX))
}

fn json(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::value::to_raw_value(text)
}

/// A JSON string as the text in it, any other JSON as it is.
fn plain(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

const PROCESSES: [&str; 3] = ["A", "B", "C"];

/// The clients, and what is written down of them.
struct Stage {
    servers: Vec<usize>,
    clients: [ClusterClient; 3],
    /// Looks at single copies for the diagram; no part of the history.
    observer: ClusterClient,
    /// The server that is down.
    down: Option<usize>,
    begun: Instant,
    builder: Builder,
    key: KeyId,
    rows: Vec<Row>,
}

impl Stage {
    fn new(clients: [ClusterClient; 3], observer: ClusterClient) -> Self {
        let mut builder = Builder::new(Clock::Nanoseconds);
        let key = builder.key(KEY);
        let initial = builder.value(Some(INITIAL));
        let history = builder.history_mut();
        history.initial.push((key, initial));
        history.claim = Some(CLAIM.to_owned());
        let servers = observer.copies_of(KEY);
        let (begun, rows) = (Instant::now(), Vec::new());
        Self { servers, clients, observer, down: None, begun, builder, key, rows }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn begin(
        &mut self,
        client: usize,
        action: Action,
        server: Option<usize>,
    ) -> Result<(), DivergeError> {
        let (process, at) = (PROCESSES[client], Some(self.now()));
        let replica = server.map(replica);
        self.builder.invoke(Invocation { process, key: self.key, action, replica, at })?;
        Ok(())
    }

    fn end(&mut self, client: usize, told: Told) -> Result<(), DivergeError> {
        let (process, at) = (PROCESSES[client], Some(self.now()));
        self.builder.complete(Completion { process, outcome: Outcome::Ok, told, at })?;
        Ok(())
    }

    /// One step of a client's write: as the cluster's client does it, stopped between the copies.
    fn write_copy(
        &mut self,
        client: usize,
        copy: usize,
        value: &RawValue,
    ) -> Result<(), DivergeError> {
        let server = self.servers[copy];
        self.clients[client].server(server)?.insert(KEY, value)?;
        self.row(Some(client), &format!("copy {} ← {}", copy + 1, plain(value)))
    }

    /// C reads as a user does; `copy` is the one that will answer.
    fn read(&mut self, copy: usize) -> Result<(), DivergeError> {
        let server = self.servers[copy];
        self.begin(2, Action::Read(ValueId::NIL), Some(server))?;
        let found = self.clients[2].lookup(KEY)?;
        let text = found.as_deref().map(plain);
        let value = self.builder.value(text.as_deref());
        self.end(2, Told::Value(value))?;
        let shown = text.unwrap_or_else(|| "nothing".to_owned());
        self.row(Some(2), &format!("reads {shown} from server {server}"))
    }

    /// Writes a line of the diagram, with what the copies hold.
    fn row(&mut self, client: Option<usize>, what: &str) -> Result<(), DivergeError> {
        let mut copies = Vec::new();
        for server in self.servers.clone() {
            copies.push(if self.down == Some(server) {
                None
            } else {
                let found = match self.observer.server(server)?.lookup(KEY) {
                    // The server was killed since: its connection is lost, a new one will do.
                    Err(error) if error.ends_connection() => {
                        self.observer.server(server)?.lookup(KEY)?
                    }
                    found => found?,
                };
                Some(found.as_deref().map_or("-".to_owned(), plain))
            });
        }
        self.rows.push(Row { client, what: what.to_owned(), copies });
        Ok(())
    }
}
