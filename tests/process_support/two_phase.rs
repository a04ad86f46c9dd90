//! A coordinator and its participants, a process each; their links may lead through proxies that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::Client;
use super::cluster::free_port;
use super::{LONG, Server, eventually, kvstore};

/// The processes of one lab.
pub struct Lab {
    folder: TempDir,
    durable: bool,
    coordinator_port: u16,
    ports: Vec<u16>,
    proxies: Vec<Proxy>,
    coordinator: Option<Server>,
    participants: Vec<Option<Server>>,
}

impl Lab {
    /// A coordinator and so many participants.
    pub fn start(n: usize) -> Lab {
        Self::start_with(n, false, false)
    }

    /// The same, with a log for each participant if `durable`, and with links that can be cut if `proxies`.
    pub fn start_with(n: usize, durable: bool, proxies: bool) -> Lab {
        let mut lab = Lab {
            folder: tempfile::tempdir().expect("a folder"),
            durable,
            coordinator_port: free_port(),
            ports: (0..n).map(|_| free_port()).collect(),
            proxies: Vec::new(),
            coordinator: None,
            participants: (0..n).map(|_| None).collect(),
        };
        if proxies {
            lab.proxies = lab.ports.iter().map(|port| Proxy::start(*port)).collect();
        }
        lab.write_files();
        (0..n).for_each(|p| lab.start_participant(p));
        lab.start_coordinator();
        lab
    }

    fn write_files(&self) {
        let own = format!("coordinator_info 127.0.0.1:{}\n", self.coordinator_port);
        let mut text = format!("! The coordinator of a test.\nmode coordinator\n{own}");
        for (p, port) in self.ports.iter().enumerate() {
            let seen = self.proxies.get(p).map_or(*port, |proxy| proxy.port);
            text.push_str(&format!("participant_info 127.0.0.1:{seen}\n"));
            let file = format!("mode participant\nparticipant_info 127.0.0.1:{port}\n{own}");
            std::fs::write(self.path(&format!("p{p}.conf")), file).expect("it can be written");
        }
        std::fs::write(self.path("c.conf"), text).expect("it can be written");
    }

    /// A file or folder of the lab.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn begin(&self, file: &str, data: Option<String>) -> Server {
        let text = |name: &str| self.path(name).to_str().expect("UTF-8").to_owned();
        let mut arguments = vec!["--config_path".to_owned(), text(file)];
        if let Some(data) = data {
            arguments.extend(["--data".to_owned(), text(&data)]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // Its port may be taken for a moment by someone's outgoing connection.
        let deadline = Instant::now() + LONG;
        loop {
            match Server::try_start_program(kvstore(&arguments).env("RUST_LOG", "info")) {
                Ok(server) => return server,
                Err(why) => {
                    assert!(why.contains("cannot listen") && Instant::now() < deadline, "{why}");
                }
            }
        }
    }

    /// Starts the coordinator, which does not run.
    pub fn start_coordinator(&mut self) {
        self.coordinator = Some(self.begin("c.conf", None));
    }

    /// Starts a participant, which does not run.
    pub fn start_participant(&mut self, p: usize) {
        let data = self.durable.then(|| format!("data{p}"));
        self.participants[p] = Some(self.begin(&format!("p{p}.conf"), data));
    }

    /// kill -9.
    pub fn kill_coordinator(&mut self) {
        self.coordinator.take().expect("it runs").kill();
    }

    /// kill -9.
    pub fn kill_participant(&mut self, p: usize) {
        self.participants[p].take().expect("it runs").kill();
    }

    pub fn coordinator(&self) -> &Server {
        self.coordinator.as_ref().expect("it runs")
    }

    pub fn participant(&self, p: usize) -> &Server {
        self.participants[p].as_ref().expect("it runs")
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.coordinator_port))
    }

    pub fn participant_address(&self, p: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[p]))
    }

    pub fn client(&self) -> Kv {
        Kv { to: self.address(), client: Some(Client::connect(self.address())) }
    }

    /// A client that connects when it is needed.
    pub fn retrying(&self) -> Kv {
        Kv { to: self.address(), client: None }
    }

    /// Cuts the link to a participant: nothing passes, and nothing says so.
    pub fn cut(&self, p: usize) {
        self.proxies[p].set(Way::Cut);
    }

    /// Lets it pass again.
    pub fn heal(&self, p: usize) {
        self.proxies[p].set(Way::Open);
    }

    /// Waits until the coordinator has said for the `n`-th time in its life what contains `what`.
    pub fn hears(&self, what: &str, n: usize) {
        eventually(&format!("{n} × {what}"), LONG, || {
            (self.coordinator().said(what).len() >= n).then_some(())
        });
    }

    /// Waits until the view is active that has these members.
    pub fn members(&self, members: &str) {
        eventually(&format!("the members are {members}"), LONG, || {
            let views = self.coordinator().said("is active");
            views.last().filter(|view| view.ends_with(members)).map(|_| ())
        });
    }

    /// Stops all in order, which must go well.
    pub fn stop(mut self) {
        for server in self.participants.drain(..).flatten().chain(self.coordinator.take()) {
            assert!(server.said("panicked").is_empty(), "{:?}", server.said("panicked"));
            let (status, took) = server.terminate();
            assert_eq!(status.code(), Some(0), "{status}");
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
    }
}

