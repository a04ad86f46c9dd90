//! Hash table servers within the test: real sockets, tables in memory, and manners that no real server has.

// Each test program uses its own part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use consistency_lab::client::Options;
use consistency_lab::client::catalog::Catalog;
use consistency_lab::client::cluster::{ClusterClient, ClusterConfig, Event, Locate};
use consistency_lab::client::routing::Retry;
use consistency_lab::runtime::line_server::{
    BoundPort, Bounds, Flow, LineServer, Refusal, Replies, Service,
};
use consistency_lab::wire::lines::cluster::{
    Request, Trouble, begin_matches, end_matches, write_match, write_success, write_trouble,
    write_value,
};
use serde_json::value::RawValue;
use socket2::{Domain, Socket, Type};

/// How a server deals with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Serve,
    /// Carries them out and never answers.
    Silent,
    /// Carries them out and closes the connection without an answer.
    HangUp,
    /// Says that they make no sense.
    Refuse,
    /// Says that it cannot now.
    Unavailable,
    /// Answers with what is no reply.
    Babble,
}

/// What all sessions of one server share.
pub struct Table {
    name: String,
    entries: Mutex<BTreeMap<String, String>>,
    manner: Mutex<Manner>,
    requests: Mutex<usize>,
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    fn carry_out(&self, request: Request<'_>, out: &mut Vec<u8>) {
        let mut entries = lock(&self.entries);
        match request {
            Request::Insert { key, value } => {
                entries.insert(key.into_owned(), value.get().to_owned());
                write_success(out);
            }
            Request::Lookup { key } => answer(entries.get(&*key), out),
            Request::Remove { key } => answer(entries.remove(&*key).as_ref(), out),
            Request::Scan { regex } => {
                begin_matches(out);
                let found = entries.iter().filter(|(key, _)| key.contains(&*regex));
                for (place, (key, value)) in found.enumerate() {
                    write_match(out, place == 0, key, value);
                }
                end_matches(out);
            }
            Request::Status => write_value(out, &format!("{{\"name\":{:?}}}", self.name)),
        }
    }
}

fn answer(value: Option<&String>, out: &mut Vec<u8>) {
    match value {
        Some(value) => write_value(out, value),
        None => write_trouble(out, Trouble::Failed, "no such key"),
    }
}

impl Service for Table {
    type Session = ();

    fn open(&self, _peer: SocketAddr) {}

    fn line(&self, _: &mut (), line: &[u8], out: &mut Replies<'_>) -> io::Result<Flow> {
        *lock(&self.requests) += 1;
        let request = Request::parse(line).expect("a client sends requests");
        let mut unsaid = Vec::new();
        match *lock(&self.manner) {
            Manner::Serve => self.carry_out(request, &mut out.bytes),
            Manner::Silent => self.carry_out(request, &mut unsaid),
            Manner::HangUp => {
                self.carry_out(request, &mut unsaid);
                return Ok(Flow::Close);
            }
            Manner::Refuse => write_trouble(&mut out.bytes, Trouble::Invalid, "too long"),
            Manner::Unavailable => write_trouble(&mut out.bytes, Trouble::Unavailable, "disk full"),
            Manner::Babble => out.bytes.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n"),
        }
        Ok(Flow::GoOn)
    }

    fn refusal(&self, _: Refusal) -> Vec<u8> {
        Vec::new()
    }
}

/// One server, which keeps its port and its table while it is down.
pub struct Server {
    pub table: Arc<Table>,
    address: SocketAddr,
    port: Option<LineServer<Table>>,
    /// Keeps the port of a server that is down from the servers of other tests.
    reserved: Option<Socket>,
}

impl Server {
    fn start(name: String) -> Self {
        let table = Arc::new(Table {
            name,
            entries: Mutex::default(),
            manner: Mutex::new(Manner::Serve),
            requests: Mutex::default(),
        });
        let address = ([127, 0, 0, 1], 0).into();
        let mut server = Self { table, address, port: None, reserved: None };
        server.up();
        server
    }

    /// From here on nothing listens there.
    pub fn down(&mut self) {
        self.port = None;
        // Bound and not listening: connections are refused.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("a socket's option");
        socket.bind(&self.address.into()).expect("its port was its own until now");
        self.reserved = Some(socket);
    }

    /// Serves again, on another port.
    pub fn move_away(&mut self) {
        self.down();
        let kept = self.reserved.take();
        self.address.set_port(0);
        self.up();
        self.reserved = kept;
    }

    /// Where it is, or was last.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves, on the port that it had.
    pub fn up(&mut self) {
        let bound = BoundPort::bind("127.0.0.1", self.address.port()).expect("its port is free");
        self.address = bound.address();
        let table = Arc::clone(&self.table);
        let server = LineServer::start("mock", bound, table, Bounds::default());
        self.port = Some(server.expect("it starts"));
        self.reserved = None;
    }

