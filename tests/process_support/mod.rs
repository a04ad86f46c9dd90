//! Real `servers` processes (and `kvstore2pcsystem` ones) for tests: started on free ports with a folder of their own, watched through
//! their output, and killed when they are dropped.
//!
//! Nothing here sleeps to be in time: [`eventually`] asks again until a deadline.

// Each test program uses its own part of it.
#![allow(dead_code)]

pub mod client;
pub mod cluster;
pub mod two_phase;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use consistency_lab::storage::replay_bytes;

/// Far more than anything here takes, also on a busy machine.
pub const LONG: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer; fails the test with `what` when the time is over.
pub fn eventually<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Where one replica of a server can be reached, as the server printed it.
#[derive(Clone, Debug)]
pub struct Place {
    pub clients: SocketAddr,
    pub broadcast: SocketAddr,
    pub storage: String,
}

impl Place {
    /// `replica 0: clients 127.0.0.1:9889, broadcast 127.0.0.1:10052, storage replicas/0/storage.txt`
    fn parse(line: &str) -> Option<Place> {
        let rest = line.strip_prefix("replica ")?.split_once(": clients ")?.1;
        let (clients, rest) = rest.split_once(", broadcast ")?;
        let (broadcast, storage) = rest.split_once(", storage ")?;
        let (clients, broadcast) = (clients.parse().ok()?, broadcast.parse().ok()?);
        Some(Place { clients, broadcast, storage: storage.to_owned() })
    }
}

/// One `servers` process.
pub struct Server {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    pub places: Vec<Place>,
}

fn lines<T>(lines: &Mutex<T>) -> MutexGuard<'_, T> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `servers` with these arguments, and nothing of the caller's environment that changes what it prints.
pub fn servers(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_servers"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// `kvstore2pcsystem` with these arguments, as [`servers`].
pub fn kvstore(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvstore2pcsystem"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs `servers` where it is expected to refuse: it must end by itself.
pub fn refused(arguments: &[&str]) -> Output {
    ends(&mut servers(arguments))
}

/// Runs a program that must end by itself.
pub fn ends(program: &mut Command) -> Output {
    let mut child =
        program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let deadline = Instant::now() + LONG;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{program:?} was expected to end, and runs");
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().expect("its output")
}

/// Three replicas on ports of the system's choice, with these arguments.
pub fn three(mode: &str, data: &Path, more: &[&str]) -> Server {
    let consistency = format!("--consistency={mode}");
    let data = data.to_str().expect("a path in UTF-8");
    let mut arguments =
        vec![&*consistency, "--client-port", "0", "--broadcast-port", "0", "--data", data];
    arguments.extend(more);
    Server::start(&arguments)
}

impl Server {
    /// Starts it and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Server {
        Self::try_start(arguments).unwrap_or_else(|why| panic!("servers {arguments:?}: {why}"))
    }

    /// Starts it and waits until it is ready; gives what it said where it ends instead.
    pub fn try_start(arguments: &[&str]) -> Result<Server, String> {
        Self::try_start_program(&mut servers(arguments))
    }

    /// The same with another program.
    pub fn try_start_program(program: &mut Command) -> Result<Server, String> {
        let mut server = Self::spawn_program(program);
        let deadline = Instant::now() + LONG;
        loop {
            if server.stdout().iter().any(|line| line == "ready") {
                server.places = server.stdout().iter().filter_map(|l| Place::parse(l)).collect();
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait().expect("a child") {
                server.drain();
                return Err(format!("{status}: {}", server.stderr().join("\n")));
            }
            assert!(Instant::now() < deadline, "not ready: {:?}", server.stderr());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Starts it and waits for nothing.
    pub fn spawn(arguments: &[&str]) -> Server {
        Self::spawn_program(&mut servers(arguments))
    }

    /// The same with another program.
    pub fn spawn_program(program: &mut Command) -> Server {
        let mut child = program
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        let readers = vec![gather(out, Arc::clone(&stdout)), gather(err, Arc::clone(&stderr))];
        Server { child, readers, stdout, stderr, places: Vec::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where clients reach a replica: the n-th that this process hosts.
    pub fn clients(&self, n: usize) -> SocketAddr {
        self.places[n].clients
    }

    /// What it has printed on stdout.
    pub fn stdout(&self) -> Vec<String> {
        lines(&self.stdout).clone()
    }

    /// What it has printed on stderr.
    pub fn stderr(&self) -> Vec<String> {
        lines(&self.stderr).clone()
    }

    /// The lines on stderr that contain this.
    pub fn said(&self, what: &str) -> Vec<String> {
        self.stderr().into_iter().filter(|line| line.contains(what)).collect()
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it ends");
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("sh is there");
        assert!(status.success(), "{kill}: {status}");
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let status =
            eventually("the process ends", within, || self.child.try_wait().expect("a child"));
        self.drain();
        status
    }

    /// SIGTERM; gives the exit status and how long it took.
    pub fn terminate(mut self) -> (ExitStatus, Duration) {
        self.signal("TERM");
        let start = Instant::now();
        let status = self.wait(LONG);
        (status, start.elapsed())
    }

    /// SIGTERM, and all must be well.
    pub fn stop(self) {
        let (status, _) = self.terminate();
        assert_eq!(status.code(), Some(0), "{status}");
    }

    /// The memory it holds, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("Linux shows a process's memory");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let digits = line.and_then(|line| line.trim().strip_suffix(" kB"));
        digits.and_then(|digits| digits.trim().parse().ok()).expect("VmRSS: N kB")
    }

    /// Waits until all has been read that it printed; it has ended.
    fn drain(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let said = self.stderr();
            let last = &said[said.len().saturating_sub(40)..];
            eprintln!("process {} said last:\n  {}", self.pid(), last.join("\n  "));
        }
    }
}

fn gather(
    from: impl std::io::Read + Send + 'static,
    to: Arc<Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            lines(&to).push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

/// The entries in a `storage.txt`, as a restart would find them: one line each, and the last position.
pub fn contents(storage: &Path) -> (u64, Vec<String>) {
    let bytes = std::fs::read(storage).unwrap_or_default();
    let opened = replay_bytes(&bytes).unwrap_or_else(|error| panic!("{storage:?}: {error}"));
    let table = opened.store.table();
    let mut entries = Vec::new();
    for key in table.keys_matching(b"*", 0) {
        let found = table.get(&key, 0).expect("a listed key is there");
        let (key, data) = (key.escape_ascii(), found.data.escape_ascii());
        entries.push(format!("{key} = {data} flags {} unique {}", found.flags, found.unique));
    }
    (opened.store.position(), entries)
}

/// Waits until these files hold the same entries at the same position; gives them.
pub fn converged(storages: &[std::path::PathBuf], within: Duration) -> Vec<String> {
    eventually("the stores are equal", within, || {
        let mut all: Vec<_> = storages.iter().map(|file| contents(file)).collect();
        let last = all.pop()?;
        all.iter().all(|one| *one == last).then_some(last.1)
    })
}
