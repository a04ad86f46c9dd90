//! The master's side of the watchdogs: where they are, and the processes of those that it starts itself.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::MasterError;
use crate::client::{Connection, Options};
use crate::labs::processes;
use crate::wire::lines::watchdog::{MAX_LINE, Reply, Request, Start};
use crate::wire::lines::{parse, write};

/// How long a server may take to start or to die.
const PATIENCE: Duration = Duration::from_secs(60);

/// Holds the watchdogs that this process has started. Each has a pipe as its standard input; it ends its server and
/// itself when the pipe is closed: by [`Leash::release`], or by the system when this process is gone.
#[derive(Clone, Debug, Default)]
pub struct Leash(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    watchdogs: Vec<Child>,
    released: bool,
}

impl Leash {
    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all watchdogs and with them their servers, and waits until they are gone. None is started any more.
    pub fn release(&self) {
        let mut held = self.lock();
        held.released = true;
        for watchdog in &mut held.watchdogs {
            drop(watchdog.stdin.take());
        }
        for mut watchdog in held.watchdogs.drain(..) {
            let _ = watchdog.wait();
        }
    }

    /// Whether that has been done: what fails from there on fails because of it.
    pub fn is_released(&self) -> bool {
        self.lock().released
    }

    /// Starts a watchdog; gives where it listens.
    fn start(&self) -> io::Result<String> {
        let program = processes::program("servers").map_err(io::Error::other)?;
        let mut command = Command::new(program);
        command
            .args(["watchdog", "--until-eof"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C is for the master, which ends them in order.
            .process_group(0);
        if std::env::var_os("RUST_LOG").is_none() {
            // That links come and go is what the commands say.
            command.env("RUST_LOG", "warn");
        }
        let mut held = self.lock();
        if held.released {
            return Err(io::Error::other("the master is ending"));
        }
        let mut child = command.spawn()?;
        let stdout = child.stdout.take();
        held.watchdogs.push(child);
        drop(held);
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout).take(MAX_LINE as u64).read_line(&mut line)?;
        }
        match line.trim_end().strip_prefix("watchdog: ") {
            Some(address) => Ok(address.to_owned()),
            None => Err(io::Error::other("it ended before it listened")),
        }
    }
}

/// Where a server that was started can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its client port.
    pub clients: String,
    /// Its broadcast port.
    pub broadcast: String,
}

/// The watchdogs, one a server; each is connected to when it is first needed.
#[derive(Debug)]
pub struct Watchdogs {
    /// Where they are; `None` where the master starts them.
    addresses: Option<Vec<String>>,
    data: Option<PathBuf>,
    replicas: u16,
    leash: Leash,
    connections: Vec<Option<Connection>>,
}

impl Watchdogs {
    /// The watchdogs of so many servers, at these addresses or to be started.
    pub fn new(
        replicas: u16,
        addresses: Option<Vec<String>>,
        data: Option<PathBuf>,
        leash: Leash,
    ) -> Self {
        let connections = (0..replicas).map(|_| None).collect();
        Self { addresses, data, replicas, leash, connections }
    }

    /// Has a server started; waits until it can be reached.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(&mut self, id: u16) -> Result<Started, MasterError> {
        let address = self.addresses.as_ref().and_then(|all| all.get(usize::from(id)));
        let host = address.and_then(|address| address.rsplit_once(':'));
        let host = host.map_or("127.0.0.1", |(host, _)| host.trim_matches(['[', ']'])).to_owned();
        let data = self.data.as_ref().map(|data| data.to_string_lossy().into_owned());
        let start = Start { id, replicas: self.replicas, data, host };
        match self.ask(id, &Request::Start(start))? {
            Reply::Started { clients, broadcast, .. } => Ok(Started { clients, broadcast }),
            Reply::Refused { why } => Err(MasterError::Watchdog { id, why }),
            Reply::Killed { .. } => Err(self.confused(id)),
        }
    }

    /// Has a server killed; waits until it is gone. Gives how it had ended by itself.
    ///
    /// # Errors
    /// Its watchdog does not answer.
    pub fn kill(&mut self, id: u16) -> Result<Option<String>, MasterError> {
        match self.ask(id, &Request::Kill {})? {
            Reply::Killed { ended } => Ok(ended),
            Reply::Refused { why } => Err(MasterError::Watchdog { id, why }),
            Reply::Started { .. } => Err(self.confused(id)),
        }
    }

    /// An answer to another question: nothing that follows could be trusted.
    fn confused(&mut self, id: u16) -> MasterError {
        self.connections[usize::from(id)] = None;
        MasterError::Watchdog { id, why: "it answered what was not asked".to_owned() }
    }

    fn ask(&mut self, id: u16, request: &Request) -> Result<Reply, MasterError> {
        let connection = self.connection(id)?;
        let mut asked = Vec::new();
        write(&mut asked, request);
        connection.output.extend_from_slice(&asked);
        let answered = connection.send().and_then(|()| connection.line(MAX_LINE));
        let failed = |why: String| MasterError::Watchdog { id, why };
        let reply = match answered {
            Ok(at) => parse(connection.bytes(at.start, at.end)).map_err(|e| failed(e.to_string())),
            Err(error) => Err(failed(error.to_string())),
        };
        if reply.is_err() {
            self.connections[usize::from(id)] = None;
        }
        reply
    }

    fn connection(&mut self, id: u16) -> Result<&mut Connection, MasterError> {
        let failed = |why: String| MasterError::Watchdog { id, why };
        let place = &mut self.connections[usize::from(id)];
        let connection = match place.take() {
            Some(connection) => connection,
            None => {
                let address = match &self.addresses {
                    Some(all) => all[usize::from(id)].clone(),
                    None => self.leash.start().map_err(|e| failed(e.to_string()))?,
                };
                let options = Options { timeout: PATIENCE, ..Options::default() };
                Connection::open(&address, &options).map_err(|e| failed(e.to_string()))?
            }
        };
        Ok(place.insert(connection))
    }
}
