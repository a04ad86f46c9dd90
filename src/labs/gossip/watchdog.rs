//! A watchdog: guards one server, a process of its own, on the word of whoever is connected.
//!
//! It takes one controlling connection at a time. The server lives no longer than that connection, nor than the
//! watchdog: a server runs with `--until-eof` on a pipe that its watchdog holds, so that it ends even where the
//! watchdog is killed. That is how nothing is left running, whoever of the three dies first.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tempfile::TempDir;
use thiserror::Error;

use crate::wire::lines::watchdog::{MAX_LINE, Reply, Request, Start};
use crate::wire::lines::{parse, write};

/// How much of a server's output is read until it must have said that it is ready.
const MAX_GREETING: u64 = 64 * 1024;

/// Why a watchdog or its server cannot go on.
#[derive(Debug, Error)]
pub enum WatchdogError {
    /// The port cannot be had.
    #[error("cannot listen on {host}:{port}: {source}")]
    Port {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The server's process cannot be started.
    #[error("cannot start {}: {source}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The server ended before it could be reached.
    #[error(
        "the server ended before it was ready ({status}); its last words are on the watchdog's standard error"
    )]
    NotReady {
        /// How.
        status: String,
    },
    /// There is one already.
    #[error("a server runs already; kill it first")]
    Running,
    /// The watchdog is ending.
    #[error("the watchdog is ending")]
    Ending,
}

/// A server's process, by the number of its start.
#[derive(Debug)]
struct Server {
    child: Child,
    number: u64,
}

#[derive(Debug, Default)]
struct Guarded {
    server: Option<Server>,
    /// How many have been started.
    started: u64,
    /// How the last one has ended by itself, until somebody is told.
    ended: Option<String>,
    /// The data of a server that was started without a folder of its own.
    scratch: Option<TempDir>,
    /// No server is started any more.
    closed: bool,
}

impl Guarded {
    fn scratch(&mut self) -> io::Result<PathBuf> {
        let scratch = match self.scratch.take() {
            Some(scratch) => scratch,
            None => tempfile::Builder::new().prefix("lab-server-").tempdir()?,
        };
        Ok(self.scratch.insert(scratch).path().to_owned())
    }
}

/// What a watchdog holds on to: at most one server.
#[derive(Clone, Debug, Default)]
pub struct Guard(Arc<Mutex<Guarded>>);

impl Guard {
    fn lock(&self) -> MutexGuard<'_, Guarded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the server, if there is one, and waits until it is gone; gives how it had ended by itself.
    pub fn kill(&self) -> Option<String> {
        let mut guarded = self.lock();
        if let Some(mut server) = guarded.server.take() {
            let ended = server.child.try_wait().ok().flatten();
            // It may have ended just now, and then there is nothing to kill.
            let _ = server.child.kill();
            let _ = server.child.wait();
            if let Some(status) = ended {
                guarded.ended = Some(status.to_string());
            }
        }
        guarded.ended.take()
    }

    /// Kills the server and forgets its data, unless it was started with a folder of its own.
    fn release(&self) {
        self.kill();
        self.lock().scratch = None;
    }