    pub fn behave(&self, manner: Manner) {
        *lock(&self.table.manner) = manner;
    }

    /// How many requests it has got.
    pub fn requests(&self) -> usize {
        *lock(&self.table.requests)
    }

    /// Its value for a key.
    pub fn holds(&self, key: &str) -> Option<String> {
        lock(&self.table.entries).get(key).cloned()
    }

    /// Gives it a key behind every client's back.
    pub fn put(&self, key: &str, value: &str) {
        lock(&self.table.entries).insert(key.to_owned(), value.to_owned());
    }
}

/// N servers and what a client of theirs has told.
pub struct Tables {
    pub servers: Vec<Server>,
    events: Arc<Mutex<Vec<String>>>,
}

/// How patient the clients of these tests are.
#[derive(Clone, Copy)]
pub struct Manners {
    pub retry_wait: Duration,
    pub give_up_after: Option<Duration>,
    pub timeout: Duration,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            retry_wait: Duration::from_millis(5),
            give_up_after: None,
            timeout: Duration::from_secs(10),
        }
    }
}

impl Tables {
    pub fn start(servers: usize) -> Self {
        let servers = (0..servers).map(|n| Server::start(format!("t-{n}"))).collect();
        Self { servers, events: Arc::default() }
    }

    /// A client of all of them, that knows where they are.
    pub fn client(&self, copies: usize, manners: Manners) -> ClusterClient {
        let addresses = self.servers.iter().map(|server| server.address.to_string());
        self.client_by(copies, manners, Locate::At(addresses.collect()))
    }

    /// A client of all of them.
    pub fn client_by(&self, copies: usize, manners: Manners, locate: Locate) -> ClusterClient {
        let config = ClusterConfig {
            name: "t".to_owned(),
            servers: self.servers.len(),
            copies,
            locate,
            retry: Retry { wait: manners.retry_wait, give_up_after: manners.give_up_after },
            options: Options { connect_timeout: manners.timeout, timeout: manners.timeout },
        };
        let mut client = ClusterClient::new(config).expect("1 <= K <= N");
        let events = Arc::clone(&self.events);
        client.observe(move |event: &Event| {
            let (word, server) = match event {
                Event::Away { server, wait: None, .. } => ("away", server),
                Event::Away { server, wait: Some(_), .. } => ("waits for", server),
                Event::Back { server } => ("back", server),
            };
            lock(&events).push(format!("{word} {server}"));
        });
        client
    }

    /// What the clients have told.
    pub fn events(&self) -> Vec<String> {
        lock(&self.events).clone()
    }

    /// The numbers of the servers that hold a key.
    pub fn holders(&self, key: &str) -> Vec<usize> {
        (0..self.servers.len()).filter(|n| self.servers[*n].holds(key).is_some()).collect()
    }
}

pub fn json(text: &str) -> Box<RawValue> {
    serde_json::from_str(text).expect("JSON")
}

/// A catalog that says what it is told to say.
pub struct MockCatalog {
    address: SocketAddr,
    listed: Arc<Mutex<Vec<(String, SocketAddr)>>>,
    queries: Arc<Mutex<usize>>,
}

impl MockCatalog {
    /// It ends with the test's process.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let listed: Arc<Mutex<Vec<(String, SocketAddr)>>> = Arc::default();
        let queries = Arc::default();
        let (its_list, count) = (Arc::clone(&listed), Arc::clone(&queries));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                *lock(&count) += 1;
                // Whoever asked may be gone.
                let _ = answer_query(stream, &lock(&its_list));
            }
        });
        Self { address, listed, queries }
    }

    pub fn locate(&self) -> Locate {
        Locate::Catalog(Catalog::new(&self.address.to_string()))
    }

    /// From here on it lists these, the one heard from last first.
    pub fn list<'a>(&self, servers: impl IntoIterator<Item = (&'a str, SocketAddr)>) {
        let own = |(name, address): (&str, SocketAddr)| (name.to_owned(), address);
        *lock(&self.listed) = servers.into_iter().map(own).collect();
    }

    pub fn queries(&self) -> usize {
        *lock(&self.queries)
    }
}

fn answer_query(stream: TcpStream, listed: &[(String, SocketAddr)]) -> io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let entry = |(age, (name, address)): (usize, &(String, SocketAddr))| {
        serde_json::json!({
            "type": "hashtable", "project": name, "owner": "test", "port": address.port(),
            "address": address.ip(), "name": "localhost", "lastheardfrom": 1_000_000 - age,
        })
    };
    let text = serde_json::Value::from_iter(listed.iter().enumerate().map(entry)).to_string();
    let length = text.len();
    write!(&stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}")
}
