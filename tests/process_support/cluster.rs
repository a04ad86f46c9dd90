//! Replicas in a process each (`--only`), on ports that all of them know from a cluster file.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::Client;
use super::{LONG, Server, converged, eventually};

/// Replicas that can be killed one by one.
pub struct Cluster {
    folder: TempDir,
    mode: String,
    more: Vec<String>,
    /// Client port and broadcast port of each.
    ports: Vec<(u16, u16)>,
    servers: Vec<Option<Server>>,
}

impl Cluster {
    /// Starts three replicas with these further arguments; waits until all take writes.
    pub fn start(mode: &str, more: &[&str]) -> Cluster {
        let cluster = Self::start_only(mode, more, &[0, 1, 2]);
        for i in 0..3 {
            cluster.wait_live(i, LONG);
        }
        cluster
    }

    /// Starts some of three replicas.
    pub fn start_only(mode: &str, more: &[&str], which: &[usize]) -> Cluster {
        // A port may be taken between its choice and its use: then all is done again with others.
        for _ in 0..20 {
            let mut cluster = Self::describe(mode, more);
            let started = which.iter().try_for_each(|i| cluster.try_start(*i));
            match started {
                Ok(()) => return cluster,
                Err(why) => assert!(why.contains("cannot listen"), "{why}"),
            }
        }
        panic!("no free ports");
    }

    fn describe(mode: &str, more: &[&str]) -> Cluster {
        let folder = tempfile::tempdir().expect("a folder");
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let mut text = String::new();
        for (id, (client, broadcast)) in ports.iter().enumerate() {
            let _ = writeln!(
                text,
                "[[replica]]\nid = {id}\nhost = \"127.0.0.1\"\nclient_port = {client}\n\
                 broadcast_port = {broadcast}\n"
            );
        }
        std::fs::write(folder.path().join("cluster.toml"), text).expect("the cluster file");
        let more = more.iter().map(|argument| (*argument).to_owned()).collect();
        Cluster { folder, mode: mode.to_owned(), more, ports, servers: vec![None, None, None] }
    }

    fn try_start(&mut self, i: usize) -> Result<(), String> {
        self.servers[i] = Some(self.try_start_in_mode(i, &self.mode)?);
        Ok(())
    }

    /// A replica that is started with another mode than the others, by mistake.
    pub fn start_in_mode(&self, i: usize, mode: &str) -> Server {
        self.try_start_in_mode(i, mode).unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_start_in_mode(&self, i: usize, mode: &str) -> Result<Server, String> {
        let consistency = format!("--consistency={mode}");
        let (only, data) = (i.to_string(), self.path("data"));
        let file = self.path("cluster.toml");
        let mut arguments = vec![&*consistency, "--only", &only, "--cluster", text(&file)];
        arguments.extend(["--data", text(&data)]);
        arguments.extend(self.more.iter().map(String::as_str));
        Server::try_start(&arguments)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a replica that does not run.
    pub fn restart(&mut self, i: usize) {
        assert!(self.servers[i].is_none(), "replica {i} runs");
        // Its port may be taken for a moment by someone's outgoing connection.
        let deadline = Instant::now() + LONG;
        while let Err(why) = self.try_start(i) {
            assert!(why.contains("cannot listen") && Instant::now() < deadline, "{why}");
        }
    }

    /// kill -9.
    pub fn kill(&mut self, i: usize) {
        self.servers[i].take().expect("it runs").kill();
    }

    /// Takes the process of a replica out, to stop it in another way.
    pub fn take(&mut self, i: usize) -> Server {
        self.servers[i].take().expect("it runs")
    }

    pub fn server(&self, i: usize) -> &Server {
        self.servers[i].as_ref().expect("it runs")
    }

    pub fn clients(&self, i: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[i].0))
    }

    pub fn broadcast(&self, i: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[i].1))
    }

    pub fn connect(&self, i: usize) -> Client {
        Client::connect(self.clients(i))
    }

    /// The folder of one replica's store.
    pub fn data(&self, i: usize) -> PathBuf {
        self.path("data").join(i.to_string())
    }

    pub fn storage(&self, i: usize) -> PathBuf {
        self.data(i).join("storage.txt")
    }

    /// Waits until a replica takes writes.
    pub fn wait_live(&self, i: usize, within: Duration) {
        let mut client = self.connect(i);
        eventually(&format!("replica {i} is live"), within, || {
            (client.stat("live") == "1").then_some(())
        });
    }

    /// Waits until nothing is under way and all replicas hold the same, in memory and on disk; gives the
    /// entries.
    pub fn converge(&self) -> Vec<String> {
        let mut clients: Vec<Client> = (0..3).map(|i| self.connect(i)).collect();
        eventually("nothing is under way", LONG, || {
            let state: Vec<[String; 3]> = clients
                .iter_mut()
                .map(|c| ["pending_messages", "live", "delivered_writes"].map(|name| c.stat(name)))
                .collect();
            let quiet = |s: &[String; 3]| s[0] == "0" && s[1] == "1" && s[2] == state[0][2];
            state.iter().all(quiet).then_some(())
        });
        let entries = converged(&[self.storage(0), self.storage(1), self.storage(2)], LONG);
        for client in &mut clients {
            assert_eq!(client.stat("curr_items"), entries.len().to_string());
        }
        entries
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A port that nobody uses now. Below the ports that the system gives to outgoing connections, so that
/// none of those takes it while its replica is away.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(61);
    loop {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 11_000 + (start.wrapping_add(step) % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