    /// The same for good: none is started any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.release();
    }

    /// Starts a server and waits until it can be reached.
    fn start(&self, program: &Path, start: &Start) -> Result<Reply, WatchdogError> {
        let (stdout, number, ended) = self.spawn(program, start)?;
        let mut lines = BufReader::new(stdout);
        let Some((clients, broadcast)) = read_places(&mut lines) else {
            let status = self.reap(number).unwrap_or_else(|| "killed".to_owned());
            return Err(WatchdogError::NotReady { status });
        };
        let guard = self.clone();
        let watch = move || {
            // It says nothing more; the end of its output is its own end.
            let _ = io::copy(&mut lines, &mut io::sink());
            if let Some(status) = guard.reap(number) {
                let _ =
                    writeln!(io::stderr(), "watchdog: the server has ended by itself ({status})");
                let mut guarded = guard.lock();
                if guarded.server.is_none() {
                    guarded.ended = Some(status);
                }
            }
        };
        if let Err(source) = thread::Builder::new().name("watch".to_owned()).spawn(watch) {
            self.kill();
            return Err(WatchdogError::Spawn { program: program.to_owned(), source });
        }
        Ok(Reply::Started { clients, broadcast, ended })
    }

    fn spawn(
        &self,
        program: &Path,
        start: &Start,
    ) -> Result<(ChildStdout, u64, Option<String>), WatchdogError> {
        let failed = |source| WatchdogError::Spawn { program: program.to_owned(), source };
        let mut guarded = self.lock();
        if guarded.closed {
            return Err(WatchdogError::Ending);
        }
        if guarded.server.is_some() {
            return Err(WatchdogError::Running);
        }
        let data = match &start.data {
            Some(data) => PathBuf::from(data),
            None => guarded.scratch().map_err(failed)?,
        };
        let mut child = Command::new(program)
            .arg("--consistency=session")
            .args(["--replicas", &start.replicas.to_string(), "--only", &start.id.to_string()])
            .args(["--host", &start.host, "--client-port", "0", "--broadcast-port", "0"])
            .args([OsStr::new("--data"), data.as_os_str()])
            // A server that is killed keeps what it has written; syncing guards against the loss of power alone. And
            // every compaction ends with a sync, for which writers wait.
            .args(["--sync", "os", "--compact-above", "16777216"])
            .args(["--control", "--until-eof"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let Some(stdout) = child.stdout.take() else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        guarded.started += 1;
        let number = guarded.started;
        guarded.server = Some(Server { child, number });
        Ok((stdout, number, guarded.ended.take()))
    }

    /// Takes away a server whose output has ended; gives how it ended, unless it has been killed.
    fn reap(&self, number: u64) -> Option<String> {
        let mut guarded = self.lock();
        let mut server = guarded.server.take_if(|server| server.number == number)?;
        // Whatever keeps it after the end of its output: nobody could reach it.
        if !matches!(server.child.try_wait(), Ok(Some(_))) {
            drop(server.child.stdin.take());
        }
        Some(server.child.wait().map_or_else(|error| error.to_string(), |s| s.to_string()))
    }
}

/// Reads what a server says until it is ready; gives its client port and its broadcast port.
fn read_places(lines: &mut impl BufRead) -> Option<(String, String)> {
    let mut places = None;
    let mut lines = lines.take(MAX_GREETING);
    let mut line = String::new();
    while lines.read_line(&mut line).ok()? > 0 {
        if line.trim_end() == "ready" {
            return places;
        }
        if let Some((_, rest)) = line.split_once(": clients ") {
            let (clients, rest) = rest.split_once(", broadcast ")?;
            let (broadcast, _) = rest.split_once(", storage ")?;
            places = Some((clients.to_owned(), broadcast.to_owned()));
        }
        line.clear();
    }
    None
}

/// A watchdog's port.
#[derive(Debug)]
pub struct Watchdog {
    listener: TcpListener,
    address: SocketAddr,
    program: PathBuf,
    guard: Guard,
}

impl Watchdog {
    /// Listens; the servers will be processes of `program`.
    ///
    /// # Errors
    /// The port cannot be had.
    pub fn listen(host: &str, port: u16, program: PathBuf) -> Result<Self, WatchdogError> {
        let failed = |source| WatchdogError::Port { host: host.to_owned(), port, source };
        let listener = TcpListener::bind((host, port)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, program, guard: Guard::default() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it guards, for whoever ends it.
    pub fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Serves one controlling connection after the other, for ever.
    ///
    /// # Errors
    /// The port can no longer be listened on.
    pub fn serve(&self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    // What ends a connection early is the other side's business; its server goes with it.
                    let _ = self.obey(&stream);
                    self.guard.release();
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn obey(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut lines = BufReader::new(stream);
        let (mut line, mut out) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            let most = MAX_LINE as u64;
            if lines.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if line.last() != Some(&b'\n') {
                return Err(io::ErrorKind::InvalidData.into());
            }
            out.clear();
            write(&mut out, &self.answer(&line));
            (&mut &*stream).write_all(&out)?;
        }
    }

    fn answer(&self, line: &[u8]) -> Reply {
        let refused = |why: String| Reply::Refused { why };
        match parse(line) {
            Ok(Request::Start(start)) => self
                .guard
                .start(&self.program, &start)
                .unwrap_or_else(|error| refused(error.to_string())),
            Ok(Request::Kill {}) => Reply::Killed { ended: self.guard.kill() },
            Err(error) => {
                refused(format!("expected {{\"start\":{{...}}}} or {{\"kill\":{{}}}}: {error}"))
            }
        }
    }
}