/// A client of the coordinator.
pub struct Kv {
    to: SocketAddr,
    client: Option<Client>,
}

/// A request as clients send it.
pub fn request(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len());
    for word in words {
        out.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    out.into_bytes()
}

impl Kv {
    /// The reply, an array as its words; an error where the connection breaks.
    pub fn try_ask(&mut self, words: &[&str]) -> std::io::Result<String> {
        let result = self.talk(words);
        if result.is_err() {
            self.client = None;
        }
        result
    }

    fn talk(&mut self, words: &[&str]) -> std::io::Result<String> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::try_connect(self.to)?),
        };
        client.try_send(request(words))?;
        read_reply(client)
    }

    /// The reply.
    pub fn ask(&mut self, words: &[&str]) -> String {
        self.try_ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Asks again and again until it is not an error; gives the reply.
    pub fn insist(&mut self, words: &[&str]) -> String {
        eventually(&format!("{words:?} is done"), LONG, || {
            self.try_ask(words).ok().filter(|reply| reply != "-ERROR")
        })
    }

    pub fn inner(&mut self) -> &mut Client {
        self.client.as_mut().expect("it is connected")
    }
}

/// Reads an array of strings as its words, or another reply as its line.
pub fn read_reply(client: &mut Client) -> std::io::Result<String> {
    let mut line = || match client.try_line() {
        Ok(line) if line.is_empty() => Err(std::io::ErrorKind::UnexpectedEof.into()),
        other => other,
    };
    let first = line()?;
    let Some(count) = first.strip_prefix('*') else { return Ok(first) };
    let mut words = Vec::new();
    for _ in 0..count.parse().expect("a count") {
        line()?;
        words.push(line()?);
    }
    Ok(words.join(" "))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    Cut,
    Gone,
}

/// A way to a port that can be cut.
pub struct Proxy {
    pub port: u16,
    way: Arc<(Mutex<Way>, Condvar)>,
}

impl Proxy {
    fn start(to: u16) -> Proxy {
        // A free port may be taken for a moment by someone's outgoing connection.
        let bind = |_| TcpListener::bind(("127.0.0.1", free_port())).ok();
        let listener = (0..100).find_map(bind).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let way = Arc::new((Mutex::new(Way::Open), Condvar::new()));
        let its = Arc::clone(&way);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if *lock(&its.0) == Way::Gone {
                    return;
                }
                let its = Arc::clone(&its);
                thread::spawn(move || carry(&its, stream, to));
            }
        });
        Proxy { port, way }
    }

    fn set(&self, way: Way) {
        *lock(&self.way.0) = way;
        self.way.1.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Way::Gone);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the way is open; `false` once it is gone.
fn passes(way: &(Mutex<Way>, Condvar)) -> bool {
    let mut state = lock(&way.0);
    while *state == Way::Cut {
        state = way.1.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    *state == Way::Open
}

fn carry(way: &Arc<(Mutex<Way>, Condvar)>, from: TcpStream, to: u16) {
    if !passes(way) {
        return;
    }
    let Ok(there) = TcpStream::connect(("127.0.0.1", to)) else { return };
    let ends = [&from, &there].map(|end| {
        let _ = end.set_nodelay(true);
        end.try_clone().expect("a socket")
    });
    let [back_to, back_from] = ends;
    let its = Arc::clone(way);
    thread::spawn(move || pump(&its, back_from, back_to));
    pump(way, from, there);
}

fn pump(way: &(Mutex<Way>, Condvar), mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).unwrap_or(0);
        if !passes(way) || read == 0 || to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
